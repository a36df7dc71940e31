//! The generated bindings of all worlds, for what the rest of the crate does not cover. What several worlds share exists
//! once, in those of `projection`.
#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::needless_pass_by_value,
    clippy::semicolon_if_nothing_returned,
    clippy::uninlined_format_args,
    clippy::use_self,
    reason = "generated code"
)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "projection",
    generate_all,
    pub_export_macro: true,
    export_macro_name: "export_projection",
    default_bindings_module: "lantern_guest::bindings",
});

/// Those of the world `handler`.
pub mod handler {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "handler",
        with: {
            "lantern:module/types@0.1.0": crate::bindings::lantern::module::types,
            "wasi:clocks/wall-clock@0.2.0": crate::bindings::wasi::clocks::wall_clock,
            "wasi:config/store@0.2.0-rc.1": crate::bindings::wasi::config::store,
            "wasi:logging/logging@0.1.0-draft": crate::bindings::wasi::logging::logging,
            "lantern:module/documents@0.1.0": crate::bindings::lantern::module::documents,
            "lantern:module/sql@0.1.0": crate::bindings::lantern::module::sql,
            "wasi:otel/types@0.2.0-rc.2": crate::bindings::wasi::otel::types,
            "wasi:otel/tracing@0.2.0-rc.2": crate::bindings::wasi::otel::tracing,
            "wasi:otel/logs@0.2.0-rc.2": crate::bindings::wasi::otel::logs,
        },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_handler",
        default_bindings_module: "lantern_guest::bindings::handler",
    });
}

/// Those of the world `aggregate`.
pub mod aggregate {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "aggregate",
        with: {
            "lantern:module/types@0.1.0": crate::bindings::lantern::module::types,
            "wasi:clocks/wall-clock@0.2.0": crate::bindings::wasi::clocks::wall_clock,
            "wasi:config/store@0.2.0-rc.1": crate::bindings::wasi::config::store,
            "wasi:logging/logging@0.1.0-draft": crate::bindings::wasi::logging::logging,
            "wasi:otel/types@0.2.0-rc.2": crate::bindings::wasi::otel::types,
            "wasi:otel/tracing@0.2.0-rc.2": crate::bindings::wasi::otel::tracing,
            "wasi:otel/logs@0.2.0-rc.2": crate::bindings::wasi::otel::logs,
        },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_aggregate",
        default_bindings_module: "lantern_guest::bindings::aggregate",
    });
}

/// Those of the world `upcaster`.
pub mod upcaster {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "upcaster",
        with: {
            "lantern:module/types@0.1.0": crate::bindings::lantern::module::types,
            "wasi:config/store@0.2.0-rc.1": crate::bindings::wasi::config::store,
            "wasi:logging/logging@0.1.0-draft": crate::bindings::wasi::logging::logging,
        },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_upcaster",
        default_bindings_module: "lantern_guest::bindings::upcaster",
    });
}

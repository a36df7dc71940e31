//! The generated bindings of the world `projection`, for what the rest of the crate does not cover.
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

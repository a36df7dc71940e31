//! What a handler is, and how it becomes a module.

use crate::sql::Migration;
use crate::{Event, Failure};
use serde::de::DeserializeOwned;

/// From events to effects: documents, [tables](crate::sql), events it [emits](crate::emit) and [schedules](crate::schedule), and
/// [requests](crate::http). A rebuild never runs it.
///
/// Hand the type to [`handler!`](crate::handler!) to make the crate a module.
pub trait Handler {
    /// A short name, for example `shipping`.
    const NAME: &'static str;

    /// The categories whose events it wants; all when empty.
    const CATEGORIES: &'static [&'static str] = &[];

    /// The names of all its collections.
    const COLLECTIONS: &'static [&'static str] = &[];

    /// Schema versions by event type: the newest it understands of those it reads, and the one it writes of those it emits.
    /// Of a type not named here it gets the newest version there is, and emits version 1.
    const SCHEMA_VERSIONS: &'static [(&'static str, u32)] = &[];

    /// The changes that make its SQL tables, in order. Those that were deployed stay as they are; new ones come behind them.
    const MIGRATIONS: &'static [Migration] = &[];

    /// What it reads events as; the same as [`Projection::Data`](crate::Projection::Data).
    type Data: DeserializeOwned;

    /// Handles one event. On success its documents, rows, emitted events and schedules take effect together; on failure or panic
    /// none of them do. Requests were sent by then: the host may run the call again, and gives them the same
    /// `Idempotency-Key`.
    fn handle(event: &Event, data: Self::Data) -> Result<(), Failure>;
}

/// Makes a module of a [`Handler`]: `lantern_guest::handler!(Shipping);`, once in a crate.
///
/// The module's version is that of the crate.
#[macro_export]
macro_rules! handler {
    ($handler:ty) => {
        const _: () = {
            struct Module;

            impl $crate::bindings::handler::Guest for Module {
                fn describe() -> $crate::bindings::Description {
                    $crate::exports::handler::<$handler>(::core::env!("CARGO_PKG_VERSION")).describe()
                }

                fn handle(
                    context: $crate::bindings::TraceContext,
                    event: $crate::bindings::Event,
                ) -> ::core::result::Result<(), $crate::bindings::Failure> {
                    $crate::exports::handler::<$handler>(::core::env!("CARGO_PKG_VERSION")).handle(context, event)
                }
            }

    $crate::bindings::handler::export_handler!(Module with_types_in $crate::bindings::handler);
        };
    };
}

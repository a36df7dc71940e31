//! What a projection is, and how it becomes a module.

use crate::sql::Migration;
use crate::{Event, Failure};
use serde::de::DeserializeOwned;

/// A pure function from events to documents and [tables](crate::sql).
///
/// Hand the type to [`projection!`](crate::projection!) to make the crate a module.
pub trait Projection {
    /// A short name, for example `order-statistics`.
    const NAME: &'static str;

    /// The categories whose events it wants; all when empty.
    const CATEGORIES: &'static [&'static str] = &[];

    /// The names of all its collections.
    const COLLECTIONS: &'static [&'static str] = &[];

    /// The newest schema version it understands, by event type: older events are brought to it by the upcasters that are
    /// deployed. Of a type not named here it gets the newest version there is.
    const SCHEMA_VERSIONS: &'static [(&'static str, u32)] = &[];

    /// The changes that make its SQL tables, in order. Those that were deployed stay as they are; new ones come behind them.
    const MIGRATIONS: &'static [Migration] = &[];

    /// What it reads events as.
    ///
    /// - An enum: each variant stands for the event type of its name (or of its `#[serde(rename = "…")]` and
    ///   `#[serde(alias = "…")]`) and its fields are read from the data. The host hands over events of these types only,
    ///   unless a variant is marked `#[serde(other)]`, which takes all the others. The data of a variant without fields is
    ///   not read.
    /// - `()`: events of all types; their data is not read.
    /// - Anything else, for example a struct or `serde_json::Value`: events of all types; their data is read as that.
    ///
    /// An event whose data does not fit is a permanent failure which says so.
    type Data: DeserializeOwned;

    /// Handles one event. On success all documents and rows written take effect together; on failure or panic none of them do.
    fn handle(event: &Event, data: Self::Data) -> Result<(), Failure>;
}

/// Makes a module of a [`Projection`]: `lantern_guest::projection!(Orders);`, once in a crate.
///
/// The module's version is that of the crate.
#[macro_export]
macro_rules! projection {
    ($projection:ty) => {
        const _: () = {
            struct Module;

            impl $crate::bindings::Guest for Module {
                fn describe() -> $crate::bindings::Description {
                    $crate::exports::projection::<$projection>(::core::env!("CARGO_PKG_VERSION")).describe()
                }

                fn handle(
                    context: $crate::bindings::TraceContext,
                    event: $crate::bindings::Event,
                ) -> ::core::result::Result<(), $crate::bindings::Failure> {
                    $crate::exports::projection::<$projection>(::core::env!("CARGO_PKG_VERSION")).handle(context, event)
                }
            }

    $crate::bindings::export_projection!(Module with_types_in $crate::bindings);
        };
    };
}

//! What an aggregate is, and how it becomes a module.

use crate::{Context, Rejection};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// It decides what happens on a command: a pure function from its state and a command to events or a rejection.
///
/// Hand the type to [`aggregate!`](crate::aggregate!) to make the crate a module.
pub trait Aggregate {
    /// Its name, which is the category of its streams: `Order` decides on the commands to `Order-42`.
    const NAME: &'static str;

    /// The version of the form of its state, from 1. Raise it when the state changes: snapshots of another version are not
    /// used, and the events are folded anew.
    const STATE_VERSION: u32 = 1;

    /// Schema versions by event type: the newest it understands of those it reads, and the one it writes of those it decides
    /// on. Of a type not named here it gets the newest version there is, and writes version 1.
    const SCHEMA_VERSIONS: &'static [(&'static str, u32)] = &[];

    /// What the events have come to. It stays in memory between commands; a snapshot is its JSON.
    type State: Default + Serialize + DeserializeOwned;

    /// The commands: an enum whose variants are their types, with the fields of their data.
    type Command: DeserializeOwned;

    /// The events: an enum whose variants are their types, with the fields of their data. Events of the stream that have no
    /// variant are passed over.
    type Event: Serialize + DeserializeOwned;

    /// Why it rejects commands: [`Rejection`], or a type of its own that becomes one.
    type Rejection: Into<Rejection>;

    /// Decides on a command: the events that are to happen, in order, none when there is nothing to do; or a rejection.
    fn decide(
        state: &Self::State,
        command: Self::Command,
        context: &Context,
    ) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// Folds an event into the state. Events are facts: it must take any that the log may hold.
    fn evolve(state: &mut Self::State, event: Self::Event);
}

/// Makes a module of an [`Aggregate`]: `lantern_guest::aggregate!(Order);`, once in a crate.
///
/// The module's version is that of the crate.
#[macro_export]
macro_rules! aggregate {
    ($aggregate:ty) => {
        const _: () = {
            struct Module;

            impl $crate::exports::AggregateModule for Module {
                type Aggregate = $aggregate;

                const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
            }

            impl $crate::bindings::aggregate::exports::lantern::module::aggregates::Guest for Module {
                type Aggregate = $crate::exports::Loaded<Self>;

                fn describe() -> $crate::bindings::aggregate::exports::lantern::module::aggregates::Description {
                    $crate::exports::describe_aggregate::<Self>()
                }
            }

    $crate::bindings::aggregate::export_aggregate!(Module with_types_in $crate::bindings::aggregate);
        };
    };
}

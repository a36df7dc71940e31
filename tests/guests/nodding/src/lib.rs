//! An aggregate that nods at every command and keeps nothing: what is left is the cost of the calls.

use bindings::{
    exports::lantern::module::aggregates::{
        Aggregate, Command, Description, Event, Guest, GuestAggregate, NewEvent, Refusal, TraceContext,
    },
    lantern::module::types::Payload,
};

mod bindings {
    #![allow(clippy::all, unused_qualifications, reason = "generated code")]
    wit_bindgen::generate!({ path: "../../../wit", world: "aggregate", generate_all });
}

struct Nodding;

struct Nothing;

impl Guest for Nodding {
    type Aggregate = Nothing;

    fn describe() -> Description {
        Description {
            name: "nodding".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commands: Vec::new(),
            state_version: 1,
            schema_versions: Vec::new(),
        }
    }
}

impl GuestAggregate for Nothing {
    fn new(_: String) -> Self {
        Self
    }

    fn restore(_: String, _: Vec<u8>) -> Result<Aggregate, String> {
        Ok(Aggregate::new(Self))
    }

    fn evolve(&self, _: Vec<Event>) -> Result<(), String> {
        Ok(())
    }

    fn decide(&self, _: TraceContext, _: Vec<Event>, _: Command) -> Result<Vec<NewEvent>, Refusal> {
        Ok(vec![NewEvent {
            event_type: "Nodded".to_owned(),
            schema_version: 1,
            content_type: None,
            data: Payload::Json("{}".to_owned()),
            metadata: Vec::new(),
        }])
    }

    fn snapshot(&self) -> Vec<u8> {
        b"{}".to_vec()
    }
}

bindings::export!(Nodding with_types_in bindings);

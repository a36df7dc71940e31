//! The ids of effects: derived, so that an effect done again is known for the same.

use uuid::Uuid;

use crate::{EventId, Name};

/// What an id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// An event a handler emits.
    Emitted,
    /// An event a handler schedules.
    Scheduled,
    /// A request a handler sends.
    Requested,
    /// A message a handler publishes.
    Published,
}

/// The id of the `index`-th effect of its sort that a handler asks for at an event: a UUID of version 5 (RFC 9562, 5.5),
/// named by all four.
#[must_use]
pub fn effect_id(handler: &Name, event: EventId, effect: Effect, index: usize) -> Uuid {
    let sort = match effect {
        Effect::Emitted => "emitted",
        Effect::Scheduled => "scheduled",
        Effect::Requested => "requested",
        Effect::Published => "published",
    };
    Uuid::new_v5(&event, format!("{handler}/{sort}/{index}").as_bytes())
}

/// The id of the `index`-th event a command leads to.
#[must_use]
pub fn command_event_id(command: Uuid, index: usize) -> EventId {
    Uuid::new_v5(&command, format!("event/{index}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_in_every_part_and_repeat() {
        let (a, b) = (Name::new("a").unwrap(), Name::new("b").unwrap());
        let (x, y) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let ids = [
            effect_id(&a, x, Effect::Emitted, 0),
            effect_id(&b, x, Effect::Emitted, 0),
            effect_id(&a, y, Effect::Emitted, 0),
            effect_id(&a, x, Effect::Scheduled, 0),
            effect_id(&a, x, Effect::Requested, 0),
            effect_id(&a, x, Effect::Published, 0),
            effect_id(&a, x, Effect::Emitted, 1),
            command_event_id(x, 0),
            command_event_id(x, 1),
        ];
        let distinct = std::collections::BTreeSet::from(ids);
        assert_eq!(distinct.len(), ids.len());
        assert_eq!(ids[0], effect_id(&a, x, Effect::Emitted, 0));
    }
}

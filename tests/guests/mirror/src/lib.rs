//! Writes down each event as it sees it; of `Counted` it understands schema version 2.

use lantern_guest::prelude::*;
use lantern_guest::serde_json::Value;

#[derive(Serialize, Deserialize)]
struct Seen {
    event_type: String,
    schema_version: u32,
    data: Value,
}

/// By event id.
const SEEN: Collection<Seen> = Collection::new("seen");

struct Mirror;

impl Projection for Mirror {
    const NAME: &str = "mirror";
    const COLLECTIONS: &[&str] = &[SEEN.name()];
    const SCHEMA_VERSIONS: &[(&str, u32)] = &[("Counted", 2)];
    type Data = Value;

    fn handle(event: &Event, data: Value) -> Result<(), Failure> {
        let (event_type, schema_version) = (event.event_type().to_owned(), event.schema_version());
        SEEN.put(event.id().to_string(), &Seen { event_type, schema_version, data })
    }
}

lantern_guest::projection!(Mirror);

//! Writes down what it reads of its configuration.

use lantern_guest::prelude::*;

#[derive(Serialize, Deserialize)]
struct Settings {
    currency: Option<String>,
    vat: Option<String>,
}

/// By stream.
const SETTINGS: Collection<Settings> = Collection::new("settings");

struct Configured;

impl Projection for Configured {
    const NAME: &str = "configured";
    const COLLECTIONS: &[&str] = &[SETTINGS.name()];
    type Data = ();

    fn handle(event: &Event, _: ()) -> Result<(), Failure> {
        SETTINGS.put(event.stream(), &Settings { currency: config::get("currency")?, vat: config::get("vat")? })
    }
}

lantern_guest::projection!(Configured);

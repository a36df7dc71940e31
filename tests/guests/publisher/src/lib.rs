//! Publishes what each event says to the topic that the configuration names, and emits that it has done so.

use lantern_guest::prelude::*;

#[derive(Deserialize)]
struct Announced {
    text: String,
}

#[derive(Serialize)]
struct Told {
    text: String,
}

#[derive(Serialize)]
struct Noted {}

struct Publisher;

impl Handler for Publisher {
    const NAME: &str = "publisher";
    const CATEGORIES: &[&str] = &["Trigger"];
    type Data = Announced;

    fn handle(event: &Event, Announced { text }: Announced) -> Result<(), Failure> {
        let topic = config::get_or("topic", String::new())?;
        publish("main", topic, format!("Told-{}", event.stream_id()), &Told { text })?;
        emit(format!("Noted-{}", event.stream_id()), &Noted {})
    }
}

lantern_guest::handler!(Publisher);

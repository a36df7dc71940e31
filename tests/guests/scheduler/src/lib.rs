//! Rings after a while, unless it is told not to.

use lantern_guest::prelude::*;
use std::time::Duration;

#[derive(Deserialize)]
enum AlarmEvent {
    AlarmSet { key: String, after_ms: u64 },
    AlarmCancelled { key: String },
}

#[derive(Serialize)]
struct Rang {
    key: String,
    /// The position of the event that set the alarm.
    of: u64,
}

struct Scheduler;

impl Handler for Scheduler {
    const NAME: &str = "scheduler";
    const CATEGORIES: &[&str] = &["Alarm"];
    type Data = AlarmEvent;

    fn handle(event: &Event, data: AlarmEvent) -> Result<(), Failure> {
        match data {
            AlarmEvent::AlarmSet { key, after_ms } => {
                let due = event.time() + Duration::from_millis(after_ms);
                let stream = format!("Ring-{}", event.stream_id());
                schedule::at(key.clone(), due, stream, &Rang { key, of: event.position() })?;
            }
            AlarmEvent::AlarmCancelled { key } => schedule::cancel(key),
        }
        Ok(())
    }
}

lantern_guest::handler!(Scheduler);

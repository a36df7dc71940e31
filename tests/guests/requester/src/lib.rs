//! Sends the request that the event asks for, and writes down the answer or why there was none.

use lantern_guest::prelude::*;
use std::time::Duration;

#[derive(Deserialize)]
struct Call {
    url: String,
    #[serde(default = "post")]
    method: String,
    #[serde(default)]
    body: String,
    time_out_ms: Option<u64>,
    /// Fails on any error instead of writing it down.
    #[serde(default)]
    strict: bool,
}

fn post() -> String {
    "POST".to_owned()
}

#[derive(Default, Serialize, Deserialize)]
struct Answer {
    status: Option<u16>,
    body: Option<String>,
    location: Option<String>,
    refused: Option<String>,
    failed: Option<String>,
}

/// By event id.
const ANSWERS: Collection<Answer> = Collection::new("answers");

struct Requester;

impl Handler for Requester {
    const NAME: &str = "requester";
    const CATEGORIES: &[&str] = &["Call"];
    const COLLECTIONS: &[&str] = &[ANSWERS.name()];
    type Data = Call;

    fn handle(event: &Event, call: Call) -> Result<(), Failure> {
        let mut request = http::Request::new(call.method, call.url).header("x-event", event.id().to_string());
        if !call.body.is_empty() {
            request = request.body("text/plain", call.body);
        }
        if let Some(time_out) = call.time_out_ms {
            request = request.time_out(Duration::from_millis(time_out));
        }
        let answer = match request.send() {
            Ok(answer) => Answer {
                status: Some(answer.status()),
                body: Some(String::from_utf8_lossy(answer.body()).into_owned()),
                location: answer.header("location").map(str::to_owned),
                ..Answer::default()
            },
            Err(error) if call.strict => return Err(error.into()),
            Err(http::Error::Refused(rule)) => Answer { refused: Some(rule), ..Answer::default() },
            Err(error) => Answer { failed: Some(error.to_string()), ..Answer::default() },
        };
        ANSWERS.put(event.id().to_string(), &answer)
    }
}

lantern_guest::handler!(Requester);

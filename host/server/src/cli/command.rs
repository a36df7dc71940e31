//! `lantern command`: asking an aggregate for something.

use clap::{Args, Subcommand};
use lantern_aggregates::Answer;
use lantern_core::StreamName;
use serde_json::Value;
use uuid::Uuid;

use super::{
    client::Client,
    event::content,
    failure::{Exit, Failure},
    output::Output,
};

/// Commands about commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Send a command to an aggregate.
    Send(Send),
}

/// Send a command to an aggregate.
#[derive(Debug, Args)]
pub(super) struct Send {
    /// The stream, `category-id`, for example Order-42; the category is the aggregate's name.
    stream: StreamName,
    /// The type, for example PlaceOrder.
    #[arg(value_name = "TYPE")]
    command_type: String,
    /// JSON, `@FILE` for that of a file, or `-` for that of standard input.
    #[arg(long, value_name = "JSON", default_value = "{}", allow_hyphen_values = true)]
    data: String,
    /// The command's id: sent again under it, a command has no second effect; made when it is not given.
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
    /// The version you believe the stream has; 0 for none.
    #[arg(long, value_name = "VERSION")]
    expect: Option<u64>,
    /// The id shared by everything one request set in motion.
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// The id of what caused it.
    #[arg(long, value_name = "ID")]
    causation_id: Option<String>,
    /// Whose data it is.
    #[arg(long)]
    tenant: Option<String>,
    /// Who acts.
    #[arg(long)]
    actor: Option<String>,
}

impl Command {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        match self {
            Self::Send(send) => send.run(client, output).await,
        }
    }
}

impl Send {
    async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        let data = content(&self.data)?;
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&data) {
            return Err(Failure::usage(format!("--data is no JSON: {error}")));
        }
        let query = [
            ("id", self.id.map(|id| id.to_string())),
            ("expect", self.expect.map(|version| version.to_string())),
            ("correlation_id", self.correlation_id),
            ("causation_id", self.causation_id),
            ("tenant", self.tenant),
            ("actor", self.actor),
        ];
        let query: Vec<_> = query.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let path = ["commands", self.stream.as_str(), &self.command_type];
        let sent = client.post_bytes(&path, &query, &[], "application/json", data.into()).await;
        let answer = sent.map_err(|failure| if output.json { failure } else { with_details(failure) })?;
        output.show(&answer.text, || Ok(told(&answer.read()?, answer.trace_id.as_deref())))
    }
}

/// A rejection's details belong to what people are told.
fn with_details(failure: Failure) -> Failure {
    let details = failure.member("details").filter(|_| failure.exit == Exit::Rejected);
    let Some(details) = details.and_then(|details: &Value| serde_json::to_string_pretty(details).ok()) else {
        return failure;
    };
    let detail = format!("{}\n{details}", failure.detail());
    failure.with("detail", detail)
}

fn told(answer: &Answer, trace: Option<&str>) -> String {
    let Answer { stream, version, position, events, repeated, attempts } = answer;
    let what = match (repeated, events.len()) {
        (true, _) => "it was carried out before:".to_owned(),
        (false, 0) => "nothing was to happen:".to_owned(),
        (false, 1) => "1 event:".to_owned(),
        (false, events) => format!("{events} events:"),
    };
    let again = if *attempts > 1 { format!(", decided {attempts} times") } else { String::new() };
    let mut text = format!("{what} {stream} is at version {version}, position {position}{again}\n");
    for event in events {
        text += &format!("event {event}\n");
    }
    if let Some(trace) = trace {
        text += &format!("look at it with `lantern trace {trace}`\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use lantern_core::{Position, Version};

    use super::*;

    #[test]
    fn people_see_the_details_of_a_rejection() {
        let body = r#"{"type":"rejected","detail":"no","details":{"open":3}}"#;
        let failure = with_details(Failure::answered(422, body));
        assert_eq!(failure.to_string(), "no\n{\n  \"open\": 3\n}");
        let other = Failure::answered(409, r#"{"type":"contended","detail":"no","details":1}"#);
        assert_eq!(with_details(other).to_string(), "no");
    }

    #[test]
    fn an_answer_says_whether_something_happened_now() {
        let answer = |events, repeated| Answer {
            stream: "Order-1".parse().unwrap(),
            version: Version(2),
            position: Position(9),
            events,
            attempts: 1,
            repeated,
        };
        assert!(told(&answer(vec![], false), None).starts_with("nothing was to happen: Order-1 is at version 2"));
        assert!(told(&answer(vec![Uuid::nil()], true), None).starts_with("it was carried out before:"));
        assert!(told(&answer(vec![Uuid::nil()], false), Some("t")).contains("`lantern trace t`"));
    }
}

//! `lantern dead-letter`: looking at what a projection or handler could not handle, and deciding about it.

use clap::{Args, Subcommand};
use lantern_core::{Kind, Name, Parked, StreamName, parked::Standing};
use lantern_processors::Retried;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use super::{
    change::folder,
    client::Client,
    failure::{Exit, Failure},
    output::{Output, facts, table},
};
use crate::http::RetryBody;

/// Commands about dead letters.
#[derive(Debug, Subcommand)]
pub(super) enum DeadLetter {
    /// List the dead letters of a projection or handler.
    List {
        name: Name,
        /// Only those after this position.
        #[arg(long, value_name = "POSITION", default_value_t = 0)]
        after: u64,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=crate::http::MAX_LISTED as u64))]
        limit: u64,
    },
    /// Show a dead letter with its event, error and call stack.
    Show { name: Name, position: u64 },
    /// Try dead letters again, in the order of the log; all of them unless told otherwise.
    Retry(Retry),
    /// Pass over the first dead letter of a stream. Its record stays, as skipped.
    Skip { name: Name, position: u64 },
}

/// Try dead letters again, in the order of the log; all of them unless told otherwise.
#[derive(Debug, Args)]
pub(super) struct Retry {
    name: Name,
    #[command(flatten)]
    selection: Selection,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct Selection {
    /// All of them.
    #[arg(long)]
    all: bool,
    /// Those of this stream.
    #[arg(long)]
    stream: Option<StreamName>,
    /// This one, which must be the first of its stream.
    #[arg(long)]
    position: Option<u64>,
}

impl DeadLetter {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        match self {
            Self::List { name, after, limit } => list(client, output, &name, after, limit).await,
            Self::Show { name, position } => show(client, output, &name, position).await,
            Self::Retry(retry) => retry.run(client, output).await,
            Self::Skip { name, position } => {
                let folder = folder(kind_of(client, &name).await?);
                let path = [folder, name.as_str(), "dead-letters", &position.to_string(), "skip"];
                client.post(&path, &[], &json!({})).await?;
                output
                    .done(&json!({ "skipped": position }), format_args!("the event at position {position} is skipped"))
            }
        }
    }
}

/// Whether a name, which both share, is that of a projection or of a handler.
async fn kind_of(client: &Client, name: &Name) -> Result<Kind, Failure> {
    match client.get(&[folder(Kind::Projection), name.as_str()], &[]).await {
        Ok(_) => Ok(Kind::Projection),
        Err(failure) if failure.member("kind").is_some_and(|kind| kind == Kind::Handler.as_str()) => Ok(Kind::Handler),
        Err(failure) if failure.exit == Exit::NotFound => {
            let detail = format!(
                "there is no projection or handler `{name}`: `lantern projection list` and `lantern handler list` show \
                 what is there"
            );
            Err(failure.with("detail", detail))
        }
        Err(failure) => Err(failure),
    }
}

async fn list(client: &Client, output: Output, name: &Name, after: u64, limit: u64) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Listed<T> {
        dead_letters: Vec<T>,
    }

    let kind = kind_of(client, name).await?;
    let query = [("after", after.to_string()), ("limit", limit.to_string())];
    let answer = client.get(&[folder(kind), name.as_str(), "dead-letters"], &query).await?;
    output.show_value(&answer.read::<Listed<Box<RawValue>>>()?.dead_letters, || {
        let listed: Listed<Parked> = answer.read()?;
        let rows = listed.dead_letters.into_iter().map(|parked| {
            let (position, attempts) = (parked.position.to_string(), parked.attempts.to_string());
            let standing = word(&parked.standing);
            [position, parked.stream.to_string(), parked.event_type.to_string(), standing, attempts, parked.error]
        });
        let header = ["position", "stream", "type", "standing", "attempts", "error"];
        Ok(table(&header, rows, &format!("{kind} {name} has no dead letters")))
    })
}

/// The name of a value in JSON.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}

async fn show(client: &Client, output: Output, name: &Name, position: u64) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Shown {
        #[serde(flatten)]
        parked: Parked,
        event: Option<Value>,
    }

    let folder = folder(kind_of(client, name).await?);
    let path = [folder, name.as_str(), "dead-letters", &position.to_string()];
    let answer = client.get(&path, &[]).await?;
    output.show(&answer.text, || {
        let Shown { parked, event } = answer.read()?;
        let hint = match parked.standing {
            Standing::Failed => format!(
                "`lantern dead-letter retry {name} --position {position}` tries it again, `skip` passes over it"
            ),
            Standing::Behind => "it waits behind an earlier event of its stream".into(),
            Standing::Skipped => "it was passed over".into(),
        };
        let event = event.and_then(|event| serde_json::to_string_pretty(&event).ok());
        Ok(facts(&[
            ("position", parked.position.to_string()),
            ("stream", parked.stream.to_string()),
            ("type", parked.event_type.to_string()),
            ("standing", format!("{}: {hint}", word(&parked.standing))),
            ("kind", parked.kind.map(|kind| word(&kind)).unwrap_or_default()),
            ("error", parked.error),
            ("attempts", parked.attempts.to_string()),
            ("module", parked.module.to_string()),
            ("trace", parked.trace_id.unwrap_or_default()),
            ("first", parked.first_at.to_string()),
            ("last", parked.last_at.to_string()),
            ("event", event.unwrap_or_default()),
            ("call stack", parked.backtrace.unwrap_or_default()),
        ]))
    })
}

impl Retry {
    async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        let name = self.name;
        let body = match self.selection {
            Selection { stream: Some(stream), .. } => RetryBody { stream: Some(stream), ..RetryBody::default() },
            Selection { position: Some(position), .. } => {
                RetryBody { position: Some(position), ..RetryBody::default() }
            }
            // `--all` says aloud what is meant without it.
            Selection { all: _, .. } => RetryBody { all: Some(true), ..RetryBody::default() },
        };
        let folder = folder(kind_of(client, &name).await?);
        let answer = client.post(&[folder, name.as_str(), "dead-letters", "retry"], &[], &body).await?;
        output.show(&answer.text, || {
            let Retried { handled, remaining } = answer.read()?;
            let more = if remaining == 0 { String::new() } else { format!(": `lantern dead-letter list {name}`") };
            Ok(format!("{handled} events were handled, {remaining} are parked still{more}"))
        })
    }
}

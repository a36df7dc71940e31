//! `lantern schedule`: what handlers have put off.

use clap::Subcommand;
use lantern_core::Name;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    client::Client,
    failure::Failure,
    output::{Output, table},
};

/// Commands about schedules.
#[derive(Debug, Subcommand)]
pub(super) enum Schedule {
    /// List what handlers have scheduled.
    List {
        /// Only that of this handler.
        #[arg(long, value_name = "NAME")]
        handler: Option<Name>,
    },
    /// Take back what a handler has scheduled under a key.
    Cancel {
        handler: Name,
        #[arg(allow_hyphen_values = true)]
        key: String,
    },
}

impl Schedule {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        match self {
            Self::List { handler } => list(client, output, handler).await,
            Self::Cancel { handler, key } => {
                client.delete(&["schedules", handler.as_str(), &key]).await?;
                let done = json!({ "handler": handler, "cancelled": key });
                output.done(&done, format_args!("what handler {handler} has scheduled as {key} will not be emitted"))
            }
        }
    }
}

/// A row of the table.
#[derive(Deserialize)]
struct Row {
    handler: String,
    key: String,
    due: String,
    stream: String,
    r#type: String,
}

async fn list(client: &Client, output: Output, handler: Option<Name>) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Listed<T> {
        schedules: Vec<T>,
    }

    let query: Vec<_> = handler.map(|handler| ("handler", handler.to_string())).into_iter().collect();
    let answer = client.get(&["schedules"], &query).await?;
    output.show_value(&answer.read::<Listed<Box<RawValue>>>()?.schedules, || {
        let listed: Listed<Row> = answer.read()?;
        let rows = listed.schedules.into_iter().map(|row| [row.handler, row.key, row.due, row.stream, row.r#type]);
        Ok(table(&["handler", "key", "due", "stream", "type"], rows, "nothing is scheduled"))
    })
}

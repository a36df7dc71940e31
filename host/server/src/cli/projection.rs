//! `lantern projection`: what only projections have. The rest is that of all processors.

use std::time::Duration;

use clap::{Args, Subcommand};
use lantern_core::{Kind, Name};
use lantern_processors::Status;

use super::{
    client::Client,
    failure::{Exit, Failure},
    module::meant,
    output::Output,
    processor,
    settings::deploy,
};
use crate::http::RebuildBody;

/// How often a rebuild is looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// Commands about projections.
#[derive(Debug, Subcommand)]
pub(super) enum Projection {
    /// Deploy a projection.
    Deploy(Box<Deploy>),
    /// Build the read model anew beside the live one, and change over when it has caught up.
    Rebuild {
        name: Name,
        /// A digest, its first six or more digits, or a file; the module that runs now when it is not given.
        #[arg(long, value_name = "DIGEST|FILE")]
        module: Option<String>,
        /// Wait until the new read model is the live one.
        #[arg(long)]
        wait: bool,
    },
    #[command(flatten)]
    Any(processor::Verb),
}

/// Deploy a projection.
#[derive(Debug, Args)]
pub(super) struct Deploy {
    /// Where it begins: beginning, end, a position, or after:N for the events after position N.
    #[arg(long, default_value = "beginning")]
    from: String,
    #[command(flatten)]
    any: processor::Processing,
}

impl Projection {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        match self {
            Self::Deploy(own) => {
                let body = own.any.body(client, own.from).await?;
                deploy(client, output, Kind::Projection, &body).await
            }
            Self::Rebuild { name, module, wait } => rebuild(client, output, &name, module, wait).await,
            Self::Any(verb) => verb.run(Kind::Projection, client, output).await,
        }
    }
}

async fn rebuild(
    client: &Client,
    output: Output,
    name: &Name,
    module: Option<String>,
    wait: bool,
) -> Result<(), Failure> {
    let module = match module {
        Some(module) => Some(meant(client, &module).await?),
        None => None,
    };
    let path = ["projections", name.as_str()];
    let mut answer = client.post(&["projections", name.as_str(), "rebuild"], &[], &RebuildBody { module }).await?;
    let begun: Status = answer.read()?;
    let Some(wanted) = begun.rebuild.as_ref().map(|rebuild| rebuild.generation).filter(|_| wait) else {
        return output.show(&answer.text, || {
            Ok(format!(
                "the rebuild of projection {name} has begun: `lantern projection status {name}` shows how far it is"
            ))
        });
    };
    loop {
        let now: Status = answer.read()?;
        match now.rebuild {
            Some(_) => tokio::time::sleep(GLANCE).await,
            None if now.generation == wanted => break,
            None => {
                let detail = format!(
                    "the rebuild of projection {name} was given up: `lantern projection history {name}` says why"
                );
                return Err(Failure::new(Exit::Failed, "rebuild-abandoned", detail).with("generation", wanted));
            }
        }
        answer = client.get(&path, &[]).await?;
    }
    output.show(&answer.text, || Ok(format!("projection {name} now shows generation {wanted}")))
}

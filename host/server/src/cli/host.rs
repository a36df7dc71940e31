//! `lantern host`: the hosts that share a database.

use clap::Subcommand;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    client::Client,
    failure::Failure,
    output::{Output, table},
};
use crate::http::HostShown;

/// Commands about hosts.
#[derive(Debug, Subcommand)]
pub(super) enum Host {
    /// List the hosts that share the stores, and what each of them runs.
    List,
}

impl Host {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        match self {
            Self::List => list(client, output).await,
        }
    }
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Listed<T> {
        hosts: Vec<T>,
    }

    let answer = client.get(&["hosts"], &[]).await?;
    output.show_value(&answer.read::<Listed<Box<RawValue>>>()?.hosts, || {
        let listed: Listed<HostShown> = answer.read()?;
        let rows = listed.hosts.into_iter().map(|host| {
            let state = match (host.is_live, host.is_this) {
                (false, _) => "not heard of",
                (true, true) => "live (this one)",
                (true, false) => "live",
            };
            let times = [host.started_at.to_string(), host.seen_at.to_string()];
            let texts = [host.name, host.address, state.to_owned()];
            texts.into_iter().chain(times).chain([host.processors.join(", "), host.routes.join(", ")])
        });
        let header = ["name", "address", "state", "since", "last seen", "runs", "routes"];
        Ok(table(&header, rows, "no hosts"))
    })
}

//! `lantern handler`: what only handlers have. The rest is that of all processors.

use clap::{Args, Subcommand};
use lantern_core::{
    Grants, Kind,
    grants::{BusTopic, BusTopicError, Network, Origin},
};
use serde_json::json;

use super::{client::Client, failure::Failure, output::Output, processor, settings::deploy};

/// Commands about handlers.
#[derive(Debug, Subcommand)]
pub(super) enum Handler {
    /// Deploy a handler.
    Deploy(Box<Deploy>),
    #[command(flatten)]
    Any(processor::Verb),
}

/// Deploy a handler.
#[derive(Debug, Args)]
pub(super) struct Deploy {
    /// Where its effects begin: end, beginning, a position, or after:N for the events after position N.
    #[arg(long, default_value = "end")]
    from: String,
    /// What it may do: emit, schedule, time, random, or publish=BUS/TOPIC; may be repeated.
    #[arg(long, value_name = "GRANT", value_parser = Grant::read, help_heading = "Grants")]
    grant: Vec<Grant>,
    /// Where it may send requests to, for example `https://api.example.com`; may be repeated.
    #[arg(long, value_name = "ORIGIN", help_heading = "Grants")]
    http: Vec<Origin>,
    /// Loopback, private and other special addresses that those names may lead to, for example 10.0.0.0/8; may be
    /// repeated.
    #[arg(long, value_name = "NETWORK", help_heading = "Grants")]
    http_address: Vec<Network>,
    #[command(flatten)]
    any: processor::Processing,
}

/// Something a handler may do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Grant {
    /// Emit events.
    Emit,
    /// Schedule events.
    Schedule,
    /// See the real time instead of the event's.
    Time,
    /// Have real random numbers instead of those seeded by the event's id.
    Random,
    /// Publish to a topic.
    Publish(BusTopic),
}

impl Grant {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "emit" => Ok(Self::Emit),
            "schedule" => Ok(Self::Schedule),
            "time" => Ok(Self::Time),
            "random" => Ok(Self::Random),
            _ => match text.strip_prefix("publish=") {
                Some(topic) => topic.parse().map(Self::Publish).map_err(|error: BusTopicError| error.to_string()),
                None => Err("`emit`, `schedule`, `time`, `random` and `publish=BUS/TOPIC` can be granted".into()),
            },
        }
    }
}

impl Handler {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        match self {
            Self::Deploy(own) => {
                let Deploy { from, grant, http, http_address, any } = *own;
                let grants = grants(&grant, http, http_address);
                let mut body = any.body(client, from).await?;
                body.insert("grants".into(), json!(grants));
                deploy(client, output, Kind::Handler, &body).await
            }
            Self::Any(verb) => verb.run(Kind::Handler, client, output).await,
        }
    }
}

fn grants(granted: &[Grant], http: Vec<Origin>, addresses: Vec<Network>) -> Grants {
    Grants {
        emit: granted.contains(&Grant::Emit),
        schedule: granted.contains(&Grant::Schedule),
        time: granted.contains(&Grant::Time),
        random: granted.contains(&Grant::Random),
        http,
        addresses,
        publish: granted
            .iter()
            .filter_map(|grant| if let Grant::Publish(to) = grant { Some(to.clone()) } else { None })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_granted_that_is_not_asked_for() {
        assert_eq!(grants(&[], vec![], vec![]), Grants::default());
        let some = grants(&[Grant::Emit, Grant::Random], vec!["https://a.example".parse().unwrap()], vec![]);
        assert!(some.emit && some.random && !some.schedule && !some.time && some.has_http());
        let publishing = grants(&[Grant::read("publish=main/orders").unwrap()], vec![], vec![]);
        assert!(publishing.topic("main", "orders").is_some() && !publishing.emit);
        assert!(Grant::read("publish=main").is_err() && Grant::read("fly").is_err());
    }
}

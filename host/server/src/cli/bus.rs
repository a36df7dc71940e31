//! `lantern bus`: the buses of the configuration, the routes between them and the log, and what those have set aside.

use clap::{Args, Subcommand};
use lantern_core::{Name, parked::Standing};
use lantern_processors::{DeadLetter, DeadMessage, Direction, Retried, RouteStatus};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    client::Client,
    failure::Failure,
    output::{Output, facts, short, table},
};
use crate::http::{MAX_LISTED, RetryRouteBody};

/// Commands about buses and routes.
#[derive(Debug, Subcommand)]
pub(super) enum Bus {
    /// List the buses, whether they answer, and the routes.
    List,
    /// Show how a route is doing.
    Status { route: Name },
    /// Have a route rest until it is resumed, also when it moves to another host or the host starts again.
    Pause { route: Name },
    /// Let a route go on that was paused, or stopped by an error.
    Resume { route: Name },
    /// Look at what a route has set aside, and decide about it.
    #[command(subcommand)]
    DeadLetter(OfRoute),
}

/// Commands about the dead letters of a route.
#[derive(Debug, Subcommand)]
pub(super) enum OfRoute {
    /// List what a route has set aside.
    List {
        route: Name,
        /// Only those after this one: a position or an id.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=MAX_LISTED as u64))]
        limit: u64,
    },
    /// Show one of them: an event by its position, a message by its id.
    Show { route: Name, id: String },
    /// Try them again: publish the events, read the messages anew.
    Retry(Retry),
    /// Give one up. The record of an event stays, as skipped, and its stream goes on; a message is forgotten.
    Discard { route: Name, id: String },
}

/// Try again what a route has set aside; all of it unless told otherwise.
#[derive(Debug, Args)]
pub(super) struct Retry {
    route: Name,
    /// Only this one: a position or an id.
    #[arg(long)]
    id: Option<String>,
    /// Read messages as if the route had this category.
    #[arg(long)]
    category: Option<String>,
}

impl Bus {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        match self {
            Self::List => list(client, output).await,
            Self::Status { route } => {
                let answer = client.get(&["routes", route.as_str()], &[]).await?;
                output.show(&answer.text, || Ok(shown(&answer.read()?)))
            }
            Self::Pause { route } => command(client, output, &route, "pause").await,
            Self::Resume { route } => command(client, output, &route, "resume").await,
            Self::DeadLetter(verb) => verb.run(client, output).await,
        }
    }
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Buses<T> {
        buses: Vec<T>,
    }

    #[derive(Deserialize)]
    struct Routes<T> {
        routes: Vec<T>,
    }

    #[derive(Deserialize)]
    struct Row {
        name: String,
        system: String,
        address: String,
        error: Option<String>,
    }

    let (buses, routes) = (client.get(&["buses"], &[]).await?, client.get(&["routes"], &[]).await?);
    let json = json!({
        "buses": buses.read::<Buses<Box<RawValue>>>()?.buses,
        "routes": routes.read::<Routes<Box<RawValue>>>()?.routes,
    });
    output.show_value(&json, || {
        let rows = buses.read::<Buses<Row>>()?.buses.into_iter().map(|row| {
            let answer = row.error.map_or_else(|| "available".into(), |error| short(&error));
            [row.name, row.system, row.address, answer]
        });
        let buses = table(&["bus", "system", "address", "answer"], rows, "the configuration has no bus");
        let rows = routes.read::<Routes<RouteStatus>>()?.routes.into_iter().map(|status| {
            let (lag, dead) = (status.lag.to_string(), status.dead_letters.to_string());
            let place = format!("{} {}/{}", arrow(status.direction), status.bus, status.topic);
            let host = status.host.unwrap_or_default();
            [status.name.to_string(), place, status.state.as_str().into(), host, lag, dead]
        });
        let routes =
            table(&["route", "way", "state", "host", "lag", "dead letters"], rows, "the configuration has no route");
        Ok(format!("{buses}\n{routes}"))
    })
}

fn arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::Publish => "to",
        Direction::Consume => "from",
    }
}

fn shown(status: &RouteStatus) -> String {
    let position = match (status.position, status.head) {
        (Some(position), Some(head)) => format!("{position} of {head}"),
        (Some(position), None) => position.to_string(),
        _ => String::new(),
    };
    let partitions: Vec<_> =
        status.partitions.iter().map(|lag| format!("{}: {}", lag.partition, lag.messages)).collect();
    let error = status.last_error.as_ref().map(|error| format!("{} ({})", error.message, error.at));
    facts(&[
        ("route", status.name.to_string()),
        ("way", format!("{} topic {} of bus {}", arrow(status.direction), status.topic, status.bus)),
        ("group", status.group.clone().unwrap_or_default()),
        ("feeds", status.projection.as_ref().map(|name| format!("projection {name}")).unwrap_or_default()),
        ("state", status.state.as_str().into()),
        ("host", status.host.clone().unwrap_or_default()),
        ("position", position),
        ("lag", status.lag.to_string()),
        ("oldest waiting", status.oldest_waiting.map(|time| time.to_string()).unwrap_or_default()),
        ("partitions", partitions.join("\n")),
        ("messages", status.messages.to_string()),
        ("dead letters", status.dead_letters.to_string()),
        ("last error", error.unwrap_or_default()),
    ])
}

async fn command(client: &Client, output: Output, route: &Name, verb: &str) -> Result<(), Failure> {
    let answer = client.post(&["routes", route.as_str(), verb], &[], &json!({})).await?;
    output.show(&answer.text, || {
        let status: RouteStatus = answer.read()?;
        Ok(format!("route {route} is {}", status.state.as_str()))
    })
}

impl OfRoute {
    async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        match self {
            Self::List { route, after, limit } => list_dead(client, output, &route, after, limit).await,
            Self::Show { route, id } => {
                let answer = client.get(&["routes", route.as_str(), "dead-letters", &id], &[]).await?;
                output.show(&answer.text, || Ok(shown_dead(&route, &answer.read()?)))
            }
            Self::Retry(Retry { route, id, category }) => {
                let body = RetryRouteBody { id, category };
                let answer = client.post(&["routes", route.as_str(), "dead-letters", "retry"], &[], &body).await?;
                output.show(&answer.text, || {
                    let Retried { handled, remaining } = answer.read()?;
                    Ok(format!("{handled} went their way, {remaining} remain"))
                })
            }
            Self::Discard { route, id } => {
                client.delete(&["routes", route.as_str(), "dead-letters", &id]).await?;
                output.done(&json!({ "discarded": id }), format_args!("{id} is given up"))
            }
        }
    }
}

async fn list_dead(
    client: &Client,
    output: Output,
    route: &Name,
    after: Option<String>,
    limit: u64,
) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Listed<T> {
        dead_letters: Vec<T>,
    }

    let mut query = vec![("limit", limit.to_string())];
    query.extend(after.map(|after| ("after", after)));
    let answer = client.get(&["routes", route.as_str(), "dead-letters"], &query).await?;
    output.show_value(&answer.read::<Listed<Box<RawValue>>>()?.dead_letters, || {
        let listed: Listed<DeadLetter> = answer.read()?;
        let rows = listed.dead_letters.into_iter().map(|dead| match dead {
            DeadLetter::Event(parked) => {
                let standing = if parked.standing == Standing::Skipped { "given up: " } else { "" };
                [parked.position.to_string(), parked.last_at.to_string(), format!("{standing}{}", parked.error)]
            }
            DeadLetter::Message(message) => [message.id, message.at.to_string(), message.reason],
        });
        Ok(table(&["id", "time", "reason"], rows, &format!("route {route} has no dead letters")))
    })
}

fn shown_dead(route: &Name, dead: &DeadLetter) -> String {
    match dead {
        DeadLetter::Event(parked) => facts(&[
            ("position", parked.position.to_string()),
            ("stream", parked.stream.to_string()),
            ("type", parked.event_type.to_string()),
            ("reason", parked.error.clone()),
            ("attempts", parked.attempts.to_string()),
            ("first", parked.first_at.to_string()),
            ("last", parked.last_at.to_string()),
            ("next", hint(route, &parked.position.to_string())),
        ]),
        DeadLetter::Message(message) => shown_message(route, message),
    }
}

fn shown_message(route: &Name, message: &DeadMessage) -> String {
    let headers: Vec<_> =
        message.headers.iter().map(|header| format!("{}: {}", header.name, text(&header.value))).collect();
    facts(&[
        ("id", message.id.clone()),
        ("topic", message.topic.clone()),
        ("partition", message.partition.to_string()),
        ("offset", message.offset.to_string()),
        ("arrived", message.at.to_string()),
        ("reason", message.reason.clone()),
        ("retries", message.retries.to_string()),
        ("key", message.key.as_ref().map(|key| text(key)).unwrap_or_default()),
        ("headers", headers.join("\n")),
        ("body", text(&message.body)),
        ("next", hint(route, &message.id)),
    ])
}

/// Bytes as people read them; what is no UTF-8 is shown by its replacement.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn hint(route: &Name, id: &str) -> String {
    format!("`lantern bus dead-letter retry {route} --id {id}` tries it again, `discard` gives it up")
}

//! The JSON shapes of routes, for the OpenAPI document.

use utoipa::ToSchema;

use super::{LastError, Parked};

/// All routes.
#[derive(ToSchema)]
pub(in crate::http) struct RouteList {
    routes: Vec<RouteStatus>,
}

/// How a route is doing.
#[derive(ToSchema)]
pub(in crate::http) struct RouteStatus {
    name: String,
    /// The name of the host that runs it; none while it changes hosts.
    host: Option<String>,
    /// `publish` or `consume`.
    direction: String,
    /// The bus, by its name in the configuration.
    bus: String,
    topic: String,
    /// The consumer group of a route that consumes.
    group: Option<String>,
    /// The projection it feeds straight; none of a route into the log.
    projection: Option<String>,
    /// `starting`, `catching_up`, `live`, `paused`, `stopped` or `error`; `unknown` where another host runs it that does not
    /// answer.
    state: String,
    /// The last position that is published, events that do not fit included; of a route that publishes. How many messages the
    /// projection has dealt with; of a route that feeds one.
    position: Option<u64>,
    /// The head of the log; of a route that publishes.
    head: Option<u64>,
    /// How many positions lie between the two, or how many messages wait.
    lag: u64,
    /// When the oldest event happened that is still to be published.
    oldest_waiting: Option<String>,
    /// The partitions that are this host's; of a route that consumes.
    partitions: Vec<PartitionLag>,
    /// How many messages it has passed on since the host started.
    messages: u64,
    /// How many events or messages are set aside.
    dead_letters: u64,
    last_error: Option<LastError>,
}

/// How far a group is behind in a partition.
#[derive(ToSchema)]
pub(in crate::http) struct PartitionLag {
    partition: u32,
    messages: u64,
}

/// Dead letters of a route.
#[derive(ToSchema)]
pub(in crate::http) struct RouteDeadLetterList {
    dead_letters: Vec<RouteDeadLetter>,
}

/// What a route has set aside: an event that a bus did not take, or a message that is no event.
#[derive(ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum RouteDeadLetter {
    Event(Parked),
    Message(DeadMessage),
}

/// A message that is no event.
#[derive(ToSchema)]
pub(in crate::http) struct DeadMessage {
    /// What it is asked for by.
    id: String,
    /// What is wrong with it.
    reason: String,
    topic: String,
    partition: u32,
    /// Its place in the partition.
    offset: String,
    /// When it arrived first.
    at: String,
    /// How often operators tried it in vain.
    retries: u32,
    /// The key it was published with.
    key_base64: Option<String>,
    headers: Vec<MessageHeader>,
    body_base64: String,
}

/// A header of a message.
#[derive(ToSchema)]
pub(in crate::http) struct MessageHeader {
    name: String,
    value_base64: String,
}

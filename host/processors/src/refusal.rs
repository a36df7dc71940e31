//! Why the supervisor did not do what was asked.

use std::sync::Arc;

use lantern_core::{
    Digest, Kind, Name, Position, State, StreamName, Subject,
    grants::BusTopic,
    hosts::HostsError,
    journal::JournalError,
    log::{AppendError, LogError},
    module::LibraryError,
    read_model::{CommitError, ReadModelError},
};

use crate::arrivals::NotAppended;

/// Why the supervisor did not do what was asked. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such processor.
    #[error("there is no {kind} `{name}`: `lantern {kind} list` shows what is there", kind = .0.kind, name = .0.name)]
    Unknown(Subject),
    /// There is a processor of that name, but it is of this other kind.
    #[error("`{}` is {}: use `lantern {} …`", .0.name, .0.kind.with_article(), .0.kind)]
    OtherKind(Subject),
    /// Another host runs the processor, or none does at the moment.
    #[error("{} `{}` is {}: try again in a moment", .subject.kind, .subject.name, elsewhere(.host.as_deref()))]
    Elsewhere {
        /// The processor.
        subject: Subject,
        /// The name of the host that runs it.
        host: Option<String>,
    },
    /// What is to be deployed is no processor.
    #[error("{} does not consume events: `lantern {} deploy` deploys it", .0.with_article(), .0)]
    NoProcessor(Kind),
    /// A projection has no effects that could be granted.
    #[error(
        "projection `{0}` cannot be granted anything: only handlers have effects, `lantern handler deploy` deploys one"
    )]
    NoGrants(Name),
    /// The name is taken by this processor. Projections and handlers share their names.
    #[error(
        "{kind} `{name}` exists: `{kind} swap` changes its module, `{kind} remove` makes room",
        kind = .0.kind, name = .0.name
    )]
    Exists(Subject),
    /// The processor is in a state in which this cannot be done.
    #[error("{} `{}` is {}: {mend}", subject.kind, subject.name, state.as_str())]
    State {
        /// The processor.
        subject: Subject,
        /// Its state.
        state: State,
        /// What to do about it.
        mend: String,
    },
    /// There is nothing to go back to.
    #[error("{} `{}` has nothing to roll back to: no swap or rebuild came before", .0.kind, .0.name)]
    NothingToRollBack(Subject),
    /// A handler is not rebuilt.
    #[error(
        "handler `{0}` is not rebuilt, a rebuild would repeat its effects: `handler swap` changes its module between \
         two events"
    )]
    NoRebuild(Name),
    /// The processor already runs this module.
    #[error("{} `{}` runs module {} already", subject.kind, subject.name, module.short())]
    SameModule {
        /// The processor.
        subject: Subject,
        /// The module.
        module: Digest,
    },
    /// Another swap, rollback or rebuild of the processor is under way.
    #[error("{} `{}` is busy with another swap or rebuild: wait for it to end", .0.kind, .0.name)]
    Busy(Subject),
    /// The new module failed its dry run.
    #[error("module {} failed its dry run at position {position} ({event_type}): {reason}", module.short())]
    DryRun {
        /// The module.
        module: Digest,
        /// The event it failed at.
        position: Position,
        /// The kind of that event.
        event_type: String,
        /// The failure.
        reason: String,
    },
    /// The SQL tables of a module cannot be made.
    #[error("the tables of module {} cannot be made: {reason}", module.short())]
    Tables {
        /// The module.
        module: Digest,
        /// Why, with the migration.
        reason: String,
    },
    /// The collection is not one of the module's.
    #[error("{} `{}` has no collection `{collection}`: it has {}", subject.kind, subject.name, known.join(", "))]
    UnknownCollection {
        /// The processor.
        subject: Subject,
        /// What was asked for.
        collection: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No event is parked there.
    #[error("{} `{}` has no parked event at position {position}", subject.kind, subject.name)]
    NotParked {
        /// The processor.
        subject: Subject,
        /// Where.
        position: Position,
    },
    /// No event of the stream is parked.
    #[error("{} `{}` has no parked event of stream `{stream}`", subject.kind, subject.name)]
    StreamNotParked {
        /// The processor.
        subject: Subject,
        /// The stream.
        stream: StreamName,
    },
    /// An earlier event of the stream must be dealt with first.
    #[error("the event at {position} waits behind the one at {first}: retry or skip that one first")]
    NotFirst {
        /// The event asked for.
        position: Position,
        /// The first parked event of its stream.
        first: Position,
    },
    /// Nothing is scheduled under the key.
    #[error("handler `{name}` has nothing scheduled as `{key}`: `lantern schedule list` shows what is there")]
    NotScheduled {
        /// The handler.
        name: Name,
        /// What was asked for.
        key: Arc<str>,
    },
    /// There is no such route.
    #[error("there is no route `{0}`: `lantern bus list` shows those of the configuration")]
    UnknownRoute(Name),
    /// Another host runs the route, or none does at the moment.
    #[error("route `{route}` is {}: try again in a moment", elsewhere(.host.as_deref()))]
    RouteElsewhere {
        /// The route.
        route: Name,
        /// The name of the host that runs it.
        host: Option<String>,
    },
    /// A route leads to a bus that the configuration does not have.
    #[error("route `{route}` has the bus `{bus}`, which the configuration does not have: add a table `[[bus]]`")]
    UnknownBus {
        /// The route.
        route: Name,
        /// The bus.
        bus: Name,
    },
    /// A handler is to be granted a topic of a bus that the configuration does not have.
    #[error(
        "handler `{handler}` cannot be granted `{topic}`: the configuration has no bus `{}`, add a table `[[bus]]`",
        topic.bus
    )]
    NoSuchBus {
        /// The handler.
        handler: Name,
        /// What was to be granted.
        topic: BusTopic,
    },
    /// A route is to feed a projection from a bus that keeps the offsets itself.
    #[error(
        "route `{route}` cannot feed a projection: {system}, the bus `{bus}`, keeps the place of its consumers itself, and \
         only Kafka and the bus in memory leave that to the projection: take `projection` out of the route, then its \
         messages come into the log, each once, and the projection reads them there"
    )]
    NoOffsets {
        /// The route.
        route: Name,
        /// The bus.
        bus: Name,
        /// What it is.
        system: &'static str,
    },
    /// A projection was fed by a route that is not there any more, or leads elsewhere.
    #[error(
        "projection `{projection}` is fed by the route `{route}`, which the configuration does not have: put it back, with \
         `projection = \"{projection}\"`, or put it back and remove the projection"
    )]
    RouteGone {
        /// The projection.
        projection: Name,
        /// The route.
        route: Name,
    },
    /// A projection reads the log that a route is to feed.
    #[error(
        "projection `{projection}` was deployed to read the log, and now the route `{route}` is to feed it: take \
         `projection` out of the route, or name another one there"
    )]
    ReadsLog {
        /// The projection.
        projection: Name,
        /// The route.
        route: Name,
    },
    /// A route feeds projections only.
    #[error(
        "the route `{route}` feeds the projection `{name}`: deploy a projection under this name, or take another one"
    )]
    FeedsProjection {
        /// The route.
        route: Name,
        /// The name.
        name: Name,
    },
    /// Where a projection begins that a route feeds is said by the route.
    #[error(
        "projection `{name}` begins where its route does: deploy it without `--from`, and set `beginning` of `{route}`"
    )]
    BeginsWithRoute {
        /// The route.
        route: Name,
        /// The projection.
        name: Name,
    },
    /// What would be read again is on no log.
    #[error(
        "projection `{projection}` is fed by the route `{route}` and has no log to be rebuilt from: remove it and deploy it \
         again, then it begins with the oldest message that the topic still has"
    )]
    NoLog {
        /// The projection.
        projection: Name,
        /// The route.
        route: Name,
    },
    /// A route has not set this aside.
    #[error("route `{route}` has no dead letter `{id}`: `lantern bus dead-letter list {route}` shows what is there")]
    NoDeadLetter {
        /// The route.
        route: Name,
        /// What was asked for.
        id: String,
    },
    /// The processor met trouble before it could do it.
    #[error("it met trouble meanwhile: look at its status, then try again")]
    Interrupted,
    /// The host is shutting down.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// The module library refused or failed.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The read model failed.
    #[error(transparent)]
    ReadModel(#[from] ReadModelError),
    /// A message did not get into the log.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A dead letter could not be changed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The registry of hosts failed.
    #[error(transparent)]
    Hosts(#[from] HostsError),
}

fn elsewhere(host: Option<&str>) -> String {
    host.map_or_else(|| "run by no host at the moment".into(), |host| format!("run by host `{host}`"))
}

impl From<NotAppended> for Refusal {
    fn from(error: NotAppended) -> Self {
        match error {
            NotAppended::Append(error) => error.into(),
            NotAppended::Log(error) => error.into(),
        }
    }
}

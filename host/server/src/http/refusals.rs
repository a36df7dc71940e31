//! Why processors, aggregates and upcasters do not do what is asked, as problems.

use axum::http::StatusCode;
use lantern_aggregates::CommandError;
use lantern_core::{
    Digest, Kind, Position, Rejection, Subject,
    guest_threads::Panicked,
    module::{Failure, FailureKind},
    snapshot::SnapshotError,
};
use lantern_processors::Refusal;
use serde_json::Value;

use super::{
    door::closing,
    problem::{Problem, unavailable},
};

impl Problem {
    /// Something else is in the way.
    fn conflict(slug: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, slug, detail)
    }

    /// Adds what the problem is about, under the name of its kind.
    fn about(self, subject: &Subject) -> Self {
        self.with(subject.kind.as_str(), &subject.name)
    }
}

/// The name is taken.
fn exists(kind: Kind) -> &'static str {
    match kind {
        Kind::Projection => "projection-exists",
        Kind::Handler => "handler-exists",
        Kind::Aggregate => "aggregate-exists",
        Kind::Upcaster => "upcaster-exists",
    }
}

/// Another change is under way.
fn busy(kind: Kind) -> &'static str {
    match kind {
        Kind::Projection => "projection-busy",
        Kind::Handler => "handler-busy",
        Kind::Aggregate => "aggregate-busy",
        Kind::Upcaster => "upcaster-busy",
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Unknown(subject) => Self::not_found(detail).about(&subject),
            Refusal::OtherKind(subject) => Self::new(StatusCode::NOT_FOUND, "other-kind", detail)
                .about(&subject)
                .with("kind", subject.kind.as_str()),
            Refusal::Elsewhere { subject, host } => unavailable("elsewhere", detail).about(&subject).with("host", host),
            Refusal::NoProcessor(_) | Refusal::NoGrants(_) | Refusal::NoSuchBus { .. } => Self::invalid(detail),
            Refusal::FeedsProjection { route, .. } | Refusal::BeginsWithRoute { route, .. } => {
                Self::invalid(detail).with("route", route)
            }
            Refusal::NoOffsets { route, .. } | Refusal::RouteGone { route, .. } | Refusal::ReadsLog { route, .. } => {
                Self::conflict("route-differs", detail).with("route", route)
            }
            Refusal::NoLog { projection, .. } => Self::conflict("no-rebuild", detail).with("projection", projection),
            Refusal::Exists(subject) => Self::conflict(exists(subject.kind), detail).about(&subject),
            Refusal::State { subject, state, .. } => {
                let slug = if subject.kind == Kind::Handler { "handler-state" } else { "projection-state" };
                Self::conflict(slug, detail).about(&subject).with("state", state)
            }
            Refusal::NothingToRollBack(subject) => Self::conflict("nothing-to-roll-back", detail).about(&subject),
            Refusal::NoRebuild(name) => Self::conflict("no-rebuild", detail).with("handler", name),
            Refusal::SameModule { subject, module } => {
                Self::conflict("same-module", detail).about(&subject).with("module", module)
            }
            Refusal::Busy(subject) => Self::conflict(busy(subject.kind), detail).about(&subject),
            Refusal::DryRun { module, position, event_type, reason } => {
                dry_run_failed(detail, module, position, event_type, reason)
            }
            Refusal::Tables { module, reason } => {
                Self::conflict("tables-refused", detail).with("module", module).with("reason", reason)
            }
            Refusal::UnknownCollection { subject, collection, known } => {
                Self::not_found(detail).about(&subject).with("collection", collection).with("known", known)
            }
            Refusal::NotParked { subject, position } => {
                Self::not_found(detail).about(&subject).with("position", position)
            }
            Refusal::StreamNotParked { subject, stream } => {
                Self::not_found(detail).about(&subject).with("stream", stream)
            }
            Refusal::NotFirst { position, first } => {
                Self::conflict("not-first", detail).with("position", position).with("first", first)
            }
            Refusal::NotScheduled { name, key } => {
                Self::not_found(detail).with("handler", name).with("key", key.as_ref())
            }
            Refusal::RouteElsewhere { route, host } => {
                unavailable("elsewhere", detail).with("route", route).with("host", host)
            }
            Refusal::UnknownRoute(route) => Self::not_found(detail).with("route", route),
            Refusal::UnknownBus { route, bus } => Self::not_found(detail).with("route", route).with("bus", bus),
            Refusal::NoDeadLetter { route, id } => Self::not_found(detail).with("route", route).with("id", id),
            Refusal::Append(error) => error.into(),
            Refusal::Commit(_) => unavailable("read-model-unavailable", detail),
            Refusal::Interrupted => unavailable("interrupted", detail),
            Refusal::ShuttingDown => closing(),
            Refusal::Library(error) => error.into(),
            Refusal::Log(error) => error.into(),
            Refusal::ReadModel(error) => error.into(),
            Refusal::Journal(error) => error.into(),
            Refusal::Hosts(error) => unavailable("hosts-unavailable", error.to_string()),
        }
    }
}

impl From<lantern_aggregates::Refusal> for Problem {
    fn from(refusal: lantern_aggregates::Refusal) -> Self {
        use lantern_aggregates::Refusal as Own;

        let detail = refusal.to_string();
        match refusal {
            Own::Unknown(name) => Self::not_found(detail).with("aggregate", name),
            Own::Exists(name) => Self::conflict(exists(Kind::Aggregate), detail).with("aggregate", name),
            Own::NoCategory(_) => Self::invalid(detail),
            Own::NothingToRollBack(name) => Self::conflict("nothing-to-roll-back", detail).with("aggregate", name),
            Own::SameModule { name, module } => {
                Self::conflict("same-module", detail).with("aggregate", name).with("module", module)
            }
            Own::Busy(name) => Self::conflict(busy(Kind::Aggregate), detail).with("aggregate", name),
            Own::DryRun { module, stream, from, to, reason } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "dry-run-failed", detail)
                    .with("module", module)
                    .with("stream", stream)
                    .with("from", from)
                    .with("to", to)
                    .with("reason", reason)
            }
            Own::NoEvents(stream) => Self::not_found(detail).with("stream", stream),
            Own::NoVersion { stream, actual, .. } => {
                Self::not_found(detail).with("stream", stream).with("actual", actual)
            }
            Own::NoSnapshots(name) => Self::conflict("no-snapshots", detail).with("aggregate", name),
            Own::ShuttingDown => closing(),
            Own::Load(error) => Self::from(*error),
            Own::Interrupted(error) => error.into(),
            Own::Library(error) => error.into(),
            Own::Log(error) => error.into(),
            Own::Journal(error) => error.into(),
            Own::Snapshots(error) => error.into(),
        }
    }
}

impl From<lantern_upcasters::Refusal> for Problem {
    fn from(refusal: lantern_upcasters::Refusal) -> Self {
        use lantern_upcasters::Refusal as Own;

        let detail = refusal.to_string();
        let refused = |slug| Self::new(StatusCode::UNPROCESSABLE_ENTITY, slug, &*detail);
        match refusal {
            Own::Unknown(name) => Self::not_found(detail).with("upcaster", name),
            Own::Exists(name) => Self::conflict(exists(Kind::Upcaster), detail).with("upcaster", name),
            Own::NothingToRollBack(name) => Self::conflict("nothing-to-roll-back", detail).with("upcaster", name),
            Own::SameModule { name, module } => {
                Self::conflict("same-module", detail).with("upcaster", name).with("module", module)
            }
            Own::Step { name, step, .. } => refused("step-refused").with("upcaster", name).with("step", step),
            Own::Collision { event_type, schema_version, first, second } => Self::conflict("steps-collide", detail)
                .with("event_type", event_type)
                .with("schema_version", schema_version)
                .with("upcasters", [first, second]),
            Own::Circle { forms } => refused("steps-circle").with("forms", forms),
            Own::DryRun { module, position, event_type, reason } => {
                dry_run_failed(detail, module, position, event_type, reason)
            }
            Own::Interrupted(error) => error.into(),
            Own::Library(error) => error.into(),
            Own::Log(error) => error.into(),
            Own::Journal(error) => error.into(),
        }
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let detail = error.to_string();
        match error {
            CommandError::Unknown { stream, known } => {
                Self::not_found(detail).with("stream", stream).with("known", known)
            }
            CommandError::UnknownCommand { name, command_type, known } => {
                Self::not_found(detail).with("aggregate", name).with("command", command_type).with("known", known)
            }
            CommandError::Rejected(rejection) => rejected(rejection, detail),
            CommandError::NotExpected { stream, expected, actual } => Self::conflict("wrong-expected-version", detail)
                .with("stream", stream)
                .with("expected", expected.to_string())
                .with("actual", actual),
            CommandError::Contended { stream, attempts } => {
                Self::conflict("contended", detail).with("stream", stream).with("attempts", attempts)
            }
            CommandError::IdTaken { id, stream } => {
                Self::conflict("id-taken", detail).with("id", id).with("stream", stream)
            }
            CommandError::Failed { stream, module, failure } => {
                module_failed(failure, detail).with("stream", stream).with("module", module)
            }
            CommandError::Busy(_) => unavailable("busy", detail),
            CommandError::ShuttingDown => closing(),
            CommandError::Interrupted(error) => error.into(),
            CommandError::Append(error) => error.into(),
            CommandError::Log(error) => error.into(),
        }
    }
}

/// A module failed at an event when it was tried.
fn dry_run_failed(detail: String, module: Digest, position: Position, event_type: String, reason: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "dry-run-failed", detail)
        .with("module", module)
        .with("position", position)
        .with("event_type", event_type)
        .with("reason", reason)
}

/// The module's own no.
fn rejected(rejection: Rejection, detail: String) -> Problem {
    let Rejection { code, message, details } = rejection;
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "rejected", detail);
    let problem = problem.with("code", code).with("message", message);
    match details.and_then(|details| serde_json::from_str::<Value>(&details).ok()) {
        Some(details) => problem.with("details", details),
        None => problem,
    }
}

/// A guest failed where somebody waits for its answer.
pub(super) fn module_failed(failure: Failure, detail: String) -> Problem {
    let Failure { kind, backtrace, .. } = failure;
    let problem = match kind {
        FailureKind::Transient => unavailable("module-failed", detail),
        _ => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "module-failed", detail),
    };
    let problem = problem.with("failure", kind);
    match backtrace {
        Some(backtrace) => problem.with("backtrace", backtrace),
        None => problem,
    }
}

impl From<Panicked> for Problem {
    fn from(error: Panicked) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "panicked", error.to_string())
    }
}

impl From<SnapshotError> for Problem {
    fn from(error: SnapshotError) -> Self {
        unavailable("snapshots-unavailable", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use lantern_core::{Version, module::LibraryError};

    use super::*;

    fn subject(kind: Kind) -> Subject {
        Subject { kind, name: "orders".parse().unwrap() }
    }

    #[test]
    fn unknown_conflict_and_refusal_have_their_statuses() {
        let status = |refusal: Refusal| Problem::from(refusal).status.as_u16();
        assert_eq!(status(Refusal::Unknown(subject(Kind::Handler))), 404);
        assert_eq!(status(Refusal::Exists(subject(Kind::Projection))), 409);
        assert_eq!(status(Refusal::Busy(subject(Kind::Handler))), 409);
        assert_eq!(status(Refusal::Library(LibraryError::Refused("no component".into()))), 422);
        assert_eq!(status(Refusal::ShuttingDown), 503);
    }

    #[test]
    fn a_problem_names_what_it_is_about_under_its_kind() {
        let problem = Problem::from(Refusal::Exists(subject(Kind::Handler)));
        assert_eq!((problem.slug, &problem.members["handler"]), ("handler-exists", &Value::from("orders")));
        let problem = Problem::from(Refusal::OtherKind(subject(Kind::Handler)));
        assert_eq!((problem.slug, &problem.members["kind"]), ("other-kind", &Value::from("handler")));
    }

    #[test]
    fn a_rejection_carries_the_words_of_the_module() {
        let rejection = Rejection {
            code: "not-paid".into(),
            message: "it is not paid".into(),
            details: Some(r#"{"open":3}"#.into()),
        };
        let problem = Problem::from(CommandError::Rejected(rejection));
        let expected = serde_json::json!({
            "type": "rejected",
            "title": "Rejected",
            "status": 422,
            "detail": "the command was rejected, not-paid: it is not paid",
            "code": "not-paid",
            "message": "it is not paid",
            "details": { "open": 3 },
        });
        assert_eq!(problem.to_json(), expected);
    }

    #[test]
    fn what_a_command_meets_has_its_status() {
        let stream = || "Order-1".parse().unwrap();
        let failed = |kind| CommandError::Failed {
            stream: stream(),
            module: Digest::of(b"m"),
            failure: Failure::new(kind, "why"),
        };
        for (error, status, slug) in [
            (CommandError::Unknown { stream: stream(), known: vec![] }, 404, "not-found"),
            (
                CommandError::NotExpected { stream: stream(), expected: Version(1), actual: Version(2) },
                409,
                "wrong-expected-version",
            ),
            (CommandError::Contended { stream: stream(), attempts: 3 }, 409, "contended"),
            (CommandError::Busy(lantern_aggregates::Crowd::Host), 503, "busy"),
            (CommandError::ShuttingDown, 503, "shutting-down"),
            (failed(FailureKind::Trap), 500, "module-failed"),
            (failed(FailureKind::Transient), 503, "module-failed"),
        ] {
            let problem = Problem::from(error);
            assert_eq!((problem.status.as_u16(), problem.slug), (status, slug));
        }
    }
}

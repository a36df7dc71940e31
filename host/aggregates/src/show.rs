//! Showing: the state of an aggregate as it is or was, replayed from the events; and snapshots on demand.

use std::sync::Arc;

use bytes::Bytes;
use lantern_core::{Digest, Snapshot, StreamName, Version, log::Range};
use serde::{Deserialize, Serialize};

use crate::{CommandError, Refusal, aggregate::Edition, crew::Crew, loaded::Loaded};

/// How many events are read and folded at once.
const PAGE: u64 = 1_000;

/// The state of an aggregate at a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The aggregate.
    pub stream: StreamName,
    /// The last event in the state.
    pub version: Version,
    /// The state, as the module writes it. JSON text where the module was made with an SDK of this project.
    pub state: Bytes,
    /// The version of the state's form.
    pub state_version: u32,
    /// The module that built it.
    pub module: Digest,
}

/// A snapshot that was taken on demand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The aggregate.
    pub stream: StreamName,
    /// The last event in it.
    pub version: Version,
    /// How many bytes it has.
    pub bytes: u64,
    /// The version of the state's form.
    pub state_version: u32,
    /// The module that wrote it.
    pub module: Digest,
}

/// Replays a stream up to a version, its last one if none is given, and takes the state. Nothing that is kept is used.
pub(crate) async fn replay(
    crew: &Crew,
    edition: &Arc<Edition>,
    stream: &StreamName,
    version: Option<Version>,
) -> Result<Snapshot, Refusal> {
    let log = &edition.means.ports.log;
    let actual = log.stream_version(stream).await?;
    if actual == Version::NONE {
        return Err(Refusal::NoEvents(stream.clone()));
    }
    let until = version.unwrap_or(actual);
    if until > actual {
        return Err(Refusal::NoVersion { stream: stream.clone(), asked: until, actual });
    }
    let mut loaded = Loaded::new(edition, stream, None);
    while loaded.version() < until {
        let from = loaded.version().next();
        let to = until.min(Version(loaded.version().0 + PAGE));
        let events = log.read_stream(stream, Range { from, to, ..Range::default() }).await?;
        if events.is_empty() {
            return Err(Refusal::NoVersion { stream: stream.clone(), asked: until, actual: loaded.version() });
        }
        loaded.follow(events);
        let folded = crew.run(move || loaded.fold()).await?;
        loaded = match folded {
            Ok(loaded) => loaded,
            // It was built on the events alone, so there is nothing to fall back on.
            Err(unfolded) => {
                return Err(match unfolded.fall_back(edition, stream) {
                    Ok(_) => Refusal::NoEvents(stream.clone()),
                    Err(error) => error.into(),
                });
            }
        };
    }
    let taken = crew.run(move || loaded.snapshot()).await?;
    let failed = |failure| CommandError::Failed { stream: stream.clone(), module: edition.module.digest(), failure };
    Ok(taken.map_err(failed)?)
}

//! The dry run: before a module may take over it folds streams that were used or written last, without effect.

use std::sync::Arc;

use lantern_core::{
    Event, Filter, StreamName,
    log::{LogError, Range},
    module::Failure,
};

use crate::{Refusal, aggregate::Edition, crew::Crew, warm::Warm};

/// How many streams are folded.
const STREAMS: usize = 10;

/// How many events of each, from the first one.
const EVENTS: usize = 1_000;

/// In how many of the category's last events streams are looked for.
const RECENT: usize = 200;

/// What a dry run that did not fail came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DryRun {
    pub(crate) streams: u64,
    pub(crate) events: u64,
}

/// Tries a module. It must fold whatever the module in charge can fold.
pub(crate) async fn dry_run(
    crew: &Crew,
    warm: &Warm,
    current: &Arc<Edition>,
    candidate: &Arc<Edition>,
) -> Result<DryRun, Refusal> {
    let mut tried = DryRun::default();
    for stream in streams(warm, current).await? {
        let range = Range { limit: EVENTS, ..Range::default() };
        let events = current.means.ports.log.read_stream(&stream, range).await?;
        let (Some(first), Some(last)) = (events.first(), events.last()) else { continue };
        let (from, to) = (first.version, last.version);
        tried.streams += 1;
        tried.events += events.len() as u64;
        let (current, candidate, folded) = (current.clone(), candidate.clone(), stream.clone());
        let worse = crew.run(move || worse(&current, &candidate, &folded, &events)).await?;
        if let Some((module, failure)) = worse {
            return Err(Refusal::DryRun { module, stream, from, to, reason: failure.message });
        }
    }
    Ok(tried)
}

/// The failure of a candidate at what the module in charge can fold.
fn worse(
    current: &Edition,
    candidate: &Edition,
    stream: &StreamName,
    events: &[Event],
) -> Option<(lantern_core::Digest, Failure)> {
    let fold = |edition: &Edition| edition.evolve(&mut *edition.module.instance(stream), events);
    let failure = fold(candidate).err()?;
    fold(current).is_ok().then(|| (candidate.module.digest(), failure))
}

/// The streams of the category that were used or written last.
async fn streams(warm: &Warm, edition: &Edition) -> Result<Vec<StreamName>, LogError> {
    let category = edition.category.name.as_str();
    let mut streams = warm.recent(category, STREAMS);
    let end = edition.means.head().next();
    let written = edition.means.ports.log.read_backward(end, &Filter::category(category), RECENT).await?;
    for event in written.events {
        if streams.len() >= STREAMS {
            break;
        }
        if !streams.contains(&event.stream) {
            streams.push(event.stream);
        }
    }
    Ok(streams)
}

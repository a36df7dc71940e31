//! A command on its way: the aggregate is brought up to date, decides, and what it decided is appended at the exact
//! version. When the stream changed meanwhile, all this is done again.

use std::{sync::Arc, time::Duration};

use lantern_core::{Append, Command, Decision, Draft, Expected, NewEvent, TraceContext, Version, log::AppendError};

use crate::{
    Answer, CommandError,
    aggregate::Edition,
    crew::Crew,
    drafts,
    load::{Loader, Setback},
    loaded::{Base, Loaded},
    turn::{Decided, Undecided},
};

/// How often the module is asked at most.
const ATTEMPTS: u32 = 8;

/// The longest pause before the second attempt; it doubles with every further one.
const PAUSE: Duration = Duration::from_micros(250);

/// A command on its way.
pub(crate) struct Sending<'a> {
    pub(crate) crew: &'a Crew,
    /// The module the command began with; a swap meanwhile does not concern it.
    pub(crate) edition: Arc<Edition>,
    pub(crate) command: Arc<Command>,
    pub(crate) expect: Option<Version>,
}

/// How an accepted command ended.
pub(crate) enum Ending {
    /// Its events were appended now.
    Appended(Answer),
    /// Nothing was to happen.
    Nothing(Answer),
    /// Events with its ids are in the log already.
    There,
}

impl Sending<'_> {
    /// Carries the command out on the aggregate that is kept, if one is, and leaves there what may be kept.
    pub(crate) async fn run(&self, kept: &mut Option<Loaded>) -> Result<Ending, CommandError> {
        let stream = &self.command.stream;
        let mut base = Base::Snapshot;
        let mut attempt = 1;
        loop {
            let loaded = match self.ready(kept.take(), base, attempt).await {
                Ok(loaded) => loaded,
                Err(Setback::Unfolded(unfolded)) => {
                    base = unfolded.fall_back(&self.edition, stream)?;
                    continue;
                }
                Err(Setback::Error(error)) => return Err(error),
            };
            if let Some(expected) = self.expect.filter(|expected| *expected != loaded.version()) {
                let actual = loaded.version();
                *kept = Some(loaded);
                return Err(CommandError::NotExpected { stream: stream.clone(), expected, actual });
            }
            let command = self.command.clone();
            let decided = match self.crew.run(move || loaded.decide(&command, attempt)).await? {
                Ok(decided) => decided,
                Err(Undecided::Unfolded(unfolded)) => {
                    base = unfolded.fall_back(&self.edition, stream)?;
                    continue;
                }
                Err(Undecided::Failed(failure)) => {
                    let module = self.edition.module.digest();
                    return Err(CommandError::Failed { stream: stream.clone(), module, failure });
                }
            };
            if let Some(ending) = self.settle(kept, decided, attempt).await? {
                return Ok(ending);
            }
            if attempt == ATTEMPTS {
                return Err(CommandError::Contended { stream: stream.clone(), attempts: attempt });
            }
            self.edition.category.tallies.retried.one();
            pause(attempt).await;
            attempt += 1;
        }
    }

    /// The aggregate, up to date as far as this can be known without asking the log about every command.
    async fn ready(&self, kept: Option<Loaded>, base: Base, attempt: u32) -> Result<Loaded, Setback> {
        let loader = Loader { crew: self.crew, edition: &self.edition, stream: &self.command.stream };
        let loaded = match kept {
            Some(loaded) if loaded.is_of(&self.edition) => loaded,
            Some(outdated) => {
                outdated.dismiss(self.crew);
                return loader.load(base).await;
            }
            None => return loader.load(base).await,
        };
        let is_behind = attempt > 1 || self.expect.is_some_and(|expected| expected > loaded.version());
        if is_behind { loader.catch_up(loaded).await } else { Ok(loaded) }
    }

    /// Makes a decision true. None when it was about a version that is not the last one any more.
    async fn settle(
        &self,
        kept: &mut Option<Loaded>,
        decided: Decided,
        attempts: u32,
    ) -> Result<Option<Ending>, CommandError> {
        let Decided { loaded, version, decision, trace } = decided;
        let rejection = match decision {
            Decision::Accepted(drafts) if !drafts.is_empty() => {
                let events = self.events(drafts, trace);
                return self.append(kept, loaded, version, events, attempts).await;
            }
            Decision::Accepted(_) => None,
            Decision::Rejected(rejection) => Some(rejection),
        };
        *kept = loaded;
        // An append would have told that the stream has changed; here it must be asked.
        if self.edition.means.ports.log.stream_version(&self.command.stream).await? != version {
            return Ok(None);
        }
        if let Some(rejection) = rejection {
            return Err(CommandError::Rejected(rejection));
        }
        let (stream, position) = (self.command.stream.clone(), self.edition.means.head());
        let answer = Answer { stream, version, position, events: Vec::new(), attempts, repeated: false };
        Ok(Some(Ending::Nothing(answer)))
    }

    fn events(&self, drafts: Vec<Draft>, trace: Option<TraceContext>) -> Vec<NewEvent> {
        let now = self.edition.means.ports.clock.now();
        drafts::events(&self.command, drafts, trace, &self.edition.category.source, now)
    }

    async fn append(
        &self,
        kept: &mut Option<Loaded>,
        loaded: Option<Loaded>,
        version: Version,
        events: Vec<NewEvent>,
        attempts: u32,
    ) -> Result<Option<Ending>, CommandError> {
        let stream = &self.command.stream;
        let expected = Expected::Exact(version);
        let append = Append { stream: stream.clone(), expected, events: events.clone() };
        let places = match self.edition.means.ports.log.append(vec![append]).await {
            Ok(places) => places,
            Err(AppendError::WrongExpectedVersion { .. }) => {
                *kept = loaded;
                return Ok(None);
            }
            Err(AppendError::DuplicateEvent { .. }) => {
                *kept = loaded;
                return Ok(Some(Ending::There));
            }
            Err(error) => {
                // Whether the events are in the log is not known: only the log can tell.
                if let Some(loaded) = loaded {
                    loaded.dismiss(self.crew);
                }
                return Err(error.into());
            }
        };
        let (Some(first), Some(last)) = (places.first(), places.last()) else { return Err(AppendError::Empty.into()) };
        *kept = loaded;
        if first.version != version.next() {
            return Ok(Some(Ending::There));
        }
        let answer = Answer {
            stream: stream.clone(),
            version: last.version,
            position: last.position,
            events: events.iter().map(|event| event.id).collect(),
            attempts,
            repeated: false,
        };
        if let Some(loaded) = kept {
            loaded.follow(drafts::recorded(stream, events, &places));
        }
        Ok(Some(Ending::Appended(answer)))
    }
}

/// A short pause of random length, so that those who met do not meet again.
async fn pause(attempt: u32) {
    let longest = PAUSE * (1 << attempt.min(ATTEMPTS));
    tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
}

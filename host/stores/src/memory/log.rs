//! The log in memory: a list of events, with an index by stream and one by id.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use async_trait::async_trait;
use lantern_core::{
    Append, Appended, Event, EventId, Filter, Incarnation, NewEvent, Page, Position, StreamName, Version,
    log::{AppendError, Direction, LogError, Range},
};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    decide::{self, Decision, Known, Ledger},
    page,
};

/// A log in memory.
pub struct Log {
    state: RwLock<State>,
    head: watch::Sender<Position>,
    incarnation: Incarnation,
}

#[derive(Default)]
struct State {
    /// The event at position `n` stands at index `n - 1`.
    events: Vec<Event>,
    streams: HashMap<StreamName, Vec<Position>>,
    ids: HashMap<EventId, Position>,
}

impl Log {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self { state: RwLock::default(), head: watch::Sender::new(Position::START), incarnation: Uuid::new_v4() }
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        // Nothing that can panic runs while the state is half-changed.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn at(&self, position: Position) -> Option<&Event> {
        self.events.get(usize::try_from(position.0.checked_sub(1)?).ok()?)
    }

    fn write(&mut self, appends: Vec<Append>, decision: &Decision) {
        let mut fresh = decision.fresh.iter().copied().peekable();
        let events = appends
            .into_iter()
            .flat_map(|Append { stream, events, .. }| events.into_iter().map(move |event| (stream.clone(), event)));
        for (index, (stream, event)) in events.enumerate() {
            if fresh.next_if_eq(&index).is_none() {
                continue;
            }
            let Appended { id, version, position } = decision.places[index];
            let NewEvent { event_type, schema_version, time, data, metadata, .. } = event;
            self.ids.insert(id, position);
            self.streams.entry(stream.clone()).or_default().push(position);
            self.events.push(Event { id, event_type, schema_version, stream, version, position, time, data, metadata });
        }
    }

    /// Collects those of some events that fit, until the page is full.
    fn page<'a>(events: impl Iterator<Item = &'a Event>, start: Position, filter: &Filter, limit: usize) -> Page {
        let mut page = Page { events: Vec::new(), end: start };
        let mut bytes = 0;
        let stretch = if filter.is_all() { usize::MAX } else { page::STRETCH as usize };
        for event in events.take(stretch) {
            if page.events.len() >= limit {
                break;
            }
            if filter.fits(event) {
                bytes += page::weight(event);
                if bytes > page::MAX_BYTES && !page.events.is_empty() {
                    break;
                }
                page.events.push(event.clone());
            }
            page.end = event.position;
        }
        page
    }
}

impl Ledger for State {
    fn head(&self) -> Position {
        Position(self.events.len() as u64)
    }

    fn version(&mut self, stream: &StreamName) -> Result<Version, AppendError> {
        Ok(Version(self.streams.get(stream).map_or(0, Vec::len) as u64))
    }

    fn known(&mut self, stream: &StreamName, event: &NewEvent) -> Result<Option<Known>, AppendError> {
        let there = self.ids.get(&event.id).and_then(|position| self.at(*position));
        Ok(there.map(|there| Known {
            version: there.version,
            position: there.position,
            same: there.stream == *stream
                && there.event_type == event.event_type
                && there.schema_version == event.schema_version
                && there.data == event.data,
        }))
    }
}

#[async_trait]
impl lantern_core::Log for Log {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        decide::check_size(&appends)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let decision = decide::decide(&mut *state, &appends)?;
        state.write(appends, &decision);
        // Under the lock, so that the head never moves back.
        if !decision.fresh.is_empty() {
            self.head.send_replace(state.head());
        }
        Ok(decision.places)
    }

    async fn read(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, LogError> {
        let state = self.state();
        let first = usize::try_from(after.0).unwrap_or(usize::MAX).min(state.events.len());
        Ok(State::page(state.events[first..].iter(), after, filter, limit))
    }

    async fn read_backward(&self, before: Position, filter: &Filter, limit: usize) -> Result<Page, LogError> {
        let state = self.state();
        let end = usize::try_from(before.0.saturating_sub(1)).unwrap_or(usize::MAX).min(state.events.len());
        Ok(State::page(state.events[..end].iter().rev(), before, filter, limit))
    }

    async fn read_stream(&self, stream: &StreamName, range: Range) -> Result<Vec<Event>, LogError> {
        let state = self.state();
        let Some(positions) = state.streams.get(stream) else { return Ok(Vec::new()) };
        let from = usize::try_from(range.from.0.saturating_sub(1)).unwrap_or(usize::MAX);
        let to = usize::try_from(range.to.0).unwrap_or(usize::MAX).min(positions.len());
        let wanted = positions.get(from..to).unwrap_or_default().iter();
        let event = |position: &Position| state.at(*position).cloned();
        Ok(match range.direction {
            Direction::Forward => wanted.take(range.limit).filter_map(event).collect(),
            Direction::Backward => wanted.rev().take(range.limit).filter_map(event).collect(),
        })
    }

    async fn stream_version(&self, stream: &StreamName) -> Result<Version, LogError> {
        Ok(Version(self.state().streams.get(stream).map_or(0, Vec::len) as u64))
    }

    async fn event(&self, id: EventId) -> Result<Option<Event>, LogError> {
        let state = self.state();
        Ok(state.ids.get(&id).and_then(|position| state.at(*position)).cloned())
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }
}

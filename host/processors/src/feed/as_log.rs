//! A feed as the loop reads it: pages of what has come, and parked events, which are documents.

use async_trait::async_trait;
use lantern_core::{
    Append, Appended, Event, EventId, Filter, Incarnation, Log, Page, Position, StreamName, Version,
    log::{AppendError, LogError, Range},
};
use tokio::sync::watch;

use super::{Content, Feed, kept};

/// How many bytes of events a page holds at most.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

#[async_trait]
impl Log for Feed {
    async fn append(&self, _: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        let topic = &self.route.subscription.topic;
        Err(AppendError::Unavailable(format!("topic `{topic}` is read here and never written")))
    }

    async fn read(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, LogError> {
        let is_past = {
            let state = self.state();
            if let Some(reason) = &state.stray {
                let position = state.position(state.entries.len());
                return Err(LogError::Corrupt { position, reason: reason.clone() });
            }
            after < state.base
        };
        if is_past {
            // Only events that are parked are asked for again.
            let kept = kept::read(&*self.read_model, after.next()).await;
            let events: Vec<_> = kept.map_err(|error| LogError::Unavailable(error.to_string()))?.into_iter().collect();
            return Ok(Page { events, end: after.next() });
        }
        let state = self.state();
        let mut page = Page { events: Vec::new(), end: after };
        let mut bytes = 0;
        for (position, entry) in state.after(after) {
            if page.events.len() == limit || bytes > PAGE_BYTES {
                break;
            }
            page.end = position;
            if let Content::Event(event) = &entry.content
                && filter.fits(event)
            {
                bytes += entry.bytes;
                page.events.push(event.clone());
            }
        }
        Ok(page)
    }

    async fn read_backward(&self, before: Position, filter: &Filter, limit: usize) -> Result<Page, LogError> {
        let state = self.state();
        let fits = |event: &&Event| event.position < before && filter.fits(event);
        let events: Vec<_> = state.recent.iter().rev().filter(fits).take(limit).cloned().collect();
        let end = events.last().map_or(before, |event| event.position);
        Ok(Page { events, end })
    }

    async fn read_stream(&self, _: &StreamName, _: Range) -> Result<Vec<Event>, LogError> {
        Ok(Vec::new())
    }

    async fn stream_version(&self, _: &StreamName) -> Result<Version, LogError> {
        Ok(Version::NONE)
    }

    async fn event(&self, _: EventId) -> Result<Option<Event>, LogError> {
        Ok(None)
    }

    /// A topic has none: its offsets tell whether it is the one it was.
    fn incarnation(&self) -> Incarnation {
        Incarnation::nil()
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }
}

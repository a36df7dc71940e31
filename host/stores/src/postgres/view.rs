//! What a guest reads of a generation: the database, and before it a cache and a memory of what was ever written.
//!
//! A question to the database costs a round trip, so most are answered here. The cache holds what was read or written
//! lately. A generation that was found empty, as one that is being rebuilt is, needs no question for a key that was not
//! written since: [`Filter`] remembers which were, in a few bits each.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lantern_core::{Documents, Value};

use super::filter::Filter;
use crate::cache::DocumentCache;

/// What is remembered of the documents of a generation.
#[derive(Default)]
pub(super) struct GuestView {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` while nothing is read.
    open: Option<Open>,
    /// How many commits there were. What was read while it changed may be older than what is remembered.
    commits: u64,
}

struct Open {
    cache: DocumentCache,
    /// The keys that may have a document; `None` when any may.
    written: Option<Filter>,
}

/// What is known of a key, and at which number of commits.
enum Known {
    /// Its document, or that it has none.
    Document(Option<Value>),
    /// Nothing.
    Nothing(u64),
    /// Nothing, and not even whether there are documents at all.
    Closed(u64),
}

impl GuestView {
    /// The document at a key. What is not known is asked: once whether there are no documents at all, then for the
    /// document.
    pub(super) fn get<E>(
        &self,
        collection: &str,
        key: &str,
        are_none: impl Fn() -> Result<bool, E>,
        ask: impl Fn() -> Result<Option<Value>, E>,
    ) -> Result<Option<Value>, E> {
        loop {
            match self.look(collection, key) {
                Known::Document(document) => return Ok(document),
                Known::Closed(commits) => self.open(commits, are_none()?),
                Known::Nothing(commits) => {
                    let found = ask()?;
                    self.remember(commits, collection, key, &found);
                    return Ok(found);
                }
            }
        }
    }

    /// Takes over what a commit has changed.
    pub(super) fn refresh(&self, documents: &Documents) {
        let mut state = self.state();
        state.commits += 1;
        // A view that is closed remembers nothing that could be wrong.
        let Some(Open { cache, written }) = &mut state.open else { return };
        cache.refresh(documents);
        if let Some(written) = written {
            let put = documents.iter().filter(|(_, _, value)| value.is_some());
            put.for_each(|(collection, key, _)| written.insert(collection, key));
        }
    }

    /// Forgets everything.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.commits += 1;
        state.open = None;
    }

    fn look(&self, collection: &str, key: &str) -> Known {
        let state = self.state();
        let Some(Open { cache, written }) = &state.open else { return Known::Closed(state.commits) };
        if let Some(document) = cache.get(collection, key) {
            return Known::Document(document);
        }
        match written {
            Some(written) if !written.may_contain(collection, key) => Known::Document(None),
            _ => Known::Nothing(state.commits),
        }
    }

    fn open(&self, commits: u64, empty: bool) {
        let mut state = self.state();
        let empty = empty && state.commits == commits;
        let open = || Open { cache: DocumentCache::new(), written: empty.then(Filter::default) };
        state.open.get_or_insert_with(open);
    }

    /// Keeps what was read, unless a commit has come between.
    fn remember(&self, commits: u64, collection: &str, key: &str, found: &Option<Value>) {
        let mut state = self.state();
        if state.commits == commits
            && let Some(open) = &mut state.open
        {
            open.cache.remember(collection, key, found.clone());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each step leaves nothing wrong behind: the cache is only ever told what was read or committed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

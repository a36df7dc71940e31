//! A host without upcasters: every event is in its newest form.

use std::borrow::Cow;

use lantern_core::{Event, Filter, Upcasting, module::Failure, upcasting::Accepted};
use tokio::sync::watch;

/// A chain without steps.
pub(crate) struct Newest(watch::Sender<u64>);

impl Default for Newest {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Upcasting for Newest {
    fn widen(&self, filter: Filter) -> Filter {
        filter
    }

    fn upcast<'e>(&self, event: &'e Event, _: &Accepted) -> Result<Cow<'e, Event>, Failure> {
        Ok(Cow::Borrowed(event))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

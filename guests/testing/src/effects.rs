//! What a call of a processor asked for, however it was run.

use crate::Sample;
use lantern_guest::Time;
use lantern_guest::http::Request;

/// What a call asked for beside documents, in order.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) emitted: Vec<(String, Sample)>,
    pub(crate) scheduled: Vec<Scheduled>,
    /// The keys of schedules taken back.
    pub(crate) cancelled: Vec<String>,
    /// Messages published: bus, topic, stream and event.
    pub(crate) published: Vec<(String, String, String, Sample)>,
    /// Requests sent; empty where they cannot be watched.
    pub(crate) requests: Vec<Request>,
}

/// An event for later.
pub(crate) struct Scheduled {
    pub(crate) key: String,
    pub(crate) time: Time,
    pub(crate) stream: String,
    pub(crate) event: Sample,
}

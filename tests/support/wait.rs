//! Waiting for something to become true, with a generous deadline and without guessing how long it takes.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Long enough for a busy machine with two cores.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none within [`PATIENCE`]; the message names what was waited for.
#[track_caller]
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, ask)
}

/// Asks again and again until there is an answer or the time is over.
#[track_caller]
pub fn until_within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < patience, "waited {patience:?} for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

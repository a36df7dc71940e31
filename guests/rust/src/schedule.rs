//! Events for later. For handlers; the deployment must grant it.

use crate::{Failure, NewEvent, Time, host};
use serde::Serialize;

/// Puts an event at the end of a stream at a time; at once when that is past.
///
/// The key names the schedule among those of the handler: what was scheduled under it before is replaced. It takes effect
/// when the call in hand succeeds, and outlives the host. The event comes back to the handler like any other when the
/// handler wants events of its type and category.
///
/// # Errors
/// A permanent failure when the value has no name or is no JSON; see [`emit`](crate::emit()).
pub fn at<T: Serialize + ?Sized>(
    key: impl AsRef<str>,
    time: Time,
    stream: impl AsRef<str>,
    event: &T,
) -> Result<(), Failure> {
    NewEvent::of(event)?.schedule(key, time, stream);
    Ok(())
}

/// Takes back what is scheduled under a key. Nothing happens when there is nothing, or when it was emitted already.
pub fn cancel(key: impl AsRef<str>) {
    host::schedule::cancel(key.as_ref());
}

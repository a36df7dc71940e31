//! Lets generations rest: a thread that closes, now and then, what has not been used since it looked the last time.
//!
//! So a host of a thousand projections pays only for those that have something to do.

use std::{
    io,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

/// How long nothing has to happen.
const PAUSE: Duration = Duration::from_secs(30);

/// The thread. It ends soon after this is dropped.
pub(super) struct Idle {
    /// Nothing is ever sent: the thread notices when this is gone.
    _stop: Sender<()>,
}

impl Idle {
    /// Calls `rest` again and again.
    pub(super) fn watch(rest: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = channel();
        thread::Builder::new().name("read-model-idle".into()).spawn(move || {
            while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                rest();
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

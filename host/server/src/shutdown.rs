//! The end of a host: signals, and the order in which things end, all within one span of time.
//!
//! ```text
//!   signal ──▶ no further work ──▶ requests end ──▶ batches in flight commit ──▶ telemetry is handed over ──▶ 0
//!              (door closed)       until 1/2        until 4/5                    until the end of the time
//!   second signal ─────────────────────────────────────────────────────────────────────────────────▶ 130 or 143
//! ```

use std::{
    future::Future,
    io,
    time::{Duration, Instant},
};

/// The signals that end a host.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

/// A signal that ends a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT, or Ctrl-C.
    Interrupt,
    /// SIGTERM.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only Unix has it"))]
    Terminate,
}

impl Signal {
    /// The exit code of a process that a signal ended.
    fn exit_code(self) -> i32 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

impl Signals {
    /// Listens from now on; needs a tokio runtime.
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Listens from now on; needs a tokio runtime.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next signal.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }

    /// The next signal.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) -> Signal {
        // Where the system tells of no signals, nothing ever comes.
        let Ok(()) = tokio::signal::ctrl_c().await else { return std::future::pending().await };
        Signal::Interrupt
    }

    /// Ends the process at the next signal, whatever it is doing.
    pub(crate) fn end_at_next(mut self) {
        tokio::spawn(async move {
            let signal = self.next().await;
            std::process::exit(signal.exit_code());
        });
    }
}

/// The span of time a shutdown has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    begin: Instant,
    whole: Duration,
}

impl Time {
    /// Begins now.
    pub(crate) fn begin(whole: Duration) -> Self {
        Self { begin: Instant::now(), whole }
    }

    /// What is left until a share of the whole is over.
    pub(crate) fn until(&self, share: f64) -> Duration {
        self.whole.mul_f64(share).saturating_sub(self.begin.elapsed())
    }

    /// Runs a phase until it ends or its share is over; says whether it ended.
    pub(crate) async fn phase(&self, name: &str, share: f64, work: impl Future<Output = ()>) -> bool {
        let ended = tokio::time::timeout(self.until(share), work).await.is_ok();
        if !ended {
            tracing::warn!(phase = name, "the time of this phase of the shutdown is over; going on without it");
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_phase_that_does_not_end_is_left() {
        let time = Time::begin(Duration::from_millis(20));
        assert!(!time.phase("stuck", 0.5, std::future::pending()).await);
        assert!(time.phase("quick", 1.0, async {}).await);
    }

    #[tokio::test]
    async fn a_share_shrinks_with_the_time_that_has_passed() {
        let time = Time { begin: Instant::now() - Duration::from_secs(6), whole: Duration::from_secs(10) };
        assert_eq!(time.until(0.5), Duration::ZERO);
        assert!(time.until(1.0) <= Duration::from_secs(4));
    }
}

//! The thread of an exporter: takes batches from its queue and delivers them, so that a slow collector delays nobody.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use super::queue::{Bounds, Chunk, Queue};
use crate::{metrics::Metrics, telemetry::TelemetryError};

/// How often at most a failing exporter says so.
const COMPLAINT: Duration = Duration::from_secs(60);

/// The pause before the second attempt of a batch; doubles with each further one, up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_millis(500);

/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(8);

/// How long a thread that was told to stop may take to say that it has.
const LAST_WORD: Duration = Duration::from_millis(50);

/// Where an exporter delivers to.
#[async_trait]
pub(super) trait Deliver: Send {
    /// Makes a batch ready, once, however often it is attempted.
    fn prepare(&mut self, chunk: &Chunk) -> Bytes;

    /// Attempts a delivery.
    async fn deliver(&mut self, batch: &Bytes) -> Result<(), Undelivered>;

    /// What somebody who reads about failures can do.
    fn advice(&self) -> String;
}

/// Why a batch was not delivered.
#[derive(Debug)]
pub(super) struct Undelivered {
    /// Whether another attempt may help.
    pub(super) retry: bool,
    /// How long the other side asks to wait.
    pub(super) after: Option<Duration>,
    /// What happened.
    pub(super) reason: String,
}

/// A running exporter.
#[derive(Debug)]
pub(crate) struct Exporter {
    queue: Arc<Queue>,
    stop: Option<oneshot::Sender<()>>,
    /// Disconnected when the thread is done.
    done: Receiver<()>,
}

/// What the thread works with.
struct Worker<D> {
    name: &'static str,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    timeout: Duration,
    to: D,
    complained: Option<Instant>,
    /// Batches given up since the last complaint.
    silent: u64,
}

impl Exporter {
    /// Starts an exporter. The destination is made inside the thread's runtime, which clients need.
    pub(super) fn start<D: Deliver + 'static>(
        name: &'static str,
        bounds: Bounds,
        metrics: Arc<Metrics>,
        to: impl FnOnce(&Runtime) -> Result<D, TelemetryError>,
    ) -> Result<Self, TelemetryError> {
        let thread = |error| TelemetryError::Thread { name, error };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(thread)?;
        let entered = runtime.enter();
        let to = to(&runtime)?;
        drop(entered);
        let queue = Arc::new(Queue::new(name, bounds, metrics.clone()));
        let (stop, stopped) = oneshot::channel();
        let (doing, done) = sync_channel(1);
        let timeout = bounds.timeout;
        let worker = Worker { name, queue: queue.clone(), metrics, timeout, to, complained: None, silent: 0 };
        let run = move || {
            runtime.block_on(worker.run(stopped));
            // A resolver that hangs must not keep the thread.
            runtime.shutdown_background();
            drop(doing);
        };
        std::thread::Builder::new().name(format!("lantern-{name}")).spawn(run).map_err(thread)?;
        Ok(Self { queue, stop: Some(stop), done })
    }

    pub(crate) fn queue(&self) -> Arc<Queue> {
        self.queue.clone()
    }

    /// Delivers what waits and ends, at `until` at the latest. Says whether all of it arrived.
    pub(crate) fn finish(mut self, until: Instant) -> bool {
        self.queue.close();
        let left = until.saturating_duration_since(Instant::now());
        if !matches!(self.done.recv_timeout(left), Err(RecvTimeoutError::Timeout)) {
            return !self.queue.has_lost();
        }
        self.queue.give_up(0);
        drop(self.stop.take());
        let _ = self.done.recv_timeout(LAST_WORD);
        false
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl<D: Deliver> Worker<D> {
    /// Works until the queue is closed and empty, or until it is told to stop.
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        while let Some(chunk) = self.queue.next().await {
            let spans = chunk.len();
            if spans == 0 {
                continue;
            }
            let batch = self.to.prepare(&chunk);
            // The records are free again while the batch is on its way.
            drop(chunk);
            let delivered = tokio::select! {
                delivered = self.deliver(&batch) => delivered,
                _ = &mut stopped => Err("the host stopped".into()),
            };
            match delivered {
                Ok(()) => self.metrics.exported(self.name, spans),
                Err(reason) => self.give_up(spans, &reason),
            }
        }
    }

    /// Delivers a batch, in several attempts where they may help. Once the queue is closed there is one attempt only.
    async fn deliver(&mut self, batch: &Bytes) -> Result<(), String> {
        let until = tokio::time::Instant::now() + self.timeout;
        let mut pause = PAUSE;
        loop {
            let attempt = tokio::time::timeout_at(until, self.to.deliver(batch)).await;
            let Ok(attempt) = attempt else { return Err(format!("no answer within {:?}", self.timeout)) };
            let Err(failure) = attempt else { return Ok(()) };
            let wait = failure.after.unwrap_or(pause);
            if !failure.retry || self.queue.is_closed() || tokio::time::Instant::now() + wait >= until {
                return Err(failure.reason);
            }
            self.complain(&failure.reason);
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    fn give_up(&mut self, spans: usize, reason: &str) {
        self.metrics.export_failed(self.name);
        self.queue.give_up(spans);
        self.silent += 1;
        self.complain(reason);
    }

    /// Says what is wrong, at most once a minute.
    fn complain(&mut self, reason: &str) {
        if self.complained.is_some_and(|at| at.elapsed() < COMPLAINT) {
            return;
        }
        self.complained = Some(Instant::now());
        let (exporter, batches) = (self.name, std::mem::take(&mut self.silent));
        let advice = self.to.advice();
        tracing::warn!(exporter, batches_given_up = batches, "spans cannot be exported: {reason}. {advice}");
    }
}

//! Bodies that are counted: what a request may carry, and what may be read of its answer.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep},
};
use wasmtime_wasi_http::{Error, WasiBody};

use super::{exchange::received, record::Record};

/// What the requests of one call have handed over, in bytes, and how much they may.
#[derive(Clone)]
pub(super) struct Allowance {
    spent: Arc<AtomicU64>,
    most: u64,
}

impl Allowance {
    /// Nothing is handed over yet.
    pub(super) fn new(most: u64) -> Self {
        Self { spent: Arc::default(), most }
    }

    /// Takes note of some bytes. An error when it is too much.
    pub(super) fn spend(&self, bytes: usize) -> Result<(), Error> {
        let bytes = bytes as u64;
        let before = self.spent.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= self.most {
            Ok(())
        } else {
            Err(Error::HttpRequestBodySize(Some(self.most)))
        }
    }
}

/// The body of a request, counted against what the call may hand over.
pub(super) struct Outgoing {
    first: Option<Frame<Bytes>>,
    body: WasiBody,
    allowance: Allowance,
}

impl Outgoing {
    /// Waits for the module to begin or to end the body. One that ends before it began is none: modules open a body
    /// before they know whether there is something to write, and not every server likes one that is only announced.
    pub(super) async fn begun(mut body: WasiBody, allowance: Allowance) -> Result<WasiBody, Error> {
        match body.frame().await.transpose()? {
            Some(first) => Ok(Self { first: Some(first), body, allowance }.boxed_unsync()),
            None => Ok(Empty::new().map_err(Error::from).boxed_unsync()),
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let own = self.get_mut();
        let frame = match own.first.take() {
            Some(first) => Some(Ok(first)),
            None => ready!(Pin::new(&mut own.body).poll_frame(context)),
        };
        Poll::Ready(frame.map(|frame| {
            let frame = frame?;
            own.allowance.spend(frame.data_ref().map_or(0, Bytes::len))?;
            Ok(frame)
        }))
    }
}

/// The body of an answer: bounded in bytes and in time. It keeps the place of its request until it is read or dropped.
pub(super) struct Answer {
    body: Incoming,
    left: u64,
    most: u64,
    patience: Patience,
    late: Pin<Box<Sleep>>,
    record: Arc<Record>,
    _place: OwnedSemaphorePermit,
}

/// How long an answer may take.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// When it must be complete.
    pub(super) deadline: Instant,
    /// How long nothing may come, where the module says so.
    pub(super) pause: Option<Duration>,
}

impl Patience {
    /// When something must have come.
    fn next(self) -> Instant {
        self.pause.map_or(self.deadline, |pause| self.deadline.min(Instant::now() + pause))
    }
}

impl Answer {
    /// The body of an answer, of which `most` bytes may be read. Call it on the runtime that drives the connection.
    pub(super) fn new(
        body: Incoming,
        most: u64,
        patience: Patience,
        record: Arc<Record>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let late = Box::pin(tokio::time::sleep_until(patience.next()));
        Self { body, left: most, most, patience, late, record, _place: place }
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Error> {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        self.left = self.left.checked_sub(length).ok_or(Error::HttpResponseBodySize(Some(self.most)))?;
        self.late.as_mut().reset(self.patience.next());
        Ok(frame)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let own = self.get_mut();
        let frame = match Pin::new(&mut own.body).poll_frame(context) {
            Poll::Ready(frame) => frame.map(|frame| own.take(frame.map_err(|error| received(&error))?)),
            Poll::Pending => {
                ready!(own.late.as_mut().poll(context));
                Some(Err(Error::HttpResponseTimeout))
            }
        };
        match &frame {
            Some(Ok(_)) => {}
            Some(Err(error)) => own.record.failed(error),
            None => own.record.ended(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

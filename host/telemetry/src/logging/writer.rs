//! The thread that writes log lines, so that nobody who logs waits for a slow terminal or pipe.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

/// How many lines may wait.
const MAX_LINES: usize = 8_192;

/// How many bytes they may have together.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// How long the end of the process waits for the last lines.
const FLUSH: Duration = Duration::from_secs(1);

/// How long the end of the process waits before it asks a full queue again.
const PAUSE: Duration = Duration::from_millis(5);

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many log lines were lost because standard error did not keep up.
#[must_use]
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

enum Message {
    Line(Vec<u8>),
    /// Everything before it is written once this is received.
    Flush(SyncSender<()>),
}

/// Hands lines to the thread. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    lines: SyncSender<Message>,
    waiting: Arc<AtomicUsize>,
}

impl Writer {
    /// Starts the thread. It ends with the last writer.
    pub(super) fn start() -> io::Result<Self> {
        Self::onto(io::stderr())
    }

    fn onto(output: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, received) = sync_channel(MAX_LINES);
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = waiting.clone();
        let run = move || write(&received, &counted, output);
        std::thread::Builder::new().name("lantern-log".into()).spawn(run)?;
        Ok(Self { lines, waiting })
    }

    /// Waits until the lines so far are written, for at most a second.
    pub(super) fn flush(&self) {
        let until = Instant::now() + FLUSH;
        let (done, finished) = sync_channel(1);
        let mut flush = Message::Flush(done);
        while let Err(TrySendError::Full(refused)) = self.lines.try_send(flush) {
            if Instant::now() >= until {
                return;
            }
            flush = refused;
            std::thread::sleep(PAUSE);
        }
        let _ = finished.recv_timeout(until.saturating_duration_since(Instant::now()));
    }

    fn line(&self, line: &[u8]) {
        let fits = self.waiting.fetch_add(line.len(), Ordering::Relaxed) + line.len() <= MAX_BYTES;
        if !fits || self.lines.try_send(Message::Line(line.into())).is_err() {
            self.waiting.fetch_sub(line.len(), Ordering::Relaxed);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(received: &Receiver<Message>, waiting: &AtomicUsize, mut output: impl Write) {
    for message in received {
        match message {
            Message::Line(line) => {
                // Where standard error is gone, there is nobody to tell.
                let _ = output.write_all(&line);
                waiting.fetch_sub(line.len(), Ordering::Relaxed);
            }
            Message::Flush(done) => {
                let _ = output.flush();
                let _ = done.send(());
            }
        }
    }
}

impl Write for Writer {
    /// Takes a whole line: the formatter hands over one at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// An output that takes nothing before it is let go.
    struct Stuck {
        gate: Arc<Mutex<()>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.gate.lock().unwrap();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_output_holds_nobody_up_and_lost_lines_are_counted() {
        let (gate, written) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(Vec::new())));
        let closed = gate.lock().unwrap();
        let writer = Writer::onto(Stuck { gate: gate.clone(), written: written.clone() }).unwrap();
        let before = dropped_lines();
        for _ in 0..MAX_LINES + 100 {
            writer.line(b"line\n");
        }
        let lost = dropped_lines() - before;
        // The thread may hold one line in its hand beside those that wait.
        assert!((99..=100).contains(&lost), "{lost}");
        writer.line(&vec![b'x'; MAX_BYTES]);
        drop(closed);
        writer.flush();
        let lines = written.lock().unwrap().iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(lines + lost, (MAX_LINES + 100) as u64);
    }
}

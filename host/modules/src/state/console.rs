//! What a module writes to its standard output and error, kept until the call ends.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// How much of one stream is kept of one call, in bytes. The end is kept, since that is where a panic is.
const ROOM: usize = 64 << 10;

/// The standard output and error of a module.
#[derive(Default)]
pub(crate) struct Console {
    /// Standard output.
    pub(crate) out: Pipe,
    /// Standard error.
    pub(crate) err: Pipe,
}

/// One stream. Its clones are the same stream: the module holds one, the state another.
#[derive(Clone, Default)]
pub(crate) struct Pipe(Arc<Shared>);

#[derive(Default)]
struct Shared {
    // Nearly every call writes nothing, which is seen here without taking the lock.
    written: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    text: Vec<u8>,
    lost_lines: u64,
}

impl Pipe {
    /// Keeps some bytes.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let mut kept = self.lock();
        kept.text.extend_from_slice(bytes);
        if kept.text.len() > ROOM {
            // Half is given up at once, so that a flood is not moved again and again.
            let surplus = kept.text.len() - ROOM / 2;
            kept.lost_lines += kept.text.drain(..surplus).filter(|byte| *byte == b'\n').count() as u64;
        }
        self.0.written.store(true, Ordering::Release);
    }

    /// Takes what was written since the last time, and how many lines of it were given up.
    pub(crate) fn take(&self) -> Option<(String, u64)> {
        if !self.0.written.load(Ordering::Acquire) {
            return None;
        }
        let mut kept = self.lock();
        self.0.written.store(false, Ordering::Release);
        let Kept { text, lost_lines } = std::mem::take(&mut *kept);
        Some((String::from_utf8_lossy(&text).into_owned(), lost_lines))
    }

    /// What was written since it was last taken.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().text).into_owned()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_are_one_stream() {
        let pipe = Pipe::default();
        let other = pipe.clone();
        other.write(b"one\n");
        pipe.write(b"two\n\xff");
        assert_eq!(pipe.text(), "one\ntwo\n\u{fffd}");
        assert_eq!(pipe.take(), Some(("one\ntwo\n\u{fffd}".into(), 0)));
        assert_eq!(other.take(), None);
    }

    #[test]
    fn a_flood_keeps_its_end_and_counts_the_rest() {
        let pipe = Pipe::default();
        for line in 0..100_000 {
            pipe.write(format!("{line}\n").as_bytes());
        }
        let (text, lost) = pipe.take().unwrap();
        assert!(text.len() <= ROOM);
        assert!(text.ends_with("99999\n"));
        assert_eq!(text.lines().count() as u64 + lost, 100_000);
    }
}

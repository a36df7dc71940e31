//! A file of events read line by line on a thread of its own, checked, and cut into batches.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use lantern_buses::cloud_events::{Absent, Invalid, read};
use lantern_core::Timestamp;
use tokio::sync::mpsc;

use crate::http::MAX_BODY;

/// A batch ends before it gets larger than this, in bytes.
const MAX_BATCH: usize = 8 * 1024 * 1024;

/// How many batches are read ahead.
const AHEAD: usize = 2;

/// What comes out of a file, in its order.
#[derive(Debug)]
pub(super) enum Piece {
    /// Good lines.
    Batch(Batch),
    /// A line that is no event.
    Bad(BadLine),
    /// The file cannot be read any further.
    Unreadable(io::Error),
}

/// Lines that are sent together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The lines, each with its end.
    pub(super) body: Bytes,
    /// The number of each line, and where it ends in the body.
    pub(super) lines: Vec<(u64, usize)>,
}

/// A line that is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadLine {
    /// Its number, from 1.
    pub(super) number: u64,
    /// The attribute that is wrong.
    pub(super) field: Option<String>,
    /// What is wrong.
    pub(super) reason: String,
}

impl Batch {
    /// The batch without its first lines.
    pub(super) fn after(&self, count: usize) -> Self {
        let from = self.end_of(count);
        let lines = self.lines[count..].iter().map(|(number, end)| (*number, end - from)).collect();
        Self { body: self.body.slice(from..), lines }
    }

    /// The first lines of the batch.
    pub(super) fn first(&self, count: usize) -> Self {
        Self { body: self.body.slice(..self.end_of(count)), lines: self.lines[..count].into() }
    }

    fn end_of(&self, count: usize) -> usize {
        count.checked_sub(1).map_or(0, |last| self.lines[last].1)
    }
}

/// Where the lines come from.
pub(super) struct Source {
    reader: Box<dyn BufRead + Send>,
    /// How many bytes the file has; unknown for standard input.
    pub(super) size: Option<u64>,
    /// How many bytes of it have been read.
    pub(super) read: Arc<AtomicU64>,
}

impl Source {
    /// Opens a file, or standard input for `-`. What is compressed says so by its first bytes.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let read = Arc::<AtomicU64>::default();
        let (raw, size): (Box<dyn Read + Send>, _) = if path.as_os_str() == "-" {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            (Box::new(file), metadata.is_file().then_some(metadata.len()))
        };
        let mut raw = BufReader::with_capacity(128 * 1024, Counted { inner: raw, read: read.clone() });
        let reader: Box<dyn BufRead + Send> = if raw.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
            Box::new(BufReader::with_capacity(128 * 1024, MultiGzDecoder::new(raw)))
        } else {
            Box::new(raw)
        };
        Ok(Self { reader, size, read })
    }

    /// Reads on a thread of its own. The thread ends with the file, or when nobody takes what it reads.
    pub(super) fn pieces(self, batch: usize) -> io::Result<mpsc::Receiver<Piece>> {
        let (pieces, taken) = mpsc::channel(AHEAD);
        let cutter = Cutter { pieces, size: batch, body: Vec::new(), lines: Vec::new() };
        std::thread::Builder::new().name("lines".into()).spawn(move || cutter.run(self.reader))?;
        Ok(taken)
    }
}

/// Counts what is read.
struct Counted {
    inner: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Nobody takes what is read.
struct Gone;

/// Cuts lines into batches.
struct Cutter {
    pieces: mpsc::Sender<Piece>,
    size: usize,
    body: Vec<u8>,
    lines: Vec<(u64, usize)>,
}

impl Cutter {
    fn run(mut self, reader: impl BufRead) {
        // The taker has what it wanted when it has gone.
        let _ = self.cut(reader);
    }

    fn cut(&mut self, mut reader: impl BufRead) -> Result<(), Gone> {
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            match reader.by_ref().take(MAX_BODY as u64 + 1).read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => self.line(number, &line)?,
                Err(error) => {
                    self.flush()?;
                    return self.send(Piece::Unreadable(error));
                }
            }
            if line.len() > MAX_BODY && !line.ends_with(b"\n") {
                // What follows is the rest of this line, and no line of its own. An error comes again at the next read.
                let _ = reader.skip_until(b'\n');
            }
        }
        self.flush()
    }

    fn line(&mut self, number: u64, line: &[u8]) -> Result<(), Gone> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        if let Err(invalid) = check(line) {
            self.flush()?;
            let field = invalid.field.map(Into::into);
            return self.send(Piece::Bad(BadLine { number, field, reason: invalid.reason }));
        }
        if !self.lines.is_empty() && self.body.len() + line.len() >= MAX_BATCH {
            self.flush()?;
        }
        self.body.extend_from_slice(line);
        self.body.push(b'\n');
        self.lines.push((number, self.body.len()));
        if self.lines.len() == self.size { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Gone> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let capacity = self.body.len();
        let body = std::mem::replace(&mut self.body, Vec::with_capacity(capacity)).into();
        let lines = std::mem::take(&mut self.lines);
        self.send(Piece::Batch(Batch { body, lines }))
    }

    fn send(&mut self, piece: Piece) -> Result<(), Gone> {
        self.pieces.blocking_send(piece).map_err(|_| Gone)
    }
}

/// Whether a line is an event. Ids must be given, since a line without one would be added anew by each import.
fn check(line: &[u8]) -> Result<(), Invalid> {
    if line.len() >= MAX_BODY {
        return Err(Invalid::whole(format_args!("is longer than {MAX_BODY} bytes, which no request can carry")));
    }
    let text = std::str::from_utf8(line)
        .map_err(|error| Invalid::whole(format_args!("is no UTF-8 from byte {}", error.valid_up_to() + 1)))?;
    read(text, &Absent { stream: None, category: None, time: Timestamp(0), id: None }).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn line(n: u64) -> String {
        format!(r#"{{"id":"{n}","type":"T","subject":"A-1"}}"#)
    }

    fn pieces(content: &[u8], batch: usize) -> Vec<Piece> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let mut taken = Source::open(file.path()).unwrap().pieces(batch).unwrap();
        std::iter::from_fn(|| taken.blocking_recv()).collect()
    }

    fn shown(pieces: &[Piece]) -> String {
        let shown = pieces.iter().map(|piece| match piece {
            Piece::Batch(batch) => {
                batch.lines.iter().map(|(number, _)| number.to_string()).collect::<Vec<_>>().join(" ")
            }
            Piece::Bad(bad) => format!("{}! {}", bad.number, bad.field.as_deref().unwrap_or(&bad.reason)),
            Piece::Unreadable(error) => error.to_string(),
        });
        shown.collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn lines_come_in_batches_and_bad_ones_between() {
        let content = format!("{}\n\n{}\n{}\n{{}}\n[]\n  {}", line(1), line(2), line(3), line(4));
        let pieces = pieces(content.as_bytes(), 2);
        let not_json = "6! is no JSON object: invalid type: sequence, expected an object at column 0";
        assert_eq!(shown(&pieces), format!("1 3 | 4 | 5! type | {not_json} | 7"));
    }

    #[test]
    fn what_is_compressed_is_read_and_its_end_is_checked() {
        let content = format!("{}\n{}\n", line(1), line(2));
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content.as_bytes()).unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(shown(&pieces(&packed, 10)), "1 2");
        // Two files in one are both read.
        assert_eq!(shown(&pieces(&[packed.clone(), packed.clone()].concat(), 10)), "1 2 3 4");
        let torn = pieces(&packed[..packed.len() - 4], 10);
        assert!(matches!(torn.last(), Some(Piece::Unreadable(_))), "{torn:?}");
    }

    #[test]
    fn a_batch_can_be_divided_at_a_line() {
        let content = format!("{}\n{}\n{}\n", line(1), line(2), line(3));
        let pieces = pieces(content.as_bytes(), 10);
        let [Piece::Batch(batch)] = pieces.as_slice() else { panic!("{pieces:?}") };
        let (first, rest) = (batch.first(1), batch.after(2));
        assert_eq!((first.body, first.lines), (Bytes::from(line(1) + "\n"), batch.lines[..1].to_vec()));
        assert_eq!((rest.body.clone(), rest.lines), (Bytes::from(line(3) + "\n"), vec![(3, rest.body.len())]));
        assert!(batch.first(0).lines.is_empty() && batch.after(3).body.is_empty());
    }

    #[test]
    fn a_line_that_is_no_text_is_named() {
        let pieces = pieces(b"{\"id\":\"\xff\"}\n", 10);
        assert_eq!(shown(&pieces), "1! is no UTF-8 from byte 8");
    }
}

//! A collector that takes everything and keeps nothing: OTLP over HTTP/1.1, answered with 200.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// A collector on a thread of its own, which lasts as long as the process.
pub(crate) struct Sink {
    address: SocketAddr,
    taken: Arc<AtomicU64>,
}

impl Sink {
    /// Starts to listen.
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, taken) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
        let counted = taken.clone();
        thread::Builder::new().name("bench-sink".into()).spawn(move || {
            // One exporter has one connection at a time; one that breaks is followed by the next.
            for stream in listener.incoming().flatten() {
                let _ = take(stream, &counted);
            }
        })?;
        Ok(Self { address, taken })
    }

    /// Where to export to.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many bytes were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Answers the requests of a connection until it ends.
fn take(stream: TcpStream, taken: &AtomicU64) -> io::Result<()> {
    let mut answers = stream.try_clone()?;
    let mut requests = BufReader::new(stream);
    while let Some(length) = body_length(&mut requests)? {
        let body = io::copy(&mut requests.by_ref().take(length), &mut io::sink())?;
        taken.fetch_add(body, Ordering::Relaxed);
        answers.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")?;
    }
    Ok(())
}

/// Reads the head of a request: how long its body is, or nothing when there is no further request.
fn body_length(requests: &mut impl BufRead) -> io::Result<Option<u64>> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if requests.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let field = line.trim_end();
        if field.is_empty() {
            return Ok(Some(length));
        }
        if let Some((name, value)) = field.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        }
    }
}

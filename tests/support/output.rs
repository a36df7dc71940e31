//! What a process writes, kept line by line and shown when its test fails.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

/// The lines of standard output and standard error, in the order they came.
#[derive(Clone, Default)]
pub struct Output {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Output {
    /// Reads a stream to its end on a thread of its own.
    pub fn follow(&self, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let output = self.clone();
        thread::spawn(move || {
            // Bytes, not text: a guest may log what is no UTF-8, and the pipe must be drained all the same.
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                output.lock().push(String::from_utf8_lossy(&line).into_owned());
            }
        })
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// The first line that holds a text.
    pub fn line_with(&self, text: &str) -> Option<String> {
        self.lock().iter().find(|line| line.contains(text)).cloned()
    }

    /// The last lines, for a person who looks into a failure.
    pub fn tail(&self) -> String {
        const LINES: usize = 80;
        let lines = self.lock();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

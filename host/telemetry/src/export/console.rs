//! The console exporter: one line of JSON a span, on standard output.

use std::io::Write as _;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    queue::Chunk,
    worker::{Deliver, Undelivered},
};
use crate::view::SpanView;

/// Standard output.
pub(super) struct Console;

#[async_trait]
impl Deliver for Console {
    fn prepare(&mut self, chunk: &Chunk) -> Bytes {
        let mut lines = Vec::new();
        for span in chunk.spans() {
            let before = lines.len();
            // Strings, numbers and maps with string keys can always be written; half a line would help nobody.
            match serde_json::to_writer(&mut lines, &SpanView::from(span)) {
                Ok(()) => lines.push(b'\n'),
                Err(_) => lines.truncate(before),
            }
        }
        lines.into()
    }

    async fn deliver(&mut self, batch: &Bytes) -> Result<(), Undelivered> {
        let mut output = std::io::stdout().lock();
        let written = output.write_all(batch).and_then(|()| output.flush());
        written.map_err(|error| Undelivered { retry: false, after: None, reason: error.to_string() })
    }

    fn advice(&self) -> String {
        "OTEL_TRACES_EXPORTER=none switches the exporter off".into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{fixture, record::Block};

    #[test]
    fn a_span_is_a_line_of_json() {
        let spans = vec![fixture::span(1, "first"), fixture::span(2, "second")];
        let text = Console.prepare(&Chunk::of(&[Arc::new(Block::Spans(spans))]));
        let lines: Vec<serde_json::Value> =
            text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        assert_eq!(lines.iter().map(|line| line["name"].as_str().unwrap()).collect::<Vec<_>>(), ["first", "second"]);
        assert_eq!(lines[1]["trace_id"], "00000000000000000000000000000002");
        assert_eq!(lines[1]["start"], "1970-01-01T00:00:00.000000001Z");
    }
}

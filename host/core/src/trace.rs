//! The W3C trace context: which trace something belongs to and which span caused it.

use std::{fmt, str::FromStr, sync::Arc};

/// The longest `tracestate` that is kept, in bytes; the specification asks for at least this much.
pub const MAX_STATE: usize = 512;

/// A W3C trace context. Neither id is ever zero.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: u128,
    /// The span that is the parent of what comes next.
    pub span_id: u64,
    /// W3C trace flags; bit 0 is `sampled`.
    pub flags: u8,
    /// The `tracestate` header, handed on unread.
    pub state: Option<Arc<str>>,
}

/// Why a text is no `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no traceparent: write `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`, no id all zero")]
pub struct TraceParentError {
    text: String,
}

impl TraceContext {
    /// The flag that says the trace is recorded.
    pub const SAMPLED: u8 = 1;

    /// Whether the trace is recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & Self::SAMPLED != 0
    }

    /// The `traceparent` header.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }

    /// Reads the two headers. A `tracestate` that is empty or longer than [`MAX_STATE`] is dropped, as the
    /// specification asks.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Result<Self, TraceParentError> {
        let state = tracestate.map(str::trim).filter(|state| !state.is_empty() && state.len() <= MAX_STATE);
        Ok(Self { state: state.map(Arc::from), ..traceparent.parse()? })
    }
}

impl FromStr for TraceContext {
    type Err = TraceParentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| TraceParentError { text: text.into() })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.traceparent())
    }
}

/// Reads version 00, and of later versions the part that version 00 defines (W3C Trace Context, section 3.2).
fn parse(text: &str) -> Option<TraceContext> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let rest = parts.next();
    if version == "ff" || (version == "00" && rest.is_some()) {
        return None;
    }
    hexadecimal(version, 2)?;
    let trace_id = hexadecimal(trace, 32)?;
    let span_id = u64::try_from(hexadecimal(span, 16)?).ok()?;
    let flags = u8::try_from(hexadecimal(flags, 2)?).ok()?;
    (trace_id != 0 && span_id != 0).then_some(TraceContext { trace_id, span_id, flags, state: None })
}

fn hexadecimal(text: &str, digits: usize) -> Option<u128> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (text.len() == digits && text.bytes().all(lower)).then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_survives_the_round_trip() {
        let context = TraceContext::parse(PARENT, Some("vendor=1")).unwrap();
        assert!(context.is_sampled());
        assert_eq!(context.traceparent(), PARENT);
        assert_eq!(context.state.as_deref(), Some("vendor=1"));
    }

    #[test]
    fn malformed_headers_are_refused() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert!(text.parse::<TraceContext>().is_err(), "{text}");
        }
    }
}

//! The trace context of the call in hand.

use crate::bindings;
use std::fmt;

/// W3C trace context of the handle span: the span the host opened around this call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    pub(crate) trace: (u64, u64),
    pub(crate) span: u64,
    pub(crate) flags: u8,
    pub(crate) state: Option<String>,
}

impl TraceContext {
    /// Whether the trace is recorded. Spans of a module cost nothing when it is not.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1 && self.trace != (0, 0)
    }

    /// The `traceparent` header.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{:016x}{:016x}-{:016x}-{:02x}", self.trace.0, self.trace.1, self.span, self.flags)
    }

    /// The `tracestate` header, where there is one.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.traceparent())
    }
}

impl From<bindings::TraceContext> for TraceContext {
    fn from(context: bindings::TraceContext) -> Self {
        Self {
            trace: (context.trace_id_high, context.trace_id_low),
            span: context.span_id,
            flags: context.flags,
            state: context.state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_is_the_header_of_the_standard() {
        let context = TraceContext {
            trace: (0x0af7_6519_16cd_43dd, 0x8448_eb21_1c80_319c),
            span: 0xb7ad_6b71_6920_3331,
            flags: 1,
            state: None,
        };
        assert_eq!(context.traceparent(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert!(context.is_sampled());
    }

    #[test]
    fn no_trace_is_not_sampled() {
        assert!(!TraceContext { flags: 1, ..TraceContext::default() }.is_sampled());
    }
}

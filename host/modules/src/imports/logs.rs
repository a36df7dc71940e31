//! `wasi:otel/logs`: log records of the OpenTelemetry data model, kept as log lines.

use lantern_core::witness::Level;

use super::tracing::{attributes, span_id};
use crate::{
    bindings::processor::wasi::otel::logs::{Host, LogRecord},
    state::{Line, State, cut},
};

/// The name under which the interface is served.
pub(super) const NAME: &str = "wasi:otel/logs@0.2.0-rc.2";

impl Host for State {
    fn on_emit(&mut self, record: LogRecord) -> wasmtime::Result<()> {
        if !self.telemetry.wants_line() {
            return Ok(());
        }
        let scope = record.instrumentation_scope.map(|scope| scope.name);
        let context = record.event_name.filter(|name| !name.is_empty()).or(scope).unwrap_or_default();
        self.telemetry.log(Line {
            level: severity(record.severity_number, record.severity_text.as_deref()),
            context: cut(&context),
            message: cut(&text(record.body.unwrap_or_default())),
            span: record.span_id.as_deref().and_then(span_id),
            attributes: attributes(record.attributes.unwrap_or_default()),
        });
        Ok(())
    }
}

/// A body is JSON text: one that is a JSON string is shown without its quotes.
fn text(body: String) -> String {
    serde_json::from_str(&body).unwrap_or(body)
}

/// The number decides (1 to 24 in steps of four), else the text; a record that says neither informs.
fn severity(number: Option<u8>, text: Option<&str>) -> Level {
    match (number, text.map(str::to_ascii_lowercase).as_deref()) {
        (Some(1..=4), _) | (None | Some(0), Some("trace")) => Level::Trace,
        (Some(5..=8), _) | (None | Some(0), Some("debug")) => Level::Debug,
        (Some(13..=16), _) | (None | Some(0), Some("warn" | "warning")) => Level::Warn,
        (Some(17..=20), _) | (None | Some(0), Some("error")) => Level::Error,
        (Some(21..), _) | (None | Some(0), Some("fatal" | "critical")) => Level::Critical,
        _ => Level::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_those_of_the_data_model() {
        let numbers = [0, 1, 4, 5, 9, 12, 13, 17, 21, 24, 255].map(|number| severity(Some(number), None));
        use Level::{Critical, Debug, Error, Info, Trace, Warn};
        assert_eq!(numbers, [Info, Trace, Trace, Debug, Info, Info, Warn, Error, Critical, Critical, Critical]);
        assert_eq!(severity(None, Some("WARN")), Warn);
        assert_eq!(severity(None, None), Info);
    }

    #[test]
    fn a_body_is_shown_as_text() {
        assert_eq!(text("\"said \\\"so\\\"\"".into()), "said \"so\"");
        assert_eq!(text("{\"a\":1}".into()), "{\"a\":1}");
        assert_eq!(text("plain".into()), "plain");
    }
}

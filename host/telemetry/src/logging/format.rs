//! How a line looks: the fields of an event, and the trace it belongs to.

use std::fmt;

use lantern_core::{Clock, SystemClock, Timestamp};
use serde_json::Value;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::Format;
use crate::{propagation, view};

/// The keys of a JSON line that a field cannot take.
const RESERVED: [&str; 7] = ["timestamp", "level", "logger", "message", "trace_id", "span_id", "exception"];

/// Writes lines.
pub(super) struct Lines(pub(super) Format);

/// What an event says.
#[derive(Default)]
struct Fields {
    message: String,
    trace_id: Option<String>,
    span_id: Option<String>,
    exception: Option<String>,
    others: Vec<(&'static str, Value)>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if fields.trace_id.is_none()
            && let Some(context) = propagation::current()
        {
            fields.trace_id = Some(view::trace_id(context.trace_id));
            fields.span_id = Some(view::span_id(context.span_id));
        }
        let metadata = event.metadata();
        match self.0 {
            Format::Human => human(&mut writer, *metadata.level(), metadata.target(), &fields),
            Format::Json => json(&mut writer, *metadata.level(), metadata.target(), &fields),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_error(&mut self, field: &Field, error: &(dyn std::error::Error + 'static)) {
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        self.set(field, causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}").into());
    }
}

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => self.message = text(value),
            "trace_id" => self.trace_id = Some(text(value)),
            "span_id" => self.span_id = Some(text(value)),
            "error" | "exception" => self.exception = Some(text(value)),
            name => self.others.push((name, value)),
        }
    }
}

fn text(value: Value) -> String {
    if let Value::String(text) = value { text } else { value.to_string() }
}

fn json(writer: &mut Writer<'_>, level: Level, logger: &str, fields: &Fields) -> fmt::Result {
    write!(writer, "{{\"timestamp\":\"{}\",\"level\":\"{level}\"", now(1_000))?;
    let mut pair = |key: &str, value: &Value| write!(writer, ",{}:{value}", Value::from(key));
    pair("logger", &logger.into())?;
    pair("message", &fields.message.as_str().into())?;
    let known = [("trace_id", &fields.trace_id), ("span_id", &fields.span_id), ("exception", &fields.exception)];
    for (key, value) in known {
        if let Some(value) = value {
            pair(key, &value.as_str().into())?;
        }
    }
    for (key, value) in &fields.others {
        if RESERVED.contains(key) { pair(&format!("field.{key}"), value)? } else { pair(key, value)? }
    }
    writer.write_str("}\n")
}

fn human(writer: &mut Writer<'_>, level: Level, logger: &str, fields: &Fields) -> fmt::Result {
    let colours = writer.has_ansi_escapes();
    let dim = |text: String| if colours { format!("\u{1b}[2m{text}\u{1b}[0m") } else { text };
    let level = if colours { format!("\u{1b}[{}m{level:>5}\u{1b}[0m", colour(level)) } else { format!("{level:>5}") };
    write!(writer, "{} {level} {} ", dim(now(1_000_000).to_string()), dim(format!("{logger}:")))?;
    escaped(writer, &fields.message)?;
    let mut pair = |key: &str, value: &str| {
        write!(writer, " {}", dim(format!("{key}=")))?;
        escaped(writer, value)
    };
    for (key, value) in &fields.others {
        pair(key, value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string()).as_str())?;
    }
    let known = [("error", &fields.exception), ("trace_id", &fields.trace_id), ("span_id", &fields.span_id)];
    for (key, value) in known {
        if let Some(value) = value {
            pair(key, value)?;
        }
    }
    writer.write_char('\n')
}

/// The time now, to a number of nanoseconds.
fn now(precision: i64) -> Timestamp {
    let now = SystemClock.now().0;
    Timestamp(now - now.rem_euclid(precision))
}

fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

/// Control characters are shown and not sent: a guest's line must not forge another or steer the terminal.
fn escaped(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|c| match c.is_control() {
        true => write!(writer, "{}", c.escape_debug()),
        false => writer.write_char(c),
    })
}

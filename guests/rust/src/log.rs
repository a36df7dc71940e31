//! Log lines; the host writes them to its own log with the trace and span id of the call.
//!
//! Use [`trace!`](crate::trace), [`debug!`](crate::debug), [`info!`](crate::info), [`warn!`](crate::warn) and
//! [`error!`](crate::error), which take what `format!` takes. Deploying with `--config log-level=info` keeps finer lines
//! inside the module, where they cost next to nothing.

use crate::config;
use crate::host::logging;
use std::cell::Cell;
use std::fmt;

pub use crate::bindings::wasi::logging::logging::Level;

thread_local! {
    /// The finest level that leaves the module; none until the configuration was asked.
    static FINEST: Cell<Option<u8>> = const { Cell::new(None) };
}

/// Whether lines of this level leave the module.
#[must_use]
pub fn is_enabled(level: Level) -> bool {
    let finest = FINEST.get().unwrap_or_else(|| {
        let finest = finest();
        FINEST.set(Some(finest));
        finest
    });
    level as u8 >= finest
}

/// Has the configuration asked again.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn forget_level() {
    FINEST.set(None);
}

/// The configured level. A level that cannot be read or understood must not silence a module: everything is passed on.
fn finest() -> u8 {
    let text = config::get("log-level").ok().flatten();
    let level = match text.as_deref().map(str::trim).unwrap_or_default() {
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        "critical" => Level::Critical,
        _ => Level::Trace,
    };
    level as u8
}

/// Writes one line. `context` says which part of the module speaks. The macros call this.
pub fn write(level: Level, context: &str, message: fmt::Arguments<'_>) {
    match message.as_str() {
        Some(text) => logging::log(level, context, text),
        None => logging::log(level, context, &message.to_string()),
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $($message:tt)+) => {
        if $crate::log::is_enabled($crate::log::Level::$level) {
            $crate::log::write($crate::log::Level::$level, ::core::module_path!(), ::core::format_args!($($message)+));
        }
    };
}

/// Logs a line for those who follow each step.
#[macro_export]
macro_rules! trace {
    ($($message:tt)+) => { $crate::__log!(Trace, $($message)+) };
}

/// Logs a line for those who look for a fault.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::__log!(Debug, $($message)+) };
}

/// Logs a line worth knowing.
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::__log!(Info, $($message)+) };
}

/// Logs a line about something that may be wrong.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::__log!(Warn, $($message)+) };
}

/// Logs a line about something that is wrong.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => { $crate::__log!(Error, $($message)+) };
}

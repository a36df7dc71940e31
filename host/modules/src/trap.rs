//! From the error of a call to the failure an operator reads: what happened, in words, and where in the module.

use std::fmt::Display;

use lantern_core::module::{Failure, FailureKind};
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::guest::Guest;

/// How much of a module's last words is shown, in characters.
const WORDS: usize = 2_000;

/// How the engine says that a host call handed over too much; it has no type for it.
const TOO_MUCH: &str = "fuel allocated for hostcalls has been exhausted";

/// How the system says that it has no more memory, or no more mappings of it; the engine hands it on as it is.
const NO_MEMORY: &str = "(os error 12)";

/// The failure of a call that did not return.
pub(crate) fn failure(error: &wasmtime::Error, guest: &Guest) -> Failure {
    let Failure { kind, message, .. } = told(error, guest);
    let frames = error.downcast_ref::<WasmBacktrace>().filter(|trace| !trace.frames().is_empty());
    Failure { kind, message, backtrace: frames.map(backtrace) }
}

fn told(error: &wasmtime::Error, guest: &Guest) -> Failure {
    let limits = &guest.state.deployment.settings.limits;
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.clone();
    }
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Failure::new(FailureKind::Host, no_room(full));
    }
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return Failure::new(FailureKind::Trap, with_words(format!("the module exited with code {code}"), guest));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => {
            let message = format!("the call took longer than {} ms (`deadline_ms`)", limits.deadline_ms);
            Failure::new(FailureKind::Deadline, message)
        }
        Some(Trap::StackOverflow) => Failure::new(FailureKind::Trap, "the module's call stack overflowed"),
        Some(Trap::UnreachableCodeReached) => {
            let message = panic_text(&guest.state.console.err.text()).unwrap_or_else(|| {
                with_words("the module trapped: it reached code it calls unreachable".into(), guest)
            });
            Failure::new(FailureKind::Trap, message)
        }
        Some(trap) => {
            let trap = trap.to_string();
            let trap = trap.strip_prefix("wasm trap: ").unwrap_or(&trap);
            Failure::new(FailureKind::Trap, with_words(format!("the module trapped: {trap}"), guest))
        }
        None => untyped(error, guest),
    }
}

fn untyped(error: &wasmtime::Error, guest: &Guest) -> Failure {
    let cause = error.root_cause().to_string();
    if cause.contains(NO_MEMORY) {
        return Failure::new(FailureKind::Host, no_room(cause));
    }
    if cause.contains(TOO_MUCH) {
        let allowed = guest.state.deployment.settings.limits.host_call_bytes;
        let message = format!("the module handed over more than {allowed} bytes in one host call (`host_call_bytes`)");
        return Failure::new(FailureKind::Limit, message);
    }
    Failure::new(FailureKind::Trap, with_words(format!("the module trapped: {cause}"), guest))
}

fn no_room(reason: impl Display) -> String {
    format!(
        "the host has no room for another instance ({reason}): keep fewer aggregates warm, remove processors or use \
         another host"
    )
}

/// What a Rust module says when it panics: `panicked at src/lib.rs:7:9: the reason`.
fn panic_text(stderr: &str) -> Option<String> {
    let text = &stderr[stderr.rfind("panicked at ")?..];
    let lines = text.lines().filter(|line| !line.starts_with("note: ")).map(str::trim_end);
    let text = lines.collect::<Vec<_>>().join("\n");
    let (place, reason) = text.split_once('\n').unwrap_or((&text, ""));
    Some(format!("the module {place} {}", shortened(reason.trim())).trim_end().into())
}

/// What other languages write before they give up is the best there is.
fn with_words(message: String, guest: &Guest) -> String {
    let text = guest.state.console.err.text();
    let words = text.trim();
    if words.is_empty() { message } else { format!("{message}; its last words: {}", shortened(words)) }
}

/// The end of a text that is too long, since that is where the reason is.
fn shortened(text: &str) -> String {
    match text.char_indices().rev().nth(WORDS) {
        Some((start, _)) => format!("…{}", &text[start..]),
        None => text.into(),
    }
}

/// The functions the module was in, the innermost first, one a line; with file and line where the module has them.
fn backtrace(trace: &WasmBacktrace) -> String {
    let mut frames: Vec<(String, usize)> = Vec::new();
    for frame in readable(&trace.to_string()) {
        match frames.last_mut() {
            Some((last, times)) if *last == frame => *times += 1,
            _ => frames.push((frame, 1)),
        }
    }
    let line = |(frame, times)| if times == 1 { frame } else { format!("{frame} ({times} times)") };
    frames.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The frames of the engine's text, without addresses and hashes, and without those in which Rust prepares its panic.
fn readable(text: &str) -> Vec<String> {
    let mut frames: Vec<String> = Vec::new();
    for line in text.lines().skip(1).map(str::trim) {
        match (line.strip_prefix("at "), frames.last_mut()) {
            (Some(place), Some(frame)) => {
                frame.push_str(" at ");
                frame.push_str(place);
            }
            _ => frames.push(function(line).into()),
        }
    }
    let machinery = ["::panicking::panic", "rust_begin_unwind", "::panicking::assert_failed"];
    let prepares = |frame: &String| machinery.iter().any(|part| frame.contains(part));
    let first = frames.iter().rposition(prepares).map_or(0, |last| last + 1);
    frames.split_off(first)
}

/// The function's name in a line like `3: 0x284b - orders.wasm!orders::handle::h6656924ddb6664ea`. The number, the address
/// and the core module's name may each be missing.
fn function(line: &str) -> &str {
    let line = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches(':').trim_start();
    let line = if line.starts_with("0x") { line.split_once("- ").map_or(line, |(_, name)| name) } else { line };
    let line = line.trim_start_matches("- ");
    let is_module = |text: &str| text == "<unknown>" || !text.contains(['<', ' ', '(']);
    let name = line.split_once('!').filter(|(module, _)| is_module(module)).map_or(line, |(_, name)| name);
    match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_in_one_piece() {
        let stderr = "working\n\nthread '<unnamed>' (1) panicked at src/lib.rs:17:9:\ncannot bear it\nnor this\nnote: run \
                      with `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
        let told = panic_text(stderr).unwrap();
        assert_eq!(told, "the module panicked at src/lib.rs:17:9: cannot bear it\nnor this");
        assert_eq!(panic_text("no such thing"), None);
    }

    #[test]
    fn a_machine_that_is_full_is_not_the_modules_fault() {
        let full = std::io::Error::from_raw_os_error(12).to_string();
        assert!(full.contains(NO_MEMORY), "{full}");
        assert!(no_room(full).contains("keep fewer aggregates warm"));
    }

    #[test]
    fn long_words_keep_their_end() {
        let long = format!("{}end", "é".repeat(5_000));
        let short = shortened(&long);
        assert!(short.starts_with('…') && short.ends_with("end") && short.chars().count() < 2_100);
    }

    #[test]
    fn a_backtrace_begins_where_the_module_does() {
        let text = "error while executing at wasm backtrace:\n    0:   0xc990 - a.wasm!abort\n    1:   0xae4c - \
                    a.wasm!core[6d9e98711c484d2e]::panicking::panic_fmt\n    2:   0x1a0c - \
                    a.wasm!<a::A as b::P>::handle::h6656924ddb6664ea\n                  at src/lib.rs:7:9\n    3: \
                    a.wasm!handle";
        assert_eq!(readable(text), ["<a::A as b::P>::handle at src/lib.rs:7:9", "handle"]);
        assert_eq!(readable("error\n  0: 0x1 - a.wasm!sbrk"), ["sbrk"]);
        let inlined =
            "error\n  0: 0x1a - f::<fn() -> !>\n     at src/f.rs:1\n   - g\n     at src/g.rs:2\n  1: <unknown>!h";
        assert_eq!(readable(inlined), ["f::<fn() -> !> at src/f.rs:1", "g at src/g.rs:2", "h"]);
    }
}

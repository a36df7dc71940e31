//! Live counters: one line that is rewritten on a terminal, a line now and then elsewhere.

use std::{
    io::{IsTerminal, Write, stdout},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{HANDLER, PROJECTION, host::Host, shop::Shop};

/// How often the counters are read.
const TICK: Duration = Duration::from_millis(200);
/// How many ticks the rate is taken over, and a line is printed after where nothing can be rewritten.
const SECOND: usize = 5;

/// Shows counters for a while.
///
/// # Errors
/// When a processor fails or the client stops.
pub(super) fn watch(host: &Host, shop: &Shop, time: Duration) -> Result<()> {
    let terminal = stdout().is_terminal();
    let mut history = vec![(Instant::now(), shop.answered().0)];
    let end = Instant::now() + time;
    while Instant::now() < end && !shop.has_failed() {
        thread::sleep(TICK);
        let (accepted, rejected) = shop.answered();
        history.push((Instant::now(), accepted));
        let (projection, handler) = (status(host, "projections", PROJECTION)?, status(host, "handlers", HANDLER)?);
        let line = format!(
            "  {accepted:>6} accepted  {rejected:>4} rejected  {:>6} projected  {:>6} emitted  {:>4} scheduled  {:>3} \
             behind  {:>4.0} commands/s",
            number(&projection, "handled")?,
            number(&handler, "emitted")?,
            number(&handler, "scheduled")?,
            number(&projection, "lag")?.max(number(&handler, "lag")?),
            rate(&history)
        );
        if terminal {
            print!("\r{line}");
            stdout().flush()?;
        } else if history.len() % SECOND == 1 {
            println!("{line}");
        }
    }
    if terminal {
        println!();
    }
    Ok(())
}

fn status(host: &Host, kind: &str, name: &str) -> Result<Value> {
    let answer = ureq::get(format!("{}/api/v1/{kind}/{name}", host.url()))
        .config()
        .proxy(None)
        .build()
        .call()
        .with_context(|| format!("the host did not tell how `{name}` is"))?
        .body_mut()
        .read_to_string()?;
    let status: Value = serde_json::from_str(&answer)?;
    if status["state"] == "error" {
        bail!("`{name}` has stopped: {}", status["last_error"]);
    }
    Ok(status)
}

fn number(status: &Value, field: &str) -> Result<u64> {
    status[field].as_u64().with_context(|| format!("no `{field}` in {status}"))
}

/// Accepted commands a second over the last second.
fn rate(history: &[(Instant, u64)]) -> f64 {
    let window = &history[history.len().saturating_sub(SECOND + 1)..];
    let (Some((from, before)), Some((to, after))) = (window.first(), window.last()) else { return 0.0 };
    after.saturating_sub(*before) as f64 / to.duration_since(*from).as_secs_f64()
}

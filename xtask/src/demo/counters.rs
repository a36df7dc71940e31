//! Live counters: one line that is rewritten on a terminal, a line now and then elsewhere.

use std::{
    io::{IsTerminal, Write, stdout},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{host::Host, orders::Shop};

/// How often the counters are read.
const TICK: Duration = Duration::from_millis(200);
/// How many ticks the rate is taken over, and a line is printed after where nothing can be rewritten.
const SECOND: usize = 5;

/// Shows counters for a while.
///
/// # Errors
/// When the projection fails or the client stops.
pub(super) fn watch(host: &Host, shop: &Shop, projection: &str, time: Duration) -> Result<()> {
    let terminal = stdout().is_terminal();
    let mut history = vec![(Instant::now(), projected(host, projection)?)];
    let end = Instant::now() + time;
    while Instant::now() < end && !shop.has_failed() {
        thread::sleep(TICK);
        let now = status(host, projection)?;
        history.push((Instant::now(), now.handled));
        let line = format!(
            "  {:>7} appended   {:>7} projected   {:>4} behind   {:>5.0} events/s",
            shop.acknowledged(),
            now.handled,
            now.lag,
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

/// What is shown of a projection.
struct Counters {
    handled: u64,
    lag: u64,
}

fn projected(host: &Host, projection: &str) -> Result<u64> {
    Ok(status(host, projection)?.handled)
}

fn status(host: &Host, projection: &str) -> Result<Counters> {
    let answer = ureq::get(format!("{}/api/v1/projections/{projection}", host.url()))
        .config()
        .proxy(None)
        .build()
        .call()
        .context("the host did not tell how the projection is")?
        .body_mut()
        .read_to_string()?;
    let status: Value = serde_json::from_str(&answer)?;
    if status["state"] == "error" {
        bail!("the projection has stopped: {}", status["last_error"]);
    }
    let number = |field: &str| status[field].as_u64().with_context(|| format!("no `{field}` in {status}"));
    Ok(Counters { handled: number("handled")?, lag: number("lag")? })
}

/// Events a second over the last second.
fn rate(history: &[(Instant, u64)]) -> f64 {
    let window = &history[history.len().saturating_sub(SECOND + 1)..];
    let (Some((from, before)), Some((to, after))) = (window.first(), window.last()) else { return 0.0 };
    after.saturating_sub(*before) as f64 / to.duration_since(*from).as_secs_f64()
}

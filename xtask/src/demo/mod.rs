//! `cargo xtask demo`: a projection's life in half a minute, with proofs at the end.

mod counters;
mod host;
mod orders;
mod proof;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    guests,
    repository::{self, Repository},
};
use host::Host;
use orders::Shop;

/// The name of the projection.
const NAME: &str = "orders";

/// How long orders are watched before and after the swap.
const WATCH: Duration = Duration::from_secs(5);

/// How many orders or shipments a second.
const RATE: u32 = 250;

/// Builds what is needed and tells the story.
pub(crate) fn run(repository: &Repository) -> Result<()> {
    step("Building the host and two versions of a projection; the first time this takes some minutes");
    guests::add_target()?;
    guests::build_packages(repository, "examples", &["orders-v1", "orders-v2"])?;
    repository::run(repository.cargo("build").args(["--workspace", "--exclude", "xtask", "--bins"]))?;

    let begin = Instant::now();
    let host = Host::start(&repository.lantern())?;
    step(&format!("A host serves {}, its data in {}", host.url(), host.data().display()));
    deploy(&host, repository)?;

    let shop = Shop::open(host.url(), RATE);
    step(&format!("A client appends {RATE} orders and shipments a second"));
    counters::watch(&host, &shop, NAME, WATCH)?;
    show_read_model(&host)?;
    show_trace(&host, &shop)?;
    swap(&host, repository)?;
    counters::watch(&host, &shop, NAME, WATCH)?;
    let acknowledged = shop.close()?;

    host.cli(&["projection", "wait", NAME, "--timeout", "60"])?;
    step("What happened is kept");
    show(&host, &["projection", "history", NAME])?;
    step("Proof that nothing was lost or doubled");
    proof::check(&host, NAME, acknowledged)?;
    stop(host)?;
    farewell(begin.elapsed());
    Ok(())
}

fn step(title: &str) {
    println!("\n▸ {title}");
}

/// Runs a command of `lantern` and prints both, as a person would see them.
fn show(host: &Host, arguments: &[&str]) -> Result<()> {
    println!("  $ lantern {}", arguments.join(" "));
    for line in host.cli(arguments)?.lines() {
        println!("  {line}");
    }
    Ok(())
}

fn deploy(host: &Host, repository: &Repository) -> Result<()> {
    let module = repository.component("orders-v1");
    step("Version 1.0.0 of `examples/orders` is loaded and deployed");
    host.cli(&["projection", "deploy", NAME, "--module", &module.to_string_lossy()])?;
    Ok(())
}

fn show_read_model(host: &Host) -> Result<()> {
    step("The read model it keeps");
    show(host, &["projection", "query", NAME, "totals", "all"])?;
    show(host, &["projection", "query", NAME, "orders", "--limit", "3"])
}

/// Prints the trace of one order once all of it has been recorded.
fn show_trace(host: &Host, shop: &Shop) -> Result<()> {
    let trace = shop.a_trace().context("no answer of the host named its trace")?;
    step("The trace of one order, from its request to the module's own span");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_whole(&host.json(&["trace", &trace]).unwrap_or_default()) {
        if Instant::now() > deadline {
            bail!("trace {trace} does not reach the module's span: see `lantern trace {trace}`");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    show(host, &["trace", &trace])
}

fn is_whole(trace: &Value) -> bool {
    let spans = trace.as_array().or_else(|| trace["spans"].as_array());
    spans.is_some_and(|spans| spans.iter().any(|span| span["name"] == "count order"))
}

fn swap(host: &Host, repository: &Repository) -> Result<()> {
    let module = repository.component("orders-v2");
    step("Version 2.0.0 takes over while orders flow: checked, compiled, tried on recent events, swapped");
    let swapped = host.json(&["projection", "swap", NAME, "--module", &module.to_string_lossy()])?;
    let (position, tried) = (&swapped["position"], &swapped["dry_run_events"]);
    println!("  after position {position}, tried on {tried} events before");
    Ok(())
}

fn stop(host: Host) -> Result<()> {
    step("The host is told to end (SIGTERM)");
    let begin = Instant::now();
    host.stop()?;
    println!("  it committed what was in flight and ended in {} ms", begin.elapsed().as_millis());
    Ok(())
}

fn farewell(took: Duration) {
    println!(
        "
That was Lantern, in {:.0} seconds. Try next:

  cargo build --release                      builds the binary: target/release/lantern
  lantern serve                              starts a host that keeps its data in ./lantern-data
  the README                                 writes, loads and swaps a projection of your own in five minutes
  examples/loan-applications                 262,200 real events
  cargo xtask test                           runs every test",
        took.as_secs_f64()
    );
}

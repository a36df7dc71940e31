//! `cargo xtask demo`: the life of a small system in half a minute, from commands to effects, with proofs at the end.

mod counters;
mod facts;
mod host;
mod past;
mod proof;
mod shop;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    guests, packages,
    repository::{self, Repository},
};
use host::Host;
use shop::Shop;

/// The name of the projection.
const PROJECTION: &str = "orders";
/// The name of the aggregate, which is the category of its streams.
const AGGREGATE: &str = "Order";
/// The name of the handler.
const HANDLER: &str = "shipping";
/// The name of the upcaster.
const UPCASTER: &str = "order-placed";

/// The packages of the example.
const PACKAGES: [&str; 7] =
    ["orders-v1", "orders-v2", "order-v1", "order-v2", "shipping-v1", "shipping-v2", "order-placed"];

/// How long commands are watched before and after the swaps.
const WATCH: Duration = Duration::from_secs(5);

/// How many commands a second.
const RATE: u32 = 200;

/// After how long a paid order that is not shipped is called to mind.
const REMINDER: Duration = Duration::from_secs(5);

/// Builds what is needed and tells the story.
pub(crate) fn run(repository: &Repository) -> Result<()> {
    step("Building the host and the example's modules; the first time this takes some minutes");
    packages::install_for_builds()?;
    guests::add_target()?;
    guests::build_packages(repository, "examples", &PACKAGES)?;
    repository::run(repository.cargo("build").args(["--workspace", "--exclude", "xtask", "--bins"]))?;

    let begin = Instant::now();
    let host = Host::start(&repository.lantern())?;
    step(&format!("A host serves {}, its data in {}", host.url(), host.data().display()));
    past::import(&host)?;
    deploy(&host, repository)?;
    past::show(&host)?;

    let shop = Shop::open(host.url(), RATE);
    step(&format!("Customers send {RATE} commands a second: orders are placed, paid, cancelled, shipped"));
    counters::watch(&host, &shop, WATCH)?;
    show_read_model(&host)?;
    show_trace(&host, &shop)?;
    show_rejection(&host)?;
    let repeated = show_duplicate(&host)?;
    swap(&host, repository)?;
    counters::watch(&host, &shop, WATCH)?;
    let mut answers = shop.close()?;
    answers.events.extend(repeated);

    settle(&host)?;
    step("What happened is kept");
    show(&host, &["projection", "history", PROJECTION])?;
    show(&host, &["aggregate", "history", AGGREGATE])?;
    show(&host, &["handler", "history", HANDLER])?;
    step("Proof that nothing was lost or doubled");
    proof::check(&host, &answers)?;
    stop(host)?;
    farewell(begin.elapsed());
    Ok(())
}

fn step(title: &str) {
    println!("\n▸ {title}");
}

/// Runs a command of `lantern` and prints both, as a person would see them.
fn show(host: &Host, arguments: &[&str]) -> Result<()> {
    print_command(arguments);
    print_lines(&host.cli(arguments)?);
    Ok(())
}

/// Prints a command as a shell takes it.
fn print_command(arguments: &[&str]) {
    let quoted = |argument: &&str| match argument.contains([' ', '"']) {
        true => format!("'{argument}'"),
        false => (*argument).to_owned(),
    };
    println!("  $ lantern {}", arguments.iter().map(quoted).collect::<Vec<_>>().join(" "));
}

fn print_lines(text: &str) {
    for line in text.lines() {
        println!("  {line}");
    }
}

fn deploy(host: &Host, repository: &Repository) -> Result<()> {
    let module = |package| repository.component(package).to_string_lossy().into_owned();
    step("The modules of `examples/orders` are loaded and deployed");
    host.cli(&["upcaster", "deploy", UPCASTER, "--module", &module("order-placed")])?;
    println!("  upcaster `{UPCASTER}`: the older orders in the form of today");
    host.cli(&["projection", "deploy", PROJECTION, "--module", &module("orders-v1")])?;
    println!("  projection `{PROJECTION}`: from events to a read model");
    host.cli(&["aggregate", "deploy", AGGREGATE, "--module", &module("order-v1")])?;
    println!("  aggregate `{AGGREGATE}`: decides what happens on a command");
    let reminder = format!("reminder_seconds={}", REMINDER.as_secs());
    let grants = ["--grant", "emit", "--grant", "schedule", "--config", &reminder];
    host.cli(&[&["handler", "deploy", HANDLER, "--module", &module("shipping-v1")], &grants[..]].concat())?;
    println!("  handler `{HANDLER}`: asks for the shipment of paid orders, and again after {} s", REMINDER.as_secs());
    Ok(())
}

fn show_read_model(host: &Host) -> Result<()> {
    step("The read model that the projection keeps, and the state of one order as its aggregate sees it");
    show(host, &["projection", "query", PROJECTION, "totals", "all"])?;
    show(host, &["projection", "query", PROJECTION, "orders", "--limit", "3"])?;
    show(host, &["aggregate", "show", "Order-1000"])
}

/// Prints the trace of one payment once all of it has been recorded.
fn show_trace(host: &Host, shop: &Shop) -> Result<()> {
    let trace = shop.page().payment.context("no answer of the host named its trace")?;
    step("One trace of one payment: command, events, projection and handler, and the event that the handler emits");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_whole(&host.json(&["trace", &trace]).unwrap_or_default()) {
        if Instant::now() > deadline {
            bail!("trace {trace} does not reach from the command to the emitted event: see `lantern trace {trace}`");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    show(host, &["trace", &trace])
}

fn is_whole(trace: &Value) -> bool {
    let spans = trace.as_array().or_else(|| trace["spans"].as_array()).map_or(&[][..], Vec::as_slice);
    let has = |name: &str, key: &str, value: &str| {
        spans.iter().any(|span| span["name"] == name && span["attributes"][key] == value)
    };
    has("eventsource.aggregate.decide", "lantern.command.type", "PayOrder")
        && has("eventsource.projection.handle", "eventsource.event.type", "OrderPaid")
        && has("eventsource.handler.handle", "eventsource.event.type", "OrderPaid")
        && has("eventsource.event_store.append_events", "eventsource.event.type", "ShippingRequested")
}

fn show_rejection(host: &Host) -> Result<()> {
    step("An older order that nobody paid is not shipped: the aggregate rejects the command");
    let command = ["command", "send", past::AN_ORDER, "ShipOrder", "--data", r#"{"carrier":"post"}"#];
    print_command(&command);
    print_lines(&host.refused(&command)?);
    Ok(())
}

/// Sends one command twice. Answers the ids of the events it led to.
fn show_duplicate(host: &Host) -> Result<Vec<String>> {
    step("A command that is sent twice under one id has one effect and the same answer");
    let data = shop::placed(7).to_string();
    let id = "018f0000-0000-7000-8000-000000000007";
    let command = ["command", "send", "Order-7", "PlaceOrder", "--data", &data, "--id", id];
    show(host, &command)?;
    let again = host.json(&command)?;
    show(host, &command)?;
    ensure!(again["version"] == 1, "the order was placed twice: {again}");
    shop::ids(&again)
}

fn swap(host: &Host, repository: &Repository) -> Result<()> {
    step("New versions take over while commands flow: checked, compiled, tried without effect, swapped");
    for (kind, name, package) in [
        ("projection", PROJECTION, "orders-v2"),
        ("aggregate", AGGREGATE, "order-v2"),
        ("handler", HANDLER, "shipping-v2"),
    ] {
        let module = repository.component(package).to_string_lossy().into_owned();
        let swapped = host.json(&[kind, "swap", name, "--module", &module])?;
        println!("  {kind} `{name}`: version 2.0.0 after position {}", swapped["position"]);
    }
    Ok(())
}

/// Waits until everything that follows from the commands has happened, reminders included.
fn settle(host: &Host) -> Result<()> {
    step("The shop closes; what is scheduled comes to pass");
    let deadline = Instant::now() + REMINDER + Duration::from_secs(30);
    loop {
        host.cli(&["handler", "wait", HANDLER, "--timeout", "60"])?;
        let schedules = host.json(&["schedule", "list"])?;
        let left = schedules.as_array().context("`lantern schedule list` gives no list")?.len();
        if left == 0 {
            break;
        }
        ensure!(Instant::now() < deadline, "{left} schedules are not due: {schedules}");
        std::thread::sleep(Duration::from_millis(100));
    }
    host.cli(&["handler", "wait", HANDLER, "--timeout", "60"])?;
    host.cli(&["projection", "wait", PROJECTION, "--timeout", "60"])?;
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
  lantern new aggregate NAME                 writes a project of your own that builds and passes its test;
                                             `projection`, `handler` and `upcaster` do likewise
  the README                                 writes, loads and swaps a projection of your own in five minutes
  examples/orders                            the modules of this demo, each with its tests
  examples/loan-applications                 262,200 real events
  cargo xtask test                           runs every test",
        took.as_secs_f64()
    );
}

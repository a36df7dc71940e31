//! Budget `decide`: a decision and the folding of its event, against a call of an empty guest. The aggregate that is
//! measured does as little as that guest; what one costs that reads and writes JSON is noted.

use std::{hint::black_box, slice, sync::Arc, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use lantern_core::{
    AggregateInstance, AggregateModule, Command, Decision, Event, EventId, Instance, Kind, Metadata, Module, Position,
    Timestamp, Version, View, aggregate::Decide,
};

use crate::{
    Bench,
    figures::{median, nanos_each},
    handle::{self, Nothing},
    report::{Report, ratio},
    world::settings,
    write_side::{DEPOSIT, GUEST, account, command},
};

/// The guest that nods: it decides on one event and keeps nothing.
const NODDING: &str = "nodding";

/// How many decisions one round has.
const DECISIONS: u64 = 50_000;

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let world = &bench.world;
    let empty = world.push(handle::GUEST).await?;
    let projection = world.library().load(empty, &settings(Kind::Projection)?).await?;
    let mut figures = Vec::new();
    for guest in [NODDING, GUEST] {
        let decider = world.push(guest).await?;
        let aggregate = world.library().load_aggregate(decider, &settings(Kind::Aggregate)?).await?;
        let (projection, rounds) = (projection.clone(), bench.arguments.rounds.max(3));
        // Calls block, and do not belong on the runtime's threads.
        let measured = tokio::task::spawn_blocking(move || measure(&*aggregate, &*projection, rounds)).await??;
        figures.push(summed_up(measured));
    }
    let (decided, handled, against) = figures[0];
    let what = format!("decide: and one evolve ({decided:.0} ns) against an empty handle ({handled:.0} ns)");
    report.at_most(&what, against, 2.0, ratio);
    let (decided, _, against) = figures[1];
    report.note(format!("decide: with the SDK and its JSON {decided:.0} ns, {against:.2} of an empty handle"));
    Ok(())
}

/// The medians of decisions, of calls, and of the ratios between them.
fn summed_up((decided, handled): (Vec<f64>, Vec<f64>)) -> (f64, f64, f64) {
    let ratios = decided.iter().zip(&handled).map(|(decided, handled)| decided / handled).collect();
    (median(decided), median(handled), median(ratios))
}

/// Nanoseconds a decision with its event, and a call of the empty guest, of each round.
fn measure(aggregate: &dyn AggregateModule, projection: &dyn Module, rounds: u32) -> Result<(Vec<f64>, Vec<f64>)> {
    let stream = account(1)?;
    let command = command(&stream, "Deposit", DEPOSIT)?;
    let mut decider = aggregate.instance(&stream);
    let mut event = recorded(&command, decide(decider.as_mut(), &[], &command)?)?;
    let mut empty: Box<dyn Instance> = projection.instance();
    let view: Arc<dyn View> = Arc::new(Nothing);
    let handled = handle::event()?;
    let (mut decisions, mut calls) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let began = Instant::now();
        for _ in 0..DECISIONS {
            black_box(decide(decider.as_mut(), slice::from_ref(black_box(&event)), black_box(&command))?);
            event.version = event.version.next();
        }
        let took = nanos_each(began.elapsed(), DECISIONS);
        let call = handle::by_host(empty.as_mut(), &handled, &view)?;
        // The first round warms up.
        if round > 0 {
            decisions.push(took);
            calls.push(call);
        }
    }
    Ok((decisions, calls))
}

/// What the guest decides once it has folded the news: one event.
fn decide(decider: &mut dyn AggregateInstance, news: &[Event], command: &Command) -> Result<lantern_core::Draft> {
    let decided = decider.decide(&Decide { news, command, attempt: 1, trace: None });
    match decided.result? {
        Decision::Accepted(mut drafts) => {
            ensure!(drafts.len() == 1, "one event was to be decided on, {} were", drafts.len());
            drafts.pop().context("a draft")
        }
        Decision::Rejected(rejection) => bail!("the command was rejected: {}", rejection.message),
    }
}

/// The event of a draft, as the log gives it back.
fn recorded(command: &Command, draft: lantern_core::Draft) -> Result<Event> {
    Ok(Event {
        id: EventId::from_u128(1),
        event_type: draft.event_type,
        schema_version: draft.schema_version,
        stream: command.stream.clone(),
        version: Version(1),
        position: Position(1),
        time: Timestamp(1_317_427_200_000_000_000),
        data: draft.data,
        metadata: Metadata { causation_id: Some(command.id.to_string().into()), ..command.metadata.clone() },
    })
}

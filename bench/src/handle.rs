//! Budget `handle`: a call of a module through the host's port, against a bare call of the same guest.

use std::{hint::black_box, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use lantern_core::{
    Call, Cause, Document, Event, EventId, Instance, Kind, Metadata, Payload, Position, StreamName, Timestamp, Value,
    Version, View, documents::Scan, read_model::ReadModelError,
};

use crate::{
    Bench,
    events::some_type,
    figures::{median, nanos_each},
    guest::{self, Guest, Program},
    report::{Report, ratio},
    world::settings,
};

pub(crate) const GUEST: &str = "empty";

/// How many calls one round of each has.
const CALLS: u64 = 200_000;

/// How many bytes the event's content has.
const BYTES: usize = 256;

/// A read model without documents.
pub(crate) struct Nothing;

impl View for Nothing {
    fn get(&self, _: &str, _: &str) -> Result<Option<Value>, ReadModelError> {
        Ok(None)
    }

    fn scan(&self, _: &str, _: &Scan) -> Result<Vec<Document>, ReadModelError> {
        Ok(Vec::new())
    }
}

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let digest = bench.world.push(GUEST).await?;
    let module = bench.world.library().load(digest, &settings(Kind::Projection)?).await?;
    let component = bench.world.component(GUEST)?;
    let rounds = bench.arguments.rounds.max(3);
    // Calls block, and do not belong on the runtime's threads.
    let measured = tokio::task::spawn_blocking(move || measure(module.instance(), &Program::new(&component)?, rounds));
    let (host, bare) = measured.await??;
    let ratios = host.iter().zip(&bare).map(|(host, bare)| host / bare).collect();
    let (host, bare) = (median(host), median(bare));
    let nanos = |figure: f64| format!("{figure:.0} ns");
    report.at_most("handle: a call, 256-byte event, empty guest", host, 1_500.0, nanos);
    report.at_most(&format!("handle: against a bare call ({bare:.0} ns)"), median(ratios), 1.25, ratio);
    Ok(())
}

/// Nanoseconds a call, of the host and bare, of each round.
fn measure(mut host: Box<dyn Instance>, program: &Program, rounds: u32) -> Result<(Vec<f64>, Vec<f64>)> {
    let event = event()?;
    let mut bare = program.start(None)?;
    let view: Arc<dyn View> = Arc::new(Nothing);
    let (mut of_host, mut of_bare) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let took = (by_host(host.as_mut(), &event, &view)?, by_bare(&mut bare, &event)?);
        // The first round warms up.
        if round > 0 {
            of_host.push(took.0);
            of_bare.push(took.1);
        }
    }
    Ok((of_host, of_bare))
}

pub(crate) fn by_host(instance: &mut dyn Instance, event: &Event, view: &Arc<dyn View>) -> Result<f64> {
    let began = Instant::now();
    for _ in 0..CALLS {
        let call = Call { event: black_box(event), cause: Cause::Live, attempt: 1, trace: None };
        let outcome = black_box(instance.handle(&call, view));
        ensure!(outcome.result.is_ok(), "the guest failed: {:?}", outcome.result);
    }
    Ok(nanos_each(began.elapsed(), CALLS))
}

fn by_bare(guest: &mut Guest, event: &Event) -> Result<f64> {
    let began = Instant::now();
    for _ in 0..CALLS {
        black_box(guest.handle(lowered(black_box(event)))?);
    }
    Ok(nanos_each(began.elapsed(), CALLS))
}

/// An event of 256 bytes of JSON.
pub(crate) fn event() -> Result<Event> {
    let frame = "{\"amount\":100,\"remark\":\"\"}".len();
    let data = format!("{{\"amount\":100,\"remark\":\"{}\"}}", "x".repeat(BYTES - frame));
    ensure!(data.len() == BYTES, "the event has {} bytes", data.len());
    Ok(Event {
        id: EventId::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        event_type: some_type()?,
        schema_version: 1,
        stream: StreamName::new("LoanApplication-173688")?,
        version: Version(3),
        position: Position(1_000),
        time: Timestamp(1_317_427_200_000_000_000),
        data: Payload::Json(data.into()),
        metadata: Metadata {
            correlation_id: Some("0f8fad5b-d9cb-469f-a165-70867728950e".into()),
            ..Metadata::default()
        },
    })
}

/// The event as the bare call takes it.
fn lowered(event: &Event) -> guest::Event<'_> {
    let (id_high, id_low) = event.id.as_u64_pair();
    let Payload::Json(data) = &event.data else { unreachable!("the event above has JSON content") };
    guest::Event {
        id_high,
        id_low,
        event_type: event.event_type.as_str(),
        schema_version: event.schema_version,
        stream: event.stream.as_str(),
        version: event.version.0,
        position: event.position.0,
        time: event.time.0,
        content_type: None,
        data: guest::Payload::Json(data),
        metadata: &[("correlation-id", "0f8fad5b-d9cb-469f-a165-70867728950e")],
    }
}

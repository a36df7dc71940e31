//! The dead letters of a run: which streams are held back, trying parked events again, passing over them.

use std::{collections::BTreeMap, sync::Arc};

use lantern_core::{
    Batch, BatchView, Event, Filter, Happening, Parked, Position, StreamName, View, module::FailureKind,
    parked::Standing,
};

use crate::{
    Refusal, Retried, Selection,
    emission::{Asked, Outbound},
    generation::Run,
    handle::{Called, Occasion, Worker},
    held::{release, waiting},
    session::{End, Session, new_trace},
};

/// How many parked events are tried again in one commit.
const MOST_AT_ONCE: usize = 500;

/// Tries parked events again, each stream in order until one of its events fails.
pub(crate) async fn retry(session: &mut Session<'_>, selection: &Selection) -> Result<Result<Retried, Refusal>, End> {
    let selected = match selected(session.run, selection).await {
        Ok(selected) => selected,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut handled = 0;
    for records in selected.into_values() {
        // An event that loses the transaction of its SQL tables must not take others with it.
        let has_tables = session.run.module.description().has_tables;
        for chunk in records.chunks(if has_tables { 1 } else { MOST_AT_ONCE }) {
            let events = match events(session.run, chunk).await {
                Ok(events) => events,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let tried = attempt(session, chunk.to_vec(), events).await?;
            handled += tried;
            if tried < chunk.len() as u64 {
                break;
            }
        }
    }
    let (remaining, _) = session.parked();
    session.run.record(Happening::Retried { handled, remaining }).await;
    Ok(Ok(Retried { handled, remaining }))
}

/// What a selection means: parked events by stream, in order.
async fn selected(run: &Run, selection: &Selection) -> Result<BTreeMap<StreamName, Vec<Parked>>, Refusal> {
    let subject = || run.subject();
    let mut streams: BTreeMap<StreamName, Vec<Parked>> = BTreeMap::new();
    for parked in waiting(&*run.read_model).await? {
        streams.entry(parked.stream.clone()).or_default().push(parked);
    }
    match selection {
        Selection::All => {}
        Selection::Stream(stream) => {
            streams.retain(|name, _| name == stream);
            if streams.is_empty() {
                return Err(Refusal::StreamNotParked { subject: subject(), stream: stream.clone() });
            }
        }
        Selection::Position(position) => {
            streams.retain(|_, records| records.iter().any(|parked| parked.position == *position));
            let Some(records) = streams.values_mut().next() else {
                return Err(Refusal::NotParked { subject: subject(), position: *position });
            };
            let first = records[0].position;
            if first != *position {
                return Err(Refusal::NotFirst { position: *position, first });
            }
            records.truncate(1);
        }
    }
    Ok(streams)
}

/// The events of some records.
async fn events(run: &Run, records: &[Parked]) -> Result<Vec<Event>, Refusal> {
    let mut events = Vec::with_capacity(records.len());
    for parked in records {
        let page = run.ports.log.read(Position(parked.position.0 - 1), &Filter::all(), 1).await?;
        events.extend(page.events);
    }
    Ok(events)
}

/// Tries the first parked events of one stream, commits what came of it and says how many were handled.
async fn attempt(session: &mut Session<'_>, records: Vec<Parked>, events: Vec<Event>) -> Result<u64, End> {
    let tables = match session.tables(&session.run.module.clone()).await? {
        Ok(tables) => tables,
        Err(error) => {
            session.halt(error.to_string(), None).await;
            return Ok(0);
        }
    };
    let Some(mut worker) = session.lend() else { return Ok(0) };
    let started_at = session.now();
    let trace = new_trace();
    let occasion = Occasion::Replay(trace.clone());
    let view = Arc::new(BatchView::new(session.view(), None).with_tables(tables));
    let seen = view.clone();
    let work = move || {
        let tried = tries(&mut worker, &records, &events, &seen, &occasion);
        (worker, records, tried)
    };
    let Ok((worker, records, tried)) = session.run.ports.threads.run(work).await else {
        return Err(End::Trouble("the host panicked while a guest ran".into()));
    };
    session.give_back(worker);
    let Tried { handled, failed, asked } = tried.map_err(End::Trouble)?;
    if let Some(held) = session.held() {
        release(held, &records[0].stream, handled);
    }
    let released = records[..handled].iter().map(|parked| parked.position).collect();
    let batch = Batch {
        documents: Arc::new(view.take()),
        tables: view.take_tables(),
        schedules: asked.schedules,
        parked: failed.into_iter().collect(),
        released,
        handled: handled as u64,
        trace: Some(trace),
        started_at,
        ..session.blank(session.tip())
    };
    session.commit(batch, asked.outbound).await?;
    session.settle().await?;
    Ok(handled as u64)
}

/// What trying parked events came to.
struct Tried {
    /// How many were handled.
    handled: usize,
    /// The new record of the next one, if it failed.
    failed: Option<Parked>,
    /// What a handler asked for beyond documents.
    asked: Asked,
}

/// Tries parked events in order until one fails. An error says why the host could not serve a call.
fn tries(
    worker: &mut Worker,
    records: &[Parked],
    events: &[Event],
    view: &Arc<BatchView>,
    occasion: &Occasion,
) -> Result<Tried, String> {
    let seen: Arc<dyn View> = view.clone();
    let mut asked = Asked::default();
    for (handled, (event, record)) in events.iter().zip(records).enumerate() {
        let attempts = record.attempts + 1;
        match worker.call(event, occasion.cause(), attempts, &seen) {
            Called::Unwanted => {}
            Called::Handled { effects, trace } => worker.fold(event, effects, trace, view, &mut asked),
            Called::Failed { failure, .. } if failure.kind == FailureKind::Host => return Err(failure.message),
            Called::Failed { failure, trace } => {
                let failed = worker.parked(event, Standing::Failed, failure, attempts, trace, Some(record));
                return Ok(Tried { handled, failed: Some(failed), asked });
            }
        }
    }
    Ok(Tried { handled: events.len(), failed: None, asked })
}

/// Passes over the first parked event of a stream. Its record stays, as skipped.
pub(crate) async fn skip(session: &mut Session<'_>, position: Position) -> Result<Result<(), Refusal>, End> {
    let selected = match selected(session.run, &Selection::Position(position)).await {
        Ok(selected) => selected,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let Some(record) = selected.into_values().flatten().next() else { return Ok(Ok(())) };
    if let Some(held) = session.held() {
        release(held, &record.stream, 1);
    }
    let skipped = Parked { standing: Standing::Skipped, last_at: session.now(), ..record };
    let batch = Batch { parked: vec![skipped], ..session.blank(session.tip()) };
    session.commit(batch, Outbound::default()).await?;
    session.settle().await?;
    session.run.record(Happening::Skipped { position }).await;
    Ok(Ok(()))
}

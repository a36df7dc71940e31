//! The dry run: a module is tried on events of the log without effect, before it may take over.

use std::sync::Arc;

use lantern_core::{
    BatchView, Cause, Document, Event, Filter, Module, Parked, Position, ReadModel, Tables, TablesError, Value, View,
    documents::Scan, parked::Standing, read_model::ReadModelError,
};
use tokio::runtime::Handle;

use crate::{
    Ports, Refusal,
    caller::{self, Caller},
};

/// How many recent events are tried.
const RECENT: usize = 50;

/// How many parked events are tried.
const PARKED: usize = 20;

/// What a dry run that did not fail came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DryRun {
    /// How many events were tried.
    pub(crate) events: u64,
    /// How many of the parked ones the module could handle.
    pub(crate) mended: u64,
}

/// Tries a module on the last events the processor has handled, which it must all handle, and on parked events,
/// which it may fail: they failed before. The read model as it stands is what the module sees.
pub(crate) async fn dry_run(
    ports: &Ports,
    read_model: Arc<dyn ReadModel>,
    module: Arc<dyn Module>,
    until: Position,
) -> Result<DryRun, Refusal> {
    let parked: Vec<Parked> = read_model.parked(Position::START, usize::MAX).await?;
    let recent = recent(ports, &caller::filter(&*module, &*ports.upcasting), until, &parked).await?;
    let mut failed = Vec::new();
    for record in parked.iter().filter(|record| record.standing == Standing::Failed).take(PARKED) {
        let page = ports.log.read(Position(record.position.0 - 1), &Filter::all(), 1).await?;
        failed.extend(page.events);
    }
    // Never committed: what the module does to its SQL tables ends with the dry run.
    let tables = tables(&*read_model, &*module).await?;
    let committed: Arc<dyn View> = Arc::new(Committed { read_model, runtime: Handle::current() });
    let caller = Caller::new(module, ports.upcasting.clone());
    let tried = ports.threads.run(move || tries(caller, &recent, &failed, (committed, tables))).await;
    tried.map_err(|_| Refusal::Interrupted)?.map_err(|refusal| *refusal)
}

/// A transaction for the SQL tables of a module, where it has some: its migrations are tried with it.
pub(crate) async fn tables(
    read_model: &dyn ReadModel,
    module: &dyn Module,
) -> Result<Option<Arc<dyn Tables>>, Refusal> {
    let description = module.description();
    if !description.has_tables {
        return Ok(None);
    }
    match read_model.tables(&description.migrations).await {
        Ok(tables) => Ok(Some(tables)),
        Err(TablesError::ReadModel(error)) => Err(error.into()),
        Err(error) => Err(Refusal::Tables { module: module.digest(), reason: error.to_string() }),
    }
}

/// The last events that were handled, in order.
async fn recent(ports: &Ports, filter: &Filter, until: Position, parked: &[Parked]) -> Result<Vec<Event>, Refusal> {
    let page = ports.log.read_backward(until.next(), filter, RECENT).await?;
    let handled = |event: &Event| parked.binary_search_by_key(&event.position, |record| record.position).is_err();
    let mut events: Vec<Event> = page.events.into_iter().filter(handled).collect();
    events.reverse();
    Ok(events)
}

fn tries(
    mut caller: Caller,
    recent: &[Event],
    parked: &[Event],
    (committed, tables): (Arc<dyn View>, Option<Arc<dyn Tables>>),
) -> Result<DryRun, Box<Refusal>> {
    let module = caller.digest();
    let folding = Arc::new(BatchView::new(committed, None).with_tables(tables.clone()));
    // Rows that the same event made before are in the way of those it makes now: that tells nothing of the module.
    let clashed = || tables.as_ref().is_some_and(|tables| tables.clashed());
    let view: Arc<dyn View> = folding.clone();
    let mut handle = |event: &Event| {
        let Some(outcome) = caller.call(event, Cause::DryRun, 1, &view) else { return Ok(()) };
        match outcome.result {
            // What it would emit or schedule is dropped.
            Ok(effects) => folding.fold(effects.writes),
            Err(_) if clashed() => {}
            Err(failure) => return Err(failure),
        }
        Ok(())
    };
    for event in recent {
        handle(event).map_err(|failure| Refusal::DryRun {
            module,
            position: event.position,
            event_type: event.event_type.to_string(),
            reason: failure.message,
        })?;
    }
    let mended = parked.iter().filter(|event| handle(event).is_ok()).count();
    Ok(DryRun { events: (recent.len() + parked.len()) as u64, mended: mended as u64 })
}

/// A read model seen from a guest thread without taking part in the cache of its owner.
struct Committed {
    read_model: Arc<dyn ReadModel>,
    runtime: Handle,
}

impl View for Committed {
    fn get(&self, collection: &str, key: &str) -> Result<Option<Value>, ReadModelError> {
        self.runtime.block_on(self.read_model.get(collection, key))
    }

    fn scan(&self, collection: &str, scan: &Scan) -> Result<Vec<Document>, ReadModelError> {
        self.runtime.block_on(self.read_model.scan(collection, scan))
    }
}

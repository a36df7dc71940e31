//! Streams that are held back by a parked event.

use std::collections::HashMap;

use lantern_core::{Parked, Position, ReadModel, StreamName, parked::Standing, read_model::ReadModelError};

/// How many records are read at once.
const PAGE: usize = 1_000;

/// Streams that are held back by a parked event, and how many of their events are parked.
pub(crate) type Held = HashMap<StreamName, u64>;

/// The streams that are held back, with how many of their events are parked.
pub(crate) async fn load(read_model: &dyn ReadModel) -> Result<Held, ReadModelError> {
    Ok(read_model.held_streams().await?.into_iter().collect())
}

/// All parked events that hold their streams back, in order.
pub(crate) async fn waiting(read_model: &dyn ReadModel) -> Result<Vec<Parked>, ReadModelError> {
    let (mut waiting, mut after) = (Vec::new(), Position::START);
    loop {
        let page = read_model.parked(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(waiting) };
        after = last.position;
        waiting.extend(page.into_iter().filter(|parked| parked.standing != Standing::Skipped));
    }
}

/// Notes that parked events of a stream are dealt with; the stream goes on when none is left.
pub(crate) fn release(held: &mut Held, stream: &StreamName, events: usize) {
    let Some(waiting) = held.get_mut(stream) else { return };
    *waiting = waiting.saturating_sub(events as u64);
    if *waiting == 0 {
        held.remove(stream);
    }
}

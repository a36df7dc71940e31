//! Dead letters: parked events are recorded, replaced and released by commits.

use std::sync::Arc;

use lantern_core::{
    Batch, EventId, EventType, Lease, Parked, Position, ReadModel, ReadModels, Timestamp, module::FailureKind,
    parked::Standing,
};

use super::samples::{batch, generation, module, stream};

async fn model(models: &dyn ReadModels) -> (Arc<dyn ReadModel>, Lease) {
    let model = models.create(&generation("orders", 1), Position::START, module("first")).await.unwrap();
    let (lease, _) = model.take().await.unwrap();
    (model, lease)
}

fn parked(position: u64, name: &str, standing: Standing) -> Parked {
    Parked {
        position: Position(position),
        event_id: EventId::from_u128(position.into()),
        event_type: EventType::new("Placed").unwrap(),
        stream: stream(name),
        standing,
        kind: Some(FailureKind::Trap),
        error: "it broke: \"é\"\n\0".into(),
        backtrace: Some("0: handle\n1: start".into()),
        attempts: u32::MAX,
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        module: module("first"),
        first_at: Timestamp(1_700_000_000_123_456_789),
        last_at: Timestamp(1_800_000_000_987_654_321),
    }
}

fn parking(from: u64, until: u64, parked: &[Parked], released: &[u64]) -> Batch {
    let released = released.iter().copied().map(Position).collect();
    Batch { parked: parked.to_vec(), released, ..batch(from, until) }
}

pub(super) async fn records_are_kept_replaced_and_released(models: &dyn ReadModels) {
    let (model, lease) = model(models).await;
    let failed = parked(3, "A-1", Standing::Failed);
    let behind =
        Parked { kind: None, backtrace: None, trace_id: None, attempts: 0, ..parked(4, "A-1", Standing::Behind) };
    model.commit(lease, &parking(0, 4, &[failed.clone(), behind.clone()], &[])).await.unwrap();
    assert_eq!(model.parked_at(Position(3)).await, Ok(Some(failed.clone())), "every part is kept");
    assert_eq!(model.parked_at(Position(4)).await, Ok(Some(behind.clone())));
    assert_eq!(model.parked_at(Position(5)).await, Ok(None));

    let again = Parked { attempts: 7, error: "again".into(), kind: Some(FailureKind::Permanent), ..failed };
    model.commit(lease, &parking(4, 4, std::slice::from_ref(&again), &[4])).await.unwrap();
    assert_eq!(model.parked(Position::START, 10).await, Ok(vec![again]), "replaced, and the other released");
    model.commit(lease, &parking(4, 4, &[], &[3, 99])).await.unwrap();
    assert_eq!(model.parked(Position::START, 10).await, Ok(Vec::new()));
}

pub(super) async fn records_are_listed_in_order(models: &dyn ReadModels) {
    let (model, lease) = model(models).await;
    let records: Vec<_> = [9, 2, 30, 4].map(|position| parked(position, "A-1", Standing::Failed)).into();
    model.commit(lease, &parking(0, 30, &records, &[])).await.unwrap();
    let skipped = parked(30, "A-1", Standing::Skipped);
    model.commit(lease, &parking(30, 30, &[skipped], &[])).await.unwrap();
    for (after, limit, wanted) in
        [(0, 10, vec![2, 4, 9, 30]), (2, 10, vec![4, 9, 30]), (3, 2, vec![4, 9]), (30, 10, vec![]), (0, 0, vec![])]
    {
        let listed = model.parked(Position(after), limit).await.unwrap();
        let listed: Vec<_> = listed.iter().map(|parked| parked.position.0).collect();
        assert_eq!(listed, wanted, "after {after}, at most {limit}");
    }
    assert_eq!(model.parked(Position::START, usize::MAX).await.unwrap().len(), 4);
    assert_eq!(model.parked(Position(u64::MAX), 10).await, Ok(Vec::new()));
}

pub(super) async fn streams_are_held_back_until_released_or_skipped(models: &dyn ReadModels) {
    let (model, lease) = model(models).await;
    assert_eq!(model.held_streams().await, Ok(Vec::new()));
    let records = [
        parked(1, "B-1", Standing::Failed),
        parked(2, "B-1", Standing::Behind),
        parked(3, "A-1", Standing::Failed),
        parked(4, "C-1", Standing::Skipped),
    ];
    model.commit(lease, &parking(0, 4, &records, &[])).await.unwrap();
    let held = async || {
        let mut streams = model.held_streams().await.unwrap();
        streams.sort_unstable();
        streams.into_iter().map(|(stream, events)| format!("{stream} {events}")).collect::<Vec<_>>()
    };
    assert_eq!(held().await, ["A-1 1", "B-1 2"], "each once, and none for a skipped event");
    model.commit(lease, &parking(4, 4, &[], &[1])).await.unwrap();
    assert_eq!(held().await, ["A-1 1", "B-1 1"], "one behind holds back as well");
    model.commit(lease, &parking(4, 4, &[parked(3, "A-1", Standing::Skipped)], &[2])).await.unwrap();
    assert!(held().await.is_empty());
    assert_eq!(model.parked(Position::START, 10).await.unwrap().len(), 2, "skipped ones stay on record");
}

pub(super) async fn a_fenced_batch_leaves_the_dead_letters(models: &dyn ReadModels) {
    let (model, lease) = model(models).await;
    let there = parked(1, "A-1", Standing::Failed);
    model.commit(lease, &parking(0, 1, std::slice::from_ref(&there), &[])).await.unwrap();
    let stale = parking(0, 2, &[parked(2, "B-1", Standing::Failed)], &[1]);
    assert!(model.commit(lease, &stale).await.is_err());
    assert_eq!(model.parked(Position::START, 10).await, Ok(vec![there]));
}

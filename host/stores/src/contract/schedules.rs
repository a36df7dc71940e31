//! Schedules: set, replaced and cancelled by batches, removed when their events were emitted.

use std::sync::Arc;

use bytes::Bytes;
use lantern_core::{
    Batch, EventId, Lease, Metadata, NewEvent, Payload, Position, ReadModel, ReadModels, ScheduleChange, Scheduled,
    read_model::{CommitError, ReadModelError},
};

use super::samples::{batch, generation, module, scheduled, stream, writing};

async fn model(models: &dyn ReadModels) -> (Arc<dyn ReadModel>, Lease) {
    let model = models.create(&generation("reminders", 1), Position::START, module("first")).await.unwrap();
    let (lease, _) = model.take().await.unwrap();
    (model, lease)
}

fn set(scheduled: Scheduled) -> ScheduleChange {
    ScheduleChange::Set(Box::new(scheduled))
}

fn cancel(key: &str) -> ScheduleChange {
    ScheduleChange::Cancel(key.into())
}

fn scheduling(from: u64, until: u64, schedules: Vec<ScheduleChange>) -> Batch {
    Batch { schedules, ..batch(from, until) }
}

async fn keys(model: &dyn ReadModel) -> Vec<String> {
    model.scheduled().await.unwrap().iter().map(|scheduled| scheduled.key.to_string()).collect()
}

pub(super) async fn every_part_of_a_schedule_is_kept(models: &dyn ReadModels) {
    let (model, lease) = model(models).await;
    assert_eq!(model.scheduled().await, Ok(Vec::new()));
    let full = scheduled("full", i64::MIN, 1);
    let bytes = Payload::Bytes { content_type: "image/png".into(), data: Bytes::from_static(b"\0\xff") };
    let bare = NewEvent { data: bytes, metadata: Metadata::default(), ..scheduled("", 0, 2).event };
    let bare = Scheduled { stream: stream("Bill-1"), event: bare, ..scheduled("\u{e9} \"bare\"", i64::MAX, 2) };
    model.commit(lease, &scheduling(0, 1, vec![set(bare.clone()), set(full.clone())])).await.unwrap();
    assert_eq!(model.scheduled().await, Ok(vec![full, bare]));
}

pub(super) async fn schedules_are_listed_by_due_time_and_key(models: &dyn ReadModels) {
    let (model, lease) = model(models).await;
    let changes = [("b", 5, 1), ("a", 5, 2), ("z", -1, 3), ("c", 900, 4), ("B", 5, 5)];
    let changes = changes.map(|(key, due, event)| set(scheduled(key, due, event)));
    model.commit(lease, &scheduling(0, 1, changes.into())).await.unwrap();
    assert_eq!(keys(&*model).await, ["z", "B", "a", "b", "c"]);
}

pub(super) async fn changes_are_carried_out_in_order(models: &dyn ReadModels) {
    let (model, lease) = model(models).await;
    let replaced = vec![set(scheduled("a", 1, 1)), set(scheduled("b", 2, 2)), set(scheduled("a", 3, 3))];
    model.commit(lease, &scheduling(0, 1, replaced)).await.unwrap();
    assert_eq!(model.scheduled().await, Ok(vec![scheduled("b", 2, 2), scheduled("a", 3, 3)]), "one a key");

    let changes = vec![cancel("a"), set(scheduled("a", 4, 4)), set(scheduled("c", 5, 5)), cancel("c"), cancel("never")];
    model.commit(lease, &scheduling(1, 2, changes)).await.unwrap();
    assert_eq!(model.scheduled().await, Ok(vec![scheduled("b", 2, 2), scheduled("a", 4, 4)]));

    model.commit(lease, &scheduling(2, 2, vec![cancel("b")])).await.unwrap();
    assert_eq!(keys(&*model).await, ["a"], "also by a batch over no event");
}

pub(super) async fn a_fenced_batch_leaves_the_schedules(models: &dyn ReadModels) {
    let (model, lease) = model(models).await;
    model.commit(lease, &scheduling(0, 1, vec![set(scheduled("a", 1, 1))])).await.unwrap();
    let stale = scheduling(0, 2, vec![cancel("a"), set(scheduled("b", 2, 2))]);
    assert!(model.commit(lease, &stale).await.is_err());
    assert_eq!(model.scheduled().await, Ok(vec![scheduled("a", 1, 1)]), "all of a batch or nothing");
    assert_eq!(model.checkpoint().await.unwrap().position, Position(1));
}

pub(super) async fn fired_removes_the_schedules_of_these_events(models: &dyn ReadModels) {
    let (model, lease) = model(models).await;
    let all = ["a", "b", "c"].into_iter().zip(1..).map(|(key, event)| set(scheduled(key, 1, event)));
    model.commit(lease, &scheduling(0, 3, all.collect())).await.unwrap();
    let before = model.checkpoint().await.unwrap();
    // What was under `b` when its event was emitted has been replaced since.
    model.commit(lease, &scheduling(3, 3, vec![set(scheduled("b", 9, 20))])).await.unwrap();
    let fired = [1, 2, 99].map(EventId::from_u128);
    model.fired(lease, &fired).await.unwrap();
    assert_eq!(model.scheduled().await, Ok(vec![scheduled("c", 1, 3), scheduled("b", 9, 20)]));
    model.fired(lease, &fired).await.unwrap();
    model.fired(lease, &[]).await.unwrap();
    assert_eq!(model.checkpoint().await, Ok(before), "no checkpoint is moved");
    model.commit(lease, &batch(3, 4)).await.unwrap();
}

pub(super) async fn fired_is_fenced_by_the_epoch(models: &dyn ReadModels) {
    let (model, stale) = model(models).await;
    model.commit(stale, &scheduling(0, 3, vec![set(scheduled("a", 1, 1))])).await.unwrap();
    let (lease, _) = model.take().await.unwrap();
    let fenced = CommitError::Fenced { expected: Position(3), epoch: stale.epoch };
    assert_eq!(model.fired(stale, &[EventId::from_u128(1)]).await, Err(fenced));
    assert_eq!(keys(&*model).await, ["a"]);
    model.fired(lease, &[EventId::from_u128(1)]).await.unwrap();
    assert!(keys(&*model).await.is_empty());

    models.remove(&generation("reminders", 1)).await.unwrap();
    let gone = model.fired(lease, &[]).await;
    assert!(matches!(gone, Err(CommitError::Fenced { .. })), "{gone:?}");
    assert_eq!(model.scheduled().await, Err(ReadModelError::Unknown(generation("reminders", 1))));
}

pub(super) async fn the_digest_is_of_the_documents_alone(models: &dyn ReadModels) {
    let (model, lease) = model(models).await;
    model.commit(lease, &writing(0, 1, "c", &[("k", Some("1"))])).await.unwrap();
    let (_, digest) = model.digest().await.unwrap();
    model.commit(lease, &scheduling(1, 2, vec![set(scheduled("a", 1, 1))])).await.unwrap();
    assert_eq!(model.digest().await, Ok((Position(2), digest)));
}

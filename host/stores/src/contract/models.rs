//! Generations and commits: checkpoint and documents change together, once, by the owner.

use std::sync::Arc;

use lantern_core::{
    Batch, Checkpoint, EventId, Position, ReadModels,
    documents::Scan,
    read_model::{CommitError, ReadModelError},
};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::samples::{batch, documents, generation, look, module, writing};

pub(super) async fn a_generation_begins_where_it_is_told(models: &dyn ReadModels) {
    let orders = generation("orders", 1);
    let unknown = models.open(&orders).await.err();
    assert_eq!(unknown, Some(ReadModelError::Unknown(orders.clone())));

    let begun = Checkpoint {
        position: Position(7),
        event_id: None,
        incarnation: None,
        epoch: 0,
        module: module("first"),
        handled: 0,
    };
    let model = models.create(&orders, Position(7), module("first")).await.unwrap();
    assert_eq!(model.checkpoint().await, Ok(begun.clone()));
    assert_eq!(model.get("c", "k").await, Ok(None));
    assert_eq!(look(&*model.view(), "c", "k"), Ok(None));
    assert_eq!(model.parked(Position::START, 10).await, Ok(Vec::new()));

    let again = models.create(&orders, Position(9), module("second")).await.unwrap();
    assert_eq!(again.checkpoint().await, Ok(begun.clone()), "one that is there is opened as it is");
    let opened = models.open(&orders).await.unwrap();
    assert_eq!(opened.checkpoint().await, Ok(begun));
}

pub(super) async fn generations_keep_apart(models: &dyn ReadModels) {
    for (number, name) in [(1, "orders"), (2, "orders"), (1, "bills")] {
        let model = models.create(&generation(name, number), Position::START, module("first")).await.unwrap();
        let (lease, _) = model.take().await.unwrap();
        let value = format!("\"{name} {number}\"");
        model.commit(lease, &writing(0, u64::from(number), "c", &[("k", Some(&value))])).await.unwrap();
    }
    for (number, name) in [(1, "orders"), (2, "orders"), (1, "bills")] {
        let model = models.open(&generation(name, number)).await.unwrap();
        assert_eq!(model.get("c", "k").await.unwrap().as_deref(), Some(&*format!("\"{name} {number}\"")));
        assert_eq!(model.checkpoint().await.unwrap().position, Position(number.into()));
    }
    assert!(models.open(&generation("bills", 2)).await.is_err());
}

pub(super) async fn a_commit_changes_documents_and_checkpoint(models: &dyn ReadModels) {
    let model = models.create(&generation("orders", 1), Position::START, module("first")).await.unwrap();
    let (lease, taken) = model.take().await.unwrap();
    assert_eq!((lease.epoch, taken.epoch, taken.position), (1, 1, Position::START));

    let mut changed = documents("c", &[("kept", Some("1")), ("changed", Some("1")), ("removed", Some("1"))]);
    changed.set("d".into(), "kept".into(), Some("2".into()));
    let first = Batch { documents: Arc::new(changed), handled: 2, ..batch(0, 3) };
    model.commit(lease, &first).await.unwrap();
    let second = writing(3, 10, "c", &[("changed", Some("\"é\"")), ("removed", None), ("never", None)]);
    let second = Batch { module: module("second"), ..second };
    model.commit(lease, &second).await.unwrap();

    let checkpoint = Checkpoint {
        position: Position(10),
        event_id: Some(EventId::from_u128(10)),
        incarnation: None,
        epoch: 1,
        module: module("second"),
        handled: 9,
    };
    assert_eq!(model.checkpoint().await, Ok(checkpoint));
    let wanted =
        [("c", "kept", Some("1")), ("c", "changed", Some("\"é\"")), ("c", "removed", None), ("d", "kept", Some("2"))];
    for (collection, key, value) in wanted {
        assert_eq!(model.get(collection, key).await.unwrap().as_deref(), value, "{collection} {key}");
        assert_eq!(look(&*model.view(), collection, key).unwrap().as_deref(), value, "{collection} {key}");
    }
    assert_eq!(model.get("e", "kept").await, Ok(None));
}

pub(super) async fn a_commit_over_no_event_keeps_the_proof(models: &dyn ReadModels) {
    let model = models.create(&generation("orders", 1), Position::START, module("first")).await.unwrap();
    let (lease, _) = model.take().await.unwrap();
    model.commit(lease, &batch(0, 5)).await.unwrap();
    let decision = Batch { handled: 1, ..writing(5, 5, "c", &[("k", Some("1"))]) };
    model.commit(lease, &decision).await.unwrap();
    let checkpoint = model.checkpoint().await.unwrap();
    assert_eq!((checkpoint.position, checkpoint.event_id), (Position(5), Some(EventId::from_u128(5))));
    assert_eq!(checkpoint.handled, 6);
    // The proof belongs to the position: where the event there is not known, there is none.
    model.commit(lease, &Batch { last_event: None, ..batch(5, 8) }).await.unwrap();
    assert_eq!(model.checkpoint().await.unwrap().event_id, None);
}

pub(super) async fn a_commit_says_which_log_it_is_from(models: &dyn ReadModels) {
    let model = models.create(&generation("orders", 1), Position::START, module("first")).await.unwrap();
    let (lease, taken) = model.take().await.unwrap();
    assert_eq!(taken.incarnation, None);
    let (log, other) = (Some(Uuid::from_u128(1)), Some(Uuid::from_u128(2)));
    model.commit(lease, &Batch { incarnation: log, ..batch(0, 5) }).await.unwrap();
    assert_eq!(model.checkpoint().await.unwrap().incarnation, log);
    model.commit(lease, &Batch { incarnation: other, ..batch(5, 5) }).await.unwrap();
    assert_eq!(model.checkpoint().await.unwrap().incarnation, log, "a batch over no event leaves it");
    model.commit(lease, &Batch { incarnation: other, ..batch(0, 5) }).await.unwrap_err();
    let (_, taken) = model.take().await.unwrap();
    assert_eq!(taken.incarnation, log, "it is fenced like the rest of the checkpoint");
}

pub(super) async fn a_batch_is_fenced_by_its_position(models: &dyn ReadModels) {
    let model = models.create(&generation("orders", 1), Position::START, module("first")).await.unwrap();
    let (lease, _) = model.take().await.unwrap();
    let first = writing(0, 3, "c", &[("k", Some("1"))]);
    model.commit(lease, &first).await.unwrap();
    let (before, digest) = (model.checkpoint().await.unwrap(), model.digest().await.unwrap());
    for stale in [writing(0, 3, "c", &[("k", Some("2"))]), writing(2, 4, "c", &[("k", None)]), writing(4, 5, "d", &[])]
    {
        let fenced = CommitError::Fenced { expected: stale.from, epoch: lease.epoch };
        assert_eq!(model.commit(lease, &stale).await, Err(fenced), "a batch is applied at most once");
    }
    assert_eq!(model.checkpoint().await, Ok(before));
    assert_eq!(model.digest().await, Ok(digest));
    assert_eq!(look(&*model.view(), "c", "k").unwrap().as_deref(), Some("1"));
    model.commit(lease, &batch(3, 4)).await.unwrap();
}

pub(super) async fn a_batch_is_fenced_by_its_epoch(models: &dyn ReadModels) {
    let orders = generation("orders", 1);
    let model = models.create(&orders, Position::START, module("first")).await.unwrap();
    let (stale, _) = model.take().await.unwrap();
    let other = models.open(&orders).await.unwrap();
    let (lease, checkpoint) = other.take().await.unwrap();
    assert_eq!((stale.epoch, lease.epoch, checkpoint.epoch), (1, 2, 2), "the epoch grows");
    let fenced = CommitError::Fenced { expected: Position::START, epoch: 1 };
    assert_eq!(model.commit(stale, &writing(0, 1, "c", &[("k", Some("stale"))])).await, Err(fenced));
    assert_eq!(model.checkpoint().await.unwrap().position, Position::START);
    assert_eq!(model.get("c", "k").await, Ok(None));
    other.commit(lease, &writing(0, 1, "c", &[("k", Some("1"))])).await.unwrap();
    assert_eq!(model.get("c", "k").await.unwrap().as_deref(), Some("1"));
}

pub(super) async fn a_removed_generation_is_gone(models: &dyn ReadModels) {
    let (first, second) = (generation("orders", 1), generation("orders", 2));
    let removed = models.create(&first, Position::START, module("first")).await.unwrap();
    let kept = models.create(&second, Position::START, module("first")).await.unwrap();
    let (lease, _) = removed.take().await.unwrap();
    removed.commit(lease, &writing(0, 1, "c", &[("k", Some("1"))])).await.unwrap();
    let view = removed.view();
    assert_eq!(look(&*view, "c", "k").unwrap().as_deref(), Some("1"));

    models.remove(&first).await.unwrap();
    let unknown = ReadModelError::Unknown(first.clone());
    assert_eq!(models.open(&first).await.err(), Some(unknown.clone()));
    assert_eq!(removed.checkpoint().await, Err(unknown.clone()), "whoever holds it still finds it gone");
    assert_eq!(removed.take().await, Err(unknown.clone()));
    assert_eq!(removed.get("c", "k").await, Err(unknown.clone()));
    assert_eq!(look(&*view, "c", "k"), Err(unknown));
    let fenced = CommitError::Fenced { expected: Position(1), epoch: lease.epoch };
    assert_eq!(removed.commit(lease, &batch(1, 2)).await, Err(fenced.clone()));
    models.remove(&first).await.unwrap();
    models.remove(&generation("never", 1)).await.unwrap();

    let new = models.create(&first, Position(4), module("second")).await.unwrap();
    assert_eq!(new.checkpoint().await.unwrap().position, Position(4));
    assert_eq!(new.get("c", "k").await, Ok(None), "a new one under its name is empty");
    assert_eq!(removed.commit(lease, &batch(1, 2)).await, Err(fenced), "and not its old handle's to write");
    kept.take().await.unwrap();
}

pub(super) async fn queries_see_whole_batches(models: Arc<dyn ReadModels>) {
    const BATCHES: u64 = 100;
    let model = models.create(&generation("orders", 1), Position::START, module("first")).await.unwrap();
    let (lease, _) = model.take().await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..2 {
        let model = model.clone();
        tasks.spawn(async move {
            let mut last = Position::START;
            while last.0 < BATCHES {
                let documents = model.scan("c", &Scan { limit: 100, ..Scan::default() }).await.unwrap();
                assert!(documents.iter().all(|document| document.value == documents[0].value), "{documents:?}");
                let (position, digest) = model.digest().await.unwrap();
                let value = position.0.to_string();
                let mut wanted = lantern_core::digest::ReadModelDigest::default();
                for key in ["a", "b", "c", "d"].iter().filter(|_| position.0 > 0) {
                    wanted.add("c", key, &value);
                }
                assert_eq!(digest, wanted.finish(), "a digest belongs to its position");
                assert!(position >= last, "a checkpoint never goes back");
                last = position;
            }
        });
    }
    for position in 0..BATCHES {
        let value = (position + 1).to_string();
        let changes = ["a", "b", "c", "d"].map(|key| (key, Some(value.as_str())));
        model.commit(lease, &writing(position, position + 1, "c", &changes)).await.unwrap();
    }
    tasks.join_all().await;
}

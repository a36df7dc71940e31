//! Read models over restarts, rest and failures.

use std::{path::Path, sync::Arc};

use lantern_core::{Batch, Checkpoint, EventId, Position, ReadModels as _, ScheduleChange, read_model::CommitError};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::Folder;
use crate::{
    contract::samples::{batch, generation, module, scheduled, writing},
    sqlite::{self, storage::Storage},
};

#[tokio::test]
async fn a_generation_is_the_same_after_it_was_closed() {
    let folder = Folder::new();
    let (path, orders) = (folder.path(), generation("orders", 1));
    let models = sqlite::ReadModels::open(&path).unwrap();
    let model = models.create(&orders, Position::START, module("first")).await.unwrap();
    let (lease, _) = model.take().await.unwrap();
    model.commit(lease, &writing(0, 4, "c", &[("a", Some("1")), ("b", Some("2"))])).await.unwrap();
    let (checkpoint, digest) = (model.checkpoint().await.unwrap(), model.digest().await.unwrap());
    drop((models, model));

    let models = sqlite::ReadModels::open(&path).unwrap();
    let model = models.open(&orders).await.unwrap();
    assert_eq!(model.checkpoint().await, Ok(checkpoint.clone()));
    assert_eq!(model.digest().await, Ok(digest));
    assert_eq!(model.view().get("c", "a").unwrap().as_deref(), Some("1"));
    let stale = model.commit(lease, &batch(4, 5)).await;
    assert_eq!(stale, Ok(()), "a lease holds until the next owner takes it");
    let (_, taken) = model.take().await.unwrap();
    assert_eq!(taken, Checkpoint { epoch: 2, ..model.checkpoint().await.unwrap() });
    assert!(matches!(model.commit(lease, &batch(5, 6)).await, Err(CommitError::Fenced { .. })));
}

#[tokio::test]
async fn schedules_are_the_same_after_they_were_closed() {
    let folder = Folder::new();
    let (path, reminders) = (folder.path(), generation("reminders", 1));
    let models = sqlite::ReadModels::open(&path).unwrap();
    let model = models.create(&reminders, Position::START, module("first")).await.unwrap();
    let (lease, _) = model.take().await.unwrap();
    let schedules = [("a", 3, 1), ("b", 1, 2), ("c", 2, 3)].map(|(key, due, event)| scheduled(key, due, event));
    let changes = schedules.iter().cloned().map(|scheduled| ScheduleChange::Set(Box::new(scheduled)));
    model.commit(lease, &Batch { schedules: changes.collect(), ..batch(0, 1) }).await.unwrap();
    model.fired(lease, &[EventId::from_u128(3)]).await.unwrap();
    drop((models, model));

    let models = sqlite::ReadModels::open(&path).unwrap();
    let model = models.open(&reminders).await.unwrap();
    let [a, b, _] = schedules;
    assert_eq!(model.scheduled().await, Ok(vec![b, a]));
    let damage = "update lantern_schedule set trace_id = x'00' where key = 'a'";
    Connection::open(path.join("reminders/1.db")).unwrap().execute(damage, ()).unwrap();
    let failed = model.scheduled().await.unwrap_err().to_string();
    assert!(failed.contains("1.db") && failed.contains("schedule `a` is damaged"), "{failed}");
}

#[tokio::test]
async fn files_are_where_they_are_said_to_be_and_go_with_their_generation() {
    let folder = Folder::new();
    let path = folder.path();
    let models = sqlite::ReadModels::open(&path).unwrap();
    for number in [1, 2] {
        let model = models.create(&generation("orders", number), Position::START, module("first")).await.unwrap();
        let (lease, _) = model.take().await.unwrap();
        model.commit(lease, &writing(0, 1, "c", &[("a", Some("1"))])).await.unwrap();
    }
    let files = |number: u32| {
        let listed = std::fs::read_dir(path.join("orders")).unwrap();
        let names = listed.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(&format!("{number}.db"))).count()
    };
    assert!(path.join("orders/1.db").is_file() && files(1) == 3);
    models.remove(&generation("orders", 1)).await.unwrap();
    assert_eq!((files(1), files(2)), (0, 3));
    models.remove(&generation("orders", 2)).await.unwrap();
    assert!(!path.join("orders").exists(), "a folder with nothing in it is removed too");
}

fn storage(folder: &Path) -> Storage {
    let begin = Some((Position::START, module("first")));
    Storage::open(folder, &generation("orders", 1), begin, Arc::new(Semaphore::new(1))).unwrap()
}

#[tokio::test]
async fn a_generation_rests_and_wakes_up() {
    use lantern_core::View as _;
    let folder = Folder::new();
    let path = folder.path();
    let storage = Arc::new(storage(&path));
    let wal = path.join("orders/1.db-wal");
    let (lease, _) = storage.take().unwrap();
    storage.commit(lease, &writing(0, 1, "c", &[("a", Some("1"))])).unwrap();
    assert_eq!(storage.get("c", "a").unwrap().as_deref(), Some("1"));
    storage.rest();
    assert!(wal.exists(), "what was used lately does not rest");
    storage.rest();
    assert!(!wal.exists(), "at rest, everything is closed and moved into the one file");

    assert_eq!(storage.get("c", "a").unwrap().as_deref(), Some("1"));
    storage.commit(lease, &writing(1, 2, "c", &[("a", Some("2"))])).unwrap();
    assert_eq!(storage.get("c", "a").unwrap().as_deref(), Some("2"));
    storage.rest();
    storage.rest();
    let position = storage.ask(super::super::commit::checkpoint).await.unwrap().position;
    assert_eq!(position, Position(2), "a query wakes it up as well");
}

#[tokio::test]
async fn a_failed_commit_leaves_nothing_and_the_next_one_goes_through() {
    use lantern_core::View as _;
    let folder = Folder::new();
    let path = folder.path();
    let storage = storage(&path);
    let (lease, _) = storage.take().unwrap();
    storage.commit(lease, &writing(0, 1, "c", &[("a", Some("1"))])).unwrap();
    let raw = Connection::open(path.join("orders/1.db")).unwrap();
    let trigger = "create trigger fail after insert on lantern_document when new.key = 'z'
        begin select raise(abort, 'the disk is full'); end";
    raw.execute_batch(trigger).unwrap();
    let failing = Batch { module: module("second"), ..writing(1, 2, "d", &[("a", Some("2")), ("z", Some("2"))]) };
    let failed = storage.commit(lease, &failing);
    assert!(matches!(&failed, Err(CommitError::Unavailable(reason)) if reason.contains("disk is full")), "{failed:?}");
    assert_eq!(storage.get("d", "a"), Ok(None));
    raw.execute_batch("drop trigger fail").unwrap();
    storage.commit(lease, &failing).unwrap();
    assert_eq!(storage.get("d", "z").unwrap().as_deref(), Some("2"));
}

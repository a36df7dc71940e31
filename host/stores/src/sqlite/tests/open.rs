//! Opening files: what is not ours is refused and left alone, with a message that says what to do.

use std::{fs, path::Path, sync::Arc};

use lantern_core::{
    Batch, Happening, Journal as _, Kind, Log as _, Position, ReadModels as _, SystemClock, read_model::ReadModelError,
};
use rusqlite::Connection;

use super::Folder;
use crate::{
    contract::samples::{append_some, batch, generation, module, subject, writing},
    sqlite::{self, OpenError},
};

fn open_journal(path: &Path) -> Result<sqlite::Journal, OpenError> {
    sqlite::Journal::open(path, Arc::new(SystemClock))
}

#[track_caller]
fn assert_says(error: &OpenError, path: &Path, wanted: &str) {
    let message = error.to_string();
    assert!(message.contains(&path.display().to_string()) && message.contains(wanted), "{message}");
}

#[tokio::test]
async fn files_of_others_are_refused_and_left_alone() {
    let folder = Folder::new();
    let (text, database) = (folder.path(), folder.path());
    fs::write(&text, "no database, but long enough that it could be one".repeat(100)).unwrap();
    Connection::open(&database).unwrap().execute_batch("create table theirs (column)").unwrap();
    for path in [text, database] {
        let before = fs::read(&path).unwrap();
        let refused = sqlite::Log::open(&path).err().unwrap();
        assert_says(&refused, &path, "is no log of Lantern");
        assert_says(&open_journal(&path).err().unwrap(), &path, "is no journal of Lantern");
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[tokio::test]
async fn one_kind_of_file_is_not_taken_for_another() {
    let folder = Folder::new();
    let path = folder.path();
    drop(sqlite::Log::open(&path).unwrap());
    assert!(matches!(open_journal(&path), Err(OpenError::Foreign { kind: "journal", .. })));
    drop(sqlite::Log::open(&path).unwrap());
}

#[tokio::test]
async fn files_from_later_versions_are_refused() {
    let folder = Folder::new();
    let path = folder.path();
    drop(sqlite::Log::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 3).unwrap();
    let refused = sqlite::Log::open(&path).err().unwrap();
    assert_eq!(refused, OpenError::Newer { path: path.clone(), found: 3, known: 2 });
    assert_says(&refused, &path, "use the version that wrote it");
}

#[tokio::test]
async fn files_from_versions_that_are_not_read_any_more_are_refused() {
    let folder = Folder::new();
    let (path, models) = (folder.path(), folder.path());
    drop(open_journal(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 1).unwrap();
    let refused = open_journal(&path).err().unwrap();
    assert_eq!(refused, OpenError::Older { path: path.clone(), found: 1, known: 2 });
    assert_says(&refused, &path, "use the version that wrote it");

    let orders = generation("orders", 1);
    let first = sqlite::ReadModels::open(&models).unwrap();
    drop(first.create(&orders, Position::START, module("first")).await.unwrap());
    drop(first);
    let file = models.join("orders/1.db");
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 1).unwrap();
    let models = sqlite::ReadModels::open(&models).unwrap();
    let refused = models.open(&orders).await.err().unwrap().to_string();
    assert!(refused.contains("schema version 1") && refused.contains("needs 4"), "{refused}");
}

#[tokio::test]
async fn files_from_the_version_before_are_brought_up_to_date() {
    let folder = Folder::new();
    let (path, models) = (folder.path(), folder.path());
    let log = sqlite::Log::open(&path).unwrap();
    append_some(&log, "A-1", 2).await;
    drop(log);
    set_back(&path, "drop table log", 1);
    let log = sqlite::Log::open(&path).unwrap();
    let incarnation = log.incarnation();
    assert_eq!(*log.head().borrow(), Position(2));
    drop(log);
    assert_eq!(sqlite::Log::open(&path).unwrap().incarnation(), incarnation, "it is drawn once");

    let orders = generation("orders", 1);
    let first = sqlite::ReadModels::open(&models).unwrap();
    let model = first.create(&orders, Position::START, module("first")).await.unwrap();
    let (lease, _) = model.take().await.unwrap();
    model.commit(lease, &writing(0, 3, "c", &[("k", Some("1"))])).await.unwrap();
    drop((model, first));
    set_back(&models.join("orders/1.db"), "alter table lantern_checkpoint drop column incarnation", 3);
    let model = sqlite::ReadModels::open(&models).unwrap().open(&orders).await.unwrap();
    let (lease, checkpoint) = model.take().await.unwrap();
    assert_eq!((checkpoint.position, checkpoint.incarnation), (Position(3), None));
    model.commit(lease, &Batch { incarnation: Some(incarnation), ..batch(3, 4) }).await.unwrap();
    assert_eq!(model.checkpoint().await.unwrap().incarnation, Some(incarnation));
    assert_eq!(model.get("c", "k").await.unwrap().as_deref(), Some("1"));
}

/// Takes the tables of a file back to those of an earlier version.
fn set_back(path: &Path, change: &str, version: i32) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(change).unwrap();
    connection.pragma_update(None, "user_version", version).unwrap();
}

#[tokio::test]
async fn folders_that_cannot_be_used_are_named() {
    let folder = Folder::new();
    let file = folder.path();
    fs::write(&file, "").unwrap();
    let within = file.join("log.db");
    assert_says(&sqlite::Log::open(within).err().unwrap(), &file, "cannot be opened");
    assert_says(&sqlite::ReadModels::open(&file).err().unwrap(), &file, "cannot be opened");
}

#[tokio::test]
async fn a_file_whose_making_was_interrupted_is_made_anew() {
    let folder = Folder::new();
    let models = folder.path();
    let orders = generation("orders", 1);
    let path = models.join("orders/1.db");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // What is there before the first transaction is committed: an empty file, or one with nothing but its header.
    Connection::open(&path).unwrap().pragma_update(None, "journal_mode", "wal").unwrap();
    let models = sqlite::ReadModels::open(&models).unwrap();
    assert_eq!(models.open(&orders).await.err(), Some(ReadModelError::Unknown(orders.clone())));
    let model = models.create(&orders, Position(3), module("first")).await.unwrap();
    assert_eq!(model.checkpoint().await.unwrap().position, Position(3));
}

#[tokio::test]
async fn a_damaged_generation_says_which_file() {
    let folder = Folder::new();
    let models = folder.path();
    let path = models.join("orders/1.db");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "rubbish".repeat(1000)).unwrap();
    let models = sqlite::ReadModels::open(&models).unwrap();
    let refused = models.open(&generation("orders", 1)).await.err().unwrap();
    assert!(matches!(refused, ReadModelError::Unavailable(_)));
    assert!(refused.to_string().contains(&path.display().to_string()), "{refused}");
}

#[tokio::test]
async fn the_journal_outlives_its_host_and_names_what_is_damaged() {
    let folder = Folder::new();
    let path = folder.path();
    let orders = subject(Kind::Projection, "orders");
    let first = open_journal(&path).unwrap().append(&orders, Happening::Paused).await.unwrap();
    let journal = open_journal(&path).unwrap();
    let second = journal.append(&orders, Happening::Resumed).await.unwrap();
    assert_eq!(second.sequence, 2);
    assert_eq!(journal.entries().await, Ok(vec![first, second]));
    Connection::open(&path).unwrap().execute_batch("update entry set entry = '{}' where sequence = 2").unwrap();
    let refused = journal.entries().await.unwrap_err().to_string();
    assert!(refused.contains("entry 2 cannot be read") && refused.contains("backup"), "{refused}");
}

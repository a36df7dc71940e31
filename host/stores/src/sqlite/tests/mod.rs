//! The backend in SQLite files keeps the contract, over restarts and beside damage too.

mod damage;
mod log;
mod open;
mod read_model;
mod snapshots;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use lantern_core::{Expected, Log, NewEvent, SystemClock, log::AppendError};
use proptest::{prelude::ProptestConfig, proptest};
use tempfile::TempDir;
use tokio::runtime;

use crate::{
    contract::{self, samples},
    model, sqlite,
};

/// A folder that gives out paths nothing is at, and is removed with all in it.
struct Folder {
    folder: TempDir,
    given: AtomicUsize,
}

impl Folder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), given: AtomicUsize::new(0) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(format!("{}", self.given.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Appends one event to a stream, whatever its version.
async fn append_one(log: &dyn Log, name: &str, event: NewEvent) -> Result<u64, AppendError> {
    samples::try_append(log, name, Expected::Any, event).await.map(|place| place.position.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_keeps_the_contract() {
    let folder = Folder::new();
    contract::log(async || sqlite::Log::open(folder.path()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_read_models_keep_the_contract() {
    let folder = Folder::new();
    contract::read_models(async || sqlite::ReadModels::open(folder.path()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_tables_keep_the_contract() {
    let folder = Folder::new();
    contract::tables(async || sqlite::ReadModels::open(folder.path()).unwrap()).await;
}

#[tokio::test]
async fn the_journal_keeps_the_contract() {
    let folder = Folder::new();
    contract::journal(async || sqlite::Journal::open(folder.path(), Arc::new(SystemClock)).unwrap()).await;
}

#[tokio::test]
async fn the_snapshots_keep_the_contract() {
    let folder = Folder::new();
    contract::snapshots(async || sqlite::Snapshots::open(folder.path()).unwrap()).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_agrees_with_its_model(script in model::scripts()) {
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        let folder = Folder::new();
        runtime.block_on(model::agree(&sqlite::Log::open(folder.path()).unwrap(), script));
    }
}

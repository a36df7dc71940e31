//! The backend in memory keeps the contract.

use proptest::{prelude::ProptestConfig, proptest};
use tokio::runtime;

use crate::{contract, memory, model};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_keeps_the_contract() {
    contract::log(async || memory::Log::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_read_models_keep_the_contract() {
    contract::read_models(async || memory::ReadModels::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_tables_keep_the_contract() {
    contract::tables(async || memory::ReadModels::new()).await;
}

#[tokio::test]
async fn the_journal_keeps_the_contract() {
    contract::journal(async || memory::Journal::new()).await;
}

#[tokio::test]
async fn the_hosts_keep_the_contract() {
    contract::hosts(async || memory::Hosts::new()).await;
}

#[tokio::test]
async fn the_snapshots_keep_the_contract() {
    contract::snapshots(async || memory::Snapshots::new()).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_agrees_with_its_model(script in model::scripts()) {
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(model::agree(&memory::Log::new(), script));
    }
}

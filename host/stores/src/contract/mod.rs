//! What every log, read-model store, journal, registry of hosts and store of snapshots has to keep, as tests that run
//! against any of them.
//!
//! ```text
//! #[tokio::test(flavor = "multi_thread")]
//! async fn my_log_keeps_the_contract() {
//!     contract::log(async || MyLog::empty()).await;
//! }
//! ```
//!
//! `make` makes an empty store each time it is called. A broken promise is a panic that says which one.

#![allow(clippy::unwrap_used, reason = "a broken promise is a panic")]

mod appends;
mod concurrency;
mod duplicates;
mod hosts;
mod journals;
mod models;
mod parked;
mod queries;
mod reads;
pub(crate) mod samples;
mod schedules;
mod snapshots;
mod streams;
mod tables;

use std::sync::Arc;

use lantern_core::{Hosts, Journal, Log, ReadModels, Snapshots};

/// Checks a log. It needs a runtime with several threads.
///
/// # Panics
///
/// When a promise is broken.
pub async fn log<T: Log + 'static>(make: impl AsyncFn() -> T) {
    let make = async || Arc::new(make().await);
    appends::positions_and_versions_are_dense(&*make().await).await;
    appends::the_expected_version_decides(&*make().await).await;
    appends::an_append_is_atomic_over_streams(&*make().await).await;
    appends::entries_of_a_call_see_those_before(&*make().await).await;
    appends::too_little_and_too_much_is_refused(&*make().await).await;
    appends::every_part_of_an_event_is_kept(&*make().await).await;
    duplicates::an_append_sent_again_is_answered_alike(&*make().await).await;
    duplicates::an_id_with_other_content_is_refused(&*make().await).await;
    duplicates::without_expectation_the_rest_is_appended(&*make().await).await;
    duplicates::with_an_expectation_a_part_is_refused(&*make().await).await;
    duplicates::an_id_twice_in_a_call_is_one_event(&*make().await).await;
    reads::pages_go_forward_to_the_head(&*make().await).await;
    reads::pages_go_backward_to_the_start(&*make().await).await;
    reads::filters_choose_by_category_type_and_tenant(&*make().await).await;
    reads::a_page_ends_before_it_is_large(&*make().await).await;
    reads::a_rare_event_is_found_over_a_long_stretch(&*make().await).await;
    reads::the_head_is_watched(&*make().await).await;
    streams::ranges_are_read_in_both_directions(&*make().await).await;
    streams::a_stream_knows_its_version(&*make().await).await;
    streams::an_event_is_found_by_its_id(&*make().await).await;
    streams::every_log_is_another(&*make().await, &*make().await);
    concurrency::many_writers_leave_no_gap(make().await).await;
    concurrency::one_of_many_rivals_wins(make().await).await;
    concurrency::an_id_sent_by_many_is_one_event(make().await).await;
    concurrency::readers_see_no_gap_while_writers_write(make().await).await;
}

/// Checks a store of read models. It needs a runtime with several threads.
///
/// # Panics
///
/// When a promise is broken.
pub async fn read_models<T: ReadModels + 'static>(make: impl AsyncFn() -> T) {
    let make = async || Arc::new(make().await);
    models::a_generation_begins_where_it_is_told(&*make().await).await;
    models::generations_keep_apart(&*make().await).await;
    models::a_commit_changes_documents_and_checkpoint(&*make().await).await;
    models::a_commit_over_no_event_keeps_the_proof(&*make().await).await;
    models::a_commit_says_which_log_it_is_from(&*make().await).await;
    models::a_batch_is_fenced_by_its_position(&*make().await).await;
    models::a_batch_is_fenced_by_its_epoch(&*make().await).await;
    models::a_removed_generation_is_gone(&*make().await).await;
    models::queries_see_whole_batches(make().await).await;
    queries::scans_are_in_order_of_bytes(&*make().await).await;
    queries::scans_obey_prefix_after_and_limit(&*make().await).await;
    queries::the_view_is_true_after_each_commit(&*make().await).await;
    queries::the_view_is_true_for_a_new_owner(&*make().await).await;
    queries::the_digest_is_of_the_documents_alone(&*make().await).await;
    parked::records_are_kept_replaced_and_released(&*make().await).await;
    parked::records_are_listed_in_order(&*make().await).await;
    parked::streams_are_held_back_until_released_or_skipped(&*make().await).await;
    parked::a_fenced_batch_leaves_the_dead_letters(&*make().await).await;
    schedules::every_part_of_a_schedule_is_kept(&*make().await).await;
    schedules::schedules_are_listed_by_due_time_and_key(&*make().await).await;
    schedules::changes_are_carried_out_in_order(&*make().await).await;
    schedules::a_fenced_batch_leaves_the_schedules(&*make().await).await;
    schedules::fired_removes_the_schedules_of_these_events(&*make().await).await;
    schedules::fired_is_fenced_by_the_epoch(&*make().await).await;
    schedules::the_digest_is_of_the_documents_alone(&*make().await).await;
}

/// Checks the SQL tables that a store of read models keeps. It needs a runtime with several threads.
///
/// # Panics
///
/// When a promise is broken.
pub async fn tables<T: ReadModels + 'static>(make: impl AsyncFn() -> T) {
    let make = async || Arc::new(make().await);
    tables::rows_are_kept_with_their_batch(&*make().await).await;
    tables::values_come_back_as_they_were(&*make().await).await;
    tables::reads_see_what_was_written_before(&*make().await).await;
    tables::a_call_that_fails_leaves_nothing(&*make().await).await;
    tables::a_transaction_that_is_dropped_leaves_nothing(&*make().await).await;
    tables::a_fenced_batch_leaves_the_tables(&*make().await).await;
    tables::migrations_run_once_and_in_order(&*make().await).await;
    tables::a_migration_that_fails_leaves_nothing(&*make().await).await;
    tables::migrations_that_were_run_must_not_change(&*make().await).await;
    tables::the_digest_is_of_the_rows_too(&*make().await).await;
    tables::statements_keep_to_the_tables(&*make().await).await;
    tables::statements_keep_to_their_budget(&*make().await).await;
    tables::schedules_that_fired_meanwhile_are_gone(&*make().await).await;
    tables::queries_of_operators_only_read(&*make().await).await;
}

/// Checks a journal.
///
/// # Panics
///
/// When a promise is broken.
pub async fn journal<T: Journal + 'static>(make: impl AsyncFn() -> T) {
    let make = async || Arc::new(make().await);
    journals::entries_are_numbered_and_in_order(&*make().await).await;
    journals::every_happening_is_kept(&*make().await).await;
    journals::entries_are_read_from_any_place(&*make().await).await;
    journals::an_entry_after_the_last_is_added_and_after_another_is_not(&*make().await).await;
    journals::one_of_many_rivals_adds_its_entry(make().await).await;
    journals::the_end_wakes_those_who_follow(&*make().await).await;
}

/// Checks a registry of hosts.
///
/// # Panics
///
/// When a promise is broken.
pub async fn hosts<T: Hosts + 'static>(make: impl AsyncFn() -> T) {
    let make = async || Arc::new(make().await);
    hosts::hosts_are_seen_until_they_leave(&*make().await).await;
    hosts::a_host_says_what_it_can_run(&*make().await).await;
    hosts::a_lease_is_one_hosts_alone(&*make().await).await;
    hosts::what_is_given_back_is_free_and_counts_its_owners(&*make().await).await;
    hosts::a_lease_whose_time_is_over_can_be_taken(&*make().await).await;
    hosts::a_beat_renews_what_a_host_has(&*make().await).await;
}

/// Checks a store of snapshots.
///
/// # Panics
///
/// When a promise is broken.
pub async fn snapshots<T: Snapshots + 'static>(make: impl AsyncFn() -> T) {
    let make = async || Arc::new(make().await);
    snapshots::every_part_of_a_snapshot_is_kept(&*make().await).await;
    snapshots::the_later_version_stays(&*make().await).await;
    snapshots::a_deleted_snapshot_is_gone(&*make().await).await;
    snapshots::a_category_is_deleted_as_a_whole(&*make().await).await;
}

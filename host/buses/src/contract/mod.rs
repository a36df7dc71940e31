//! What every bus has to keep, as tests that run against any of them.
//!
//! A [`Site`] is a bus with what only its own tools can do. A broken promise is a panic that says which one.

mod deliveries;
mod groups;
mod offsets;
mod outage;
mod samples;
mod site;

pub(crate) use outage::outage;
pub(crate) use samples::*;
pub(crate) use site::Site;

/// Checks a bus. It needs a runtime with several threads.
pub(crate) async fn bus(site: &impl Site) {
    deliveries::every_part_of_an_event_arrives(site).await;
    deliveries::streams_keep_their_order(site).await;
    deliveries::a_large_message_arrives(site).await;
    deliveries::what_is_no_event_arrives_with_its_bytes(site).await;
    deliveries::no_more_arrive_than_asked_for(site).await;
    deliveries::a_wait_that_is_given_up_loses_nothing(site).await;
    deliveries::wrong_subscriptions_are_refused(site).await;
    groups::what_was_not_settled_comes_again(site).await;
    groups::what_was_settled_does_not_come_again(site).await;
    groups::a_part_can_be_settled(site).await;
    groups::a_rejected_message_does_not_come_again(site).await;
    groups::groups_are_independent(site).await;
    groups::a_new_group_can_begin_with_what_comes_next(site).await;
    groups::a_member_that_dies_is_replaced(site).await;
    groups::the_lag_is_what_is_not_settled(site).await;
    groups::a_receipt_of_an_earlier_session_settles_nothing(site).await;
}

/// Checks a bus that has partitions.
pub(crate) async fn partitions(site: &impl Site) {
    offsets::streams_are_spread_over_partitions(site).await;
    offsets::members_share_the_partitions(site).await;
    offsets::a_caller_that_keeps_offsets_goes_on_where_it_says(site).await;
    offsets::a_partition_moves_between_callers_without_loss(site).await;
}

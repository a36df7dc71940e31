//! Commands sent more than once: one effect, the same answer.

use std::sync::atomic::Ordering;

use lantern_aggregates::{Aggregates, Answer, CommandError};
use lantern_core::Version;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    account::Account,
    host::{Host, bounded, command},
};

fn first(answer: &Answer) -> Answer {
    Answer { attempts: 0, repeated: true, ..answer.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_sent_again_gets_the_first_answer() {
    let mut host = Host::start().await;
    host.deploy(&Account::new("one")).await;
    host.add_to("Account-1", 5).await;
    let id = |number| Uuid::from_u128(number);
    // Decided anew, the first would come to the same events, the second to a rejection.
    let split = command(id(1), "Account-1", "Split", 250);
    let take = command(id(2), "Account-1", "Take", 255);
    let split_answer = host.aggregates.send(split.clone(), None).await.unwrap();
    let take_answer = host.aggregates.send(take.clone(), None).await.unwrap();
    host.add_to("Account-1", 1).await;
    for _ in 0..2 {
        assert_eq!(host.aggregates.send(split.clone(), None).await.unwrap(), first(&split_answer));
        assert_eq!(host.aggregates.send(take.clone(), None).await.unwrap(), first(&take_answer));
        // Its expectation was met the first time.
        assert_eq!(host.aggregates.send(take.clone(), Some(Version(251))).await.unwrap(), first(&take_answer));
        assert_eq!(host.counters().commands.repeated, 3);
        host.restart().await;
    }
    assert_eq!(host.events("Account-1").await.len(), 253);
    host.add_to("Account-1", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_belongs_to_one_stream() {
    let host = Host::start().await;
    host.deploy(&Account::new("one")).await;
    let id = Uuid::from_u128(1);
    host.aggregates.send(command(id, "Account-1", "Add", 5), None).await.unwrap();
    for other in [command(id, "Account-2", "Add", 5), command(id, "Account-2", "Take", 5)] {
        let error = host.aggregates.send(other, None).await.unwrap_err();
        assert_eq!(error, CommandError::IdTaken { id, stream: "Account-1".parse().unwrap() });
    }
    assert!(host.events("Account-2").await.is_empty());
    host.add_to("Account-2", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_decision_under_the_same_id_is_not_appended() {
    let host = Host::start().await;
    host.deploy(&Account::new("one")).await;
    let id = Uuid::from_u128(1);
    let answer = host.aggregates.send(command(id, "Account-1", "Split", 1), None).await.unwrap();
    // One event that is there, followed by others; one with other content; none.
    for other in [("Split", 3), ("Add", 9), ("Rest", 0)] {
        let again = host.aggregates.send(command(id, "Account-1", other.0, other.1), None).await.unwrap();
        assert_eq!(again, first(&answer), "{other:?}");
    }
    assert_eq!(host.events("Account-1").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_at_the_same_time_have_one_effect() {
    let host = Host::start().await;
    host.deploy(&Account::new("one")).await;
    host.add_to("Account-1", 100).await;
    for round in 0..50 {
        let answers = send_eight(&[&host.aggregates], round).await;
        assert_eq!(answers.iter().filter(|answer| !answer.repeated).count(), 1, "round {round}");
        assert!(answers.iter().all(|answer| first(answer) == first(&answers[0])), "round {round}: {answers:?}");
    }
    assert_eq!(host.folded("Account-1").await.sum, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_at_two_hosts_have_one_effect() {
    let host = Host::start().await;
    host.deploy(&Account::new("one")).await;
    let other = host.other().await;
    host.add_to("Account-1", 100).await;
    for round in 0..50 {
        let answers = send_eight(&[&host.aggregates, &other], round).await;
        assert!(answers.iter().all(|answer| first(answer) == first(&answers[0])), "round {round}: {answers:?}");
    }
    assert_eq!(host.folded("Account-1").await.sum, 0);
}

async fn send_eight(hosts: &[&Aggregates], round: u128) -> Vec<Answer> {
    let mut duplicates = JoinSet::new();
    for number in 0..8 {
        let aggregates = hosts[number % hosts.len()].clone();
        let command = command(Uuid::from_u128(round), "Account-1", "Take", 2);
        duplicates.spawn(async move { aggregates.send(command, None).await.unwrap() });
    }
    bounded(duplicates.join_all()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_found_by_sending_again() {
    let host = Host::start().await;
    host.deploy(&Account::new("one")).await;
    host.add_to("Account-1", 5).await;
    host.log.unheard.store(1, Ordering::Relaxed);
    let take = command(Uuid::from_u128(1), "Account-1", "Take", 4);
    assert!(matches!(host.aggregates.send(take.clone(), None).await, Err(CommandError::Append(_))));
    host.until(|counters| counters.loaded == 0).await;
    let answer = host.aggregates.send(take, None).await.unwrap();
    assert_eq!((answer.version, answer.repeated), (Version(2), true));
    assert!(matches!(host.send("Account-1", "Take", 2).await, Err(CommandError::Rejected(_))));
    assert_eq!(host.events("Account-1").await.len(), 2);
}

//! The life of an aggregate: deployed, commanded, restarted, removed.

use lantern_aggregates::{CommandError, Deploy, Refusal};
use lantern_core::{Digest, Happening, Position, Version, command_event_id, journal::SnapshotPolicy, module::Limits};
use uuid::Uuid;

use crate::{
    account::{Account, State},
    host::{Host, command, name},
};

#[tokio::test(flavor = "multi_thread")]
async fn commands_become_events_and_are_answered() {
    let host = Host::start().await;
    let status = host.deploy(&Account::new("one")).await;
    assert_eq!((status.name, status.module, status.previous_module), (name(), Digest::of(b"one"), None));
    let id = Uuid::from_u128(5);
    let answer = host.aggregates.send(command(id, "Account-1", "Split", 3), None).await.unwrap();
    assert_eq!((answer.version, answer.position, answer.attempts), (Version(3), Position(3), 1));
    assert_eq!(answer.events, [0, 1, 2].map(|index| command_event_id(id, index)));
    assert!(!answer.repeated);
    let answer = host.send("Account-1", "Take", 2).await.unwrap();
    assert_eq!((answer.version, answer.position, answer.events.len()), (Version(4), Position(4), 1));
    let events = host.events("Account-1").await;
    assert_eq!(events[0].metadata.source.as_deref(), Some("/aggregates/Account"));
    assert_eq!(events[0].metadata.causation_id.as_deref(), Some(id.to_string().as_str()));
    assert_eq!(host.shown("Account-1", None).await.unwrap(), State { sum: 1, events: 4 });
    let counters = host.counters();
    assert_eq!((counters.commands.accepted, counters.loaded, counters.loaded_bytes), (2, 1, 100));
    assert_eq!(host.aggregates.counters(), [(name(), counters)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_carries_the_modules_words_and_changes_nothing() {
    let host = Host::start().await;
    host.deploy(&Account::new("one")).await;
    host.add_to("Account-1", 3).await;
    let Err(CommandError::Rejected(rejection)) = host.send("Account-1", "Take", 4).await else {
        panic!("it must be rejected");
    };
    assert_eq!((rejection.code.as_str(), rejection.message.as_str()), ("too-little", "there is 3"));
    assert_eq!(host.events("Account-1").await.len(), 1);
    let answer = host.send("Account-1", "Rest", 0).await.unwrap();
    assert_eq!((answer.version, answer.position), (Version(1), Position(1)));
    assert!(answer.events.is_empty());
    let commands = host.counters().commands;
    assert_eq!((commands.accepted, commands.rejected), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_is_told_with_what_there_is() {
    let host = Host::start().await;
    let error = host.send("Account-1", "Add", 1).await.unwrap_err();
    assert!(error.to_string().contains("lantern aggregate deploy"), "{error}");
    host.deploy(&Account::new("one")).await;
    let error = host.send("Invoice-1", "Add", 1).await.unwrap_err();
    assert_eq!(error.to_string(), "no aggregate is deployed for `Invoice-1`: there is Account");
    let error = host.send("Account-1", "Burn", 1).await.unwrap_err();
    assert!(error.to_string().contains("it knows Add, Take, Split, Rest"), "{error}");
    assert_eq!(*lantern_core::Log::head(&*host.log).borrow(), Position::START);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_the_sender_expects_must_be_there() {
    let host = Host::start().await;
    host.deploy(&Account::new("one")).await;
    let send = |amount, expect| {
        let command = command(Uuid::now_v7(), "Account-1", "Add", amount);
        host.aggregates.send(command, Some(Version(expect)))
    };
    send(1, 0).await.unwrap();
    send(1, 1).await.unwrap();
    for (expected, kept) in [(1, true), (3, true), (0, false)] {
        if !kept {
            host.outside("Account-1", "Added", 1).await;
        }
        let error = send(1, expected).await.unwrap_err();
        assert!(matches!(error, CommandError::NotExpected { .. }), "{error}");
    }
    // An event the host has not seen yet: it is looked for before the answer.
    send(1, 3).await.unwrap();
    host.outside("Account-1", "Added", 1).await;
    let error = send(1, 4).await.unwrap_err();
    assert_eq!(error.to_string().split(':').next().unwrap(), "stream `Account-1` is at version 5, expected 4");
    assert_eq!(host.counters().commands.conflict, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_outlive_the_host_and_end_with_their_removal() {
    let mut host = Host::start().await;
    let one = Account::new("one");
    host.deploy(&one).await;
    assert_eq!(host.deploy_with(&one, SnapshotPolicy::Never).await, Err(Refusal::Exists(name())));
    host.add_to("Account-1", 3).await;
    host.restart().await;
    assert_eq!(host.add_to("Account-1", 4).await.version, Version(2));
    host.aggregates.remove(&name()).await.unwrap();
    assert!(matches!(host.send("Account-1", "Add", 1).await, Err(CommandError::Unknown { .. })));
    assert_eq!(host.aggregates.status(&name()), Err(Refusal::Unknown(name())));
    let history = host.aggregates.history(&name()).await.unwrap();
    let what: Vec<_> = history.into_iter().map(|entry| entry.happening).collect();
    assert!(matches!(what[..], [Happening::AggregateDeployed(_), Happening::Removed]), "{what:?}");
    host.restart().await;
    assert!(host.aggregates.list().is_empty());
    host.deploy(&one).await;
    assert_eq!(host.add_to("Account-1", 1).await.version, Version(3), "events outlive the deployment");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_must_be_a_category() {
    let host = Host::start().await;
    let module = host.add(&Account::new("one"));
    let deploy = Deploy {
        name: "my-account".parse().unwrap(),
        module,
        config: Default::default(),
        limits: Limits::default(),
        snapshots: SnapshotPolicy::default(),
    };
    let refusal = host.aggregates.deploy(deploy).await.unwrap_err();
    assert!(matches!(refusal, Refusal::NoCategory(_)), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_shuts_down_takes_no_commands() {
    let host = Host::start().await;
    host.deploy(&Account::new("one")).await;
    host.add_to("Account-1", 1).await;
    host.aggregates.shutdown().await;
    assert_eq!(host.send("Account-1", "Add", 1).await, Err(CommandError::ShuttingDown));
    let refusal = host.deploy_with(&Account::new("two"), SnapshotPolicy::Never).await;
    assert_eq!(refusal, Err(Refusal::ShuttingDown));
    assert_eq!(host.events("Account-1").await.len(), 1);
}

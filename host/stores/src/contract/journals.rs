//! The journal: numbered entries, in order, with all that was said.

use std::{collections::BTreeMap, sync::Arc};

use lantern_core::{
    Grants, Happening, Journal, Kind, Name, Position,
    journal::{AggregateDeployment, Deployment, FailurePolicy, OnFailure, SnapshotPolicy, UpcasterDeployment},
    module::Limits,
};

use super::samples::{module, subject};

pub(super) async fn entries_are_numbered_and_in_order(journal: &dyn Journal) {
    assert_eq!(journal.entries().await, Ok(Vec::new()));
    let said = [
        (Kind::Projection, "orders", Happening::Paused),
        (Kind::Handler, "bills", Happening::Removed),
        (Kind::Aggregate, "orders", Happening::Removed),
        (Kind::Upcaster, "orders", Happening::Removed),
        (Kind::Projection, "orders", Happening::Resumed),
    ];
    let mut told = Vec::new();
    for (kind, name, happening) in said {
        let subject = subject(kind, name);
        let entry = journal.append(&subject, happening.clone()).await.unwrap();
        assert_eq!((&entry.subject, &entry.happening), (&subject, &happening));
        told.push(entry);
    }
    let sequence: Vec<_> = told.iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequence, [1, 2, 3, 4, 5], "over all subjects");
    assert_eq!(journal.entries().await, Ok(told));
}

pub(super) async fn every_happening_is_kept(journal: &dyn Journal) {
    let (from, to, position) = (module("first"), module("second"), Position(u64::MAX));
    let reason = || "it said: \"é\"\n".to_owned();
    let happenings = [
        Happening::Deployed(Deployment {
            module: from,
            start: Position(3),
            config: BTreeMap::from([("key".into(), "\"value\"".into())]),
            limits: Limits { deadline_ms: 1, ..Limits::default() },
            failure_policy: FailurePolicy { then: OnFailure::Stop, ..FailurePolicy::default() },
            grants: Grants { emit: true, ..Grants::default() },
            route: Some(Name::new("orders-in").unwrap()),
        }),
        Happening::AggregateDeployed(AggregateDeployment {
            module: from,
            config: BTreeMap::from([("key".into(), "value".into())]),
            limits: Limits::default(),
            snapshots: SnapshotPolicy::Manual,
        }),
        Happening::UpcasterDeployed(UpcasterDeployment {
            module: from,
            config: BTreeMap::from([("name".into(), "kind".into())]),
            limits: Limits::default(),
        }),
        Happening::Paused,
        Happening::Resumed,
        Happening::Swapped { position, from, to },
        Happening::SwapRefused { module: to, reason: reason() },
        Happening::RolledBack { position, from: to, to: from, reason: reason() },
        Happening::RebuildStarted { generation: 2, module: to },
        Happening::RebuildAbandoned { generation: 2, reason: reason() },
        Happening::Promoted { generation: 3, previous: 1, position, module: to },
        Happening::Retried { handled: 4, remaining: u64::MAX },
        Happening::Skipped { position },
        Happening::Stopped { reason: reason() },
        Happening::ScheduleCancelled { key: reason() },
        Happening::Removed,
    ];
    let orders = subject(Kind::Handler, "orders");
    for happening in happenings.clone() {
        let entry = journal.append(&orders, happening.clone()).await.unwrap();
        assert_eq!((&entry.subject, &entry.happening), (&orders, &happening));
    }
    let kept: Vec<_> = journal.entries().await.unwrap().into_iter().map(|entry| entry.happening).collect();
    assert_eq!(kept, happenings);
}

pub(super) async fn entries_are_read_from_any_place(journal: &dyn Journal) {
    let orders = subject(Kind::Projection, "orders");
    for _ in 0..3 {
        journal.append(&orders, Happening::Paused).await.unwrap();
    }
    let sequences = async |after| -> Vec<u64> {
        journal.entries_after(after).await.unwrap().into_iter().map(|entry| entry.sequence).collect()
    };
    assert_eq!(sequences(0).await, [1, 2, 3]);
    assert_eq!(sequences(2).await, [3]);
    assert_eq!(sequences(3).await, [0; 0]);
    assert_eq!(sequences(u64::MAX).await, [0; 0]);
}

pub(super) async fn an_entry_after_the_last_is_added_and_after_another_is_not(journal: &dyn Journal) {
    let orders = subject(Kind::Projection, "orders");
    let first = journal.append_after(0, &orders, Happening::Paused).await.unwrap();
    assert_eq!(first.map(|entry| entry.sequence), Some(1), "an empty journal ends with 0");
    for last in [0, 2, u64::MAX] {
        assert_eq!(journal.append_after(last, &orders, Happening::Resumed).await, Ok(None), "it ends with 1");
    }
    let second = journal.append_after(1, &orders, Happening::Resumed).await.unwrap().unwrap();
    assert_eq!(journal.entries_after(1).await, Ok(vec![second]), "what was not added is not there");
}

pub(super) async fn one_of_many_rivals_adds_its_entry<T: Journal + 'static>(journal: Arc<T>) {
    for last in 0..10 {
        let rivals = (0..8).map(|_| {
            let journal = journal.clone();
            tokio::spawn(async move {
                let orders = subject(Kind::Projection, "orders");
                journal.append_after(last, &orders, Happening::Paused).await.unwrap()
            })
        });
        let rivals: Vec<_> = rivals.collect();
        let mut added = 0;
        for rival in rivals {
            added += usize::from(rival.await.unwrap().is_some());
        }
        assert_eq!(added, 1, "after entry {last}");
    }
}

pub(super) async fn the_end_wakes_those_who_follow(journal: &dyn Journal) {
    let orders = subject(Kind::Projection, "orders");
    journal.append(&orders, Happening::Paused).await.unwrap();
    let mut end = journal.end();
    end.wait_for(|end| *end == 1).await.unwrap();
    journal.append_after(1, &orders, Happening::Resumed).await.unwrap();
    end.wait_for(|end| *end == 2).await.unwrap();
}

//! The journal: numbered entries, in order, with all that was said.

use std::collections::BTreeMap;

use lantern_core::{
    Happening, Journal, Position, Name,
    journal::{Deployment, FailurePolicy, OnFailure},
    module::Limits,
};

use super::samples::module;

pub(super) async fn entries_are_numbered_and_in_order(journal: &dyn Journal) {
    assert_eq!(journal.entries().await, Ok(Vec::new()));
    let (orders, bills) = (Name::new("orders").unwrap(), Name::new("bills").unwrap());
    let mut told = Vec::new();
    for (name, happening) in [(&orders, Happening::Paused), (&bills, Happening::Removed), (&orders, Happening::Resumed)]
    {
        told.push(journal.append(name, happening).await.unwrap());
    }
    let sequence: Vec<_> = told.iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequence, [1, 2, 3], "over all projections");
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
        Happening::Removed,
    ];
    let name = Name::new("orders").unwrap();
    for happening in happenings.clone() {
        let entry = journal.append(&name, happening.clone()).await.unwrap();
        assert_eq!((&entry.projection, &entry.happening), (&name, &happening));
    }
    let kept: Vec<_> = journal.entries().await.unwrap().into_iter().map(|entry| entry.happening).collect();
    assert_eq!(kept, happenings);
}

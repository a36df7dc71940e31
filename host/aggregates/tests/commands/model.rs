//! Any order of things that happen to a host comes to what a simple model says.

use std::{collections::HashMap, sync::atomic::Ordering};

use lantern_aggregates::{Capacity, CommandError};
use lantern_core::{Decision, Version, log::AppendError};
use proptest::prelude::*;
use uuid::Uuid;

use crate::{
    account::{Account, State, decide},
    host::{Host, command, every, name},
};

#[derive(Debug, Clone)]
enum Step {
    /// A command with an id of a few, so that ids meet again.
    Send { id: u8, stream: u8, command: u8, amount: u64 },
    /// Another writer appends.
    Outside { stream: u8, amount: u64 },
    /// The answer of the next append is lost.
    Unheard,
    /// The other module takes over.
    Swap,
    /// The host starts again.
    Restart,
    /// The snapshots fail, or work again.
    Snapshots { are_failing: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let send = (0..30_u8, 0..3_u8, 0..4_u8, 0..4_u64);
    prop_oneof![
        12 => send.prop_map(|(id, stream, command, amount)| Step::Send { id, stream, command, amount }),
        2 => (0..3_u8, 0..4_u64).prop_map(|(stream, amount)| Step::Outside { stream, amount }),
        1 => Just(Step::Unheard),
        1 => Just(Step::Swap),
        1 => Just(Step::Restart),
        1 => any::<bool>().prop_map(|are_failing| Step::Snapshots { are_failing }),
    ]
}

/// What must be true, without a host.
#[derive(Default)]
struct Model {
    states: HashMap<u8, State>,
    /// The stream and the versions of the events of each command that had any.
    done: HashMap<u8, (u8, Version, usize)>,
}

async fn run(steps: Vec<Step>) {
    let mut host = Host::with(Capacity { loaded: 2, ..Capacity::default() }).await;
    let modules = [Account::new("one"), Account::new("two").state_version(2)];
    host.deploy_with(&modules[0], every(3)).await.unwrap();
    host.add(&modules[1]);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Send { id, stream, command, amount } => send(&host, &mut model, (id, stream, command, amount)).await,
            Step::Outside { stream, amount } => {
                host.outside(&format!("Account-{stream}"), "Added", amount).await;
                let state = model.states.entry(stream).or_default();
                state.sum += amount;
                state.events += 1;
            }
            Step::Unheard => host.log.unheard.store(1, Ordering::Relaxed),
            Step::Swap => {
                let from = host.aggregates.status(&name()).unwrap().module;
                let to = modules.iter().find(|module| module.digest() != from).unwrap();
                host.aggregates.swap(&name(), to.digest()).await.unwrap();
            }
            Step::Restart => host.restart().await,
            Step::Snapshots { are_failing } => host.snapshots.is_failing.store(are_failing, Ordering::Relaxed),
        }
    }
    for (stream, state) in model.states {
        if state.events > 0 {
            assert_eq!(host.shown(&format!("Account-{stream}"), None).await.unwrap(), state);
        }
    }
}

async fn send(host: &Host, model: &mut Model, (id, stream, kind, amount): (u8, u8, u8, u64)) {
    let kind = ["Add", "Take", "Split", "Rest"][usize::from(kind)];
    let command = command(Uuid::from_u128(u128::from(id)), &format!("Account-{stream}"), kind, amount);
    let result = host.aggregates.send(command.clone(), None).await;
    if let Some((first_stream, version, events)) = model.done.get(&id) {
        if let Err(CommandError::Append(AppendError::Unavailable(_))) = result {
            // The log was asked, and its answer lost.
        } else if *first_stream == stream {
            let answer = result.unwrap();
            assert_eq!((answer.version, answer.events.len(), answer.repeated), (*version, *events, true));
        } else {
            assert!(matches!(result, Err(CommandError::IdTaken { .. })), "{result:?}");
        }
        return;
    }
    let state = model.states.entry(stream).or_default();
    let drafts = match decide(*state, &command) {
        Decision::Accepted(drafts) => drafts,
        Decision::Rejected(rejection) => return assert_eq!(result, Err(CommandError::Rejected(rejection))),
    };
    for _ in &drafts {
        match kind {
            "Add" => state.sum += amount,
            "Take" => state.sum -= amount,
            _ => state.sum += 1,
        }
        state.events += 1;
    }
    let version = Version(state.events);
    if !drafts.is_empty() {
        model.done.insert(id, (stream, version, drafts.len()));
    }
    match result {
        Ok(answer) => {
            assert_eq!((answer.version, answer.events.len(), answer.repeated), (version, drafts.len(), false));
        }
        // The answer was lost, the events are there.
        Err(error) => assert!(matches!(error, CommandError::Append(_)), "{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_model_is_right(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}

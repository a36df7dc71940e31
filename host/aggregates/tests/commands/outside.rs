//! Streams that others write too: the host notices, whatever the decision was.

use lantern_aggregates::CommandError;
use lantern_core::Version;

use crate::{
    account::{Account, State},
    host::Host,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_changed_is_caught_up_and_decided_again() {
    let host = Host::start().await;
    host.deploy(&Account::new("one")).await;
    host.add_to("Account-1", 1).await;
    host.outside("Account-1", "Added", 5).await;
    let answer = host.send("Account-1", "Add", 1).await.unwrap();
    assert_eq!((answer.version, answer.attempts), (Version(3), 2));
    host.outside("Account-1", "Added", 5).await;
    let answer = host.send("Account-1", "Take", 12).await.unwrap();
    assert_eq!((answer.version, answer.attempts), (Version(5), 2), "the rejection was about an older state");
    host.outside("Account-1", "Added", 5).await;
    assert_eq!(host.send("Account-1", "Rest", 0).await.unwrap().version, Version(6));
    let counters = host.counters();
    assert_eq!((counters.conflicts_retried, counters.commands.conflict, counters.loaded), (3, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_last_attempt_the_sender_is_told() {
    let mut host = Host::start().await;
    let (writes, to_write) = std::sync::mpsc::channel::<tokio::sync::oneshot::Sender<()>>();
    // While the module decides, somebody else appends.
    let meddled = Account::new("one").at_command(move |_| {
        let (done, written) = tokio::sync::oneshot::channel();
        if writes.send(done).is_ok() {
            written.blocking_recv().unwrap();
        }
        Ok(())
    });
    host.deploy(&meddled).await;
    let meddling = async {
        let mut to_write = to_write;
        for _ in 0..8 {
            let wait = move || (to_write.recv().unwrap(), to_write);
            let (done, back) = tokio::task::spawn_blocking(wait).await.unwrap();
            to_write = back;
            host.outside("Account-1", "Added", 1).await;
            done.send(()).unwrap();
        }
    };
    let (result, ()) = tokio::join!(host.send("Account-1", "Add", 100), meddling);
    assert_eq!(result, Err(CommandError::Contended { stream: "Account-1".parse().unwrap(), attempts: 8 }));
    let counters = host.counters();
    assert_eq!((counters.conflicts_retried, counters.commands.conflict), (7, 1));
    assert_eq!(host.folded("Account-1").await, State { sum: 8, events: 8 });
    host.restart().await;
    host.add_to("Account-1", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_events_are_seen_in_the_form_the_module_understands() {
    let host = Host::start().await;
    host.deploy(&Account::new("one").accepting("Added", 2)).await;
    for amount in [1, 2] {
        host.outside("Account-1", "Added", amount).await;
        host.outside("Account-1", "Older", amount * 10).await;
    }
    host.send("Account-1", "Take", 33).await.unwrap();
    assert_eq!(host.shown("Account-1", Some(4)).await.unwrap(), State { sum: 33, events: 4 });
}

//! The state of an aggregate, as it is and as it was.

use lantern_aggregates::Refusal;
use lantern_core::Version;

use crate::{
    account::{Account, State, trap},
    host::{Host, every},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_shown_at_each_version() {
    let host = Host::start().await;
    host.deploy_with(&Account::new("one").state_version(3), every(1)).await.unwrap();
    host.send("Account-1", "Split", 2_500).await.unwrap();
    host.send("Account-1", "Take", 500).await.unwrap();
    for (version, sum) in [(1, 1), (999, 999), (1_000, 1_000), (1_001, 1_001), (2_500, 2_500), (2_501, 2_000)] {
        assert_eq!(host.shown("Account-1", Some(version)).await.unwrap(), State { sum, events: version });
    }
    assert_eq!(host.shown("Account-1", Some(0)).await.unwrap(), State::default());
    let shown = host.aggregates.show(&"Account-1".parse().unwrap(), None).await.unwrap();
    assert_eq!((shown.version, shown.state_version, &shown.state[..]), (Version(2_501), 3, &b"2000,2501"[..]));
    let refusal = host.shown("Account-1", Some(2_502)).await.unwrap_err();
    assert_eq!(refusal.to_string(), "stream `Account-1` has no version 2502: it is at version 2501");
    assert_eq!(host.shown("Account-2", None).await, Err(Refusal::NoEvents("Account-2".parse().unwrap())));
    let refusal = host.shown("Invoice-2", None).await.unwrap_err();
    assert!(refusal.to_string().contains("no aggregate is deployed"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_be_folded_says_why() {
    let host = Host::start().await;
    host.deploy(&Account::new("one").at_event(|event| if event.version.0 == 2 { Err(trap()) } else { Ok(()) })).await;
    host.outside("Account-1", "Added", 1).await;
    host.outside("Account-1", "Added", 1).await;
    assert_eq!(host.shown("Account-1", Some(1)).await.unwrap(), State { sum: 1, events: 1 });
    let refusal = host.shown("Account-1", None).await.unwrap_err();
    assert!(refusal.to_string().ends_with("a trap of the test"), "{refusal}");
}

//! Storage that fails at random, before or after a commit took effect: nothing is lost and nothing is applied twice.

use std::sync::atomic::Ordering;

use lantern_core::{Kind, module::FailureKind};
use lantern_processors::Selection;

use crate::host::{Faults, Host, failing, name};

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_fail_or_go_unheard_leave_every_event_applied_once() {
    for seed in 0..20 {
        println!("seed {seed}");
        let faults = Faults::seeded(seed, 3);
        let host = Host::with(faults.clone()).await;
        host.deploy(failing("failing", "\"bad\"", FailureKind::Permanent)).await;
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..60 {
            let data = if random.u8(..20) == 0 { "\"bad\"" } else { "1" };
            host.append(&format!("A-{}", random.u8(..6)), data).await;
            if random.u8(..8) == 0 {
                host.caught_up().await;
            }
        }
        host.caught_up().await;
        faults.one_in.store(0, Ordering::Relaxed);
        let mended = host.add(crate::host::noting());
        while host.supervisor.swap(Kind::Projection, &name(), mended).await.is_err() {}
        host.supervisor.retry(Kind::Projection, &name(), Selection::All).await.unwrap();
        assert_eq!(host.documents().await, host.expected().await, "seed {seed}");
        assert!(host.parked().await.is_empty(), "seed {seed}");
    }
}

//! Several hosts on the same stores: processors are spread, move when a host dies, and are never done twice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use lantern_core::{
    Digest, Effects, Generation, Happening, Hosts, Kind, Name, State, Subject, Timestamp,
    hosts::{Beat, HostsError, Roll},
    journal::FailurePolicy,
    module::FailureKind,
};
use lantern_processors::{Configured, Deploy, Place, Refusal, Supervisor};
use lantern_stores::memory;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use crate::{
    host::{Faults, World, bounded, deployment, documents, failing, note, noted, noted_all, noting},
    modules::{Closure, due},
};

/// How long a lease lasts; short, so that a test does not wait long for a death to be noticed.
const LEASE: Duration = Duration::from_millis(500);

/// A host that can be killed: it has a runtime of its own.
pub(crate) struct Member {
    runtime: Option<Runtime>,
    pub(crate) supervisor: Supervisor,
}

impl Member {
    async fn join(world: &World, hosts: &Arc<dyn Hosts>, name: &'static str) -> Self {
        Self::join_with(world, hosts, name, Vec::new()).await
    }

    /// A host with routes.
    pub(crate) async fn join_with(
        world: &World,
        hosts: &Arc<dyn Hosts>,
        name: &'static str,
        routes: Vec<Configured>,
    ) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        let (world, hosts) = (world.clone(), hosts.clone());
        let joining = runtime.spawn(async move { world.join(name, hosts, LEASE, routes).await.unwrap() });
        let supervisor = joining.await.unwrap();
        Self { runtime: Some(runtime), supervisor }
    }

    /// Kills it at whatever it is doing.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Does something on its own threads.
    pub(crate) async fn with<F: Future<Output: Send + 'static> + Send + 'static>(
        &self,
        work: impl FnOnce(Supervisor) -> F,
    ) -> F::Output {
        let doing = self.runtime.as_ref().unwrap().spawn(work(self.supervisor.clone()));
        bounded(doing).await.unwrap()
    }

    pub(crate) async fn deploy(&self, deploy: Deploy) {
        self.with(|supervisor| async move { supervisor.deploy(deploy).await.unwrap() }).await;
    }

    /// The names of what it runs.
    pub(crate) fn runs(&self) -> Vec<Name> {
        let status = |kind| self.supervisor.list(kind);
        [Kind::Projection, Kind::Handler].into_iter().flat_map(status).map(|status| status.name).collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.end();
    }
}

/// A registry that can be cut off, as it is for a host that is frozen or parted from the store.
struct Cut {
    inner: Arc<dyn Hosts>,
    is_cut: AtomicBool,
}

#[async_trait]
impl Hosts for Cut {
    async fn beat(&self, beat: &Beat<'_>) -> Result<Roll, HostsError> {
        if self.is_cut.load(Ordering::SeqCst) {
            return Err(HostsError("it is cut off by the test".into()));
        }
        self.inner.beat(beat).await
    }

    async fn roll(&self) -> Result<Roll, HostsError> {
        self.inner.roll().await
    }

    async fn leave(&self, host: Uuid) -> Result<(), HostsError> {
        self.inner.leave(host).await
    }
}

pub(crate) fn registry() -> Arc<dyn Hosts> {
    Arc::new(memory::Hosts::new())
}

pub(crate) fn named(name: &str, kind: Kind, module: Digest) -> Deploy {
    Deploy { name: name.parse().unwrap(), ..deployment(kind, module, &FailurePolicy::default()) }
}

/// Waits until something is so.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    bounded(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Waits until the documents of a projection are a clean fold of the log.
async fn folded(world: &World, name: &str) {
    let generation = Generation { processor: name.parse().unwrap(), number: 1 };
    let expected = noted_all(&world.events().await);
    bounded(async {
        while documents(&*world.read_models.open(&generation).await.unwrap()).await != expected {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

async fn append_some(world: &World, events: usize) {
    for n in 0..events {
        world.append(&format!("A-{}", n % 5), noted("1")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processors_are_spread_and_move_on_when_a_host_dies_or_leaves() {
    let (world, hosts) = (World::new(Arc::default()), registry());
    let module = world.library.add(noting());
    let names: Vec<String> = (0..6).map(|n| format!("noted-{n}")).collect();
    let a = Member::join(&world, &hosts, "a").await;
    for name in &names {
        a.deploy(named(name, Kind::Projection, module)).await;
    }
    append_some(&world, 50).await;
    let b = Member::join(&world, &hosts, "b").await;
    until(|| (a.runs().len(), b.runs().len()) == (3, 3)).await;
    let stayed = a.runs();
    let c = Member::join(&world, &hosts, "c").await;
    until(|| (a.runs().len(), b.runs().len(), c.runs().len()) == (2, 2, 2)).await;
    assert!(a.runs().iter().all(|name| stayed.contains(name)), "what need not move stays");
    append_some(&world, 50).await;

    a.kill();
    append_some(&world, 50).await;
    until(|| (b.runs().len(), c.runs().len()) == (3, 3)).await;
    b.with(|supervisor| async move { supervisor.shutdown().await }).await;
    append_some(&world, 50).await;
    until(|| c.runs().len() == 6).await;
    for name in &names {
        folded(&world, name).await;
    }
    let (roll, moves) = c.supervisor.roll();
    assert!(moves.taken >= 6, "{moves:?}");
    let live: Vec<_> = roll.hosts.iter().filter(|seen| seen.is_live).map(|seen| &*seen.identity.name).collect();
    assert_eq!(live, ["c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_frozen_past_its_lease_writes_nothing_when_it_wakes() {
    let world = World::new(Faults::gated());
    let gate = world.faults.gate.as_ref().unwrap();
    // The storage of the second host has no gate.
    let other = World { faults: Arc::default(), ..world.clone() };
    let inner = registry();
    let cut = Arc::new(Cut { inner: inner.clone(), is_cut: AtomicBool::new(false) });
    let frozen: Arc<dyn Hosts> = cut.clone();
    let a = Member::join(&world, &frozen, "a").await;
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let module = world.library.add(Closure::new("counting", move |event, view| {
        counted.fetch_add(1, Ordering::SeqCst);
        note(event, view)
    }));
    append_some(&world, 10).await;
    a.deploy(named("noted", Kind::Projection, module)).await;
    // It has handled the events and stands before their commit, with its lease running out.
    until(|| calls.load(Ordering::SeqCst) == 10).await;
    cut.is_cut.store(true, Ordering::SeqCst);
    let b = Member::join(&other, &inner, "b").await;
    until(|| !b.runs().is_empty()).await;
    folded(&world, "noted").await;
    append_some(&world, 10).await;
    folded(&world, "noted").await;

    gate.add_permits(1_000);
    cut.is_cut.store(false, Ordering::SeqCst);
    until(|| a.runs().is_empty()).await;
    append_some(&world, 10).await;
    folded(&world, "noted").await;
    let status = b.supervisor.list(Kind::Projection).remove(0);
    assert_eq!((status.handled, status.host.as_deref()), (30, Some("b")), "every event was handled once");
    let place = || a.supervisor.place(Kind::Projection, &status.name);
    until(|| matches!(place(), Ok(Place::At(owner)) if owner.name == "b")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stale_host_took_is_taken_back() {
    let (world, hosts) = (World::new(Arc::default()), registry());
    let a = Member::join(&world, &hosts, "a").await;
    let module = world.library.add(noting());
    a.deploy(named("noted", Kind::Projection, module)).await;
    append_some(&world, 10).await;
    folded(&world, "noted").await;
    for _ in 0..3 {
        let generation = Generation { processor: "noted".parse().unwrap(), number: 1 };
        // As a host does that wakes without knowing that its time is over.
        world.read_models.open(&generation).await.unwrap().take().await.unwrap();
        append_some(&world, 10).await;
        folded(&world, "noted").await;
    }
    until(|| a.supervisor.list(Kind::Projection)[0].state == State::Live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hosts_that_deploy_under_a_name_one_wins() {
    let (world, hosts) = (World::new(Arc::default()), registry());
    let (a, b) = (Member::join(&world, &hosts, "a").await, Member::join(&world, &hosts, "b").await);
    let modules = [world.library.add(noting()), world.library.add(Closure::new("other", note))];
    for round in 0..10 {
        let name = format!("noted-{round}");
        let deploy = |member: &Member, module| {
            let (supervisor, deploy) = (member.supervisor.clone(), named(&name, Kind::Projection, module));
            member.runtime.as_ref().unwrap().spawn(async move { supervisor.deploy(deploy).await })
        };
        let (first, second) = (deploy(&a, modules[0]), deploy(&b, modules[1]));
        let (first, second) = bounded(async { (first.await.unwrap(), second.await.unwrap()) }).await;
        let (won, lost) = match (first, second) {
            (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
            both => panic!("round {round}: {both:?}"),
        };
        assert!(matches!(lost, Refusal::Exists(_)), "round {round}: {lost}");
        let entries = world.journal.entries().await.unwrap();
        let deployed = entries.iter().filter_map(|entry| match &entry.happening {
            Happening::Deployed(deployment) if entry.subject.name.as_str() == name => Some(deployment.module),
            _ => None,
        });
        assert_eq!(deployed.collect::<Vec<_>>(), [won.module], "round {round}");
    }
    append_some(&world, 20).await;
    for round in 0..10 {
        folded(&world, &format!("noted-{round}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_one_host_is_known_on_the_others() {
    let (world, hosts) = (World::new(Arc::default()), registry());
    let (a, b) = (Member::join(&world, &hosts, "a").await, Member::join(&world, &hosts, "b").await);
    let one = world.library.add(noting());
    let two = world.library.add(failing("two", "\"never\"", FailureKind::Trap));
    let name: Name = "noted".parse().unwrap();
    a.deploy(named("noted", Kind::Projection, one)).await;
    append_some(&world, 10).await;
    folded(&world, "noted").await;
    let place = || b.supervisor.place(Kind::Projection, &name);
    until(|| matches!(place(), Ok(Place::At(owner)) if owner.name == "a")).await;
    let refused = b.supervisor.status(Kind::Projection, &name).unwrap_err();
    assert_eq!(refused.to_string(), "projection `noted` is run by host `a`: try again in a moment");
    assert_eq!(
        b.supervisor.status(Kind::Handler, &name),
        Err(Refusal::OtherKind(Subject { kind: Kind::Projection, name: name.clone() }))
    );
    let read_model = b.supervisor.read_model(Kind::Projection, &name, Some("counts")).await;
    let unknown = b.supervisor.read_model(Kind::Projection, &name, Some("sums")).await;
    assert!(matches!(unknown, Err(Refusal::UnknownCollection { .. })));
    assert_eq!(documents(&*read_model.unwrap()).await, noted_all(&world.events().await));

    let own = name.clone();
    a.with(|supervisor| async move { supervisor.swap(Kind::Projection, &own, two).await.unwrap() }).await;
    let own = name.clone();
    a.with(|supervisor| async move { supervisor.pause(Kind::Projection, &own).await.unwrap() }).await;
    let recalled = bounded(async {
        loop {
            let status = b.supervisor.recall(Kind::Projection, &name).await.unwrap();
            if status.state == State::Paused {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    assert_eq!((recalled.module, recalled.previous_module), (two, Some(one)));
    assert_eq!((recalled.position.0, recalled.handled, recalled.host.as_deref()), (10, 10, Some("a")));
    assert_eq!(b.supervisor.modules_in_use().len(), 2, "what another host runs is in use too");

    a.kill();
    until(|| !b.runs().is_empty()).await;
    let moved = b.supervisor.status(Kind::Projection, &name).unwrap();
    assert_eq!((moved.module, moved.previous_module, moved.host.as_deref()), (two, Some(one), Some("b")));
    until(|| b.supervisor.list(Kind::Projection)[0].state == State::Paused).await;
    let own = name.clone();
    b.with(|supervisor| async move { supervisor.remove(Kind::Projection, &own).await.unwrap() }).await;
    let c = Member::join(&world, &hosts, "c").await;
    assert!(c.supervisor.names(Kind::Projection).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_goes_on_where_the_projection_moves_to() {
    let (world, hosts) = (World::new(Arc::default()), registry());
    let a = Member::join(&world, &hosts, "a").await;
    let name: Name = "noted".parse().unwrap();
    let one = world.library.add(noting());
    a.deploy(named("noted", Kind::Projection, one)).await;
    append_some(&world, 10).await;
    folded(&world, "noted").await;
    // The rebuild cannot end on the first host: its module waits for the test.
    let gate = Arc::new(AtomicBool::new(false));
    let open = gate.clone();
    let slow = world.library.add(Closure::new("slow", move |event, view| {
        while !open.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        note(event, view)
    }));
    let own = name.clone();
    a.with(|supervisor| async move { supervisor.rebuild(Kind::Projection, &own, Some(slow)).await.unwrap() }).await;
    a.kill();
    let b = Member::join(&world, &hosts, "b").await;
    until(|| !b.runs().is_empty()).await;
    gate.store(true, Ordering::SeqCst);
    until(|| {
        let status = b.supervisor.status(Kind::Projection, &name);
        status.is_ok_and(|status| (status.generation, status.module) == (2, slow) && status.rebuild.is_none())
    })
    .await;
    let read_model = b.supervisor.read_model(Kind::Projection, &name, None).await.unwrap();
    assert_eq!(documents(&*read_model).await, noted_all(&world.events().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_host_had_scheduled_comes_due_on_another_once() {
    let (world, hosts) = (World::new(Arc::default()), registry());
    let a = Member::join(&world, &hosts, "a").await;
    let later = Timestamp(5_000);
    let module = world.library.add(
        Closure::new("waiting", move |event, view| {
            let timers = vec![due(&format!("k{}", event.position), later, "\"due\"")];
            Ok(Effects { timers, ..note(event, view)? })
        })
        .wanting("A"),
    );
    a.deploy(named("waiting", Kind::Handler, module)).await;
    append_some(&world, 10).await;
    until(|| a.supervisor.list(Kind::Handler)[0].scheduled == 10).await;
    let b = Member::join(&world, &hosts, "b").await;
    a.kill();
    until(|| !b.runs().is_empty()).await;
    world.clock.set(Timestamp(10_000));
    until(|| b.supervisor.list(Kind::Handler).first().is_some_and(|status| status.scheduled == 0)).await;
    let due = world.events().await.into_iter().filter(|event| event.stream.category() == "Due").count();
    assert_eq!(due, 10);
}

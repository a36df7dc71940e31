//! Projections that a route feeds straight: every message is applied once and in the order of its stream, whatever fails or
//! moves on the way; what cannot be handled is kept with its bytes.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use lantern_core::{
    Bus as _, Event, EventType, Kind, Message, NewEvent, Position, State, Subscription, View,
    bus::{Arrival, Keeper},
    documents::Scan,
    journal::FailurePolicy,
    module::{Failure, FailureKind},
};
use lantern_processors::{
    Configured, Consume, DeadLetter, Deploy, Place, Refusal, Retried, RouteStatus, Routes, Selection, Start,
};
use lantern_stores::memory;
use tokio::runtime::Builder;

use crate::{
    bus::{BROKEN, MENDING, subscription},
    host::{Faults, Host, World, bounded, deployment, documents, name, noted},
    hosts::{Member, named, registry},
    modules::{Closure, put},
    routes::{consume, route},
};

/// The route of these tests.
fn feeding() -> Consume {
    Consume { projection: Some(name()), ..consume() }
}

impl World {
    /// A world in which the route feeds the projection.
    fn fed(faults: Arc<Faults>) -> Self {
        Self { routes: vec![Configured::Consume(feeding())], ..Self::new(faults) }
    }
}

impl Host {
    async fn fed() -> Self {
        let world = World::fed(Arc::default());
        let supervisor = world.supervise().await;
        Self { kind: Kind::Projection, world, supervisor }
    }
}

fn message(stream: &str, data: u32) -> Message {
    Message { stream: stream.parse().unwrap(), event: noted(&data.to_string()) }
}

fn broken(data: u32) -> Message {
    let Message { stream, event } = message("A-1", data);
    Message { stream, event: NewEvent { event_type: EventType::new(BROKEN).unwrap(), ..event } }
}

/// Appends the data of an event to the document of its stream.
fn add(event: &Event, view: &dyn View) -> Result<lantern_core::Effects, Failure> {
    let key = event.stream.as_str();
    let there = view.get("counts", key).map_err(|error| Failure::new(FailureKind::Host, error.to_string()))?;
    let data = String::from_utf8_lossy(event.data.as_bytes());
    let all = there.map_or_else(|| data.to_string(), |there| format!("{},{data}", there.trim_matches(['[', ']'])));
    Ok(put(key, format!("[{all}]")))
}

fn adding() -> Closure {
    Closure::new("adding", add)
}

/// The same, but what has this data fails.
fn refusing(refused: &'static str) -> Closure {
    Closure::new("refusing", move |event, view| {
        if event.data.as_bytes() == refused.as_bytes() {
            return Err(Failure::new(FailureKind::Permanent, "it is bad"));
        }
        add(event, view)
    })
}

/// The documents when every message is applied once.
fn fold(messages: &[Message]) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Message { stream, event } in messages {
        all.entry(stream.to_string()).or_default().push(String::from_utf8_lossy(event.data.as_bytes()).into_owned());
    }
    all.into_iter().map(|(stream, data)| (stream, format!("[{}]", data.join(",")))).collect()
}

/// Waits until the route is as wished.
async fn until(routes: &Routes, wished: impl Fn(&RouteStatus) -> bool) -> RouteStatus {
    crate::routes::until(routes, wished).await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_to_the_projection_and_not_into_the_log() {
    let host = Host::fed().await;
    let routes = host.supervisor.routes();
    assert!(matches!(routes.status(&route()).await, Err(Refusal::RouteElsewhere { .. })));
    assert_eq!(routes.place(&route()).unwrap(), Place::Here);
    let idle = routes.recall(&route()).await.unwrap();
    assert_eq!((idle.state, idle.projection), (State::Unknown, Some(name())));
    let messages: Vec<_> = (0..40).map(|n| message(&format!("A-{}", n % 3), n)).collect();
    host.world.bus.add("in", &messages).await;
    assert_eq!(host.deploy(adding()).await.route, Some(route()));
    let status = host.until(|status| status.handled == 40 && status.lag == 0).await;
    assert_eq!((status.position, status.head, status.state), (Position(40), Position(40), State::Live));
    assert_eq!(host.documents().await, fold(&messages));
    assert_eq!(*host.world.log.head().borrow(), Position::START);
    let status = until(&routes, |status| status.messages == 40 && status.lag == 0).await;
    assert_eq!((status.state, status.position, status.last_error), (State::Live, Some(Position(40)), None));
    assert_eq!(status.partitions.len(), 3);
    assert_eq!(routes.pause(&route()).await.unwrap().state, State::Paused);
    assert_eq!(routes.resume(&route()).await.unwrap().state, State::Live);
    host.supervisor.shutdown().await;
    assert_eq!(host.world.bus.unsettled("in", "group").await, 0, "the bus was told");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_parked_with_its_stream_and_comes_back_after_a_restart() {
    let mut host = Host::fed().await;
    let messages: Vec<_> = (1..=6).map(|n| message(if n % 2 == 0 { "A-1" } else { "B-1" }, n)).collect();
    host.deploy(refusing("2")).await;
    host.world.bus.add("in", &messages).await;
    let status = host.until(|status| status.position == Position(6)).await;
    assert_eq!((status.parked_events, status.parked_streams), (3, 1));
    assert_eq!(host.documents().await, BTreeMap::from([("B-1".into(), "[1,3,5]".into())]));
    let digest = host.supervisor.read_model(Kind::Projection, &name(), None).await.unwrap().digest().await.unwrap();
    let mut alone = lantern_core::digest::ReadModelDigest::default();
    alone.add("counts", "B-1", "[1,3,5]");
    assert_eq!(digest, (Position(6), alone.finish()), "what the host keeps is no part of it");

    host.restart().await;
    let module = host.add(adding());
    let swapped = bounded(host.supervisor.swap(Kind::Projection, &name(), module)).await.unwrap();
    assert_eq!(swapped.parked_mended, 1);
    let retried = bounded(host.supervisor.retry(Kind::Projection, &name(), Selection::All)).await.unwrap();
    assert_eq!((retried.handled, retried.remaining), (3, 0));
    assert_eq!(host.documents().await, fold(&messages));
    host.world.bus.add("in", &[message("A-1", 8)]).await;
    host.until(|status| status.position == Position(7)).await;
    assert_eq!(host.documents().await["A-1"], "[2,4,6,8]");
    let read_model = host.supervisor.read_model(Kind::Projection, &name(), None).await.unwrap();
    let own = async |collection: &str| {
        read_model.scan(collection, &Scan { limit: 10, ..Scan::default() }).await.unwrap().len()
    };
    assert_eq!(own("lantern:parked").await, 0);
    assert!(own("lantern:offsets").await > 0);
    host.supervisor.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_is_kept_and_decided_about() {
    let host = Host::fed().await;
    let routes = host.supervisor.routes();
    host.deploy(adding()).await;
    host.world.bus.add("in", &[message("A-1", 1), broken(7), message("A-1", 2), broken(8)]).await;
    until(&routes, |status| status.dead_letters == 2 && status.position == Some(Position(4))).await;
    let dead = routes.dead_letters(&route(), None, 10).await.unwrap();
    let [DeadLetter::Message(first), DeadLetter::Message(second)] = dead.as_slice() else { panic!("{dead:?}") };
    assert_eq!((&first.body[..], first.key.as_deref()), (&b"7"[..], Some(&b"key"[..])));
    let retried = bounded(routes.retry(&route(), Some(&first.id), None)).await.unwrap();
    assert_eq!(retried, Retried { handled: 0, remaining: 2 });
    let DeadLetter::Message(tried) = routes.dead_letter(&route(), &first.id).await.unwrap() else { panic!() };
    assert_eq!((tried.retries, tried.reason.as_str()), (1, "still no event"));
    let retried = bounded(routes.retry(&route(), Some(&first.id), Some(MENDING))).await.unwrap();
    assert_eq!(retried, Retried { handled: 1, remaining: 1 });
    assert_eq!(host.documents().await[&format!("{MENDING}-1")], "[7]");
    bounded(routes.discard(&route(), &second.id)).await.unwrap();
    assert!(matches!(routes.discard(&route(), &second.id).await, Err(Refusal::NoDeadLetter { .. })));
    assert_eq!(routes.status(&route()).await.unwrap().dead_letters, 0);
    host.supervisor.shutdown().await;
    assert_eq!(host.world.bus.unsettled("in", "group").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_is_away_is_waited_for() {
    let host = Host::fed().await;
    host.world.bus.is_away.store(true, Ordering::SeqCst);
    host.deploy(adding()).await;
    let status = host.until(|status| status.state == State::Error).await;
    assert!(status.last_error.unwrap().message.contains("could not be reached"));
    host.world.bus.is_away.store(false, Ordering::SeqCst);
    host.world.bus.add("in", &[message("A-1", 1)]).await;
    host.until(|status| status.handled == 1 && status.state == State::Live && status.last_error.is_none()).await;
    host.supervisor.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_is_not_taken_for_the_old_one() {
    let mut host = Host::fed().await;
    host.deploy(adding()).await;
    host.world.bus.add("in", &[message("A-1", 1), message("A-1", 2)]).await;
    host.until(|status| status.handled == 2).await;
    host.supervisor.shutdown().await;
    host.world.bus = crate::bus::Shaky::new(Arc::default());
    host.world.bus.is_forgetful.store(true, Ordering::SeqCst);
    host.world.bus.add("in", &[message("A-1", 3)]).await;
    host.supervisor = host.world.supervise().await;
    let status = host.until(|status| status.state == State::Error).await;
    assert!(status.last_error.unwrap().message.contains("topic `in` was made anew or went back"));
    assert_eq!(host.documents().await["A-1"], "[1,2]");
    host.supervisor.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_log_is_refused() {
    let host = Host::fed().await;
    let deploy = |host: &Host| deployment(Kind::Projection, host.add(adding()), &FailurePolicy::default());
    let handler = Deploy { kind: Kind::Handler, ..deploy(&host) };
    assert!(matches!(host.supervisor.deploy(handler).await, Err(Refusal::FeedsProjection { .. })));
    let late = Deploy { start: Start::End, ..deploy(&host) };
    assert!(matches!(host.supervisor.deploy(late).await, Err(Refusal::BeginsWithRoute { .. })));
    host.supervisor.deploy(deploy(&host)).await.unwrap();
    let refused = host.supervisor.rebuild(Kind::Projection, &name(), None).await.unwrap_err();
    assert!(matches!(&refused, Refusal::NoLog { .. }) && refused.to_string().contains("deploy it again"), "{refused}");
    // Deployed again it begins with the oldest message.
    host.world.bus.add("in", &[message("A-1", 1)]).await;
    host.until(|status| status.handled == 1).await;
    host.supervisor.remove(Kind::Projection, &name()).await.unwrap();
    host.supervisor.deploy(deploy(&host)).await.unwrap();
    host.until(|status| status.handled == 1).await;
    assert_eq!(host.documents().await["A-1"], "[1]");
    host.supervisor.shutdown().await;

    let start = async |world: &World| {
        let hosts = Arc::new(memory::Hosts::new());
        world.join("alone", hosts, Duration::from_secs(60), world.routes.clone()).await.err().unwrap()
    };
    let gone = start(&World { routes: Vec::new(), ..host.world.clone() }).await;
    assert!(
        matches!(&gone, Refusal::RouteGone { .. }) && gone.to_string().contains("projection = \"noted\""),
        "{gone}"
    );
    let other = World::fed(Arc::default());
    let supervisor = World { routes: Vec::new(), ..other.clone() }.supervise().await;
    other.library.add(adding());
    supervisor.deploy(deploy(&host)).await.unwrap();
    supervisor.shutdown().await;
    let reads_log = start(&other).await;
    assert!(matches!(reads_log, Refusal::ReadsLog { .. }), "{reads_log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_goes_on_where_the_first_one_was() {
    let world = World::fed(Arc::default());
    let hosts = Arc::new(memory::Hosts::new());
    let lease = Duration::from_millis(500);
    let first = world.join("first", hosts.clone(), lease, world.routes.clone()).await.unwrap();
    let deploy = deployment(Kind::Projection, world.library.add(adding()), &FailurePolicy::default());
    first.deploy(deploy).await.unwrap();
    let second = world.join("second", hosts, lease, world.routes.clone()).await.unwrap();
    let messages: Vec<_> = (0..60).map(|n| message(&format!("A-{}", n % 5), n)).collect();
    world.bus.add("in", &messages[..30]).await;
    bounded(first.wait(Kind::Projection, &name(), Position(10))).await.unwrap();
    first.shutdown().await;
    world.bus.add("in", &messages[30..]).await;
    bounded(async {
        while second.wait(Kind::Projection, &name(), Position(60)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let read_model = second.read_model(Kind::Projection, &name(), Some("counts")).await.unwrap();
    assert_eq!(documents(&*read_model).await, fold(&messages));
    second.shutdown().await;
}

/// A stranger in the group, who takes partitions away for a moment.
async fn disturb(world: &World, random: u8) {
    let wanted = Subscription { keeper: Keeper::Caller, ..subscription("in", "group") };
    let mut stranger = world.bus.inner().consume(&wanted).await.unwrap();
    for _ in 0..random {
        let next = tokio::time::timeout(Duration::from_millis(2), stranger.next(5)).await;
        if let Ok(Ok(Arrival::Assigned(partitions))) = next {
            let places: Vec<_> = partitions.into_iter().map(|partition| (partition, None)).collect();
            stranger.resume(&places).await.unwrap();
        }
    }
    stranger.close().await.unwrap();
}

/// A host that dies at any commit while partitions come and go, until everything is applied.
fn live_and_die(seed: u64) -> usize {
    let world = World::fed(Faults::seeded(seed, 0));
    let mut random = fastrand::Rng::with_seed(seed);
    let module = world.library.add(adding());
    let messages: Vec<Message> = (0..240).map(|n| message(&format!("A-{}", random.u8(..6)), n)).collect();
    let (mut deaths, mut added, mut is_deployed) = (0, 0, false);
    loop {
        world.faults.died.send_replace(false);
        world.faults.writes_left.store(random.u64(1..10), Ordering::Relaxed);
        // Now and then a commit fails, or its answer is lost, without killing the host.
        world.faults.one_in.store(if random.bool() { 6 } else { 0 }, Ordering::Relaxed);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        let mut died = world.faults.died.subscribe();
        let is_done = runtime.block_on(async {
            let live = async {
                let supervisor = world.supervise().await;
                if !is_deployed {
                    let deploy = deployment(Kind::Projection, module, &FailurePolicy::default());
                    supervisor.deploy(deploy).await.unwrap();
                    is_deployed = true;
                }
                while added < messages.len() {
                    let until = (added + random.usize(1..16)).min(messages.len());
                    world.bus.add("in", &messages[added..until]).await;
                    added = until;
                    match random.u8(..4) {
                        0 => disturb(&world, random.u8(1..6)).await,
                        _ => tokio::time::sleep(Duration::from_millis(1)).await,
                    }
                }
                supervisor.wait(Kind::Projection, &name(), Position(messages.len() as u64)).await.unwrap();
                supervisor.shutdown().await;
            };
            tokio::select! {
                biased;
                _ = died.wait_for(|died| *died) => false,
                () = bounded(live) => true,
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(60));
        if is_done {
            break;
        }
        deaths += 1;
    }
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    runtime.block_on(async {
        let supervisor = world.supervise().await;
        let read_model = supervisor.read_model(Kind::Projection, &name(), Some("counts")).await.unwrap();
        assert_eq!(documents(&*read_model).await, fold(&messages), "seed {seed}");
        supervisor.shutdown().await;
    });
    deaths
}

#[test]
fn a_host_that_dies_while_partitions_move_applies_everything_once() {
    assert!((0..12).map(live_and_die).sum::<usize>() > 12, "no host died");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_runs_on_the_hosts_only_that_have_its_route() {
    let (world, hosts) = (World::fed(Arc::default()), registry());
    let a = Member::join_with(&world, &hosts, "a", world.routes.clone()).await;
    let module = world.library.add(adding());
    // The last of the names is the first that would go to another host.
    for name in ["first", "last", name().as_str()] {
        a.deploy(named(name, Kind::Projection, module)).await;
    }
    let b = Member::join_with(&world, &hosts, "b", Vec::new()).await;
    crate::hosts::until(|| b.runs() == ["last".parse().unwrap()]).await;
    assert!(a.runs().contains(&name()));
    let c = Member::join_with(&world, &hosts, "c", world.routes.clone()).await;
    a.kill();
    crate::hosts::until(|| c.runs().contains(&name())).await;
    assert!(!b.runs().contains(&name()));
}

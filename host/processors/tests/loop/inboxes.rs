//! Inboxes: every message is in the log once, in the order of its stream, whatever fails on the way; what is no event is
//! kept until somebody decides.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use lantern_core::{EventType, Message, Metadata, NewEvent, State};
use lantern_processors::{DeadLetter, Refusal};
use tokio::runtime::Builder;

use crate::{
    bus::{BROKEN, MENDING},
    host::{Faults, World, bounded, name, noted},
    routes::{consume, first_ids, ids, route, until},
};

fn message(stream: &str, event: NewEvent) -> Message {
    Message { stream: stream.parse().unwrap(), event }
}

fn broken(data: &str) -> Message {
    message("A-1", NewEvent { event_type: EventType::new(BROKEN).unwrap(), ..noted(data) })
}

/// Waits until the log has so many events.
async fn grown(world: &World, events: u64) {
    let mut head = world.log.head();
    bounded(head.wait_for(|head| head.0 >= events)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_again_is_in_the_log_once() {
    let world = World::new(Arc::default());
    let routes = world.consuming(consume()).await;
    let metadata = Metadata { source: Some("/shop".into()), tenant: Some("here".into()), ..Metadata::default() };
    let first = message("A-1", NewEvent { metadata, ..noted("1") });
    let second = message("A-1", noted("2"));
    world.bus.add("in", &[first.clone(), first.clone(), second.clone(), first.clone()]).await;
    until(&routes, |status| status.messages == 4).await;
    let events = world.events().await;
    assert_eq!(events.iter().map(|event| event.id).collect::<Vec<_>>(), [first.event.id, second.event.id]);
    assert_eq!((&events[0].metadata, &events[0].data), (&first.event.metadata, &first.event.data));
    let status = until(&routes, |status| status.state == State::Live).await;
    assert_eq!((status.dead_letters, status.last_error), (0, None));
    routes.shutdown().await;
    assert_eq!(world.bus.unsettled("in", "group").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_another_source_has_used_loses_nothing() {
    let world = World::new(Arc::default());
    let routes = world.consuming(consume()).await;
    let of = |source: &str, data: &str| {
        let metadata = Metadata { source: Some(source.into()), ..Metadata::default() };
        message("A-1", NewEvent { id: uuid::Uuid::from_u128(7), metadata, ..noted(data) })
    };
    let messages = [of("/a", "1"), of("/b", "2"), of("/a", "1"), of("/b", "2"), of("/b", "3"), of("/b", "3")];
    // Together, and again one by one.
    world.bus.add("in", &messages).await;
    for message in &messages {
        world.bus.add("in", std::slice::from_ref(message)).await;
    }
    until(&routes, |status| status.messages == 12).await;
    let events = world.events().await;
    let data: Vec<_> = events.iter().map(|event| event.data.as_bytes()).collect();
    assert_eq!(data, [b"1", b"2", b"3"]);
    assert_eq!(events[0].id, uuid::Uuid::from_u128(7));
    assert_eq!(events[1].id, uuid::Uuid::new_v5(&uuid::Uuid::from_u128(7), b"/b"));
    routes.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_is_kept_and_tried_again() {
    let world = World::new(Arc::default());
    let routes = world.consuming(consume()).await;
    world.bus.add("in", &[message("A-1", noted("1")), broken("7"), message("A-1", noted("2")), broken("8")]).await;
    until(&routes, |status| status.dead_letters == 2).await;
    grown(&world, 2).await;
    let dead = routes.dead_letters(&route(), None, 10).await.unwrap();
    let [DeadLetter::Message(first), DeadLetter::Message(second)] = dead.as_slice() else { panic!("{dead:?}") };
    assert_eq!(
        (first.reason.as_str(), &first.body[..], first.key.as_deref()),
        ("no event", &b"7"[..], Some(&b"key"[..]))
    );
    assert_eq!(first.headers[0].name, "id");
    assert_eq!(routes.dead_letter(&route(), &first.id).await.unwrap(), dead[0]);
    let after = routes.dead_letters(&route(), Some(&first.id), 10).await.unwrap();
    assert_eq!(after, dead[1..]);

    // It is as it was; then it is read as something else.
    let retried = routes.retry(&route(), Some(&first.id), None).await.unwrap();
    assert_eq!((retried.handled, retried.remaining), (0, 2));
    let DeadLetter::Message(tried) = routes.dead_letter(&route(), &first.id).await.unwrap() else { panic!() };
    assert_eq!((tried.retries, tried.reason.as_str(), &tried.body[..]), (1, "still no event", &b"7"[..]));
    let retried = routes.retry(&route(), Some(&first.id), Some(MENDING)).await.unwrap();
    assert_eq!((retried.handled, retried.remaining), (1, 1));
    assert_eq!(world.events().await[2].data.as_bytes(), b"7");
    routes.discard(&route(), &second.id).await.unwrap();
    assert!(matches!(routes.discard(&route(), &second.id).await, Err(Refusal::NoDeadLetter { .. })));
    assert_eq!(routes.status(&route()).await.unwrap().dead_letters, 0);
    routes.shutdown().await;
    assert_eq!(world.bus.unsettled("in", "group").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_is_away_at_the_start_is_waited_for() {
    let world = World::new(Arc::default());
    world.bus.is_away.store(true, Ordering::SeqCst);
    let routes = world.consuming(consume()).await;
    let status = until(&routes, |status| status.state == State::Error).await;
    assert!(status.last_error.unwrap().message.contains("could not be reached"));
    world.bus.is_away.store(false, Ordering::SeqCst);
    world.bus.add("in", &[message("A-1", noted("1"))]).await;
    grown(&world, 1).await;
    until(&routes, |status| status.state == State::Live && status.last_error.is_none()).await;
    routes.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_is_slow_to_say_what_waits_is_read_all_the_same() {
    let world = World::new(Arc::default());
    // Longer than from one question to the next.
    world.bus.pondering.store(5_000, Ordering::SeqCst);
    let routes = world.consuming(consume()).await;
    for count in 1..=3 {
        world.bus.add("in", &[message("A-1", noted("1"))]).await;
        grown(&world, count).await;
    }
    routes.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_inbox_leaves_the_group_and_comes_back() {
    let world = World::new(Arc::default());
    let routes = world.consuming(consume()).await;
    assert_eq!(bounded(routes.pause(&route())).await.unwrap().state, State::Paused);
    world.bus.add("in", &[message("A-1", noted("1"))]).await;
    assert_eq!(*world.log.head().borrow(), lantern_core::Position::START);
    bounded(routes.resume(&route())).await.unwrap();
    grown(&world, 1).await;
    routes.shutdown().await;
    assert!(matches!(routes.status(&name()).await, Err(Refusal::UnknownRoute(_))));
}

/// A host that dies at any write, of the log or of what it settles, until everything is taken in.
fn live_and_die(seed: u64) -> usize {
    let world = World::new(Faults::seeded(seed, 4));
    let mut random = fastrand::Rng::with_seed(seed);
    let messages: Vec<Message> =
        (0..200).map(|n: u32| message(&format!("A-{}", random.u8(..4)), noted(&n.to_string()))).collect();
    let mut deaths = 0;
    let mut added = 0;
    loop {
        world.faults.died.send_replace(false);
        world.faults.writes_left.store(random.u64(1..12), Ordering::Relaxed);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        let mut died = world.faults.died.subscribe();
        let is_done = runtime.block_on(async {
            let live = async {
                let routes = world.consuming(consume()).await;
                while added < messages.len() {
                    let until = (added + random.usize(1..9)).min(messages.len());
                    world.bus.add("in", &messages[added..until]).await;
                    added = until;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                grown(&world, messages.len() as u64).await;
                routes.shutdown().await;
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
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let events = runtime.block_on(world.events());
    assert_eq!(ids(&events), first_ids(&messages), "seed {seed}");
    deaths
}

#[test]
fn a_host_that_dies_takes_in_everything_once_and_in_the_order_of_each_stream() {
    assert!((0..8).map(live_and_die).sum::<usize>() > 0, "no host died");
}

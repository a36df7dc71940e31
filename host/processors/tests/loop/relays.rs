//! Relays: every event reaches the bus at least once, in the order of its stream, whatever fails on the way.

use std::sync::{Arc, atomic::Ordering};

use lantern_core::{
    Effect, Effects, Emission, Event, Kind, Metadata, Name, NewEvent, Position, Publication, Published, State,
    effect_id, parked::Standing,
};
use lantern_processors::{DeadLetter, Publish, Refusal, Routes, Start};
use tokio::runtime::Builder;

use crate::{
    bus::destination,
    host::{Faults, Host, World, bounded, name, noted},
    modules::{Closure, told},
    routes::{first_ids, ids, publish, route, until},
};

/// Waits until everything in the log is published.
async fn published(world: &World, routes: &Routes) {
    let head = *world.log.head().borrow();
    until(routes, |status| status.position >= Some(head)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_published_as_it_is_in_the_log() {
    let world = World::new(Arc::default());
    let routes = world.publishing(publish()).await;
    let metadata = Metadata {
        source: Some("/elsewhere".into()),
        correlation_id: Some("request".into()),
        trace: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap()),
        ..Metadata::default()
    };
    let event = NewEvent { metadata, ..noted("{\"a\":1}") };
    world.append("A-1", event.clone()).await;
    let messages = bounded(world.bus.messages("out", 1)).await;
    assert_eq!((messages[0].stream.as_str(), &messages[0].event), ("A-1", &event));
    let status = until(&routes, |status| status.messages == 1).await;
    assert_eq!((status.lag, status.state), (0, State::Live));
    routes.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_takes_what_it_is_made_for_from_where_it_begins() {
    let world = World::new(Arc::default());
    world.append("A-1", noted("1")).await;
    let wanted = Publish { categories: ["A".to_owned()].into(), start: Start::End, ..publish() };
    let routes = world.publishing(wanted.clone()).await;
    world.append("B-1", noted("2")).await;
    world.append("A-1", noted("3")).await;
    published(&world, &routes).await;
    routes.shutdown().await;
    // Where it begins counts for the first start only.
    world.append("A-1", noted("4")).await;
    let routes = world.publishing(wanted).await;
    published(&world, &routes).await;
    let data: Vec<_> = bounded(world.bus.messages("out", 2)).await;
    let data: Vec<_> = data.iter().map(|message| message.event.data.as_bytes()).collect();
    assert_eq!(data, [b"3", b"4"]);
    assert_eq!(routes.status(&route()).await.unwrap().messages, 1);
    routes.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_waited_for_and_its_lag_is_seen() {
    let world = World::new(Arc::default());
    world.bus.is_away.store(true, Ordering::SeqCst);
    let routes = world.publishing(publish()).await;
    for _ in 0..10 {
        world.append("A-1", noted("1")).await;
    }
    let status = until(&routes, |status| status.last_error.is_some()).await;
    assert_eq!((status.lag, status.state, status.position), (10, State::Error, Some(Position::START)));
    assert!(status.last_error.unwrap().message.contains("could not be reached"));
    assert_eq!(status.oldest_waiting, Some(lantern_core::Timestamp(0)));
    world.bus.is_away.store(false, Ordering::SeqCst);
    let status = until(&routes, |status| status.lag == 0).await;
    assert_eq!((status.last_error, status.oldest_waiting), (None, None));
    routes.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_parked_with_its_stream_and_goes_out_when_it_fits() {
    let world = World::new(Arc::default());
    world.bus.largest.store(10, Ordering::SeqCst);
    let routes = world.publishing(publish()).await;
    world.append("A-1", noted("1")).await;
    let large = world.append("A-1", noted("\"far too large\"")).await;
    world.append("B-1", noted("2")).await;
    world.append("A-1", noted("3")).await;
    published(&world, &routes).await;
    let status = until(&routes, |status| status.dead_letters == 2).await;
    assert_eq!((status.lag, status.state), (0, State::Live));
    let dead = routes.dead_letters(&route(), None, 10).await.unwrap();
    let [DeadLetter::Event(first), DeadLetter::Event(behind)] = dead.as_slice() else { panic!("{dead:?}") };
    assert_eq!((first.position, first.standing, behind.standing), (large, Standing::Failed, Standing::Behind));
    assert!(first.error.contains("15 bytes"), "{}", first.error);
    assert!(matches!(routes.discard(&route(), "99").await, Err(Refusal::NoDeadLetter { .. })));

    world.bus.largest.store(100, Ordering::SeqCst);
    let retried = bounded(routes.retry(&route(), None, None)).await.unwrap();
    assert_eq!((retried.handled, retried.remaining), (2, 0));
    let messages = bounded(world.bus.messages("out", 4)).await;
    assert_eq!(first_ids(&messages), ids(&world.events().await));
    routes.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_lets_its_stream_go_on() {
    let world = World::new(Arc::default());
    world.bus.largest.store(10, Ordering::SeqCst);
    let routes = world.publishing(publish()).await;
    let large = world.append("A-1", noted("\"far too large\"")).await;
    world.append("A-1", noted("1")).await;
    until(&routes, |status| status.dead_letters == 2).await;
    routes.discard(&route(), &large.to_string()).await.unwrap();
    let retried = bounded(routes.retry(&route(), None, None)).await.unwrap();
    assert_eq!((retried.handled, retried.remaining), (1, 0));
    assert_eq!(bounded(world.bus.messages("out", 1)).await[0].event.data.as_bytes(), b"1");
    routes.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_rests_while_it_is_paused() {
    let world = World::new(Arc::default());
    let routes = world.publishing(publish()).await;
    world.append("A-1", noted("1")).await;
    published(&world, &routes).await;
    assert_eq!(routes.pause(&route()).await.unwrap().state, State::Paused);
    world.append("A-1", noted("2")).await;
    assert_eq!(routes.status(&route()).await.unwrap().lag, 1);
    routes.resume(&route()).await.unwrap();
    published(&world, &routes).await;
    assert!(matches!(routes.pause(&name()).await, Err(Refusal::UnknownRoute(_))));
    routes.shutdown().await;
}

/// A host that dies at any write, of the read model or of a message, until everything is published.
fn live_and_die(seed: u64) -> usize {
    let world = World::new(Faults::seeded(seed, 400));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut deaths = 0;
    let left = 200;
    let mut written = 0;
    loop {
        world.faults.died.send_replace(false);
        world.faults.writes_left.store(random.u64(1..500), Ordering::Relaxed);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        let mut died = world.faults.died.subscribe();
        let is_done = runtime.block_on(async {
            let live = async {
                let routes = world.publishing(publish()).await;
                while written < left {
                    written += 1;
                    world.append(&format!("A-{}", random.u8(..4)), noted(&written.to_string())).await;
                    tokio::task::yield_now().await;
                }
                published(&world, &routes).await;
                // What is published is acknowledged, and nothing is under way any more.
                routes.shutdown().await;
            };
            tokio::select! {
                biased;
                _ = died.wait_for(|died| *died) => false,
                () = bounded(live) => true,
            }
        });
        runtime.shutdown_timeout(std::time::Duration::from_secs(60));
        if is_done {
            break;
        }
        deaths += 1;
    }
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let messages = world.bus.messages("out", written).await;
        // Those that came again may still be waiting.
        let all = ids(&world.events().await);
        let mut seen = messages;
        while first_ids(&seen) != all {
            let more = bounded(world.bus.messages("out", 1)).await;
            seen.extend(more);
        }
    });
    deaths
}

#[test]
fn a_host_that_dies_publishes_everything_in_the_order_of_each_stream() {
    assert!((0..8).map(live_and_die).sum::<usize>() > 0, "no host died");
}

/// Publishes twice for each event of category `A`, and emits once.
fn announcing() -> Closure {
    let publication = |emission: Emission| Publication {
        bus: Name::new("main").unwrap(),
        destination: destination("told"),
        content: Published::Draft(emission),
    };
    Closure::new("announcing", move |event: &Event, _| {
        let data = format!("{}", event.position);
        let published = vec![publication(told("Told-1", data.clone())), publication(told("Told-2", data.clone()))];
        Ok(Effects { published, emitted: vec![told("B-1", data)], ..Effects::default() })
    })
    .wanting("A")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_publishes_has_ids_that_derive_and_says_where_it_comes_from() {
    let host = Host::of_handler().await;
    host.deploy(announcing()).await;
    host.append("A-1", "1").await;
    let source = host.world.events().await.remove(0);
    let messages = bounded(host.world.bus.messages("told", 2)).await;
    for (index, message) in messages.iter().enumerate() {
        let metadata = &message.event.metadata;
        assert_eq!(message.event.id, effect_id(&name(), source.id, Effect::Published, index));
        assert_eq!(metadata.causation_id.as_deref(), Some(source.id.to_string().as_str()));
        assert_eq!(metadata.source.as_deref(), Some("/handlers/noted"));
    }
    let streams: Vec<_> = messages.iter().map(|message| message.stream.as_str()).collect();
    assert_eq!(streams, ["Told-1", "Told-2"]);
    let status = host.until(|status| status.published == 2).await;
    assert_eq!(status.emitted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_waits_for_a_bus_that_is_away_and_parks_what_is_too_large() {
    let host = Host::of_handler().await;
    host.world.bus.is_away.store(true, Ordering::SeqCst);
    host.world.bus.largest.store(0, Ordering::SeqCst);
    host.deploy(announcing()).await;
    host.append("A-1", "1").await;
    host.until(|status| status.last_error.is_some()).await;
    host.world.bus.is_away.store(false, Ordering::SeqCst);
    host.until(|status| status.parked_events == 1).await;
    host.world.bus.largest.store(100, Ordering::SeqCst);
    let all = lantern_processors::Selection::All;
    let retried = bounded(host.supervisor.retry(Kind::Handler, &name(), all)).await.unwrap();
    assert_eq!((retried.handled, retried.remaining), (1, 0));
    assert_eq!(bounded(host.world.bus.messages("told", 2)).await.len(), 2);
}

//! Routes on several hosts: each runs on one of those that have it, moves when its host dies or leaves, and rests where it
//! was paused.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use lantern_core::{Happening, Message, Name, State};
use lantern_processors::{Configured, Consume, Place, Publish, Refusal, RouteStatus};

use crate::{
    bus::{destination, subscription},
    host::{World, bounded, noted},
    hosts::{Member, registry, until},
    routes::{consume, first_ids, ids, publish, route},
};

/// Routes that publish to topics of their own names.
fn published(names: &[&str]) -> Vec<Configured> {
    let publish = |name: &&str| Publish { name: name.parse().unwrap(), destination: destination(name), ..publish() };
    names.iter().map(publish).map(Configured::Publish).collect()
}

/// The routes that a host runs.
fn runs(member: &Member) -> BTreeSet<String> {
    member.supervisor.routes().glance().iter().map(|status| status.name.to_string()).collect()
}

async fn append(world: &World, events: usize) {
    for n in 0..events {
        world.append(&format!("A-{}", n % 3), noted("1")).await;
    }
}

/// Waits until a route is as wished on the host that runs it.
async fn routed(member: &Member, name: &Name, wished: impl Fn(&RouteStatus) -> bool) -> RouteStatus {
    bounded(async {
        loop {
            match member.supervisor.routes().status(name).await {
                Ok(status) if wished(&status) => return status,
                _ => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_spread_and_move_on_when_a_host_dies_or_leaves() {
    let (world, hosts) = (World::new(Arc::default()), registry());
    let names = ["out-1", "out-2", "out-3", "out-4"];
    let a = Member::join_with(&world, &hosts, "a", published(&names)).await;
    assert_eq!(runs(&a).len(), 4, "one host runs them all, and at once");
    append(&world, 30).await;
    let b = Member::join_with(&world, &hosts, "b", published(&names)).await;
    until(|| (runs(&a).len(), runs(&b).len()) == (2, 2)).await;
    assert!(runs(&a).is_disjoint(&runs(&b)));
    append(&world, 30).await;
    let c = Member::join_with(&world, &hosts, "c", published(&names)).await;
    until(|| runs(&a).len() + runs(&b).len() == 3 && runs(&c).len() == 1).await;
    a.kill();
    append(&world, 30).await;
    until(|| (runs(&b).len(), runs(&c).len()) == (2, 2)).await;
    b.with(|supervisor| async move { supervisor.shutdown().await }).await;
    append(&world, 30).await;
    until(|| runs(&c).len() == 4).await;
    let (head, all) = (*world.log.head().borrow(), ids(&world.events().await));
    for name in names {
        routed(&c, &name.parse().unwrap(), |status| status.position == Some(head)).await;
        assert_eq!(first_ids(&bounded(world.bus.messages(name, 120)).await), all, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moves_in_good_order_is_published_once() {
    let (world, hosts) = (World::new(Arc::default()), registry());
    let mut member = Member::join_with(&world, &hosts, "first", published(&["route"])).await;
    for _ in 0..5 {
        append(&world, 20).await;
        let next = Member::join_with(&world, &hosts, "next", published(&["route"])).await;
        member.with(|supervisor| async move { supervisor.shutdown().await }).await;
        until(|| runs(&next).len() == 1).await;
        member = next;
    }
    let head = *world.log.head().borrow();
    routed(&member, &route(), |status| status.position == Some(head)).await;
    assert_eq!(world.bus.unsettled("route", "counting").await, 100, "none came twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_runs_on_the_hosts_only_that_have_it() {
    let (world, hosts) = (World::new(Arc::default()), registry());
    let a = Member::join_with(&world, &hosts, "a", published(&["one", "two"])).await;
    let b = Member::join_with(&world, &hosts, "b", published(&["two", "three"])).await;
    let c = Member::join_with(&world, &hosts, "c", Vec::new()).await;
    let three = BTreeSet::from(["one", "two", "three"].map(str::to_owned));
    until(|| &runs(&a) | &runs(&b) == three && runs(&a).is_disjoint(&runs(&b))).await;
    assert!(runs(&a).contains("one") && runs(&b).contains("three") && runs(&c).is_empty());

    // It is known where they are.
    let (one, routes) = ("one".parse().unwrap(), c.supervisor.routes());
    until(|| matches!(routes.place(&one), Ok(Place::At(owner)) if owner.name == "a")).await;
    let refused = routes.status(&one).await.unwrap_err().to_string();
    assert_eq!(refused, "route `one` is run by host `a`: try again in a moment");
    assert_eq!(routes.names().len(), 3);
    assert!(matches!(routes.pause(&"four".parse().unwrap()).await, Err(Refusal::UnknownRoute(_))));
    a.kill();
    until(|| runs(&b) == BTreeSet::from(["two", "three"].map(str::to_owned))).await;
    until(|| routes.place(&one) == Err(Refusal::UnknownRoute(one.clone()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_route_stays_paused_wherever_it_goes() {
    let (world, hosts) = (World::new(Arc::default()), registry());
    let both = || {
        let name: Name = "in".parse().unwrap();
        let inbox = Consume { name, subscription: subscription("in", "group"), ..consume() };
        published(&["route"]).into_iter().chain([Configured::Consume(inbox)]).collect::<Vec<_>>()
    };
    let a = Member::join_with(&world, &hosts, "a", both()).await;
    let names = [route(), "in".parse().unwrap()];
    for name in &names {
        let routes = a.supervisor.routes();
        assert_eq!(bounded(routes.pause(name)).await.unwrap().state, State::Paused);
    }
    let told = world.journal.entries().await.unwrap();
    let told: Vec<_> = told.iter().map(|entry| (entry.subject.name.as_str(), &entry.happening)).collect();
    assert_eq!(told, [("publish.route", &Happening::Paused), ("consume.in", &Happening::Paused)]);
    append(&world, 5).await;
    a.kill();
    let b = Member::join_with(&world, &hosts, "b", both()).await;
    for name in &names {
        routed(&b, name, |status| status.state == State::Paused).await;
        // As another host would tell it.
        assert_eq!(b.supervisor.routes().recall(name).await.unwrap().state, State::Paused);
    }
    let recalled = b.supervisor.routes().recall(&route()).await.unwrap();
    assert_eq!((recalled.lag, recalled.host.as_deref()), (5, Some("b")));
    for name in &names {
        let (routes, name) = (b.supervisor.routes(), name.clone());
        b.with(|_| async move { routes.resume(&name).await.unwrap() }).await;
    }
    bounded(world.bus.messages("route", 5)).await;
    b.with(|supervisor| async move { supervisor.shutdown().await }).await;
    let c = Member::join_with(&world, &hosts, "c", both()).await;
    for name in &names {
        routed(&c, name, |status| status.state == State::Live).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_is_on_one_host_and_takes_everything_in_once() {
    let (world, hosts) = (World::new(Arc::default()), registry());
    let inbox = || vec![Configured::Consume(consume())];
    let a = Member::join_with(&world, &hosts, "a", inbox()).await;
    let b = Member::join_with(&world, &hosts, "b", inbox()).await;
    let message = |n: u32| Message { stream: format!("A-{}", n % 3).parse().unwrap(), event: noted(&n.to_string()) };
    let messages: Vec<_> = (0..60).map(message).collect();
    world.bus.add("in", &messages[..20]).await;
    routed(&a, &route(), |status| status.messages == 20).await;
    assert!(runs(&b).is_empty(), "nothing moves while its host lives");
    world.bus.add("in", &messages[20..40]).await;
    a.kill();
    world.bus.add("in", &messages[40..]).await;
    until(|| runs(&b).len() == 1).await;
    let mut head = world.log.head();
    bounded(head.wait_for(|head| head.0 >= 60)).await.unwrap();
    routed(&b, &route(), |status| status.state == State::Live && status.lag == 0).await;
    assert_eq!(ids(&world.events().await), first_ids(&messages));
}

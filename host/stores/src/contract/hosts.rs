//! The registry of hosts: leases are exclusive, end by themselves, and count their owners.

use std::time::Duration;

use lantern_core::{
    Hosts, Identity, Name, Timestamp,
    hosts::{Beat, Leased, Roll},
};
use uuid::Uuid;

/// A lease that does not end during a test.
const LONG: Duration = Duration::from_secs(600);

/// A lease that ends soon.
const SHORT: Duration = Duration::from_millis(100);

fn identity(name: &str) -> Identity {
    Identity {
        id: Uuid::new_v4(),
        name: name.into(),
        address: format!("http://{name}.example:7171"),
        started_at: Timestamp(1_700_000_000_123_456_789),
    }
}

fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

async fn beat(hosts: &dyn Hosts, host: &Identity, lease: Duration, release: &[&str], take: &[&str]) -> Roll {
    let (release, take) = (names(release), names(take));
    hosts.beat(&Beat { host, lease, able: &[], release: &release, take: &take }).await.unwrap()
}

/// What a host has: units with their epochs.
fn held(roll: &Roll, host: &Identity) -> Vec<(String, u64)> {
    let own = roll.leases.iter().filter(|lease| lease.host == host.id && !lease.is_over);
    own.map(|Leased { unit, epoch, .. }| (unit.to_string(), *epoch)).collect()
}

fn units(units: &[(&str, u64)]) -> Vec<(String, u64)> {
    units.iter().map(|(unit, epoch)| ((*unit).to_owned(), *epoch)).collect()
}

pub(super) async fn hosts_are_seen_until_they_leave(hosts: &dyn Hosts) {
    assert_eq!(hosts.roll().await, Ok(Roll::default()));
    let (a, b) = (identity("a"), identity("b"));
    beat(hosts, &a, LONG, &[], &[]).await;
    let roll = beat(hosts, &b, LONG, &[], &["orders"]).await;
    let seen: Vec<_> = roll.hosts.iter().map(|seen| (seen.identity.clone(), seen.is_live)).collect();
    assert_eq!(seen, [(a.clone(), true), (b.clone(), true)], "all of what a host says of itself, in order of arrival");
    assert!(roll.hosts.iter().all(|seen| seen.seen_at > Timestamp(0)));
    assert_eq!(hosts.roll().await.map(|roll| held(&roll, &b)), Ok(units(&[("orders", 1)])));
    hosts.leave(b.id).await.unwrap();
    let roll = hosts.roll().await.unwrap();
    assert_eq!((roll.hosts.len(), roll.leases.len()), (1, 0), "it is gone with its leases");
    assert!(roll.host(a.id).is_some());
}

pub(super) async fn a_host_says_what_it_can_run(hosts: &dyn Hosts) {
    let (a, b) = (identity("a"), identity("b"));
    let routes: Vec<_> = names(&["in", "out"]).iter().map(|name| Name::reserved("publish", name)).collect();
    let beat = Beat { host: &a, lease: LONG, able: &routes, release: &[], take: &routes[..1] };
    hosts.beat(&beat).await.unwrap();
    hosts.beat(&Beat { host: &b, able: &[], take: &routes[1..], ..beat.clone() }).await.unwrap();
    let able = |roll: &Roll, host: &Identity| roll.host(host.id).unwrap().able.clone();
    let roll = hosts.roll().await.unwrap();
    assert_eq!((able(&roll, &a), able(&roll, &b)), (routes.clone(), vec![]));
    assert_eq!(held(&roll, &a), units(&[("publish.in", 1)]), "a unit may have a reserved name");
    assert_eq!(held(&roll, &b), units(&[("publish.out", 1)]), "who may take what is not the registry's to say");
    let roll = hosts.beat(&Beat { able: &routes[..1], take: &[], ..beat }).await.unwrap();
    assert_eq!(able(&roll, &a), routes[..1], "what was said last counts");
}

pub(super) async fn a_lease_is_one_hosts_alone(hosts: &dyn Hosts) {
    let (a, b) = (identity("a"), identity("b"));
    let roll = beat(hosts, &a, LONG, &[], &["orders", "bills"]).await;
    assert_eq!(held(&roll, &a), units(&[("bills", 1), ("orders", 1)]));
    let roll = beat(hosts, &b, LONG, &["orders"], &["orders", "stock"]).await;
    assert_eq!(held(&roll, &b), units(&[("stock", 1)]), "what is another's is neither released nor taken");
    assert_eq!(held(&roll, &a), units(&[("bills", 1), ("orders", 1)]));
    assert_eq!(roll.owner(&"orders".parse().unwrap()).map(|owner| &owner.identity), Some(&a));
}

pub(super) async fn what_is_given_back_is_free_and_counts_its_owners(hosts: &dyn Hosts) {
    let (a, b) = (identity("a"), identity("b"));
    beat(hosts, &a, LONG, &[], &["orders"]).await;
    let roll = beat(hosts, &a, LONG, &[], &["orders"]).await;
    assert_eq!(held(&roll, &a), units(&[("orders", 1)]), "taken again by its owner, it stays as it is");
    let roll = beat(hosts, &a, LONG, &["orders"], &[]).await;
    assert_eq!(held(&roll, &a), units(&[]));
    let roll = beat(hosts, &b, LONG, &[], &["orders"]).await;
    assert_eq!(held(&roll, &b), units(&[("orders", 2)]));
    hosts.leave(b.id).await.unwrap();
    let roll = beat(hosts, &a, LONG, &[], &["orders"]).await;
    assert_eq!(held(&roll, &a), units(&[("orders", 3)]));
}

pub(super) async fn a_lease_whose_time_is_over_can_be_taken(hosts: &dyn Hosts) {
    let (a, b) = (identity("a"), identity("b"));
    beat(hosts, &a, SHORT, &[], &["orders"]).await;
    let roll = loop {
        let roll = beat(hosts, &b, LONG, &[], &["orders"]).await;
        if !held(&roll, &b).is_empty() {
            break roll;
        }
        tokio::time::sleep(SHORT / 10).await;
    };
    assert_eq!(held(&roll, &b), units(&[("orders", 2)]));
    assert_eq!(roll.host(a.id).map(|seen| seen.is_live), Some(false), "who is not heard of is dead");
    let roll = beat(hosts, &a, LONG, &[], &["orders"]).await;
    assert_eq!(held(&roll, &a), units(&[]), "it comes back without what it had");
    assert_eq!(roll.host(a.id).map(|seen| seen.is_live), Some(true));
}

pub(super) async fn a_beat_renews_what_a_host_has(hosts: &dyn Hosts) {
    let (a, b) = (identity("a"), identity("b"));
    beat(hosts, &a, SHORT, &[], &["orders"]).await;
    // Over or not by now: nobody else has taken it.
    let roll = beat(hosts, &a, LONG, &[], &[]).await;
    assert_eq!(held(&roll, &a), units(&[("orders", 1)]));
    let began = tokio::time::Instant::now();
    while began.elapsed() < 2 * SHORT {
        let roll = beat(hosts, &b, LONG, &[], &["orders"]).await;
        assert_eq!(held(&roll, &b), units(&[]));
        tokio::time::sleep(SHORT / 4).await;
    }
}

//! The hosts and the modules they share.

use bytes::Bytes;
use lantern_core::{
    Digest, Hosts as _, Identity, Name, Shelf as _, Timestamp,
    hosts::Beat,
    module::{Described, Description, Kept},
};
use sqlx::{Connection, raw_sql};
use tokio::time::{Duration, timeout};
use uuid::Uuid;

use super::{Schema, Schemas};
use crate::{
    contract,
    postgres::{Hosts, Shelf},
};

#[tokio::test]
async fn the_hosts_keep_the_contract() {
    let schemas = Schemas::default();
    contract::hosts(async || Hosts::open(&schemas.open().await)).await;
}

#[tokio::test]
async fn hosts_that_beat_at_once_take_each_unit_once() {
    let schema = Schema::new();
    let units: Vec<Name> = (0..20).map(|n| format!("unit-{n}").parse().unwrap()).collect();
    let mut beating = tokio::task::JoinSet::new();
    for n in 0..6 {
        let (database, units) = (schema.open().await, units.clone());
        beating.spawn(async move {
            let (name, address) = (format!("host-{n}"), format!("http://host-{n}.example"));
            let host = Identity { id: Uuid::new_v4(), name, address, started_at: Timestamp(n) };
            let lease = Duration::from_secs(600);
            let hosts = Hosts::open(&database);
            for _ in 0..10 {
                hosts.beat(&Beat { host: &host, lease, able: &[], release: &[], take: &units }).await.unwrap();
            }
            host.id
        });
    }
    let ids = beating.join_all().await;
    let roll = Hosts::open(&schema.open().await).roll().await.unwrap();
    assert_eq!((roll.hosts.len(), roll.leases.len()), (6, 20));
    assert!(roll.leases.iter().all(|lease| lease.epoch == 1 && ids.contains(&lease.host)), "{:?}", roll.leases);
}

#[tokio::test]
async fn a_transaction_that_is_left_alone_holds_nobody_up_for_long() {
    let schema = Schema::new();
    let database = schema.open().await;
    let hosts = Hosts::open(&database);
    // As a host does that is frozen in the middle of one.
    let mut frozen = database.pool().acquire().await.unwrap();
    raw_sql("begin; lock table lease in access exclusive mode").execute(&mut *frozen).await.unwrap();
    let waited = timeout(Duration::from_secs(60), hosts.roll()).await.expect("it waits for ever");
    assert_eq!(waited.unwrap().leases, []);
    frozen.close_on_drop();
    assert!(frozen.ping().await.is_err(), "the server has ended it");
}

#[tokio::test]
async fn what_one_host_pushed_is_on_the_shelf_of_all() {
    let schema = Schema::new();
    let (a, b) = (Shelf::open(&schema.open().await), Shelf::open(&schema.open().await));
    let bytes = Bytes::from_static(b"\0asm and more");
    let description = Description {
        name: "orders".into(),
        version: "1".into(),
        categories: vec!["Order".into()],
        event_types: Vec::new(),
        collections: vec!["orders".into()],
        schema_versions: [("OrderPlaced".to_owned(), 2)].into(),
        migrations: Vec::new(),
        has_tables: false,
    };
    let kept = Kept {
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
        pushed_at: Timestamp(1_700_000_000_123_456_789),
        description: Described::Projection(description),
        world: "projection".into(),
        imports: vec!["lantern:module/documents@0.1.0".into()],
        exports: vec!["handle".into()],
    };
    assert_eq!(b.record(kept.digest).await, Ok(None));
    a.put(&kept, &Bytes::from_static(b"damaged")).await.unwrap();
    a.put(&kept, &bytes).await.unwrap();
    assert_eq!(b.record(kept.digest).await, Ok(Some(kept.clone())));
    assert_eq!(b.records().await, Ok(vec![kept.clone()]));
    assert_eq!(b.bytes(kept.digest).await, Ok(Some(bytes)), "pushed again, it is whole");
    b.remove(kept.digest).await.unwrap();
    b.remove(kept.digest).await.unwrap();
    assert_eq!((a.records().await, a.bytes(kept.digest).await), (Ok(Vec::new()), Ok(None)));
}

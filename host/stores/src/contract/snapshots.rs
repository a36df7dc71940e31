//! Snapshots: at most one a stream, the latest.

use lantern_core::{Snapshot, Snapshots};

use super::samples::{module, snapshot, stream};

pub(super) async fn every_part_of_a_snapshot_is_kept(snapshots: &dyn Snapshots) {
    assert_eq!(snapshots.get(&stream("Order-1")).await, Ok(None));
    snapshots.put(snapshot("Order-1", 7)).await.unwrap();
    let empty = Snapshot { state: bytes::Bytes::new(), ..snapshot("Order-2", 1) };
    snapshots.put(empty.clone()).await.unwrap();
    assert_eq!(snapshots.get(&stream("Order-1")).await, Ok(Some(snapshot("Order-1", 7))));
    assert_eq!(snapshots.get(&stream("Order-2")).await, Ok(Some(empty)));
    assert_eq!(snapshots.get(&stream("Order-3")).await, Ok(None));
}

pub(super) async fn the_later_version_stays(snapshots: &dyn Snapshots) {
    let order = stream("Order-1");
    snapshots.put(snapshot("Order-1", 9)).await.unwrap();
    snapshots.put(snapshot("Order-1", 10)).await.unwrap();
    snapshots.put(snapshot("Order-1", 9)).await.unwrap();
    assert_eq!(snapshots.get(&order).await, Ok(Some(snapshot("Order-1", 10))));
    // Another module may write another state of the same version.
    let anew = Snapshot { module: module("second"), state: "anew".into(), ..snapshot("Order-1", 10) };
    snapshots.put(anew.clone()).await.unwrap();
    assert_eq!(snapshots.get(&order).await, Ok(Some(anew)));
}

pub(super) async fn a_deleted_snapshot_is_gone(snapshots: &dyn Snapshots) {
    let order = stream("Order-1");
    assert_eq!(snapshots.delete(&order).await, Ok(false));
    snapshots.put(snapshot("Order-1", 9)).await.unwrap();
    assert_eq!(snapshots.delete(&order).await, Ok(true));
    assert_eq!(snapshots.get(&order).await, Ok(None));
    snapshots.put(snapshot("Order-1", 3)).await.unwrap();
    assert_eq!(snapshots.get(&order).await, Ok(Some(snapshot("Order-1", 3))), "an earlier one may follow");
}

pub(super) async fn a_category_is_deleted_as_a_whole(snapshots: &dyn Snapshots) {
    for name in ["Order-1", "Order-a-b", "Orders-1", "Bill-1"] {
        snapshots.put(snapshot(name, 1)).await.unwrap();
    }
    assert_eq!(snapshots.delete_category("Order").await, Ok(2));
    assert_eq!(snapshots.delete_category("Order").await, Ok(0));
    for (name, there) in [("Order-1", false), ("Order-a-b", false), ("Orders-1", true), ("Bill-1", true)] {
        assert_eq!(snapshots.get(&stream(name)).await.unwrap().is_some(), there, "{name}");
    }
}

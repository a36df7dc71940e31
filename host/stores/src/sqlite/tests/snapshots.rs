//! Snapshots over restarts, and beside damage.

use lantern_core::Snapshots as _;
use rusqlite::Connection;

use super::Folder;
use crate::{
    contract::samples::{snapshot, stream},
    sqlite,
};

#[tokio::test]
async fn snapshots_are_the_same_after_they_were_closed() {
    let folder = Folder::new();
    let path = folder.path();
    let snapshots = sqlite::Snapshots::open(&path).unwrap();
    snapshots.put(snapshot("Order-1", 100)).await.unwrap();
    drop(snapshots);
    let snapshots = sqlite::Snapshots::open(&path).unwrap();
    assert_eq!(snapshots.get(&stream("Order-1")).await, Ok(Some(snapshot("Order-1", 100))));
    snapshots.put(snapshot("Order-1", 99)).await.unwrap();
    assert_eq!(snapshots.get(&stream("Order-1")).await, Ok(Some(snapshot("Order-1", 100))));
}

#[tokio::test]
async fn a_damaged_snapshot_is_an_error_that_names_the_file() {
    let folder = Folder::new();
    let path = folder.path();
    let snapshots = sqlite::Snapshots::open(&path).unwrap();
    snapshots.put(snapshot("Order-1", 1)).await.unwrap();
    snapshots.put(snapshot("Order-2", 1)).await.unwrap();
    let damage = "update snapshot set module = x'00' where stream = 'Order-1'";
    Connection::open(&path).unwrap().execute(damage, ()).unwrap();
    let failed = snapshots.get(&stream("Order-1")).await.unwrap_err().to_string();
    assert!(failed.contains(&path.display().to_string()), "{failed}");
    assert_eq!(snapshots.get(&stream("Order-2")).await, Ok(Some(snapshot("Order-2", 1))), "the others stay");
    assert_eq!(snapshots.delete(&stream("Order-1")).await, Ok(true));
}

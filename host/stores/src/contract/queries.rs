//! Reads of documents: scans, the guest's view, the digest.

use std::sync::Arc;

use lantern_core::{
    Batch, Document, Documents, Lease, Position, ReadModel, ReadModels,
    digest::ReadModelDigest,
    documents::{OWN, Scan},
};
use tokio::task::block_in_place;

use super::samples::{batch, generation, look, module, writing};

async fn model(models: &dyn ReadModels) -> (Arc<dyn ReadModel>, Lease) {
    let model = models.create(&generation("orders", 1), Position::START, module("first")).await.unwrap();
    let (lease, _) = model.take().await.unwrap();
    (model, lease)
}

/// Scans through the query side and the guest's view, which must agree.
async fn scan(model: &dyn ReadModel, collection: &str, scan: &Scan) -> Vec<Document> {
    let documents = model.scan(collection, scan).await.unwrap();
    let seen = block_in_place(|| model.view().scan(collection, scan));
    assert_eq!(seen.unwrap(), documents, "the view agrees");
    documents
}

fn keys(documents: &[Document]) -> Vec<&str> {
    documents.iter().map(|document| document.key.as_str()).collect()
}

pub(super) async fn scans_are_in_order_of_bytes(models: &dyn ReadModels) {
    let (model, lease) = model(models).await;
    let mut names =
        ["", "a", "B", "b", "a-1", "a_1", "a%", "10", "9", "é", "e\u{301}", "\u{FFFF}", "\u{10FFFF}", "a\0", "ß"];
    let changes = names.map(|name| (name, Some("1")));
    model.commit(lease, &writing(0, 1, "c", &changes)).await.unwrap();
    names.sort_unstable();
    let all = Scan { limit: 100, ..Scan::default() };
    assert_eq!(keys(&scan(&*model, "c", &all).await), names);
    assert!(scan(&*model, "d", &all).await.is_empty());
}

pub(super) async fn scans_obey_prefix_after_and_limit(models: &dyn ReadModels) {
    let (model, lease) = model(models).await;
    let names = ["", "a", "a%", "a%1", "a_", "aa", "ab", "ab1", "b", "\u{10FFFF}", "\u{10FFFF}a", "é", "é1"];
    let changes = names.map(|name| (name, Some("1")));
    model.commit(lease, &writing(0, 1, "c", &changes)).await.unwrap();
    model.commit(lease, &writing(1, 2, "d", &[("ab", Some("other"))])).await.unwrap();
    model.commit(lease, &writing(2, 3, "c", &[("aa", None)])).await.unwrap();
    let mut present: Vec<_> = names.into_iter().filter(|name| *name != "aa").collect();
    present.sort_unstable();
    for prefix in ["", "a", "a%", "a_", "ab", "abc", "é", "\u{10FFFF}", "z"] {
        for after in [None, Some(""), Some("a"), Some("a%"), Some("aa"), Some("ab"), Some("é"), Some("\u{10FFFF}z")] {
            for limit in [0, 1, 2, 100] {
                let wanted = Scan { prefix: prefix.into(), after: after.map(Into::into), limit };
                let fitting: Vec<_> = present.iter().copied().filter(|key| wanted.fits(key)).take(limit).collect();
                assert_eq!(keys(&scan(&*model, "c", &wanted).await), fitting, "{wanted:?}");
            }
        }
    }
    let large = Scan { prefix: "ab".into(), after: None, limit: usize::MAX };
    assert_eq!(keys(&scan(&*model, "c", &large).await), ["ab", "ab1"]);
}

pub(super) async fn the_view_is_true_after_each_commit(models: &dyn ReadModels) {
    let (model, lease) = model(models).await;
    let view = model.view();
    let steps: [&[(&str, Option<&str>)]; 5] = [
        &[("a", Some("1"))],
        &[("b", Some("1")), ("a", Some("2"))],
        &[("a", None)],
        &[("a", Some("3")), ("c", None)],
        &[("b", None), ("c", Some("\"é\""))],
    ];
    for (step, changes) in steps.into_iter().enumerate() {
        let step = step as u64;
        // Whatever was read before, absent keys too, must not be remembered wrongly.
        for key in ["a", "b", "c"] {
            look(&*view, "c", key).unwrap();
            look(&*view, "d", key).unwrap();
        }
        model.commit(lease, &writing(step, step + 1, "c", changes)).await.unwrap();
        for key in ["a", "b", "c"] {
            assert_eq!(look(&*view, "c", key), model.get("c", key).await, "step {step}, key {key}");
            assert_eq!(look(&*view, "d", key), Ok(None));
        }
        scan(&*model, "c", &Scan { limit: 10, ..Scan::default() }).await;
    }
    model.commit(lease, &writing(5, 6, "d", &[("a", Some("4"))])).await.unwrap();
    assert_eq!(look(&*view, "d", "a").unwrap().as_deref(), Some("4"));
    assert_eq!(look(&*view, "c", "a").unwrap().as_deref(), Some("3"), "a key is one thing in each collection");
}

pub(super) async fn the_view_is_true_for_a_new_owner(models: &dyn ReadModels) {
    let (first, lease) = model(models).await;
    first.commit(lease, &writing(0, 1, "c", &[("k", Some("1"))])).await.unwrap();
    let old = first.view();
    assert_eq!(look(&*old, "c", "k").unwrap().as_deref(), Some("1"));
    assert_eq!(look(&*old, "c", "absent"), Ok(None));
    let second = models.open(&generation("orders", 1)).await.unwrap();
    let (lease, _) = second.take().await.unwrap();
    let changes = [("k", Some("2")), ("absent", Some("2"))];
    second.commit(lease, &writing(1, 2, "c", &changes)).await.unwrap();
    for view in [second.view(), first.view()] {
        assert_eq!(look(&*view, "c", "k").unwrap().as_deref(), Some("2"));
        assert_eq!(look(&*view, "c", "absent").unwrap().as_deref(), Some("2"));
    }
}

pub(super) async fn the_digest_is_of_the_documents_alone(models: &dyn ReadModels) {
    let (model, lease) = model(models).await;
    let empty = ReadModelDigest::default().finish();
    assert_eq!(model.digest().await, Ok((Position::START, empty)));
    let mut documents = Documents::default();
    // Collections that are first written in another order than that of their names.
    let own = format!("{OWN}offsets");
    for (collection, key, value) in [
        ("z", "k", "1"),
        ("b", "é", "2"),
        ("b", "B", "3"),
        ("a", "gone", "4"),
        ("é", "", "5"),
        (own.as_str(), "0", "8"),
    ] {
        documents.set(collection.into(), key.into(), Some(value.into()));
    }
    let first = Batch { documents: Arc::new(documents), ..batch(0, 1) };
    model.commit(lease, &first).await.unwrap();
    model.commit(lease, &writing(1, 2, "a", &[("gone", None), ("k", Some("6"))])).await.unwrap();
    model.commit(lease, &writing(2, 3, "a", &[("k", None)])).await.unwrap();
    model.commit(lease, &writing(3, 4, "z", &[("k", Some("7"))])).await.unwrap();
    let mut wanted = ReadModelDigest::default();
    for (collection, key, value) in [("b", "B", "3"), ("b", "é", "2"), ("z", "k", "7"), ("é", "", "5")] {
        wanted.add(collection, key, value);
    }
    let wanted = wanted.finish();
    assert_eq!(model.digest().await, Ok((Position(4), wanted)));
    model.commit(lease, &batch(4, 9)).await.unwrap();
    assert_eq!(model.digest().await, Ok((Position(9), wanted)), "the checkpoint is no part of it");
}

//! Documents: what a call reads, what it writes, and which rules it can break.

use std::{collections::BTreeMap, sync::Arc};

use lantern_core::{
    Document, Fate, Instance, Library as _, Value, View,
    documents::{MAX_KEY, MAX_VALUE, Scan},
    module::{Failure, FailureKind},
    read_model::ReadModelError,
};

use crate::{
    crafted::{Crafted, Text, component, put},
    support::{call, event, failure, handle, instance, library, project, settings},
};

async fn crafted(handle: String) -> Box<dyn Instance> {
    let kept = library().push(component(&Crafted { handle, ..Crafted::default() })).await.unwrap();
    library().load(kept.digest, &settings()).await.unwrap().instance()
}

#[tokio::test]
async fn a_call_sees_what_the_calls_before_it_wrote() {
    let events = (1..=3).map(|position| event(position, &format!(r#"{{"amount":{position}}}"#))).collect::<Vec<_>>();
    let counts = project(&mut instance("counter").await, &events, "counts");
    assert_eq!(counts, BTreeMap::from([("Order-1".into(), Value::from(r#"{"count":3,"last_amount":3}"#))]));
}

#[tokio::test]
async fn what_is_written_comes_out_in_the_effects() {
    let mut crafted = crafted(put(Text::Collection, Text::Other, Text::Json)).await;
    let writes = handle(&mut crafted, &event(1, "{}")).result.unwrap().writes;
    let [write] = &writes[..] else { panic!("one write: {writes:?}") };
    assert_eq!((&*write.collection, &*write.key, write.value.as_deref()), ("kept", "other", Some("{}")));
}

#[tokio::test]
async fn a_broken_rule_ends_the_call_and_names_what_broke_it() {
    let (collection, json) = (Text::Collection, Text::Json);
    let cases: [(String, &[&str]); 6] = [
        (put(Text::Other, json, json), &["collection `other`", "does not declare", "`kept`"]),
        (put(collection, Text::Zeros(MAX_KEY + 1), json), &["`kept`", "1025 bytes", "at most 1024"]),
        (put(collection, json, Text::Zeros(2)), &["document `{}`", "`kept`", "no JSON"]),
        (put(collection, json, Text::Long(MAX_VALUE + 1)), &["document `{}`", "1048577 bytes"]),
        (put(collection, json, Text::Long(1_000_000)).repeat(5), &["more than 4194304 bytes", "host_call_bytes"]),
        (
            put(collection, json, Text::Long(5_000_000)),
            &["more than 4194304 bytes in one host call", "host_call_bytes"],
        ),
    ];
    for (instructions, parts) in cases {
        let mut crafted = crafted(instructions).await;
        for position in 1..=2 {
            let failure = failure(&mut crafted, &event(position, "{}"));
            assert_eq!(failure.kind, FailureKind::Limit, "{failure}");
            for part in parts {
                assert!(failure.message.contains(part), "{:?} lacks {part:?}", failure.message);
            }
        }
    }
}

#[tokio::test]
async fn the_longest_key_and_document_fit() {
    let longest = put(Text::Collection, Text::Zeros(MAX_KEY), Text::Long(MAX_VALUE));
    let mut crafted = crafted(longest).await;
    assert_eq!(handle(&mut crafted, &event(1, "{}")).result.unwrap().writes.len(), 1);
}

#[tokio::test]
async fn a_trap_leaves_no_trace() {
    let written_then_trapped = format!("{} (unreachable)", put(Text::Collection, Text::Other, Text::Json));
    let mut crafted = crafted(written_then_trapped).await;
    let failure: Failure = failure(&mut crafted, &event(1, "{}"));
    assert_eq!((failure.kind, failure.fate()), (FailureKind::Trap, Fate::Park));
    assert!(failure.message.contains("unreachable"), "{failure}");
}

/// A read model whose storage has failed.
struct Broken;

impl View for Broken {
    fn get(&self, _: &str, _: &str) -> Result<Option<Value>, ReadModelError> {
        Err(ReadModelError::Unavailable("the disk is gone".into()))
    }

    fn scan(&self, _: &str, _: &Scan) -> Result<Vec<Document>, ReadModelError> {
        Err(ReadModelError::Unavailable("the disk is gone".into()))
    }
}

#[tokio::test]
async fn a_read_model_that_fails_is_not_the_guests_fault() {
    let view: Arc<dyn View> = Arc::new(Broken);
    let mut counter = instance("counter").await;
    let failure = counter.handle(&call(&event(1, r#"{"amount":1}"#)), &view).result.unwrap_err();
    assert_eq!((failure.kind, failure.fate()), (FailureKind::Host, Fate::Stop));
    assert!(failure.message.contains("`counts`") && failure.message.contains("the disk is gone"), "{failure}");
    handle(&mut counter, &event(2, r#"{"amount":1}"#)).result.unwrap();
}

//! What is no module for this host, and what the error says.

use bytes::Bytes;
use lantern_core::{Library as _, module::LibraryError};

use crate::{
    crafted::{Crafted, Text, component, put},
    support::{guest, library},
};

async fn refusal(bytes: impl Into<Bytes>) -> String {
    match library().push(bytes.into()).await {
        Err(LibraryError::Refused(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn assert_says(reason: &str, parts: &[&str]) {
    for part in parts {
        assert!(reason.contains(part), "{reason:?} lacks {part:?}");
    }
}

#[tokio::test]
async fn a_component_of_another_world_is_told_what_it_lacks() {
    let reason = refusal(guest("wrong-world")).await;
    assert_says(
        &reason,
        &[
            "`describe` and `handle`",
            "lantern:module/projection@0.1.0",
            "lantern:module/aggregate@0.1.0",
            "lantern:module/upcaster@0.1.0",
            "it exports `greet`",
        ],
    );
}

#[tokio::test]
async fn an_import_that_is_not_served_is_named() {
    let reason = refusal(guest("wrong-import")).await;
    assert_says(&reason, &["`example:unknown/thing`", "does not serve"]);
}

#[tokio::test]
async fn what_is_no_component_is_called_by_its_name() {
    assert_says(&refusal("").await, &["empty"]);
    assert_says(&refusal("(component)").await, &["text"]);
    assert_says(&refusal(&b"\0asm\x01\0\0\0"[..]).await, &["core module", "--target wasm32-wasip2"]);
    assert_says(&refusal(&b"\0asm\x0d\0\x01\0damaged"[..]).await, &["cannot be compiled"]);
}

#[tokio::test]
async fn a_module_of_another_version_of_the_package_is_told_so() {
    let other = component(&Crafted { version: "0.2.0", ..Crafted::default() });
    let reason = refusal(other).await;
    assert_says(&reason, &["built for `lantern:module@0.2.0`", "serves `lantern:module@0.1.0`"]);
}

#[tokio::test]
async fn an_export_of_another_type_is_named_with_the_difference() {
    let other = component(&Crafted { position: "string", ..Crafted::default() });
    assert_says(&refusal(other).await, &["`handle`", "expected `u64` found `string`"]);
}

#[tokio::test]
async fn a_description_that_cannot_be_used_is_refused() {
    let bad = component(&Crafted { collection: "Not A Name", ..Crafted::default() });
    assert_says(&refusal(bad).await, &["`describe`", "\"Not A Name\""]);
}

#[tokio::test]
async fn describing_is_bounded_and_has_no_documents() {
    let endless = component(&Crafted { describe: "(loop $on (br $on))".into(), ..Crafted::default() });
    assert_says(&refusal(endless).await, &["`describe` failed", "longer than 1000 ms"]);
    let writing = put(Text::Collection, Text::Json, Text::Json);
    let writing = component(&Crafted { describe: writing, ..Crafted::default() });
    assert_says(&refusal(writing).await, &["`describe` failed", "only `handle` may"]);
}

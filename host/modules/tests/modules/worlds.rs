//! The worlds: which one a module belongs to, what it is served there, and what its deployment has to grant.

use lantern_core::{
    Digest, Grants, Kind, Library as _,
    module::{Described, Kept, LibraryError, Settings},
};

use crate::{
    crafted::{Crafted, component},
    support::{event, guest, handle, library, settings},
};

async fn pushed(package: &str) -> Kept {
    library().push(guest(package)).await.unwrap()
}

fn deployed_as(kind: Kind, grants: Grants) -> Settings {
    Settings { kind, grants, ..settings() }
}

/// Why a module cannot be loaded with these settings.
async fn unfit(digest: Digest, settings: &Settings) -> String {
    let loaded = match settings.kind {
        Kind::Projection | Kind::Handler => library().load(digest, settings).await.err(),
        Kind::Aggregate => library().load_aggregate(digest, settings).await.err(),
        Kind::Upcaster => library().load_upcaster(digest, settings).await.err(),
    };
    match loaded {
        Some(LibraryError::Unfit(reason)) => reason,
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
async fn each_kind_is_known_for_what_it_is() {
    for (package, kind, exported) in [
        ("counter", Kind::Projection, "handle"),
        ("emitter", Kind::Handler, "handle"),
        ("account-v1", Kind::Aggregate, "lantern:module/aggregates@0.1.0"),
        ("widener", Kind::Upcaster, "lantern:module/upcasters@0.1.0"),
    ] {
        let kept = pushed(package).await;
        assert_eq!((kept.description.kind(), kept.world.as_str()), (kind, kind.as_str()), "{package}");
        assert!(kept.exports.iter().any(|name| name == exported), "{:?}", kept.exports);
    }
}

#[tokio::test]
async fn what_modules_say_of_themselves_is_kept() {
    let Described::Projection(mirror) = pushed("mirror").await.description else { panic!("no projection") };
    assert_eq!(mirror.schema_versions.into_iter().collect::<Vec<_>>(), [("Counted".to_owned(), 2)]);
    let Described::Aggregate(account) = pushed("account-v1").await.description else { panic!("no aggregate") };
    assert_eq!((account.name.as_str(), account.state_version), ("Account", 1));
    assert!(account.commands.contains(&"Withdraw".to_owned()), "{:?}", account.commands);
    let Described::Upcaster(widener) = pushed("widener").await.description else { panic!("no upcaster") };
    let steps = widener.steps.iter().map(|step| (step.schema_version, step.to_type.as_str(), step.to_version));
    assert_eq!(steps.collect::<Vec<_>>(), [(1, "Counted", 2), (2, "Counted", 3)]);
}

#[tokio::test]
async fn a_module_is_deployed_as_what_it_is() {
    let all = Grants { emit: true, schedule: true, ..Grants::default() };
    for (package, kind) in [
        ("counter", Kind::Projection),
        ("emitter", Kind::Handler),
        ("account-v1", Kind::Aggregate),
        ("widener", Kind::Upcaster),
    ] {
        let digest = pushed(package).await.digest;
        for other in [Kind::Projection, Kind::Handler, Kind::Aggregate, Kind::Upcaster] {
            if other == kind {
                continue;
            }
            let reason = unfit(digest, &deployed_as(other, all.clone())).await;
            let expected =
                format!("module {} is {}: deploy it with `lantern {kind} deploy`", digest.short(), kind.with_article());
            assert_eq!(reason, expected);
        }
    }
    // As what it is, but asked for as something else.
    let account = pushed("account-v1").await.digest;
    let loaded = library().load(account, &deployed_as(Kind::Aggregate, all)).await.err();
    assert!(matches!(&loaded, Some(LibraryError::Unfit(reason)) if reason.contains("an aggregate")), "{loaded:?}");
}

#[tokio::test]
async fn a_handler_is_loaded_with_what_it_needs_and_not_without() {
    let crafted = Crafted { is_handler: true, emits: true, schedules: true, ..Crafted::default() };
    let digest = library().push(component(&crafted)).await.unwrap().digest;
    let reason = unfit(digest, &deployed_as(Kind::Handler, Grants::default())).await;
    assert_says(&reason, &[&digest.short(), "`lantern:module/emit@0.1.0`", "`--grant emit`", "`--grant schedule`"]);
    let emit = Grants { emit: true, ..Grants::default() };
    let reason = unfit(digest, &deployed_as(Kind::Handler, emit.clone())).await;
    assert_says(&reason, &["`lantern:module/schedule@0.1.0`", "`--grant schedule`"]);
    assert!(!reason.contains("emit@"), "{reason}");
    let both = Grants { schedule: true, ..emit };
    let loaded = library().load(digest, &deployed_as(Kind::Handler, both)).await.unwrap();
    handle(&mut loaded.instance(), &event(1, "{}")).result.unwrap();
    let caller = pushed("caller").await.digest;
    let reason = unfit(caller, &deployed_as(Kind::Handler, Grants::default())).await;
    assert_says(&reason, &["`wasi:http/outgoing-handler@", "`--http ORIGIN`"]);
}

#[tokio::test]
async fn a_projection_that_wants_effects_is_refused() {
    let crafted = Crafted { emits: true, ..Crafted::default() };
    let refused = library().push(component(&crafted)).await;
    let Err(LibraryError::Refused(reason)) = refused else { panic!("not refused: {refused:?}") };
    assert_says(&reason, &["it is a projection", "`lantern:module/emit@0.1.0`", "serves to handlers only"]);
}

#[tokio::test]
async fn grants_are_for_handlers() {
    let grants = Grants { time: true, random: true, ..Grants::default() };
    let settings = deployed_as(Kind::Projection, grants);
    let digest = pushed("clockwork").await.digest;
    let write = async || {
        let clockwork = library().load(digest, &settings).await.unwrap();
        handle(&mut clockwork.instance(), &event(1, "{}")).result.unwrap().writes
    };
    assert_eq!(write().await, write().await, "the same whenever it is handled");
}

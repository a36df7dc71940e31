//! Steps that do not go together are refused, and nothing changes.

use lantern_core::Happening;
use lantern_upcasters::Refusal;

use crate::host::{Closure, Host, name};

#[track_caller]
fn assert_says(refusal: &Refusal, wanted: &[&str]) {
    let message = refusal.to_string();
    assert!(wanted.iter().all(|wanted| message.contains(wanted)), "{message}");
}

#[tokio::test]
async fn a_form_is_taken_by_one_upcaster_only() {
    let host = Host::start().await;
    host.deploy("one", Closure::noting("a", &["Placed 1 -> Placed 2"])).await.unwrap();
    let refusal = host.deploy("two", Closure::noting("b", &["Placed 1 -> Placed 3"])).await.unwrap_err();
    assert_says(&refusal, &["`one`", "`two`", "version 1 of `Placed`"]);
    assert_eq!(host.upcasters.status(&name("two")), Err(Refusal::Unknown(name("two"))));
    assert_eq!(host.journal.entries().await.unwrap().len(), 1);

    let twice = ["Paid 1 -> Paid 2", "Paid 1 -> Paid 3"];
    let refusal = host.deploy("twice", Closure::noting("c", &twice)).await.unwrap_err();
    assert!(matches!(&refusal, Refusal::Collision { first, second, .. } if first == second), "{refusal}");
    host.deploy("two", Closure::noting("b2", &["Placed 2 -> Placed 3"])).await.unwrap();
    assert_eq!(host.shows("Placed", 1, &[]).await, "Placed 3 raw a b2");
}

#[tokio::test]
async fn a_swap_and_a_rollback_are_refused_for_collisions_too() {
    let host = Host::start().await;
    host.deploy("one", Closure::noting("a", &["Placed 1 -> Placed 2"])).await.unwrap();
    host.deploy("two", Closure::noting("b", &["Placed 2 -> Placed 3"])).await.unwrap();
    let colliding = host.add(Closure::noting("b2", &["Placed 1 -> Placed 3"]));
    let refusal = host.upcasters.swap(&name("two"), colliding).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Collision { .. }), "{refusal}");
    assert_eq!(host.shows("Placed", 1, &[]).await, "Placed 3 raw a b");
    let history = host.upcasters.history(&name("two")).await.unwrap();
    let told = Happening::SwapRefused { module: colliding, reason: refusal.to_string() };
    assert_eq!(history.last().map(|entry| &entry.happening), Some(&told));

    // What `two` had before is taken by another one meanwhile.
    let other = host.add(Closure::noting("b3", &["Paid 1 -> Paid 2"]));
    host.upcasters.swap(&name("two"), other).await.unwrap();
    host.deploy("three", Closure::noting("c", &["Placed 2 -> Placed 3"])).await.unwrap();
    let refusal = host.upcasters.rollback(&name("two")).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Collision { .. }), "{refusal}");
    assert_eq!(host.upcasters.status(&name("two")).unwrap().module, other);
}

#[tokio::test]
async fn a_step_leads_to_something_newer() {
    let host = Host::start().await;
    for step in ["A 2 -> A 2", "A 2 -> A 1", "A 0 -> A 1", "A 1 -> B 0"] {
        let refusal = host.deploy("one", Closure::noting(step, &["X 1 -> X 2", step])).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Step { .. }), "{step}: {refusal}");
    }
    let nameless = Closure::new("nameless", &["A 1 ->  2"], |form| Ok(form.clone()));
    let refusal = host.deploy("one", nameless).await.unwrap_err();
    assert_says(&refusal, &["`one`", "1 to 256 bytes"]);
    assert_eq!(host.shows("X", 1, &[]).await, "X 1 raw", "a module is taken as a whole or not at all");
}

#[tokio::test]
async fn every_way_has_an_end() {
    let host = Host::start().await;
    let around = ["A 1 -> B 1", "B 1 -> A 1"];
    let refusal = host.deploy("around", Closure::noting("a", &around)).await.unwrap_err();
    assert_says(&refusal, &["circle", "version 1 of `A`", "version 1 of `B`"]);

    host.deploy("one", Closure::noting("b", &["Start 1 -> A 1", "A 1 -> B 5", "B 5 -> C 2"])).await.unwrap();
    let refusal = host.deploy("two", Closure::noting("c", &["C 2 -> C 3", "C 3 -> B 5"])).await.unwrap_err();
    let Refusal::Circle { forms } = &refusal else { panic!("{refusal}") };
    assert_eq!((forms.first(), forms.len()), (forms.last(), 4), "{forms:?}");
    // Back to the type, but to a version from which no way leads around.
    host.deploy("two", Closure::noting("d", &["C 2 -> A 2"])).await.unwrap();
    assert_eq!(host.shows("Start", 1, &[]).await, "A 2 raw b b b d");
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let host = Host::start().await;
    let (placed, unknown) = (name("placed"), name("unknown"));
    let module = Closure::noting("a", &["Placed 1 -> Placed 2"]);
    host.deploy("placed", module.clone()).await.unwrap();
    let refusal = host.deploy("placed", module.clone()).await.unwrap_err();
    assert_eq!(refusal, Refusal::Exists(placed.clone()));
    let refusal = host.upcasters.swap(&placed, module.digest()).await.unwrap_err();
    assert_eq!(refusal, Refusal::SameModule { name: placed.clone(), module: module.digest() });
    assert_eq!(host.upcasters.rollback(&placed).await, Err(Refusal::NothingToRollBack(placed.clone())));
    let absent = lantern_core::Digest::of(b"absent");
    assert!(matches!(host.upcasters.swap(&placed, absent).await, Err(Refusal::Library(_))));
    assert_eq!(host.upcasters.swap(&unknown, absent).await, Err(Refusal::Unknown(unknown.clone())));
    assert_eq!(host.upcasters.rollback(&unknown).await, Err(Refusal::Unknown(unknown.clone())));
    assert_eq!(host.upcasters.remove(&unknown).await, Err(Refusal::Unknown(unknown.clone())));
    assert_eq!(host.upcasters.history(&unknown).await, Err(Refusal::Unknown(unknown)));
}

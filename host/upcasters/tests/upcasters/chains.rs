//! Chains: how far an event is brought, and which events are read for it.

use std::borrow::Cow;

use lantern_core::{Event, Filter, Payload};

use crate::host::{Closure, Host, accepted, json};

#[tokio::test]
async fn an_event_goes_through_all_upcasters_to_its_newest_form() {
    let host = Host::start().await;
    host.deploy("third", Closure::noting("c", &["Placed 4 -> Placed 5"])).await.unwrap();
    host.deploy("first", Closure::noting("a", &["Placed 1 -> Placed 2", "Paid 1 -> Paid 2"])).await.unwrap();
    host.deploy("second", Closure::noting("b", &["Placed 2 -> Placed 4"])).await.unwrap();
    assert_eq!(host.shows("Placed", 1, &[]).await, "Placed 5 raw a b c");
    assert_eq!(host.shows("Placed", 4, &[]).await, "Placed 5 raw c");
    assert_eq!(host.shows("Paid", 1, &[]).await, "Paid 2 raw a");
    for (event_type, version) in [("Placed", 3), ("Placed", 5), ("Paid", 2), ("Shipped", 1)] {
        assert_eq!(host.shows(event_type, version, &[]).await, format!("{event_type} {version} raw"));
    }
}

#[tokio::test]
async fn only_the_form_changes_and_the_log_stays_as_it_is() {
    let host = Host::start().await;
    host.deploy("placed", Closure::noting("a", &["Old 1 -> New 3"])).await.unwrap();
    let event = host.append("Old", 1, json("\"raw\"")).await;
    let seen = host.upcasters.upcasting().upcast(&event, &accepted(&[])).unwrap().into_owned();
    let wanted = Event {
        event_type: lantern_core::EventType::new("New").unwrap(),
        schema_version: 3,
        data: json("\"raw a\""),
        ..event.clone()
    };
    assert_eq!(seen, wanted);
    assert_eq!(host.log.event(event.id).await, Ok(Some(event)));
}

#[tokio::test]
async fn an_event_without_a_step_is_borrowed() {
    let host = Host::start().await;
    let event = host.append("Placed", 2, json("\"raw\"")).await;
    let is_borrowed = |versions: &[(&str, u32)]| {
        matches!(host.upcasters.upcasting().upcast(&event, &accepted(versions)), Ok(Cow::Borrowed(_)))
    };
    assert!(is_borrowed(&[]), "there are no upcasters");
    host.deploy("placed", Closure::noting("a", &["Placed 1 -> Placed 2", "Placed 2 -> Placed 3"])).await.unwrap();
    assert!(is_borrowed(&[("Placed", 2)]), "the reader understands what is there");
    assert!(is_borrowed(&[("Placed", 1)]), "what is too new already stays as it is");
    assert!(!is_borrowed(&[("Placed", 3)]));
}

#[tokio::test]
async fn a_reader_sees_no_newer_version_than_it_understands() {
    let host = Host::start().await;
    let steps = ["Placed 1 -> Placed 2", "Placed 2 -> Placed 4"];
    host.deploy("placed", Closure::noting("a", &steps)).await.unwrap();
    for (understood, seen) in [(1, "1 raw"), (2, "2 raw a"), (3, "2 raw a"), (4, "4 raw a a"), (9, "4 raw a a")] {
        assert_eq!(host.shows("Placed", 1, &[("Placed", understood)]).await, format!("Placed {seen}"), "{understood}");
    }
    assert_eq!(
        host.shows("Placed", 1, &[("Paid", 1)]).await,
        "Placed 4 raw a a",
        "a type it does not name: the newest"
    );
}

#[tokio::test]
async fn a_step_may_change_the_type_and_begin_anew() {
    let host = Host::start().await;
    host.deploy("renamed", Closure::noting("a", &["Created 7 -> Placed 1"])).await.unwrap();
    host.deploy("placed", Closure::noting("b", &["Placed 1 -> Placed 2"])).await.unwrap();
    let cases: [(&[(&str, u32)], &str); 6] = [
        (&[], "Placed 2 raw a b"),
        (&[("Placed", 2)], "Placed 2 raw a b"),
        (&[("Placed", 1)], "Placed 1 raw a"),
        (&[("Placed", 1), ("Created", 7)], "Placed 1 raw a"),
        (&[("Created", 7)], "Created 7 raw"),
        (&[("Paid", 1)], "Placed 2 raw a b"),
    ];
    for (versions, seen) in cases {
        assert_eq!(host.shows("Created", 7, versions).await, seen, "{versions:?}");
    }
}

#[tokio::test]
async fn bytes_are_passed_as_they_are() {
    let host = Host::start().await;
    host.deploy("placed", Closure::noting("a", &["Placed 1 -> Placed 2"])).await.unwrap();
    let bytes = |data: &'static [u8]| Payload::Bytes { content_type: "image/png".into(), data: data.into() };
    let event = host.append("Placed", 1, bytes(b"\xff\0")).await;
    let seen = host.upcasters.upcasting().upcast(&event, &accepted(&[])).unwrap().into_owned();
    assert_eq!(seen.data, bytes(b"\xff\0a"));
}

#[tokio::test]
async fn a_filter_is_widened_by_the_types_that_lead_to_what_it_wants() {
    let host = Host::start().await;
    let wanting = |types: &[&str]| Filter {
        event_types: types.iter().map(|wanted| (*wanted).to_owned()).collect(),
        ..Filter::category("Order")
    };
    let widen = |filter: Filter| host.upcasters.upcasting().widen(filter);
    assert_eq!(widen(wanting(&["C"])), wanting(&["C"]));
    host.deploy("late", Closure::noting("b", &["B 2 -> C 1", "C 1 -> C 2", "X 1 -> Y 1"])).await.unwrap();
    host.deploy("early", Closure::noting("a", &["A 1 -> B 2", "Z 1 -> B 2"])).await.unwrap();
    assert_eq!(widen(wanting(&["C"])), wanting(&["A", "B", "C", "Z"]));
    assert_eq!(widen(wanting(&["B", "D"])), wanting(&["A", "B", "D", "Z"]));
    assert_eq!(widen(wanting(&["A"])), wanting(&["A"]));
    assert_eq!(widen(Filter::category("Order")), Filter::category("Order"), "every type is wanted already");
}

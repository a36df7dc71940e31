//! Reads of the whole log: pages in both directions, filters, bounds, and the head.

use std::collections::BTreeSet;

use lantern_core::{Filter, Log, Metadata, NewEvent, Page, Position};

use super::samples::{append, append_some, event, head, json, positions, read_all};

pub(super) async fn pages_go_forward_to_the_head(log: &dyn Log) {
    let nothing = Page { events: Vec::new(), end: Position::START };
    assert_eq!(log.read(Position::START, &Filter::all(), 10).await, Ok(nothing), "an empty log is read to its head");
    append_some(log, "A-1", 5).await;
    append_some(log, "B-1", 5).await;
    for (after, limit, wanted) in [(0, 3, 1..=3), (3, 3, 4..=6), (8, 3, 9..=10), (0, 100, 1..=10), (0, 10, 1..=10)] {
        let page = log.read(Position(after), &Filter::all(), limit).await.unwrap();
        assert_eq!(positions(&page.events), wanted.clone().collect::<Vec<_>>());
        assert_eq!(page.end, Position(*wanted.end()));
    }
    for beyond in [10, 11, u64::MAX] {
        let page = log.read(Position(beyond), &Filter::all(), 3).await.unwrap();
        assert_eq!(page, Page { events: Vec::new(), end: Position(beyond) });
    }
    assert_eq!(positions(&read_all(log, &Filter::all(), 3).await), (1..=10).collect::<Vec<_>>());
}

pub(super) async fn pages_go_backward_to_the_start(log: &dyn Log) {
    let last = Position(u64::MAX);
    let nothing = Page { events: Vec::new(), end: last };
    assert_eq!(log.read_backward(last, &Filter::all(), 10).await, Ok(nothing));
    for name in ["A-1", "B-1", "A-1", "B-1", "A-1"] {
        append_some(log, name, 2).await;
    }
    let all = read_all(log, &Filter::all(), 100).await;
    for filter in [Filter::all(), Filter::category("A"), Filter::category("B"), Filter::category("None")] {
        for limit in [1, 2, 3, 100] {
            let (mut events, mut before) = (Vec::new(), last);
            loop {
                let page = log.read_backward(before, &filter, limit).await.unwrap();
                assert!(page.events.len() <= limit);
                if page.end == before {
                    break;
                }
                assert!(page.end < before, "a backward read only goes back");
                before = page.end;
                events.extend(page.events);
            }
            let wanted: Vec<_> = all.iter().rev().filter(|event| filter.fits(event)).cloned().collect();
            assert_eq!(events, wanted, "newest first");
        }
    }
    let page = log.read_backward(Position(4), &Filter::all(), 2).await.unwrap();
    assert_eq!((positions(&page.events), page.end), (vec![3, 2], Position(2)));
    assert!(log.read_backward(Position(1), &Filter::all(), 2).await.unwrap().events.is_empty());
    assert!(log.read_backward(Position::START, &Filter::all(), 2).await.unwrap().events.is_empty());
}

pub(super) async fn filters_choose_by_category_type_and_tenant(log: &dyn Log) {
    let of = |event_type: &str, tenant: Option<&str>| NewEvent {
        metadata: Metadata { tenant: tenant.map(Into::into), ..Metadata::default() },
        ..event(event_type)
    };
    append(log, "Order-1", vec![of("Placed", Some("acme")), of("Shipped", None)]).await;
    append(log, "Orders-1", vec![of("Placed", Some("globex")), of("Placed", None)]).await;
    append(log, "Bill-Order-1", vec![of("Placed", Some("acme")), of("Paid", Some("acme"))]).await;
    let all = read_all(log, &Filter::all(), 100).await;
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let filter = |categories: &[&str], event_types: &[&str], tenants: &[&str]| Filter {
        categories: names(categories),
        event_types: names(event_types),
        tenants: names(tenants),
    };
    let cases = [
        (filter(&["Order"], &[], &[]), vec![1, 2]),
        (filter(&["Order", "Bill"], &[], &[]), vec![1, 2, 5, 6]),
        (filter(&[], &["Placed"], &[]), vec![1, 3, 4, 5]),
        (filter(&[], &["Paid", "Shipped"], &[]), vec![2, 6]),
        (filter(&[], &[], &["acme"]), vec![1, 5, 6]),
        (filter(&[], &[], &["acme", "globex"]), vec![1, 3, 5, 6]),
        (filter(&["Bill", "Orders"], &["Placed"], &["acme", "globex"]), vec![3, 5]),
        // A name of one sort is not one of another.
        (filter(&["Placed"], &[], &[]), vec![]),
        (filter(&[], &["acme"], &[]), vec![]),
        (filter(&["order"], &[], &[]), vec![]),
        (filter(&["Order"], &["Never"], &[]), vec![]),
    ];
    for (filter, wanted) in cases {
        let fitting: Vec<_> = all.iter().filter(|event| filter.fits(event)).cloned().collect();
        assert_eq!(positions(&fitting), wanted, "{filter:?}");
        for limit in [1, 2, 100] {
            assert_eq!(read_all(log, &filter, limit).await, fitting, "{filter:?}");
        }
        let page = log.read(Position::START, &filter, 100).await.unwrap();
        assert_eq!(page.end, head(log), "a page moves over events that do not fit");
    }
    // A name that no event had so far fits as soon as one has it.
    append(log, "Order-1", vec![of("Never", None)]).await;
    assert_eq!(positions(&read_all(log, &filter(&["Order"], &["Never"], &[]), 1).await), [7]);
}

pub(super) async fn a_page_ends_before_it_is_large(log: &dyn Log) {
    const MIB: usize = 1024 * 1024;
    let large = |mib: usize| NewEvent { data: json(&format!("\"{}\"", "x".repeat(mib * MIB))), ..event("Large") };
    let sizes = [1, 1, 1, 1, 1, 1, 9, 1];
    for size in sizes {
        append(log, "A-1", vec![large(size)]).await;
    }
    for filter in [Filter::all(), Filter::category("A")] {
        let (mut at, mut read) = (Position::START, Vec::new());
        while at < head(log) {
            let page = log.read(at, &filter, 100).await.unwrap();
            let bytes: usize = page.events.iter().map(|event| event.data.as_bytes().len()).sum();
            assert!(!page.events.is_empty(), "an event larger than a page is read nevertheless");
            assert!(bytes <= 6 * MIB || page.events.len() == 1, "{bytes} bytes are too many for a page");
            assert_eq!(page.events.last().map(|event| event.position), Some(page.end));
            at = page.end;
            read.extend(positions(&page.events));
        }
        assert_eq!(read, (1..=sizes.len() as u64).collect::<Vec<_>>());
    }
    let page = log.read_backward(Position(7), &Filter::all(), 100).await.unwrap();
    assert!(page.events.len() < 6 && page.end == page.events.last().unwrap().position);
}

pub(super) async fn a_rare_event_is_found_over_a_long_stretch(log: &dyn Log) {
    let common = 10_000;
    append(log, "Rare-1", vec![event("Rare")]).await;
    for _ in 0..12 {
        append_some(log, "Common-1", common).await;
    }
    append(log, "Rare-2", vec![event("Rare")]).await;
    let last = 12 * common as u64 + 2;
    for filter in [Filter::category("Rare"), Filter { event_types: ["Rare".into()].into(), ..Filter::default() }] {
        assert_eq!(positions(&read_all(log, &filter, 10).await), [1, last]);
    }
    let (mut found, mut before) = (Vec::new(), Position(u64::MAX));
    loop {
        let page = log.read_backward(before, &Filter::category("Rare"), 10).await.unwrap();
        found.extend(positions(&page.events));
        if page.end == before {
            break;
        }
        before = page.end;
    }
    assert_eq!(found, [last, 1]);
}

pub(super) async fn the_head_is_watched(log: &dyn Log) {
    let mut watcher = log.head();
    assert_eq!(*watcher.borrow_and_update(), Position::START);
    append_some(log, "A-1", 2).await;
    watcher.changed().await.unwrap();
    assert_eq!(*watcher.borrow_and_update(), Position(2));
    let page = log.read(Position::START, &Filter::all(), 10).await.unwrap();
    assert_eq!(page.end, Position(2), "what is below the head can be read");
    assert_eq!(*log.head().borrow(), Position(2), "a late watcher sees the head as it is");
}

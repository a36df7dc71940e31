//! Handlers: what they emit is in the log once, in order, and says where it comes from.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use lantern_core::{
    Digest, Effect, Effects, Event, Grants, Kind, Metadata, Name, NewEvent, Position, State, effect_id,
    journal::FailurePolicy,
    module::{Failure, FailureKind},
};
use lantern_processors::{Refusal, Selection};

use crate::{
    host::{Faults, Host, bounded, deployment, name, noted},
    modules::{Closure, note, noting, put, told},
};

/// Emits one event that bears the handler's sign for each event of category `A`, and notes the event.
fn telling(sign: &'static str) -> Closure {
    Closure::new(sign, move |event, view| {
        if event.data.as_bytes() == format!("\"not {sign}\"").as_bytes() {
            return Err(Failure::new(FailureKind::Permanent, "bad"));
        }
        let emitted = vec![told("Told-1", format!("\"{sign} {}\"", event.position))];
        Ok(Effects { emitted, ..note(event, view)? })
    })
    .wanting("A")
}

/// What was emitted, in the order of the log.
async fn emitted(host: &Host) -> Vec<String> {
    let events = host.world.events().await;
    let told = events.iter().filter(|event| event.event_type.as_str() == "Told");
    told.map(|event| String::from_utf8_lossy(event.data.as_bytes()).trim_matches('"').to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_emitted_says_where_it_comes_from() {
    let host = Host::of_handler().await;
    let two = |_: &Event| Effects {
        emitted: vec![told("Told-1", "1"), told("Told-2", "2"), told("Told-2", "3")],
        ..Effects::default()
    };
    host.deploy(Closure::new("two", move |event, _| Ok(two(event))).wanting("A")).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    let metadata = Metadata {
        correlation_id: Some("request".into()),
        tenant: Some("here".into()),
        actor: Some("ann".into()),
        trace: Some(trace),
        extra: Some(BTreeMap::from([("a".to_owned(), "b".to_owned())]).into()),
        ..Metadata::default()
    };
    let source = NewEvent { metadata: metadata.clone(), ..noted("1") };
    host.world.append("A-1", source.clone()).await;
    let bare = noted("1");
    host.world.append("A-2", bare.clone()).await;
    host.until(|status| status.emitted == 6).await;
    let events = host.world.events().await;
    let told: Vec<&Event> = events.iter().filter(|event| event.event_type.as_str() == "Told").collect();
    for (index, event) in told.iter().enumerate() {
        let of = [&source, &bare][index / 3];
        assert_eq!(event.id, effect_id(&name(), of.id, Effect::Emitted, index % 3));
        assert_eq!(event.metadata.causation_id.as_deref(), Some(of.id.to_string().as_str()));
        assert_eq!(event.metadata.source.as_deref(), Some("/handlers/noted"));
        assert_eq!(event.metadata.extra, None, "free pairs are the draft's");
        assert_eq!(event.time.0, 1_000);
    }
    let expected = Metadata {
        source: Some("/handlers/noted".into()),
        causation_id: Some(source.id.to_string().into()),
        extra: None,
        ..metadata
    };
    assert_eq!(told[0].metadata, expected);
    assert_eq!(told[3].metadata.correlation_id.as_deref(), Some(bare.id.to_string().as_str()));
    let streams: Vec<_> = told.iter().map(|event| event.stream.as_str()).collect();
    assert_eq!(streams, ["Told-1", "Told-2", "Told-2"].repeat(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_handler_wants_itself_is_just_another_event() {
    let host = Host::of_handler().await;
    let counting = Closure::new("counting", |event, view| {
        let left: u64 = std::str::from_utf8(event.data.as_bytes()).unwrap().parse().unwrap();
        let emitted = if left == 0 { Vec::new() } else { vec![told("A-1", (left - 1).to_string())] };
        Ok(Effects { emitted, ..note(event, view)? })
    });
    host.deploy(counting).await;
    host.append("A-1", "50").await;
    let status = host.until(|status| status.handled == 51).await;
    assert_eq!((status.emitted, host.world.events().await.len()), (50, 51));
    assert_eq!(host.documents().await, host.expected().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_handled_by_one_module_when_modules_change() {
    let host = Host::of_handler().await;
    host.deploy(telling("one")).await;
    host.add(telling("two"));
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    let (mut boundaries, mut triggers) = (Vec::new(), Vec::new());
    for round in 0..10 {
        for _ in 0..20 {
            triggers.push(host.append("A-1", "1").await);
        }
        let module = if round % 2 == 0 { two } else { one };
        let swapped = match round {
            9 => host.supervisor.rollback(Kind::Handler, &name()).await.unwrap(),
            _ => host.supervisor.swap(Kind::Handler, &name(), module).await.unwrap(),
        };
        boundaries.push(swapped.position);
    }
    triggers.push(host.append("A-1", "1").await);
    host.until(|status| status.emitted == triggers.len() as u64).await;
    let sign = |position: &Position| {
        let before = boundaries.iter().filter(|boundary| *boundary < position).count();
        format!("{} {position}", ["one", "two"][before % 2])
    };
    assert_eq!(emitted(&host).await, triggers.iter().map(sign).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_whose_takeover_fails_has_emitted_nothing() {
    for round in 0..5 {
        let faults = Faults::gated();
        let host = Host::of(Kind::Handler, faults.clone()).await;
        let gate = faults.gate.as_ref().unwrap();
        host.deploy(telling("one")).await;
        host.append("A-1", "1").await;
        gate.add_permits(1);
        host.until(|status| status.emitted == 1).await;
        let (called, calling) = std::sync::mpsc::channel();
        let (inner, called) = (telling("two"), std::sync::Mutex::new(called));
        let two = host.add(
            Closure::new("two", move |event, view| {
                let _ = called.lock().unwrap().send(event.position);
                inner.handle_directly(event, view)
            })
            .wanting("A"),
        );
        let supervisor = host.supervisor.clone();
        let swapping = tokio::spawn(async move { supervisor.swap(Kind::Handler, &name(), two).await });
        host.until(|status| status.module == two).await;
        // The new module handles this one while the commit of the swap waits.
        let second = host.append("A-1", "1").await;
        let heard = move || while calling.recv().unwrap() != second {};
        tokio::task::spawn_blocking(heard).await.unwrap();
        assert_eq!(emitted(&host).await, ["one 1"], "round {round}");
        faults.one_in.store(1, Ordering::Relaxed);
        gate.add_permits(1_000);
        assert_eq!(swapping.await.unwrap(), Err(Refusal::Interrupted), "round {round}");
        faults.one_in.store(0, Ordering::Relaxed);
        host.until(|status| status.handled == 2).await;
        assert_eq!(emitted(&host).await, ["one 1".to_owned(), format!("one {second}")], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_log_already_is_neither_repeated_nor_a_failure() {
    let host = Host::of_handler().await;
    for _ in 0..3 {
        host.append("A-1", "1").await;
    }
    host.deploy(telling("one")).await;
    host.until(|status| status.emitted == 3).await;
    host.supervisor.remove(Kind::Handler, &name()).await.unwrap();
    // Another module of the same name, from the beginning: its events have the ids of those before, and other content.
    let last = host.append("A-1", "1").await;
    host.deploy(telling("two")).await;
    let status = host.caught_up().await;
    assert_eq!((status.state, status.parked_events, status.handled), (State::Live, 0, 4));
    assert_eq!(emitted(&host).await, ["one 1", "one 2", "one 3", &format!("two {last}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_events_emit_when_they_are_tried_again() {
    let host = Host::of_handler().await;
    host.deploy(telling("one")).await;
    for (stream, data) in [("A-1", "\"not one\""), ("A-1", "1"), ("A-2", "1")] {
        host.append(stream, data).await;
    }
    let status = host.until(|status| status.emitted == 1).await;
    assert_eq!((status.parked_events, emitted(&host).await), (2, vec!["one 3".into()]));
    let two = host.add(telling("two"));
    host.supervisor.swap(Kind::Handler, &name(), two).await.unwrap();
    assert_eq!(emitted(&host).await.len(), 1, "the dry run had no effect");
    let retried = host.supervisor.retry(Kind::Handler, &name(), Selection::All).await.unwrap();
    assert_eq!((retried.handled, retried.remaining), (2, 0));
    assert_eq!(emitted(&host).await, ["one 3", "two 1", "two 2"]);
    assert_eq!(host.status().emitted, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_judged_emits_nothing() {
    let host = Host::of_handler().await;
    host.deploy(telling("one")).await;
    let two = host.add(telling("two"));
    host.supervisor.swap(Kind::Handler, &name(), two).await.unwrap();
    // The new module fails it, the one before is asked whether it would and takes over.
    host.append("A-1", "\"not two\"").await;
    let status = host.until(|status| status.emitted == 1).await;
    assert_eq!((status.module, emitted(&host).await), (Digest::of(b"one"), vec!["one 1".into()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_emits_more_than_one_append_takes_is_parked() {
    let host = Host::of_handler().await;
    let flooding = Closure::new("flooding", |event, _| {
        let events = if event.data.as_bytes() == b"1" { 4_000 } else { 4_001 };
        Ok(Effects { emitted: vec![told("Told-1", "1"); events], ..put(event.stream.as_str(), "1") })
    });
    host.deploy(flooding.wanting("A")).await;
    host.append("A-1", "2").await;
    host.append("A-2", "1").await;
    host.append("A-3", "1").await;
    let status = host.until(|status| status.emitted == 8_000).await;
    assert_eq!((status.handled, status.parked_events), (2, 1));
    let parked = host.parked().await;
    assert_eq!((parked[0].kind, parked[0].position), (Some(FailureKind::Limit), Position(1)));
    assert!(parked[0].error.contains("4001"), "{}", parked[0].error);
}

#[tokio::test(flavor = "multi_thread")]
async fn projections_and_handlers_share_their_names_and_nothing_else() {
    let host = Host::of_handler().await;
    host.deploy(noting()).await;
    let handler = || lantern_core::Subject { kind: Kind::Handler, name: name() };
    let deploy = |kind| deployment(kind, Digest::of(b"noting"), &FailurePolicy::default());
    assert_eq!(host.supervisor.deploy(deploy(Kind::Projection)).await, Err(Refusal::Exists(handler())));
    let as_projection = host.supervisor.status(Kind::Projection, &name()).unwrap_err();
    assert_eq!(as_projection, Refusal::OtherKind(handler()));
    assert_eq!(as_projection.to_string(), "`noted` is a handler: use `lantern handler …`");
    assert_eq!(host.supervisor.remove(Kind::Projection, &name()).await, Err(Refusal::OtherKind(handler())));
    assert_eq!(host.supervisor.history(Kind::Projection, &name()).await, Err(Refusal::OtherKind(handler())));
    assert_eq!(host.supervisor.rebuild(Kind::Handler, &name(), None).await, Err(Refusal::NoRebuild(name())));
    let listed = |kind| host.supervisor.list(kind).len();
    assert_eq!((listed(Kind::Handler), listed(Kind::Projection)), (1, 0));
    let other = Name::new("other").unwrap();
    let unknown = host.supervisor.status(Kind::Handler, &other).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no handler `other`: `lantern handler list` shows what is there");
    let aggregate = host.supervisor.deploy(deploy(Kind::Aggregate)).await;
    assert_eq!(aggregate, Err(Refusal::NoProcessor(Kind::Aggregate)));
    let grants = Grants { emit: true, ..Grants::default() };
    let granted = lantern_processors::Deploy { name: other.clone(), grants, ..deploy(Kind::Projection) };
    assert_eq!(host.supervisor.deploy(granted).await, Err(Refusal::NoGrants(other)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_is_what_it_was_after_a_restart() {
    let mut host = Host::of_handler().await;
    let grants = Grants { emit: true, ..Grants::default() };
    let module = host.add(telling("one"));
    let deploy = deployment(Kind::Handler, module, &FailurePolicy::default());
    host.supervisor.deploy(lantern_processors::Deploy { grants: grants.clone(), ..deploy }).await.unwrap();
    host.append("A-1", "1").await;
    host.until(|status| status.emitted == 1).await;
    host.restart().await;
    let head = *host.world.log.head().borrow();
    let status = bounded(host.supervisor.wait(Kind::Handler, &name(), head)).await.unwrap();
    assert_eq!((status.kind, status.grants, status.emitted), (Kind::Handler, grants, 0));
    assert_eq!(emitted(&host).await, ["one 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_has_no_effects_whatever_it_asks_for() {
    let host = Host::start().await;
    host.deploy(telling("one")).await;
    host.append("A-1", "1").await;
    assert_eq!((host.caught_up().await.emitted, host.world.events().await.len()), (0, 1));
}

//! Schedules: what is due is emitted once, what is cancelled is not, and nothing while the handler stands still.

use std::sync::{Mutex, atomic::Ordering, mpsc};

use lantern_core::{
    Effect, Effects, Happening, Kind, Name, State, Timer, Timestamp, effect_id, journal::FailurePolicy,
};
use lantern_processors::{Deploy, Refusal, Start};

use crate::{
    host::{Faults, Host, deployment, name},
    modules::{Closure, due},
};

/// Long after the clock of a test.
const LATER: Timestamp = Timestamp(2_000);

/// Does what the data of events of category `A` says: `KEY TIME` schedules, `KEY` cancels.
fn obedient() -> Closure {
    Closure::new("obedient", |event, _| {
        let text = String::from_utf8_lossy(event.data.as_bytes()).trim_matches('"').to_owned();
        let timer = match text.split_once(' ') {
            Some((key, time)) => due(key, Timestamp(time.parse().unwrap()), format!("\"{text}\"")),
            None => Timer::Cancel { key: text.as_str().into() },
        };
        Ok(Effects { timers: vec![timer], ..Effects::default() })
    })
    .wanting("A")
}

async fn say(host: &Host, what: &str) {
    host.append("A-1", &format!("\"{what}\"")).await;
}

/// What came due, in the order of the log.
async fn fired(host: &Host) -> Vec<String> {
    let events = host.world.events().await;
    let due = events.iter().filter(|event| event.stream.category() == "Due");
    due.map(|event| String::from_utf8_lossy(event.data.as_bytes()).trim_matches('"').to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_emitted_and_what_is_not_waits() {
    let host = Host::of_handler().await;
    host.deploy(obedient()).await;
    say(&host, "a 500").await;
    say(&host, "b 2000").await;
    say(&host, "c 3000").await;
    let status = host.until(|status| status.emitted == 1 && status.handled == 3).await;
    assert_eq!((status.scheduled, fired(&host).await), (2, vec!["a 500".into()]));
    let listed = host.supervisor.schedules(None).await.unwrap();
    let keys: Vec<_> = listed.iter().map(|(handler, scheduled)| (handler.clone(), &*scheduled.key)).collect();
    assert_eq!(keys, [(name(), "b"), (name(), "c")]);
    host.world.clock.set(LATER);
    host.until(|status| status.emitted == 2).await;
    assert_eq!(fired(&host).await, ["a 500", "b 2000"]);
    let events = host.world.events().await;
    let (trigger, emitted) = (&events[1], events.last().unwrap());
    assert_eq!(emitted.id, effect_id(&name(), trigger.id, Effect::Scheduled, 0));
    assert_eq!(emitted.metadata.causation_id.as_deref(), Some(trigger.id.to_string().as_str()));
    assert_eq!(emitted.time, LATER, "its time is when it was emitted");
    assert_eq!(host.supervisor.schedules(Some(&name())).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_wakes_by_itself_and_not_before_its_time() {
    let host = Host::of_handler().await;
    host.deploy(obedient()).await;
    host.world.clock.run();
    for ms in [30, 20, 40, 10] {
        say(&host, &format!("t{ms} {}", ms * 1_000_000)).await;
    }
    host.until(|status| status.emitted == 4).await;
    let events = host.world.events().await;
    let due: Vec<_> = events.iter().filter(|event| event.stream.category() == "Due").collect();
    let in_time = |event: &&lantern_core::Event| {
        let said = String::from_utf8_lossy(event.data.as_bytes()).trim_matches('"').to_owned();
        event.time.0 >= said.split_once(' ').unwrap().1.parse().unwrap()
    };
    assert!(due.iter().all(in_time), "{due:?}");
    assert_eq!(due.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_names_one_schedule_that_can_be_replaced_and_cancelled() {
    let host = Host::of_handler().await;
    host.deploy(obedient()).await;
    for what in ["a 1500", "a 1600", "b 1500", "b", "none"] {
        say(&host, what).await;
    }
    assert_eq!(host.caught_up().await.scheduled, 1);
    host.world.clock.set(LATER);
    host.until(|status| status.scheduled == 0).await;
    assert_eq!(fired(&host).await, ["a 1600"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_cancels() {
    let mut host = Host::of_handler().await;
    host.deploy(obedient()).await;
    say(&host, "a 1500").await;
    say(&host, "b 1500").await;
    host.caught_up().await;
    let unknown = host.supervisor.cancel_schedule(&name(), "c").await.unwrap_err();
    assert_eq!(unknown, Refusal::NotScheduled { name: name(), key: "c".into() });
    host.supervisor.cancel_schedule(&name(), "a").await.unwrap();
    assert!(host.supervisor.cancel_schedule(&name(), "a").await.is_err(), "once");
    let history = host.supervisor.history(Kind::Handler, &name()).await.unwrap();
    assert_eq!(history.last().unwrap().happening, Happening::ScheduleCancelled { key: "a".into() });
    host.restart().await;
    host.world.clock.set(LATER);
    host.until(|status| status.emitted == 1).await;
    assert_eq!(fired(&host).await, ["b 1500"]);
    let other = Name::new("other").unwrap();
    assert!(matches!(host.supervisor.cancel_schedule(&other, "a").await, Err(Refusal::Unknown(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_handler_emits_what_came_due_when_it_is_resumed() {
    let mut host = Host::of_handler().await;
    host.deploy(obedient()).await;
    say(&host, "a 1500").await;
    say(&host, "b 1500").await;
    host.caught_up().await;
    host.supervisor.pause(Kind::Handler, &name()).await.unwrap();
    host.world.clock.set(LATER);
    // What is cancelled while the handler is paused was due, and is not emitted all the same.
    host.supervisor.cancel_schedule(&name(), "b").await.unwrap();
    host.restart().await;
    host.until(|status| status.state == State::Paused).await;
    assert!(fired(&host).await.is_empty());
    host.supervisor.resume(Kind::Handler, &name()).await.unwrap();
    host.until(|status| status.emitted == 1).await;
    assert_eq!(fired(&host).await, ["a 1500"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_due_while_the_host_was_down_is_emitted_at_its_start() {
    let mut host = Host::of_handler().await;
    host.deploy(obedient()).await;
    say(&host, "a 1500").await;
    host.caught_up().await;
    host.supervisor.shutdown().await;
    host.world.clock.set(LATER);
    assert!(fired(&host).await.is_empty());
    host.restart().await;
    host.until(|status| status.emitted == 1).await;
    host.restart().await;
    host.caught_up().await;
    assert_eq!((fired(&host).await.len(), host.status().scheduled), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_begins_in_the_past_emits_nothing_that_the_past_has_cancelled() {
    let host = Host::of_handler().await;
    // Due at once, and cancelled two pages later.
    say(&host, "a 500").await;
    for n in 0..8_000 {
        say(&host, &format!("b{n} 500")).await;
    }
    say(&host, "a").await;
    // The handler stands in the second page until the schedules of the first had their chance.
    let (reached, reaching) = mpsc::channel();
    let (go_on, going) = mpsc::channel::<()>();
    let (inner, gate) = (obedient(), Mutex::new((reached, going)));
    let slow = Closure::new("slow", move |event, view| {
        if event.position.0 == 6_000 {
            let (reached, going) = &*gate.lock().unwrap();
            reached.send(()).unwrap();
            going.recv().unwrap();
        }
        inner.handle_directly(event, view)
    });
    host.deploy(slow.wanting("A")).await;
    tokio::task::spawn_blocking(move || reaching.recv().unwrap()).await.unwrap();
    host.until(|status| status.scheduled == 4_000).await;
    assert!(fired(&host).await.is_empty());
    go_on.send(()).unwrap();
    host.until(|status| status.emitted == 8_000).await;
    let fired = fired(&host).await;
    assert_eq!((fired.len(), fired.contains(&"a 500".into())), (8_000, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_emitted_in_order_and_others_are_not_kept_waiting() {
    let host = Host::of_handler().await;
    let many = Closure::new("many", |event, _| match event.data.as_bytes() {
        b"1" => {
            let timers = (0..3_000).map(|n| due(&format!("{n:04}"), Timestamp(1_500 + n), n.to_string()));
            Ok(Effects { timers: timers.collect(), ..Effects::default() })
        }
        _ => Ok(Effects::default()),
    });
    host.deploy(many.wanting("A")).await;
    host.append("A-1", "1").await;
    host.until(|status| status.scheduled == 3_000).await;
    host.world.clock.set(Timestamp(10_000));
    host.append("A-1", "2").await;
    host.until(|status| status.emitted == 3_000).await;
    let fired: Vec<u64> = fired(&host).await.iter().map(|data| data.parse().unwrap()).collect();
    assert_eq!(fired, (0..3_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_is_removed_takes_its_schedules_along() {
    let host = Host::of_handler().await;
    host.deploy(obedient()).await;
    say(&host, "a 1500").await;
    host.caught_up().await;
    host.supervisor.remove(Kind::Handler, &name()).await.unwrap();
    host.world.clock.set(LATER);
    assert!(host.supervisor.schedules(None).await.unwrap().is_empty());
    // Another handler of that name begins after what was said to the one before.
    let module = host.add(obedient());
    let deploy = deployment(Kind::Handler, module, &FailurePolicy::default());
    host.supervisor.deploy(Deploy { start: Start::End, ..deploy }).await.unwrap();
    say(&host, "b 1500").await;
    host.until(|status| status.emitted == 1).await;
    assert_eq!(fired(&host).await, ["b 1500"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_that_fails_delays_what_is_due_and_doubles_nothing() {
    for seed in 0..5 {
        let faults = Faults::seeded(seed, 0);
        let host = Host::of(Kind::Handler, faults.clone()).await;
        host.deploy(obedient()).await;
        for n in 0..20 {
            say(&host, &format!("k{n} {}", 1_500 + n)).await;
        }
        host.caught_up().await;
        faults.one_in.store(3, Ordering::Relaxed);
        host.world.clock.set(LATER);
        host.until(|status| status.scheduled == 0).await;
        let fired = fired(&host).await;
        assert_eq!(fired, (0..20).map(|n| format!("k{n} {}", 1_500 + n)).collect::<Vec<_>>(), "seed {seed}");
    }
}

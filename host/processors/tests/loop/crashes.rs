//! A host that dies at any write, again and again: every trigger has exactly its emitted events, once and in order; the
//! documents are a clean fold; what is scheduled comes due once, unless it was cancelled before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use lantern_core::{
    Digest, Effect, Effects, Event, EventId, Kind, Payload, Timer, Timestamp, View, effect_id, journal::FailurePolicy,
};
use lantern_processors::Supervisor;
use tokio::runtime::{Builder, Runtime};

use crate::{
    host::{World, bounded, deployment, documents, name, noted, noted_all},
    modules::{Closure, due, note, told},
    storage::Faults,
};

/// When what is scheduled for `later` is due; the clock stands before it until everything is handled.
const LATER: Timestamp = Timestamp(5_000);

/// What the data of a trigger asks for.
fn asked(event: &Event) -> Effects {
    let data = String::from_utf8_lossy(event.data.as_bytes());
    let mut effects = Effects::default();
    for (index, word) in data.trim_matches('"').split_whitespace().enumerate() {
        match word.split_once(':') {
            Some(("now", key)) => effects.timers.push(due(key, Timestamp(0), format!("\"{}\"", event.position))),
            Some(("later", key)) => effects.timers.push(due(key, LATER, format!("\"{}\"", event.position))),
            Some((_, key)) => effects.timers.push(Timer::Cancel { key: key.into() }),
            None if word == "again" => effects.emitted.push(told("A-9", "\"tell\"")),
            None => effects.emitted.push(told(&format!("Told-{}", index % 2), format!("\"{}\"", event.position))),
        }
    }
    effects
}

/// Does what is asked for and notes the trigger.
fn agent(name: &str) -> Closure {
    Closure::new(name, |event, view| Ok(Effects { writes: note(event, view)?.writes, ..asked(event) })).wanting("A")
}

/// Tells something else at every call, as a module does that looks at the clock.
fn fickle(name: &str) -> Closure {
    let (agent, calls) = (agent(name), AtomicU64::new(0));
    let fickle = move |event: &Event, view: &dyn View| {
        let mut effects = agent.handle_directly(event, view)?;
        for emission in effects.emitted.iter_mut().filter(|emission| emission.stream.category() == "Told") {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            emission.event.data = Payload::Json(call.to_string().into());
        }
        Ok(effects)
    };
    Closure::new(name, fickle).wanting("A")
}

/// A host that can be killed.
struct Life {
    runtime: Runtime,
    supervisor: Supervisor,
}

impl Life {
    fn begin(world: &World) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        let supervisor = runtime.block_on(world.supervise());
        Self { runtime, supervisor }
    }

    /// Does something with the host; `None` when it dies meanwhile.
    fn with<T>(&self, world: &World, work: impl AsyncFnOnce(&Supervisor) -> T) -> Option<T> {
        let mut died = world.faults.died.subscribe();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = died.wait_for(|died| *died) => None,
                result = bounded(work(&self.supervisor)) => Some(result),
            }
        })
    }

    /// Kills the host, at whatever it is just waiting for, and starts another.
    fn again(self, world: &World) -> Self {
        self.runtime.shutdown_timeout(Duration::from_secs(60));
        drop(self.supervisor);
        world.faults.died.send_replace(false);
        Self::begin(world)
    }
}

/// What a trigger asks for, by chance.
fn wish(random: &mut fastrand::Rng) -> String {
    let words = ["tell", "tell", "again", "now", "later", "cancel"];
    let word = |random: &mut fastrand::Rng| match random.choice(words).unwrap() {
        word @ ("now" | "later" | "cancel") => format!("{word}:k{}", random.u8(..6)),
        word => word.to_owned(),
    };
    let words: Vec<String> = (0..random.u8(..4)).map(|_| word(random)).collect();
    format!("\"{}\"", words.join(" "))
}

/// Waits until everything is handled, also what was emitted meanwhile.
async fn settled(world: &World, supervisor: &Supervisor) {
    loop {
        let head = *world.log.head().borrow();
        let _ = supervisor.resume(Kind::Handler, &name()).await;
        if supervisor.wait(Kind::Handler, &name(), head).await.is_ok() && *world.log.head().borrow() == head {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// One thing that may happen to a handler.
async fn happen(world: &World, supervisor: &Supervisor, what: u8) {
    // Any of these may be refused because of a fault: that is no matter here.
    let handler = Kind::Handler;
    match what {
        0 => drop(supervisor.swap(handler, &name(), Digest::of(b"one")).await),
        1 => drop(supervisor.swap(handler, &name(), Digest::of(b"two")).await),
        2 => drop(supervisor.rollback(handler, &name()).await),
        3 => drop(supervisor.pause(handler, &name()).await),
        4 => drop(supervisor.resume(handler, &name()).await),
        5 => settled(world, supervisor).await,
        _ => {}
    }
}

fn live_and_die(seed: u64, make: fn(&str) -> Closure) {
    let world = World::new(Faults::seeded(seed, 0));
    let mut random = fastrand::Rng::with_seed(seed);
    let module = world.library.add(make("one"));
    world.library.add(make("two"));
    let mut life = Life::begin(&world);
    let deploy = deployment(Kind::Handler, module, &FailurePolicy::default());
    life.with(&world, async |supervisor| supervisor.deploy(deploy).await.unwrap()).unwrap();
    let mut deaths = 0;
    for _ in 0..80 {
        // Now and then a write fails without killing the host; the pause after it makes this slow, so only rarely.
        world.faults.one_in.store(if random.u8(..8) == 0 { 10 } else { 0 }, Ordering::Relaxed);
        if world.faults.writes_left.load(Ordering::Relaxed) == 0 {
            world.faults.writes_left.store(random.u64(1..12), Ordering::Relaxed);
        }
        let (stream, wish, what) = (format!("A-{}", random.u8(..4)), wish(&mut random), random.u8(..10));
        let done = life.with(&world, async |supervisor| {
            world.append(&stream, noted(&wish)).await;
            happen(&world, supervisor, what).await;
        });
        if done.is_none() {
            deaths += 1;
            life = life.again(&world);
        }
    }
    world.faults.one_in.store(0, Ordering::Relaxed);
    world.faults.writes_left.store(0, Ordering::Relaxed);
    if *world.faults.died.borrow() {
        life = life.again(&world);
    }
    life.with(&world, async |supervisor| settled(&world, supervisor).await).unwrap();
    world.clock.set(Timestamp(10_000));
    let found = life.with(&world, async |supervisor| {
        while supervisor.status(Kind::Handler, &name()).unwrap().scheduled > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        supervisor.shutdown().await;
        let read_model = supervisor.read_model(Kind::Handler, &name(), None).await.unwrap();
        assert!(read_model.scheduled().await.unwrap().is_empty());
        (world.events().await, documents(&*read_model).await)
    });
    let (events, documents) = found.unwrap();
    assert!(deaths > 0, "seed {seed}: the host is to die");
    check(seed, &events, &documents);
}

/// Holds what is in the log against what the triggers in it ask for.
fn check(seed: u64, events: &[Event], documents: &BTreeMap<String, String>) {
    let triggers: Vec<&Event> = events.iter().filter(|event| event.stream.category() == "A").collect();
    assert_eq!(*documents, noted_all(triggers.iter().copied()), "seed {seed}: documents are a clean fold");

    let mut emitted: Vec<EventId> = Vec::new();
    let mut scheduled: BTreeMap<String, EventId> = BTreeMap::new();
    let (mut never, mut perhaps) = (BTreeSet::new(), BTreeSet::new());
    for trigger in &triggers {
        let id = |effect, index| effect_id(&name(), trigger.id, effect, index);
        let Effects { emitted: asked, timers, .. } = asked(trigger);
        emitted.extend((0..asked.len()).map(|index| id(Effect::Emitted, index)));
        for (index, timer) in timers.into_iter().enumerate() {
            let (key, set) = match timer {
                Timer::Set { key, due, .. } => (key, Some((id(Effect::Scheduled, index), due))),
                Timer::Cancel { key } => (key, None),
            };
            if let Some(before) = scheduled.remove(&*key) {
                never.insert(before);
            }
            if let Some((id, due)) = set {
                scheduled.insert(key.to_string(), id);
                if due != LATER {
                    perhaps.insert(id);
                }
            }
        }
    }
    let of_handler: Vec<&Event> = events.iter().filter(|event| event.metadata.source.is_some()).collect();
    let (fired, found): (Vec<&Event>, Vec<&Event>) =
        of_handler.into_iter().partition(|event| event.stream.category() == "Due");
    let found: Vec<EventId> = found.iter().map(|event| event.id).collect();
    assert_eq!(found, emitted, "seed {seed}: every trigger has its events, once and in order");

    let fired: BTreeSet<EventId> = fired.iter().map(|event| event.id).collect();
    for id in scheduled.values() {
        assert!(fired.contains(id), "seed {seed}: what is due and not cancelled is emitted");
    }
    // What was due at once may have been emitted before it was cancelled or replaced.
    let allowed: BTreeSet<EventId> = scheduled.into_values().chain(never.intersection(&perhaps).copied()).collect();
    assert!(fired.is_subset(&allowed), "seed {seed}: what was cancelled before it was due is not emitted");
}

#[test]
fn a_host_that_dies_at_any_write_neither_repeats_nor_loses_an_effect() {
    std::thread::scope(|scope| {
        for first in 0..4 {
            let make = if first % 2 == 0 { agent } else { fickle };
            scope.spawn(move || (0..25).for_each(|round| live_and_die(first + 4 * round, make)));
        }
    });
}

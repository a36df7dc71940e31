//! Where the time of a pipeline goes: how long each stage worked, and how long the processors did for each thread.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use lantern_core::{Batch, Call, Digest, Page};

use crate::{watch::Watch, world::Rebuilt};

/// How often something was done and how long it took together.
#[derive(Default)]
struct Tally {
    count: AtomicU64,
    nanos: AtomicU64,
}

/// The work of the stages of a pipeline.
#[derive(Default)]
pub(crate) struct Stages {
    read: Tally,
    got: Tally,
    handled: Tally,
    committed: Tally,
    documents: AtomicU64,
}

impl Tally {
    fn add(&self, began: Instant) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn took(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Watch for Stages {
    fn read(&self, _page: &Page, began: Instant) {
        self.read.add(began);
    }

    fn got(&self, began: Instant) {
        self.got.add(began);
    }

    fn handled(&self, _module: Digest, _call: &Call<'_>, began: Instant) {
        self.handled.add(began);
    }

    fn committed(&self, batch: &Batch, began: Instant) {
        self.committed.add(began);
        self.documents.fetch_add(batch.documents.len() as u64, Ordering::Relaxed);
    }
}

impl Stages {
    /// The stages in words, for a run over so many events. The measuring itself costs some 0.1 µs an event.
    pub(crate) fn tell(&self, name: &str, events: u64, rebuilt: &Rebuilt) -> String {
        let took = rebuilt.took;
        let each = |tally: &Tally| tally.took().as_secs_f64() * 1e6 / events as f64;
        let waits = |tally: &Tally| took.saturating_sub(tally.took()).as_secs_f64() * 1e6 / events as f64;
        let mut text = format!("{name}: {:.2} µs an event\n", took.as_secs_f64() * 1e6 / events as f64);
        for (stage, tally) in [("read", &self.read), ("handle", &self.handled), ("commit", &self.committed)] {
            let (busy, idle, count) = (each(tally), waits(tally), tally.count());
            let _ = writeln!(text, "  {stage:<8} busy {busy:>5.2}  waits {idle:>5.2} µs an event, {count} calls");
        }
        let documents = self.documents.load(Ordering::Relaxed);
        let committed = self.committed.took().as_secs_f64() * 1e6 / documents.max(1) as f64;
        let _ = writeln!(
            text,
            "  of handle, {:.2} µs an event are {} gets of committed documents; {documents} documents committed, \
             {committed:.2} µs each",
            each(&self.got),
            self.got.count(),
        );
        text + &rebuilt.processors.tell(events)
    }
}

/// The processor time that groups of threads used, and waited for: threads of one name are a group.
#[derive(Default)]
pub(crate) struct Processors {
    times: BTreeMap<String, (Duration, Duration)>,
}

impl Processors {
    /// What was used so far by threads that have not ended.
    pub(crate) fn now() -> Self {
        Self { times: processor_time() }
    }

    /// What was used since an earlier moment.
    pub(crate) fn since(mut self, earlier: &Self) -> Self {
        for (name, (ran, waited)) in &mut self.times {
            let (ran_before, waited_before) = earlier.times.get(name).copied().unwrap_or_default();
            *ran = ran.saturating_sub(ran_before);
            *waited = waited.saturating_sub(waited_before);
        }
        self
    }

    fn tell(&self, events: u64) -> String {
        let mut text = String::from("  processor time by thread name (ran, waited for a processor), µs an event:\n");
        for (name, (ran, waited)) in &self.times {
            let each = |time: &Duration| time.as_secs_f64() * 1e6 / events as f64;
            let (ran, waited) = (each(ran), each(waited));
            if ran + waited > 0.005 {
                let _ = writeln!(text, "    {name:<18} {ran:>5.2} {waited:>6.2}");
            }
        }
        text
    }
}

/// Read from the kernel's bookkeeping; empty where there is none.
fn processor_time() -> BTreeMap<String, (Duration, Duration)> {
    let mut times: BTreeMap<String, (Duration, Duration)> = BTreeMap::new();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return times };
    for task in tasks.flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let (name, numbers) = (read("comm").trim().to_owned(), read("schedstat"));
        let mut numbers = numbers.split_whitespace().map(|number| number.parse().unwrap_or(0));
        let mut next = || Duration::from_nanos(numbers.next().unwrap_or(0));
        let time = times.entry(name).or_default();
        time.0 += next();
        time.1 += next();
    }
    times
}

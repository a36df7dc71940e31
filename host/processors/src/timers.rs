//! The timers of a handler: what it scheduled is put into the log when it is due.
//!
//! What is scheduled is kept in memory beside its storage. One lock orders what changes it: a commit holds the lock until
//! its changes are known here, and so does the emission of due events. So nothing is emitted whose cancellation is
//! committed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lantern_core::{
    Batch, Clock, EventId, Fate, Lease, Log, NewEvent, ReadModel, ScheduleChange, Scheduled, Timestamp,
    read_model::CommitError,
};
use tokio::{
    sync::{Mutex, Notify, watch},
    task::JoinHandle,
    time,
};

use crate::{
    LastError, backoff,
    emission::{append, emit},
    progress::Progress,
    run::TROUBLE,
    tenure::Tenure,
};

/// How many due events are appended at once: others get their turn in between.
const MOST_AT_ONCE: usize = 500;

/// How long at most the clock goes unread while something is scheduled: it may be set to another time.
const RECHECK: Duration = Duration::from_secs(1);

/// The timers of a handler that runs: a task, and what it shares with the session.
pub(crate) struct Timers {
    pub(crate) shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What the task stands on.
pub(crate) struct Foundation {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) read_model: Arc<dyn ReadModel>,
    pub(crate) lease: Lease,
    pub(crate) tenure: Tenure,
    pub(crate) progress: watch::Sender<Progress>,
}

/// What the task and the session share.
pub(crate) struct Shared {
    on: Foundation,
    waiting: Mutex<Waiting>,
    /// Whether due events may be emitted.
    open: AtomicBool,
    changed: Notify,
}

/// What is scheduled.
struct Waiting {
    by_due: BTreeMap<(Timestamp, Arc<str>), Scheduled>,
    due: HashMap<Arc<str>, Timestamp>,
    /// What is here may differ from what is stored, or the session has ended: nothing may be emitted any more.
    over: bool,
}

/// What the task does next.
enum Next {
    /// Goes on at once.
    More,
    /// Waits until this time, or a change.
    At(Timestamp),
    /// Waits for a change.
    Change,
    /// Waits a while, then tries again.
    Trouble(String),
    /// Ends.
    Over,
}

impl Timers {
    /// Starts the timers of a session, closed: nothing is emitted until they are opened.
    pub(crate) fn start(on: Foundation, scheduled: Vec<Scheduled>) -> Self {
        let mut waiting = Waiting { by_due: BTreeMap::new(), due: HashMap::new(), over: false };
        for scheduled in scheduled {
            waiting.set(scheduled);
        }
        let shared = Shared { on, waiting: Mutex::new(waiting), open: AtomicBool::new(false), changed: Notify::new() };
        let shared = Arc::new(shared);
        let task = tokio::spawn(shared.clone().run());
        Self { shared, task }
    }

    /// Ends them. Nothing is emitted from then on.
    pub(crate) async fn end(self) {
        self.shared.waiting.lock().await.over = true;
        self.shared.changed.notify_one();
        if let Err(error) = self.task.await {
            tracing::error!("the timers of a handler ended with a panic: {error}");
        }
    }
}

impl Shared {
    /// Lets due events be emitted.
    pub(crate) fn open(&self) {
        if !self.open.swap(true, Ordering::SeqCst) {
            self.changed.notify_one();
        }
    }

    /// Lets nothing be emitted from now on; what is under way is waited for.
    pub(crate) async fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
        drop(self.waiting.lock().await);
    }

    /// Whether something is scheduled under a key.
    pub(crate) async fn has(&self, key: &str) -> bool {
        self.waiting.lock().await.due.contains_key(key)
    }

    /// Commits a batch that changes schedules.
    pub(crate) async fn commit(&self, batch: &Batch) -> Result<(), CommitError> {
        let mut waiting = self.waiting.lock().await;
        let result = self.on.read_model.commit(self.on.lease, batch).await;
        match result {
            Ok(()) => waiting.apply(&batch.schedules),
            // It may have taken effect all the same. The next session reads what is stored.
            Err(_) => waiting.over = true,
        }
        self.show(&waiting);
        drop(waiting);
        self.changed.notify_one();
        result
    }

    async fn run(self: Arc<Self>) {
        let mut troubles = 0;
        loop {
            let next = self.fire().await;
            let pause = match next {
                Next::Over => return,
                Next::More => {
                    if std::mem::take(&mut troubles) > 0 {
                        self.on.progress.send_modify(|progress| progress.last_error = None);
                    }
                    tokio::task::yield_now().await;
                    continue;
                }
                Next::Change => {
                    self.changed.notified().await;
                    continue;
                }
                Next::At(due) => due.since(self.on.clock.now()).min(RECHECK),
                Next::Trouble(message) => {
                    tracing::warn!("scheduled events wait: {message}; trying again");
                    self.note(message);
                    troubles += 1;
                    backoff::pause(&TROUBLE, troubles)
                }
            };
            // A wait that is over early or late is no matter: the clock is read again.
            let _ = time::timeout(pause, self.changed.notified()).await;
        }
    }

    /// Emits the first events that are due.
    async fn fire(&self) -> Next {
        let mut waiting = self.waiting.lock().await;
        if waiting.over {
            return Next::Over;
        }
        if !self.on.tenure.holds() {
            // Another host may know of cancellations that are not known here.
            waiting.over = true;
            return Next::Over;
        }
        if !self.open.load(Ordering::SeqCst) {
            return Next::Change;
        }
        let now = self.on.clock.now();
        let Some(first) = waiting.first() else { return Next::Change };
        if first > now {
            return Next::At(first);
        }
        let due: Vec<Scheduled> = waiting.until(now).take(MOST_AT_ONCE).cloned().collect();
        let ids: Vec<EventId> = due.iter().map(|scheduled| scheduled.event.id).collect();
        let events = due.iter().map(|Scheduled { stream, event, .. }| {
            let event = NewEvent { time: now, ..event.clone() };
            vec![append(stream.clone(), event)]
        });
        let emitted = match emit(&*self.on.log, &events.collect::<Vec<_>>()).await {
            Ok(emitted) => emitted,
            Err(error) => return Next::Trouble(error.to_string()),
        };
        match self.on.read_model.fired(self.on.lease, &ids).await {
            Ok(()) => {}
            Err(error) if error.fate() == Fate::Stop => {
                waiting.over = true;
                tracing::warn!("the timers of a handler end: {error}");
                return Next::Over;
            }
            Err(error) => return Next::Trouble(error.to_string()),
        }
        for scheduled in &due {
            waiting.cancel(&scheduled.key);
        }
        self.on.progress.send_if_modified(|progress| {
            progress.emitted += emitted;
            false
        });
        self.show(&waiting);
        Next::More
    }

    /// Brings what the watchers see up to date.
    fn show(&self, waiting: &Waiting) {
        let scheduled = waiting.due.len() as u64;
        self.on.progress.send_if_modified(|progress| {
            progress.scheduled = scheduled;
            false
        });
    }

    fn note(&self, message: String) {
        let error = LastError { message, at: self.on.clock.now(), position: None };
        self.on.progress.send_modify(|progress| progress.last_error = Some(error));
    }
}

impl Waiting {
    fn apply(&mut self, changes: &[ScheduleChange]) {
        for change in changes {
            match change {
                ScheduleChange::Set(scheduled) => self.set(Scheduled::clone(scheduled)),
                ScheduleChange::Cancel(key) => self.cancel(key),
            }
        }
    }

    fn set(&mut self, scheduled: Scheduled) {
        self.cancel(&scheduled.key);
        self.due.insert(scheduled.key.clone(), scheduled.due);
        self.by_due.insert((scheduled.due, scheduled.key.clone()), scheduled);
    }

    fn cancel(&mut self, key: &Arc<str>) {
        if let Some(due) = self.due.remove(key) {
            self.by_due.remove(&(due, key.clone()));
        }
    }

    /// When the first one is due.
    fn first(&self) -> Option<Timestamp> {
        self.by_due.first_key_value().map(|((due, _), _)| *due)
    }

    /// Those that are due at a time, the first due first.
    fn until(&self, now: Timestamp) -> impl Iterator<Item = &Scheduled> {
        self.by_due.values().take_while(move |scheduled| scheduled.due <= now)
    }
}

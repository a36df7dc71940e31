//! A topic seen as a log: what a projection reads that a route feeds straight from a bus.
//!
//! ```text
//!  bus ─▶ next ─▶ numbered as it comes ─▶ handled like events of the log ─▶ one commit: documents, offsets, parked ─▶ settle
//! ```
//!
//! What is not committed is kept here, so that it can be handled again without asking the bus. The offsets are documents of
//! the generation, in a collection of the host's own: they change with the read model or not at all, behind its fence.
//! Positions count the messages; they are this projection's own and say nothing of those of the log.

mod as_log;
mod feeding;
mod kept;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lantern_core::{
    Batch, Bus, Checkpoint, Clock, Delivery, Event, Message, NewEvent, Position, ReadModel, ReadModelError, Timestamp,
    Version,
    bus::{Offset, Partition, Receipt},
    documents::{OWN, Scan},
};
use tokio::sync::{Notify, watch};

pub(crate) use self::feeding::Feeding;
use crate::{
    configured::Consume,
    dead_messages::{DeadMessage, DeadMessages},
    inbox::Flow,
};

/// How many messages, and about how many bytes of them, are kept that are not committed.
const MOST: (usize, usize) = (16_000, 64 * 1024 * 1024);

/// How many of the last events are kept for dry runs.
const RECENT: usize = 50;

/// How many bytes a message is counted with beside its data.
const OVERHEAD: usize = 400;

/// What one projection reads from a bus.
pub(crate) struct Feed {
    pub(crate) route: Consume,
    pub(crate) bus: Arc<dyn Bus>,
    /// What is set aside because it is no event.
    pub(crate) dead: DeadMessages,
    /// How it is doing.
    pub(crate) flow: watch::Sender<Flow>,
    /// Wakes whoever consumes: there is room, or something to settle.
    pub(crate) stirred: Notify,
    clock: Arc<dyn Clock>,
    read_model: Arc<dyn ReadModel>,
    head: watch::Sender<Position>,
    state: Mutex<State>,
    /// Held while dead letters are decided about: one at a time.
    pub(crate) deciding: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Whether a session has begun: before, nobody knows where to go on.
    is_begun: bool,
    /// All up to here is committed.
    base: Position,
    /// What comes after it, in order.
    entries: VecDeque<Entry>,
    /// About how many bytes they have.
    bytes: usize,
    /// The next offset of each partition, as it is committed.
    committed: BTreeMap<Partition, Offset>,
    /// The next offset of each partition behind what is here.
    reached: BTreeMap<Partition, Offset>,
    /// What is committed and not settled.
    settling: Settling,
    /// Whether the group is to be joined anew: somebody else has committed meanwhile.
    is_stale: bool,
    /// Why the topic is not the one that was read before.
    stray: Option<String>,
    recent: VecDeque<Event>,
}

/// What is committed, so that the bus may know.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settling {
    /// Messages that were set aside, in order.
    pub(crate) dead: Vec<Receipt>,
    /// The last message of each partition and session.
    pub(crate) last: Vec<Receipt>,
}

/// One position.
struct Entry {
    origin: Origin,
    content: Content,
    bytes: usize,
}

/// Where it comes from.
enum Origin {
    Bus(Receipt),
    /// From what was set aside, by this id.
    Shelf(String),
}

#[expect(clippy::large_enum_variant, reason = "nearly all of it is events")]
enum Content {
    Event(Event),
    /// It is set aside, or stays so.
    Dead(Box<DeadMessage>),
    /// Somebody gave it up.
    Nothing,
}

impl State {
    fn position(&self, index: usize) -> Position {
        Position(self.base.0 + 1 + index as u64)
    }

    /// The entries after a position, with their positions.
    fn after(&self, after: Position) -> impl Iterator<Item = (Position, &Entry)> {
        let first = usize::try_from(after.since(self.base)).unwrap_or(usize::MAX);
        self.entries.iter().enumerate().skip(first).map(|(index, entry)| (self.position(index), entry))
    }

    fn push(&mut self, origin: Origin, content: Content, bytes: usize) -> Position {
        self.bytes += bytes;
        self.entries.push_back(Entry { origin, content, bytes });
        self.position(self.entries.len() - 1)
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= MOST.0 || self.bytes >= MOST.1
    }
}

impl Feed {
    /// The feed of a generation, which begins with its first session.
    pub(crate) fn new(
        route: Consume,
        bus: Arc<dyn Bus>,
        read_model: Arc<dyn ReadModel>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let dead = DeadMessages::beside(read_model.clone(), clock.clone());
        Arc::new(Self {
            route,
            bus,
            dead,
            flow: watch::Sender::default(),
            stirred: Notify::new(),
            clock,
            read_model,
            head: watch::Sender::new(Position::START),
            state: Mutex::default(),
            deciding: tokio::sync::Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic would leave is mended by the next session.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session begins at a checkpoint. What is here stays if nobody else has committed since it came.
    pub(crate) async fn begin(&self, checkpoint: &Checkpoint) -> Result<(), ReadModelError> {
        let committed = self.offsets().await?;
        let dead_letters = self.dead.count().await?;
        let mut state = self.state();
        let is_same = state.base == checkpoint.position && state.committed == committed;
        if !(state.is_begun && is_same && state.stray.is_none()) {
            let is_stale = state.is_begun;
            *state = State {
                is_begun: true,
                is_stale,
                base: checkpoint.position,
                reached: committed.clone(),
                committed,
                ..State::default()
            };
        }
        let head = Position(state.base.0 + state.entries.len() as u64);
        drop(state);
        self.flow.send_modify(|flow| flow.dead_letters = dead_letters);
        self.head.send_replace(head);
        self.stirred.notify_one();
        Ok(())
    }

    /// The next offset of each partition, as it is committed.
    async fn offsets(&self) -> Result<BTreeMap<Partition, Offset>, ReadModelError> {
        let scan = Scan { prefix: String::new(), after: None, limit: usize::MAX };
        let documents = self.read_model.scan(&offsets_in(), &scan).await?;
        let read = documents.iter().map(|document| {
            let partition = document.key.parse().ok().map(Partition);
            let offset = serde_json::from_str(&document.value).ok();
            let damaged =
                || ReadModelError::Unavailable(format!("the offset of partition {} is damaged", document.key));
            partition.zip(offset).ok_or_else(damaged)
        });
        read.collect()
    }

    /// Whether a session has begun.
    pub(crate) fn is_begun(&self) -> bool {
        self.state().is_begun
    }

    /// Whether more messages can be kept.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.state();
        !state.is_full() && state.stray.is_none()
    }

    /// Whether the group is to be joined anew; answered once.
    pub(crate) fn is_stale(&self) -> bool {
        std::mem::take(&mut self.state().is_stale)
    }

    /// Where partitions go on: behind what is here, or where the read model stands.
    pub(crate) fn places(&self, partitions: &[Partition]) -> Vec<(Partition, Option<Offset>)> {
        let state = self.state();
        partitions.iter().map(|partition| (*partition, state.reached.get(partition).copied())).collect()
    }

    /// Takes messages in. A message before the place where its partition went on says that the topic is another one.
    pub(crate) fn add(&self, deliveries: Vec<Delivery>) {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.is_stale {
            // From where the member of the group stood before; the next one begins where the read model does.
            return;
        }
        for Delivery { content, receipt, .. } in deliveries {
            let Receipt { partition, offset, .. } = receipt;
            if let Some(next) = state.reached.get(&partition).filter(|next| offset < **next) {
                state.stray = Some(format!(
                    "topic `{}` was made anew or went back: partition {partition} gives {offset}, but what comes before \
                     {next} was handled already; remove the projection and deploy it again",
                    self.route.subscription.topic
                ));
                break;
            }
            state.reached.insert(partition, offset.next());
            let position = state.position(state.entries.len());
            let (content, bytes) = match content {
                Ok(message) => {
                    let bytes = message.event.data.as_bytes().len();
                    (Content::Event(event(message, position)), bytes)
                }
                Err(message) => {
                    let bytes = message.body.len();
                    let topic = &self.route.subscription.topic;
                    tracing::warn!(%topic, %partition, %offset, "a message is no event: {}", message.reason);
                    (Content::Dead(Box::new(DeadMessage::new(topic, receipt, message, self.clock.now()))), bytes)
                }
            };
            state.push(Origin::Bus(receipt), content, bytes + OVERHEAD);
        }
        let head = Position(state.base.0 + state.entries.len() as u64);
        drop(guard);
        self.head.send_replace(head);
    }

    /// Puts what was set aside at the end of what is here, as an event or as it stays, and answers its position. With the
    /// commit of that position it is an event handled, is set aside anew, or is given up.
    pub(crate) fn decide(&self, id: &str, decision: Decision) -> Position {
        let mut state = self.state();
        let position = state.position(state.entries.len());
        let content = match decision {
            Decision::Handle(message) => Content::Event(event(*message, position)),
            Decision::Keep(dead) => Content::Dead(dead),
            Decision::Forget => Content::Nothing,
        };
        state.push(Origin::Shelf(id.into()), content, OVERHEAD);
        drop(state);
        self.head.send_replace(position);
        position
    }

    /// Adds to a batch what is to be remembered with it: offsets, messages that are no events, events that are parked.
    pub(crate) fn note(&self, batch: &mut Batch) {
        let state = self.state();
        let documents = Arc::make_mut(&mut batch.documents);
        let mut offsets = BTreeMap::new();
        for (_, entry) in state.after(batch.from).take_while(|(position, _)| *position <= batch.until) {
            if let Origin::Bus(receipt) = &entry.origin {
                offsets.insert(receipt.partition, receipt.offset.next());
            }
            match (&entry.origin, &entry.content) {
                (_, Content::Dead(dead)) => self.dead.note(documents, dead),
                (Origin::Shelf(id), Content::Event(_) | Content::Nothing) => self.dead.note_gone(documents, id),
                (Origin::Bus(_), _) => {}
            }
        }
        let collection: Arc<str> = offsets_in().into();
        for (partition, offset) in offsets {
            let value = format!("\"{offset}\"");
            documents.set(collection.clone(), partition.to_string().into(), Some(value.into()));
        }
        for parked in &batch.parked {
            let mut parked_here = state.after(Position(parked.position.0 - 1)).take(1);
            if let Some((_, Entry { content: Content::Event(event), .. })) =
                parked_here.next().filter(|(position, _)| *position == parked.position)
            {
                kept::keep(documents, event);
            }
        }
        batch.released.iter().for_each(|position| kept::release(documents, *position));
    }

    /// All up to a position is committed.
    pub(crate) fn release(&self, until: Position) {
        let mut guard = self.state();
        let state = &mut *guard;
        let (mut messages, mut added, mut gone) = (0, 0, 0);
        while state.base < until
            && let Some(Entry { origin, content, bytes }) = state.entries.pop_front()
        {
            state.base = state.base.next();
            state.bytes -= bytes;
            match (&origin, &content) {
                (Origin::Bus(receipt), Content::Dead(_)) => {
                    state.settling.dead.push(*receipt);
                    added += 1;
                }
                (Origin::Bus(receipt), _) => state.settling.through(*receipt),
                (Origin::Shelf(_), Content::Dead(_)) => {}
                (Origin::Shelf(_), _) => gone += 1,
            }
            if let Origin::Bus(receipt) = origin {
                messages += 1;
                state.committed.insert(receipt.partition, receipt.offset.next());
            }
            if let Content::Event(event) = content {
                if state.recent.len() == RECENT {
                    state.recent.pop_front();
                }
                state.recent.push_back(event);
            }
        }
        drop(guard);
        self.flow.send_if_modified(|flow| {
            flow.messages += messages;
            flow.dead_letters = (flow.dead_letters + added).saturating_sub(gone);
            added + gone > 0
        });
        self.stirred.notify_one();
    }

    /// What is committed and not settled; answered once.
    pub(crate) fn settling(&self) -> Settling {
        std::mem::take(&mut self.state().settling)
    }

    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// What an operator decided about a message that was set aside.
pub(crate) enum Decision {
    /// It is an event after all.
    Handle(Box<Message>),
    /// It is none still.
    Keep(Box<DeadMessage>),
    /// It is given up.
    Forget,
}

impl Settling {
    fn through(&mut self, receipt: Receipt) {
        let same = |known: &&mut Receipt| known.partition == receipt.partition && known.session == receipt.session;
        match self.last.iter_mut().find(same) {
            Some(known) => *known = receipt,
            None => self.last.push(receipt),
        }
    }
}

/// The collection of the offsets.
fn offsets_in() -> String {
    format!("{OWN}offsets")
}

/// A message as an event of the projection's own numbers. What its version is in its stream only its log knows: here it
/// grows with the position.
fn event(message: Message, position: Position) -> Event {
    let Message { stream, event: NewEvent { id, event_type, schema_version, time, data, metadata } } = message;
    Event { id, event_type, schema_version, stream, version: Version(position.0), position, time, data, metadata }
}

#[cfg(test)]
mod tests;

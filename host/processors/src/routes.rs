//! Routes between the log and buses, as the configuration has them: each that publishes is a run like a processor's, each
//! that consumes an inbox. This is their public face.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lantern_core::{
    Destination, Filter, Generation, Kind, Module, Name, Parked, Position, Publication, Published, State, Subscription,
    Timestamp,
    bus::{Lag, Undecodable},
    journal::FailurePolicy,
    parked::Standing,
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use crate::{
    LastError, Ports, Refusal, Retried, Selection, Start, arrivals,
    command::Command,
    dead_messages::{DeadMessage, DeadMessages},
    generation::Hold,
    inbox::{Flow, Inbox, Order},
    processor::{Begun, Running},
    relay::{Relay, Unchanged},
    tenure::Term,
};

/// How many orders may wait for an inbox.
const WAITING_ORDERS: usize = 16;

/// How long a run of a route may go on: longer than a host does.
const FOR_GOOD: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How many dead letters are tried again at once.
const MOST_RETRIED: usize = 1_000;

/// A route from the log to a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Its name, unique among all routes. Its checkpoint is kept under it.
    pub name: Name,
    /// The bus.
    pub bus: Name,
    /// Where events go there.
    pub destination: Destination,
    /// The categories that are published; all when empty.
    pub categories: BTreeSet<String>,
    /// The event types that are published; all when empty.
    pub event_types: BTreeSet<String>,
    /// Where it begins that has no checkpoint yet.
    pub start: Start,
}

/// A route from a bus into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consume {
    /// Its name, unique among all routes. Its dead letters are kept under it.
    pub name: Name,
    /// The bus.
    pub bus: Name,
    /// What is consumed there, and as whom.
    pub subscription: Subscription,
}

/// Which way messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From the log to a bus.
    Publish,
    /// From a bus into the log.
    Consume,
}

/// How a route is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// Its name.
    pub name: Name,
    /// Which way messages go.
    pub direction: Direction,
    /// The bus.
    pub bus: Name,
    /// The topic.
    pub topic: String,
    /// The consumer group of a route that consumes.
    pub group: Option<String>,
    /// Its state.
    pub state: State,
    /// The last position that is published, events that do not fit included; of a route that publishes.
    pub position: Option<Position>,
    /// The head of the log; of a route that publishes.
    pub head: Option<Position>,
    /// How many positions lie between the two, or how many messages wait for the group in its partitions.
    pub lag: u64,
    /// When the oldest event happened that is still to be published.
    pub oldest_waiting: Option<Timestamp>,
    /// The partitions that are this host's, and how many messages wait there; of a route that consumes.
    pub partitions: Vec<Lag>,
    /// How many messages were published, or taken into the log, since the host started.
    pub messages: u64,
    /// How many events or messages were set aside and wait for an operator.
    pub dead_letters: u64,
    /// The last error and when it happened, until the route works again.
    pub last_error: Option<LastError>,
}

/// What a route has set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DeadLetter {
    /// An event that a bus did not take.
    Event(Parked),
    /// A message that is no event.
    Message(DeadMessage),
}

/// All routes of a host. Cheap to clone.
#[derive(Clone)]
pub struct Routes {
    shared: Arc<Shared>,
}

struct Shared {
    ports: Arc<Ports>,
    routes: BTreeMap<Name, Route>,
}

enum Route {
    Publishes { publish: Publish, filter: Filter, running: Running, _term: Term },
    Consumes { consume: Consume, inbox: Arc<Taking> },
}

/// An inbox that runs.
struct Taking {
    dead: Arc<DeadMessages>,
    flow: watch::Sender<Flow>,
    orders: mpsc::Sender<Order>,
    task: Mutex<Option<JoinHandle<()>>>,
    /// Held while dead letters are tried again or discarded: one at a time.
    deciding: tokio::sync::Mutex<()>,
}

impl Routes {
    /// Starts all routes. A bus that is away keeps none from starting: it is tried until it is there.
    pub async fn start(ports: Ports, publish: Vec<Publish>, consume: Vec<Consume>) -> Result<Self, Refusal> {
        let ports = Arc::new(Ports { upcasting: Arc::new(Unchanged::new()), ..ports });
        let mut routes = BTreeMap::new();
        for publish in publish {
            routes.insert(publish.name.clone(), begin_to_publish(&ports, publish).await?);
        }
        for consume in consume {
            routes.insert(consume.name.clone(), begin_to_consume(&ports, consume).await?);
        }
        Ok(Self { shared: Arc::new(Shared { ports, routes }) })
    }

    /// All routes by name, without what only the log can tell.
    #[must_use]
    pub fn glance(&self) -> Vec<RouteStatus> {
        self.shared.routes.iter().map(|(name, route)| self.shown(name, route)).collect()
    }

    /// How all routes are doing, by name.
    pub async fn list(&self) -> Result<Vec<RouteStatus>, Refusal> {
        let mut all = Vec::with_capacity(self.shared.routes.len());
        for name in self.shared.routes.keys() {
            all.push(self.status(name).await?);
        }
        Ok(all)
    }

    /// How a route is doing.
    pub async fn status(&self, name: &Name) -> Result<RouteStatus, Refusal> {
        let route = self.route(name)?;
        let mut status = self.shown(name, route);
        if let (Route::Publishes { filter, .. }, Some(position)) = (route, status.position)
            && status.lag > 0
        {
            let page = self.shared.ports.log.read(position, filter, 1).await?;
            status.oldest_waiting = page.events.first().map(|event| event.time);
        }
        Ok(status)
    }

    fn shown(&self, name: &Name, route: &Route) -> RouteStatus {
        match route {
            Route::Publishes { publish, running, .. } => {
                let head = *self.shared.ports.log.head().borrow();
                let progress = running.progress.borrow();
                RouteStatus {
                    name: name.clone(),
                    direction: Direction::Publish,
                    bus: publish.bus.clone(),
                    topic: publish.destination.topic.to_string(),
                    group: None,
                    state: progress.state,
                    position: Some(progress.position),
                    head: Some(head),
                    lag: head.since(progress.position),
                    oldest_waiting: None,
                    partitions: Vec::new(),
                    messages: progress.published,
                    dead_letters: progress.parked_events,
                    last_error: progress.last_error.clone(),
                }
            }
            Route::Consumes { consume, inbox } => {
                let flow = inbox.flow.borrow();
                let partitions = flow.lag.iter().map(|(&partition, &messages)| Lag { partition, messages });
                RouteStatus {
                    name: name.clone(),
                    direction: Direction::Consume,
                    bus: consume.bus.clone(),
                    topic: consume.subscription.topic.to_string(),
                    group: Some(consume.subscription.group.to_string()),
                    state: flow.state,
                    position: None,
                    head: None,
                    lag: flow.lag.values().sum(),
                    oldest_waiting: None,
                    partitions: partitions.collect(),
                    messages: flow.messages,
                    dead_letters: flow.dead_letters,
                    last_error: flow.last_error.clone(),
                }
            }
        }
    }

    /// Has a route rest until it is resumed, or the host starts again.
    pub async fn pause(&self, name: &Name) -> Result<RouteStatus, Refusal> {
        match self.route(name)? {
            Route::Publishes { running, .. } => drop(running.ask(Command::Pause).await?),
            Route::Consumes { inbox, .. } => inbox.order(Order::Pause).await?,
        }
        self.status(name).await
    }

    /// Lets a route go on that was paused, or stopped by an error.
    pub async fn resume(&self, name: &Name) -> Result<RouteStatus, Refusal> {
        match self.route(name)? {
            Route::Publishes { running, .. } => running.ask(Command::Resume).await?,
            Route::Consumes { inbox, .. } => inbox.order(Order::Resume).await?,
        }
        self.status(name).await
    }

    /// What a route has set aside, in order, after one of them, at most `limit`.
    pub async fn dead_letters(
        &self,
        name: &Name,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Refusal> {
        match self.route(name)? {
            Route::Publishes { running, .. } => {
                let after = after.map_or(Ok(Position::START), |id| position(name, id))?;
                let parked = running.read_model.parked(after, limit).await?;
                Ok(parked.into_iter().map(DeadLetter::Event).collect())
            }
            Route::Consumes { inbox, .. } => {
                let messages = inbox.dead.list(after, limit).await?;
                Ok(messages.into_iter().map(DeadLetter::Message).collect())
            }
        }
    }

    /// One of those a route has set aside: an event by its position, a message by its id.
    pub async fn dead_letter(&self, name: &Name, id: &str) -> Result<DeadLetter, Refusal> {
        let found = match self.route(name)? {
            Route::Publishes { running, .. } => {
                running.read_model.parked_at(position(name, id)?).await?.map(DeadLetter::Event)
            }
            Route::Consumes { inbox, .. } => inbox.dead.get(id).await?.map(DeadLetter::Message),
        };
        found.ok_or_else(|| no_dead_letter(name, id))
    }

    /// Tries again what was set aside: one, or all of it. A message is read as if the route had this category, which
    /// otherwise is its own.
    pub async fn retry(&self, name: &Name, id: Option<&str>, category: Option<&str>) -> Result<Retried, Refusal> {
        match self.route(name)? {
            Route::Publishes { running, .. } => {
                let selection = match id {
                    None => Selection::All,
                    Some(id) => {
                        self.waits(name, id).await?;
                        Selection::Position(position(name, id)?)
                    }
                };
                running.ask(|reply| Command::Retry { selection, reply }).await
            }
            Route::Consumes { consume, inbox } => {
                let category = category.or(consume.subscription.category.as_deref());
                inbox.retry(&self.shared.ports, consume, id, category).await
            }
        }
    }

    /// Gives up on what was set aside. The record of an event stays, as skipped, and its stream goes on; a message is
    /// forgotten.
    pub async fn discard(&self, name: &Name, id: &str) -> Result<(), Refusal> {
        match self.route(name)? {
            Route::Publishes { running, .. } => {
                let position = self.waits(name, id).await?;
                running.ask(|reply| Command::Skip { position, reply }).await
            }
            Route::Consumes { inbox, .. } => {
                let _one = inbox.deciding.lock().await;
                if inbox.dead.get(id).await?.is_none() {
                    return Err(no_dead_letter(name, id));
                }
                inbox.dead.forget(id).await?;
                inbox.count().await
            }
        }
    }

    /// The position of an event that was set aside and not given up.
    async fn waits(&self, name: &Name, id: &str) -> Result<Position, Refusal> {
        match self.dead_letter(name, id).await? {
            DeadLetter::Event(parked) if parked.standing != Standing::Skipped => Ok(parked.position),
            _ => Err(no_dead_letter(name, id)),
        }
    }

    /// Has every route end: what is under way is published and settled. The caller bounds the wait.
    pub async fn shutdown(&self) {
        let mut stopping = JoinSet::new();
        for route in self.shared.routes.values() {
            match route {
                Route::Publishes { running, .. } => {
                    let running = running.clone();
                    stopping.spawn(async move { running.stop().await });
                }
                Route::Consumes { inbox, .. } => {
                    let inbox = inbox.clone();
                    stopping.spawn(async move { inbox.stop().await });
                }
            }
        }
        while stopping.join_next().await.is_some() {}
    }

    fn route(&self, name: &Name) -> Result<&Route, Refusal> {
        self.shared.routes.get(name).ok_or_else(|| Refusal::UnknownRoute(name.clone()))
    }
}

/// Starts a route that publishes, from its checkpoint or from where it is to begin.
async fn begin_to_publish(ports: &Arc<Ports>, publish: Publish) -> Result<Route, Refusal> {
    let Publish { name, bus, destination, categories, event_types, start } = publish.clone();
    let filter = Filter { categories, event_types, ..Filter::default() };
    let publication = Publication { bus, destination, content: Published::Source };
    let relay = Arc::new(Relay::new(name.as_str(), filter.clone(), publication));
    let head = *ports.log.head().borrow();
    let generation = Generation { processor: Name::reserved("publish", &name), number: 1 };
    let read_model = ports.read_models.create(&generation, start.after(head), relay.digest()).await?;
    let (kind, policy) = (Kind::Handler, FailurePolicy::default());
    let (module, previous, hold): (Arc<dyn Module>, _, _) = (relay, None, Hold::Free);
    let (term, tenure) = Term::new(Instant::now() + FOR_GOOD);
    let begun = Begun { kind, generation, policy, read_model, module, previous, hold, tenure };
    Ok(Route::Publishes { publish, filter, running: Running::start(ports, begun), _term: term })
}

/// Starts a route that consumes.
async fn begin_to_consume(ports: &Arc<Ports>, consume: Consume) -> Result<Route, Refusal> {
    let Some(bus) = ports.buses.get(&consume.bus).cloned() else {
        return Err(Refusal::UnknownBus { route: consume.name, bus: consume.bus });
    };
    let dead = Arc::new(DeadMessages::open(&*ports.read_models, &consume.name, ports.clock.clone()).await?);
    let flow = watch::Sender::new(Flow { dead_letters: dead.count().await?, ..Flow::default() });
    let (orders, receiver) = mpsc::channel(WAITING_ORDERS);
    let inbox = Inbox {
        bus,
        subscription: consume.subscription.clone(),
        log: ports.log.clone(),
        dead: dead.clone(),
        clock: ports.clock.clone(),
        flow: flow.clone(),
        orders: receiver,
    };
    let task = Mutex::new(Some(tokio::spawn(inbox.run())));
    let inbox = Arc::new(Taking { dead, flow, orders, task, deciding: tokio::sync::Mutex::default() });
    Ok(Route::Consumes { consume, inbox })
}

impl Taking {
    async fn order(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) -> Result<(), Refusal> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(order(reply)).await.map_err(|_| Refusal::ShuttingDown)?;
        answer.await.map_err(|_| Refusal::Interrupted)
    }

    async fn stop(&self) {
        // One that has ended already needs no telling.
        let _ = self.orders.send(Order::Stop).await;
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!("an inbox ended with a panic: {error}");
        }
    }

    async fn count(&self) -> Result<(), Refusal> {
        let count = self.dead.count().await?;
        self.flow.send_modify(|flow| flow.dead_letters = count);
        Ok(())
    }

    /// Reads dead letters again. Those that are events now go into the log and are forgotten here.
    async fn retry(
        &self,
        ports: &Ports,
        consume: &Consume,
        id: Option<&str>,
        category: Option<&str>,
    ) -> Result<Retried, Refusal> {
        let _one = self.deciding.lock().await;
        let selected = match id {
            Some(id) => vec![self.dead.get(id).await?.ok_or_else(|| no_dead_letter(&consume.name, id))?],
            None => self.dead.list(None, MOST_RETRIED).await?,
        };
        let bus = ports.buses.get(&consume.bus);
        let bus = bus.ok_or_else(|| Refusal::UnknownBus { route: consume.name.clone(), bus: consume.bus.clone() })?;
        let mut handled = 0;
        for mut dead in selected {
            match bus.read(&dead.message(), category) {
                Ok(message) => {
                    arrivals::append(&*ports.log, vec![message]).await?;
                    self.dead.forget(&dead.id).await?;
                    handled += 1;
                }
                Err(Undecodable { reason, .. }) => {
                    dead.reason = reason;
                    dead.retries += 1;
                    self.dead.keep(&dead).await?;
                }
            }
        }
        self.count().await?;
        Ok(Retried { handled, remaining: self.flow.borrow().dead_letters })
    }
}

fn position(route: &Name, id: &str) -> Result<Position, Refusal> {
    id.parse().map(Position).map_err(|_| no_dead_letter(route, id))
}

fn no_dead_letter(route: &Name, id: &str) -> Refusal {
    Refusal::NoDeadLetter { route: route.clone(), id: id.into() }
}

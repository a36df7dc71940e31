//! A route that runs on this host: one that publishes is a run like a processor's, one that consumes an inbox.

use std::sync::{Arc, Mutex, PoisonError};

use lantern_core::{Bus, Kind, Module, Publication, Published, bus::Undecodable, journal::FailurePolicy};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    Ports, Refusal, Retried, arrivals,
    command::Command,
    configured::{Configured, Consume, Publish, generation},
    dead_messages::DeadMessages,
    generation::Hold,
    inbox::{Flow, Inbox, Order},
    processor::{Begun, Running},
    relay::Relay,
    routes::no_dead_letter,
    tenure::Tenure,
};

/// How many orders may wait for an inbox.
const WAITING_ORDERS: usize = 16;

/// How many dead letters are tried again at once.
pub(crate) const MOST_RETRIED: usize = 1_000;

/// A route that runs.
pub(crate) enum Route {
    Publishes(Running),
    Consumes(Taking),
}

/// A route that is about to run.
pub(crate) enum Prepared {
    Publishes(Box<Begun>),
    Consumes(Box<Inbox>, Consume, mpsc::Sender<Order>),
}

/// An inbox that runs.
pub(crate) struct Taking {
    consume: Consume,
    dead: Arc<DeadMessages>,
    pub(crate) flow: watch::Sender<Flow>,
    orders: mpsc::Sender<Order>,
    task: Mutex<Option<JoinHandle<()>>>,
    /// Held while dead letters are tried again or discarded: one at a time.
    deciding: tokio::sync::Mutex<()>,
}

impl Route {
    /// Prepares a route, so that it can begin at once.
    pub(crate) async fn prepare(
        ports: &Ports,
        configured: &Configured,
        is_paused: bool,
        tenure: Tenure,
    ) -> Result<Prepared, Refusal> {
        let generation = generation(&configured.unit());
        match configured {
            Configured::Publish(publish) => {
                let Publish { name, bus, destination, start, .. } = publish;
                let (bus, destination) = (bus.clone(), destination.clone());
                let publication = Publication { bus, destination, content: Published::Source };
                let module: Arc<dyn Module> = Arc::new(Relay::new(name.as_str(), publish.filter(), publication));
                // From its checkpoint, or from where it is to begin.
                let start = start.after(*ports.log.head().borrow());
                let read_model = ports.read_models.create(&generation, start, module.digest()).await?;
                let (kind, policy, previous) = (Kind::Handler, FailurePolicy::default(), None);
                let hold = if is_paused { Hold::Paused } else { Hold::Free };
                let feed = None;
                let checkpoint = read_model.checkpoint().await?;
                let begun =
                    Begun { kind, generation, policy, read_model, checkpoint, module, previous, hold, tenure, feed };
                Ok(Prepared::Publishes(Box::new(begun)))
            }
            Configured::Consume(consume) => {
                let bus = bus(ports, consume)?;
                let dead = Arc::new(DeadMessages::open(&*ports.read_models, &consume.name, ports.clock.clone()).await?);
                let flow = watch::Sender::new(Flow { dead_letters: dead.count().await?, ..Flow::default() });
                let (sender, orders) = mpsc::channel(WAITING_ORDERS);
                let (subscription, log, clock) = (consume.subscription.clone(), ports.log.clone(), ports.clock.clone());
                let inbox = Inbox { bus, subscription, log, dead, clock, flow, orders, is_paused, tenure };
                Ok(Prepared::Consumes(Box::new(inbox), consume.clone(), sender))
            }
        }
    }

    pub(crate) async fn pause(&self) -> Result<(), Refusal> {
        match self {
            Self::Publishes(running) => running.ask(Command::Pause).await.map(drop),
            Self::Consumes(inbox) => inbox.order(Order::Pause).await,
        }
    }

    pub(crate) async fn resume(&self) -> Result<(), Refusal> {
        match self {
            Self::Publishes(running) => running.ask(Command::Resume).await,
            Self::Consumes(inbox) => inbox.order(Order::Resume).await,
        }
    }

    /// What is under way is published and settled, then it ends.
    pub(crate) async fn stop(&self) {
        match self {
            Self::Publishes(running) => running.stop().await,
            Self::Consumes(inbox) => inbox.stop().await,
        }
    }
}

impl Prepared {
    /// Begins.
    pub(crate) fn start(self, ports: &Arc<Ports>) -> Route {
        match self {
            Self::Publishes(begun) => Route::Publishes(Running::start(ports, *begun)),
            Self::Consumes(inbox, consume, orders) => {
                let (dead, flow) = (inbox.dead.clone(), inbox.flow.clone());
                let task = Mutex::new(Some(tokio::spawn((*inbox).run())));
                let deciding = tokio::sync::Mutex::default();
                Route::Consumes(Taking { consume, dead, flow, orders, task, deciding })
            }
        }
    }
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

    /// Gives up on a dead letter.
    pub(crate) async fn discard(&self, id: &str) -> Result<(), Refusal> {
        let _one = self.deciding.lock().await;
        if self.dead.get(id).await?.is_none() {
            return Err(no_dead_letter(&self.consume.name, id));
        }
        self.dead.forget(id).await?;
        self.count().await
    }

    /// Reads dead letters again, as if the route had this category, which otherwise is its own. Those that are events now go
    /// into the log and are forgotten here.
    pub(crate) async fn retry(
        &self,
        ports: &Ports,
        id: Option<&str>,
        category: Option<&str>,
    ) -> Result<Retried, Refusal> {
        let _one = self.deciding.lock().await;
        let category = category.or(self.consume.subscription.category.as_deref());
        let selected = match id {
            Some(id) => vec![self.dead.get(id).await?.ok_or_else(|| no_dead_letter(&self.consume.name, id))?],
            None => self.dead.list(None, MOST_RETRIED).await?,
        };
        let bus = bus(ports, &self.consume)?;
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

/// The bus of a route that consumes.
fn bus(ports: &Ports, consume: &Consume) -> Result<Arc<dyn Bus>, Refusal> {
    let unknown = || Refusal::UnknownBus { route: consume.name.clone(), bus: consume.bus.clone() };
    ports.buses.get(&consume.bus).cloned().ok_or_else(unknown)
}

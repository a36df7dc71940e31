//! Routes between the log and buses: how they are doing, and what operators ask of them. Like processors they are spread
//! over the hosts that have them, see `steward`. What runs is in `route`.

use std::{collections::BTreeSet, sync::Arc};

use lantern_core::{
    Filter, Happening, Kind, Name, Parked, Position, ReadModel, State, Subject, Timestamp, bus::Lag, parked::Standing,
    read_model::ReadModelError,
};
use serde::{Deserialize, Serialize};

use crate::{
    LastError, Place, Refusal, Retried, Selection, Supervisor,
    command::Command,
    configured::{Configured, Consume, Direction, consuming, generation, publishing},
    dead_messages::{DeadMessage, DeadMessages},
    fed::Fed,
    route::Route,
    route_table::RouteTable,
    tenure::Tenure,
};

/// How a route is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// Its name.
    pub name: Name,
    /// The name of the host that runs it; none while it changes hosts.
    pub host: Option<String>,
    /// Which way messages go.
    pub direction: Direction,
    /// The bus.
    pub bus: Name,
    /// The topic.
    pub topic: String,
    /// The consumer group of a route that consumes.
    pub group: Option<String>,
    /// The projection it feeds straight; none of a route into the log.
    pub projection: Option<Name>,
    /// Its state.
    pub state: State,
    /// The last position that is published, events that do not fit included; of a route that publishes. How many messages the
    /// projection has dealt with; of a route that feeds one.
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
pub struct Routes(Supervisor);

impl RouteStatus {
    /// Of a route that this host does not run.
    pub(crate) fn unknown(route: &Configured, host: Option<String>) -> Self {
        let (direction, topic, group, projection) = match route {
            Configured::Publish(publish) => (Direction::Publish, &publish.destination.topic, None, None),
            Configured::Consume(Consume { subscription, projection, .. }) => {
                (Direction::Consume, &subscription.topic, Some(subscription.group.to_string()), projection.clone())
            }
        };
        Self {
            name: route.name().clone(),
            host,
            direction,
            bus: route.bus().clone(),
            topic: topic.to_string(),
            group,
            projection,
            state: State::Unknown,
            position: None,
            head: None,
            lag: 0,
            oldest_waiting: None,
            partitions: Vec::new(),
            messages: 0,
            dead_letters: 0,
            last_error: None,
        }
    }
}

impl Supervisor {
    /// The routes.
    #[must_use]
    pub fn routes(&self) -> Routes {
        Routes(self.clone())
    }

    /// Starts a route that is this host's now. A bus that is away does not keep it from starting: it is tried until it is
    /// there.
    pub(crate) async fn begin_route(&self, unit: &Name, tenure: Tenure) -> Result<(), Refusal> {
        let table = &self.shared.routes;
        let configured = table.configured.values().find(|route| route.unit() == *unit);
        let configured = configured.ok_or_else(|| unknown(unit))?;
        let is_paused = self.processors().roster.paused_routes.contains(unit);
        let prepared = Route::prepare(&table.ports, configured, is_paused, tenure).await?;
        let mut running = table.running();
        // A host that ends sets this first, then has all end that run.
        if self.processors().closed {
            return Err(Refusal::ShuttingDown);
        }
        running.insert(unit.clone(), Arc::new(prepared.start(&table.ports)));
        Ok(())
    }
}

impl Routes {
    /// The routes that this host runs by name, without what only the log can tell.
    #[must_use]
    pub fn glance(&self) -> Vec<RouteStatus> {
        let configured = self.table().configured.values();
        let shown = |configured| match self.running(configured) {
            Some(route) => Some(self.shown(configured, &route)),
            None => Some(self.fed(configured)?.status(configured, self.0.identity())),
        };
        configured.filter_map(shown).collect()
    }

    /// How the routes are doing that this host runs, by name.
    pub async fn list(&self) -> Result<Vec<RouteStatus>, Refusal> {
        let mut all = Vec::new();
        for configured in self.table().configured.values() {
            if let Some(route) = self.running(configured) {
                all.push(self.whole(configured, &route).await?);
            } else if let Some(fed) = self.fed(configured) {
                all.push(fed.status(configured, self.0.identity()));
            }
        }
        Ok(all)
    }

    /// The names of all routes, whoever runs them: those of the configuration, and what other hosts have.
    #[must_use]
    pub fn names(&self) -> BTreeSet<Name> {
        let (roll, _) = self.0.roll();
        let units = roll.leases.iter().filter(|lease| lease.unit.is_reserved() && !lease.is_over);
        let others = units.filter_map(|lease| lease.unit.plain().parse().ok());
        self.table().configured.keys().cloned().chain(others).collect()
    }

    /// How a route is doing that this host runs.
    pub async fn status(&self, name: &Name) -> Result<RouteStatus, Refusal> {
        if let Some((configured, fed)) = self.fed_here(name)? {
            return Ok(fed.status(configured, self.0.identity()));
        }
        let (configured, route) = self.here(name)?;
        self.whole(configured, &route).await
    }

    /// What is stored of a route that this host does not run. Its state is unknown, and what its host has counted is 0.
    pub async fn recall(&self, name: &Name) -> Result<RouteStatus, Refusal> {
        let Some(configured) = self.table().configured.get(name) else {
            return Err(self.elsewhere(name));
        };
        let unit = configured.unit();
        let mut status = RouteStatus::unknown(configured, self.host_of(&unit));
        let is_paused = {
            let roster = &self.0.processors().roster;
            roster.paused_routes.contains(&unit) || roster.deployed.get(&unit).is_some_and(|deployed| deployed.paused)
        };
        if is_paused {
            status.state = State::Paused;
        }
        match configured {
            Configured::Publish(publish) => {
                let head = *self.table().ports.log.head().borrow();
                status.head = Some(head);
                if let Some(read_model) = self.relayed(&unit).await? {
                    let position = read_model.checkpoint().await?.position;
                    let held = read_model.held_streams().await?;
                    (status.position, status.lag) = (Some(position), head.since(position));
                    status.dead_letters = held.iter().map(|(_, events)| events).sum();
                    status.oldest_waiting = self.oldest_waiting(&publish.filter(), &status).await?;
                }
            }
            Configured::Consume(_) => match self.dead(name).await {
                Ok(dead) => status.dead_letters = dead.count().await?,
                // What it is to feed is not deployed yet.
                Err(Refusal::Unknown(_)) => {}
                Err(refusal) => return Err(refusal),
            },
        }
        Ok(status)
    }

    /// Where a route runs.
    pub fn place(&self, name: &Name) -> Result<Place, Refusal> {
        if let Some(projection) = self.projection(name) {
            // Where it is not deployed, any host can say so.
            let place = self.0.place(Kind::Projection, projection);
            return Ok(place.unwrap_or(Place::Here));
        }
        match self.here(name) {
            Ok(_) => Ok(Place::Here),
            Err(Refusal::RouteElsewhere { .. }) => Ok(self.0.other_owner(&self.unit(name)?)),
            Err(refusal) => Err(refusal),
        }
    }

    /// Has a route rest until it is resumed, also when it moves to another host or the host starts again.
    pub async fn pause(&self, name: &Name) -> Result<RouteStatus, Refusal> {
        if let Some(projection) = self.projection(name) {
            self.0.pause(Kind::Projection, projection).await?;
            return self.status(name).await;
        }
        let (configured, route) = self.here(name)?;
        route.pause().await?;
        self.record(configured, Happening::Paused).await?;
        self.whole(configured, &route).await
    }

    /// Lets a route go on that was paused, or stopped by an error.
    pub async fn resume(&self, name: &Name) -> Result<RouteStatus, Refusal> {
        if let Some(projection) = self.projection(name) {
            self.0.resume(Kind::Projection, projection).await?;
            return self.status(name).await;
        }
        let (configured, route) = self.here(name)?;
        route.resume().await?;
        self.record(configured, Happening::Resumed).await?;
        self.whole(configured, &route).await
    }

    /// What a route has set aside, in order, after one of them, at most `limit`; whoever runs it.
    pub async fn dead_letters(
        &self,
        name: &Name,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Refusal> {
        let unit = self.unit(name)?;
        if unit == consuming(name) || self.projection(name).is_some() {
            let messages = self.dead(name).await?.list(after, limit).await?;
            return Ok(messages.into_iter().map(DeadLetter::Message).collect());
        }
        let after = after.map_or(Ok(Position::START), |id| position(name, id))?;
        let Some(read_model) = self.relayed(&unit).await? else { return Ok(Vec::new()) };
        Ok(read_model.parked(after, limit).await?.into_iter().map(DeadLetter::Event).collect())
    }

    /// One of those a route has set aside: an event by its position, a message by its id; whoever runs it.
    pub async fn dead_letter(&self, name: &Name, id: &str) -> Result<DeadLetter, Refusal> {
        let unit = self.unit(name)?;
        let found = if unit == consuming(name) || self.projection(name).is_some() {
            self.dead(name).await?.get(id).await?.map(DeadLetter::Message)
        } else {
            let position = position(name, id)?;
            match self.relayed(&unit).await? {
                Some(read_model) => read_model.parked_at(position).await?.map(DeadLetter::Event),
                None => None,
            }
        };
        found.ok_or_else(|| no_dead_letter(name, id))
    }

    /// Tries again what was set aside: one, or all of it. A message is read as if the route had this category, which
    /// otherwise is its own.
    pub async fn retry(&self, name: &Name, id: Option<&str>, category: Option<&str>) -> Result<Retried, Refusal> {
        if let Some((_, fed)) = self.fed_here(name)? {
            return fed.retry(id, category).await;
        }
        let (_, route) = self.here(name)?;
        match &*route {
            Route::Consumes(inbox) => inbox.retry(&self.table().ports, id, category).await,
            Route::Publishes(running) => {
                let selection = match id {
                    None => Selection::All,
                    Some(id) => Selection::Position(self.waits(name, id).await?),
                };
                running.ask(|reply| Command::Retry { selection, reply }).await
            }
        }
    }

    /// Gives up on what was set aside. The record of an event stays, as skipped, and its stream goes on; a message is
    /// forgotten.
    pub async fn discard(&self, name: &Name, id: &str) -> Result<(), Refusal> {
        if let Some((_, fed)) = self.fed_here(name)? {
            return fed.discard(id).await;
        }
        let (_, route) = self.here(name)?;
        match &*route {
            Route::Consumes(inbox) => inbox.discard(id).await,
            Route::Publishes(running) => {
                let position = self.waits(name, id).await?;
                running.ask(|reply| Command::Skip { position, reply }).await
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

    fn table(&self) -> &RouteTable {
        &self.0.shared.routes
    }

    fn running(&self, configured: &Configured) -> Option<Arc<Route>> {
        self.table().running().get(&configured.unit()).cloned()
    }

    /// The projection that a route feeds.
    fn projection(&self, name: &Name) -> Option<&Name> {
        match self.table().configured.get(name) {
            Some(Configured::Consume(consume)) => consume.projection.as_ref(),
            _ => None,
        }
    }

    /// What a route feeds on this host.
    fn fed(&self, configured: &Configured) -> Option<Fed> {
        let Configured::Consume(consume) = configured else { return None };
        let running = self.0.processor(Kind::Projection, consume.projection.as_ref()?).ok()?.live();
        Some(Fed { feed: running.feed.clone()?, running })
    }

    /// The same of one that is asked for, if it feeds a projection at all.
    fn fed_here(&self, name: &Name) -> Result<Option<(&Configured, Fed)>, Refusal> {
        let Some(configured) = self.table().configured.get(name) else { return Ok(None) };
        if self.projection(name).is_none() {
            return Ok(None);
        }
        self.fed(configured).map(|fed| Some((configured, fed))).ok_or_else(|| self.elsewhere(name))
    }

    /// A route that this host runs.
    fn here(&self, name: &Name) -> Result<(&Configured, Arc<Route>), Refusal> {
        let configured = self.table().configured.get(name);
        let found = configured.and_then(|configured| Some((configured, self.running(configured)?)));
        found.ok_or_else(|| self.elsewhere(name))
    }

    /// Why a route is not here.
    fn elsewhere(&self, name: &Name) -> Refusal {
        match self.unit(name) {
            Ok(unit) => Refusal::RouteElsewhere { route: name.clone(), host: self.host_of(&unit) },
            Err(refusal) => refusal,
        }
    }

    fn host_of(&self, unit: &Name) -> Option<String> {
        self.0.charges().roll.owner(unit).map(|owner| owner.identity.name.clone())
    }

    /// The name under which a route has its lease: as the configuration says, or as another host that has it.
    fn unit(&self, name: &Name) -> Result<Name, Refusal> {
        if let Some(configured) = self.table().configured.get(name) {
            return Ok(configured.unit());
        }
        let units = [publishing(name), consuming(name)];
        let charges = self.0.charges();
        units.into_iter().find(|unit| charges.roll.owner(unit).is_some()).ok_or_else(|| unknown(name))
    }

    /// What a route that publishes keeps; `None` when it never ran.
    async fn relayed(&self, unit: &Name) -> Result<Option<Arc<dyn ReadModel>>, Refusal> {
        match self.table().ports.read_models.open(&generation(unit)).await {
            Ok(read_model) => Ok(Some(read_model)),
            Err(ReadModelError::Unknown(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What a route that consumes has set aside.
    async fn dead(&self, name: &Name) -> Result<DeadMessages, Refusal> {
        let ports = &self.table().ports;
        if let Some(projection) = self.projection(name) {
            let read_model = self.0.read_model(Kind::Projection, projection, None).await?;
            return Ok(DeadMessages::beside(read_model, ports.clock.clone()));
        }
        Ok(DeadMessages::open(&*ports.read_models, name, ports.clock.clone()).await?)
    }

    async fn record(&self, configured: &Configured, happening: Happening) -> Result<(), Refusal> {
        let subject = Subject { kind: Kind::Handler, name: configured.unit() };
        self.table().ports.journal.append(&subject, happening).await?;
        Ok(())
    }

    /// How a route is doing that runs here, with what the log tells.
    async fn whole(&self, configured: &Configured, route: &Route) -> Result<RouteStatus, Refusal> {
        let mut status = self.shown(configured, route);
        if let Configured::Publish(publish) = configured {
            status.oldest_waiting = self.oldest_waiting(&publish.filter(), &status).await?;
        }
        Ok(status)
    }

    async fn oldest_waiting(&self, filter: &Filter, status: &RouteStatus) -> Result<Option<Timestamp>, Refusal> {
        match status.position {
            Some(position) if status.lag > 0 => {
                let page = self.table().ports.log.read(position, filter, 1).await?;
                Ok(page.events.first().map(|event| event.time))
            }
            _ => Ok(None),
        }
    }

    /// How a route is doing that runs here.
    fn shown(&self, configured: &Configured, route: &Route) -> RouteStatus {
        let unknown = RouteStatus::unknown(configured, Some(self.0.identity().name.clone()));
        match route {
            Route::Publishes(running) => {
                let head = *self.table().ports.log.head().borrow();
                let progress = running.progress.borrow();
                RouteStatus {
                    state: progress.state,
                    position: Some(progress.position),
                    head: Some(head),
                    lag: head.since(progress.position),
                    messages: progress.published,
                    dead_letters: progress.parked_events,
                    last_error: progress.last_error.clone(),
                    ..unknown
                }
            }
            Route::Consumes(inbox) => {
                let flow = inbox.flow.borrow();
                let partitions = flow.lag.iter().map(|(&partition, &messages)| Lag { partition, messages });
                RouteStatus {
                    state: flow.state,
                    lag: flow.lag.values().sum(),
                    partitions: partitions.collect(),
                    messages: flow.messages,
                    dead_letters: flow.dead_letters,
                    last_error: flow.last_error.clone(),
                    ..unknown
                }
            }
        }
    }
}

fn unknown(name: &Name) -> Refusal {
    Refusal::UnknownRoute(name.clone())
}

fn position(route: &Name, id: &str) -> Result<Position, Refusal> {
    id.parse().map(Position).map_err(|_| no_dead_letter(route, id))
}

pub(crate) fn no_dead_letter(route: &Name, id: &str) -> Refusal {
    Refusal::NoDeadLetter { route: route.clone(), id: id.into() }
}

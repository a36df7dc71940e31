//! A projection that a route feeds on this host: how the route is doing, and what operators do with its dead letters.

use std::sync::Arc;

use lantern_core::{
    Identity, Kind, Name, Position, State, Subject,
    bus::{Lag, Undecodable},
};

use crate::{
    Refusal, Retried,
    configured::Configured,
    dead_messages::DeadMessage,
    feed::{Decision, Feed},
    processor::Running,
    route::MOST_RETRIED,
    routes::{RouteStatus, no_dead_letter},
};

/// A projection that is fed on this host.
pub(crate) struct Fed {
    pub(crate) feed: Arc<Feed>,
    pub(crate) running: Running,
}

impl Fed {
    /// How its route is doing.
    pub(crate) fn status(&self, configured: &Configured, host: &Identity) -> RouteStatus {
        let (flow, progress) = (self.feed.flow.borrow(), self.running.progress.borrow());
        let partitions = flow.lag.iter().map(|(&partition, &messages)| Lag { partition, messages });
        RouteStatus {
            state: if flow.state == State::Error { State::Error } else { progress.state },
            position: Some(progress.position),
            lag: flow.lag.values().sum(),
            partitions: partitions.collect(),
            messages: flow.messages,
            dead_letters: flow.dead_letters,
            last_error: flow.last_error.clone().or_else(|| progress.last_error.clone()),
            ..RouteStatus::unknown(configured, Some(host.name.clone()))
        }
    }

    /// Reads dead letters again. Those that are events now go to the projection, after all that has come before.
    pub(crate) async fn retry(&self, id: Option<&str>, category: Option<&str>) -> Result<Retried, Refusal> {
        let feed = &self.feed;
        let _one = feed.deciding.lock().await;
        let selected = match id {
            Some(id) => vec![self.dead(id).await?],
            None => feed.dead.list(None, MOST_RETRIED).await?,
        };
        let category = category.or(feed.route.subscription.category.as_deref());
        let (mut handled, mut last) = (0, None);
        for mut dead in selected {
            let id = dead.id.clone();
            let decision = match feed.bus.read(&dead.message(), category) {
                Ok(message) => {
                    handled += 1;
                    Decision::Handle(Box::new(message))
                }
                Err(Undecodable { reason, .. }) => {
                    dead.reason = reason;
                    dead.retries += 1;
                    Decision::Keep(Box::new(dead))
                }
            };
            last = Some(feed.decide(&id, decision));
        }
        if let Some(last) = last {
            self.reach(last).await?;
        }
        let remaining = feed.flow.borrow().dead_letters;
        Ok(Retried { handled, remaining })
    }

    /// Gives one up.
    pub(crate) async fn discard(&self, id: &str) -> Result<(), Refusal> {
        let _one = self.feed.deciding.lock().await;
        self.dead(id).await?;
        self.reach(self.feed.decide(id, Decision::Forget)).await
    }

    async fn dead(&self, id: &str) -> Result<DeadMessage, Refusal> {
        let dead = self.feed.dead.get(id).await?;
        dead.ok_or_else(|| no_dead_letter(&self.feed.route.name, id))
    }

    /// Waits until a decision is committed.
    async fn reach(&self, position: Position) -> Result<(), Refusal> {
        self.running.reaches(position).await.map_err(|state| {
            let name: &Name = self.feed.route.projection.as_ref().unwrap_or(&self.feed.route.name);
            let mend = "the decision takes effect when `projection resume` lets it go on".into();
            Refusal::State { subject: Subject { kind: Kind::Projection, name: name.clone() }, state, mend }
        })
    }
}

//! Routes for tests, and what is asked of them.

use std::{collections::BTreeMap, ops::Deref, time::Duration};

use lantern_core::{Event, EventId, Message, Name};
use lantern_processors::{Configured, Consume, Publish, RouteStatus, Routes, Start, Supervisor};

use crate::{
    bus::{destination, subscription},
    host::{World, bounded},
};

/// The route of every test.
pub(crate) fn route() -> Name {
    Name::new("route").unwrap()
}

/// A route of all events to the topic `out`.
pub(crate) fn publish() -> Publish {
    Publish {
        name: route(),
        bus: Name::new("main").unwrap(),
        destination: destination("out"),
        categories: [].into(),
        event_types: [].into(),
        start: Start::Beginning,
    }
}

/// A route of all messages of the topic `in`.
pub(crate) fn consume() -> Consume {
    Consume {
        name: route(),
        bus: Name::new("main").unwrap(),
        subscription: subscription("in", "group"),
        projection: None,
    }
}

/// A host with routes.
pub(crate) struct Routed {
    supervisor: Supervisor,
    routes: Routes,
}

impl Routed {
    pub(crate) async fn shutdown(&self) {
        self.supervisor.shutdown().await;
    }
}

impl Deref for Routed {
    type Target = Routes;

    fn deref(&self) -> &Routes {
        &self.routes
    }
}

impl World {
    /// Starts a host that publishes.
    pub(crate) async fn publishing(&self, publish: Publish) -> Routed {
        self.routed(Configured::Publish(publish)).await
    }

    /// Starts a host that consumes.
    pub(crate) async fn consuming(&self, consume: Consume) -> Routed {
        self.routed(Configured::Consume(consume)).await
    }

    async fn routed(&self, route: Configured) -> Routed {
        let supervisor = self.supervise_with(vec![route]).await;
        let routes = supervisor.routes();
        Routed { supervisor, routes }
    }
}

/// Waits until the route is as wished.
pub(crate) async fn until(routes: &Routes, wished: impl Fn(&RouteStatus) -> bool) -> RouteStatus {
    bounded(async {
        loop {
            let status = routes.status(&route()).await.unwrap();
            if wished(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
}

/// The ids of messages by stream, each where it came first.
pub(crate) fn first_ids(messages: &[Message]) -> BTreeMap<String, Vec<EventId>> {
    let mut ids: BTreeMap<String, Vec<EventId>> = BTreeMap::new();
    for Message { stream, event } in messages {
        let known = ids.entry(stream.to_string()).or_default();
        if !known.contains(&event.id) {
            known.push(event.id);
        }
    }
    ids
}

/// The ids of events by stream, in the order of the log.
pub(crate) fn ids<'e>(events: impl IntoIterator<Item = &'e Event>) -> BTreeMap<String, Vec<EventId>> {
    let mut ids: BTreeMap<String, Vec<EventId>> = BTreeMap::new();
    for event in events {
        ids.entry(event.stream.to_string()).or_default().push(event.id);
    }
    ids
}

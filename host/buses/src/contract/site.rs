//! A bus under test.

use std::sync::Arc;

use lantern_core::{Bus, Subscription};

/// A bus, with what only its own tools can do.
pub(crate) trait Site: Sync {
    /// The bus.
    fn bus(&self) -> Arc<dyn Bus>;

    /// The name of a topic nobody has used.
    fn topic(&self) -> Arc<str>;

    /// Puts a message into a topic that is no event, with this body and a header `kind`.
    async fn put(&self, topic: &str, kind: &str, body: &[u8]);

    /// Whether its topics have partitions.
    fn has_partitions(&self) -> bool;

    /// Whether a topic keeps what was published before a group began.
    fn keeps(&self) -> bool {
        true
    }

    /// Sees to it that groups get what is published from now on.
    async fn begin(&self, topic: &Arc<str>, groups: &[&str]) {
        if !self.keeps() {
            for group in groups {
                let consumer = self.bus().consume(&self.subscription(topic, group)).await.unwrap();
                consumer.close().await.unwrap();
            }
        }
    }

    /// A subscription to all of a topic.
    fn subscription(&self, topic: &Arc<str>, group: &str) -> Subscription {
        Subscription {
            topic: topic.clone(),
            group: group.into(),
            pattern: None,
            category: None,
            beginning: lantern_core::bus::Beginning::Oldest,
            keeper: lantern_core::bus::Keeper::Bus,
        }
    }
}

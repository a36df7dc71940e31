//! Topics: made when they are missing.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lantern_core::BusError;
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    config::FromClientConfigAndContext,
    error::RDKafkaErrorCode,
};
use tokio::sync::OnceCell;

use super::{client::Trouble, producer::Producer, settings::Settings};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(8);

/// The topics of a cluster.
pub(super) struct Topics {
    settings: Arc<Settings>,
    trouble: Trouble,
    client: OnceCell<Arc<AdminClient<Trouble>>>,
    /// Those that are known to be there.
    known: Mutex<BTreeSet<Arc<str>>>,
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topics").field("known", &self.known).finish_non_exhaustive()
    }
}

impl Topics {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        let trouble = Trouble::new(&settings.name);
        Self { settings, trouble, client: OnceCell::new(), known: Mutex::default() }
    }

    async fn client(&self) -> Result<Arc<AdminClient<Trouble>>, BusError> {
        let made = self.client.get_or_try_init(async || {
            let client = AdminClient::from_config_and_context(&self.settings.admin(), self.trouble.clone());
            client.map(Arc::new).map_err(|error| self.trouble.error(&error))
        });
        made.await.cloned()
    }

    /// Makes a topic unless it is there.
    pub(super) async fn ensure(&self, topic: &Arc<str>, producer: &Producer) -> Result<(), BusError> {
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(topic) {
            return Ok(());
        }
        // This client tells of no reason when it cannot connect; the producer's does.
        producer.check().await?;
        let client = self.client().await?;
        let new = NewTopic::new(topic, self.settings.partitions, TopicReplication::Fixed(-1));
        let options = AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER));
        let made = client.create_topics([&new], &options).await.map_err(|error| self.trouble.error(&error))?;
        let made = made.into_iter().next().unwrap_or(Ok(String::new()));
        match made {
            Ok(_) => tracing::info!(%topic, partitions = self.settings.partitions, "made a topic of Kafka"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            // Who may not make topics may still use those that are there.
            Err((_, RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed)) => {}
            Err((_, code)) => return Err(self.trouble.coded(code, format!("topic `{topic}`: {code}"))),
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.clone());
        Ok(())
    }
}

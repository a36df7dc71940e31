//! The dead letters of a route that consumes: messages that are no events, kept with their bytes until an operator decides.
//! They are documents of a read model of the inbox's own, or of that of the projection the route feeds.

use std::sync::Arc;

use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lantern_core::{
    Batch, Checkpoint, Clock, Digest, Documents, Fate, Name, Position, ReadModel, ReadModels, Timestamp,
    bus::{Offset, Partition, Receipt, Undecodable},
    documents::{OWN, Scan},
    read_model::{CommitError, ReadModelError},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::configured::{consuming, generation};

/// The collection of those of an inbox.
const COLLECTION: &str = "dead-letters";

/// How many are read at once.
const PAGE: usize = 500;

/// A message that is no event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadMessage {
    /// What it is asked for by: made of its place and its content. Those of one partition are in its order.
    pub id: String,
    /// What is wrong with it.
    pub reason: String,
    /// The topic it came from.
    pub topic: String,
    /// Its partition.
    pub partition: Partition,
    /// Its place there.
    pub offset: Offset,
    /// When it arrived first.
    pub at: Timestamp,
    /// How often it was tried in vain, by operators, since it arrived.
    pub retries: u32,
    /// The key it was published with, in base64.
    #[serde(rename = "key_base64", with = "optional_base64", default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Bytes>,
    /// Its headers, as they came.
    pub headers: Vec<Header>,
    /// Its body, as it came, in base64.
    #[serde(rename = "body_base64", with = "in_base64")]
    pub body: Bytes,
}

/// A header of a message that is no event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value, in base64.
    #[serde(rename = "value_base64", with = "in_base64")]
    pub value: Bytes,
}

impl DeadMessage {
    pub(crate) fn new(topic: &str, receipt: Receipt, message: Undecodable, at: Timestamp) -> Self {
        let Undecodable { reason, key, headers, body } = message;
        let headers = headers.into_iter().map(|(name, value)| Header { name, value }).collect();
        let (partition, offset, topic) = (receipt.partition, receipt.offset, topic.to_owned());
        let mut dead = Self { id: String::new(), reason, topic, partition, offset, at, retries: 0, key, headers, body };
        dead.id = dead.identity();
        dead
    }

    /// The place in a form whose order is that of the partition, and some digits of a digest of the content: the places of
    /// RabbitMQ begin anew with each connection.
    fn identity(&self) -> String {
        let place = match self.offset {
            Offset::Number(number) => format!("{number:020}"),
            Offset::Entry(time, count) => format!("{time:016}-{count:08}"),
        };
        let headers = self.headers.iter().flat_map(|header| [header.name.as_bytes(), &header.value]);
        let content = headers.chain([self.key.as_deref().unwrap_or_default(), &self.body]).collect::<Vec<_>>();
        let digest = Uuid::new_v5(&Uuid::nil(), &content.join(&0));
        format!("{}.{place}.{}", self.partition, &digest.simple().to_string()[..8])
    }

    /// The message as the bus handed it over.
    pub(crate) fn message(&self) -> Undecodable {
        let headers = self.headers.iter().map(|Header { name, value }| (name.clone(), value.clone())).collect();
        Undecodable { reason: self.reason.clone(), key: self.key.clone(), headers, body: self.body.clone() }
    }
}

/// The dead letters of one route.
pub(crate) struct DeadMessages {
    read_model: Arc<dyn ReadModel>,
    collection: Arc<str>,
    clock: Arc<dyn Clock>,
}

impl DeadMessages {
    /// Opens those of a route.
    pub(crate) async fn open(
        read_models: &dyn ReadModels,
        route: &Name,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ReadModelError> {
        let generation = generation(&consuming(route));
        let read_model = read_models.create(&generation, Position::START, Digest::of(b"inbox")).await?;
        Ok(Self { read_model, collection: COLLECTION.into(), clock })
    }

    /// Those of a projection that a route feeds, beside its own documents. They change with its batches.
    pub(crate) fn beside(read_model: Arc<dyn ReadModel>, clock: Arc<dyn Clock>) -> Self {
        Self { read_model, collection: format!("{OWN}{COLLECTION}").into(), clock }
    }

    /// Has a message kept with what else is committed.
    pub(crate) fn note(&self, documents: &mut Documents, dead: &DeadMessage) {
        // Texts and numbers under names that are texts, which cannot fail.
        let text = serde_json::to_string(dead).unwrap_or_default();
        documents.set(self.collection.clone(), dead.id.as_str().into(), Some(text.into()));
    }

    /// Has a message forgotten with what else is committed.
    pub(crate) fn note_gone(&self, documents: &mut Documents, id: &str) {
        documents.set(self.collection.clone(), id.into(), None);
    }

    /// Keeps a message. It is on disk when this is answered.
    pub(crate) async fn park(&self, topic: &str, receipt: Receipt, message: Undecodable) -> Result<(), CommitError> {
        self.keep(&DeadMessage::new(topic, receipt, message, self.clock.now())).await
    }

    /// Keeps a message as it is now.
    pub(crate) async fn keep(&self, dead: &DeadMessage) -> Result<(), CommitError> {
        let text = serde_json::to_string(dead).map_err(|error| CommitError::Unavailable(error.to_string()))?;
        self.write(&dead.id, Some(text)).await
    }

    /// Forgets a message.
    pub(crate) async fn forget(&self, id: &str) -> Result<(), CommitError> {
        self.write(id, None).await
    }

    /// Changes one document. An inbox that changes hosts may run on both for a moment, and no host owns its dead letters for
    /// longer than a change takes.
    async fn write(&self, id: &str, text: Option<String>) -> Result<(), CommitError> {
        let mut documents = Documents::default();
        documents.set(self.collection.clone(), id.into(), text.map(Into::into));
        let documents = Arc::new(documents);
        loop {
            let taken = self.read_model.take().await;
            let (lease, checkpoint) = taken.map_err(|error| CommitError::Unavailable(error.to_string()))?;
            match self.read_model.commit(lease, &self.batch(&checkpoint, documents.clone())).await {
                Err(error) if error.fate() == Fate::Stop => {}
                result => return result,
            }
        }
    }

    /// A batch that moves nothing.
    fn batch(&self, checkpoint: &Checkpoint, documents: Arc<Documents>) -> Batch {
        Batch {
            from: checkpoint.position,
            until: checkpoint.position,
            last_event: None,
            incarnation: None,
            module: checkpoint.module,
            documents,
            schedules: Vec::new(),
            tables: None,
            parked: Vec::new(),
            released: Vec::new(),
            handled: 0,
            trace: None,
            started_at: self.clock.now(),
        }
    }

    /// One of them.
    pub(crate) async fn get(&self, id: &str) -> Result<Option<DeadMessage>, ReadModelError> {
        self.read_model.get(&self.collection, id).await?.map(|text| read(&text)).transpose()
    }

    /// Those after an id, at most `limit`.
    pub(crate) async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<DeadMessage>, ReadModelError> {
        let scan = Scan { prefix: String::new(), after: after.map(Into::into), limit };
        let documents = self.read_model.scan(&self.collection, &scan).await?;
        documents.iter().map(|document| read(&document.value)).collect()
    }

    /// How many there are.
    pub(crate) async fn count(&self) -> Result<u64, ReadModelError> {
        let (mut count, mut after) = (0, None);
        loop {
            let scan = Scan { prefix: String::new(), after, limit: PAGE };
            let documents = self.read_model.scan(&self.collection, &scan).await?;
            count += documents.len() as u64;
            match documents.into_iter().last() {
                Some(last) => after = Some(last.key),
                None => return Ok(count),
            }
        }
    }
}

fn read(text: &str) -> Result<DeadMessage, ReadModelError> {
    serde_json::from_str(text)
        .map_err(|error| ReadModelError::Unavailable(format!("a dead letter is damaged: {error}")))
}

/// Bytes as base64.
mod in_base64 {
    use base64::Engine as _;
    use serde::{Deserializer, Serializer, de::Error};

    use super::{Bytes, Deserialize, STANDARD};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map(Into::into).map_err(D::Error::custom)
    }
}

/// Bytes as base64, or nothing.
mod optional_base64 {
    use serde::{Deserializer, Serializer};

    use super::{Bytes, Deserialize, in_base64};

    pub(super) fn serialize<S: Serializer>(bytes: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => in_base64::serialize(bytes, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
        #[derive(Deserialize)]
        struct There(#[serde(with = "in_base64")] Bytes);

        Ok(Option::<There>::deserialize(deserializer)?.map(|There(bytes)| bytes))
    }
}

//! The producer: everything of a call goes at once and is waited for together.

use std::{fmt, sync::Arc, time::Duration};

use futures::future::join_all;
use lantern_core::{BusError, Destination, Message};
use rdkafka::{
    config::FromClientConfigAndContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _, PurgeConfig},
};
use tokio::{sync::Mutex, time::timeout};

use super::{
    binding,
    client::{Trouble, blocking},
    settings::Settings,
};

/// How long the brokers may take to acknowledge the messages of a call.
const ACKNOWLEDGED: Duration = Duration::from_secs(15);

/// How long any other answer may take.
const ANSWER: Duration = Duration::from_secs(8);

type Client = FutureProducer<Trouble>;

/// The producer of a cluster.
pub(super) struct Producer {
    settings: Arc<Settings>,
    /// Made when it is needed, and made anew after messages were taken back.
    current: Mutex<Option<Arc<Current>>>,
}

struct Current {
    client: Client,
    trouble: Trouble,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl Producer {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self { settings, current: Mutex::default() }
    }

    async fn current(&self) -> Result<Arc<Current>, BusError> {
        let mut current = self.current.lock().await;
        if let Some(current) = &*current {
            return Ok(current.clone());
        }
        let trouble = Trouble::new(&self.settings.name);
        let client = Client::from_config_and_context(&self.settings.producer(), trouble.clone());
        let client = client.map_err(|error| trouble.error(&error))?;
        Ok(current.insert(Arc::new(Current { client, trouble })).clone())
    }

    /// Whether the cluster is there and takes the credentials.
    pub(super) async fn check(&self) -> Result<(), BusError> {
        let current = self.current().await?;
        let asked = blocking({
            let current = current.clone();
            move || current.client.client().fetch_metadata(None, ANSWER).map(drop)
        });
        let answer = tokio::select! {
            answer = asked => answer.unwrap_or(Err(KafkaError::Canceled)).map_err(|error| current.trouble.error(&error)),
            () = current.trouble.hopeless() => Err(current.trouble.timeout()),
        };
        match &answer {
            Ok(()) => current.trouble.over(),
            // What is tried next is tried afresh.
            Err(_) => self.take_back(current).await,
        }
        answer
    }

    /// The first offset and the one after the last of each of these partitions, as far as the brokers answer.
    pub(super) async fn watermarks(&self, topic: &Arc<str>, partitions: &[i32]) -> Result<Vec<(i64, i64)>, BusError> {
        let current = self.current().await?;
        let (topic, partitions) = (topic.clone(), partitions.to_vec());
        let asked = blocking({
            let current = current.clone();
            move || {
                let client = current.client.client();
                partitions.iter().map(|partition| client.fetch_watermarks(&topic, *partition, ANSWER)).collect()
            }
        });
        asked.await.unwrap_or(Err(KafkaError::Canceled)).map_err(|error| current.trouble.error(&error))
    }

    /// Sends messages and waits until all are acknowledged.
    pub(super) async fn send(&self, destination: &Destination, messages: &[Message]) -> Result<(), BusError> {
        let current = self.current().await?;
        let sent = tokio::select! {
            sent = timeout(ACKNOWLEDGED, current.send(destination, messages)) => {
                sent.unwrap_or_else(|_| Err(current.trouble.timeout()))
            }
            () = current.trouble.hopeless() => Err(current.trouble.timeout()),
        };
        match &sent {
            Ok(()) => current.trouble.over(),
            // The others of the call are none the worse for it.
            Err(BusError::TooLarge { .. }) => {}
            Err(_) => self.take_back(current).await,
        }
        sent
    }

    /// Takes back what is under way, and lets the producer go. A message that was given up alone could be overtaken by
    /// later ones of its stream.
    async fn take_back(&self, failed: Arc<Current>) {
        failed.client.purge(PurgeConfig::default().queue().inflight());
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &failed)) {
            current.take();
        }
        drop(current);
        // The last one to let go waits for the client's thread.
        blocking(move || drop(failed)).await;
    }
}

impl Current {
    async fn send(&self, destination: &Destination, messages: &[Message]) -> Result<(), BusError> {
        let mut under_way = Vec::with_capacity(messages.len());
        for message in messages {
            let (headers, body) = binding::write(message, destination.form);
            let record = FutureRecord::to(&destination.topic).key(message.stream.as_str());
            let mut record = record.payload(&*body).headers(headers);
            loop {
                match self.client.send_result(record) {
                    Ok(delivery) => break under_way.push((message, body.len(), delivery)),
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                        record = refused;
                        self.settle(std::mem::take(&mut under_way)).await?;
                        // Others may have filled it.
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    Err((error, _)) => return Err(self.error(&error, message, body.len())),
                }
            }
        }
        self.settle(under_way).await
    }

    async fn settle(&self, under_way: Vec<(&Message, usize, DeliveryFuture)>) -> Result<(), BusError> {
        let (messages, deliveries): (Vec<_>, Vec<_>) =
            under_way.into_iter().map(|(message, size, delivery)| ((message, size), delivery)).unzip();
        for ((message, size), delivery) in messages.into_iter().zip(join_all(deliveries).await) {
            match delivery {
                Ok(Ok(_)) => {}
                Ok(Err((error, _))) => return Err(self.error(&error, message, size)),
                Err(_) => return Err(self.trouble.error(&KafkaError::Canceled)),
            }
        }
        Ok(())
    }

    fn error(&self, error: &KafkaError, message: &Message, bytes: usize) -> BusError {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
                let bus = self.trouble.name().to_owned();
                BusError::TooLarge { bus, event: message.event.id, bytes }
            }
            _ => self.trouble.error(error),
        }
    }
}

//! Messages made up, and consumers that take a number of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use lantern_core::{
    Bus, Consumer, Delivery, Destination, EventType, Message, Metadata, NewEvent, Payload, Subscription, Timestamp,
    TraceContext,
    bus::{Arrival, Form},
};
use uuid::Uuid;

/// Longer than anything takes; only a promise that is broken waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// A variable that says where a server for tests is.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: start the servers with `cargo xtask services up`, or name one of your own there")
    })
}

/// Where a topic is published to, in the binary form.
pub(crate) fn to(topic: &Arc<str>) -> Destination {
    Destination { topic: topic.clone(), form: Form::Binary }
}

/// A message of a stream, with a number in its data.
pub(crate) fn message(stream: &str, number: usize) -> Message {
    let event = NewEvent {
        id: Uuid::now_v7(),
        event_type: EventType::new("Counted").unwrap(),
        schema_version: 1,
        time: Timestamp(1_700_000_000_000_000_000),
        data: Payload::Json(format!(r#"{{"n":{number}}}"#).into()),
        metadata: Metadata::default(),
    };
    Message { stream: stream.parse().unwrap(), event }
}

/// Messages 0 up to `count`, in turn of the streams `Order-0` up to `streams`.
pub(crate) fn messages(streams: usize, count: usize) -> Vec<Message> {
    (0..count).map(|number| message(&format!("Order-{}", number % streams), number)).collect()
}

/// A message with everything that a message can have.
pub(crate) fn full() -> Message {
    let mut message = message("Order-4-2 ä\"%", 0);
    message.event.schema_version = 3;
    message.event.event_type = EventType::new("Paid in full: 100 %").unwrap();
    message.event.metadata = Metadata {
        source: Some("urn:bank".into()),
        correlation_id: Some("cörrelation".into()),
        causation_id: Some("caused by".into()),
        tenant: Some("north".into()),
        actor: Some("ann".into()),
        trace: Some(TraceContext { trace_id: 7, span_id: 9, flags: 1, state: Some("vendor=1,other=2".into()) }),
        extra: Some(Arc::new(BTreeMap::from([("region".into(), "eu".into()), ("dataschema".into(), "urn:s".into())]))),
    };
    message
}

/// A consumer of a subscription.
pub(crate) async fn consume(bus: &dyn Bus, subscription: &Subscription) -> Box<dyn Consumer> {
    patiently("a consumer", bus.consume(subscription)).await.unwrap()
}

/// Waits for something that must come.
pub(crate) async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {PATIENCE:?}"),
    }
}

/// The next messages, whatever else is told before.
pub(crate) async fn some(consumer: &mut dyn Consumer, limit: usize) -> Vec<Delivery> {
    patiently("a message", async {
        loop {
            if let Arrival::Messages(deliveries) = consumer.next(limit).await.unwrap() {
                return deliveries;
            }
        }
    })
    .await
}

/// Takes so many messages, and settles none.
pub(crate) async fn take(consumer: &mut dyn Consumer, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(some(consumer, count - taken.len()).await);
    }
    taken
}

/// Takes messages until there are so many different ones, and settles all; what came twice is there once.
pub(crate) async fn take_all(consumer: &mut dyn Consumer, count: usize) -> Vec<Message> {
    let (mut seen, mut taken) = (BTreeSet::new(), Vec::new());
    while taken.len() < count {
        let deliveries = some(consumer, 100).await;
        let receipts: Vec<_> = deliveries.iter().map(|delivery| delivery.receipt).collect();
        for delivery in deliveries {
            let message = delivery.content.unwrap();
            if seen.insert(message.event.id) {
                taken.push(message);
            }
        }
        consumer.settle(&receipts).await.unwrap();
    }
    taken
}

/// The numbers of messages.
pub(crate) fn numbers<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Vec<usize> {
    messages.into_iter().map(number).collect()
}

/// The numbers of messages that were delivered.
pub(crate) fn delivered(deliveries: &[Delivery]) -> Vec<usize> {
    numbers(deliveries.iter().map(|delivery| delivery.content.as_ref().unwrap()))
}

fn number(message: &Message) -> usize {
    let Payload::Json(json) = &message.event.data else { panic!("{message:?}") };
    json.trim_start_matches(r#"{"n":"#).trim_end_matches('}').parse().unwrap()
}

/// Panics unless the numbers of each stream come in their order.
pub(crate) fn assert_in_order<'a>(messages: impl IntoIterator<Item = &'a Message>) {
    let mut last = BTreeMap::new();
    for message in messages {
        let number = number(message);
        if let Some(before) = last.insert(message.stream.clone(), number) {
            assert!(before < number, "{} has {number} after {before}", message.stream);
        }
    }
}

/// Numbers, sorted.
pub(crate) fn sorted(mut numbers: Vec<usize>) -> Vec<usize> {
    numbers.sort_unstable();
    numbers
}

//! Buses, watched: a span for each message that is published and for each that is consumed.
//!
//! | span | cause | trace | parent | link |
//! |---|---|---|---|---|
//! | publish | live | of the span that produced the event, else a new one | that span | |
//! | publish | late | of the batch | the batch | the span that produced the event |
//! | consume | live | of the span that published the message, else a new one | that span | |
//! | consume | late | a new one | | the span that published the message |
//!
//! The message carries the context of its own publishing span, and the event that is handed on carries that of its
//! consuming span, so that what follows hangs below. Messages are late when as many came at once as were asked for.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use async_trait::async_trait;
use lantern_core::{
    Bus, BusError, Clock, Consumer, Delivery, Destination, Message, Subscription, SystemClock, TraceContext,
    bus::{Arrival, Lag, Offset, Partition, Receipt, Undecodable},
};

use crate::{
    Telemetry, ids,
    messages::{Carried, Channel, MessageSpan, Way},
    record::Link,
    span::inside,
};

/// How many spans are recorded of messages that a bus did not take: while it is away the same ones fail again and again.
const MAX_FAILED: usize = 32;

/// What is told of a message that is no event.
const UNDECODABLE: &str = "undecodable";

struct ObservedBus {
    inner: Arc<dyn Bus>,
    telemetry: Telemetry,
}

struct ObservedConsumer {
    inner: Box<dyn Consumer>,
    telemetry: Telemetry,
    channel: Arc<Channel>,
    /// Messages that are not settled yet, in the order of each partition.
    open: HashMap<Partition, VecDeque<Open>>,
    /// Whether the last answer was an error.
    is_failing: bool,
}

/// A message that was handed on.
struct Open {
    receipt: Receipt,
    since: Instant,
    /// `None` when it is not recorded.
    span: Option<MessageSpan>,
}

/// Watches a bus and those who consume from it.
#[must_use]
pub fn bus(inner: Arc<dyn Bus>, telemetry: &Telemetry) -> Arc<dyn Bus> {
    Arc::new(ObservedBus { inner, telemetry: telemetry.clone() })
}

fn link(context: &TraceContext) -> Link {
    Link { trace_id: context.trace_id, span_id: context.span_id }
}

impl ObservedBus {
    fn channel(&self, way: Way, topic: &Arc<str>, group: Option<&Arc<str>>) -> Channel {
        let old_keys = self.telemetry.has_old_message_keys();
        Channel { way, system: self.inner.system(), topic: topic.clone(), group: group.cloned(), old_keys }
    }

    async fn send(
        &self,
        destination: &Destination,
        messages: &[Message],
        batch: Option<&TraceContext>,
    ) -> Result<(), BusError> {
        let channel = Arc::new(self.channel(Way::Publish, &destination.topic, None));
        let (started, start) = (Instant::now(), SystemClock.now());
        let (result, spans) = if self.telemetry.is_enabled() {
            let mut spans = Vec::with_capacity(messages.len());
            let traced: Vec<Message> =
                messages.iter().map(|message| self.trace(message, batch, (&mut spans, start))).collect();
            (self.inner.publish(destination, &traced).await, spans)
        } else {
            (self.inner.publish(destination, messages).await, Vec::new())
        };
        let error = result.as_ref().err();
        self.telemetry.counts().buses.published(&channel, messages.len(), error, started.elapsed());
        // The machine's clock may be set back meanwhile.
        let end = SystemClock.now().max(start);
        let failure = error.map(|error| (error.kind(), Arc::from(error.to_string())));
        let recorded = if error.is_some() { MAX_FAILED } else { usize::MAX };
        let ended = spans.into_iter().take(recorded).map(|span| MessageSpan { end, failure: failure.clone(), ..span });
        self.telemetry.pipeline().messages(&channel, ended.collect());
        result
    }

    /// The message with the context of its own span.
    fn trace(
        &self,
        message: &Message,
        batch: Option<&TraceContext>,
        (spans, start): (&mut Vec<MessageSpan>, lantern_core::Timestamp),
    ) -> Message {
        let produced = message.event.metadata.trace.as_ref();
        let sampler = self.telemetry.sampler();
        let (parent, related, sampled) = match batch {
            None => {
                let trace_id = produced.map_or_else(ids::trace_id, |context| context.trace_id);
                let sampled = sampler.decides(produced, trace_id);
                let context = inside(produced, trace_id, sampled);
                (produced.map_or(0, |context| context.span_id), (context, None), sampled)
            }
            // The batch is a root: its flag only says that nobody has decided against it.
            Some(batch) => {
                let sampled = batch.is_sampled() && sampler.decides_root(batch.trace_id);
                let context = inside(Some(batch), batch.trace_id, sampled);
                (batch.span_id, (context, produced.map(link)), sampled)
            }
        };
        let (context, link) = related;
        if sampled {
            let carried = Carried::of(&message.stream, &message.event);
            spans.push(MessageSpan { parent, link, ..MessageSpan::at(&context, start, Some(carried)) });
        }
        let mut traced = message.clone();
        traced.event.metadata.trace = Some(context);
        traced
    }
}

#[async_trait]
impl Bus for ObservedBus {
    fn system(&self) -> &'static str {
        self.inner.system()
    }

    fn address(&self) -> &str {
        self.inner.address()
    }

    fn leaves_offsets(&self) -> bool {
        self.inner.leaves_offsets()
    }

    async fn check(&self) -> Result<(), BusError> {
        let checked = self.inner.check().await;
        if let Err(error) = &checked {
            self.telemetry.counts().buses.connection_failed(self.inner.system(), error);
        }
        checked
    }

    async fn publish(&self, destination: &Destination, messages: &[Message]) -> Result<(), BusError> {
        self.send(destination, messages, None).await
    }

    async fn publish_late(
        &self,
        destination: &Destination,
        messages: &[Message],
        batch: &TraceContext,
    ) -> Result<(), BusError> {
        self.send(destination, messages, Some(batch)).await
    }

    fn read(&self, message: &Undecodable, category: Option<&str>) -> Result<Message, Undecodable> {
        self.inner.read(message, category)
    }

    async fn consume(&self, subscription: &Subscription) -> Result<Box<dyn Consumer>, BusError> {
        let inner = match self.inner.consume(subscription).await {
            Ok(inner) => inner,
            Err(error) => {
                self.telemetry.counts().buses.connection_failed(self.inner.system(), &error);
                return Err(error);
            }
        };
        let channel = self.channel(Way::Consume, &subscription.topic, Some(&subscription.group));
        let telemetry = self.telemetry.clone();
        telemetry.counts().buses.connected(&channel, true);
        let (channel, open) = (Arc::new(channel), HashMap::new());
        Ok(Box::new(ObservedConsumer { inner, telemetry, channel, open, is_failing: false }))
    }
}

impl ObservedConsumer {
    /// Takes up the span of a message, which lasts until it is settled.
    fn open(&mut self, delivery: &mut Delivery, is_live: bool) {
        let receipt = delivery.receipt;
        let open = self.open.entry(receipt.partition).or_default();
        // What came over an earlier connection is on its way again.
        while open.front().is_some_and(|earlier| earlier.receipt.session != receipt.session) {
            open.pop_front();
        }
        let since = Instant::now();
        let mut span = None;
        if self.telemetry.is_enabled() {
            let sampler = self.telemetry.sampler();
            let message = delivery.content.as_mut().ok();
            let published = message.as_ref().and_then(|message| message.event.metadata.trace.clone());
            let parent = published.as_ref().filter(|_| is_live);
            let trace_id = parent.map_or_else(ids::trace_id, |context| context.trace_id);
            let sampled = sampler.decides(parent, trace_id);
            let context = inside(parent, trace_id, sampled);
            if sampled {
                let carried = message.as_ref().map(|message| Carried::of(&message.stream, &message.event));
                let link = published.as_ref().filter(|_| !is_live).map(link);
                let parent = parent.map_or(0, |context| context.span_id);
                let at = MessageSpan::at(&context, SystemClock.now(), carried).from(receipt);
                span = Some(MessageSpan { parent, link, ..at });
            }
            if let Some(message) = message {
                message.event.metadata.trace = Some(context);
            }
        }
        open.push_back(Open { receipt, since, span });
    }

    /// Ends the spans of messages up to one that is settled.
    fn end(&mut self, receipt: Receipt, failure: Option<&(&'static str, Arc<str>)>) {
        let Some(open) = self.open.get_mut(&receipt.partition) else { return };
        let is_settled = |open: &Open| open.receipt.session == receipt.session && open.receipt.offset <= receipt.offset;
        let (mut spans, now) = (Vec::new(), SystemClock.now());
        while open.front().is_some_and(is_settled) {
            let Some(Open { receipt: own, since, span }) = open.pop_front() else { break };
            let failure = failure.filter(|_| own == receipt).cloned();
            let kind = failure.as_ref().map(|(kind, _)| *kind);
            self.telemetry.counts().buses.processed(&self.channel, kind, since.elapsed());
            spans.extend(span.map(|span| MessageSpan { end: now.max(span.start), failure, ..span }));
        }
        self.telemetry.pipeline().messages(&self.channel, spans);
    }
}

#[async_trait]
impl Consumer for ObservedConsumer {
    async fn next(&mut self, limit: usize) -> Result<Arrival, BusError> {
        let result = self.inner.next(limit).await;
        let telemetry = self.telemetry.clone();
        let counts = &telemetry.counts().buses;
        if let Err(error) = &result {
            counts.connection_failed(self.channel.system, error);
            counts.connected(&self.channel, false);
            self.is_failing = true;
            return result;
        }
        if std::mem::take(&mut self.is_failing) {
            counts.reconnected(&self.channel);
            counts.connected(&self.channel, true);
        }
        result.map(|mut arrival| {
            match &mut arrival {
                Arrival::Messages(deliveries) => {
                    counts.consumed(&self.channel, deliveries.len());
                    let is_live = deliveries.len() < limit;
                    deliveries.iter_mut().for_each(|delivery| self.open(delivery, is_live));
                }
                Arrival::Assigned(_) => counts.rebalanced(&self.channel),
                // What was delivered may still be settled.
                Arrival::Revoked(_) => counts.rebalanced(&self.channel),
                Arrival::Lost(partitions) => {
                    counts.rebalanced(&self.channel);
                    self.open.retain(|partition, _| !partitions.contains(partition));
                }
            }
            arrival
        })
    }

    async fn resume(&mut self, places: &[(Partition, Option<Offset>)]) -> Result<(), BusError> {
        self.inner.resume(places).await
    }

    async fn settle(&mut self, receipts: &[Receipt]) -> Result<(), BusError> {
        let settled = self.inner.settle(receipts).await;
        receipts.iter().for_each(|receipt| self.end(*receipt, None));
        settled
    }

    async fn reject(&mut self, receipt: Receipt) -> Result<(), BusError> {
        let rejected = self.inner.reject(receipt).await;
        self.telemetry.counts().buses.set_aside(&self.channel);
        self.end(receipt, Some(&(UNDECODABLE, Arc::from("the message is no event"))));
        rejected
    }

    async fn lag(&mut self) -> Result<Vec<Lag>, BusError> {
        self.inner.lag().await
    }

    async fn close(self: Box<Self>) -> Result<(), BusError> {
        self.telemetry.counts().buses.connected(&self.channel, false);
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use lantern_core::bus::{Beginning, Form, Keeper};

    use super::*;
    use crate::{
        SpanView,
        fixture::{self, ports},
    };

    /// A bus that keeps what is published, and hands it all over at once.
    #[derive(Default)]
    struct Kept {
        messages: Arc<Mutex<Vec<Message>>>,
        is_away: bool,
    }

    #[async_trait]
    impl Bus for Kept {
        fn system(&self) -> &'static str {
            "kafka"
        }

        fn address(&self) -> &str {
            ""
        }

        async fn check(&self) -> Result<(), BusError> {
            Ok(())
        }

        async fn publish(&self, _: &Destination, messages: &[Message]) -> Result<(), BusError> {
            if self.is_away {
                return Err(BusError::Unreachable { bus: "Kafka".into(), reason: "away".into() });
            }
            self.messages.lock().unwrap().extend_from_slice(messages);
            Ok(())
        }

        fn read(&self, message: &Undecodable, _: Option<&str>) -> Result<Message, Undecodable> {
            Err(message.clone())
        }

        async fn consume(&self, _: &Subscription) -> Result<Box<dyn Consumer>, BusError> {
            Ok(Box::new(Self { messages: self.messages.clone(), is_away: false }))
        }
    }

    #[async_trait]
    impl Consumer for Kept {
        async fn next(&mut self, _: usize) -> Result<Arrival, BusError> {
            let messages = std::mem::take(&mut *self.messages.lock().unwrap());
            let delivery = |(offset, message)| Delivery {
                content: Ok(message),
                receipt: Receipt { partition: Partition(2), offset: Offset::Number(offset), session: 1 },
                redelivered: false,
            };
            Ok(Arrival::Messages((0..).zip(messages).map(delivery).collect()))
        }

        async fn resume(&mut self, _: &[(Partition, Option<Offset>)]) -> Result<(), BusError> {
            Ok(())
        }

        async fn settle(&mut self, _: &[Receipt]) -> Result<(), BusError> {
            Ok(())
        }

        async fn reject(&mut self, _: Receipt) -> Result<(), BusError> {
            Ok(())
        }

        async fn lag(&mut self) -> Result<Vec<Lag>, BusError> {
            Ok(Vec::new())
        }

        async fn close(self: Box<Self>) -> Result<(), BusError> {
            Ok(())
        }
    }

    fn destination() -> Destination {
        Destination { topic: "orders".into(), form: Form::Binary }
    }

    fn subscription() -> Subscription {
        Subscription {
            topic: "orders".into(),
            group: "shop".into(),
            pattern: None,
            category: None,
            beginning: Beginning::Oldest,
            keeper: Keeper::Bus,
        }
    }

    fn message(trace: Option<TraceContext>) -> Message {
        let mut event = ports::new_event();
        event.metadata.trace = trace;
        Message { stream: "Order-42".parse().unwrap(), event }
    }

    fn only(telemetry: &Telemetry, trace_id: u128, name: &str) -> SpanView {
        let spans: Vec<_> = telemetry.trace(trace_id).into_iter().filter(|span| span.name == name).collect();
        let [span] = spans.as_slice() else { panic!("{spans:?}") };
        span.clone()
    }

    #[tokio::test]
    async fn a_message_carries_its_publishing_span_which_hangs_below_what_produced_the_event() {
        let telemetry = fixture::telemetry();
        let kept = Arc::new(Kept::default());
        let bus = bus(kept.clone(), &telemetry);
        bus.publish(&destination(), &[message(Some(ports::context(10, 20))), message(None)]).await.unwrap();
        let sent = kept.messages.lock().unwrap().clone();
        let span = only(&telemetry, 10, "eventsource.event_bus.publish");
        assert_eq!((span.kind, span.parent_span_id.as_deref()), ("producer", Some("0000000000000014")));
        let carried = sent[0].event.metadata.trace.clone().unwrap();
        assert_eq!((carried.trace_id, format!("{:016x}", carried.span_id)), (10, span.span_id));
        assert_eq!(span.attributes["messaging.destination.name"], "orders");
        assert_eq!(span.attributes["messaging.message.id"], sent[0].event.id.to_string());
        assert_eq!(span.attributes["messaging.operation.type"], "send");
        assert!(!span.attributes.contains_key("messaging.destination"), "the old key was not asked for");
        let root = sent[1].event.metadata.trace.clone().unwrap();
        assert_eq!(only(&telemetry, root.trace_id, "eventsource.event_bus.publish").parent_span_id, None);
    }

    #[tokio::test]
    async fn a_late_message_belongs_to_its_batch_and_links_to_what_produced_the_event() {
        let telemetry = fixture::telemetry();
        let bus = bus(Arc::new(Kept::default()), &telemetry);
        let batch = ports::context(30, 40);
        bus.publish_late(&destination(), &[message(Some(ports::context(10, 20)))], &batch).await.unwrap();
        let span = only(&telemetry, 30, "eventsource.event_bus.publish");
        assert_eq!(span.parent_span_id.as_deref(), Some("0000000000000028"));
        assert_eq!(span.links[0].span_id, "0000000000000014");
        assert!(telemetry.trace(10).is_empty(), "an old trace does not grow");
    }

    #[tokio::test]
    async fn what_is_not_published_is_an_error_of_its_span_and_counted() {
        let telemetry = fixture::with([("OTEL_SEMCONV_STABILITY_OPT_IN", "messaging/dup")]);
        let bus = bus(Arc::new(Kept { is_away: true, ..Kept::default() }), &telemetry);
        bus.publish(&destination(), &[message(Some(ports::context(10, 20)))]).await.unwrap_err();
        let span = only(&telemetry, 10, "eventsource.event_bus.publish");
        assert_eq!((span.status, &span.attributes["error.type"]), ("error", &"unreachable".into()));
        assert_eq!(span.attributes["messaging.destination"], "orders");
        let metrics = telemetry.metrics();
        for line in [
            "messaging_client_sent_messages_total{messaging_system=\"kafka\",messaging_destination_name=\"orders\",\
             messaging_operation_name=\"publish\",error_type=\"unreachable\"} 1",
            "kafka_eventbus_connection_errors_total{messaging_system=\"kafka\",error_type=\"unreachable\"} 1",
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line} is missing in\n{metrics}");
        }
    }

    #[tokio::test]
    async fn a_consuming_span_lasts_until_its_message_is_settled() {
        let telemetry = fixture::telemetry();
        let bus = bus(Arc::new(Kept::default()), &telemetry);
        bus.publish(&destination(), &[message(Some(ports::context(10, 20))), message(None)]).await.unwrap();
        let mut consumer = bus.consume(&subscription()).await.unwrap();
        let Arrival::Messages(deliveries) = consumer.next(100).await.unwrap() else { panic!("no messages") };
        assert!(telemetry.trace(10).iter().all(|span| span.kind == "producer"), "nothing is settled yet");
        consumer.settle(&[deliveries[0].receipt]).await.unwrap();
        let published = only(&telemetry, 10, "eventsource.event_bus.publish");
        let consumed = only(&telemetry, 10, "eventsource.event_bus.consume");
        assert_eq!((consumed.kind, consumed.parent_span_id.as_ref()), ("consumer", Some(&published.span_id)));
        assert_eq!(consumed.attributes["messaging.consumer.group.name"], "shop");
        assert_eq!(consumed.attributes["messaging.destination.partition.id"], "2");
        assert_eq!(consumed.attributes["messaging.kafka.offset"], 0);
        let handed_on = deliveries[0].content.as_ref().unwrap().event.metadata.trace.clone().unwrap();
        assert_eq!(format!("{:016x}", handed_on.span_id), consumed.span_id);

        consumer.reject(deliveries[1].receipt).await.unwrap();
        let other = deliveries[1].content.as_ref().unwrap().event.metadata.trace.clone().unwrap();
        let rejected = only(&telemetry, other.trace_id, "eventsource.event_bus.consume");
        assert_eq!((rejected.status, &rejected.attributes["error.type"]), ("error", &"undecodable".into()));
        let metrics = telemetry.metrics();
        assert!(metrics.contains("kafka_eventbus_messages_consumed_total{messaging_system=\"kafka\""), "{metrics}");
        assert!(metrics.contains("messaging_process_duration_seconds_count{messaging_system=\"kafka\""), "{metrics}");
        let labels =
            "{messaging_system=\"kafka\",messaging_destination=\"orders\",messaging_kafka_consumer_group=\"shop\"";
        for line in [
            format!("kafka_eventbus_batch_size_sum{labels}}} 2.0"),
            format!("kafka_eventbus_handler_invocations_total{labels},handler_name=\"shop\"}} 1"),
            format!("kafka_eventbus_handler_errors_total{labels},handler_name=\"shop\",error_type=\"undecodable\"}} 1"),
            format!("kafka_eventbus_handler_duration_milliseconds_count{labels},handler_name=\"shop\"}} 2"),
        ] {
            assert!(metrics.contains(&line), "{line} is missing in\n{metrics}");
        }
    }

    #[tokio::test]
    async fn messages_that_come_late_link_to_what_published_them() {
        let telemetry = fixture::telemetry();
        let bus = bus(Arc::new(Kept::default()), &telemetry);
        bus.publish(&destination(), &[message(Some(ports::context(10, 20)))]).await.unwrap();
        let mut consumer = bus.consume(&subscription()).await.unwrap();
        let Arrival::Messages(deliveries) = consumer.next(1).await.unwrap() else { panic!("no messages") };
        consumer.settle(&[deliveries[0].receipt]).await.unwrap();
        let handed_on = deliveries[0].content.as_ref().unwrap().event.metadata.trace.clone().unwrap();
        assert_ne!(handed_on.trace_id, 10);
        let consumed = only(&telemetry, handed_on.trace_id, "eventsource.event_bus.consume");
        let published = only(&telemetry, 10, "eventsource.event_bus.publish");
        assert_eq!((consumed.parent_span_id, consumed.links[0].span_id.clone()), (None, published.span_id));
    }

    #[tokio::test]
    async fn without_telemetry_the_context_goes_on_as_it_came() {
        let telemetry = Telemetry::disabled();
        let kept = Arc::new(Kept::default());
        let bus = bus(kept.clone(), &telemetry);
        let sent = message(Some(ports::context(10, 20)));
        bus.publish(&destination(), std::slice::from_ref(&sent)).await.unwrap();
        let mut consumer = bus.consume(&subscription()).await.unwrap();
        let Arrival::Messages(deliveries) = consumer.next(100).await.unwrap() else { panic!("no messages") };
        assert_eq!(deliveries[0].content.as_ref(), Ok(&sent));
    }
}

//! Budget `kafka-projection`: messages of Kafka straight through a Wasm projection into a read model, against a bare consumer
//! of the same topic that only decodes them. The brokers are those of `LANTERN_TEST_KAFKA_BROKERS`.

use std::{
    env,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lantern_core::{
    Bus, Destination, Kind, Message, Name, Subscription, Timestamp, TraceContext,
    bus::{Beginning, Form, Keeper},
};
use lantern_processors::{Buses, Configured, Consume, Start};
use rdkafka::{
    ClientConfig, Message as _,
    consumer::{BaseConsumer, Consumer as _},
    message::{BorrowedMessage, Headers as _},
};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    Bench,
    events::Generator,
    figures::{median, per_second, rate},
    rebuild::GUEST,
    report::{Report, ratio},
    world::Make,
};

/// Where the brokers are.
const BROKERS: &str = "LANTERN_TEST_KAFKA_BROKERS";

/// How many messages the topic has.
const MESSAGES: usize = 200_000;

/// How many are published at once.
const AT_ONCE: usize = 4_000;

/// How long a round may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let Some(brokers) = env::var_os(BROKERS) else {
        report.note(format!("kafka-projection was not measured: {BROKERS} is not set, see `cargo xtask services up`"));
        return Ok(());
    };
    let brokers = brokers.into_string().ok().context("the addresses of the brokers are no text")?;
    let bus = lantern_buses::open(&format!("kafka://{brokers}?partitions=6"))?;
    let topic: Arc<str> = format!("bench-{}", Uuid::new_v4()).into();
    publish(&*bus, &topic).await?;
    let (mut host, mut bare) = (Vec::new(), Vec::new());
    for round in 0..=bench.arguments.rounds {
        let projected = project(bench, bus.clone(), &topic).await?;
        let decoded = tokio::task::spawn_blocking({
            let (brokers, topic) = (brokers.clone(), topic.clone());
            move || decode(&brokers, &topic)
        });
        let decoded = decoded.await??;
        // The first round warms up.
        if round > 0 {
            host.push(projected);
            bare.push(decoded);
        }
    }
    let ratios = host.iter().zip(&bare).map(|(host, bare)| host / bare).collect();
    report.note(format!(
        "kafka-projection: Kafka to SQLite read model: {}; a consumer that only decodes: {}",
        per_second(median(host)),
        per_second(median(bare))
    ));
    report.at_least("kafka-projection: against a consumer that only decodes", median(ratios), 0.8, ratio);
    Ok(())
}

async fn publish(bus: &dyn Bus, topic: &Arc<str>) -> Result<()> {
    let destination = Destination { topic: topic.clone(), form: Form::Binary };
    let mut generator = Generator::new()?;
    let mut left = MESSAGES;
    while left > 0 {
        let next = left.min(AT_ONCE);
        let messages = (0..next).map(|_| generator.event().map(|(stream, event)| Message { stream, event }));
        bus.publish(&destination, &messages.collect::<Result<Vec<_>>>()?).await?;
        left -= next;
    }
    Ok(())
}

/// Has the messages projected. Answers the rate from the first that came on.
async fn project(bench: &Bench, bus: Arc<dyn Bus>, topic: &Arc<str>) -> Result<f64> {
    let world = &bench.world;
    let (digest, name) = (world.push(GUEST).await?, Name::new("fed")?);
    let route = Consume {
        name: Name::new("in")?,
        bus: Name::new("kafka")?,
        subscription: Subscription {
            topic: topic.clone(),
            group: Uuid::new_v4().to_string().into(),
            pattern: None,
            category: None,
            beginning: Beginning::Oldest,
            keeper: Keeper::Caller,
        },
        projection: Some(name.clone()),
    };
    let buses: Arc<Buses> = Arc::new([(route.bus.clone(), bus)].into());
    let log = Arc::new(lantern_stores::memory::Log::new());
    let make = Make { log, library: world.library(), telemetry: None, watch: None };
    let host = world.fed(make, (buses, vec![Configured::Consume(route)])).await?;
    host.deploy(&name, digest, Start::Beginning).await?;
    let (begun, mut first) = (Instant::now(), None);
    loop {
        let status = host.supervisor.status(Kind::Projection, &name)?;
        if status.head.0 > 0 {
            first.get_or_insert_with(|| (Instant::now(), status.head.0));
        }
        if status.handled == MESSAGES as u64 {
            break;
        }
        ensure!(begun.elapsed() < PATIENCE, "{} of {MESSAGES} were projected: {:?}", status.handled, status.last_error);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (since, before) = first.context("nothing came")?;
    let took = since.elapsed();
    host.end().await?;
    Ok(rate(MESSAGES as u64 - before, took))
}

/// What a consumer makes of a message: the least that tells it is an event.
#[derive(Debug)]
struct Decoded {
    id: Uuid,
    kind: String,
    stream: String,
    time: Option<Timestamp>,
    source: Option<String>,
    trace: Option<TraceContext>,
    data: Box<RawValue>,
}

/// Consumes and decodes the messages. Answers the rate from the first one on.
fn decode(brokers: &str, topic: &str) -> Result<f64> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", Uuid::new_v4().to_string());
    config.set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    config.set("isolation.level", "read_committed").set("queued.max.messages.kbytes", "65536");
    let consumer: BaseConsumer = config.create()?;
    consumer.subscribe(&[topic])?;
    let (begun, mut first, mut count, mut bytes) = (Instant::now(), None, 0, 0);
    while count < MESSAGES {
        ensure!(begun.elapsed() < PATIENCE, "{count} of {MESSAGES} were consumed");
        let Some(record) = consumer.poll(Duration::from_millis(100)) else { continue };
        let decoded = read(&record?)?;
        bytes += decoded.data.get().len() + decoded.stream.len() + decoded.kind.len();
        ensure!(!decoded.id.is_nil() && decoded.time.is_some() | decoded.source.is_some() | decoded.trace.is_some());
        first.get_or_insert_with(Instant::now);
        count += 1;
    }
    ensure!(bytes > MESSAGES, "the messages are empty");
    Ok(rate(MESSAGES as u64, first.context("nothing came")?.elapsed()))
}

fn read(record: &BorrowedMessage<'_>) -> Result<Decoded> {
    let (mut id, mut kind, mut stream, mut time, mut source, mut trace) = (None, None, None, None, None, None);
    for header in record.headers().context("a message without headers")?.iter() {
        let value = || std::str::from_utf8(header.value.unwrap_or_default());
        match header.key {
            "ce_id" => id = Some(value()?.parse()?),
            "ce_type" => kind = Some(value()?.to_owned()),
            "ce_subject" => stream = Some(value()?.to_owned()),
            "ce_time" => time = Some(value()?.parse()?),
            "ce_source" => source = Some(value()?.to_owned()),
            "ce_traceparent" => trace = Some(value()?.parse()?),
            _ => {}
        }
    }
    Ok(Decoded {
        id: id.context("a message without id")?,
        kind: kind.context("a message without type")?,
        stream: stream.context("a message without subject")?,
        time,
        source,
        trace,
        data: serde_json::from_slice(record.payload().unwrap_or_default())?,
    })
}

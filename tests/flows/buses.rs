//! Buses: what one host publishes another has in its log, once and in order, in one trace; outages pass by themselves.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use serde_json::{Value, json};

use crate::support::{
    Host, HostOptions,
    buses::{Bus, topic},
    collector::{Collector, Span},
    events::{amounts, event, id},
    guests,
    servers::Server,
    wait,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const APPEND: &str = "eventsource.event_store.append_events";
const PUBLISH: &str = "eventsource.event_bus.publish";
const CONSUME: &str = "eventsource.event_bus.consume";
const HANDLE: &str = "eventsource.projection.handle";

fn traced(collector: &Collector, service: &str) -> HostOptions {
    HostOptions::default()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
        .variable("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .variable("OTEL_SERVICE_NAME", service)
        .variable("OTEL_BSP_SCHEDULE_DELAY", "50")
}

fn is_live(status: &Value) -> bool {
    status["state"] == "live"
}

/// Request, append, publish, consume, append, handle: each the child of the one before, across two hosts.
fn one_trace_across_two_hosts(bus: Bus) {
    let (collector, topic) = (Collector::grpc(), topic());
    let from = Host::start_with(traced(&collector, "from").bus(&bus.url()).publishing(&topic));
    let to = Host::start_with(traced(&collector, "to").bus(&bus.url()).consuming(&topic));
    from.wait_for_route("out", "live", is_live);
    to.wait_for_route("in", "live", is_live);
    to.deploy("totals", guests::COUNTER);
    to.wait_until("totals", "live", is_live);

    let body = event(1, "Item-7", "Counted", json!({ "amount": 5 })).to_string();
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [("content-type", "application/json"), ("traceparent", traceparent.as_str())];
    from.send("POST", "/api/v1/events", &headers, body.as_bytes()).ok();
    to.wait_for_head(1);
    to.wait("totals");
    assert_eq!(to.document("totals", "counts", "Item-7").unwrap()["last_amount"], 5);

    let handle = collector.span(TRACE, HANDLE);
    let consume = collector.span(TRACE, CONSUME);
    let publish = collector.span(TRACE, PUBLISH);
    let append = |service: &str| {
        wait::until(&format!("the append of {service}"), || {
            collector.trace(TRACE).into_iter().find(|span| span.name == APPEND && span.service == service)
        })
    };
    let (first, second) = (append("from"), append("to"));
    assert_eq!((&publish.parent, &publish.service), (&first.span_id, &"from".to_owned()));
    assert_eq!((&consume.parent, &consume.service), (&publish.span_id, &"to".to_owned()));
    assert_eq!((&second.parent, &handle.parent), (&consume.span_id, &consume.span_id));
    assert_eq!((publish.kind, consume.kind), (4, 5), "producer and consumer");
    for span in [&publish, &consume] {
        assert_eq!(span.attributes["messaging.system"], bus.server());
        assert_eq!(span.attributes["messaging.destination.name"], topic);
        assert_eq!(span.attributes["messaging.message.id"], id(1));
    }
    let stored = to.get(&format!("/api/v1/events/{}", id(1))).ok();
    assert_eq!(stored["traceparent"], format!("00-{TRACE}-{}-01", consume.span_id));
    let metrics = to.get("/metrics").body;
    assert!(
        metrics.contains(&format!("messaging_client_consumed_messages_total{{messaging_system=\"{}\"", bus.server()))
    );
}

#[test]
fn one_trace_runs_through_redis() {
    one_trace_across_two_hosts(Bus::Redis);
}

#[test]
fn one_trace_runs_through_rabbitmq() {
    one_trace_across_two_hosts(Bus::RabbitMq);
}

#[test]
fn one_trace_runs_through_kafka() {
    one_trace_across_two_hosts(Bus::Kafka);
}

/// Messages that waited belong to the batch that sends or takes them, and link to what they come from; those that did not
/// wait are its children. One way or the other each message leads from the append on one host to the append on the other.
fn each_message_of_a_batch_is_traced(bus: Bus) {
    const COUNT: u64 = 40;
    let (collector, topic) = (Collector::grpc(), topic());
    let from = Host::start_with(traced(&collector, "from").bus(&bus.url()).publishing(&topic));
    from.cli(&["bus", "pause", "out"]).ok();
    let body = Value::from(amounts(1, COUNT, 3)).to_string();
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [("content-type", "application/cloudevents-batch+json"), ("traceparent", traceparent.as_str())];
    from.send("POST", "/api/v1/events", &headers, body.as_bytes()).ok();
    from.cli(&["bus", "resume", "out"]).ok();
    let to = Host::start_with(traced(&collector, "to").bus(&bus.url()).consuming(&topic));
    to.wait_for_head(COUNT);

    let append = collector.span(TRACE, APPEND);
    let comes_from = |span: &Span, other: &Span| {
        let ids = (other.trace_id.clone(), other.span_id.clone());
        (span.trace_id == ids.0 && span.parent == ids.1) || span.links.contains(&ids)
    };
    let found = |name: &str, id: &str, is: &dyn Fn(&Span) -> bool| {
        wait::until(&format!("the span `{name}` of message {id}"), || {
            let spans = collector.named(name).into_iter();
            spans.filter(|span| span.attributes["messaging.message.id"] == id).find(is)
        })
    };
    for number in 1..=COUNT {
        let id = id(number);
        let consume = found(CONSUME, &id, &|_| true);
        // It may have been sent in vain before.
        let publish = found(PUBLISH, &id, &|publish| comes_from(&consume, publish));
        assert!(comes_from(&publish, &append), "{publish:?}");
        let stored = to.get(&format!("/api/v1/events/{id}")).ok();
        assert_eq!(stored["traceparent"], format!("00-{}-{}-01", consume.trace_id, consume.span_id));
    }
}

#[test]
fn each_message_of_a_batch_is_traced_through_redis() {
    each_message_of_a_batch_is_traced(Bus::Redis);
}

#[test]
fn each_message_of_a_batch_is_traced_through_rabbitmq() {
    each_message_of_a_batch_is_traced(Bus::RabbitMq);
}

#[test]
fn each_message_of_a_batch_is_traced_through_kafka() {
    each_message_of_a_batch_is_traced(Bus::Kafka);
}

#[test]
fn a_projection_that_kafka_feeds_is_in_the_trace_of_the_message() {
    let (collector, topic, url) = (Collector::grpc(), topic(), Bus::Kafka.url());
    let from = Host::start_with(traced(&collector, "from").bus(&url).publishing(&topic));
    let reading = traced(&collector, "to").bus(&url).consuming(&topic);
    let to = Host::start_with(reading.variable("LANTERN_CONSUME_IN_PROJECTION", "totals"));
    to.deploy("totals", guests::COUNTER);
    from.wait_for_route("out", "live", is_live);

    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [("content-type", "application/json"), ("traceparent", traceparent.as_str())];
    // What cannot be handled is set aside on the way, with what it is.
    for (number, data) in [(1, json!({ "amount": 5 })), (2, json!({ "amount": "none" }))] {
        let body = event(number, &format!("Item-{number}"), "Counted", data).to_string();
        from.send("POST", "/api/v1/events", &headers, body.as_bytes()).ok();
    }
    to.wait_until("totals", "done", |status| status["handled"] == 1 && status["parked_events"] == 1);
    assert_eq!(to.document("totals", "counts", "Item-1").unwrap()["last_amount"], 5);
    assert_eq!((to.head(), to.dead_letters("totals")[0]["stream"].as_str()), (0, Some("Item-2")));

    wait::until("publish, consume and handle in a row", || {
        let spans = collector.trace(TRACE);
        let by_id = |id: &str| spans.iter().find(|span| span.span_id == id);
        let is = |span: &Span, name: &str, service: &str| span.name == name && span.service == service;
        let handled = spans.iter().filter(|span| is(span, HANDLE, "to")).find(|handle| {
            let consume = by_id(&handle.parent).filter(|consume| is(consume, CONSUME, "to"));
            consume.and_then(|consume| by_id(&consume.parent)).is_some_and(|publish| is(publish, PUBLISH, "from"))
        });
        handled.map(drop)
    });
}

/// What is in the log before a host publishes, what comes meanwhile, and what is sent twice: all of it arrives once.
fn a_copy_of_the_log(bus: Bus) {
    let topic = topic();
    let from = Host::start_with(HostOptions::default().bus(&bus.url()).publishing(&topic));
    from.append(&amounts(1, 1500, 7));
    let to = Host::start_with(HostOptions::default().bus(&bus.url()).consuming(&topic));
    to.deploy("totals", guests::COUNTER);
    from.append(&amounts(1501, 500, 7));
    to.wait_for_head(2000);
    // The same once more, by another route of the same events.
    let again = Host::start_with(HostOptions::default().bus(&bus.url()).publishing(&topic));
    again.append(&amounts(1, 100, 7));
    again.wait_for_route("out", "done", |status| status["messages"] == 100 && status["lag"] == 0);
    to.wait_for_route("in", "done", |status| status["messages"].as_u64() >= Some(2100) && status["lag"] == 0);
    assert_eq!(to.head(), 2000, "nothing is in the log twice");
    assert_eq!(to.streams(), from.streams());
    to.wait("totals");
    from.deploy("totals", guests::COUNTER);
    from.wait("totals");
    assert_eq!(to.digest("totals"), from.digest("totals"));
    let listed = from.cli(&["bus", "list"]);
    assert!(listed.ok().contains("available"), "{}", listed.stdout);
}

#[test]
fn a_log_is_copied_through_redis() {
    a_copy_of_the_log(Bus::Redis);
}

#[test]
fn a_log_is_copied_through_rabbitmq() {
    a_copy_of_the_log(Bus::RabbitMq);
}

#[test]
fn a_log_is_copied_through_kafka() {
    a_copy_of_the_log(Bus::Kafka);
}

/// The bus is away when the hosts start, comes, goes and comes again.
fn an_outage_passes_by_itself(bus: Bus) {
    let mut server = Server::start(bus.server());
    let (url, topic) = (bus.url_at(&server), topic());
    server.kill();
    let from = Host::start_with(HostOptions::default().bus(&url).publishing(&topic));
    let to = Host::start_with(HostOptions::default().bus(&url).consuming(&topic));
    from.deploy("totals", guests::COUNTER);
    from.append(&amounts(1, 10, 3));
    for (host, route) in [(&from, "out"), (&to, "in")] {
        let status = host.wait_for_route(route, "in trouble", |status| status["state"] == "error");
        assert!(status["last_error"]["message"].as_str().unwrap().contains("could not be reached"), "{status}");
    }
    assert_eq!(from.route("out")["lag"], 10);
    assert!(from.get("/health/ready").body.contains("degraded"));
    from.wait("totals");

    server.start_again();
    to.wait_for_head(10);
    from.wait_for_route("out", "live", |status| {
        is_live(status) && status["lag"] == 0 && status["last_error"].is_null()
    });
    to.wait_for_route("in", "live", |status| is_live(status) && status["last_error"].is_null());

    server.kill();
    from.append(&amounts(11, 10, 3));
    // What is fed by the log does not wait for a bus.
    from.wait("totals");
    from.wait_for_route("out", "in trouble", |status| status["lag"] == 10 && status["state"] == "error");
    server.start_again();
    to.wait_for_head(20);
    from.wait_for_route("out", "live", |status| is_live(status) && status["lag"] == 0);
    assert_eq!(to.streams(), from.streams());
}

#[test]
fn an_outage_of_redis_passes_by_itself() {
    an_outage_passes_by_itself(Bus::Redis);
}

#[test]
fn an_outage_of_rabbitmq_passes_by_itself() {
    an_outage_passes_by_itself(Bus::RabbitMq);
}

#[test]
fn an_outage_of_kafka_passes_by_itself() {
    an_outage_passes_by_itself(Bus::Kafka);
}

/// Sends commands to the Redis that all tests share.
fn redis(commands: &[&str]) {
    let url = Bus::Redis.url();
    let (login, address) = url.strip_prefix("redis://").unwrap().split_once('@').unwrap();
    let mut stream = TcpStream::connect(address.split('/').next().unwrap()).unwrap();
    let login = format!("AUTH {}", login.split_once(':').unwrap().1);
    for command in [&[login.as_str()], commands].concat() {
        stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
    }
    let answers = BufReader::new(stream).lines().take(commands.len() + 1).collect::<Result<Vec<_>, _>>().unwrap();
    assert!(answers.iter().all(|answer| !answer.starts_with('-')), "{answers:?}");
}

#[test]
fn what_is_no_event_waits_for_an_operator() {
    let topic = topic();
    let host = Host::start_with(HostOptions::default().bus(&Bus::Redis.url()).consuming(&topic));
    let event = "ce_specversion 1.0 ce_id 7 ce_source /shop ce_type Counted content-type application/json";
    redis(&[
        &format!("XADD {topic} * {event} ce_subject nowhere data '{{\"amount\":7}}'"),
        &format!("XADD {topic} * nonsense 1"),
        &format!("XADD {topic} * {event} ce_subject Item-1 data '{{\"amount\":8}}'"),
    ]);
    host.wait_for_head(1);
    host.wait_for_route("in", "setting aside", |status| status["dead_letters"] == 2 && status["lag"] == 0);
    let listed = host.cli_json(&["bus", "dead-letter", "list", "in"]);
    let ids: Vec<&str> = listed.as_array().unwrap().iter().map(|dead| dead["id"].as_str().unwrap()).collect();
    let shown = host.cli(&["bus", "dead-letter", "show", "in", ids[0]]);
    assert!(shown.ok().contains("ce_subject: nowhere") && shown.stdout.contains("{\"amount\":7}"), "{}", shown.stdout);

    // As it is it is still no event; with a category it is one.
    let retried = host.cli(&["bus", "dead-letter", "retry", "in"]);
    assert!(retried.ok().contains("0 went their way, 2 remain"), "{}", retried.stdout);
    let retried = host.cli(&["bus", "dead-letter", "retry", "in", "--id", ids[0], "--category", "Item"]);
    assert!(retried.ok().contains("1 went their way, 1 remain"), "{}", retried.stdout);
    assert!(host.streams().contains_key("Item-nowhere"));
    host.cli(&["bus", "dead-letter", "discard", "in", ids[1]]).ok();
    assert_eq!(host.route("in")["dead_letters"], 0);
    host.cli(&["bus", "dead-letter", "show", "in", ids[1]]).failed(4);
}

#[test]
fn a_host_may_read_what_it_publishes() {
    let mut host = Host::start_with(HostOptions::default().bus("memory:").publishing("own").consuming("own"));
    host.append(&amounts(1, 100, 3));
    host.wait_for_route("in", "done", |status| status["messages"] == 100 && status["lag"] == 0);
    assert_eq!(host.head(), 100, "its own events are in the log already");
    let paused = host.cli(&["bus", "pause", "out"]);
    assert!(paused.ok().contains("paused"), "{}", paused.stdout);
    host.append(&amounts(101, 1, 1));
    assert_eq!(host.route("out")["lag"], 1);
    host.cli(&["bus", "resume", "out"]).ok();
    host.wait_for_route("out", "done", |status| status["lag"] == 0);
    let shown = host.cli(&["bus", "status", "out"]);
    assert!(shown.ok().contains("101 of 101"), "{}", shown.stdout);
    host.cli(&["bus", "status", "nowhere"]).failed(4);
    // A route goes on where it was.
    host.restart();
    host.append(&amounts(102, 1, 1));
    host.wait_for_route("out", "done", |status| status["lag"] == 0 && status["messages"] == 1);
}

#[test]
fn a_handler_publishes_to_the_topics_it_is_granted() {
    let host = Host::start_with(HostOptions::default().bus("memory:").consuming("told"));
    let settings =
        |topic: &str| json!({ "grants": { "emit": true, "publish": ["main/told"] }, "config": { "topic": topic } });
    let refused = host.deploy_handler("none", guests::PUBLISHER, json!({ "grants": { "emit": true } }));
    assert!(refused.body.contains("--grant publish=BUS/TOPIC"), "{}", refused.body);
    let elsewhere = json!({ "grants": { "emit": true, "publish": ["elsewhere/told"] } });
    let refused = host.deploy_handler("none", guests::PUBLISHER, elsewhere);
    assert!(refused.body.contains("no bus `elsewhere`"), "{}", refused.body);
    host.deploy_handler("publisher", guests::PUBLISHER, settings("told")).ok();
    host.handler("publisher").wait_until("live", is_live);
    host.append(&[event(1, "Trigger-1", "Announced", json!({ "text": "hello" }))]);
    host.wait_for_head(3);
    let events: Vec<Value> = host.exported().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap();
    let (trigger, told) = (of("Announced"), of("Told"));
    assert_eq!((&told["subject"], &told["data"]), (&"Told-1".into(), &json!({ "text": "hello" })));
    assert_eq!((&told["causationid"], &told["source"]), (&trigger["id"], &"/handlers/publisher".into()));
    let trace = |event: &Value| event["traceparent"].as_str().unwrap()[..36].to_owned();
    assert_eq!(trace(told), trace(trigger), "one trace");
    assert_eq!(host.handler("publisher").status()["published"], 1);

    // A topic that is not granted is the event's failure.
    host.deploy_handler("other", guests::PUBLISHER, settings("other")).ok();
    host.handler("other").wait_until("parked", |status| status["parked_events"] == 1);
    let parked = host.handler("other").dead_letters();
    assert!(parked[0]["error"].as_str().unwrap().contains("--grant publish=main/other"), "{parked:?}");
}

//! Events to and from clients of other makers: the CloudEvents SDK for Python with `confluent-kafka`, `pika` and `redis`,
//! in both forms, with traces that go on over the hop.

use serde_json::{Value, json};

use crate::support::{
    Host, HostOptions,
    buses::{Bus, topic},
    events::{event, id},
    python::Script,
    wait,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A client of another maker.
struct Other {
    bus: Bus,
    script: &'static str,
    /// What the script is told beside URL and topic.
    binding: Option<&'static str>,
    /// What Lantern is told in the URL, after the options that are there.
    option: &'static str,
}

/// Events with data of every kind, the first with all that an event can carry.
fn made(source: &str) -> Vec<Value> {
    let mut full = event(1, "Order-é 1", "OrderPlaced", json!({ "text": "ü \u{1F3EE}", "list": [1, 2.5, null] }));
    let more = json!({
        "time": "2026-01-02T03:04:05.678Z", "datacontenttype": "application/json", "schemaversion": 3,
        "correlationid": "c-1", "tenant": "ächte", "region": "eu",
        "traceparent": format!("00-{TRACE}-{PARENT}-01"), "tracestate": "vendor=1",
    });
    full.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut text = event(2, "Order-é 1", "Noted", json!("two\nlines"));
    text["datacontenttype"] = "text/plain".into();
    let mut bytes = event(3, "Blob-1", "Stored", Value::Null);
    bytes.as_object_mut().unwrap().remove("data");
    bytes["data_base64"] = "AAEC//79".into();
    bytes["datacontenttype"] = "application/octet-stream".into();
    let mut events = vec![full, text, bytes];
    events.iter_mut().for_each(|event| event["source"] = source.into());
    events
}

/// The events that were to come are those that came, whatever was added to them on the way. Numbers may have become texts.
#[track_caller]
fn same(came: &[Value], expected: &[Value]) {
    assert_eq!(came.len(), expected.len(), "{came:?}");
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for expected in expected {
        let came = came.iter().find(|event| event["id"] == expected["id"]).unwrap();
        for (name, value) in expected.as_object().unwrap() {
            if name == "traceparent" {
                continue;
            }
            // Python always writes six digits of a second.
            let same = text(&came[name]).replace(".678000Z", ".678Z") == text(value);
            assert!(same, "`{name}` of {came} is to be {value}");
        }
        // Data of JSON is data of the same kind.
        assert_eq!(came["data"], expected["data"], "{came}");
    }
}

/// The span of a trace whose context an event has.
#[track_caller]
fn span_of(host: &Host, event: &Value) -> Value {
    let context: Vec<_> = event["traceparent"].as_str().unwrap().split('-').collect();
    wait::until(&format!("the span of {event}"), || {
        let trace = host.get(&format!("/api/v1/traces/{}", context[1]));
        let spans = if trace.status == 200 { trace.json()["spans"].as_array().cloned() } else { None };
        spans?.into_iter().find(|span| span["span_id"] == context[2])
    })
}

impl Other {
    fn start(&self, topic: &str, arguments: &[&str]) -> Script {
        let url = self.bus.url();
        // Options are Lantern's own, and the client of Kafka takes brokers.
        let server = url.split('?').next().unwrap().trim_start_matches("kafka://");
        let mut all = vec![server, topic];
        all.extend(self.binding);
        all.extend(arguments);
        Script::start(self.script, &all)
    }

    /// Both directions, in both forms.
    fn exchanges(&self) {
        for form in ["binary", "structured"] {
            let (to, from) = (topic(), topic());
            let url = format!("{}{}", self.bus.url(), self.option);
            let options = HostOptions::default().bus(&url).publishing(&to).consuming(&from);
            let host = Host::start_with(options.variable("LANTERN_PUBLISH_OUT_FORM", form));
            for route in ["out", "in"] {
                host.wait_for_route(route, "live", |status| status["state"] == "live");
            }
            self.reads(&host, &to);
            self.writes(&host, &from, form);
        }
    }

    /// What Lantern publishes is read.
    fn reads(&self, host: &Host, to: &str) {
        let reader = self.start(to, &["receive", "3"]).ready();
        let events = made("/lantern/of/a/test");
        host.append(&events);
        let came = reader.events();
        same(&came, &events);
        let full = came.iter().find(|event| event["id"] == id(1)).unwrap();
        let span = span_of(host, full);
        // The message carries the span that published it, under the one that made the event.
        assert_eq!((&span["trace_id"], &span["parent_span_id"]), (&json!(TRACE), &json!(PARENT)), "{span}");
        assert_eq!(span["kind"], "producer", "{span}");
    }

    /// What is written is taken into the log.
    fn writes(&self, host: &Host, from: &str, form: &str) {
        let mut events = made("urn:python");
        for (n, event) in events.iter_mut().enumerate() {
            event["id"] = format!("python/{n}").into();
        }
        let before = host.head();
        self.start(from, &["send", form]).feed(&events);
        host.wait_for_head(before + 3);
        let listed = host.get(&format!("/api/v1/events?after={before}")).ok();
        let came = listed["events"].as_array().unwrap();
        same(came, &events);
        let full = came.iter().find(|event| event["id"] == "python/0").unwrap();
        let span = span_of(host, full);
        // What follows in the log hangs below the span that took the message in, which hangs below the sender's.
        assert_eq!((&span["trace_id"], &span["parent_span_id"]), (&json!(TRACE), &json!(PARENT)), "{span}");
        assert_eq!(span["kind"], "consumer", "{span}");
        assert_eq!(host.route("in")["dead_letters"], 0);
    }
}

#[test]
fn confluent_kafka_reads_and_is_read() {
    Other { bus: Bus::Kafka, script: "on_kafka.py", binding: None, option: "" }.exchanges();
}

#[test]
fn pika_reads_and_is_read_in_the_binding_of_amqp() {
    Other { bus: Bus::RabbitMq, script: "on_rabbitmq.py", binding: Some("amqp"), option: "" }.exchanges();
    Other { bus: Bus::RabbitMq, script: "on_rabbitmq.py", binding: Some("amqp"), option: "&prefix=cloudEvents:" }
        .exchanges();
}

#[test]
fn pika_reads_and_is_read_in_the_binding_that_rabbitmq_has_of_its_own() {
    let (script, binding, option) = ("on_rabbitmq.py", Some("rabbitmq"), "&prefix=ce-");
    Other { bus: Bus::RabbitMq, script, binding, option }.exchanges();
}

#[test]
fn redis_reads_and_is_read() {
    Other { bus: Bus::Redis, script: "on_redis.py", binding: None, option: "" }.exchanges();
}

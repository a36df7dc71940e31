//! Outgoing requests: only where the deployment says, only to addresses that were checked, and each told in the trace.

use serde_json::{Value, json};

use crate::support::{
    Host, HostOptions,
    collector::Collector,
    events::{event, id},
    guests,
    sites::Site,
};

/// A host with the handler `requester` and what it is granted.
fn asking(host: &Host, http: &[String], addresses: &[&str]) {
    let grants = json!({ "grants": { "http": http, "addresses": addresses } });
    host.deploy_handler("requester", guests::REQUESTER, grants).ok();
    host.handler("requester").wait_until("live", |status| status["state"] == "live");
}

impl Host {
    /// Has a request sent and says what the guest got.
    #[track_caller]
    fn ask(&self, n: u64, call: Value) -> Value {
        self.append(&[event(n, &format!("Call-{n}"), "Called", call)]);
        let status = self.handler("requester").wait();
        assert_eq!(status["parked_events"], 0, "{:?}", self.handler("requester").dead_letters());
        self.handler("requester").document("answers", &id(n)).unwrap()
    }
}

#[test]
fn a_request_reaches_what_is_granted_with_its_trace_and_its_key() {
    let (site, collector) = (Site::start(), Collector::http());
    let host = Host::start_with(
        HostOptions::default()
            .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
            .variable("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            .variable("OTEL_BSP_SCHEDULE_DELAY", "50"),
    );
    asking(&host, &[site.origin()], &[]);
    let answer = host.ask(1, json!({ "url": format!("{}/orders", site.origin()), "body": "hello" }));
    assert_eq!((&answer["status"], &answer["body"]), (&200.into(), &"hello".into()), "{answer}");
    host.ask(2, json!({ "url": format!("{}/orders", site.origin()), "method": "GET" }));

    let [post, get] = &site.requests()[..] else { panic!("{:?}", site.requests()) };
    assert_eq!((&*post.method, &*post.path, &*post.body), ("POST", "/orders", "hello"));
    assert!(post.header("idempotency-key").is_some_and(|key| key.len() == 36), "{post:?}");
    assert_eq!(get.header("idempotency-key"), None, "it changes nothing");
    let parent = post.header("traceparent").unwrap();
    let span = collector.span(&parent[3..35], "POST");
    assert_eq!((span.kind, &*span.span_id), (3, &parent[36..52]), "the client span is what the site sees: {span:?}");
    let handle = collector.trace(&parent[3..35]).into_iter().find(|it| it.span_id == span.parent).unwrap();
    assert!(handle.name.contains("handle"), "{handle:?}");
    assert_eq!(span.attributes.get("http.response.status_code").map(String::as_str), Some("200"), "{span:?}");
}

#[test]
fn a_request_elsewhere_is_refused_with_the_rule() {
    let (site, other) = (Site::start(), Site::start());
    let host = Host::start();
    asking(&host, &[site.origin()], &[]);
    for (n, url) in (1..).zip([
        format!("{}/", other.origin()),
        format!("http://localhost:{}/", site.port()),
        format!("https://127.0.0.1:{}/", site.port()),
        format!("http://[::ffff:127.0.0.1]:{}/", site.port()),
        "http://169.254.169.254/latest/meta-data".to_owned(),
    ]) {
        let answer = host.ask(n, json!({ "url": url }));
        let refused = answer["refused"].as_str().unwrap_or_else(|| panic!("{url}: {answer}"));
        assert!(refused.contains("--http"), "it says how to grant it: {refused}");
    }
    assert!(site.requests().is_empty() && other.requests().is_empty());
}

#[test]
fn a_granted_name_that_leads_to_this_machine_needs_its_address_granted() {
    let site = Site::start();
    let named = format!("http://localhost:{}", site.port());
    let host = Host::start();
    asking(&host, std::slice::from_ref(&named), &[]);
    let answer = host.ask(1, json!({ "url": format!("{named}/") }));
    let refused = answer["refused"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(refused.contains("--http-address"), "{refused}");
    assert!(site.requests().is_empty());

    host.delete("/api/v1/handlers/requester").ok();
    asking(&host, std::slice::from_ref(&named), &["127.0.0.0/8"]);
    assert_eq!(host.ask(2, json!({ "url": format!("{named}/") }))["status"], 200);
    assert_eq!(site.requests().len(), 2, "the first call too, from the beginning of the log");
}

#[test]
fn a_redirect_is_not_followed() {
    let (site, other) = (Site::start(), Site::start());
    let host = Host::start();
    asking(&host, &[site.origin()], &[]);
    let answer = host.ask(1, json!({ "url": format!("{}/redirect?{}/secret", site.origin(), other.origin()) }));
    assert_eq!((&answer["status"], &answer["location"]), (&302.into(), &format!("{}/secret", other.origin()).into()));
    assert!(other.requests().is_empty());
}

#[test]
fn a_slow_site_holds_a_call_no_longer_than_its_deadline() {
    let site = Site::start();
    let host = Host::start();
    let settings = json!({ "grants": { "http": [site.origin()] }, "limits": { "deadline_ms": 300 },
        "failure_policy": { "attempts": 1 } });
    host.deploy_handler("requester", guests::REQUESTER, settings).ok();
    let slow = json!({ "url": format!("{}/slow", site.origin()), "strict": true });
    host.append(&[event(1, "Call-1", "Called", slow)]);
    host.handler("requester").wait();
    assert_eq!(host.handler("requester").dead_letters().len(), 1);
    let fast = json!({ "url": format!("{}/", site.origin()) });
    assert_eq!(host.ask_beside(2, fast)["status"], 200);
}

impl Host {
    /// The same where another event is parked.
    #[track_caller]
    fn ask_beside(&self, n: u64, call: Value) -> Value {
        self.append(&[event(n, &format!("Call-{n}"), "Called", call)]);
        self.handler("requester").wait();
        self.handler("requester").document("answers", &id(n)).unwrap()
    }
}

#[test]
fn raw_bindings_of_wasi_http_are_served_too() {
    let site = Site::start();
    let host = Host::start();
    let grants = json!({ "grants": { "http": [site.origin()] } });
    host.deploy_handler("caller", guests::CALLER, grants).ok();
    let authority = format!("127.0.0.1:{}", site.port());
    let request = json!({ "method": "GET", "scheme": "http", "authority": authority, "path": "/raw" });
    host.append(&[event(1, "Call-1", "Called", json!({ "requests": [request] }))]);
    host.handler("caller").wait();
    assert_eq!(site.requests().first().map(|it| it.path.clone()), Some("/raw".to_owned()));
}

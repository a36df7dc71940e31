//! What is sent along, and what is told of it.

use lantern_core::{
    Cause, Effect, TraceContext, effect_id,
    witness::{SpanKind, SpanStatus},
};
use serde_json::json;

use super::{HANDLE, Server, TRACE, answers, ask, assert_failed, attribute, echoed, field, granted, handle_as, trace};
use crate::support::event;

#[tokio::test]
async fn a_listed_origin_is_served_and_told_who_asks() {
    let server = Server::start().await;
    let settings = granted(&[&server.origin()], &[]);
    let (answers, outcome) = ask(&settings, &[server.request("GET", "/orders?key=secret")]).await;
    let seen = echoed(&answers[0]);
    assert_eq!((&seen["method"], &seen["target"]), (&json!("GET"), &json!("/orders?key=secret")));
    assert_eq!(field(&seen, "host"), Some(server.address.to_string().as_str()));
    let [span] = &outcome.witness.spans[..] else { panic!("one span: {outcome:?}") };
    let sent_on = TraceContext { span_id: span.span_id, ..trace() };
    assert_eq!(field(&seen, "traceparent"), Some(sent_on.traceparent().as_str()));
    assert_eq!(field(&seen, "tracestate"), Some("vendor=1"));
    assert_eq!((span.trace_id, span.parent_span_id), (TRACE, HANDLE));
    assert_eq!((span.kind, span.name.as_str(), &span.status), (SpanKind::Client, "GET", &SpanStatus::Unset));
    assert_eq!(attribute(span, "http.request.method"), Some("\"GET\""));
    assert_eq!(attribute(span, "server.address"), Some("\"127.0.0.1\""));
    assert_eq!(attribute(span, "server.port"), Some(server.address.port().to_string().as_str()));
    assert_eq!(attribute(span, "url.full"), Some(format!("\"{}/orders?REDACTED\"", server.origin()).as_str()));
    assert_eq!(attribute(span, "http.response.status_code"), Some("200"));
    assert_eq!(attribute(span, "error.type"), None);
    assert!(span.start <= span.end);
}

#[tokio::test]
async fn no_path_leads_elsewhere() {
    let server = Server::start().await;
    let settings = granted(&[&server.origin()], &[]);
    for (path, target) in [("", "/"), ("?a=1", "/?a=1"), ("//other.example/x", "//other.example/x")] {
        let (answers, _) = ask(&settings, &[server.request("GET", path)]).await;
        assert_eq!(echoed(&answers[0])["target"], target, "{path}");
    }
    for path in ["http://other.example/", "*", "other.example:80"] {
        let (answers, _) = ask(&settings, &[server.request("GET", path)]).await;
        assert_failed(&answers[0], &["HttpRequestUriInvalid"]);
    }
}

#[tokio::test]
async fn what_changes_something_carries_an_id_that_repeats() {
    let server = Server::start().await;
    let settings = granted(&[&server.origin()], &[]);
    let mut own = server.request("PUT", "/");
    own["headers"] = json!([["idempotency-key", "mine"]]);
    let wanted = [server.request("GET", "/"), server.request("POST", "/"), server.request("DELETE", "/"), own];
    let keys = async || {
        let (answers, _) = ask(&settings, &wanted).await;
        let key = |answer| field(&echoed(answer), "idempotency-key").map(str::to_owned);
        answers.iter().map(key).collect::<Vec<_>>()
    };
    let id = |index| Some(effect_id(&settings.name, event(1, "").id, Effect::Requested, index).to_string());
    let expected = [None, id(1), id(2), Some("mine".to_owned())];
    assert_eq!(keys().await, expected);
    assert_eq!(keys().await, expected, "the event handled again");
}

#[tokio::test]
async fn headers_that_frame_the_message_are_the_hosts() {
    let server = Server::start().await;
    for name in ["host", "connection", "transfer-encoding", "upgrade", "proxy-authorization"] {
        let mut smuggling = server.request("POST", "/");
        smuggling["headers"] = json!([[name, "chunked"]]);
        let (answers, _) = ask(&granted(&[&server.origin()], &[]), &[smuggling]).await;
        assert_failed(&answers[0], &[name, "Forbidden"]);
    }
    assert_eq!(server.seen(), 0);
}

#[tokio::test]
async fn a_call_that_is_not_traced_sends_no_trace() {
    let server = Server::start().await;
    let data = json!({"requests": [server.request("GET", "/")]});
    let outcome = handle_as(&granted(&[&server.origin()], &[]), data, Cause::Live, None).await;
    assert_eq!(field(&echoed(&answers(&outcome)[0]), "traceparent"), None);
    assert!(outcome.witness.spans.is_empty());
}

#[tokio::test]
async fn an_answer_that_says_no_is_an_answer_and_an_error_of_the_span() {
    let server = Server::start().await;
    let (answers, outcome) = ask(&granted(&[&server.origin()], &[]), &[server.request("GET", "/wrong")]).await;
    assert_eq!(answers[0]["answered"]["status"], 500);
    assert_eq!(attribute(&outcome.witness.spans[0], "error.type"), Some("\"500\""));
}

#[tokio::test]
async fn a_body_without_bytes_is_none() {
    let server = Server::start().await;
    let with_body = |method: &str, bytes: usize| {
        let mut request = server.request(method, "/");
        request["body"] = json!(bytes);
        request
    };
    let wanted = [with_body("GET", 0), with_body("POST", 0), with_body("POST", 10_000)];
    let (answers, _) = ask(&granted(&[&server.origin()], &[]), &wanted).await;
    let framed = |answer| {
        let echoed = echoed(answer);
        (field(&echoed, "transfer-encoding").is_some(), echoed["body"].as_u64())
    };
    assert_eq!(
        answers.iter().map(framed).collect::<Vec<_>>(),
        [(false, Some(0)), (false, Some(0)), (true, Some(10_000))]
    );
}

//! What ends requests: sizes, numbers and times.

use lantern_core::module::FailureKind;
use serde_json::json;

use super::{AT_ONCE, Server, answers, ask, assert_failed, attribute, echoed, granted, handle};

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read_to_its_end() {
    let server = Server::start().await;
    let mut settings = granted(&[&server.origin()], &[]);
    let wanted = [server.request("GET", "/large")];
    let (answers, _) = ask(&settings, &wanted).await;
    assert_eq!(answers[0]["answered"]["body"].as_str().unwrap().len(), 100_000);
    settings.limits.http_body_bytes = 100_000;
    assert!(ask(&settings, &wanted).await.0[0]["answered"].is_object(), "exactly as large as allowed");
    settings.limits.http_body_bytes = 99_999;
    let (answers, outcome) = ask(&settings, &wanted).await;
    assert_failed(&answers[0], &["body size exceeds limit: 99999 bytes"]);
    assert!(outcome.witness.logs[0].message.contains("`http_body_bytes`"));
    assert_eq!(attribute(&outcome.witness.spans[0], "error.type"), Some("\"HTTP-response-body-size\""));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = Server::start().await;
    let (answers, _) = ask(&granted(&[&server.origin()], &[]), &[server.request("GET", "/wordy")]).await;
    assert_failed(&answers[0], &["HttpResponseHeaderSectionSize"]);
}

#[tokio::test]
async fn bodies_of_requests_are_counted_together() {
    let server = Server::start().await;
    let mut settings = granted(&[&server.origin()], &[]);
    settings.limits.host_call_bytes = 150_000;
    let mut large = server.request("POST", "/");
    large["body"] = json!(100_000);
    let (answers, _) = ask(&settings, &[large.clone(), large]).await;
    assert_eq!(echoed(&answers[0])["body"], 100_000);
    assert_failed(&answers[1], &["HttpRequestBodySize"]);
}

#[tokio::test]
async fn a_module_has_so_many_requests_under_way_and_no_more() {
    let server = Server::start().await;
    let settings = granted(&[&server.origin()], &[]);
    let wanted = vec![server.request("GET", "/gate"); AT_ONCE + 1];
    let outcome = handle(&settings, json!({"requests": wanted, "at_once": true})).await;
    let answers = answers(&outcome);
    // The gate opens when all of them stand before it.
    assert!(answers[..AT_ONCE].iter().all(|answer| answer["answered"]["status"] == 200), "{answers:?}");
    assert_failed(&answers[AT_ONCE], &["8 requests of this module are under way"]);
    // Each that is answered makes room for another.
    let wanted = vec![server.request("GET", "/"); 2 * AT_ONCE];
    assert!(ask(&settings, &wanted).await.0.iter().all(|answer| answer["answered"]["status"] == 200));
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_by_the_module_or_ends_the_call() {
    let server = Server::start().await;
    let mut settings = granted(&[&server.origin()], &[]);
    settings.limits.deadline_ms = 500;
    let outcome = handle(&settings, json!({"requests": [server.request("GET", "/never")]})).await;
    // On a machine that starves, the module may not get to say what it saw before its own time is over.
    match &outcome.result {
        Ok(_) => assert_failed(&answers(&outcome)[0], &["HttpResponseTimeout"]),
        Err(failure) => assert_eq!(failure.kind, FailureKind::Deadline, "{failure}"),
    }
}

#[tokio::test]
async fn the_module_may_be_less_patient() {
    let server = Server::start().await;
    let mut settings = granted(&[&server.origin()], &[]);
    settings.limits.deadline_ms = 600_000;
    let (mut silent, mut stalling) = (server.request("GET", "/never"), server.request("GET", "/stall"));
    silent["first_byte_ms"] = json!(20);
    stalling["between_bytes_ms"] = json!(20);
    let (answers, outcome) = ask(&settings, &[silent, stalling]).await;
    assert_failed(&answers[0], &["HttpResponseTimeout"]);
    assert_failed(&answers[1], &["HTTP response timeout"]);
    let kinds = outcome.witness.spans.iter().map(|span| attribute(span, "error.type")).collect::<Vec<_>>();
    assert_eq!(kinds, [Some("\"HTTP-response-timeout\""); 2]);
}

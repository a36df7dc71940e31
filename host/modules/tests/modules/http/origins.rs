//! Where requests may go.

use lantern_core::{
    Cause, Effects,
    witness::{Level, SpanStatus},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{
    Server, ask, assert_failed, attribute, document, echoed, field, granted, handle_as, handle_by, request, trace,
};

#[tokio::test]
async fn ipv6_is_served_too() {
    let server = Server::start_at("[::1]:0").await;
    let (answers, outcome) = ask(&granted(&[&server.origin()], &[]), &[server.request("GET", "/")]).await;
    assert_eq!(field(&echoed(&answers[0]), "host"), Some(server.address.to_string().as_str()));
    assert_eq!(attribute(&outcome.witness.spans[0], "server.address"), Some("\"::1\""));
}

#[tokio::test]
async fn an_origin_that_is_not_listed_is_refused_with_the_rule() {
    let (listed, other) = (Server::start().await, Server::start().await);
    let settings = granted(&[&listed.origin()], &["127.0.0.0/8"]);
    let (answers, outcome) = ask(&settings, &[other.request("POST", "/"), listed.request("GET", "/")]).await;
    let rule = format!("{} is refused: the deployment does not list this origin", other.origin());
    assert_failed(&answers[0], &["InternalError", &rule]);
    assert_eq!((listed.seen(), other.seen()), (1, 0));
    let [line] = &outcome.witness.logs[..] else { panic!("one line: {outcome:?}") };
    assert!(line.message.starts_with(&rule) && line.level == Level::Warn, "{line:?}");
    let refused = &outcome.witness.spans[0];
    assert_eq!(line.span_id, Some(refused.span_id));
    assert_eq!(attribute(refused, "error.type"), Some("\"HTTP-request-denied\""));
    assert_eq!(refused.status, SpanStatus::Error("HTTP-request-denied".into()));
}

#[tokio::test]
async fn the_sdk_tells_the_rule() {
    let (listed, other) = (Server::start().await, Server::start().await);
    let settings = granted(&[&listed.origin()], &[]);
    let handled = async |url: String| {
        let data = json!({"url": url, "body": "some"});
        let outcome = handle_by("requester", &settings, data, Cause::Live, Some(trace())).await;
        document(&outcome)
    };
    let answer = handled(format!("{}/parcels", listed.origin())).await;
    assert_eq!((&answer["status"], &answer["refused"]), (&json!(200), &Value::Null));
    let answer = handled(format!("{}/parcels", other.origin())).await;
    let rule = format!("{} is refused: the deployment does not list this origin", other.origin());
    assert!(answer["refused"].as_str().unwrap().starts_with(&rule), "{answer}");
    assert_eq!((listed.seen(), other.seen()), (1, 0));
}

#[tokio::test]
async fn scheme_host_and_port_must_all_be_those_listed() {
    let server = Server::start().await;
    let (port, settings) = (server.address.port(), granted(&[&server.origin()], &["127.0.0.0/8", "::1"]));
    for authority in [
        format!("localhost:{port}"),
        format!("127.0.0.2:{port}"),
        format!("[::1]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("[::ffff:7f00:1]:{port}"),
        format!("[::127.0.0.1]:{port}"),
        format!("[64:ff9b::7f00:1]:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f.1:{port}"),
        format!("127.1:{port}"),
        format!("127.0.0.1.:{port}"),
        "127.0.0.1".to_owned(),
    ] {
        let (answers, _) = ask(&settings, &[request("GET", &authority, "/")]).await;
        assert_failed(&answers[0], &["is refused", "does not list this origin"]);
    }
    let mut secured = server.request("GET", "/");
    secured["scheme"] = json!("https");
    assert_failed(&ask(&settings, &[secured]).await.0[0], &["https://127.0.0.1", "does not list this origin"]);
    let (answers, _) = ask(&settings, &[request("GET", &format!("user:word@{}", server.address), "/")]).await;
    assert_failed(&answers[0], &["HttpRequestUriInvalid"]);
    assert_eq!(server.seen(), 0);
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_refused_unless_the_address_is_listed() {
    let server = Server::start().await;
    let name = format!("localhost:{}", server.address.port());
    let (origin, wanted) = (format!("http://{name}"), [request("GET", &name, "/")]);
    let (answers, outcome) = ask(&granted(&[&origin], &["10.0.0.0/8"]), &wanted).await;
    assert_failed(&answers[0], &[&origin, "is a loopback address", "--http-address"]);
    assert_eq!(server.seen(), 0);
    assert_eq!(attribute(&outcome.witness.spans[0], "error.type"), Some("\"destination-IP-prohibited\""));
    assert!(outcome.witness.logs[0].message.contains("is a loopback address"));
    let (answers, _) = ask(&granted(&[&origin], &["127.0.0.1"]), &wanted).await;
    assert_eq!(field(&echoed(&answers[0]), "host"), Some(name.as_str()));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (listed, secret) = (Server::start().await, Server::start().await);
    let wanted =
        [listed.request("GET", &format!("/redirect?to={}/inside", secret.origin())), secret.request("GET", "/inside")];
    let (answers, _) = ask(&granted(&[&listed.origin()], &[]), &wanted).await;
    let redirected = &answers[0]["answered"];
    assert_eq!(redirected["status"], 302);
    let location = json!(["location", format!("{}/inside", secret.origin())]);
    assert!(redirected["headers"].as_array().unwrap().contains(&location), "{redirected}");
    assert_failed(&answers[1], &["does not list this origin"]);
    assert_eq!((listed.seen(), secret.seen()), (1, 0));
}

#[tokio::test]
async fn a_tunnel_is_refused() {
    let server = Server::start().await;
    let (answers, _) = ask(&granted(&[&server.origin()], &[]), &[server.request("CONNECT", "/")]).await;
    assert_failed(&answers[0], &["tunnel"]);
    assert_eq!(server.seen(), 0);
}

#[tokio::test]
async fn nothing_is_sent_in_a_dry_run() {
    let server = Server::start().await;
    let data = json!({"requests": [server.request("POST", "/")]});
    let outcome = handle_as(&granted(&[&server.origin()], &[]), data, Cause::DryRun, Some(trace())).await;
    assert_eq!(outcome.result.unwrap(), Effects::default());
    assert_eq!(server.seen(), 0);
    assert!(outcome.witness.spans.is_empty());
}

#[tokio::test]
async fn nobody_at_the_port_is_an_error_the_module_sees() {
    let server = Server::start().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let settings = granted(&[&server.origin(), &format!("http://{closed}")], &[]);
    let (answers, _) = ask(&settings, &[request("GET", &closed.to_string(), "/"), server.request("GET", "/")]).await;
    assert_failed(&answers[0], &["ConnectionRefused"]);
    assert_eq!(answers[1]["answered"]["status"], 200);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_not_spoken_to() {
    let server = Server::start().await;
    let origin = format!("https://{}", server.address);
    let mut secured = server.request("GET", "/");
    secured["scheme"] = json!("https");
    let (answers, _) = ask(&granted(&[&origin], &[]), &[secured]).await;
    assert_failed(&answers[0], &["TlsProtocolError"]);
    assert_eq!(server.seen(), 0);
}

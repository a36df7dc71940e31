//! The write side as a client meets it: handlers, schedules, aggregates, commands, upcasters.

use serde_json::{Value, json};

use super::fixture::Served;

/// A host with the aggregate `Order`.
async fn with_orders() -> Served {
    let served = Served::open().await;
    let module = served.push("aggregate 1").await;
    let deploy = json!({ "name": "Order", "module": module, "snapshots": "manual" });
    served.post("/api/v1/aggregates", &deploy).await.is(201);
    served
}

#[tokio::test]
async fn a_handler_has_what_a_projection_has() {
    let served = Served::open().await;
    served.post("/api/v1/events", &json!({ "type": "T", "subject": "A-1" })).await.is(200);
    let module = served.push("handler 1").await;
    let deploy = json!({ "name": "ship", "module": module, "from": "beginning", "grants": { "emit": true } });
    let status = served.post("/api/v1/handlers", &deploy).await.is(201);
    assert_eq!((&status["kind"], &status["grants"]["emit"]), (&json!("handler"), &json!(true)));
    served.get("/api/v1/handlers/ship/wait").await.is(200);
    let document = served.get("/api/v1/handlers/ship/documents/counts/A-1").await.is(200);
    assert_eq!((&document["value"], &document["position"]), (&json!(1), &json!(1)));
    served.get("/api/v1/handlers/ship/digest").await.is(200);
    assert_eq!(served.get("/api/v1/handlers/ship/dead-letters").await.is(200)["dead_letters"], json!([]));
    assert_eq!(served.post("/api/v1/handlers/ship/pause", &json!({})).await.is(200)["state"], "paused");
    served.post("/api/v1/handlers/ship/resume", &json!({})).await.is(200);
    let next = served.push("handler 2").await;
    let swapped = served.post("/api/v1/handlers/ship/swap", &json!({ "module": next })).await.is(200);
    assert_eq!((&swapped["from"], &swapped["to"]), (&module, &next));
    served.post("/api/v1/handlers/ship/rollback", &json!({})).await.is(200);
    let entries = served.get("/api/v1/handlers/ship/history").await.is(200)["entries"].clone();
    let what: Vec<_> = entries.as_array().unwrap().iter().map(|entry| entry["what"].clone()).collect();
    assert_eq!(what, ["deployed", "paused", "resumed", "swapped", "rolled-back"]);
    served.post("/api/v1/handlers/ship/rebuild", &json!({})).await.problem(404, "not-found");
    assert_eq!(served.get("/api/v1/handlers").await.is(200)["handlers"][0]["name"], "ship");
    assert_eq!(served.get("/api/v1/projections").await.is(200)["projections"], json!([]));
    served.delete("/api/v1/handlers/ship").await.is(204);
    served.get("/api/v1/handlers/ship").await.problem(404, "not-found");
}

#[tokio::test]
async fn a_handler_begins_with_the_next_event_unless_told_otherwise() {
    let served = Served::open().await;
    served.post("/api/v1/events", &json!({ "type": "T", "subject": "A-1" })).await.is(200);
    let module = served.push("handler 1").await;
    served.post("/api/v1/handlers", &json!({ "name": "ship", "module": module })).await.is(201);
    let status = served.get("/api/v1/handlers/ship/wait").await.is(200);
    assert_eq!((&status["position"], &status["handled"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn projections_and_handlers_share_their_names_and_are_told_apart() {
    let served = Served::open().await;
    let module = served.push("handler 1").await;
    served.post("/api/v1/handlers", &json!({ "name": "ship", "module": module })).await.is(201);
    let problem = served.get("/api/v1/projections/ship").await.problem(404, "other-kind");
    assert_eq!((&problem["handler"], &problem["kind"]), (&json!("ship"), &json!("handler")));
    let deploy = json!({ "name": "ship", "module": module });
    served.post("/api/v1/projections", &deploy).await.problem(409, "handler-exists");
    let granted = json!({ "name": "other", "module": module, "grants": { "emit": true } });
    served.post("/api/v1/projections", &granted).await.problem(422, "invalid-request");
    let unknown = json!({ "name": "other", "module": module, "grants": { "fly": true } });
    served.post("/api/v1/handlers", &unknown).await.problem(422, "invalid-request");
}

#[tokio::test]
async fn schedules_are_listed_and_cancelled() {
    let served = Served::open().await;
    let module = served.push("handler 1").await;
    let deploy = json!({ "name": "ship", "module": module, "grants": { "schedule": true } });
    served.post("/api/v1/handlers", &deploy).await.is(201);
    served.post("/api/v1/events", &json!({ "type": "Wait", "subject": "A-1" })).await.is(200);
    served.get("/api/v1/handlers/ship/wait").await.is(200);
    let schedules = served.get("/api/v1/schedules?handler=ship").await.is(200)["schedules"].clone();
    let [schedule] = &schedules.as_array().unwrap()[..] else { panic!("{schedules}") };
    assert_eq!((&schedule["handler"], &schedule["key"]), (&json!("ship"), &json!("A-1")));
    assert_eq!((&schedule["type"], &schedule["due"]), (&json!("Waited"), &json!("2100-01-01T00:00:00Z")));
    assert_eq!(served.get("/api/v1/schedules").await.is(200)["schedules"], schedules);
    served.delete("/api/v1/schedules/ship/A-1").await.is(204);
    served.delete("/api/v1/schedules/ship/A-1").await.problem(404, "not-found");
    served.delete("/api/v1/schedules/other/A-1").await.problem(404, "not-found");
    served.get("/api/v1/schedules?handler=other").await.problem(404, "not-found");
    assert_eq!(served.get("/api/v1/schedules").await.is(200)["schedules"], json!([]));
}

#[tokio::test]
async fn a_command_is_carried_out_once() {
    let served = with_orders().await;
    let add = "/api/v1/commands/Order-1/Add";
    let first = served.post(add, &json!({ "a": 1 })).await.is(200);
    assert_eq!((&first["stream"], &first["version"], &first["position"]), (&json!("Order-1"), &json!(1), &json!(1)));
    assert_eq!((&first["attempts"], &first["repeated"]), (&json!(1), &json!(false)));
    let event = served.get(&format!("/api/v1/events/{}", first["events"][0].as_str().unwrap())).await.is(200);
    assert_eq!(event["type"], "Added");

    let key = ("idempotency-key", "0192b1e2-7a3b-7c4d-8e5f-60718293a4b5");
    let second = served.post_as(add, "application/json", key, "{}").await.is(200);
    let again = served.post_as(add, "application/json", key, "{}").await.is(200);
    assert_eq!((&second["events"], &second["version"]), (&again["events"], &again["version"]));
    assert_eq!((&second["repeated"], &again["repeated"]), (&json!(false), &json!(true)));
    let in_query = served.post(&format!("{add}?id={}", key.1), &json!({})).await.is(200);
    assert_eq!(in_query["events"], second["events"]);
    assert_eq!(served.get("/api/v1/log").await.is(200)["head"], 2);

    let idle = served.post("/api/v1/commands/Order-1/Idle", &json!({})).await.is(200);
    assert_eq!((&idle["events"], &idle["version"], &idle["position"]), (&json!([]), &json!(2), &json!(2)));
}

#[tokio::test]
async fn what_a_command_carries_travels_on() {
    let served = with_orders().await;
    let parent = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let path = "/api/v1/commands/Order-1/Add?correlation_id=c&tenant=t&actor=a";
    let answer = served.post_as(path, "text/plain", parent, "not json").await.is(200);
    let event = served.get(&format!("/api/v1/events/{}", answer["events"][0].as_str().unwrap())).await.is(200);
    assert_eq!((&event["correlationid"], &event["tenant"], &event["actor"]), (&json!("c"), &json!("t"), &json!("a")));
    let trace = event["traceparent"].as_str().unwrap();
    assert!(trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{trace}");
}

#[tokio::test]
async fn a_command_that_comes_to_nothing_says_why() {
    let served = with_orders().await;
    let rejected = served.post("/api/v1/commands/Order-1/Refuse", &json!({})).await.problem(422, "rejected");
    assert_eq!((&rejected["code"], &rejected["message"]), (&json!("refused"), &json!("it never does")));
    assert_eq!(rejected["details"], json!({ "had": 0 }));
    let add = |query: &str| format!("/api/v1/commands/Order-1/Add?{query}");
    served.post(&add("expect=0"), &json!({})).await.is(200);
    let conflict = served.post(&add("expect=0"), &json!({})).await.problem(409, "wrong-expected-version");
    assert_eq!((&conflict["expected"], &conflict["actual"]), (&json!("0"), &json!(1)));
    let failed = served.post("/api/v1/commands/Order-1/Fail", &json!({})).await;
    let trace = failed.headers["traceparent"].to_str().unwrap().to_owned();
    let failed = failed.problem(500, "module-failed");
    assert_eq!(failed["failure"], "trap");
    assert!(trace.contains(failed["trace_id"].as_str().unwrap()), "{failed}");
    let unknown = served.post("/api/v1/commands/Order-1/Dance", &json!({})).await.problem(404, "not-found");
    assert_eq!(unknown["known"], json!(["Add", "Idle", "Refuse", "Fail"]));
    let unknown = served.post("/api/v1/commands/Other-1/Add", &json!({})).await.problem(404, "not-found");
    assert_eq!(unknown["known"], json!(["Order"]));
    served.post("/api/v1/commands/Order/Add", &json!({})).await.problem(422, "invalid-request");
    served.post(&add("id=mine"), &json!({})).await.problem(422, "invalid-request");
    served.post(&add("expected=1"), &json!({})).await.problem(422, "invalid-request");
    let path = add("id=0192b1e2-7a3b-7c4d-8e5f-60718293a4b5");
    let other = ("idempotency-key", "0192b1e2-7a3b-7c4d-8e5f-60718293a4b6");
    served.post_as(&path, "application/json", other, "{}").await.problem(422, "invalid-request");
    served.post_as(&add(""), "application/json", ("x", "y"), "no json").await.problem(422, "invalid-request");
}

#[tokio::test]
async fn an_aggregate_is_deployed_looked_at_changed_and_removed() {
    let served = with_orders().await;
    for _ in 0..3 {
        served.post("/api/v1/commands/Order-1/Add", &json!({})).await.is(200);
    }
    let state = served.get("/api/v1/streams/Order-1/state").await.is(200);
    assert_eq!((&state["state"], &state["version"]), (&json!(3), &json!(3)));
    assert_eq!(served.get("/api/v1/streams/Order-1/state?version=2").await.is(200)["state"], 2);
    served.get("/api/v1/streams/Order-1/state?version=9").await.problem(404, "not-found");
    served.get("/api/v1/streams/Order-2/state").await.problem(404, "not-found");
    let taken = served.post("/api/v1/streams/Order-1/snapshot", &json!({})).await.is(201);
    assert_eq!((&taken["version"], &taken["bytes"]), (&json!(3), &json!(1)));
    let next = served.push("aggregate 2").await;
    let swapped = served.post("/api/v1/aggregates/Order/swap", &json!({ "module": next })).await.is(200);
    assert_eq!(swapped["to"], next);
    served.post("/api/v1/aggregates/Order/rollback", &json!({})).await.is(200);
    let status = served.get("/api/v1/aggregates/Order").await.is(200);
    assert_eq!((&status["previous_module"], &status["snapshots"]), (&next, &json!("manual")));
    assert_eq!(status["counters"]["commands"]["accepted"], 3);
    assert_eq!(served.get("/api/v1/aggregates").await.is(200)["aggregates"].as_array().unwrap().len(), 1);
    let problem = served.delete(&format!("/api/v1/modules/{}", next.as_str().unwrap())).await.problem(409, "in-use");
    assert_eq!(problem["users"], json!([{ "kind": "aggregate", "name": "Order" }]));
    let entries = served.get("/api/v1/aggregates/Order/history").await.is(200)["entries"].clone();
    assert_eq!((&entries[0]["what"], &entries[2]["what"]), (&json!("aggregate-deployed"), &json!("rolled-back")));
    served.delete("/api/v1/aggregates/Order").await.is(204);
    served.get("/api/v1/aggregates/Order").await.problem(404, "not-found");
    served.post("/api/v1/commands/Order-1/Add", &json!({})).await.problem(404, "not-found");
    let wrong = json!({ "name": "Order", "module": next, "snapshots": "often" });
    served.post("/api/v1/aggregates", &wrong).await.problem(422, "invalid-request");
}

#[tokio::test]
async fn an_event_is_shown_in_its_newest_form_or_as_it_is_stored() {
    let served = Served::open().await;
    let old = json!({ "type": "T", "subject": "A-1", "data": { "is": "old" } });
    let id = served.post("/api/v1/events", &old).await.is(200)["events"][0]["id"].clone();
    let path = format!("/api/v1/events/{}", id.as_str().unwrap());
    assert_eq!(served.get(&path).await.is(200)["data"], json!({ "is": "old" }));
    let module = served.push("upcaster 1").await;
    let deploy = json!({ "name": "t", "module": module });
    assert_eq!(served.post("/api/v1/upcasters", &deploy).await.is(201)["description"]["steps"][0]["to_version"], 2);
    let newest = served.get(&path).await.is(200);
    assert_eq!((&newest["data"], &newest["schemaversion"]), (&json!({ "is": "new" }), &json!(2)));
    let raw = served.get(&format!("{path}?raw=true")).await.is(200);
    assert_eq!((&raw["data"], &raw["schemaversion"]), (&json!({ "is": "old" }), &Value::Null));

    let collision = json!({ "name": "again", "module": module });
    served.post("/api/v1/upcasters", &collision).await.problem(409, "steps-collide");
    let next = served.push("upcaster 2").await;
    served.post("/api/v1/upcasters/t/swap", &json!({ "module": next })).await.is(200);
    served.post("/api/v1/upcasters/t/rollback", &json!({})).await.is(200);
    assert_eq!(served.get("/api/v1/upcasters/t").await.is(200)["module"], module);
    assert_eq!(served.get("/api/v1/upcasters").await.is(200)["upcasters"][0]["name"], "t");
    served.delete(&format!("/api/v1/modules/{}", module.as_str().unwrap())).await.problem(409, "in-use");
    served.get("/api/v1/upcasters/t/history").await.is(200);
    served.delete("/api/v1/upcasters/t").await.is(204);
    assert_eq!(served.get(&path).await.is(200)["data"], json!({ "is": "old" }));
    served.get("/api/v1/upcasters/t").await.problem(404, "not-found");
}

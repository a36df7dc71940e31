//! Two hosts on the same stores: whichever is asked, the one that can answer does.

use std::time::Duration;

use serde_json::{Value, json};

use super::fixture::Served;

/// Two hosts that run one of the projections `one` and `two` each, which have seen three events.
async fn spread() -> (Served, Served) {
    let (a, b) = Served::pair().await;
    let events = ["A-1", "B-1", "A-1"].map(|stream| json!({ "type": "T", "subject": stream, "data": {} }));
    a.post("/api/v1/events", &json!(events)).await.is(200);
    let module = a.push("module 1").await;
    for name in ["one", "two"] {
        b.post("/api/v1/projections", &json!({ "name": name, "module": module })).await.is(201);
    }
    until(async || {
        let hosts = a.get("/api/v1/hosts").await.is(200);
        let runs: Vec<_> = hosts["hosts"].as_array().unwrap().iter().map(|host| host["processors"].clone()).collect();
        runs.iter().all(|runs| runs.as_array().is_some_and(|runs| runs.len() == 1)) && runs.len() == 2
    })
    .await;
    (a, b)
}

async fn until(is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it should have been so long ago");
}

/// The host that runs a projection, as the other one says.
async fn owner(served: &Served, name: &str) -> Value {
    served.get(&format!("/api/v1/projections/{name}")).await.is(200)["host"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_host_answers_for_every_processor() {
    let (a, b) = spread().await;
    for served in [&a, &b] {
        let listed = served.get("/api/v1/projections").await.is(200);
        let listed = listed["projections"].as_array().unwrap().clone();
        let names: Vec<_> = listed.iter().map(|status| status["name"].clone()).collect();
        assert_eq!(names, ["one", "two"]);
        assert_ne!(listed[0]["host"], listed[1]["host"]);
        for name in ["one", "two"] {
            let path = format!("/api/v1/projections/{name}");
            served.get(&format!("{path}/wait")).await.is(200);
            let status = served.get(&path).await.is(200);
            assert_eq!((&status["handled"], &status["state"]), (&json!(3), &json!("live")));
            let document = format!("{path}/documents/counts/A-1");
            let document = served.get(&format!("{document}?min_position=3")).await.is(200);
            assert_eq!((&document["value"], &document["position"]), (&json!(2), &json!(3)));
            served.get(&format!("{path}/documents/sums")).await.problem(404, "not-found");
            assert_eq!(served.get(&format!("{path}/collections")).await.is(200)["collections"], json!(["counts"]));
            served.get(&format!("{path}/history")).await.is(200);
            served.get(&format!("/api/v1/handlers/{name}")).await.problem(404, "other-kind");
        }
    }
    let digest = async |served: &Served| served.get("/api/v1/projections/one/digest").await.is(200)["digest"].clone();
    assert_eq!(digest(&a).await, digest(&b).await);
    assert_eq!(owner(&a, "one").await, owner(&b, "one").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_host_obeys_for_every_processor() {
    let (a, b) = spread().await;
    for (served, other) in [(&a, &b), (&b, &a)] {
        for name in ["one", "two"] {
            let path = format!("/api/v1/projections/{name}");
            let paused = served.post(&format!("{path}/pause"), &json!({})).await.is(200);
            assert_eq!(paused["state"], "paused");
            assert_eq!(other.get(&path).await.is(200)["state"], "paused");
            other.post(&format!("{path}/resume"), &json!({})).await.is(200);
            served.post(&format!("{path}/swap"), &json!({ "module": "nothing" })).await.problem(422, "invalid-request");
        }
    }
    a.delete("/api/v1/projections/one").await.is(204);
    b.delete("/api/v1/projections/two").await.is(204);
    until(async || a.get("/api/v1/projections").await.is(200)["projections"] == json!([])).await;
    until(async || b.get("/api/v1/projections").await.is(200)["projections"] == json!([])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_on_is_not_handed_on_again() {
    let (a, b) = spread().await;
    for (served, own) in [(&a, "a"), (&b, "b")] {
        for name in ["one", "two"] {
            let is_own = owner(served, name).await == own;
            let answer = served.get_handed_on(&format!("/api/v1/projections/{name}")).await;
            if is_own {
                answer.is(200);
            } else {
                assert!(answer.headers.contains_key("lantern-not-here"));
                answer.problem(503, "elsewhere");
            }
        }
        let listed = served.get_handed_on("/api/v1/projections").await.is(200);
        assert_eq!(
            listed["projections"].as_array().unwrap().len(),
            1,
            "a host that is asked by another speaks for itself"
        );
    }
    let hosts = a.get("/api/v1/hosts").await.is(200);
    let shown = |index: usize| (hosts["hosts"][index]["name"].clone(), hosts["hosts"][index]["is_this"].clone());
    assert_eq!([shown(0), shown(1)], [(json!("a"), json!(true)), (json!("b"), json!(false))]);
}

//! Modules: addressed by their digest, kept, and refused in words that say what is wrong.

use std::fs;

use serde_json::json;

use crate::support::{Host, artefacts, guests};

#[test]
fn a_module_is_known_by_the_digest_of_its_bytes() {
    let host = Host::start();
    let path = artefacts::component(guests::COUNTER);
    let first = host.push_bytes(&fs::read(&path).unwrap());
    assert_eq!(first.status, 201);
    let kept = first.json();
    let digest = kept["digest"].as_str().unwrap();
    assert_eq!(digest, sha256(&fs::read(&path).unwrap()));
    assert_eq!(kept["size"], fs::metadata(&path).unwrap().len());
    assert_eq!(kept["description"]["name"], "counter");
    assert_eq!(kept["world"], "projection");

    // Pushing it again changes nothing.
    assert_eq!(host.push_bytes(&fs::read(&path).unwrap()).status, 200);
    let list = host.cli_json(&["module", "list"]);
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    // The beginning of the digest is enough.
    assert_eq!(host.cli_json(&["module", "inspect", &digest[..8]])["digest"], digest);
    assert_eq!(host.get(&format!("/api/v1/modules/{}", &digest[..8])).ok()["digest"], digest);

    host.cli(&["module", "remove", &digest[..8]]).ok();
    host.get(&format!("/api/v1/modules/{digest}")).problem(404, "not-found");
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_module_in_use_cannot_be_removed() {
    let host = Host::start();
    host.deploy("totals", guests::COUNTER);
    let module = host.push(guests::COUNTER);
    let problem = host.delete(&format!("/api/v1/modules/{module}")).problem(409, "in-use");
    assert!(problem["detail"].as_str().unwrap().contains("totals"), "{problem}");
    host.cli(&["projection", "remove", "totals"]).ok();
    host.delete(&format!("/api/v1/modules/{module}")).ok();
}

#[test]
fn modules_survive_a_restart() {
    let mut host = Host::start();
    let digest = host.push(guests::EMPTY);
    host.restart();
    let list = host.cli_json(&["module", "list"]);
    assert_eq!(list[0]["digest"], digest.as_str(), "{list}");
    host.post("/api/v1/projections", &json!({ "name": "idle", "module": digest, "from": "beginning" })).ok();
}

#[track_caller]
fn refused(host: &Host, bytes: &[u8], words: &[&str]) {
    let answer = host.push_bytes(bytes);
    assert_eq!(answer.status, 422, "{}", answer.body);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    for word in words {
        assert!(detail.contains(word), "no `{word}` in: {detail}");
    }
    assert_eq!(host.get("/health/live").status, 200);
}

#[test]
fn what_is_no_module_is_refused_with_the_reason() {
    let host = Host::start();
    refused(&host, b"", &["empty"]);
    refused(&host, b"fn main() {}", &["component"]);
    refused(&host, b"\0asm\x01\0\0\0", &["core module", "wasm32-wasip2"]);
    let whole = fs::read(artefacts::component(guests::EMPTY)).unwrap();
    refused(&host, &whole[..whole.len() / 2], &[]);
    refused(&host, &fs::read(artefacts::component(guests::WRONG_WORLD)).unwrap(), &["describe", "handle"]);
    refused(&host, &fs::read(artefacts::component(guests::WRONG_IMPORT)).unwrap(), &["example:unknown/thing"]);
    let kept = host.get("/api/v1/modules").ok();
    assert_eq!(kept["modules"], serde_json::json!([]), "a refused module was kept");
}

#[test]
fn the_command_line_says_why_a_module_is_refused() {
    let host = Host::start();
    let path = artefacts::component(guests::WRONG_IMPORT);
    let ran = host.cli(&["module", "push", path.to_str().unwrap()]);
    assert!(ran.failed(1).contains("example:unknown/thing"), "{}", ran.stderr);
    let ran = host.cli(&["projection", "deploy", "asking", "--module", path.to_str().unwrap()]);
    assert!(ran.failed(1).contains("example:unknown/thing"), "{}", ran.stderr);
    host.cli(&["module", "push", "no/such/file.wasm"]).failed(1);
}

#[test]
fn pushes_at_the_same_time_keep_one_module() {
    let host = Host::start();
    let bytes = fs::read(artefacts::component(guests::MENDED)).unwrap();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let pushes: Vec<_> = (0..4)
            .map(|_| {
                let (client, bytes) = (host.client(), &bytes);
                scope.spawn(move || client.send("POST", "/api/v1/modules", &[], bytes).unwrap())
            })
            .collect();
        pushes.into_iter().map(|push| push.join().unwrap()).collect()
    });
    for answer in &answers {
        assert_eq!(answer.ok()["digest"], answers[0].json()["digest"]);
    }
    assert_eq!(host.cli_json(&["module", "list"]).as_array().map(Vec::len), Some(1));
}

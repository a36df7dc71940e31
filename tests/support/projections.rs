//! What a test asks of a projection.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Answer, Host, artefacts};

impl Host {
    /// Pushes the module of a guest or an example; answers its digest.
    #[track_caller]
    pub fn push(&self, package: &str) -> String {
        self.push_bytes(&std::fs::read(artefacts::component(package)).unwrap()).ok()["digest"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Pushes bytes as a module.
    #[track_caller]
    pub fn push_bytes(&self, bytes: &[u8]) -> Answer {
        self.send("POST", "/api/v1/modules", &[("content-type", "application/wasm")], bytes)
    }

    /// Deploys a guest or an example from the beginning of the log.
    #[track_caller]
    pub fn deploy(&self, name: &str, package: &str) -> Value {
        self.deploy_with(name, package, json!({}))
    }

    /// Deploys with more settings: `from`, `config`, `limits`, `failure_policy`.
    #[track_caller]
    pub fn deploy_with(&self, name: &str, package: &str, settings: Value) -> Value {
        let mut body = json!({ "name": name, "module": self.push(package), "from": "beginning" });
        body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        self.post("/api/v1/projections", &body).ok()
    }

    /// What a projection is doing.
    #[track_caller]
    pub fn status(&self, name: &str) -> Value {
        self.projection(name).status()
    }

    /// A number of a projection's status.
    #[track_caller]
    pub fn number(&self, name: &str, field: &str) -> u64 {
        self.projection(name).number(field)
    }

    /// Waits until a projection has reached the head of now.
    #[track_caller]
    pub fn wait(&self, name: &str) -> Value {
        self.projection(name).wait()
    }

    /// Waits until a projection's status is as asked.
    #[track_caller]
    pub fn wait_until(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.projection(name).wait_until(what, is)
    }

    /// Pauses, resumes, rolls back or otherwise commands a projection.
    #[track_caller]
    pub fn command(&self, name: &str, verb: &str) -> Answer {
        self.projection(name).command(verb)
    }

    /// Swaps a projection's module for that of a guest or an example.
    #[track_caller]
    pub fn swap(&self, name: &str, package: &str) -> Answer {
        self.projection(name).swap(package)
    }

    /// Rebuilds a projection and waits until the new generation is the live one.
    #[track_caller]
    pub fn rebuild(&self, name: &str) -> Value {
        let generation = self.number(name, "generation");
        self.command(name, "rebuild").ok();
        self.wait_until(name, "the rebuild to be promoted", |status| {
            status["rebuild"].is_null() && status["generation"].as_u64() > Some(generation)
        })
    }

    /// A document, if it is there.
    #[track_caller]
    pub fn document(&self, name: &str, collection: &str, key: &str) -> Option<Value> {
        self.projection(name).document(collection, key)
    }

    /// All documents of a collection.
    #[track_caller]
    pub fn documents(&self, name: &str, collection: &str) -> BTreeMap<String, Value> {
        self.projection(name).documents(collection)
    }

    /// The digest of a projection's read model.
    #[track_caller]
    pub fn digest(&self, name: &str) -> String {
        self.projection(name).digest()
    }

    /// What happened to a projection, oldest first.
    #[track_caller]
    pub fn history(&self, name: &str) -> Vec<Value> {
        self.projection(name).history()
    }

    /// The dead letters of a projection.
    #[track_caller]
    pub fn dead_letters(&self, name: &str) -> Vec<Value> {
        self.projection(name).dead_letters()
    }

    /// The positions of the dead letters that hold their streams back.
    #[track_caller]
    pub fn parked_positions(&self, name: &str) -> Vec<u64> {
        let letters = self.dead_letters(name);
        letters.iter().filter(|it| it["standing"] != "skipped").map(|it| it["position"].as_u64().unwrap()).collect()
    }
}

//! What a test asks of a projection.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Answer, Host, artefacts, wait};

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
        self.get(&format!("/api/v1/projections/{name}")).ok()
    }

    /// A number of a projection's status.
    #[track_caller]
    pub fn number(&self, name: &str, field: &str) -> u64 {
        let status = self.status(name);
        status[field].as_u64().unwrap_or_else(|| panic!("no number `{field}` in {status}"))
    }

    /// Waits until a projection has reached the head of now.
    #[track_caller]
    pub fn wait(&self, name: &str) -> Value {
        self.get(&format!("/api/v1/projections/{name}/wait?timeout=60")).ok()
    }

    /// Waits until a projection's status is as asked.
    #[track_caller]
    pub fn wait_until(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        wait::until(&format!("projection `{name}`: {what}"), || Some(self.status(name)).filter(&is))
    }

    /// Pauses, resumes, rolls back or otherwise commands a projection.
    #[track_caller]
    pub fn command(&self, name: &str, verb: &str) -> Answer {
        self.post(&format!("/api/v1/projections/{name}/{verb}"), &json!({}))
    }

    /// Swaps a projection's module for that of a guest or an example.
    #[track_caller]
    pub fn swap(&self, name: &str, package: &str) -> Answer {
        let module = self.push(package);
        self.post(&format!("/api/v1/projections/{name}/swap"), &json!({ "module": module }))
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
        let answer = self.get(&format!("/api/v1/projections/{name}/documents/{collection}/{key}"));
        (answer.status != 404).then(|| answer.ok()["value"].clone())
    }

    /// All documents of a collection, read page by page.
    #[track_caller]
    pub fn documents(&self, name: &str, collection: &str) -> BTreeMap<String, Value> {
        const PAGE: usize = 500;
        let mut documents = BTreeMap::new();
        let mut after = String::new();
        loop {
            let path = format!("/api/v1/projections/{name}/documents/{collection}?limit={PAGE}{after}");
            let page = self.get(&path).ok();
            let page = page["documents"].as_array().unwrap();
            for document in page {
                documents.insert(document["key"].as_str().unwrap().to_owned(), document["value"].clone());
            }
            let Some(last) = page.last().filter(|_| page.len() == PAGE) else { return documents };
            after = format!("&after={}", last["key"].as_str().unwrap().replace(' ', "%20"));
        }
    }

    /// The digest of a projection's read model.
    #[track_caller]
    pub fn digest(&self, name: &str) -> String {
        self.get(&format!("/api/v1/projections/{name}/digest")).ok()["digest"].as_str().unwrap().to_owned()
    }

    /// What happened to a projection, oldest first.
    #[track_caller]
    pub fn history(&self, name: &str) -> Vec<Value> {
        self.get(&format!("/api/v1/projections/{name}/history")).ok()["entries"].as_array().unwrap().clone()
    }

    /// The dead letters of a projection.
    #[track_caller]
    pub fn dead_letters(&self, name: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/v1/projections/{name}/dead-letters?limit=1000")).ok();
        answer["dead_letters"].as_array().unwrap().clone()
    }

    /// The positions of the dead letters that hold their streams back.
    #[track_caller]
    pub fn parked_positions(&self, name: &str) -> Vec<u64> {
        let letters = self.dead_letters(name);
        letters.iter().filter(|it| it["standing"] != "skipped").map(|it| it["position"].as_u64().unwrap()).collect()
    }
}

//! What a test asks of a projection or a handler: the same of both.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Answer, Host, artefacts, wait};

/// A projection or handler of a host.
pub struct Processor<'h> {
    host: &'h Host,
    path: String,
}

impl Host {
    /// A projection.
    pub fn projection(&self, name: &str) -> Processor<'_> {
        Processor { host: self, path: format!("/api/v1/projections/{name}") }
    }

    /// A handler.
    pub fn handler(&self, name: &str) -> Processor<'_> {
        Processor { host: self, path: format!("/api/v1/handlers/{name}") }
    }

    /// Deploys a handler with settings: `from`, `grants`, `config`, `limits`, `failure_policy`.
    #[track_caller]
    pub fn deploy_handler(&self, name: &str, package: &str, settings: Value) -> Answer {
        let mut body = json!({ "name": name, "module": self.push(package), "from": "beginning" });
        body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        self.post("/api/v1/handlers", &body)
    }
}

impl Processor<'_> {
    /// What it is doing.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.host.get(&self.path).ok()
    }

    /// A number of its status.
    #[track_caller]
    pub fn number(&self, field: &str) -> u64 {
        let status = self.status();
        status[field].as_u64().unwrap_or_else(|| panic!("no number `{field}` in {status}"))
    }

    /// Waits until it has reached the head of now.
    #[track_caller]
    pub fn wait(&self) -> Value {
        self.host.get(&format!("{}/wait?timeout=60", self.path)).ok()
    }

    /// Waits until its status is as asked.
    #[track_caller]
    pub fn wait_until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        wait::until(&format!("{}: {what}", self.path), || Some(self.status()).filter(&is))
    }

    /// Pauses, resumes, rolls back or otherwise commands it.
    #[track_caller]
    pub fn command(&self, verb: &str) -> Answer {
        self.host.post(&format!("{}/{verb}", self.path), &json!({}))
    }

    /// Swaps its module for that of a guest or an example.
    #[track_caller]
    pub fn swap(&self, package: &str) -> Answer {
        let module = self.host.push(package);
        self.host.post(&format!("{}/swap", self.path), &json!({ "module": module }))
    }

    /// Swaps its module for one that does the same under another digest.
    #[track_caller]
    pub fn swap_variant(&self, package: &str, number: u8) -> Answer {
        let module = self.host.push_bytes(&artefacts::variant(package, number)).ok()["digest"].clone();
        self.host.post(&format!("{}/swap", self.path), &json!({ "module": module }))
    }

    /// A document, if it is there.
    #[track_caller]
    pub fn document(&self, collection: &str, key: &str) -> Option<Value> {
        let answer = self.host.get(&format!("{}/documents/{collection}/{key}", self.path));
        (answer.status != 404).then(|| answer.ok()["value"].clone())
    }

    /// All documents of a collection, read page by page.
    #[track_caller]
    pub fn documents(&self, collection: &str) -> BTreeMap<String, Value> {
        const PAGE: usize = 500;
        let mut documents = BTreeMap::new();
        let mut after = String::new();
        loop {
            let page = self.host.get(&format!("{}/documents/{collection}?limit={PAGE}{after}", self.path)).ok();
            let page = page["documents"].as_array().unwrap();
            for document in page {
                documents.insert(document["key"].as_str().unwrap().to_owned(), document["value"].clone());
            }
            let Some(last) = page.last().filter(|_| page.len() == PAGE) else { return documents };
            after = format!("&after={}", last["key"].as_str().unwrap().replace(' ', "%20"));
        }
    }

    /// The digest of its documents.
    #[track_caller]
    pub fn digest(&self) -> String {
        self.host.get(&format!("{}/digest", self.path)).ok()["digest"].as_str().unwrap().to_owned()
    }

    /// What happened to it, oldest first.
    #[track_caller]
    pub fn history(&self) -> Vec<Value> {
        self.host.get(&format!("{}/history", self.path)).ok()["entries"].as_array().unwrap().clone()
    }

    /// Its dead letters.
    #[track_caller]
    pub fn dead_letters(&self) -> Vec<Value> {
        let answer = self.host.get(&format!("{}/dead-letters?limit=1000", self.path)).ok();
        answer["dead_letters"].as_array().unwrap().clone()
    }
}

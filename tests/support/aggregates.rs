//! What a test asks of an aggregate.

use serde_json::{Value, json};

use super::{Answer, Host};

impl Host {
    /// Deploys an aggregate with more settings: `config`, `limits`, `snapshots`.
    #[track_caller]
    pub fn deploy_aggregate(&self, name: &str, package: &str, settings: Value) -> Value {
        let mut body = json!({ "name": name, "module": self.push(package) });
        body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        self.post("/api/v1/aggregates", &body).ok()
    }

    /// Sends a command under an id the host makes.
    #[track_caller]
    pub fn order(&self, stream: &str, command: &str, data: &Value) -> Answer {
        self.post(&format!("/api/v1/commands/{stream}/{command}"), data)
    }

    /// How an aggregate stands.
    #[track_caller]
    pub fn aggregate(&self, name: &str) -> Value {
        self.get(&format!("/api/v1/aggregates/{name}")).ok()
    }

    /// Swaps the module of an aggregate for that of a guest or an example.
    #[track_caller]
    pub fn swap_aggregate(&self, name: &str, package: &str) -> Answer {
        let module = self.push(package);
        self.post(&format!("/api/v1/aggregates/{name}/swap"), &json!({ "module": module }))
    }

    /// The state of an aggregate, as it is.
    #[track_caller]
    pub fn state(&self, stream: &str) -> Value {
        self.get(&format!("/api/v1/streams/{stream}/state")).ok()["state"].clone()
    }
}

//! A host for tests: memory stores, and modules that are functions.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use lantern_core::{
    Call, Clock, Digest, Effects, Instance, Library, Module, Outcome, SystemClock, View, Write,
    module::{Description, Kept, LibraryError, Settings},
};
use lantern_stores::memory;
use lantern_telemetry::{Environment, Telemetry, TelemetryConfig};
use serde_json::Value;

use super::{Door, router};
use crate::wire::{Backends, Host};

/// The API on a port of its own.
pub(crate) struct Served {
    pub(crate) door: Arc<Door>,
    pub(crate) url: String,
    http: reqwest::Client,
}

/// Status, headers and JSON of an answer; what is no JSON is a JSON text.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Served {
    /// The API of a host that has not started yet.
    pub(crate) async fn closed() -> Self {
        // Another test may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = TelemetryConfig { environment: Environment::default(), ..TelemetryConfig::default() };
        let door = Arc::new(Door::new(Telemetry::start(config).unwrap()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = router(door.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { door, url, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    /// The API of an empty host.
    pub(crate) async fn open() -> Self {
        let served = Self::closed().await;
        let backends = Backends {
            log: Arc::new(memory::Log::new()),
            read_models: Arc::new(memory::ReadModels::new()),
            library: Arc::new(Shelf::default()),
            journal: Arc::new(memory::Journal::new()),
            clock: Arc::new(SystemClock),
        };
        let telemetry = served.door.telemetry.clone();
        served.door.open(Arc::new(Host::start(backends, telemetry).await.unwrap()));
        served
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.url))).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.http.delete(format!("{}{path}", self.url))).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.http.post(format!("{}{path}", self.url)).json(body)).await
    }

    /// Posts a body of a media type, with one more header.
    pub(crate) async fn post_as(&self, path: &str, media_type: &str, header: (&str, &str), body: &str) -> Answer {
        let request = self.http.post(format!("{}{path}", self.url)).body(body.to_owned());
        self.send(request.header("content-type", media_type).header(header.0, header.1)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, headers, body }
    }
}

/// A library that takes whatever begins with `module`; every module of it counts the events of each stream.
#[derive(Default)]
struct Shelf(Mutex<Vec<Kept>>);

#[async_trait]
impl Library for Shelf {
    async fn push(&self, bytes: Bytes) -> Result<Kept, LibraryError> {
        if !bytes.starts_with(b"module") {
            return Err(LibraryError::Refused("it does not begin with `module`".into()));
        }
        let digest = Digest::of(&bytes);
        let (size, pushed_at, world) = (bytes.len() as u64, SystemClock.now(), "projection".into());
        let kept =
            Kept { digest, size, pushed_at, description: description(), world, imports: vec![], exports: vec![] };
        let mut shelf = self.0.lock().unwrap();
        if shelf.iter().all(|other| other.digest != digest) {
            shelf.push(kept.clone());
        }
        Ok(kept)
    }

    async fn list(&self) -> Result<Vec<Kept>, LibraryError> {
        Ok(self.0.lock().unwrap().clone())
    }

    async fn inspect(&self, digest: Digest) -> Result<Kept, LibraryError> {
        let shelf = self.0.lock().unwrap();
        shelf.iter().find(|kept| kept.digest == digest).cloned().ok_or(LibraryError::Unknown(digest))
    }

    async fn remove(&self, digest: Digest) -> Result<(), LibraryError> {
        self.0.lock().unwrap().retain(|kept| kept.digest != digest);
        Ok(())
    }

    async fn load(&self, digest: Digest, _: &Settings) -> Result<Arc<dyn Module>, LibraryError> {
        let kept = self.inspect(digest).await?;
        Ok(Arc::new(Counter(kept)))
    }
}

fn description() -> Description {
    let (name, version) = ("counter".into(), "1.0.0".into());
    Description { name, version, categories: vec![], event_types: vec![], collections: vec!["counts".into()] }
}

struct Counter(Kept);

impl Module for Counter {
    fn digest(&self) -> Digest {
        self.0.digest
    }

    fn description(&self) -> &Description {
        &self.0.description
    }

    fn instance(&self) -> Box<dyn Instance> {
        Box::new(Counting)
    }
}

struct Counting;

impl Instance for Counting {
    fn handle(&mut self, call: &Call<'_>, view: &Arc<dyn View>) -> Outcome {
        let key = call.event.stream.as_str();
        let count: u64 = view.get("counts", key).unwrap().map_or(0, |count| count.parse().unwrap());
        let value = Some((count + 1).to_string().into());
        let write = Write { collection: "counts".into(), key: key.into(), value };
        Ok(Effects { writes: vec![write] }).into()
    }
}

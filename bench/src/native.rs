//! Budget `native`: the projection as Wasm against the same one as a native closure, in the same pipeline.

use std::sync::Arc;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use lantern_core::{
    AggregateModule, Call, Digest, Effects, Instance, Library, Module, Outcome, View, Write,
    module::{Description, Failure, FailureKind, Kept, LibraryError, Settings},
    upcasting::UpcasterModule,
};
use serde::{Deserialize, Serialize};

use crate::{
    Bench,
    figures::{median, per_second, rate},
    rebuild::GUEST,
    report::{Report, ratio},
    stages::Stages,
    watch::Watch,
    world::Make,
};

const COLLECTION: &str = "counts";

/// The rest of the data is passed over.
#[derive(Deserialize)]
struct Amount {
    amount: u64,
}

/// The document of the guest, field for field.
#[derive(Default, Serialize, Deserialize)]
struct Count {
    count: u64,
    last_amount: u64,
}

/// A library of one native module.
pub(crate) struct Native {
    description: Description,
}

/// The native module.
struct Counter {
    description: Description,
}

/// A running copy of it.
struct Counting {
    collection: Arc<str>,
}

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let world = &bench.world;
    let (wasm, filled) = (world.push(GUEST).await?, world.loans().await?);
    let native: Arc<dyn Library> = Arc::new(Native::new());
    let (mut by_wasm, mut by_native) = (Vec::new(), Vec::new());
    for round in 0..=bench.arguments.rounds {
        let make = |library| Make { log: filled.log.clone(), library, telemetry: None, watch: None };
        let first = world.rebuild(wasm, filled, make(world.library())).await?;
        let second = world.rebuild(Native::digest(), filled, make(native.clone())).await?;
        ensure!(first.digest == second.digest, "the native projection keeps other documents than the guest");
        // The first round warms up.
        if round > 0 {
            by_wasm.push(rate(filled.head.0, first.took));
            by_native.push(rate(filled.head.0, second.took));
        }
    }
    let ratios = by_wasm.iter().zip(&by_native).map(|(wasm, native)| wasm / native).collect();
    if bench.arguments.profile {
        let stages = Arc::new(Stages::default());
        let (log, watch) = (filled.log.clone(), Some(stages.clone() as Arc<dyn Watch>));
        let make = Make { log, library: native.clone(), telemetry: None, watch };
        let rebuilt = world.rebuild(Native::digest(), filled, make).await?;
        report.note(stages.tell("native closure", filled.head.0, &rebuilt));
    }
    let what = format!("native: Wasm against a native closure ({})", per_second(median(by_native)));
    report.at_least(&what, median(ratios), 0.7, ratio);
    Ok(())
}

impl Native {
    /// The library.
    pub(crate) fn new() -> Self {
        let description = Description {
            name: "native".into(),
            version: "1".into(),
            categories: Vec::new(),
            event_types: Vec::new(),
            collections: vec![COLLECTION.into()],
            schema_versions: [].into(),
            migrations: Vec::new(),
            has_tables: false,
        };
        Self { description }
    }

    /// The address of its module.
    pub(crate) fn digest() -> Digest {
        Digest::of(b"native")
    }
}

#[async_trait]
impl Library for Native {
    async fn push(&self, _: Bytes) -> Result<Kept, LibraryError> {
        Err(LibraryError::Refused("this library has one native module and takes no other".into()))
    }

    async fn list(&self) -> Result<Vec<Kept>, LibraryError> {
        Ok(Vec::new())
    }

    async fn inspect(&self, digest: Digest) -> Result<Kept, LibraryError> {
        Err(LibraryError::Unknown(digest))
    }

    async fn remove(&self, digest: Digest) -> Result<(), LibraryError> {
        Err(LibraryError::Unknown(digest))
    }

    async fn load(&self, _: Digest, _: &Settings) -> Result<Arc<dyn Module>, LibraryError> {
        Ok(Arc::new(Counter { description: self.description.clone() }))
    }

    async fn load_aggregate(&self, digest: Digest, _: &Settings) -> Result<Arc<dyn AggregateModule>, LibraryError> {
        Err(LibraryError::Unknown(digest))
    }

    async fn load_upcaster(&self, digest: Digest, _: &Settings) -> Result<Arc<dyn UpcasterModule>, LibraryError> {
        Err(LibraryError::Unknown(digest))
    }
}

impl Module for Counter {
    fn digest(&self) -> Digest {
        Native::digest()
    }

    fn description(&self) -> &Description {
        &self.description
    }

    fn instance(&self) -> Box<dyn Instance> {
        Box::new(Counting { collection: COLLECTION.into() })
    }
}

impl Instance for Counting {
    fn handle(&mut self, call: &Call<'_>, view: &Arc<dyn View>) -> Outcome {
        Outcome::from(self.count(call, &**view))
    }
}

impl Counting {
    /// What the guest does, line for line.
    fn count(&self, call: &Call<'_>, view: &dyn View) -> Result<Effects, Failure> {
        let permanent = |error: serde_json::Error| Failure::new(FailureKind::Permanent, error.to_string());
        let Amount { amount } = serde_json::from_slice(call.event.data.as_bytes()).map_err(permanent)?;
        let key = call.event.stream.as_str();
        let kept = view.get(COLLECTION, key).map_err(|error| Failure::new(FailureKind::Host, error.to_string()))?;
        let mut count: Count = match kept {
            Some(text) => serde_json::from_str(&text).map_err(permanent)?,
            None => Count::default(),
        };
        count.count += 1;
        count.last_amount = amount;
        let value = serde_json::to_string(&count).map_err(permanent)?;
        let write = Write { collection: self.collection.clone(), key: key.into(), value: Some(value.into()) };
        Ok(Effects { writes: vec![write], ..Effects::default() })
    }
}

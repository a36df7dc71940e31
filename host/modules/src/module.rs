//! A component as core's module: ready to start, for one projection.

use std::sync::Arc;

use lantern_core::{
    Clock, Digest, Instance, Module,
    module::{Description, Settings},
};

use crate::{bindings::ProjectionPre, guest::Guest, instance::WasmInstance, state::Deployment};

/// A module that is compiled and linked: what all projections that run it share.
pub(crate) struct Ready {
    /// Its address.
    pub(crate) digest: Digest,
    /// What it says it is.
    pub(crate) description: Description,
    /// From which instances are started.
    pub(crate) pre: ProjectionPre<Guest>,
}

/// A module, ready for one projection.
pub(crate) struct WasmModule {
    ready: Arc<Ready>,
    deployment: Arc<Deployment>,
}

impl WasmModule {
    /// A module with what the deployment says.
    pub(crate) fn new(ready: Arc<Ready>, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let collections = ready.description.collections.iter().map(|name| Arc::from(name.as_str())).collect();
        Self { ready, deployment: Arc::new(Deployment { settings, collections, clock }) }
    }
}

impl Module for WasmModule {
    fn digest(&self) -> Digest {
        self.ready.digest
    }

    fn description(&self) -> &Description {
        &self.ready.description
    }

    fn instance(&self) -> Box<dyn Instance> {
        Box::new(WasmInstance::new(self.ready.pre.clone(), self.deployment.clone()))
    }
}

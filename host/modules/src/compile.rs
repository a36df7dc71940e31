//! From bytes to a module that is ready to start: compiled, checked, linked and asked what it is.

use std::sync::Arc;

use lantern_core::{
    Clock, Name,
    module::{Description, Limits, Settings},
};
use wasmtime::{
    Engine,
    component::{Component, Linker},
};

use crate::{
    bindings::ProjectionPre,
    check::{self, Shape},
    engine,
    guest::Guest,
    imports,
    instance::WasmInstance,
    state::Deployment,
};

/// Compiles and links modules. All modules of a host share one, and with it one engine.
pub(crate) struct Compiler {
    pub(crate) engine: Engine,
    linker: Linker<Guest>,
    clock: Arc<dyn Clock>,
}

impl Compiler {
    /// Starts the engine.
    pub(crate) fn start(clock: Arc<dyn Clock>) -> wasmtime::Result<Self> {
        let engine = engine::start()?;
        let linker = imports::linker(&engine)?;
        Ok(Self { engine, linker, clock })
    }

    /// Compiles bytes that were not seen before. The error says what is wrong with them.
    pub(crate) fn compile(&self, bytes: &[u8]) -> Result<Component, String> {
        check::kind(bytes)?;
        Component::new(&self.engine, bytes).map_err(|error| format!("it cannot be compiled: {error:#}"))
    }

    /// Links a component. The error says which import or export is wrong.
    pub(crate) fn link(&self, component: &Component) -> Result<(ProjectionPre<Guest>, Shape), String> {
        let shape = check::shape(component)?;
        let linked = self.linker.instantiate_pre(component).map_err(|error| format!("{error:#}"))?;
        let pre = ProjectionPre::new(linked).map_err(|error| {
            format!(
                "an export has another type than in the world `lantern:module/projection@0.1.0`: {error:#}; build it with the \
                 SDK of this host's version"
            )
        })?;
        Ok((pre, shape))
    }

    /// Asks a module what it is, under default limits.
    pub(crate) fn describe(&self, pre: ProjectionPre<Guest>) -> Result<Description, String> {
        // Cannot fail: the text is a name.
        let projection = Name::new("describe").map_err(|error| error.to_string())?;
        let settings = Settings { projection, limits: Limits::default(), config: Default::default() };
        let deployment = Deployment { settings, collections: Vec::new(), clock: self.clock.clone() };
        let description = WasmInstance::new(pre, Arc::new(deployment))
            .describe()
            .map_err(|failure| format!("its function `describe` failed: {failure}"))?;
        check::description(&description)?;
        Ok(description)
    }

    /// The host's clock.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }
}

//! From bytes to a module that is ready to start: compiled, checked, linked and asked what it is.

use std::sync::Arc;

use lantern_core::{
    Clock, Grants, Kind, Name,
    module::{Described, Limits, Settings},
};
use wasmtime::{
    Engine,
    component::{Component, Linker},
};

use crate::{
    aggregate,
    bindings::{aggregate::AggregatePre, processor::HandlerPre, upcaster::UpcasterPre},
    check::{self, Shape, World},
    engine,
    guest::Guest,
    imports, processor,
    ready::Pre,
    state::Deployment,
    upcaster,
};

/// Compiles and links modules. All modules of a host share one, and with it one engine.
pub(crate) struct Compiler {
    pub(crate) engine: Engine,
    processors: Linker<Guest>,
    all: Linker<Guest>,
    clock: Arc<dyn Clock>,
}

impl Compiler {
    /// Starts the engine.
    pub(crate) fn start(clock: Arc<dyn Clock>) -> wasmtime::Result<Self> {
        let engine = engine::start()?;
        let (processors, all) = (imports::processors(&engine)?, imports::all(&engine)?);
        Ok(Self { engine, processors, all, clock })
    }

    /// Compiles bytes that were not seen before. The error says what is wrong with them.
    pub(crate) fn compile(&self, bytes: &[u8]) -> Result<Component, String> {
        check::kind(bytes)?;
        Component::new(&self.engine, bytes).map_err(|error| format!("it cannot be compiled: {error:#}"))
    }

    /// Links a component. The error says which import or export is wrong.
    pub(crate) fn link(&self, component: &Component) -> Result<(Pre, Shape), String> {
        let shape = check::shape(component)?;
        let linker = if shape.world == World::Processor { &self.processors } else { &self.all };
        let linked = linker.instantiate_pre(component).map_err(|error| format!("{error:#}"))?;
        let pre = match shape.world {
            World::Processor => HandlerPre::new(linked).map(Pre::Processor),
            World::Aggregate => AggregatePre::new(linked).map(Pre::Aggregate),
            World::Upcaster => UpcasterPre::new(linked).map(Pre::Upcaster),
        };
        let pre = pre.map_err(|error| {
            format!(
                "an export has another type than in {}: {error:#}; build it with the SDK of this host's version",
                shape.world.names()
            )
        })?;
        Ok((pre, shape))
    }

    /// Asks a module what it is, under default limits. The error says what is wrong with the answer.
    pub(crate) fn describe(&self, pre: &Pre, shape: &Shape) -> Result<Described, String> {
        // Cannot fail: the text is a name.
        let name = Name::new("describe").map_err(|error| error.to_string())?;
        let (limits, config, grants) = (Limits::default(), Default::default(), Grants::default());
        let settings = Settings { kind: Kind::Projection, name, limits, config, grants };
        let deployment = Arc::new(Deployment::new(settings, &[], self.clock.clone()));
        let mut described = match pre {
            Pre::Processor(pre) => processor::describe(pre, &deployment),
            Pre::Aggregate(pre) => aggregate::describe(pre, &deployment),
            Pre::Upcaster(pre) => upcaster::describe(pre, &deployment),
        }?;
        check::imports(&shape.imports, described.kind())?;
        if let Described::Projection(description) | Described::Handler(description) = &mut described {
            description.has_tables |= imports::has_tables(&shape.imports);
        }
        Ok(described)
    }

    /// The host's clock.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }
}

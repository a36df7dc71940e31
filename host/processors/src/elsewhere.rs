//! What is known here of processors that other hosts run: where they are, what is stored of them.

use std::sync::Arc;

use lantern_core::{
    Generation, Identity, Kind, Name, ReadModel, State, Subject,
    module::{Described, Description},
};

use crate::{
    Refusal, Status, Supervisor,
    roster::{Back, Deployed},
};

/// Where a processor or a route runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On this host.
    Here,
    /// On another one.
    At(Identity),
    /// Nowhere at the moment: it changes hosts, or cannot be started.
    Nowhere,
}

impl Supervisor {
    /// Where a processor runs.
    pub fn place(&self, kind: Kind, name: &Name) -> Result<Place, Refusal> {
        match self.processor(kind, name) {
            Ok(_) => Ok(Place::Here),
            Err(Refusal::Elsewhere { .. }) => Ok(self.other_owner(name)),
            Err(refusal) => Err(refusal),
        }
    }

    /// Where something runs that does not run here.
    pub(crate) fn other_owner(&self, unit: &Name) -> Place {
        let owner = self.charges().roll.owner(unit).map(|owner| owner.identity.clone());
        let other = owner.filter(|owner| owner.id != self.ports().host.id);
        other.map_or(Place::Nowhere, Place::At)
    }

    /// The live read model, whoever fills it. A collection that is given must be one of the module's.
    pub async fn read_model(
        &self,
        kind: Kind,
        name: &Name,
        collection: Option<&str>,
    ) -> Result<Arc<dyn ReadModel>, Refusal> {
        if let Some(collection) = collection {
            let known = self.description(kind, name).await?.collections;
            if !known.iter().any(|known| known == collection) {
                let (subject, collection) = (Subject { kind, name: name.clone() }, collection.to_owned());
                return Err(Refusal::UnknownCollection { subject, collection, known });
            }
        }
        match self.processor(kind, name) {
            Ok(processor) => Ok(processor.live().read_model),
            Err(Refusal::Elsewhere { subject, .. }) => {
                let generation = self.deployed(&subject)?.live(name);
                Ok(self.ports().read_models.open(&generation).await?)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// What the module in charge says it is, whoever runs it.
    pub async fn description(&self, kind: Kind, name: &Name) -> Result<Description, Refusal> {
        match self.processor(kind, name) {
            Ok(processor) => Ok(processor.live().progress.borrow().module.description().clone()),
            Err(Refusal::Elsewhere { subject, .. }) => self.described(&self.deployed(&subject)?).await,
            Err(refusal) => Err(refusal),
        }
    }

    /// What is stored of a processor that this host does not run. Its state is unknown, and what its host has counted is 0.
    pub async fn recall(&self, kind: Kind, name: &Name) -> Result<Status, Refusal> {
        let subject = Subject { kind, name: name.clone() };
        let deployed = self.deployed(&subject)?;
        let description = self.described(&deployed).await?;
        let read_model = self.ports().read_models.open(&deployed.live(name)).await?;
        let checkpoint = read_model.checkpoint().await?;
        let held = read_model.held_streams().await?;
        let scheduled = match kind {
            Kind::Handler => read_model.scheduled().await?.len() as u64,
            _ => 0,
        };
        let head = *self.ports().log.head().borrow();
        Ok(Status {
            kind,
            name: name.clone(),
            host: self.charges().roll.owner(name).map(|owner| owner.identity.name.clone()),
            state: if deployed.paused { State::Paused } else { State::Unknown },
            route: deployed.deployment.route.clone(),
            generation: deployed.generation,
            module: deployed.module,
            description,
            previous_module: deployed.back.as_ref().map(Back::module),
            position: checkpoint.position,
            head,
            lag: head.since(checkpoint.position),
            handled: checkpoint.handled,
            failed: 0,
            emitted: 0,
            published: 0,
            scheduled,
            parked_events: held.iter().map(|(_, events)| events).sum(),
            parked_streams: held.len() as u64,
            last_error: None,
            rebuild: None,
            deployed_at: deployed.deployed_at,
            config: deployed.deployment.config,
            limits: deployed.deployment.limits,
            grants: deployed.deployment.grants,
            failure_policy: deployed.deployment.failure_policy,
        })
    }

    /// What the journal tells of a processor.
    fn deployed(&self, subject: &Subject) -> Result<Deployed, Refusal> {
        let deployed = self.processors().roster.deployed.get(&subject.name).cloned();
        let of_kind = deployed.filter(|deployed| deployed.kind == subject.kind);
        of_kind.ok_or_else(|| Refusal::Unknown(subject.clone()))
    }

    /// What the module in charge says it is.
    async fn described(&self, deployed: &Deployed) -> Result<Description, Refusal> {
        match self.ports().library.inspect(deployed.module).await?.description {
            Described::Projection(description) | Described::Handler(description) => Ok(description),
            // The journal names no other module: it was loaded as what it is before.
            described => Err(Refusal::NoProcessor(described.kind())),
        }
    }
}

impl Deployed {
    /// The live generation.
    fn live(&self, name: &Name) -> Generation {
        Generation { processor: name.clone(), number: self.generation }
    }
}

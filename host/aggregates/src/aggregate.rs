//! A deployed aggregate: its module in charge and the one before.

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use lantern_core::{
    AggregateInstance, AggregateModule, Digest, Event, Grants, Kind, Name, Subject, Timestamp,
    journal::{AggregateDeployment, SnapshotPolicy},
    module::{Failure, Settings},
    standing::Standing,
};

use crate::{Status, counters::Tallies, means::Means};

/// What stays the same for a category while modules change.
pub(crate) struct Category {
    pub(crate) name: Name,
    /// The source of its events where a command names none.
    pub(crate) source: Arc<str>,
    pub(crate) tallies: Tallies,
    removed: AtomicBool,
}

impl Category {
    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }
}

/// A module in charge of a category. Two swaps make two editions, of the same module too.
pub(crate) struct Edition {
    pub(crate) module: Arc<dyn AggregateModule>,
    pub(crate) policy: SnapshotPolicy,
    pub(crate) category: Arc<Category>,
    pub(crate) means: Arc<Means>,
}

impl Edition {
    /// Folds events into an instance, in the form its module understands.
    pub(crate) fn evolve(&self, instance: &mut dyn AggregateInstance, events: &[Event]) -> Result<(), Failure> {
        instance.evolve(&self.upcast(events)?)
    }

    /// Events in the form its module understands.
    pub(crate) fn upcast<'a>(&self, events: &'a [Event]) -> Result<Cow<'a, [Event]>, Failure> {
        let accepted = &self.module.description().schema_versions;
        let mut upcast: Vec<Event> = Vec::new();
        for (index, event) in events.iter().enumerate() {
            match self.means.ports.upcasting.upcast(event, accepted)? {
                Cow::Borrowed(_) if upcast.is_empty() => {}
                seen => {
                    if upcast.is_empty() {
                        upcast.extend_from_slice(&events[..index]);
                    }
                    upcast.push(seen.into_owned());
                }
            }
        }
        Ok(if upcast.is_empty() { Cow::Borrowed(events) } else { Cow::Owned(upcast) })
    }
}

/// An aggregate as it is deployed.
pub(crate) struct Aggregate {
    /// The entry of the journal that deployed it.
    pub(crate) entry: u64,
    pub(crate) category: Arc<Category>,
    pub(crate) deployment: AggregateDeployment,
    pub(crate) deployed_at: Timestamp,
    /// Held while the module is changed: one change at a time.
    pub(crate) changing: tokio::sync::Mutex<()>,
    edition: RwLock<Arc<Edition>>,
    previous: Mutex<Option<Previous>>,
}

/// The module a rollback goes back to.
#[derive(Clone)]
pub(crate) enum Previous {
    /// Still loaded.
    Loaded(Arc<dyn AggregateModule>),
    /// From before the host started, or from another host.
    Known(Digest),
}

impl Previous {
    pub(crate) fn digest(&self) -> Digest {
        match self {
            Self::Loaded(module) => module.digest(),
            Self::Known(digest) => *digest,
        }
    }
}

impl Aggregate {
    pub(crate) fn new(
        name: Name,
        standing: &Standing<AggregateDeployment>,
        module: Arc<dyn AggregateModule>,
        means: Arc<Means>,
    ) -> Self {
        let source = format!("/aggregates/{name}").into();
        let category = Arc::new(Category { name, source, tallies: Tallies::default(), removed: AtomicBool::default() });
        let deployment = standing.deployment.clone();
        let edition = Edition { module, policy: deployment.snapshots, category: category.clone(), means };
        Self {
            entry: standing.entry,
            category,
            deployment,
            deployed_at: standing.deployed_at,
            changing: tokio::sync::Mutex::default(),
            edition: RwLock::new(Arc::new(edition)),
            previous: Mutex::new(standing.previous.map(Previous::Known)),
        }
    }

    /// What the journal calls it.
    pub(crate) fn subject(&self) -> Subject {
        subject(&self.category.name)
    }

    /// The module in charge.
    pub(crate) fn edition(&self) -> Arc<Edition> {
        self.edition.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn previous(&self) -> Option<Previous> {
        self.previous_mut().clone()
    }

    /// What a module would be in charge as.
    pub(crate) fn candidate(&self, module: Arc<dyn AggregateModule>) -> Arc<Edition> {
        let edition = self.edition();
        let (category, means) = (self.category.clone(), edition.means.clone());
        Arc::new(Edition { module, policy: edition.policy, category, means })
    }

    /// Puts another module in charge. The one to go back to is kept loaded where it is the one before.
    pub(crate) fn change(&self, next: Arc<Edition>, previous: Option<Digest>) {
        let mut edition = self.edition.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *edition, next).module.clone();
        *self.previous_mut() = previous.map(|previous| match before.digest() {
            digest if digest == previous => Previous::Loaded(before),
            _ => Previous::Known(previous),
        });
    }

    /// Notes what a rollback goes back to.
    pub(crate) fn go_back_to(&self, previous: Option<Digest>) {
        let mut known = self.previous_mut();
        if known.as_ref().map(Previous::digest) != previous {
            *known = previous.map(Previous::Known);
        }
    }

    /// From now on nothing is kept of it any more.
    pub(crate) fn retire(&self) {
        self.category.removed.store(true, Ordering::Release);
    }

    pub(crate) fn status(&self) -> Status {
        let edition = self.edition();
        Status {
            name: self.category.name.clone(),
            module: edition.module.digest(),
            description: edition.module.description().clone(),
            previous_module: self.previous().map(|previous| previous.digest()),
            deployed_at: self.deployed_at,
            config: self.deployment.config.clone(),
            limits: self.deployment.limits.clone(),
            snapshots: self.deployment.snapshots,
            counters: self.category.tallies.read(),
        }
    }

    fn previous_mut(&self) -> MutexGuard<'_, Option<Previous>> {
        // Every change is a single assignment, so a panic leaves nothing half-changed.
        self.previous.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the journal calls the aggregate of this name.
pub(crate) fn subject(name: &Name) -> Subject {
    Subject { kind: Kind::Aggregate, name: name.clone() }
}

/// How a module is loaded for an aggregate.
pub(crate) fn settings(name: &Name, deployment: &AggregateDeployment) -> Settings {
    Settings {
        kind: Kind::Aggregate,
        name: name.clone(),
        limits: deployment.limits.clone(),
        config: deployment.config.clone(),
        grants: Grants::default(),
    }
}

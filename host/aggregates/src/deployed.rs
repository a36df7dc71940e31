//! What is deployed: the fold of the journal, followed. Changes go through the journal, so that all hosts see the same.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, PoisonError, Weak},
};

use lantern_core::{
    AggregateModule, Digest, Happening, Name,
    journal::AggregateDeployment,
    standing::{Standing, Standings},
};
use tokio::sync::MutexGuard;

use crate::{
    Refusal,
    aggregate::{Aggregate, Previous, settings, subject},
    aggregates::Shared,
    loaded::Loaded,
};

/// The journal as far as it is known.
pub(crate) type Told = Standings<AggregateDeployment>;

/// Takes up what is new in the journal.
pub(crate) async fn next(shared: Weak<Shared>) -> ControlFlow<(), bool> {
    let Some(shared) = shared.upgrade() else { return ControlFlow::Break(()) };
    let result = shared.catch_up(&mut *shared.told.lock().await).await;
    if let Err(error) = &result {
        tracing::error!("the aggregates could not follow the journal: {error}; trying again");
    }
    ControlFlow::Continue(result.is_ok())
}

/// The right to change what is deployed, and all that the journal says of it.
///
/// A change is made true by writing it into the journal, from where it takes effect here as on every other host. What is
/// written takes effect also when nobody waits for it any more: the journal is followed.
pub(crate) struct Change<'a> {
    shared: &'a Shared,
    told: MutexGuard<'a, Told>,
}

impl Change<'_> {
    /// Writes what was decided on all that the journal says. `false` when another host has written meanwhile: then all has
    /// to be decided anew.
    pub(crate) async fn write(&mut self, name: &Name, happening: Happening) -> Result<bool, Refusal> {
        let journal = &self.shared.means.ports.journal;
        let entry = journal.append_after(self.told.last(), &subject(name), happening).await?;
        self.shared.catch_up(&mut self.told).await?;
        Ok(entry.is_some())
    }
}

impl Shared {
    /// Takes the right to change what is deployed, one at a time.
    pub(crate) async fn change(&self) -> Result<Change<'_>, Refusal> {
        let mut told = self.told.lock().await;
        self.catch_up(&mut told).await?;
        Ok(Change { shared: self, told })
    }

    /// Takes up what is new in the journal and puts it in charge.
    pub(crate) async fn catch_up(&self, told: &mut Told) -> Result<(), Refusal> {
        for entry in self.means.ports.journal.entries_after(told.last()).await? {
            told.add(entry);
        }
        // What could not be loaded the last time is tried again, also when there is nothing new.
        let there = self.deployed.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (name, aggregate) in &there {
            let standing = told.all().get(&aggregate.category.name);
            if standing.is_none_or(|standing| standing.entry != aggregate.entry) {
                self.change_deployed(|deployed| drop(deployed.remove(name)));
                aggregate.retire();
                self.dismiss(self.warm.forget(name));
            }
        }
        for (name, standing) in told.all() {
            match there.get(name.as_str()).filter(|aggregate| aggregate.entry == standing.entry) {
                Some(aggregate) => self.adapt(aggregate, standing).await?,
                None => {
                    let settings = settings(name, &standing.deployment);
                    let module = self.means.ports.library.load_aggregate(standing.module, &settings).await?;
                    let aggregate = Arc::new(Aggregate::new(name.clone(), standing, module, self.means.clone()));
                    self.change_deployed(|deployed| drop(deployed.insert(name.as_str().to_owned(), aggregate)));
                }
            }
        }
        Ok(())
    }

    /// Puts the module in charge that the journal names, and drops what the one before has loaded.
    async fn adapt(&self, aggregate: &Aggregate, standing: &Standing<AggregateDeployment>) -> Result<(), Refusal> {
        if aggregate.edition().module.digest() == standing.module {
            aggregate.go_back_to(standing.previous);
            return Ok(());
        }
        let module = self.load(aggregate, standing.module).await?;
        aggregate.change(aggregate.candidate(module), standing.previous);
        self.dismiss(self.warm.forget(aggregate.category.name.as_str()));
        Ok(())
    }

    /// A module of an aggregate: the one before where it is that and still loaded, otherwise the library's.
    pub(crate) async fn load(
        &self,
        aggregate: &Aggregate,
        module: Digest,
    ) -> Result<Arc<dyn AggregateModule>, Refusal> {
        match aggregate.previous() {
            Some(Previous::Loaded(previous)) if previous.digest() == module => Ok(previous),
            _ => {
                let settings = settings(&aggregate.category.name, &aggregate.deployment);
                Ok(self.means.ports.library.load_aggregate(module, &settings).await?)
            }
        }
    }

    /// Drops what guests hold, where blocking is allowed.
    pub(crate) fn dismiss(&self, loaded: Vec<Loaded>) {
        if !loaded.is_empty() {
            self.crew.dismiss(loaded);
        }
    }

    fn change_deployed(&self, change: impl FnOnce(&mut BTreeMap<String, Arc<Aggregate>>)) {
        // Every change is a single insertion or removal, so a panic leaves nothing half-changed.
        change(&mut self.deployed.write().unwrap_or_else(PoisonError::into_inner));
    }
}

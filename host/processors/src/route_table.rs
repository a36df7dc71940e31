//! The routes that a host has: all that its configuration names, and those of them that run here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lantern_core::Name;

use crate::{
    Ports, Refusal,
    configured::{Configured, Consume},
    relay::Unchanged,
    route::Route,
};

/// The routes of the configuration, and those of them that this host runs.
pub(crate) struct RouteTable {
    pub(crate) ports: Arc<Ports>,
    pub(crate) configured: BTreeMap<Name, Configured>,
    /// Under which names they have leases.
    units: Vec<Name>,
    /// These names, and those of routes that feed projections.
    known: Vec<Name>,
    running: Mutex<BTreeMap<Name, Arc<Route>>>,
}

impl RouteTable {
    /// Routes that are configured; none runs yet.
    pub(crate) fn new(ports: &Ports, routes: Vec<Configured>) -> Result<Self, Refusal> {
        if let Some(lost) = routes.iter().find(|route| ports.buses.get(route.bus()).is_none()) {
            return Err(Refusal::UnknownBus { route: lost.name().clone(), bus: lost.bus().clone() });
        }
        for route in &routes {
            if let Configured::Consume(consume) = route
                && consume.projection.is_some()
                && let Some(bus) = ports.buses.get(&consume.bus).filter(|bus| !bus.leaves_offsets())
            {
                let (route, system) = (consume.name.clone(), bus.system());
                return Err(Refusal::NoOffsets { route, bus: consume.bus.clone(), system });
            }
        }
        let ports = Arc::new(Ports { upcasting: Arc::new(Unchanged::new()), ..ports.clone() });
        // A route that feeds a projection goes where that one is.
        let mut units: Vec<Name> = routes.iter().map(Configured::unit).filter(Name::is_reserved).collect();
        units.sort_unstable();
        let mut known: Vec<Name> = routes.iter().map(Configured::reserved).collect();
        known.sort_unstable();
        let configured = routes.into_iter().map(|route| (route.name().clone(), route)).collect();
        Ok(Self { ports, configured, units, known, running: Mutex::default() })
    }

    /// The names under which they have leases, in order.
    pub(crate) fn units(&self) -> &[Name] {
        &self.units
    }

    /// What this host can run beside what every host can: its routes, and what one of them feeds.
    pub(crate) fn known(&self) -> &[Name] {
        &self.known
    }

    /// The route that feeds a projection.
    pub(crate) fn feeding(&self, projection: &Name) -> Option<&Consume> {
        self.configured.values().find_map(|configured| match configured {
            Configured::Consume(consume) if consume.projection.as_ref() == Some(projection) => Some(consume),
            _ => None,
        })
    }

    /// Takes out what runs under a name.
    pub(crate) fn remove(&self, unit: &Name) -> Option<Arc<Route>> {
        self.running().remove(unit)
    }

    /// All that run.
    pub(crate) fn all(&self) -> Vec<Arc<Route>> {
        self.running().values().cloned().collect()
    }

    pub(crate) fn running(&self) -> MutexGuard<'_, BTreeMap<Name, Arc<Route>>> {
        // Every change is a single insertion or removal, so a panic leaves nothing half-changed.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

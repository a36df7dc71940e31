//! The roster: what the journal says is deployed, and how it stands.

use std::collections::{BTreeMap, BTreeSet};

use lantern_core::{Digest, Entry, Happening, Kind, Name, Subject, Timestamp, journal::Deployment};

/// What a rollback goes back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Back {
    /// The module before the last swap, on the same generation.
    Module(Digest),
    /// The generation before the last promotion.
    Generation { number: u32, module: Digest },
}

impl Back {
    /// The module it goes back to.
    pub(crate) fn module(&self) -> Digest {
        match self {
            Self::Module(module) | Self::Generation { module, .. } => *module,
        }
    }
}

/// A processor as the journal tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deployed {
    /// The entry that deployed it: tells it from another one deployed under the same name before or after.
    pub(crate) entry: u64,
    pub(crate) kind: Kind,
    pub(crate) deployment: Deployment,
    pub(crate) deployed_at: Timestamp,
    pub(crate) paused: bool,
    /// The live generation.
    pub(crate) generation: u32,
    /// The module of the live generation.
    pub(crate) module: Digest,
    pub(crate) back: Option<Back>,
    /// A generation that was begun and not promoted yet.
    pub(crate) rebuild: Option<(u32, Digest)>,
    /// The highest generation number given so far, also before a removal.
    pub(crate) last_generation: u32,
}

/// What the journal says: the processors that are deployed, and the last generation number of every name that ever
/// was, so that a number is never given twice.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    pub(crate) deployed: BTreeMap<Name, Deployed>,
    pub(crate) last_generations: BTreeMap<Name, u32>,
    /// The routes that operators paused, by their reserved names.
    pub(crate) paused_routes: BTreeSet<Name>,
    /// The sequence of the last entry folded.
    pub(crate) last: u64,
}

impl Roster {
    /// The next generation number of a name.
    pub(crate) fn next_generation(&self, name: &Name) -> u32 {
        self.last_generations.get(name).copied().unwrap_or(0) + 1
    }

    /// Folds the next entry of the journal.
    pub(crate) fn add(&mut self, entry: Entry) {
        self.last = entry.sequence;
        let Subject { kind, name } = entry.subject;
        if !kind.is_processor() {
            return;
        }
        if name.is_reserved() {
            match entry.happening {
                Happening::Paused => drop(self.paused_routes.insert(name)),
                Happening::Resumed => drop(self.paused_routes.remove(&name)),
                _ => {}
            }
            return;
        }
        let last = self.last_generations.entry(name.clone()).or_insert(0);
        if let Happening::Deployed(deployment) = entry.happening {
            *last += 1;
            let deployed = Deployed {
                entry: entry.sequence,
                kind,
                deployed_at: entry.at,
                paused: false,
                generation: *last,
                module: deployment.module,
                back: None,
                rebuild: None,
                last_generation: *last,
                deployment,
            };
            self.deployed.insert(name, deployed);
            return;
        }
        let Some(deployed) = self.deployed.get_mut(&name) else { return };
        match entry.happening {
            Happening::Paused => deployed.paused = true,
            Happening::Resumed => deployed.paused = false,
            Happening::Swapped { from, to, .. } | Happening::RolledBack { from, to, .. } => {
                deployed.module = to;
                deployed.back = Some(Back::Module(from));
            }
            Happening::RebuildStarted { generation, module } => {
                *last = generation.max(*last);
                deployed.last_generation = *last;
                deployed.rebuild = Some((generation, module));
            }
            Happening::RebuildAbandoned { .. } => deployed.rebuild = None,
            Happening::Promoted { generation, previous, module, .. } => {
                deployed.back = Some(Back::Generation { number: previous, module: deployed.module });
                deployed.generation = generation;
                deployed.module = module;
                deployed.rebuild = None;
            }
            Happening::Removed => drop(self.deployed.remove(&name)),
            Happening::Deployed(_)
            | Happening::AggregateDeployed(_)
            | Happening::UpcasterDeployed(_)
            | Happening::ScheduleCancelled { .. }
            | Happening::SwapRefused { .. }
            | Happening::Retried { .. }
            | Happening::Skipped { .. }
            | Happening::Stopped { .. } => {}
        }
    }
}

impl Deployed {
    /// The modules it needs: to run, to rebuild, to go back.
    pub(crate) fn modules(&self) -> impl Iterator<Item = Digest> {
        let back = self.back.as_ref().map(Back::module);
        let rebuild = self.rebuild.map(|(_, module)| module);
        [self.module].into_iter().chain(back).chain(rebuild)
    }
}

#[cfg(test)]
mod tests {
    use lantern_core::{Grants, Position, journal::FailurePolicy, module::Limits};

    use super::*;

    fn folded(entries: impl IntoIterator<Item = Entry>) -> Roster {
        let mut roster = Roster::default();
        entries.into_iter().for_each(|entry| roster.add(entry));
        roster
    }

    fn fold(happenings: Vec<Happening>) -> Roster {
        let entry = |(sequence, happening)| Entry {
            sequence,
            at: Timestamp(0),
            subject: Subject { kind: Kind::Projection, name: Name::new("orders").unwrap() },
            happening,
        };
        folded((1..).zip(happenings).map(entry))
    }

    fn deployed(module: Digest) -> Happening {
        Happening::Deployed(Deployment {
            module,
            start: Position::START,
            config: BTreeMap::new(),
            limits: Limits::default(),
            failure_policy: FailurePolicy::default(),
            grants: Grants::default(),
            route: None,
        })
    }

    #[test]
    fn a_swap_and_a_promotion_say_what_to_go_back_to() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let name = Name::new("orders").unwrap();
        let mut happenings = vec![deployed(a), Happening::Swapped { position: Position(7), from: a, to: b }];
        let roster = fold(happenings.clone());
        assert_eq!(roster.deployed[&name].module, b);
        assert_eq!(roster.deployed[&name].back, Some(Back::Module(a)));

        happenings.push(Happening::RebuildStarted { generation: 2, module: a });
        assert_eq!(fold(happenings.clone()).deployed[&name].rebuild, Some((2, a)));
        happenings.push(Happening::Promoted { generation: 2, previous: 1, position: Position(9), module: a });
        let roster = fold(happenings);
        assert_eq!(roster.deployed[&name].back, Some(Back::Generation { number: 1, module: b }));
        assert_eq!((roster.deployed[&name].generation, roster.deployed[&name].rebuild), (2, None));
    }

    #[test]
    fn what_is_no_processor_is_somebody_elses() {
        let subject = Subject { kind: Kind::Aggregate, name: Name::new("orders").unwrap() };
        let happening = Happening::Swapped { position: Position(1), from: Digest::of(b"a"), to: Digest::of(b"b") };
        let aggregate = Entry { sequence: 2, at: Timestamp(0), subject, happening };
        let processor = Subject { kind: Kind::Handler, name: Name::new("orders").unwrap() };
        let handler =
            Entry { sequence: 1, at: Timestamp(0), subject: processor, happening: deployed(Digest::of(b"a")) };
        let roster = folded([handler, aggregate]);
        let orders = &roster.deployed[&Name::new("orders").unwrap()];
        assert_eq!((orders.kind, orders.module, &orders.back), (Kind::Handler, Digest::of(b"a"), &None));
    }

    #[test]
    fn a_route_is_paused_until_it_is_resumed_and_is_nothing_deployed() {
        let orders = Name::new("orders").unwrap();
        let route = Name::reserved("publish", &orders);
        let entry = |sequence, happening| {
            let subject = Subject { kind: Kind::Handler, name: route.clone() };
            Entry { sequence, at: Timestamp(0), subject, happening }
        };
        let mut roster = folded([entry(1, Happening::Paused)]);
        assert!(roster.paused_routes.contains(&route) && roster.deployed.is_empty());
        roster.add(entry(2, Happening::Resumed));
        assert!(roster.paused_routes.is_empty() && roster.last == 2);
    }

    #[test]
    fn a_generation_number_is_never_given_twice() {
        let a = Digest::of(b"a");
        let roster = fold(vec![deployed(a), Happening::Removed, deployed(a)]);
        let name = Name::new("orders").unwrap();
        assert_eq!(roster.deployed[&name].generation, 2);
    }
}

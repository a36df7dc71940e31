//! What the journal says of modules that are deployed and have no generations: aggregates and upcasters.

use std::collections::BTreeMap;

use crate::{Digest, Entry, Happening, Kind, Name, Timestamp};

/// How a deployed module stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing<D> {
    /// The entry that deployed it: tells it from another one deployed under the same name before or after.
    pub entry: u64,
    /// How it was deployed.
    pub deployment: D,
    /// When.
    pub deployed_at: Timestamp,
    /// The module in charge.
    pub module: Digest,
    /// The module a rollback goes back to.
    pub previous: Option<Digest>,
}

/// The fold of the journal for one kind, entry by entry.
#[derive(Debug)]
pub struct Standings<D> {
    kind: Kind,
    /// Takes the deployment and its module out of the happenings of the kind.
    deployed: fn(&Happening) -> Option<(D, Digest)>,
    all: BTreeMap<Name, Standing<D>>,
    last: u64,
}

impl<D> Standings<D> {
    /// Nothing is deployed yet. `deployed` takes the deployment and its module out of the happenings of the kind.
    #[must_use]
    pub fn new(kind: Kind, deployed: fn(&Happening) -> Option<(D, Digest)>) -> Self {
        Self { kind, deployed, all: BTreeMap::new(), last: 0 }
    }

    /// The sequence of the last entry folded; 0 before the first.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// What is deployed, by name.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<Name, Standing<D>> {
        &self.all
    }

    /// Folds the next entry, of whatever kind.
    pub fn add(&mut self, entry: Entry) {
        self.last = entry.sequence;
        if entry.subject.kind != self.kind {
            return;
        }
        let name = entry.subject.name;
        if let Some((deployment, module)) = (self.deployed)(&entry.happening) {
            let (entry, deployed_at) = (entry.sequence, entry.at);
            self.all.insert(name, Standing { entry, deployment, deployed_at, module, previous: None });
            return;
        }
        match (entry.happening, self.all.get_mut(&name)) {
            (Happening::Swapped { from, to, .. } | Happening::RolledBack { from, to, .. }, Some(standing)) => {
                standing.module = to;
                standing.previous = Some(from);
            }
            (Happening::Removed, _) => drop(self.all.remove(&name)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Position, Subject};

    #[test]
    fn the_last_change_of_each_kind_counts() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let subject = |kind, name: &str| Subject { kind, name: name.parse().unwrap() };
        let entry = |(sequence, (subject, happening))| Entry { sequence, at: Timestamp(0), subject, happening };
        let swapped = || Happening::Swapped { position: Position(1), from: a, to: b };
        let happenings = vec![
            (subject(Kind::Aggregate, "Order"), Happening::Resumed),
            (subject(Kind::Aggregate, "Order"), swapped()),
            (subject(Kind::Upcaster, "Order"), Happening::Removed),
            (subject(Kind::Aggregate, "Gone"), Happening::Resumed),
            (subject(Kind::Aggregate, "Gone"), Happening::Removed),
        ];
        // A happening that stands in for a deployment.
        let mut standings = Standings::new(Kind::Aggregate, |happening| {
            (*happening == Happening::Resumed).then_some(((), Digest::of(b"a")))
        });
        (1..).zip(happenings).map(entry).for_each(|entry| standings.add(entry));
        let names: Vec<_> = standings.all().keys().map(Name::as_str).collect();
        assert_eq!(names, ["Order"]);
        let order = &standings.all()[&"Order".parse::<Name>().unwrap()];
        assert_eq!((order.entry, order.module, order.previous), (1, b, Some(a)));
        assert_eq!(standings.last(), 5, "entries of other kinds are counted");
    }
}

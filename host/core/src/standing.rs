//! What the journal says of modules that are deployed and have no generations: aggregates and upcasters.

use std::collections::BTreeMap;

use crate::{Digest, Entry, Happening, Kind, Name, Timestamp};

/// How a deployed module stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing<D> {
    /// How it was deployed.
    pub deployment: D,
    /// When.
    pub deployed_at: Timestamp,
    /// The module in charge.
    pub module: Digest,
    /// The module a rollback goes back to.
    pub previous: Option<Digest>,
}

/// Folds the journal for one kind. `deployed` takes the deployment and its module out of the happenings of that kind.
pub fn standing<D>(
    entries: Vec<Entry>,
    kind: Kind,
    deployed: impl Fn(&Happening) -> Option<(D, Digest)>,
) -> BTreeMap<Name, Standing<D>> {
    let mut all: BTreeMap<Name, Standing<D>> = BTreeMap::new();
    for entry in entries {
        if entry.subject.kind != kind {
            continue;
        }
        let name = entry.subject.name;
        if let Some((deployment, module)) = deployed(&entry.happening) {
            all.insert(name, Standing { deployment, deployed_at: entry.at, module, previous: None });
            continue;
        }
        match (entry.happening, all.get_mut(&name)) {
            (Happening::Swapped { from, to, .. } | Happening::RolledBack { from, to, .. }, Some(standing)) => {
                standing.module = to;
                standing.previous = Some(from);
            }
            (Happening::Removed, _) => drop(all.remove(&name)),
            _ => {}
        }
    }
    all
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
        let entries = (1..).zip(happenings).map(entry).collect();
        // A happening that stands in for a deployment.
        let all = standing(entries, Kind::Aggregate, |happening| (*happening == Happening::Resumed).then_some(((), a)));
        let names: Vec<_> = all.keys().map(Name::as_str).collect();
        assert_eq!(names, ["Order"]);
        let order = &all[&"Order".parse::<Name>().unwrap()];
        assert_eq!((order.module, order.previous), (b, Some(a)));
    }
}

//! The hosts that share the stores, and how processors moved between them.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet},
};

use super::watched::{Source, Watched, counters, gauge};

/// How a host stands among those that share its stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostsGauge {
    /// How many hosts live.
    pub live: u64,
    /// How many processors this host has leases for.
    pub leases: u64,
    /// How many it has taken since it started.
    pub taken: u64,
    /// How many it has given back.
    pub released: u64,
    /// How many another host took because its time was over.
    pub lost: u64,
}

/// Tells how the host stands; one entry.
pub type Hosts = Source<HostsGauge>;

/// The label of a move.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Move {
    r#move: &'static str,
}

impl Collector for Watched<HostsGauge> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let all = self.ask();
        for told in &all {
            gauge(&mut encoder, ("lantern_hosts", "Hosts that share the stores and live."), told.live)?;
            gauge(&mut encoder, ("lantern_leases", "Processors this host runs."), told.leases)?;
        }
        let moves = all.iter().flat_map(|gauge| {
            let moves = [("taken", gauge.taken), ("released", gauge.released), ("lost", gauge.lost)];
            moves.map(|(r#move, count)| (Move { r#move }, count))
        });
        let help = ("lantern_lease_moves", "Processors that this host took, gave back, or lost to another one.");
        counters(&mut encoder, help, moves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::{Metrics, has};

    #[test]
    fn a_host_tells_what_it_has_and_what_moved() {
        let metrics = Metrics::new();
        assert!(!metrics.text().contains("lantern_hosts"));
        metrics.hosts.set(Box::new(|| vec![HostsGauge { live: 3, leases: 4, taken: 6, released: 1, lost: 1 }]));
        has(&metrics, "lantern_hosts 3");
        has(&metrics, "lantern_leases 4");
        has(&metrics, "lantern_lease_moves_total{move=\"taken\"} 6");
        has(&metrics, "lantern_lease_moves_total{move=\"lost\"} 1");
    }
}

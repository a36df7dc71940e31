//! The host's metrics, read as a scraper would.

use super::Host;

impl Host {
    /// The value of a metric, summed over its samples that carry all these labels; nothing when there is none.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let metrics = self.get("/metrics").body;
        let sample = |line: &&str| {
            line.split(['{', ' ']).next() == Some(name) && labels.iter().all(|label| line.contains(label))
        };
        let values: Vec<f64> =
            metrics.lines().filter(sample).filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }
}

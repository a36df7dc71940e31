//! Which traces are recorded, decided once at their root and the same everywhere for the same trace id.

use lantern_core::TraceContext;

use crate::environment::Reader;

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampler {
    /// Whether a span follows the decision of the span around it.
    parent_based: bool,
    /// How traces without a decision are chosen.
    root: Root,
}

/// How a trace is chosen by its id.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Root {
    On,
    Off,
    /// The traces whose random part lies below this bound, of 2^63.
    Ratio(u64),
}

impl Sampler {
    /// The sampler that records nothing, whatever a parent says.
    pub(crate) const OFF: Self = Self { parent_based: false, root: Root::Off };

    /// Reads `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self { parent_based: true, root: Root::On };
        let Some((_, name)) = reader.text(&[SAMPLER]) else { return default };
        let name = name.to_ascii_lowercase();
        let (parent_based, kind) = match name.strip_prefix("parentbased_") {
            Some(kind) => (true, kind),
            None => (false, name.as_str()),
        };
        let root = match kind {
            "always_on" => Root::On,
            "always_off" => Root::Off,
            "traceidratio" => Root::Ratio(ratio(reader)),
            _ => {
                let known = "always_on, always_off, traceidratio and these after `parentbased_` are known";
                reader.warn(SAMPLER, &name, &format!("{known}; parentbased_always_on is used"));
                return default;
            }
        };
        Self { parent_based, root }
    }

    /// Whether a span under a parent is recorded; without a parent it is a root of a trace of this id.
    pub(crate) fn decides(self, parent: Option<&TraceContext>, trace_id: u128) -> bool {
        match parent {
            Some(parent) if self.parent_based => parent.is_sampled(),
            _ => self.decides_root(trace_id),
        }
    }

    /// Whether the root of a trace is recorded.
    pub(crate) fn decides_root(self, trace_id: u128) -> bool {
        match self.root {
            Root::On => true,
            Root::Off => false,
            // The same low 63 bits that other OpenTelemetry SDKs look at, so that services agree.
            Root::Ratio(bound) => (trace_id as u64) >> 1 < bound,
        }
    }
}

/// The bound that lets this share of all trace ids pass. An argument that is not set means all.
fn ratio(reader: &mut Reader<'_>) -> u64 {
    const ALL: u64 = 1 << 63;
    let Some((_, text)) = reader.text(&[ARGUMENT]) else { return ALL };
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => (share * ALL as f64) as u64,
        _ => {
            reader.warn(ARGUMENT, text, "a number from 0 to 1 is needed; 1 is used");
            ALL
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    fn sampler(name: &str, argument: &str) -> (Sampler, Vec<String>) {
        let environment = Environment::from_iter([(SAMPLER, name), (ARGUMENT, argument)]);
        let mut reader = Reader::new(&environment);
        (Sampler::read(&mut reader), reader.into_warnings())
    }

    fn parent(flags: u8) -> TraceContext {
        TraceContext { trace_id: 1, span_id: 1, flags, state: None }
    }

    #[test]
    fn a_parent_decides_only_for_parent_based_samplers() {
        let decides = |name: &str| {
            let (sampler, warnings) = sampler(name, "");
            assert!(warnings.is_empty(), "{warnings:?}");
            [sampler.decides(Some(&parent(1)), 1), sampler.decides(Some(&parent(0)), 1), sampler.decides(None, 1)]
        };
        assert_eq!(decides(""), [true, false, true]);
        assert_eq!(decides("parentbased_always_on"), [true, false, true]);
        assert_eq!(decides("parentbased_always_off"), [true, false, false]);
        assert_eq!(decides("always_on"), [true, true, true]);
        assert_eq!(decides("always_off"), [false, false, false]);
    }

    #[test]
    fn a_ratio_is_deterministic_and_about_right() {
        let share = |argument: &str| {
            let (sampler, _) = sampler("traceidratio", argument);
            let mut random = fastrand::Rng::with_seed(1);
            let ids: Vec<u128> = (0..20_000).map(|_| random.u128(1..)).collect();
            let chosen: Vec<bool> = ids.iter().map(|id| sampler.decides_root(*id)).collect();
            assert_eq!(chosen, ids.iter().map(|id| sampler.decides(None, *id)).collect::<Vec<_>>());
            chosen.iter().filter(|chosen| **chosen).count()
        };
        assert_eq!((share("0"), share("1")), (0, 20_000));
        assert!((1_700..2_300).contains(&share("0.1")), "{}", share("0.1"));
    }

    #[test]
    fn unknown_values_are_warned_about() {
        let (unknown, warnings) = sampler("sometimes", "");
        assert_eq!(unknown, sampler("", "").0);
        assert!(warnings[0].contains("OTEL_TRACES_SAMPLER=`sometimes`"), "{warnings:?}");
        let (_, warnings) = sampler("traceidratio", "2");
        assert!(warnings[0].contains("OTEL_TRACES_SAMPLER_ARG=`2`"), "{warnings:?}");
    }
}

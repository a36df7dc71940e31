//! The meter that counts the memory and the tables of an instance against its limits.

use lantern_core::module::{Failure, FailureKind, Limits};
use wasmtime::ResourceLimiter;

/// An instance that one call made grow by this much is not kept, so that one huge event does not cost memory for ever.
const SWELLING: usize = 16 << 20;

/// Counts the memory and the tables of one instance.
pub(crate) struct Meter {
    limits: Limits,
    memory: usize,
    memory_before: usize,
    started: usize,
    tables: usize,
}

impl Meter {
    /// A meter for an instance that is about to start.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { limits: limits.clone(), memory: 0, memory_before: 0, started: 0, tables: 0 }
    }

    /// Takes note of what the instance has once it has started.
    pub(crate) fn started(&mut self) {
        self.started = self.memory;
    }

    /// Takes note that a call begins.
    pub(crate) fn begin(&mut self) {
        self.memory_before = self.memory;
    }

    /// How many bytes of linear memory the instance has.
    pub(crate) fn memory(&self) -> u64 {
        self.memory as u64
    }

    /// Whether the instance should be replaced by a fresh one now that the call has ended: the call made it grow a lot,
    /// or it has grown so near to its limit that a later event would be blamed for what earlier ones left behind.
    pub(crate) fn is_swollen(&self) -> bool {
        let near = self.limits.memory_bytes / 4 * 3;
        self.memory - self.memory_before > SWELLING || (self.memory > self.started && self.memory as u64 > near)
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Beyond its own maximum a module is told that it cannot grow, as the standard says.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let total = self.memory + (desired - current);
        let allowed = self.limits.memory_bytes;
        if total as u64 > allowed {
            return Err(limit(format!(
                "the module asked for {total} bytes of memory: at most {allowed} are allowed (`memory_bytes`)"
            )));
        }
        self.memory = total;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let total = self.tables + (desired - current);
        let allowed = self.limits.table_elements;
        if total as u64 > allowed {
            return Err(limit(format!(
                "the module asked for tables of {total} elements: at most {allowed} are allowed (`table_elements`)"
            )));
        }
        self.tables = total;
        Ok(true)
    }
}

fn limit(message: String) -> wasmtime::Error {
    Failure::new(FailureKind::Limit, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn meter() -> Meter {
        let mut meter = Meter::new(&Limits { memory_bytes: 64 << 20, table_elements: 100, ..Limits::default() });
        assert!(meter.memory_growing(0, MIB, None).unwrap());
        meter.started();
        meter.begin();
        meter
    }

    #[test]
    fn memories_are_counted_together() {
        let mut meter = meter();
        assert!(meter.memory_growing(0, 63 * MIB, None).unwrap());
        let refused = meter.memory_growing(MIB, 2 * MIB, None).unwrap_err();
        assert_eq!(refused.downcast_ref::<Failure>().unwrap().kind, FailureKind::Limit);
    }

    #[test]
    fn tables_are_counted_together() {
        let mut meter = meter();
        assert!(meter.table_growing(0, 60, None).unwrap());
        assert!(meter.table_growing(0, 40, None).unwrap());
        assert!(meter.table_growing(40, 41, None).is_err());
    }

    #[test]
    fn beyond_its_own_maximum_a_module_is_told_that_it_cannot_grow() {
        assert!(!meter().memory_growing(MIB, 3 * MIB, Some(2 * MIB)).unwrap());
        assert!(!meter().table_growing(0, 3, Some(2)).unwrap());
    }

    #[test]
    fn an_instance_that_one_call_swelled_is_replaced() {
        let mut meter = meter();
        assert!(!meter.is_swollen());
        assert!(meter.memory_growing(MIB, MIB + SWELLING, None).unwrap());
        assert!(!meter.is_swollen());
        assert!(meter.memory_growing(MIB + SWELLING, 2 * MIB + SWELLING, None).unwrap());
        assert!(meter.is_swollen());
        meter.begin();
        assert!(!meter.is_swollen(), "what it has from earlier is not held against it");
    }

    #[test]
    fn an_instance_that_leaks_is_replaced_before_it_meets_its_limit() {
        let mut meter = meter();
        let calls = (1..64).take_while(|call| {
            meter.begin();
            meter.memory_growing(call * MIB, (call + 1) * MIB, None).unwrap() && !meter.is_swollen()
        });
        assert_eq!(calls.count(), 47);
    }
}

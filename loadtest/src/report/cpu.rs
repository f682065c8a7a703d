//! CPU time by process, by whatever it was spent on.

use std::time::Duration;

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::timeline::{CpuTimes, PROCESSES};

/// CPU time of each process by one order or request, microseconds. Unknown (`null`) where `/proc` does not tell, or the process is
/// not ours to know.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CpuEach([Option<f64>; 6]);

impl CpuEach {
    /// Divides; by nothing, all is unknown.
    pub fn of(cpu: CpuTimes, count: u64) -> Self {
        Self(cpu.map(|cpu| micros_each(cpu?, count)))
    }

    /// Each with its name.
    pub fn parts(&self) -> [(&'static str, Option<f64>); 6] {
        std::array::from_fn(|i| (PROCESSES[i], self.0[i]))
    }

    /// Of everything but the generator; unknown when a part is.
    pub fn system(&self) -> Option<f64> {
        self.0[1..].iter().copied().sum()
    }
}

impl Serialize for CpuEach {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(PROCESSES.len()))?;
        self.parts().iter().try_for_each(|(name, us)| map.serialize_entry(name, us))?;
        map.end()
    }
}

/// The generator's share of the CPU time of all processes, percent; unknown when a part is.
pub(super) fn generator_share_percent(cpu: CpuTimes) -> Option<f64> {
    let all: Duration = cpu.iter().copied().sum::<Option<Duration>>()?;
    (!all.is_zero()).then_some(())?;
    Some(cpu[0]?.as_secs_f64() / all.as_secs_f64() * 100.0)
}

/// Microseconds of each; unknown when there is none.
pub(super) fn micros_each(cpu: Duration, count: u64) -> Option<f64> {
    (count > 0).then(|| cpu.as_secs_f64() * 1e6 / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_with_an_unknown_part_is_unknown() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let known = [ms(2), ms(3), ms(1), ms(1), ms(1), ms(2)];
        assert_eq!(generator_share_percent(known), Some(20.0));
        assert_eq!(CpuEach::of(known, 100).system(), Some(80.0));
        let unknown = [ms(2), None, ms(1), ms(1), ms(1), ms(2)];
        assert_eq!((generator_share_percent(unknown), CpuEach::of(unknown, 100).system()), (None, None));
        assert_eq!(CpuEach::of(known, 0), CpuEach::default());
        assert_eq!(generator_share_percent([Some(Duration::ZERO); 6]), None);
    }
}

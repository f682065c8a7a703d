//! CPU time by process, by whatever it was spent on.

use std::time::Duration;

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::timeline::{CpuTimes, ONE_PROCESS, PROCESSES};

/// CPU time of each process by one order or request, microseconds. Unknown (`null`) where `/proc`
/// has no figure, or the process is not ours to know, or the deployment has no such process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuEach {
    each: [Option<f64>; PROCESSES.len()],
    /// The deployment has so many of [`PROCESSES`], the first ones.
    processes: usize,
}

impl CpuEach {
    /// Divides; by nothing, all is unknown.
    pub fn of(cpu: CpuTimes, processes: usize, count: u64) -> Self {
        Self { each: cpu.map(|cpu| micros_each(cpu?, count)), processes }
    }

    /// Each process of the deployment, with its name.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, Option<f64>)> + use<> {
        PROCESSES.into_iter().zip(self.each).take(self.processes)
    }

    /// One process does all the work of a server.
    pub fn is_one_process(&self) -> bool {
        self.processes == ONE_PROCESS
    }

    /// Of everything but the generator; unknown when a part is.
    pub fn system(&self) -> Option<f64> {
        self.parts().skip(1).map(|(_, us)| us).sum()
    }
}

impl Serialize for CpuEach {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(PROCESSES.len()))?;
        PROCESSES.iter().zip(&self.each).try_for_each(|(name, us)| map.serialize_entry(name, us))?;
        map.end()
    }
}

/// The generator's share of the CPU time of all processes, percent; unknown when a part is.
pub(super) fn generator_share_percent(cpu: &[Option<Duration>]) -> Option<f64> {
    let all: Duration = cpu.iter().copied().sum::<Option<Duration>>()?;
    (!all.is_zero()).then_some(())?;
    Some((*cpu.first()?)?.as_secs_f64() / all.as_secs_f64() * 100.0)
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
        let known = [ms(2), ms(3), ms(1), ms(1), ms(1), ms(2), None, None];
        assert_eq!(generator_share_percent(&known[..6]), Some(20.0));
        assert_eq!(CpuEach::of(known, 6, 100).system(), Some(80.0));
        let unknown = [ms(2), None, ms(1), ms(1), ms(1), ms(2), None, None];
        assert_eq!((generator_share_percent(&unknown[..6]), CpuEach::of(unknown, 6, 100).system()), (None, None));
        assert!(CpuEach::of(known, 6, 0).parts().all(|(_, us)| us.is_none()));
        assert_eq!(generator_share_percent(&[Some(Duration::ZERO); 6]), None);
    }

    /// What a deployment does not have is no unknown part of its sum.
    #[test]
    fn one_process_is_the_whole_system() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let cpu = [ms(2), ms(8), None, None, None, None, None, None];
        let each = CpuEach::of(cpu, ONE_PROCESS, 100);
        assert_eq!((each.system(), generator_share_percent(&cpu[..ONE_PROCESS])), (Some(80.0), Some(20.0)));
        assert_eq!(each.parts().map(|(name, _)| name).collect::<Vec<_>>(), ["generator", "engine"]);
        let json = serde_json::to_value(each).unwrap();
        assert!(json["redis"].is_null() && json.as_object().unwrap().len() == PROCESSES.len(), "{json}");
    }
}

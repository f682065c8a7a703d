//! CPU time of processes and threads, and their memory, as Linux tells them in `/proc`. Elsewhere,
//! and for a process that is gone: unknown.

use std::{fs, time::Duration};

/// Linux reports process times in hundredths of a second, whatever its own tick.
const TICKS_PER_S: u64 = 100;

/// User and system time of a process so far, its ended threads included, its children not.
pub fn process(pid: u32) -> Option<Duration> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// CPU time of the calling thread so far, to the nanosecond.
pub fn this_thread() -> Option<Duration> {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    schedstat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Memory of a process, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub now: u64,
    /// The most that ever was.
    pub peak: u64,
}

/// Resident memory of a process.
pub fn memory(pid: u32) -> Option<Memory> {
    parse_status(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn parse_status(status: &str) -> Option<Memory> {
    let bytes = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kibibytes * 1_024)
    };
    Some(Memory { now: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
}

fn parse_stat(stat: &str) -> Option<Duration> {
    // The second field is the program's name in brackets, and may hold anything, brackets too.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1_000 / TICKS_PER_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_any_name() {
        let line = "42 (a) b (c) S 1 42 42 0 -1 4194560 500 0 0 0 150 25 9 9 20 0 4 0 100 1 1";
        assert_eq!(parse_stat(line), Some(Duration::from_millis(1_750)));
        assert_eq!(parse_stat("42 (x) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn memory_is_what_is_resident() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t1\n";
        assert_eq!(parse_status(status), Some(Memory { now: 1 << 20, peak: 2 << 20 }));
        assert_eq!(parse_status("Name:\tx\n"), None, "the kernel's own have none");
        assert!(memory(std::process::id()).is_some_and(|memory| memory.now > 0 && memory.now <= memory.peak));
    }

    #[test]
    fn this_process_and_thread_have_times() {
        let before = this_thread();
        assert!(process(std::process::id()).is_some());
        assert!(before.is_some() && this_thread() >= before);
        assert_eq!(process(0), None);
    }
}

//! CPU time of processes and threads, as Linux tells it in `/proc`. Elsewhere, and for a process that is gone: unknown.

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
    fn this_process_and_thread_have_times() {
        let before = this_thread();
        assert!(process(std::process::id()).is_some());
        assert!(before.is_some() && this_thread() >= before);
        assert_eq!(process(0), None);
    }
}

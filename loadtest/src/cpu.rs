//! CPU time of processes and threads, and their memory, as Linux tells them in `/proc`. Elsewhere,
//! and for a process that is gone: unknown.

use std::{fs, time::Duration};

pub use kit::metrics::{Memory, cpu_of as process, memory_of as memory};

/// CPU time of the calling thread so far, to the nanosecond.
pub fn this_thread() -> Option<Duration> {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    schedstat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_and_thread_have_times() {
        let before = this_thread();
        assert!(process(std::process::id()).is_some());
        assert!(before.is_some() && this_thread() >= before);
        assert_eq!(process(0), None);
    }
}

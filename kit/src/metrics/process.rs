//! What a process has cost, read from Linux's `/proc`. Also of other processes: the load test sums
//! the CPU of all that take part, because that is steadier than a rate on a shared machine.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Clock ticks in a second as `/proc` counts them: `USER_HZ`, which Linux fixes at 100 for user
/// space.
const TICKS_PER_SECOND: u64 = 100;

/// Milliseconds in a tick.
const TICK_MS: u64 = 1_000 / TICKS_PER_SECOND;

/// One look at a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessSample {
    /// User and system time so far, in milliseconds; moves in steps of ten.
    pub cpu_ms: u64,
    /// Memory in RAM, in bytes.
    pub resident_bytes: u64,
    /// The most memory in RAM that it ever had, in bytes.
    pub resident_peak_bytes: u64,
    /// Virtual memory, in bytes.
    pub virtual_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Descriptors that it may open, at most.
    pub max_fds: u64,
    /// When the process started, in milliseconds since 1970; exact to the second.
    pub started_ms: u64,
}

impl ProcessSample {
    /// Looks at this process.
    ///
    /// # Errors
    ///
    /// When there is no `/proc`.
    pub fn of_self() -> io::Result<Self> {
        let mut sample = Self::read(Path::new("/proc/self"))?;
        // The directory that was read to count the descriptors was itself one of them.
        sample.open_fds = sample.open_fds.saturating_sub(1);
        Ok(sample)
    }

    /// Looks at another process of the same user.
    ///
    /// # Errors
    ///
    /// When there is no such process, or no right to look at it.
    pub fn of_pid(pid: u32) -> io::Result<Self> {
        let mut directory = PathBuf::from("/proc");
        directory.push(pid.to_string());
        Self::read(&directory)
    }

    fn read(directory: &Path) -> io::Result<Self> {
        let stat = fs::read_to_string(directory.join("stat"))?;
        let status = fs::read_to_string(directory.join("status"))?;
        let limits = fs::read_to_string(directory.join("limits"))?;
        let machine = fs::read_to_string("/proc/stat")?;
        let (cpu_ticks, start_ticks) = ticks_of(&stat).ok_or_else(|| unreadable("stat"))?;
        let booted_s = number_after(&machine, "btime").ok_or_else(|| unreadable("btime"))?;
        // A process that is just ending has no memory line any more.
        let kib_after = |word| number_after(&status, word).unwrap_or(0);
        let [resident_kib, peak_kib, virtual_kib] = ["VmRSS:", "VmHWM:", "VmSize:"].map(kib_after);
        Ok(Self {
            cpu_ms: cpu_ticks * TICK_MS,
            resident_bytes: resident_kib * 1024,
            resident_peak_bytes: peak_kib * 1024,
            virtual_bytes: virtual_kib * 1024,
            threads: number_after(&status, "Threads:").unwrap_or(0),
            open_fds: u64::try_from(fs::read_dir(directory.join("fd"))?.count()).unwrap_or(u64::MAX),
            // "unlimited" is no number.
            max_fds: number_after(&limits, "Max open files").unwrap_or(u64::MAX),
            started_ms: booted_s * 1_000 + start_ticks * TICK_MS,
        })
    }

    /// Appends the sample in Prometheus text form, under the standard names.
    pub(super) fn render_into(&self, text: &mut String) {
        let seconds = |ms: u64| format!("{}.{:03}", ms / 1_000, ms % 1_000);
        let lines = [
            ("process_cpu_seconds_total", "counter", "User and system CPU time spent.", seconds(self.cpu_ms)),
            ("process_resident_memory_bytes", "gauge", "Memory in RAM.", self.resident_bytes.to_string()),
            ("process_virtual_memory_bytes", "gauge", "Virtual memory.", self.virtual_bytes.to_string()),
            ("process_threads", "gauge", "Threads.", self.threads.to_string()),
            ("process_open_fds", "gauge", "Open file descriptors.", self.open_fds.to_string()),
            ("process_max_fds", "gauge", "File descriptors, at most.", self.max_fds.to_string()),
            ("process_start_time_seconds", "gauge", "Start since the Unix epoch.", seconds(self.started_ms)),
        ];
        for (name, kind, help, value) in lines {
            // Writing to a string does not fail.
            if writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}").is_err() {
                return;
            }
        }
    }
}

/// User and system time that a process has spent so far, with that of its ended threads and without
/// that of its children; moves in steps of 10 ms. One file is read where a [`ProcessSample`] reads
/// many, so it may be asked several times a second.
///
/// # Errors
///
/// When there is no such process.
pub fn process_cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (cpu_ticks, _) = ticks_of(&stat).ok_or_else(|| unreadable("stat"))?;
    Ok(Duration::from_millis(cpu_ticks * TICK_MS))
}

/// CPU time that the calling thread has spent so far, to the nanosecond.
///
/// # Errors
///
/// When there is no `/proc`.
pub fn thread_cpu_time() -> io::Result<Duration> {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = schedstat.split_ascii_whitespace().next().and_then(|nanos| nanos.parse().ok());
    nanos.map(Duration::from_nanos).ok_or_else(|| unreadable("schedstat"))
}

/// CPU ticks spent and the tick of the start: fields 14, 15 and 22 of `stat`. The second field, the
/// program's name, may hold spaces and parentheses, so counting starts behind the last parenthesis,
/// at field 3.
fn ticks_of(stat: &str) -> Option<(u64, u64)> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = behind_name.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((field(14)? + field(15)?, field(22)?))
}

/// The first number behind a word that begins a line.
fn number_after(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word)?.split_ascii_whitespace().next()?.parse().ok())
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not in the form that proc(5) describes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) (b c) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 17 18 9000 20 21";
        assert_eq!(ticks_of(stat), Some((200, 9000)));
        assert_eq!(ticks_of("42 (cut off) S 1"), None);
        assert_eq!(ticks_of(""), None);
    }

    #[test]
    fn this_process_has_memory_descriptors_and_a_past() {
        let sample = ProcessSample::of_self().unwrap();
        assert!(sample.resident_bytes > 100_000, "{sample:?}");
        assert!(sample.resident_peak_bytes >= sample.resident_bytes, "{sample:?}");
        assert!(sample.virtual_bytes >= sample.resident_bytes, "{sample:?}");
        assert!((3..=sample.max_fds).contains(&sample.open_fds), "{sample:?}");
        assert!(sample.threads >= 1, "{sample:?}");
        assert!(sample.started_ms > 1_600_000_000_000, "{sample:?}");
        let by_pid = ProcessSample::of_pid(std::process::id()).unwrap();
        assert_eq!(by_pid.started_ms, sample.started_ms);
    }

    #[test]
    fn a_process_and_a_thread_have_cpu_times() {
        let before = thread_cpu_time().unwrap();
        // The kernel accounts for a running thread at its own pace; asking is work enough.
        while thread_cpu_time().unwrap() <= before {}
        let sample = ProcessSample::of_self().unwrap();
        assert!(process_cpu_time(std::process::id()).unwrap() >= Duration::from_millis(sample.cpu_ms));
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert_eq!(ProcessSample::of_pid(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(process_cpu_time(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn milliseconds_are_shown_as_seconds() {
        let sample = ProcessSample {
            cpu_ms: 12_030,
            resident_bytes: 1,
            resident_peak_bytes: 6,
            virtual_bytes: 3,
            threads: 4,
            open_fds: 2,
            max_fds: 5,
            started_ms: 1_700_000_000_005,
        };
        let mut text = String::new();
        sample.render_into(&mut text);
        assert!(text.contains("\nprocess_cpu_seconds_total 12.030\n"), "{text}");
        assert!(text.contains("\nprocess_start_time_seconds 1700000000.005\n"), "{text}");
    }
}

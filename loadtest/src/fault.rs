//! A fault in the middle of a load: a server of the stack is killed or held, and comes back. What
//! it is and when stands on the command line; what it cost buyers is read from the generator's own
//! notes. Whoever runs the servers makes it happen.

use std::{fmt, str::FromStr, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::generator::{Kind, Note, Run};

/// When a fault happens unless another is given, seconds from the first request: the load is warm
/// by then.
const AT_S: u32 = 5;
/// How long a load goes on after a fault is over: what it did to the tail of latencies is seen by
/// then.
const AFTERWARDS_S: u32 = 15;
/// Requests a second of a load with a fault, unless another is given: any machine that sells has
/// something left to catch up with.
const RATE: f64 = 10_000.0;
/// Of a hundred buyers so many find a unit, where a scenario has too few: the sale sells out after
/// the fault.
const UNITS_PERCENT: u64 = 90;
/// The longest latency kept apart, microseconds.
const LATENCY_MAX_US: u64 = 600_000_000;

/// A server that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// Promises.
    Redis,
    /// Orders.
    Kafka,
    /// Decides.
    Mysql,
    /// The order service of `life`, which the load test starts itself.
    Orders,
}

impl Server {
    /// As the stack's command calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Kafka => "kafka",
            Self::Mysql => "mysql",
            Self::Orders => "orders",
        }
    }

    /// The stack runs it.
    pub fn is_of_stack(self) -> bool {
        self != Self::Orders
    }
}

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// SIGKILL, then it is started again with what it had.
    Kill,
    /// SIGSTOP, then SIGCONT.
    Stop,
}

/// What fails, how, when and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which server.
    pub server: Server,
    /// How.
    pub act: Act,
    /// Seconds from the first request of the last measured part.
    pub at_s: u32,
    /// Seconds until it is started again, or goes on.
    pub lasts_s: u32,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, act, at_s, lasts_s } = self;
        let act = match act {
            Act::Kill => "kill",
            Act::Stop => "stop",
        };
        write!(f, "{}-{act}@{at_s}+{lasts_s}", server.as_str())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || {
            "give redis-kill, redis-stop, kafka-kill, kafka-stop, mysql-kill, mysql-stop or, with life, orders-kill, and if you \
             like @SECOND of the load and +SECONDS that it lasts: kafka-stop@5+12"
                .to_owned()
        };
        let (what, when) = text.split_once('@').map_or((text, None), |(what, when)| (what, Some(when)));
        let (at, lasts) = match when.map(|when| when.split_once('+').unwrap_or((when, ""))) {
            None => (None, None),
            Some((at, lasts)) => (Some(at), Some(lasts).filter(|lasts| !lasts.is_empty())),
        };
        let (server, act) = what.split_once('-').ok_or_else(usage)?;
        let server = match server {
            "redis" => Server::Redis,
            "kafka" => Server::Kafka,
            "mysql" => Server::Mysql,
            "orders" => Server::Orders,
            _ => return Err(usage()),
        };
        let (act, default_s) = match (act, server) {
            ("kill", _) => (Act::Kill, 0),
            ("stop", Server::Redis) => (Act::Stop, 6),
            // Longer than the group's session, so that the writers lose their partitions.
            ("stop", Server::Kafka) => (Act::Stop, 12),
            ("stop", Server::Mysql) => (Act::Stop, 15),
            _ => return Err(usage()),
        };
        let seconds = |text: &str| text.parse().ok().filter(|seconds| *seconds <= 600).ok_or_else(usage);
        Ok(Self { server, act, at_s: at.map_or(Ok(AT_S), seconds)?, lasts_s: lasts.map_or(Ok(default_s), seconds)? })
    }
}

impl Fault {
    /// Seconds that a load must last to show what the fault does.
    pub const fn load_s(&self) -> u32 {
        self.at_s + self.lasts_s + AFTERWARDS_S
    }

    /// Requests a second when none are asked for: in a closed loop the buyers would all be gone
    /// before the fault.
    pub const fn rate(&self) -> f64 {
        RATE
    }

    /// Units for so many buyers, where a scenario wants fewer units than buyers.
    pub const fn scarce_units(&self, buyers: u32) -> u64 {
        buyers as u64 * UNITS_PERCENT / 100
    }
}

/// When it happened, from the first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultTimes {
    /// The signal was sent.
    pub from: Duration,
    /// The server answers again, or goes on.
    pub until: Duration,
}

/// What a fault cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FaultReport {
    /// As it is asked for.
    pub fault: String,
    /// When the signal was sent, seconds from the first request.
    pub at_s: f64,
    /// When the server answered again, or went on, seconds after that.
    pub lasted_s: f64,
    /// The longest time without an accepted order that ended after the signal, seconds; `null`:
    /// none was accepted any more.
    pub without_accepted_s: Option<f64>,
    /// When it began, seconds from the first request.
    pub without_accepted_from_s: Option<f64>,
    /// The longest time without a new row in the ledger's count, seconds, seen four times a second;
    /// `null`: no row came any more.
    pub without_rows_s: Option<f64>,
    /// Of promises that came before the signal, milliseconds.
    pub p99_before_ms: Option<f64>,
    /// Of promises whose requests were meant to go after orders were accepted again, milliseconds.
    pub p99_after_ms: Option<f64>,
}

impl FaultReport {
    /// What a run's notes say. `rows`: when the ledger's count grew, from the first request.
    pub fn of(fault: Fault, times: FaultTimes, run: &Run, rows: &[Duration]) -> Self {
        let from_us = micros(times.from);
        let kind = |note: &Note| run.names.get(usize::from(note.name)).map(|name| name.kind);
        let accepted = run.notes.iter().filter(|note| kind(note) == Some(Kind::Accepted));
        let gap = longest_gap(accepted.map(|note| note.at_us.into()).collect(), from_us);
        let promises = run.notes.iter().filter(|note| matches!(kind(note), Some(Kind::Accepted | Kind::Pending)));
        let before = promises.clone().filter(|note| u64::from(note.at_us) < from_us);
        let back = gap.map_or(u64::MAX, |(_, until)| until);
        let after = promises.filter(|note| u64::from(note.at_us).saturating_sub(note.latency_us.into()) >= back);
        Self {
            fault: fault.to_string(),
            at_s: times.from.as_secs_f64(),
            lasted_s: times.until.saturating_sub(times.from).as_secs_f64(),
            without_accepted_s: gap.map(|(from, until)| seconds(until - from)),
            without_accepted_from_s: gap.map(|(from, _)| seconds(from)),
            without_rows_s: longest_gap(rows.iter().map(|at| micros(*at)).collect(), from_us)
                .map(|(from, until)| seconds(until - from)),
            p99_before_ms: p99_ms(before),
            p99_after_ms: p99_ms(after),
        }
    }
}

/// The longest time between two of these moments, and before the first, that ends after `from`; all
/// in microseconds.
pub fn longest_gap(mut moments: Vec<u64>, from: u64) -> Option<(u64, u64)> {
    moments.sort_unstable();
    let begins = std::iter::once(0).chain(moments.iter().copied());
    begins.zip(moments.iter().copied()).filter(|(_, until)| *until > from).max_by_key(|(from, until)| until - from)
}

fn p99_ms<'a>(notes: impl Iterator<Item = &'a Note>) -> Option<f64> {
    let mut histogram: Histogram<u64> = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).ok()?;
    notes.for_each(|note| histogram.saturating_record(note.latency_us.into()));
    (!histogram.is_empty()).then(|| histogram.value_at_quantile(0.99) as f64 / 1_000.0)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::Name;

    #[test]
    fn a_fault_is_read_as_it_is_written() {
        let read = |text: &str| text.parse::<Fault>();
        assert_eq!(read("redis-kill").unwrap().to_string(), "redis-kill@5+0");
        assert_eq!(read("redis-stop").unwrap().to_string(), "redis-stop@5+6");
        assert_eq!(read("kafka-stop@9").unwrap().to_string(), "kafka-stop@9+12");
        assert_eq!(read("mysql-stop@2+3").unwrap().to_string(), "mysql-stop@2+3");
        assert_eq!(read("mysql-stop@2+3").unwrap().load_s(), 20);
        for wrong in
            ["", "redis", "redis-halt", "nginx-kill", "redis-kill@", "redis-kill@x", "redis-kill@1+x", "redis-kill@601"]
        {
            assert!(read(wrong).unwrap_err().contains("kafka-stop@5+12"), "{wrong}");
        }
    }

    /// Accepted every 10 ms but from 1 s to 4 s, and one refusal amid that.
    fn run() -> Run {
        let accepted = (1_u32..=500).filter(|i| !(100..400).contains(i));
        let note = |at_us, latency_us, name| Note { order: 1, send: 0, at_us, latency_us, name };
        let mut notes: Vec<Note> = accepted.map(|i| note(i * 10_000, 2_000, 0)).collect();
        // One that waited for the server, and one that was refused meanwhile.
        notes.push(note(4_000_500, 2_500_000, 0));
        notes.push(note(2_000_000, 1_000, 1));
        let names = [(Kind::Accepted, "accepted"), (Kind::Deferred, "overloaded")];
        let names = names.map(|(kind, text)| Name { kind, text: text.into() }).into();
        Run { notes, names, unsent: 0, cpu: None }
    }

    #[test]
    fn the_time_without_an_accepted_order_is_between_two_of_them_and_refusals_do_not_end_it() {
        let times = FaultTimes { from: Duration::from_millis(1_000), until: Duration::from_millis(3_000) };
        let rows = [900, 1_100, 4_500, 5_000].map(Duration::from_millis);
        let report = FaultReport::of("redis-kill@1".parse().unwrap(), times, &run(), &rows);
        assert_eq!((report.without_accepted_from_s, report.without_accepted_s), (Some(0.99), Some(3.01)));
        assert_eq!((report.at_s, report.lasted_s, report.without_rows_s), (1.0, 2.0, Some(3.4)));
        assert!(report.p99_before_ms.is_some_and(|ms| (ms - 2.0).abs() < 0.1), "{report:?}");
        assert!(
            report.p99_after_ms.is_some_and(|ms| ms < 3.0),
            "who waited through it is no buyer of afterwards: {report:?}"
        );
    }

    #[test]
    fn nothing_accepted_afterwards_has_no_time() {
        let times = FaultTimes { from: Duration::from_secs(9), until: Duration::from_secs(9) };
        let report = FaultReport::of("redis-kill@9".parse().unwrap(), times, &run(), &[]);
        assert_eq!((report.without_accepted_s, report.p99_after_ms, report.without_rows_s), (None, None, None));
    }
}

//! What fails in a seed, and when. Pure: the same seed makes the same plan.

use std::{fmt, time::Duration};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// The first fault: the sale is open and warm by then.
const FIRST_S: f64 = 6.0;
/// Nothing begins in the last seconds: what it does must be seen under load.
const LAST_S: f64 = 12.0;
/// The longest time for which a process is held.
const FROZEN_S_MAX: u64 = 40;
/// One in so many is held for longer than every session and lease.
const LONG_PERCENT: u32 = 25;
/// In so many of a hundred the next fault begins while this one lasts.
const OVERLAP_PERCENT: u32 = 25;

/// A process of the deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// An engine, by number.
    Engine(usize),
    /// An order-writer, by number.
    Writer(usize),
    /// One of the three servers, by the name that the stack gives it.
    Server(&'static str),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(number) => write!(f, "engine {}", number + 1),
            Self::Writer(number) => write!(f, "order-writer {}", number + 1),
            Self::Server(name) => f.write_str(name),
        }
    }
}

/// A database of the deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Database {
    /// Positions, counts, lanes, sales.
    Ledger,
    /// The orders of a shard.
    Shard(u16),
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    /// SIGKILL; started again so many seconds later.
    Kill(Who, u64),
    /// SIGSTOP for so many seconds.
    Freeze(Who, u64),
    /// SIGTERM; started again when it has ended.
    End(Who),
    /// FLUSHALL.
    Flush,
    /// Redis is killed and started on a copy of its files so many seconds old.
    OldRedis(u64),
    /// A database becomes again what it was so many seconds ago.
    OldDatabase(Database, u64),
    /// The topic of the orders is deleted and made anew.
    NewTopic,
    /// The merchant opens a sale now that was to open in three hours.
    BringForward,
    /// The merchant lets a sale go on that has ended.
    Prolong,
    /// Unpaid orders of at least this age in seconds expire.
    Expire(u64),
}

impl Act {
    /// By which the report sums up.
    pub(crate) fn kind(&self) -> String {
        let of = |who: &Who| match who {
            Who::Engine(_) => "an engine",
            Who::Writer(_) => "an order-writer",
            Who::Server(name) => name,
        };
        match self {
            Self::Kill(who, _) => format!("kill -9 {}", of(who)),
            Self::Freeze(who, _) => format!("SIGSTOP {}", of(who)),
            Self::End(who) => format!("SIGTERM {}", of(who)),
            Self::OldRedis(_) => "Redis on older files".into(),
            Self::OldDatabase(Database::Ledger, _) => "the ledger as it was".into(),
            Self::OldDatabase(Database::Shard(_), _) => "a shard as it was".into(),
            Self::Expire(_) => "expire".into(),
            Self::Flush | Self::NewTopic | Self::BringForward | Self::Prolong => self.to_string(),
        }
    }

    /// It takes away what Redis had acknowledged.
    pub(crate) const fn loses_stock(&self) -> bool {
        matches!(self, Self::Flush | Self::OldRedis(_))
    }

    /// It takes away what the databases had acknowledged.
    pub(crate) const fn loses_rows(&self) -> bool {
        matches!(self, Self::OldDatabase(..))
    }

    /// Seconds that it takes by itself, about.
    const fn lasts_s(&self) -> f64 {
        match self {
            Self::Kill(_, seconds) | Self::Freeze(_, seconds) => *seconds as f64,
            _ => 1.0,
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(who, again) => write!(f, "kill -9 {who}, again after {again} s"),
            Self::Freeze(who, seconds) => write!(f, "SIGSTOP {who} for {seconds} s"),
            Self::End(who) => write!(f, "SIGTERM {who}"),
            Self::Flush => write!(f, "FLUSHALL"),
            Self::OldRedis(age) => write!(f, "Redis on its files of {age} s ago"),
            Self::OldDatabase(Database::Ledger, age) => write!(f, "the ledger as it was {age} s ago"),
            Self::OldDatabase(Database::Shard(number), age) => write!(f, "shard {number} as it was {age} s ago"),
            Self::NewTopic => write!(f, "the topic of the orders made anew"),
            Self::BringForward => write!(f, "a sale brought forward by three hours"),
            Self::Prolong => write!(f, "an ended sale prolonged"),
            Self::Expire(age) => write!(f, "expire --older-than {age}"),
        }
    }
}

/// A fault with its moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// From the first purchase.
    pub(crate) at: Duration,
    /// What happens.
    pub(crate) act: Act,
}

/// How large the deployment is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Engines.
    pub(crate) engines: usize,
    /// Order-writers.
    pub(crate) writers: usize,
    /// Databases of orders.
    pub(crate) shards: u16,
    /// Seconds of a seed.
    pub(crate) seconds: u64,
}

/// All faults of a seed in the order of their moments. Odd seeds lose what the stock or the
/// databases had, even ones what the log had: of what both lost nobody can say what must be.
pub(crate) fn plan(seed: u64, extent: Extent) -> Vec<Event> {
    let mut random = StdRng::seed_from_u64(seed);
    let end = extent.seconds as f64 - LAST_S;
    let mut events = Vec::new();
    // The merchant's part: the first sale of two is brought forward early, so that faults come
    // after it.
    let mut add = |at: f64, act| events.push(Event { at: Duration::from_secs_f64(at), act });
    add(FIRST_S, Act::BringForward);
    add(extent.seconds as f64 * 0.5, Act::Prolong);
    add(extent.seconds as f64 * 0.7, Act::Expire(extent.seconds / 3));
    let mut at = FIRST_S + 2.0;
    while at < end {
        let act = draw(&mut random, seed, extent, at, end);
        add(at, act);
        let wait = if random.random_range(0..100) < OVERLAP_PERCENT { act.lasts_s() / 2.0 } else { act.lasts_s() };
        at += wait + random.random_range(2.0..5.0);
    }
    if seed.is_multiple_of(2) {
        add(extent.seconds as f64 * 0.4, Act::NewTopic);
    }
    events.sort_by_key(|event| event.at);
    events
}

fn draw(random: &mut impl Rng, seed: u64, extent: Extent, at: f64, end: f64) -> Act {
    let who = who(random, extent);
    // What is held at the end is let go: nothing may be held for longer than is left.
    let left = (end + LAST_S / 2.0 - at).max(1.0) as u64;
    let age = random.random_range(3..=(at as u64).min(15));
    let loses = !seed.is_multiple_of(2);
    match random.random_range(0..100) {
        0..30 => Act::Kill(who, random.random_range(0..=3)),
        30..55 => {
            let long = random.random_range(0..100) < LONG_PERCENT;
            let seconds = if long { random.random_range(10..=FROZEN_S_MAX) } else { random.random_range(1..=8) };
            Act::Freeze(who, seconds.min(left))
        }
        55..70 => Act::End(who),
        70..80 if loses => Act::Flush,
        80..86 if loses => Act::OldRedis(age),
        86..96 if loses => Act::OldDatabase(Database::Shard(random.random_range(0..extent.shards)), age),
        96..100 if loses => Act::OldDatabase(Database::Ledger, age),
        _ => Act::Kill(who, 0),
    }
}

fn who(random: &mut impl Rng, extent: Extent) -> Who {
    match random.random_range(0..100) {
        0..30 => Who::Engine(random.random_range(0..extent.engines)),
        30..60 => Who::Writer(random.random_range(0..extent.writers)),
        _ => Who::Server(["redis", "kafka", "mysql"].choose(random).copied().unwrap_or("redis")),
    }
}

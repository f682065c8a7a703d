//! The queues of a plan, simulated: the load rises step by step, and whatever cannot follow is
//! named, with the rate at which it was left behind. What broke is then taken to be without limit,
//! so that the next one shows. It is a model of queues that draws its bursts from a seed; it knows
//! neither pauses of a garbage collector nor a disk.

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde::Serialize;

use super::{Figures, LANES_MAX, LOG_COPIES, Plan, REDIS_SLOTS, SECOND_NS};

/// Seconds of a tick.
const TICK_S: f64 = 0.05;
/// Ticks for which a load is held.
const TICKS: u32 = 40;
/// The load of the first step and the rise of each, percent of the peak.
const STEP_PERCENT: u64 = 5;
/// The last load: what carries five times the peak is left out.
const LAST_PERCENT: u64 = 500;
/// What an order may wait for a station: the objective of lane and log (`ops/objectives.py`).
const WAIT_S_MAX: f64 = 0.25;
/// Purchases under way in one engine (`FLASHSALE_PERMITS`).
const PERMITS: f64 = 16_384.0;
/// Batches of a lane that are promised and not yet rows (`FLASHSALE_JOURNAL_MAX`), each full.
const JOURNAL: f64 = 50_000.0 * domain::record::BATCH_MAX as f64;

/// Where orders wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Station {
    /// An engine's cores.
    Engine,
    /// A master of Redis: one core for all lanes whose slots it has.
    Redis,
    /// A broker's cores.
    Kafka,
    /// A partition: decided by one order-writer, span after span.
    Partition,
    /// All order-writers' cores.
    Writer,
    /// A primary's cores.
    Mysql,
}

impl Station {
    const ALL: [Self; 6] = [Self::Engine, Self::Redis, Self::Kafka, Self::Partition, Self::Writer, Self::Mysql];

    /// What buyers and operators see when it cannot follow.
    pub fn then(self) -> &'static str {
        match self {
            Self::Engine | Self::Redis => {
                "answers take longer until the engines' permits are used up; then 503 `overloaded`, with Retry-After. \
                 Nothing is promised that is not kept"
            }
            Self::Kafka => {
                "after 3 s buyers hear `pending` instead of `accepted`, then permits are used up: 503 `overloaded`"
            }
            Self::Partition | Self::Writer | Self::Mysql => {
                "buyers hear `accepted` as before, rows come later (`log_lag_records` grows); when the lanes' journals \
                 are full they promise nothing more until rows are there"
            }
        }
    }
}

/// A station that could not follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Break {
    /// Which.
    pub station: Station,
    /// Which of them, from 0.
    pub number: usize,
    /// Orders a second that were sent.
    pub orders_per_s: u64,
    /// The same, percent of the plan's peak.
    pub percent: u64,
    /// Percent of the orders that this one of them gets.
    pub share_percent: u64,
    /// Seconds at that load until buyers notice it beyond longer answers; none where the load is
    /// no more than it carries.
    pub seconds: Option<u64>,
    /// What then.
    pub then: &'static str,
}

/// What the simulation showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Another seed spreads lanes otherwise over the masters.
    pub seed: u64,
    /// In their order; what is not among them carries five times the peak.
    pub breaks: Vec<Break>,
}

/// How orders come to the units of a station.
enum Spread {
    /// Whoever is next: each tick otherwise.
    Random,
    /// The unit of each lane.
    ByLane(Vec<usize>),
}

struct Units {
    station: Station,
    /// Orders that one of them does in a tick; without bound once it broke.
    capacity: f64,
    count: usize,
    spread: Spread,
    /// Orders that wait, by lane.
    waiting: Vec<f64>,
    /// Share of the load of each unit in the last tick.
    shares: Vec<f64>,
    /// Orders that wait before each unit.
    queues: Vec<f64>,
}

impl Units {
    /// Takes what comes, by lane, and leaves in it what goes on.
    fn work(&mut self, lanes: &mut [f64], random: &mut SmallRng) {
        for (waiting, coming) in self.waiting.iter_mut().zip(&*lanes) {
            *waiting += coming;
        }
        let total: f64 = self.waiting.iter().sum();
        self.share(total, random);
        let served: Vec<f64> = self.shares.iter().map(|share| (share * total).min(self.capacity)).collect();
        self.queues = self.shares.iter().zip(&served).map(|(share, served)| share * total - served).collect();
        let ratio = |served: f64, of: f64| if of > 0.0 { served / of } else { 1.0 };
        for (lane, (waiting, going)) in self.waiting.iter_mut().zip(lanes).enumerate() {
            let part = match &self.spread {
                Spread::Random => ratio(served.iter().sum(), total),
                Spread::ByLane(units) => ratio(served[units[lane]], self.shares[units[lane]] * total),
            };
            *going = *waiting * part;
            *waiting -= *going;
        }
    }

    /// Which part of all that waits stands before which unit.
    fn share(&mut self, total: f64, random: &mut SmallRng) {
        self.shares.fill(0.0);
        match &self.spread {
            Spread::Random => {
                let even = total / self.count as f64;
                self.shares.iter_mut().for_each(|share| *share = burst(even, random));
            }
            Spread::ByLane(units) => {
                for (waiting, unit) in self.waiting.iter().zip(units) {
                    self.shares[*unit] += waiting;
                }
            }
        }
        let sum: f64 = self.shares.iter().sum();
        if sum > 0.0 {
            self.shares.iter_mut().for_each(|share| *share /= sum);
        }
    }

    /// The unit before which an order waits longest, when that is too long.
    fn broken(&self) -> Option<usize> {
        let longest = self.queues.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        (longest.1 / self.capacity * TICK_S > WAIT_S_MAX).then_some(longest.0)
    }
}

/// So many as come by chance where `mean` come on average: the mean and a nearly normal part of its
/// root, of four even draws, whose sum has a variance of a third.
fn burst(mean: f64, random: &mut SmallRng) -> f64 {
    let draws: f64 = (0..4).map(|_| f64::from(random.random::<u32>()) / f64::from(u32::MAX)).sum();
    ((draws - 2.0) * (3.0 * mean).sqrt() + mean).max(0.0)
}

fn number(station: Station, plan: &Plan) -> u64 {
    let role = |name: &str| plan.roles.iter().find(|role| role.role == name).map_or(1, |role| role.machines);
    match station {
        Station::Engine => role("engine"),
        Station::Redis => plan.redis_masters,
        Station::Kafka => role("kafka"),
        Station::Partition => plan.partitions,
        Station::Writer => 1,
        Station::Mysql => plan.primaries,
    }
}

/// Orders a second that one unit carries with all its cores.
fn orders_per_s(station: Station, plan: &Plan, figures: &Figures) -> f64 {
    let (cores, basis) = (plan.wanted.cores, plan.wanted.basis);
    let carried = |cores: u64, ns: u64| (cores * SECOND_NS) as f64 / ns as f64;
    let writers = plan.roles.iter().find(|role| role.role == "order-writer").map_or(1, |role| role.machines);
    match station {
        Station::Engine => {
            let beside = plan.wanted.refusals * figures.refusal_ns.on(basis);
            let order = figures.engine_ns.on(basis) + beside / plan.wanted.peak;
            carried(cores, order)
        }
        Station::Redis => carried(1, figures.redis_ns.on(basis)),
        Station::Kafka => carried(cores, LOG_COPIES * figures.kafka_ns.on(basis)),
        Station::Partition => figures.partition_orders_per_s.on(basis) as f64,
        Station::Writer => carried(cores * writers, figures.writer_ns.on(basis)),
        Station::Mysql => carried(cores, figures.mysql_ns.on(basis)),
    }
}

fn units(station: Station, plan: &Plan, figures: &Figures, lanes: usize, random: &mut SmallRng) -> Units {
    let count = number(station, plan).max(1) as usize;
    let spread = match station {
        Station::Engine | Station::Writer | Station::Mysql => Spread::Random,
        // A lane's slot is the hash of its number: as good as drawn.
        Station::Redis => Spread::ByLane(
            (0..lanes).map(|_| (random.random_range(0..REDIS_SLOTS) as usize) * count / REDIS_SLOTS as usize).collect(),
        ),
        Station::Kafka | Station::Partition => {
            let partitions = plan.partitions.max(1) as usize;
            Spread::ByLane((0..lanes).map(|lane| lane % partitions % count).collect())
        }
    };
    Units {
        station,
        capacity: orders_per_s(station, plan, figures) * TICK_S,
        count,
        spread,
        waiting: vec![0.0; lanes],
        shares: vec![0.0; count],
        queues: vec![0.0; count],
    }
}

/// Raises the load on a plan until everything broke, or five times its peak is carried. The same
/// seed shows the same.
pub fn what_breaks(plan: &Plan, figures: &Figures, seed: u64) -> Broken {
    let mut random = SmallRng::seed_from_u64(seed);
    let lanes = plan.lanes.clamp(1, LANES_MAX) as usize;
    let mut stations = Station::ALL.map(|station| units(station, plan, figures, lanes, &mut random));
    let mut breaks = Vec::new();
    for percent in (STEP_PERCENT..=LAST_PERCENT).step_by(STEP_PERCENT as usize) {
        let orders_per_s = plan.wanted.peak * percent / 100;
        for _ in 0..TICKS {
            tick(orders_per_s, lanes, &mut stations, &mut random);
        }
        while let Some((units, unit)) = stations.iter_mut().find_map(|units| units.broken().map(|unit| (units, unit))) {
            breaks.push(broke(units, unit, (orders_per_s, percent), plan));
            units.capacity = f64::INFINITY;
            units.queues.fill(0.0);
        }
        if breaks.len() == stations.len() {
            break;
        }
    }
    Broken { seed, breaks }
}

fn tick(orders_per_s: u64, lanes: usize, stations: &mut [Units], random: &mut SmallRng) {
    let mean = orders_per_s as f64 * TICK_S / lanes as f64;
    let mut going: Vec<f64> = (0..lanes).map(|_| burst(mean, random)).collect();
    for units in stations {
        units.work(&mut going, random);
    }
}

fn broke(units: &Units, unit: usize, (orders_per_s, percent): (u64, u64), plan: &Plan) -> Break {
    let share = match &units.spread {
        Spread::Random => 1.0 / units.count as f64,
        Spread::ByLane(of) => of.iter().filter(|of| **of == unit).count() as f64 / of.len() as f64,
    };
    let room = match units.station {
        Station::Engine => PERMITS,
        // Its lanes hold permits of all engines.
        Station::Redis | Station::Kafka => PERMITS * number(Station::Engine, plan) as f64,
        Station::Partition | Station::Writer | Station::Mysql => JOURNAL * plan.lanes as f64 * share,
    };
    let excess = orders_per_s as f64 * share - units.capacity / TICK_S;
    Break {
        station: units.station,
        number: unit,
        orders_per_s,
        percent,
        share_percent: (share * 100.0).round() as u64,
        seconds: (excess > 0.0).then(|| (room / excess).ceil() as u64),
        then: units.station.then(),
    }
}

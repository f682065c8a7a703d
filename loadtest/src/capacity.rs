//! Capacity: from the measured cost of an order to machines, Redis masters and slots, partitions,
//! shards, network and cost; and a seeded simulation of the queues, which shows what breaks first.
//! Pure: figures and wishes in, numbers out. A plan is arithmetic and no measurement: whoever
//! stakes a launch on it loads the machines before.

mod breaks;
mod figures;
mod prices;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use self::{
    breaks::{Break, Broken, Station, what_breaks},
    figures::{Basis, FIGURES, Figure, Figures},
    prices::{Cost, EXAMPLE as PRICES_EXAMPLE, Prices},
};

/// Slots of a Redis Cluster.
pub const REDIS_SLOTS: u64 = 16_384;
/// Masters that a Redis Cluster has at least, and brokers for three copies.
const QUORUM: u64 = 3;
/// Copies of a record in the log (`FLASHSALE_KAFKA_REPLICATION`).
pub const LOG_COPIES: u64 = 3;
/// Shards that a deployment takes at most (`domain::shard`).
const SHARDS_MAX: u64 = 64;
/// Worker numbers of engines.
const ENGINES_MAX: u64 = 256;
/// Lanes of a sale.
const LANES_MAX: u64 = domain::sale::LANES_MAX as u64;
/// A second in nanoseconds.
const SECOND_NS: u64 = 1_000_000_000;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::Args)]
pub struct Wanted {
    /// Durable orders a second at the peak.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub peak: u64,
    /// Refusals a second beside them, of who comes when it is sold out.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    pub refusals: u64,
    /// Live orders that Redis holds while the sale lasts: its units. Ten minutes of the peak unless
    /// it is given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub units: Option<u64>,
    /// Lanes over which buyers are spread evenly; as few as can carry the peak unless it is given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub lanes: Option<u64>,
    /// Cores of a machine.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(2..=1_024))]
    pub cores: u64,
    /// Memory of a machine, GiB.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub memory_gib: u64,
    /// Network of a machine, Gbit/s in each direction.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub network_gbit: u64,
    /// How busy a core may be at the peak, percent: the rest is for bursts, and for who takes over
    /// when a machine dies.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub busy_percent: u64,
    /// The hour of the measured machine that the plan rests on.
    #[arg(long, value_enum, default_value_t)]
    pub basis: Basis,
}

/// Machines of one role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Role {
    /// What runs there.
    pub role: &'static str,
    /// Processes, or nodes of the server.
    pub processes: u64,
    /// Machines, with one more than the peak needs.
    pub machines: u64,
    /// Cores at work at the peak, in thousandths.
    pub milli_cores: u64,
    /// What comes in and goes out, Mbit/s, all machines together.
    pub network_mbit: u64,
    /// What the number of machines follows from.
    pub by: &'static str,
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// What was asked for.
    pub wanted: Wanted,
    /// Engines, Redis, Kafka, order-writers, MySQL.
    pub roles: Vec<Role>,
    /// All machines.
    pub machines: u64,
    /// Lanes over which the peak is spread.
    pub lanes: u64,
    /// Orders a second that one lane carries at most.
    pub lane_orders_per_s: u64,
    /// Partitions of the log.
    pub partitions: u64,
    /// Shards, each a database of its own.
    pub shards: u64,
    /// Servers for the shards that take writes; as many again follow them.
    pub primaries: u64,
    /// Masters of Redis; as many again follow them.
    pub redis_masters: u64,
    /// Slots of each master, at most.
    pub slots_per_master: u64,
    /// What Redis holds at most, all masters together, MiB.
    pub redis_mib: u64,
    /// What it costs, by the user's prices.
    pub cost: Option<Cost>,
    /// What cannot be as it was asked for, and what to do.
    pub findings: Vec<String>,
    /// Figures that nobody measured.
    pub assumed: Vec<String>,
}

/// A rate that part of a core carries.
fn rate(ns: u64, busy_percent: u64) -> u64 {
    (SECOND_NS * busy_percent / 100 / ns).max(1)
}

/// Mbit/s of so many bytes, so many times a second.
fn mbit(bytes: u64, times: u64) -> u64 {
    (bytes * times * 8).div_ceil(1_000_000)
}

/// What a role does at the peak.
struct Work {
    role: &'static str,
    /// CPU a second, ns.
    ns: u64,
    network_mbit: u64,
    memory_mib: u64,
    /// Machines that there must be, whatever they do: one of them may die.
    least: u64,
    /// Nodes of a server, and the cores of each; none: one process takes its machine.
    nodes: Option<(u64, u64)>,
}

impl Work {
    fn role(&self, wanted: &Wanted) -> Role {
        let cores = self.ns.div_ceil(SECOND_NS * wanted.busy_percent / 100);
        let nodes = self.nodes.map_or(0, |(nodes, each)| nodes.div_ceil((wanted.cores / each).max(1)));
        // One more than the peak needs: the sale goes on when one of them dies.
        let needs = [
            (cores.div_ceil(wanted.cores) + 1, "CPU"),
            (self.network_mbit.div_ceil(wanted.network_gbit * 10 * wanted.busy_percent) + 1, "network"),
            // Half of a machine's memory is for the system and the server's own.
            (self.memory_mib.div_ceil(wanted.memory_gib * 512) + 1, "memory"),
            (nodes, "nodes"),
            (self.least, "copies"),
        ];
        // The first of those that need the most.
        let (machines, by) = needs.into_iter().rev().max_by_key(|(machines, _)| *machines).unwrap_or((self.least, ""));
        Role {
            role: self.role,
            processes: self.nodes.map_or(machines, |(nodes, _)| nodes),
            machines,
            milli_cores: self.ns.div_ceil(SECOND_NS / 1_000),
            network_mbit: self.network_mbit,
            by,
        }
    }
}

/// Plans.
pub fn plan(wanted: &Wanted, figures: &Figures, prices: Option<&Prices>) -> Plan {
    let (peak, on) = (wanted.peak, |figure: &Figure| figure.on(wanted.basis));
    let redis_rate = rate(on(&figures.redis_ns), wanted.busy_percent);
    let partition_rate = (on(&figures.partition_orders_per_s) * wanted.busy_percent / 100).max(1);
    let lane_orders_per_s = redis_rate.min(partition_rate);
    let needed_lanes = peak.div_ceil(lane_orders_per_s);
    let lanes = wanted.lanes.unwrap_or(needed_lanes);
    let redis_masters = peak.div_ceil(redis_rate).max(QUORUM);
    let partitions = peak.div_ceil(partition_rate);
    let units = wanted.units.unwrap_or(peak * 600);
    let redis_mib = (on(&figures.redis_live_bytes) * units).div_ceil(1 << 20);
    let primary_rate = wanted.cores * rate(on(&figures.mysql_ns), wanted.busy_percent);
    let primaries = peak.div_ceil(primary_rate);
    let shards = primaries.max(2);
    let work = work(wanted, figures, (redis_masters, redis_mib, primaries));
    let roles: Vec<Role> = work.iter().map(|work| work.role(wanted)).collect();
    let machines = roles.iter().map(|role| role.machines).sum();
    let limits = [
        ("engines", roles.first().map_or(0, |role| role.processes), ENGINES_MAX),
        ("partitions", partitions, kit::settings::DIVISIONS_MAX),
        ("shards", shards, SHARDS_MAX),
        ("lanes", lanes, LANES_MAX),
    ];
    let mut findings: Vec<String> = limits
        .iter()
        .filter(|(_, needed, most)| needed > most)
        .map(|(what, needed, most)| {
            let parts = needed.div_ceil(*most);
            format!("{needed} {what}, and a deployment takes {most}: part the sale among {parts} deployments")
        })
        .collect();
    if lanes < needed_lanes {
        let most = lanes * lane_orders_per_s;
        findings.push(format!(
            "{lanes} lanes carry {most} orders/s, a lane {lane_orders_per_s}: part the offers among {needed_lanes} lanes"
        ));
    }
    let towards_buyers = on(&figures.answer_bytes) * (peak + wanted.refusals);
    let assumed = figures
        .each()
        .into_iter()
        .filter_map(|(name, figure)| figure.assumed.as_ref().map(|why| format!("{name} = {}: {why}", on(figure))));
    Plan {
        wanted: *wanted,
        machines,
        lanes,
        lane_orders_per_s,
        partitions,
        shards,
        primaries,
        redis_masters,
        slots_per_master: REDIS_SLOTS.div_ceil(redis_masters),
        redis_mib,
        cost: prices.map(|prices| prices.of(machines, towards_buyers)),
        findings,
        assumed: assumed.collect(),
        roles,
    }
}

/// What each role does, the engines first.
fn work(wanted: &Wanted, figures: &Figures, (masters, redis_mib, primaries): (u64, u64, u64)) -> [Work; 5] {
    let (peak, on) = (wanted.peak, |figure: &Figure| figure.on(wanted.basis));
    let log = mbit(on(&figures.log_bytes), peak);
    let asked = mbit(on(&figures.request_bytes) + on(&figures.answer_bytes), peak + wanted.refusals);
    let [redis, rows] = [&figures.redis_wire_bytes, &figures.row_bytes].map(|bytes| mbit(on(bytes), peak));
    [
        Work {
            role: "engine",
            ns: peak * on(&figures.engine_ns) + wanted.refusals * on(&figures.refusal_ns),
            network_mbit: asked + redis + log,
            memory_mib: 0,
            least: 2,
            nodes: None,
        },
        Work {
            role: "redis",
            // Its replica does what its master does; each takes a core, and one for its file.
            ns: 2 * peak * on(&figures.redis_ns),
            network_mbit: 2 * redis,
            memory_mib: 2 * redis_mib,
            least: QUORUM,
            nodes: Some((2 * masters, 2)),
        },
        Work {
            role: "kafka",
            // A follower costs at most what the leader does.
            ns: LOG_COPIES * peak * on(&figures.kafka_ns),
            // In once for each copy, and out to followers, order-writers and who reads events.
            network_mbit: 2 * LOG_COPIES * log,
            memory_mib: 0,
            least: LOG_COPIES,
            nodes: None,
        },
        Work {
            role: "order-writer",
            ns: peak * on(&figures.writer_ns),
            network_mbit: log + rows,
            memory_mib: 0,
            least: 2,
            nodes: None,
        },
        Work {
            role: "mysql",
            ns: 2 * peak * on(&figures.mysql_ns),
            network_mbit: 2 * rows,
            memory_mib: 0,
            least: 2,
            nodes: Some((2 * primaries, wanted.cores)),
        },
    ]
}

//! What a worker stands on: the ports of the stores as one value, and why it may have to stop.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{
    id::{Generation, PartitionId, SaleId},
    sale::Sale,
};
use kit::clock::Clock;
use store::{
    ledger::Ledger,
    log::{DeadLetters, OrderLog, OrderLogSource, ReadError, SalesPublisher, Topics, Unacknowledged},
    orders::Orders,
    sql::{Sql, SqlError},
    stock::{LaneKeeping, StockError},
};
use tokio::sync::watch;

use crate::{failpoint::Failpoint, metrics::Metrics, rhythm::Busy, settling::SETTLING, stalls::Stalls};

/// The kinds of stores a deployment has.
pub trait Ports: Clone + Send + Sync + 'static {
    /// Databases.
    type Sql: Sql;
    /// Lanes.
    type Stock: LaneKeeping;
    /// Appending.
    type Log: OrderLog + Topics + DeadLetters + SalesPublisher;
    /// Reading.
    type Source: OrderLogSource;
    /// Time.
    type Clock: Clock;
}

/// All published sales, newest versions.
pub type Sales = Arc<BTreeMap<SaleId, Sale>>;

/// What every worker of this process shares.
pub struct Shared<P: Ports> {
    /// Order rows and progress, in all shards.
    pub orders: Orders<P::Sql>,
    /// Positions, units sold, epochs.
    pub ledger: Ledger<P::Sql>,
    /// The lanes' stock, to settle and to load.
    pub stock: P::Stock,
    /// Appends records, dead letters and sales.
    pub log: P::Log,
    /// Opens readers of partitions.
    pub source: P::Source,
    /// The time of looks, waits and epochs.
    pub clock: P::Clock,
    /// The sales, as the ledger's database has them.
    pub sales: watch::Receiver<Sales>,
    /// How far each partition of this process is decided: for the group's lag displays only.
    pub decided: Mutex<BTreeMap<PartitionId, u64>>,
    /// Which partitions stand still, and why.
    pub stalls: Stalls,
    /// Everything measured.
    pub metrics: Arc<Metrics>,
    /// Where a crash test wants this process dead.
    pub failpoint: Failpoint,
    /// Partitions whose spans follow each other.
    pub busy: Busy,
    /// How often and how long.
    pub pace: Pace,
}

impl<P: Ports> Shared<P> {
    /// Notes how far a partition is decided.
    pub fn note_decided(&self, partition: PartitionId, next_offset: u64) {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, next_offset);
    }

    /// Takes what was noted since the last call.
    pub fn take_decided(&self) -> BTreeMap<PartitionId, u64> {
        std::mem::take(&mut *self.decided.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Pace and bounds of the workers.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How often a keeper looks at its lanes, and how long a read waits.
    pub look_every: Duration,
    /// Under load the spans of all partitions together begin this far apart, so that a commit is
    /// shared by all that came meanwhile.
    pub gather: Duration,
    /// How long an appended epoch record may take to be decided before the keeper asks again.
    pub rebuild_patience: Duration,
    /// Longest wait between two attempts to go on after a fault.
    pub retry_max: Duration,
    /// How long a lane stays open after its sale's end before it is retired; `None`: for ever
    /// (R14).
    pub settling: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look_every: Duration::from_millis(250),
            gather: Duration::from_millis(40),
            rebuild_patience: Duration::from_secs(10),
            retry_max: Duration::from_secs(1),
            settling: Some(SETTLING),
        }
    }
}

/// Why a worker cannot go on from what it holds in memory. Whatever the reason, it reads everything
/// anew before it goes on: an unknown outcome (a lost COMMIT answer too) is found out by reading
/// the position again.
///
/// None of them comes from what a record says: such a record is parked with its cause, a row that
/// the database refuses ([`SqlError::Unfit`], [`SqlError::KeyTaken`]) is left out and parked, and a
/// lane whose stock answers nonsense ([`StockError::Broken`]) is set aside
/// ([`apart`](crate::apart)), and one whose server does not answer while others' do is left out
/// ([`away`](crate::away)). What is left waits for something that is mended elsewhere, and goes on
/// by itself then: [`stalls`](crate::stalls) shows operators which partition waits, how long and
/// for what.
///
/// What each one waits for:
///
/// - `Fenced`: nothing; the other writer's position is read.
/// - `Sql`, [`is_unknown`](SqlError::is_unknown) or [`is_retryable`](SqlError::is_retryable): the
///   database, which is down, slow, full or locked.
/// - `Sql`, [`SqlError::Broken`]: an operator; a damaged file or row, rights, schema, an assertion
///   of the ledger.
/// - `Stock`, [`is_retryable`](StockError::is_retryable): the lanes' server, which is down, loading
///   or busy for every lane.
/// - `Stock`, [`StockError::Broken`]: an operator; the server refuses every lane (memory, rights).
/// - `Read`, `Append`: the log, also for parking.
/// - `LostRecords`: nothing; resuming begins a new generation.
/// - `NewerRecord`: a newer program, or an operator who sets the record aside
///   ([`parked`](crate::parked)).
/// - `Contradiction`: an operator; the stores do not agree, the text says what to restore.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// Somebody else moved the partition: this worker's memory is stale.
    #[error("partition {0} was moved by another writer")]
    Fenced(PartitionId),
    /// The database did not answer as it should.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The lanes' server did not answer as it should.
    #[error(transparent)]
    Stock(#[from] StockError),
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log did not acknowledge.
    #[error(transparent)]
    Append(#[from] Unacknowledged),
    /// A record of a type this program does not know: only a newer program may go on.
    #[error(
        "partition {partition} stops at offset {offset}: {cause}; run a newer order-writer, or set this record aside with \
         `parked skip {partition} {offset}`"
    )]
    NewerRecord {
        /// The partition.
        partition: PartitionId,
        /// Where.
        offset: u64,
        /// What.
        cause: String,
    },
    /// The log is not the one that the position belongs to: a new generation begins (R10).
    #[error("partition {partition}: the log lost records: {what}")]
    LostRecords {
        /// The partition.
        partition: PartitionId,
        /// The generation that lost them.
        generation: Generation,
        /// What was found.
        what: String,
    },
    /// The stores contradict each other in a way that no rule covers.
    #[error("partition {partition}: {what}")]
    Contradiction {
        /// The partition.
        partition: PartitionId,
        /// What was found and what to do.
        what: String,
    },
}

impl Halt {
    /// Its stable name, for metrics.
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Fenced(_) => "fenced",
            Self::Sql(_) => "sql",
            Self::Stock(_) => "stock",
            Self::Read(_) => "read",
            Self::Append(_) => "append",
            Self::NewerRecord { .. } => "newer_record",
            Self::LostRecords { .. } => "lost_records",
            Self::Contradiction { .. } => "contradiction",
        }
    }
}

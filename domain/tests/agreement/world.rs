//! The world of one seed: the stores, the buyers, two writers, and what happens next.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use domain::{
    decide::{LaneLedger, OfferLedger},
    id::{BatchId, BuyerId, Epoch, Generation, LaneId, OfferId, OrderId, PartitionId, RecordId, Slot},
    invariant::Invariant,
    order::Status,
    record::{Genesis, Record},
};

use crate::{
    buyers::Buyers,
    faults::Backup,
    redis::Redis,
    rng::Rng,
    stores::{Ledger, Log, Mark, Tables},
    tails::Moments,
    writer::Process,
    wrong::Wrong,
};

/// Writers, each also keeper.
pub const PROCESSES: usize = 2;

/// What a run must have seen, over some seeds.
pub const EVENTS: [&str; 38] = [
    "reserved",
    "repeat",
    "mismatch",
    "limit",
    "sold out",
    "answer lost",
    "append acknowledged",
    "append unclear",
    "swept",
    "replay",
    "duplicate",
    "superseded",
    "fast path",
    "released",
    "release repeated",
    "redis restarted",
    "redis flushed",
    "writer died",
    "writer fenced",
    "rebuilt",
    "load refused",
    "allotment changed",
    "retired",
    "log lost records",
    "log lost under a writer",
    "generation begun",
    "lane retired",
    "lane reopened",
    "keys deleted",
    "asked for after the end",
    "none by the rows",
    "ledger restored",
    "released during a load",
    "rows lost",
    "rows written again",
    "mark taken",
    "limit raised",
    "limit lowered",
];

/// When a run begins, in epoch milliseconds.
const STARTS_MS: u64 = 1_767_225_600_000;
/// Between two steps: some of them are more than the margin of an hour.
const STEP_MS: u64 = 600_000;

/// What does not hold, and how it was seen.
#[derive(Debug, Clone)]
pub struct Violation(pub Invariant, pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.id(), self.1)
    }
}

/// The outcome of a step.
pub type Played<T = ()> = Result<T, Violation>;

/// How often what happens in this run: every seed has its own mixture, with some things left out.
#[derive(Debug, Clone, Copy)]
pub struct Mixture {
    pub steps: u64,
    pub reserve: usize,
    pub append: usize,
    pub sweep: usize,
    pub advance: [usize; PROCESSES],
    pub kill: usize,
    pub cancel: usize,
    pub relay: usize,
    pub restart: usize,
    pub publish: usize,
    pub distrust: usize,
    pub lose: usize,
    pub end: usize,
    pub restore: usize,
    /// See [`Mixture::with_restored_tails`].
    pub tails: usize,
    /// Whether limits per buyer change too.
    pub limits: bool,
}

impl Mixture {
    fn draw(rng: &mut Rng) -> Self {
        let mut mixture = Self {
            steps: rng.range(80, 320),
            reserve: rng.pick(&[4, 8, 16]),
            append: rng.pick(&[2, 6]),
            sweep: rng.pick(&[1, 4]),
            advance: [rng.pick(&[16, 40]), rng.pick(&[0, 2, 16, 40])],
            kill: rng.pick(&[0, 0, 1, 3]),
            cancel: rng.pick(&[0, 2, 5]),
            relay: rng.pick(&[1, 4]),
            restart: rng.pick(&[0, 0, 1, 2]),
            publish: rng.pick(&[0, 0, 1, 3]),
            distrust: rng.pick(&[0, 0, 1]),
            lose: rng.pick(&[0, 0, 0, 1]),
            restore: rng.pick(&[0, 0, 0, 1]),
            tails: 0,
            end: 0,
            limits: false,
        };
        // A merchant who changes what is for sale while units come back.
        if rng.once_in(3) {
            (mixture.publish, mixture.cancel, mixture.relay) = (6, 12, 12);
            (mixture.reserve, mixture.append, mixture.steps) = (12, 8, mixture.steps + 200);
        }
        mixture
    }
}

/// The sale as the catalog publishes it: its version, and the allotments it wants.
#[derive(Debug, Clone, Default)]
pub struct Published {
    pub version: u32,
    pub limits: BTreeMap<LaneId, u32>,
    pub allotments: BTreeMap<OfferId, u64>,
    /// Those of every version.
    pub history: BTreeMap<u32, BTreeMap<OfferId, u64>>,
}

/// Everything.
#[derive(Debug)]
pub struct World {
    pub rng: Rng,
    pub wrong: Option<Wrong>,
    pub mixture: Mixture,
    pub now_ms: u64,
    pub redis: Redis,
    pub log: Log,
    pub tables: Tables,
    pub ledger: Ledger,
    pub processes: [Option<Process>; PROCESSES],
    pub buyers: Buyers,
    pub published: Published,
    /// What the last decided change of each offer wants, by what was published: not what the ledger
    /// says of it.
    pub targets: BTreeMap<OfferId, u64>,
    /// The highest limit per buyer that each lane ever had.
    pub limits_most: BTreeMap<LaneId, u32>,
    pub events: BTreeMap<&'static str, u64>,
    /// Records that were set aside.
    pub skips: BTreeSet<RecordId>,
    /// Times the log lost records.
    pub losses: u64,
    /// Batches that the log had and lost.
    pub fallen: BTreeSet<BatchId>,
    /// The sale is over, until it is prolonged.
    pub over: bool,
    /// Lanes that were opened after they were retired.
    pub reopened: BTreeSet<LaneId>,
    /// The ledger after its last commits, with the targets of then, oldest first.
    pub backups: VecDeque<Backup>,
    /// Where the ledger was before it was restored to an older moment.
    pub was_at: Option<Mark>,
    /// When the sale was to open by its first version. It was brought forward and opened at once.
    pub first_opens_ms: u64,
    /// What the databases held at earlier moments.
    pub moments: Moments,
    /// Nothing new is asked for any more.
    pub ending: bool,
    /// See [`World::forged`].
    pub forged: bool,
    next_id: u64,
    trace: Option<Vec<String>>,
}

/// Tells a step, if anybody listens.
macro_rules! tell {
    ($world:expr, $($what:tt)*) => {
        if $world.is_traced() {
            let told = format!($($what)*);
            $world.told(told);
        }
    };
}
pub(crate) use tell;

pub fn id<T: TryFrom<u64>>(number: u64) -> T
where
    T::Error: fmt::Debug,
{
    T::try_from(number).unwrap()
}

impl World {
    pub fn new(seed: u64, wrong: Option<Wrong>) -> Self {
        let mut rng = Rng::new(seed);
        let mut mixture = Mixture::draw(&mut rng).with_restored_tails(seed % 4 == 3);
        // Of the other seeds each plays what it did before sales ended.
        mixture.end = if seed % 4 == 1 { rng.pick(&[2, 4, 8]) } else { 0 };
        mixture = mixture.with_limits(seed % 8 == 6);
        if let Some(wrong) = wrong {
            wrong.favour(&mut mixture);
        }
        let mut world = Self {
            redis: Redis::new(mixture.restart > 0),
            mixture,
            wrong,
            now_ms: 1,
            log: Log::default(),
            tables: Tables::default(),
            ledger: Ledger::default(),
            processes: [const { None }; PROCESSES],
            buyers: Buyers::default(),
            published: Published { version: 1, ..Published::default() },
            targets: BTreeMap::new(),
            limits_most: BTreeMap::new(),
            events: BTreeMap::new(),
            skips: BTreeSet::new(),
            losses: 0,
            fallen: BTreeSet::new(),
            over: false,
            reopened: BTreeSet::new(),
            backups: VecDeque::new(),
            was_at: None,
            first_opens_ms: 0,
            moments: Moments::default(),
            ending: false,
            forged: false,
            next_id: 1_000,
            trace: None,
            rng,
        };
        world.publish_first();
        if wrong == Some(Wrong::StockRejectionGivesBack) { world.forged() } else { world }
    }

    /// Redis is told one unit too many of each offer, by a fault of its own, and nothing rebuilds
    /// the lane: so rule 5 rejects.
    pub fn forged(mut self) -> Self {
        self.forged = true;
        let m = &mut self.mixture;
        (m.restart, m.distrust, m.publish, m.kill, m.advance[1], m.lose, m.restore) = (0, 0, 0, 0, 0, 0, 0);
        (m.tails, m.end) = (0, 0);
        self
    }

    /// One or two lanes, the first with one or two offers; an empty log but for its genesis.
    fn publish_first(&mut self) {
        let genesis = Genesis { partition: PartitionId(0), generation: Generation(1), log_id: 1 };
        let record = self.mint();
        self.log.append(record, &Record::Genesis(genesis));
        for lane in 1..=self.rng.range(1, 2) {
            let offers = if lane == 1 { self.rng.range(1, 2) } else { 1 };
            let mut numbers = BTreeMap::new();
            for offer in 1..=offers {
                let (offer, allotment) = (id(lane * 10 + offer), self.rng.range(1, 5));
                self.published.allotments.insert(offer, allotment);
                numbers.insert(
                    offer,
                    OfferLedger { allotment, target: allotment, sold: 0, sale_version: 1, changed_at: 0 },
                );
            }
            let limit_per_buyer = u32::try_from(self.rng.range(1, 3)).unwrap();
            let (tenant, sale) = (id(1), id(1));
            let (epoch, first_order, offers) = (Epoch(0), None, numbers);
            let (is_retired, limit_changed_at) = (false, 0);
            let ledger =
                LaneLedger { tenant, sale, epoch, is_retired, limit_per_buyer, limit_changed_at, first_order, offers };
            self.published.limits.insert(id(lane), limit_per_buyer);
            self.limits_most.insert(id(lane), limit_per_buyer);
            self.ledger.lanes.insert(id(lane), ledger);
        }
        self.targets = self.published.allotments.clone();
        self.buyers.count = self.rng.range(2, 4);
        self.first_opens_ms = self.clock_ms() + self.rng.range(0, 100) * STEP_MS;
    }

    pub fn traced(mut self) -> Self {
        self.trace = Some(Vec::new());
        self
    }

    pub fn is_traced(&self) -> bool {
        self.trace.is_some()
    }

    pub fn told(&mut self, what: String) {
        let number = self.now_ms;
        self.trace.get_or_insert_default().push(format!("{number:>5} {what}"));
    }

    pub fn steps(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    pub fn event(&mut self, event: &'static str) {
        *self.events.entry(event).or_default() += 1;
    }

    /// Epoch milliseconds of this step.
    pub fn clock_ms(&self) -> u64 {
        STARTS_MS + self.now_ms * STEP_MS
    }

    /// An order id of this moment, as an engine mints it whose clock is up to a minute behind.
    pub fn mint_order(&mut self, buyer: BuyerId) -> OrderId {
        self.next_id += 1;
        let behind_ms = self.rng.range(0, 1) * 60_000;
        OrderId::compose(self.clock_ms() + self.next_id - behind_ms, Slot::of(buyer), 1, 0).unwrap()
    }

    /// A number that nobody has yet: for batches and records.
    pub fn mint<T: TryFrom<u64>>(&mut self) -> T
    where
        T::Error: fmt::Debug,
    {
        self.next_id += 1;
        id(self.next_id)
    }

    pub fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    pub fn lanes(&self) -> Vec<LaneId> {
        self.ledger.lanes.keys().copied().collect()
    }

    /// The whole run: what the seed draws, then rest, then every purchase once more, then rest
    /// again.
    pub fn play(&mut self) -> Played {
        for _ in 0..self.mixture.steps {
            self.step()?;
        }
        self.ending = true;
        self.rest()?;
        self.repeat_all()?;
        self.rest()?;
        if self.mixture.end == 0 {
            return Ok(());
        }
        self.end_or_prolong();
        self.rest()?;
        self.repeat_all()?;
        self.rest()
    }

    fn step(&mut self) -> Played {
        let m = self.mixture;
        let kinds = [
            m.reserve,
            m.append,
            m.sweep,
            m.advance[0],
            m.advance[1],
            m.kill,
            m.cancel,
            m.relay,
            m.restart,
            m.publish,
            m.distrust,
            m.lose,
            m.restore,
            m.tails,
            m.end,
        ];
        let mut draw = self.rng.below(kinds.iter().sum());
        let kind = kinds.iter().position(|&weight| match draw.checked_sub(weight) {
            Some(rest) => {
                draw = rest;
                false
            }
            None => true,
        });
        self.now_ms += 1;
        self.remember();
        match kind {
            Some(0) => self.reserve()?,
            Some(1) => self.append_one(),
            Some(2) => self.sweep(),
            Some(process @ (3 | 4)) => self.advance(process - 3)?,
            Some(5) => self.kill(),
            Some(6) => self.cancel(),
            Some(7) => self.relay(),
            Some(8) => self.restart(),
            Some(9) => self.publish(),
            Some(10) => self.distrust(),
            Some(11) => self.lose_log(),
            Some(12) => self.restore_ledger(),
            Some(13) => self.lose_tail(),
            _ if self.rng.once_in(3) => self.end_or_prolong(),
            _ => {}
        }
        Ok(())
    }

    fn cancel(&mut self) {
        let live: Vec<OrderId> =
            self.tables.rows().filter(|row| row.status == Status::PendingPayment).map(|row| row.order).collect();
        if !live.is_empty() {
            let (order, record) = (self.rng.pick(&live), self.mint::<RecordId>());
            tell!(self, "order {order} is cancelled");
            let carried = (!self.is(Wrong::MarkNotCarried)).then_some(Status::Cancelled);
            self.tables.cancel(order, record, carried);
        }
    }

    /// R8: an outbox row is sent until the ledger has passed its record.
    pub fn relay(&mut self) {
        let shard = self.rng.below(self.tables.0.len());
        if self.tables.0[shard].outbox.is_empty() {
            return;
        }
        let at = self.rng.below(self.tables.0[shard].outbox.len());
        let sent = self.tables.0[shard].outbox[at];
        let released = self.tables.row(sent.release.order).and_then(|row| row.released);
        if released.is_some_and(|released| {
            let ledger = self.ledger.at;
            released.generation < ledger.generation
                || released.generation == ledger.generation && released.offset < ledger.offset
        }) {
            self.tables.0[shard].outbox.remove(at);
            if self.is(Wrong::ReleasedRowsPurged) {
                self.tables.0[shard].rows.remove(&sent.release.order);
            }
            return;
        }
        let arrives = self.ending || !self.rng.once_in(4);
        if arrives {
            self.log.append(sent.id, &Record::Released(sent.release));
        }
        if self.is(Wrong::OutboxSentOnce) {
            self.tables.0[shard].outbox.remove(at);
        }
        tell!(self, "release of {} sent, arrives: {arrives}", sent.release.order);
    }

    /// A newer version of the sale wants other allotments.
    fn publish(&mut self) {
        if !self.rng.once_in(3) {
            return;
        }
        self.published.version += 1;
        for allotment in self.published.allotments.values_mut() {
            *allotment = if self.rng.once_in(2) { 1 } else { self.rng.range(1, 6) };
        }
        self.publish_limits();
        self.published.history.insert(self.published.version, self.published.allotments.clone());
        tell!(self, "version {} wants {:?}", self.published.version, self.published.allotments);
    }
}

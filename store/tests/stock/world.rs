//! One lane twice: as the machine has it and as an adapter has it, asked the same.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
};

use bytes::Bytes;
use domain::{
    id::{BatchId, BuyerId, Epoch, LaneId, OrderId, PurchaseNumber},
    record::{Batch, Reservation},
    stock::{
        CloseAnswer, Gone, LaneAnswer, LaneLoad, LaneMachine, LoadAnswer, ReserveAnswer, ReserveCall, ReserveReply,
        ReserveRequest, RetireAnswer, RunId,
    },
};
use store::stock::{LaneKeeping, LaneStock, LoadAtOnce};

use super::sample::{self, reservation};

/// An adapter, and what can happen to the lanes behind it.
pub(super) trait Server {
    type Stock: LaneStock;
    type Keeping: LaneKeeping;
    /// A lane as it was once.
    type Backup;

    fn stock(&self) -> &Self::Stock;

    fn keeping(&self) -> &Self::Keeping;

    /// Goes on as another run, or an earlier one; the lane's state was written under `stored`.
    /// Answers whether the lane is still there.
    async fn restart(&mut self, lane: LaneId, run: RunId, stored: Option<RunId>) -> bool;

    /// `None` if nothing outlives the process.
    async fn back_up(&mut self, lane: LaneId) -> Option<Self::Backup>;

    /// The lane becomes what it was once, or missing.
    async fn lose(&mut self, lane: LaneId, backup: Option<&Self::Backup>);

    /// Compares what no port shows.
    async fn check(&mut self, lane: LaneId, machine: &LaneMachine, run: RunId);

    /// Takes the lane away.
    async fn clean(&mut self, lane: LaneId);
}

/// An earlier state of both.
struct Backup<B> {
    machine: LaneMachine,
    stored: Option<RunId>,
    stored_as: B,
}

/// How often each kind of reply was seen.
pub(super) type Seen = BTreeMap<&'static str, u64>;

pub(super) struct World<S: Server> {
    pub(super) lane: LaneId,
    machine: LaneMachine,
    server: S,
    /// The server's run, as the machine is told.
    run: RunId,
    /// The run that the lane's state was written under.
    stored: Option<RunId>,
    backup: Option<Backup<S::Backup>>,
    promised: HashMap<BatchId, Vec<Vec<(PurchaseNumber, Reservation)>>>,
    pub(super) orders: Vec<(OrderId, BuyerId)>,
    pub(super) seen: Seen,
    seed: u64,
    /// Kept for a seed that is run alone: to write it takes longer than to do it.
    log: Option<Vec<String>>,
}

impl<S: Server> Drop for World<S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log.iter().flatten().fold(String::new(), |all, line| all + line + "\n");
            eprintln!("{log}run again, with a log of its operations, with DIFFERENTIAL_SEED={}", self.seed);
        }
    }
}

pub(super) fn same<T: PartialEq + Debug>(what: &str, machine: &T, adapter: &T) {
    assert!(machine == adapter, "{what}:\n  machine {machine:?}\n  adapter {adapter:?}");
}

impl<S: Server> World<S> {
    pub(super) fn new(seed: u64, lane: LaneId, server: S) -> Self {
        Self {
            lane,
            machine: LaneMachine::default(),
            server,
            run: RunId(1),
            stored: None,
            backup: None,
            promised: HashMap::new(),
            orders: Vec::new(),
            seen: Seen::new(),
            seed,
            log: std::env::var_os("DIFFERENTIAL_SEED").map(|_| Vec::new()),
        }
    }

    fn saw(&mut self, kind: &'static str) {
        *self.seen.entry(kind).or_default() += 1;
    }

    fn told<T: Debug>(&mut self, what: impl FnOnce() -> String, answer: &LaneAnswer<T>) {
        if matches!(answer, LaneAnswer::Closed { .. }) {
            self.saw("closed");
        }
        self.note(|| format!("{} -> {answer:?}", what()));
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(what());
        }
    }

    pub(super) async fn reserve(&mut self, call: ReserveCall, requests: &[ReserveRequest]) {
        let adapter = self.server.stock().reserve(call, requests).await.unwrap();
        let machine = self.machine.reserve(self.run, call, requests);
        let of = |r: &ReserveRequest| format!("{} {} {}x{} {:x}", r.order, r.buyer, r.offer, r.quantity, r.key.0[0]);
        self.told(|| format!("reserve {call:?} {:?}", requests.iter().map(of).collect::<Vec<_>>()), &machine);
        same("reserve", &machine, &adapter);
        let replies = match machine {
            LaneAnswer::Closed { .. } => return,
            LaneAnswer::Open(ReserveAnswer::JournalFull) => return self.saw("journal full"),
            LaneAnswer::Open(ReserveAnswer::Decided { replies, .. }) => replies,
        };
        let mut promised = Vec::new();
        for (reply, request) in replies.iter().zip(requests) {
            self.saw(match reply {
                ReserveReply::Reserved(_) => "reserved",
                ReserveReply::Repeat { settled: true, .. } => "repeat settled",
                ReserveReply::Repeat { settled: false, .. } => "repeat unsettled",
                ReserveReply::Released { .. } => "repeat of a released order",
                ReserveReply::Mismatch { .. } => "mismatch",
                ReserveReply::LimitReached { .. } => "limit",
                ReserveReply::SoldOut { .. } => "sold out",
            });
            if let ReserveReply::Reserved(number) = reply {
                promised.push((*number, reservation(request)));
                self.orders.push((request.order, request.buyer));
            }
        }
        if !promised.is_empty() {
            self.promised.entry(call.batch).or_default().push(promised);
        }
    }

    pub(super) async fn find(&mut self, buyer: BuyerId) {
        let adapter = self.server.stock().find(self.lane, buyer).await.unwrap();
        let machine = self.machine.find(self.run, buyer);
        same("find", &machine, &adapter);
        self.told(|| format!("find {buyer}"), &machine);
    }

    pub(super) async fn claim(&mut self, now_ms: u64, n: u32, backoff_ms: u64) {
        let adapter = self.server.stock().claim(self.lane, now_ms, n, backoff_ms).await.unwrap();
        let machine = self.machine.claim(self.run, now_ms, n, backoff_ms);
        same("claim", &machine, &adapter);
        if matches!(&machine, LaneAnswer::Open(claimed) if !claimed.is_empty()) {
            self.saw("claimed");
        }
        self.told(|| format!("claim {now_ms} {n} {backoff_ms}"), &machine);
    }

    pub(super) async fn settle(&mut self, epoch: Epoch, batches: &[BatchId], gone: &[Gone]) {
        let adapter = self.server.keeping().settle(self.lane, epoch, batches, gone).await.unwrap();
        let machine = self.machine.settle(self.run, epoch, batches, gone);
        self.told(|| format!("settle {epoch:?} {batches:?} {gone:?}"), &machine);
        same("settle", &machine, &adapter);
    }

    pub(super) async fn close(&mut self, epoch: Epoch) -> CloseAnswer {
        let adapter = self.server.keeping().close(self.lane, epoch).await.unwrap();
        let machine = self.machine.close(self.run, epoch);
        self.note(|| format!("close {epoch:?} -> {machine:?}"));
        same("close", &machine, &adapter);
        match machine {
            CloseAnswer::Closed => self.stored = Some(self.run),
            CloseAnswer::RefusedOpen { .. } => self.saw("refused: open"),
            CloseAnswer::RefusedMarker { .. } => self.saw("refused: marker"),
        }
        machine
    }

    pub(super) async fn retire(&mut self, epoch: Epoch) {
        let adapter = self.server.keeping().retire(self.lane, epoch).await.unwrap();
        let machine = self.machine.retire(self.run, epoch).map_or(RetireAnswer::Refused, |_| RetireAnswer::Gone);
        self.note(|| format!("retire {epoch:?} -> {machine:?}"));
        same("retire", &machine, &adapter);
        if machine == RetireAnswer::Gone {
            self.stored = None;
        }
        self.saw(if machine == RetireAnswer::Gone { "retired" } else { "retirement refused" });
    }

    pub(super) async fn load(&mut self, epoch: Epoch, load: &LaneLoad) {
        let adapter = self.server.keeping().load(self.lane, epoch, load).await.unwrap();
        let machine = self.machine.load(self.run, epoch, load);
        self.note(|| format!("load {epoch:?} {load:?} -> {machine:?}"));
        same("load", &machine, &adapter);
        self.saw(if machine == LoadAnswer::Loaded { "loaded" } else { "load refused" });
    }

    pub(super) async fn adjust(&mut self, epoch: Epoch, offer: u64, allotment: u64, changed_at: i64) {
        let offer = sample::offer(offer);
        let adapter = self.server.keeping().adjust(self.lane, epoch, offer, allotment, changed_at).await.unwrap();
        let machine = self.machine.adjust(self.run, epoch, offer, allotment, changed_at);
        self.told(|| format!("adjust {epoch:?} {offer} {allotment} {changed_at}"), &machine);
        same("adjust", &machine, &adapter);
    }

    /// Packed position of the last change of an offer's allotment, as the machine knows it.
    pub(super) fn changed_at(&self, offer: u64) -> i64 {
        let stock = self.machine.state().and_then(|state| state.offers.get(&domain::id::OfferId::new(offer).ok()?));
        stock.map_or(0, |stock| stock.changed_at)
    }

    pub(super) async fn withhold(&mut self, epoch: Epoch, offer: u64, after: i64, units: u64) {
        let offer = sample::offer(offer);
        let adapter = self.server.keeping().withhold(self.lane, epoch, offer, after, units).await.unwrap();
        let machine = self.machine.withhold(self.run, epoch, offer, after, units);
        self.told(|| format!("withhold {epoch:?} {offer} {after} {units}"), &machine);
        same("withhold", &machine, &adapter);
        if matches!(machine, LaneAnswer::Open(1..)) {
            self.saw("withheld");
        }
    }

    /// Of the last change of the limit that the lane was told; 0 for none.
    pub(super) fn limit_changed_at(&self) -> i64 {
        self.machine.state().map_or(0, |state| state.limit_changed_at)
    }

    pub(super) async fn limit(&mut self, epoch: Epoch, limit: u32, changed_at: i64, most: u32) {
        let adapter = self.server.keeping().limit(self.lane, epoch, limit, changed_at, most).await.unwrap();
        let machine = self.machine.limit(self.run, epoch, limit, changed_at, most);
        self.told(|| format!("limit {epoch:?} {limit} {changed_at} {most}"), &machine);
        same("limit", &machine, &adapter);
        match machine {
            LaneAnswer::Open(Some(_)) => self.saw("another limit"),
            LaneAnswer::Open(None) => self.saw("a limit of before"),
            LaneAnswer::Closed { .. } => {}
        }
    }

    pub(super) async fn inspect(&mut self) {
        let adapter = self.server.keeping().inspect(self.lane).await.unwrap();
        same("inspect", &self.machine.inspect(self.run), &adapter);
    }

    pub(super) async fn journal(&mut self) {
        let adapter = self.server.keeping().journal(self.lane).await.unwrap();
        same("journal", &self.machine.journal(), &adapter);
        adapter.iter().for_each(|(batch, bytes)| self.check_entry(*batch, bytes));
    }

    /// A journal entry is a batch with exactly the reservations that a reserve call of that batch
    /// promised.
    fn check_entry(&self, id: BatchId, bytes: &Bytes) {
        let batch = Batch::decode(bytes.clone()).unwrap();
        assert_eq!((batch.lane, batch.id), (self.lane, id));
        assert!(self.promised[&id].contains(&batch.reservations), "{batch:?} was never promised");
    }

    pub(super) async fn buyers(&mut self) {
        let adapter = self.server.keeping().buyers(self.lane).await.unwrap();
        same("buyers", &self.machine.buyers(), &adapter);
    }

    /// Another run of the server, or an earlier one: both happen when a failover goes back and
    /// forth.
    pub(super) async fn restart(&mut self, run: RunId) {
        self.note(|| format!("restart as {run:?}"));
        self.run = run;
        if !self.server.restart(self.lane, run, self.stored).await {
            (self.machine, self.stored) = (LaneMachine::default(), None);
        }
    }

    pub(super) async fn back_up(&mut self) {
        self.note(|| "back up".into());
        if let Some(stored_as) = self.server.back_up(self.lane).await {
            self.backup = Some(Backup { machine: self.machine.clone(), stored: self.stored, stored_as });
        }
    }

    /// What was written since the last backup is lost; all of it, if there is none.
    pub(super) async fn lose(&mut self) {
        self.note(|| "lose".into());
        self.server.lose(self.lane, self.backup.as_ref().map(|backup| &backup.stored_as)).await;
        let backup = self.backup.as_ref().map(|backup| (backup.machine.clone(), backup.stored));
        (self.machine, self.stored) = backup.unwrap_or_default();
        self.server.restart(self.lane, self.run, self.stored).await;
    }

    /// Everything once more, then the lane is taken away.
    pub(super) async fn end(&mut self) {
        self.inspect().await;
        self.journal().await;
        self.buyers().await;
        self.server.check(self.lane, &self.machine, self.run).await;
        self.server.clean(self.lane).await;
    }
}

//! One lane twice: as the machine has it and as Redis has it, asked the same.

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
        ReserveRequest, RunId,
    },
};
use redis::aio::MultiplexedConnection;
use store::stock::{
    LaneKeeping, LaneStock,
    redis::{RedisKeeping, RedisSettings, RedisStock},
};

use super::support::{delete, keys, reservation};

/// What a task shares among its lanes.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) settings: RedisSettings,
    pub(super) stock: RedisStock,
    pub(super) keeping: RedisKeeping,
    pub(super) raw: MultiplexedConnection,
    pub(super) run_id: String,
}

/// An earlier state of both.
struct Backup {
    machine: LaneMachine,
    stored: Option<RunId>,
    dumps: Vec<Option<Vec<u8>>>,
}

/// How often each kind of reply was seen.
pub(super) type Seen = BTreeMap<&'static str, u64>;

pub(super) struct World {
    pub(super) lane: LaneId,
    machine: LaneMachine,
    server: Server,
    keys: [String; 4],
    /// The server's run, as the machine is told.
    run: RunId,
    /// The run that the lane's state was written under.
    stored: Option<RunId>,
    backup: Option<Backup>,
    promised: HashMap<BatchId, Vec<Vec<(PurchaseNumber, Reservation)>>>,
    pub(super) orders: Vec<(OrderId, BuyerId)>,
    pub(super) seen: Seen,
    seed: u64,
    /// Kept for a seed that is run alone: to write it takes longer than to do it.
    log: Option<Vec<String>>,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log.iter().flatten().fold(String::new(), |all, line| all + line + "\n");
            eprintln!("{log}run again, with a log of its operations, with DIFFERENTIAL_SEED={}", self.seed);
        }
    }
}

fn same<T: PartialEq + Debug>(what: &str, machine: &T, redis: &T) {
    assert!(machine == redis, "{what}:\n  machine {machine:?}\n  redis   {redis:?}");
}

impl World {
    pub(super) fn new(seed: u64, lane: LaneId, server: Server) -> Self {
        let keys = keys(&server.settings, lane);
        Self {
            lane,
            machine: LaneMachine::default(),
            server,
            keys,
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
        let redis = self.server.stock.reserve(call, requests).await.unwrap();
        let machine = self.machine.reserve(self.run, call, requests);
        let of = |r: &ReserveRequest| format!("{} {} {}x{} {:x}", r.order, r.buyer, r.offer, r.quantity, r.key.0[0]);
        self.told(|| format!("reserve {call:?} {:?}", requests.iter().map(of).collect::<Vec<_>>()), &machine);
        same("reserve", &machine, &redis);
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
        let redis = self.server.stock.find(self.lane, buyer).await.unwrap();
        let machine = self.machine.find(self.run, buyer);
        same("find", &machine, &redis);
        self.told(|| format!("find {buyer}"), &machine);
    }

    pub(super) async fn claim(&mut self, now_ms: u64, n: u32, backoff_ms: u64) {
        let redis = self.server.stock.claim(self.lane, now_ms, n, backoff_ms).await.unwrap();
        let machine = self.machine.claim(self.run, now_ms, n, backoff_ms);
        same("claim", &machine, &redis);
        if matches!(&machine, LaneAnswer::Open(claimed) if !claimed.is_empty()) {
            self.saw("claimed");
        }
        self.told(|| format!("claim {now_ms} {n} {backoff_ms}"), &machine);
    }

    pub(super) async fn settle(&mut self, epoch: Epoch, batches: &[BatchId], gone: &[Gone]) {
        let redis = self.server.keeping.settle(self.lane, epoch, batches, gone).await.unwrap();
        let machine = self.machine.settle(self.run, epoch, batches, gone);
        self.told(|| format!("settle {epoch:?} {batches:?} {gone:?}"), &machine);
        same("settle", &machine, &redis);
    }

    pub(super) async fn close(&mut self, epoch: Epoch) -> CloseAnswer {
        let redis = self.server.keeping.close(self.lane, epoch).await.unwrap();
        let machine = self.machine.close(self.run, epoch);
        self.note(|| format!("close {epoch:?} -> {machine:?}"));
        same("close", &machine, &redis);
        match machine {
            CloseAnswer::Closed => self.stored = Some(self.run),
            CloseAnswer::RefusedOpen { .. } => self.saw("refused: open"),
            CloseAnswer::RefusedMarker { .. } => self.saw("refused: marker"),
        }
        machine
    }

    pub(super) async fn load(&mut self, epoch: Epoch, load: &LaneLoad) {
        let redis = self.server.keeping.load(self.lane, epoch, load).await.unwrap();
        let machine = self.machine.load(self.run, epoch, load);
        self.note(|| format!("load {epoch:?} {load:?} -> {machine:?}"));
        same("load", &machine, &redis);
        self.saw(if machine == LoadAnswer::Loaded { "loaded" } else { "load refused" });
    }

    pub(super) async fn adjust(&mut self, epoch: Epoch, offer: u64, allotment: u64, changed_at: i64) {
        let offer = super::support::offer(offer);
        let redis = self.server.keeping.adjust(self.lane, epoch, offer, allotment, changed_at).await.unwrap();
        let machine = self.machine.adjust(self.run, epoch, offer, allotment, changed_at);
        self.told(|| format!("adjust {epoch:?} {offer} {allotment} {changed_at}"), &machine);
        same("adjust", &machine, &redis);
    }

    /// Packed position of the last change of an offer's allotment, as the machine knows it.
    pub(super) fn changed_at(&self, offer: u64) -> i64 {
        let shelf = self.machine.state().and_then(|state| state.offers.get(&domain::id::OfferId::new(offer).ok()?));
        shelf.map_or(0, |shelf| shelf.changed_at)
    }

    pub(super) async fn withhold(&mut self, epoch: Epoch, offer: u64, after: i64, units: u64) {
        let offer = super::support::offer(offer);
        let redis = self.server.keeping.withhold(self.lane, epoch, offer, after, units).await.unwrap();
        let machine = self.machine.withhold(self.run, epoch, offer, after, units);
        self.told(|| format!("withhold {epoch:?} {offer} {after} {units}"), &machine);
        same("withhold", &machine, &redis);
        if matches!(machine, LaneAnswer::Open(1..)) {
            self.saw("withheld");
        }
    }

    pub(super) async fn inspect(&mut self) {
        let redis = self.server.keeping.inspect(self.lane).await.unwrap();
        same("inspect", &self.machine.inspect(self.run), &redis);
    }

    pub(super) async fn journal(&mut self) {
        let redis = self.server.keeping.journal(self.lane).await.unwrap();
        same("journal", &self.machine.journal(), &redis);
        redis.iter().for_each(|(batch, bytes)| self.check_entry(*batch, bytes));
    }

    /// A journal entry is a batch with exactly the reservations that a reserve call of that batch promised.
    fn check_entry(&self, id: BatchId, bytes: &Bytes) {
        let batch = Batch::decode(bytes.clone()).unwrap();
        assert_eq!((batch.lane, batch.id), (self.lane, id));
        assert!(self.promised[&id].contains(&batch.reservations), "{batch:?} was never promised");
    }

    pub(super) async fn buyers(&mut self) {
        let redis = self.server.keeping.buyers(self.lane).await.unwrap();
        same("buyers", &self.machine.buyers(), &redis);
    }

    /// Another run of the server, or an earlier one: both happen when a failover goes back and forth.
    pub(super) async fn restart(&mut self, run: RunId) {
        self.note(|| format!("restart as {run:?}"));
        self.run = run;
        self.write_run().await;
    }

    /// The real server keeps its run id; that its run is another is told by another id in the lane's state.
    async fn write_run(&mut self) {
        if let Some(stored) = self.stored {
            let id = if stored == self.run { self.server.run_id.clone() } else { format!("{:040x}", stored.0) };
            let set = redis::cmd("HSET").arg(&self.keys[0]).arg("r").arg(id).exec_async(&mut self.server.raw).await;
            set.unwrap();
        }
    }

    pub(super) async fn back_up(&mut self) {
        self.note(|| "back up".into());
        let dumps = super::support::dumps(&mut self.server.raw, &self.keys).await;
        self.backup = Some(Backup { machine: self.machine.clone(), stored: self.stored, dumps });
    }

    /// What was written since the last backup is lost; all of it, if there is none.
    pub(super) async fn lose(&mut self) {
        self.note(|| "lose".into());
        delete(&mut self.server.raw, &self.keys).await;
        (self.machine, self.stored) = (LaneMachine::default(), None);
        if let Some(backup) = &self.backup {
            for (key, dump) in self.keys.iter().zip(&backup.dumps) {
                if let Some(dump) = dump {
                    let mut restore = redis::cmd("RESTORE");
                    restore.arg(key).arg(0).arg(dump).exec_async(&mut self.server.raw).await.unwrap();
                }
            }
            (self.machine, self.stored) = (backup.machine.clone(), backup.stored);
        }
        self.write_run().await;
    }

    /// Every field of the state, also those that no port shows. A field of 0 may be absent.
    async fn state(&mut self) {
        let mut expected: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        if let Some(state) = self.machine.state() {
            let run = if state.run == self.run { self.server.run_id.clone() } else { format!("{:040x}", state.run.0) };
            expected.insert(b"o".into(), u8::from(state.open).to_string());
            expected.insert(b"e".into(), state.epoch.to_string());
            expected.insert(b"m".into(), state.marker.to_string());
            expected.insert(b"r".into(), run);
            expected.insert(b"l".into(), state.limit_per_buyer.to_string());
            for (offer, shelf) in &state.offers {
                let mut put = |name: u8, value: String| {
                    expected.insert([&[name][..], &offer.get().to_be_bytes()].concat(), value);
                };
                put(b'u', shelf.left.to_string());
                put(b'a', shelf.allotment.to_string());
                put(b'c', format!("{:019}", shelf.changed_at));
                put(b'w', shelf.withheld.to_string());
            }
        }
        let get_all = redis::cmd("HGETALL").arg(&self.keys[0]).query_async(&mut self.server.raw).await;
        let mut stored: BTreeMap<Vec<u8>, String> = get_all.unwrap();
        stored.retain(|_, value| value != "0");
        expected.retain(|_, value| value != "0");
        same("state", &expected, &stored);
    }

    /// When each batch is due.
    async fn due(&mut self) {
        let mut range = redis::cmd("ZRANGE");
        range.arg(&self.keys[3]).arg(0).arg(-1).arg("WITHSCORES");
        let stored: Vec<(Vec<u8>, String)> = range.query_async(&mut self.server.raw).await.unwrap();
        let stored = stored.into_iter().filter(|(batch, _)| batch[..] != [0; 8]).collect();
        let due = self.machine.due().into_iter();
        let expected = due.map(|(batch, at)| (batch.get().to_be_bytes().to_vec(), at.to_string())).collect();
        same::<BTreeMap<_, _>>("due", &expected, &stored);
    }

    /// Everything once more, then the lane's keys are deleted.
    pub(super) async fn end(&mut self) {
        self.inspect().await;
        self.journal().await;
        self.buyers().await;
        self.state().await;
        self.due().await;
        delete(&mut self.server.raw, &self.keys).await;
    }
}

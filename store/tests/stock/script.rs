//! Random scripts of operations on one lane, told to the machine and to an adapter, with restarts
//! and lost data; every script is named by its seed.

use domain::{
    id::{BatchId, Epoch},
    stock::{
        CloseAnswer, Gone, GoneWhy, LaneLoad, OfferLoad, Purchase, ReserveCall, ReserveRequest, RunId, TOMBSTONES_MAX,
    },
};

use super::{
    random::Random,
    sample::{batch, buyer, call, lane, offer, order, purchase, request},
    world::{Seen, Server, World},
};

const OPERATIONS: u64 = 24;
const BUYERS: u64 = 6;
/// Every kind of answer that the scripts must have met.
const KINDS: [&str; 19] = [
    "reserved",
    "repeat settled",
    "repeat unsettled",
    "repeat of a released order",
    "mismatch",
    "limit",
    "sold out",
    "journal full",
    "closed",
    "claimed",
    "refused: open",
    "refused: marker",
    "loaded",
    "load refused",
    "retired",
    "retirement refused",
    "withheld",
    "another limit",
    "a limit of before",
];

/// The seeds to play, and whether they are one that was asked for: `DIFFERENTIAL_SEED` names it,
/// `DIFFERENTIAL_SEEDS` says how many.
pub(super) fn seeds(usual: u64) -> (std::ops::Range<u64>, bool) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    match number("DIFFERENTIAL_SEED") {
        Some(seed) => (seed..seed + 1, true),
        None => (0..number("DIFFERENTIAL_SEEDS").unwrap_or(usual), false),
    }
}

/// The scripts are worth nothing if they do not meet every kind of answer.
pub(super) fn check_kinds(seen: &Seen) {
    let missing: Vec<_> = KINDS.iter().filter(|kind| !seen.contains_key(*kind)).collect();
    assert!(missing.is_empty(), "never met: {missing:?}");
}

/// Plays one script; answers how often each kind of answer was seen.
pub(super) async fn play<S: Server>(seed: u64, server: S) -> Seen {
    let mut script = Script::new(seed, server);
    if script.random.one_in(8) {
        // Some lanes begin missing.
        script.world.inspect().await;
    } else {
        script.reopen().await;
    }
    for _ in 0..OPERATIONS {
        Box::pin(script.operation()).await;
    }
    script.world.end().await;
    std::mem::take(&mut script.world.seen)
}

/// A random script, and what it remembers of its own past.
struct Script<S: Server> {
    random: Random,
    world: World<S>,
    offers: u64,
    epoch: u64,
    now_ms: u64,
    next_id: u64,
    calls: Vec<(ReserveCall, Vec<ReserveRequest>)>,
    run: u64,
}

impl<S: Server> Script<S> {
    fn new(seed: u64, server: S) -> Self {
        let mut random = Random(seed);
        let offers = random.upto(3);
        let world = World::new(seed, lane(seed + 1), server);
        Self { random, world, offers, epoch: 1, now_ms: 1_000, next_id: 1_000, calls: Vec::new(), run: 1 }
    }

    async fn operation(&mut self) {
        self.now_ms += self.random.below(40);
        match self.random.below(100) {
            0..36 => self.reserve().await,
            36..50 => self.settle().await,
            50..56 => self.world.find(buyer(self.random.upto(BUYERS))).await,
            56..62 => {
                let (n, backoff) = (u32::from(self.random.byte(4)), self.random.below(60));
                self.world.claim(self.now_ms, n, backoff).await;
            }
            62..68 => self.reopen().await,
            68..70 => {
                let epoch = self.any_epoch();
                self.world.close(epoch).await;
            }
            70 => self.retire().await,
            71 => {
                let (epoch, load) = (self.any_epoch(), self.snapshot());
                self.world.load(epoch, &load).await;
            }
            72..77 => {
                let (epoch, offer) = (self.likely_epoch(), self.any_offer());
                let (allotment, changed_at) = (self.random.below(20), i64::from(self.random.byte(200)));
                self.world.adjust(epoch, offer, allotment, changed_at << 40).await;
            }
            77..82 => {
                let (epoch, offer) = (self.likely_epoch(), self.any_offer());
                let units = self.random.below(6);
                let after = if self.random.below(5) == 0 { 1 << 40 } else { self.world.changed_at(offer) };
                self.world.withhold(epoch, offer, after, units).await;
            }
            82..84 => self.world.inspect().await,
            84..87 => {
                let (epoch, limit, most) = (self.likely_epoch(), self.random.upto(7), self.random.upto(7));
                let after = self.world.limit_changed_at();
                let changed_at = if self.random.one_in(2) { after } else { i64::from(self.random.byte(9)) << 40 };
                self.world.limit(epoch, u32::try_from(limit).unwrap(), changed_at, u32::try_from(most).unwrap()).await;
            }
            87..90 => self.world.journal().await,
            90..93 => self.world.buyers().await,
            // The lane closes, and opens again if that run comes back.
            93..96 => self.restart().await,
            96..98 => self.world.back_up().await,
            _ => self.world.lose().await,
        }
    }

    /// The epoch, seldom another.
    fn likely_epoch(&mut self) -> Epoch {
        if self.random.one_in(12) { self.any_epoch() } else { Epoch(self.epoch) }
    }

    fn any_epoch(&mut self) -> Epoch {
        Epoch((self.epoch + self.random.below(4)).saturating_sub(2))
    }

    /// Seldom one that the lane has not.
    fn any_offer(&mut self) -> u64 {
        if self.random.one_in(16) { 99 } else { self.random.upto(self.offers) }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    async fn reopen(&mut self) {
        self.epoch += self.random.below(2);
        if self.world.close(Epoch(self.epoch)).await == CloseAnswer::Closed {
            let load = self.snapshot();
            if self.random.one_in(8) {
                // The server restarts between close and load.
                self.restart().await;
            }
            self.world.load(Epoch(self.epoch), &load).await;
        }
    }

    /// Mostly of a lane that was closed for it.
    async fn retire(&mut self) {
        let epoch = self.any_epoch();
        if !self.random.one_in(4) {
            self.world.close(epoch).await;
        }
        let epoch = if self.random.one_in(4) { self.any_epoch() } else { epoch };
        self.world.retire(epoch).await;
    }

    async fn restart(&mut self) {
        self.run = self.random.upto(3);
        self.world.restart(RunId(self.run)).await;
    }

    async fn reserve(&mut self) {
        if self.random.one_in(8)
            && let Some((mut call, requests)) = self.random.of(&self.calls)
        {
            // The answer was lost, perhaps.
            call.now_ms = self.now_ms;
            return self.world.reserve(call, &requests).await;
        }
        let mut requests = Vec::new();
        for _ in 0..self.random.upto(8) {
            let (of, what) = (self.random.upto(BUYERS), self.any_offer());
            let (quantity, key) = (u32::from(self.random.byte(3)) + 1, self.random.byte(12));
            requests.push(request(self.id(), of, what, quantity, key));
        }
        let mut call = call(self.world.lane, self.likely_epoch().0, requests[0].order.get());
        if self.random.one_in(16)
            && let Some((old, _)) = self.random.of(&self.calls)
        {
            call.batch = old.batch;
        }
        call.now_ms = self.now_ms;
        call.sweep_after_ms = self.random.below(50);
        if self.random.one_in(6) {
            call.journal_max = u32::from(self.random.byte(4));
        }
        self.world.reserve(call, &requests).await;
        self.calls.push((call, requests));
    }

    async fn settle(&mut self) {
        let mut batches: Vec<BatchId> = Vec::new();
        for _ in 0..self.random.below(4) {
            let known = self.random.of(&self.calls).map(|(call, _)| call.batch);
            batches.push(known.filter(|_| !self.random.one_in(12)).unwrap_or_else(|| batch(7)));
        }
        let mut gone = Vec::new();
        for _ in 0..self.random.below(4) {
            let released = GoneWhy::Released { retired: self.random.of(&[0, 0, 1, 2]).unwrap() };
            let why = [released, GoneWhy::Rejected, GoneWhy::RejectedForStock];
            let (order, of) = self.random.of(&self.world.orders).unwrap_or((order(8), buyer(1)));
            let of = if self.random.one_in(12) { buyer(self.random.upto(BUYERS)) } else { of };
            gone.push(Gone { order, buyer: of, why: self.random.of(&why).unwrap() });
        }
        let epoch = self.likely_epoch();
        self.world.settle(epoch, &batches, &gone).await;
    }

    /// A state that a lane may be opened with.
    fn snapshot(&mut self) -> LaneLoad {
        let offers = (1..=self.offers).map(|number| {
            let left = self.random.below(24);
            let allotment = left + self.random.below(6);
            OfferLoad { offer: offer(number), left, allotment, changed_at: i64::from(self.random.byte(100)) << 40 }
        });
        let offers = offers.collect();
        let mut purchases = Vec::new();
        for of in 1..=BUYERS {
            if self.random.one_in(2) {
                let of_buyer = self.purchases(of);
                purchases.extend(of_buyer.into_iter().map(|purchase| (buyer(of), purchase)));
            }
        }
        LaneLoad { limit_per_buyer: u32::from(self.random.byte(7)) + 1, offers, purchases }
    }

    fn purchases(&mut self, of: u64) -> Vec<Purchase> {
        let many = if self.random.one_in(16) { u64::try_from(TOMBSTONES_MAX).unwrap() } else { self.random.below(4) };
        let mut purchases = Vec::new();
        for place in 0..many {
            let (what, key) = (self.random.upto(self.offers), u8::try_from(2 * place).unwrap());
            let is_live = many < 4 && self.random.one_in(2);
            let number = is_live.then(|| u8::try_from(2 * place + 1).unwrap());
            let mut purchase = purchase(self.id(), what, u32::from(self.random.byte(2)) + 1, number, key);
            if self.random.one_in(3) {
                purchase.batch = self.random.of(&self.calls).map(|(call, _)| call.batch);
            }
            self.world.orders.push((purchase.order, buyer(of)));
            purchases.push(purchase);
        }
        purchases
    }
}

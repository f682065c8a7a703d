//! Many callers at once. Goal: whatever the threads do, each lane's answers are those of one
//! machine that was asked one call after the other, in the order in which the lane decided. Method:
//! threads play random scripts on few lanes; the adapter's observer numbers the calls of each lane;
//! the history is then played through a fresh machine, which must give every answer and end in the
//! same state. A seed names the scripts, not how the threads meet: `DIFFERENTIAL_SEED` plays one
//! many times over.

use std::{
    cell::Cell,
    fmt::Debug,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use domain::{
    id::{BatchId, BuyerId, Epoch, LaneId, OfferId},
    stock::{
        CloseAnswer, Gone, GoneWhy, LaneAnswer, LaneLoad, LaneMachine, LaneView, LoadAnswer, Purchase, ReserveAnswer,
        ReserveCall, ReserveRequest, RunId,
    },
};
use store::stock::{
    LaneKeeping, LaneStock, LoadAtOnce,
    local::{LocalKeeping, LocalStock},
};

use super::{
    random::Random,
    sample::{batch, buyer, call, fresh, lane, offer, request},
    script::seeds,
};

const SEEDS: u64 = 100;
/// How often a seed is played that was asked for.
const TIMES: u64 = 200;
const THREADS: u64 = 4;
const OPERATIONS: u64 = 100;
const LANES: u64 = 2;
const BUYERS: u64 = 12;
const RUN: RunId = RunId(1);

#[test]
fn answers_are_those_of_one_machine_in_the_order_of_the_lane() {
    let (seeds, is_one) = seeds(SEEDS);
    let mut shuffled = 0;
    for seed in seeds {
        for _ in 0..if is_one { TIMES } else { 1 } {
            shuffled += u64::from(Shop::open(seed).play());
        }
    }
    // Else the threads took turns, and the test showed nothing.
    assert!(shuffled > 0, "no lane ever answered two threads in turn");
}

thread_local! {
    /// The number of the call that the adapter has just answered on this thread.
    static NUMBER: Cell<u64> = const { Cell::new(0) };
}

/// A call with its answer.
#[derive(Debug)]
enum Done {
    Reserve(ReserveCall, Vec<ReserveRequest>, LaneAnswer<ReserveAnswer>),
    Find(BuyerId, LaneAnswer<Vec<(Purchase, bool)>>),
    Claim(u64, u32, LaneAnswer<Vec<(BatchId, Bytes)>>),
    Settle(Epoch, Vec<BatchId>, Vec<Gone>, LaneAnswer<()>),
    Close(Epoch, CloseAnswer),
    Load(Epoch, LaneLoad, LoadAnswer),
    Adjust(Epoch, OfferId, u64, i64, LaneAnswer<()>),
    Inspect(LaneView),
}

impl Done {
    /// Asks the machine the same.
    fn check(&self, machine: &mut LaneMachine) {
        match self {
            Self::Reserve(call, requests, told) => same(told, &machine.reserve(RUN, *call, requests)),
            Self::Find(buyer, told) => same(told, &machine.find(RUN, *buyer)),
            Self::Claim(now_ms, n, told) => same(told, &machine.claim(RUN, *now_ms, *n, BACKOFF_MS)),
            Self::Settle(epoch, batches, gone, told) => same(told, &machine.settle(RUN, *epoch, batches, gone)),
            Self::Close(epoch, told) => same(told, &machine.close(RUN, *epoch)),
            // A load has several steps: between them another keeper may have begun its own. A
            // refused one changes nothing.
            Self::Load(_, _, LoadAnswer::Refused) => {}
            Self::Load(epoch, load, told) => same(told, &machine.load(RUN, *epoch, load)),
            Self::Adjust(epoch, offer, allotment, at, told) => {
                same(told, &machine.adjust(RUN, *epoch, *offer, *allotment, *at));
            }
            Self::Inspect(told) => same(told, &machine.inspect(RUN)),
        }
    }
}

fn same<T: PartialEq + Debug>(told: &T, machine: &T) {
    assert!(told == machine, "the lane told {told:?}\nthe machine {machine:?}");
}

const BACKOFF_MS: u64 = 20;

/// A call as a thread remembers it: its lane, its number there, and what came of it.
type Told = (LaneId, u64, Done);

/// What the threads share.
struct Shop {
    seed: u64,
    stock: LocalStock,
    keeping: LocalKeeping,
    next_id: AtomicU64,
    epochs: [AtomicU64; LANES as usize],
    /// Every reserve call so far: other threads repeat and settle them.
    calls: Mutex<Vec<(ReserveCall, Vec<ReserveRequest>)>>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("run again with DIFFERENTIAL_SEED={}", self.seed);
        }
    }
}

impl Shop {
    fn open(seed: u64) -> Self {
        let stock = LocalStock::observed(RUN, Arc::new(|_, number| NUMBER.set(number)));
        let (next_id, epochs) = (AtomicU64::new(1), [const { AtomicU64::new(1) }; LANES as usize]);
        Self { seed, keeping: stock.keeping(), stock, next_id, epochs, calls: Mutex::default() }
    }

    /// Plays the seed's scripts and checks what was told; answers whether threads met in a lane.
    fn play(self) -> bool {
        let shop = &self;
        let told = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || shop.thread(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<Vec<Told>>>()
        });
        (1..=LANES).map(|number| self.check(lane(number), &told)).fold(false, |met, meets| met | meets)
    }

    fn check(&self, lane: LaneId, told: &[Vec<Told>]) -> bool {
        let mut history: Vec<(u64, usize, &Done)> = Vec::new();
        for (thread, told) in told.iter().enumerate() {
            let of_lane = told.iter().filter(|(of, ..)| *of == lane);
            history.extend(of_lane.map(|(_, number, done)| (*number, thread, done)));
        }
        history.sort_by_key(|(number, ..)| *number);
        let mut machine = LaneMachine::default();
        for (expected, (number, _, done)) in (1..).zip(&history) {
            assert_eq!(*number, expected, "each call has a number of its own in {lane}");
            done.check(&mut machine);
        }
        let ask = block_on(async {
            let (journal, buyers) = (self.keeping.journal(lane).await, self.keeping.buyers(lane).await);
            (self.keeping.inspect(lane).await.unwrap(), journal.unwrap(), buyers.unwrap())
        });
        assert_eq!(ask, (machine.inspect(RUN), machine.journal(), machine.buyers()), "{lane} at the end");
        history.windows(2).filter(|two| two[0].1 != two[1].1).count() > 2
    }

    fn thread(&self, thread: u64) -> Vec<Told> {
        let random = Random(self.seed.wrapping_mul(THREADS).wrapping_add(thread));
        let mut caller = Caller { shop: self, random, told: Vec::new() };
        block_on(async {
            for number in 1..=LANES {
                caller.reopen(number).await;
            }
            for _ in 0..OPERATIONS {
                caller.operation().await;
            }
        });
        caller.told
    }

    fn epoch(&self, number: u64) -> &AtomicU64 {
        &self.epochs[usize::try_from(number - 1).unwrap()]
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A thread at work.
struct Caller<'a> {
    shop: &'a Shop,
    random: Random,
    told: Vec<Told>,
}

impl Caller<'_> {
    fn tell(&mut self, lane: LaneId, done: Done) {
        self.told.push((lane, NUMBER.replace(0), done));
    }

    async fn operation(&mut self) {
        let number = self.random.upto(LANES);
        let (lane, epoch) = (lane(number), Epoch(self.shop.epoch(number).load(Relaxed)));
        let (stock, keeping) = (&self.shop.stock, &self.shop.keeping);
        match self.random.below(100) {
            0..55 => self.reserve(lane, epoch).await,
            55..70 => self.settle(lane, epoch).await,
            70..78 => {
                let of = buyer(self.random.upto(BUYERS));
                let answer = stock.find(lane, of).await.unwrap();
                self.tell(lane, Done::Find(of, answer));
            }
            78..88 => {
                let (now_ms, n) = (1_400 + self.random.below(300), u32::from(self.random.byte(5)));
                let answer = stock.claim(lane, now_ms, n, BACKOFF_MS).await.unwrap();
                self.tell(lane, Done::Claim(now_ms, n, answer));
            }
            88..92 => {
                let (allotment, at) = (self.random.below(60), i64::from(self.random.byte(200)));
                let answer = keeping.adjust(lane, epoch, offer(1), allotment, at).await.unwrap();
                self.tell(lane, Done::Adjust(epoch, offer(1), allotment, at, answer));
            }
            92..97 => {
                let view = keeping.inspect(lane).await.unwrap();
                self.tell(lane, Done::Inspect(view));
            }
            _ => self.reopen(number).await,
        }
    }

    /// As a keeper does, and others at the same time.
    async fn reopen(&mut self, number: u64) {
        let epoch = Epoch(self.shop.epoch(number).load(Relaxed) + self.random.below(2));
        let closed = self.shop.keeping.close(lane(number), epoch).await.unwrap();
        self.tell(lane(number), Done::Close(epoch, closed));
        let load = fresh(u32::from(self.random.byte(3)) + 1, &[self.random.below(40), 10]);
        let answer = self.shop.keeping.load(lane(number), epoch, &load).await.unwrap();
        if answer == LoadAnswer::Loaded {
            self.shop.epoch(number).fetch_max(epoch.0, Relaxed);
        }
        self.tell(lane(number), Done::Load(epoch, load, answer));
    }

    async fn reserve(&mut self, lane: LaneId, epoch: Epoch) {
        let earlier = if self.random.one_in(6) { self.earlier() } else { None };
        let (call, requests) = earlier.unwrap_or_else(|| {
            let wish = |random: &mut Random| {
                let id = self.shop.next_id.fetch_add(1, Relaxed);
                request(id, random.upto(BUYERS), random.upto(2), u32::from(random.byte(2)) + 1, random.byte(200))
            };
            let requests: Vec<_> = (0..self.random.upto(4)).map(|_| wish(&mut self.random)).collect();
            (call(lane, epoch.0, requests[0].order.get()), requests)
        });
        // Others may repeat or settle it before it is answered.
        self.shop.calls.lock().unwrap().push((call, requests.clone()));
        let answer = self.shop.stock.reserve(call, &requests).await.unwrap();
        self.tell(call.lane, Done::Reserve(call, requests, answer));
    }

    fn earlier(&mut self) -> Option<(ReserveCall, Vec<ReserveRequest>)> {
        self.random.of(&self.shop.calls.lock().unwrap())
    }

    async fn settle(&mut self, lane: LaneId, epoch: Epoch) {
        let (mut batches, mut gone) = (vec![batch(1_000_000)], Vec::new());
        for _ in 0..self.random.upto(3) {
            let Some((call, requests)) = self.earlier() else { continue };
            batches.push(call.batch);
            let released = GoneWhy::Released { retired: self.random.of(&[0, 1]).unwrap() };
            let why = self.random.of(&[released, GoneWhy::Rejected, GoneWhy::RejectedForStock]).unwrap();
            gone.extend(self.random.of(&requests).map(|request| Gone {
                order: request.order,
                buyer: request.buyer,
                why,
            }));
        }
        let answer = self.shop.keeping.settle(lane, epoch, &batches, &gone).await.unwrap();
        self.tell(lane, Done::Settle(epoch, batches, gone, answer));
    }
}

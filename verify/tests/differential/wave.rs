//! A wave of seeds on one deployment: all run side by side, the deployment restarts between their
//! segments, and at the end everything that is left is read at once.

use std::{collections::HashMap, sync::Arc};

use domain::{
    id::{LaneId, OfferId, OrderId, WorkerNumber},
    order::OrderRow,
};
use kit::clock::{Clock, SystemClock};
use store::{log::SalesPublisher, stock::LaneKeeping};
use tokio::task::JoinSet;

use super::{
    crowd::{self, Bid},
    notes::{Call, Noted, Notes},
    outcome::{Ending, Orders, Remains, Reply},
    parts::{Parts, Stores},
    replay::Replay,
    runner::{ScriptRunner, rest},
    script::{Script, Step},
    seed::Seed,
};

/// Seeds of a wave.
pub(crate) const WAVE: u64 = 250;
/// After a restart of our parts, the stock server of every so many seeds is silent for a while.
const SILENT: u64 = 3;
/// Rows and lanes read at once.
const SCAN_PAGE: u32 = 1_000;
const SCAN_LANES: usize = 50;
const BEFORE_MS: u64 = 3_600_000;

/// What comes back after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    /// Our parts, that ended after the work at hand.
    Parts,
    /// Our parts, that were dropped wherever they were.
    BrokenParts,
    /// The servers. Where the process is the server, our parts too.
    Servers,
}

/// What restarts in this wave, after each segment but the last.
pub(crate) fn restarts(wave: u64) -> &'static [Back] {
    match wave % 4 {
        0 => &[Back::Parts],
        1 => &[Back::BrokenParts],
        2 => &[Back::Parts, Back::BrokenParts],
        _ => &[Back::BrokenParts, Back::Servers],
    }
}

/// A deployment of a wave's own.
pub(crate) trait Rig: Sized {
    type Stores: Stores;
    const NAME: &'static str;
    /// Whether our parts live on while the servers restart.
    const PARTS_OUTLIVE_SERVERS: bool;

    fn new() -> impl Future<Output = Self>;
    fn stores(&self) -> Self::Stores;
    /// Our parts have ended, unless they outlive it.
    fn restart(&mut self, what: Back) -> impl Future<Output = ()>;
    /// The calls of a lane in the order in which it answered them.
    fn order(&self, lane: LaneId, noted: Vec<Noted>) -> Result<Vec<Call>, String>;
    fn close(self) -> impl Future<Output = ()>;
}

/// What a script came to on one deployment.
pub(crate) struct ScriptResult {
    pub(crate) replies: Vec<Reply>,
    pub(crate) ending: Ending,
}

/// What a wave came to on one deployment.
pub(crate) struct WaveResult {
    pub(crate) name: &'static str,
    /// Of the scripts, by seed.
    pub(crate) results: HashMap<u64, ScriptResult>,
    /// What the crowds of these seeds were answered wrong.
    pub(crate) faults: Vec<(u64, String)>,
    /// Purchases of all crowds.
    pub(crate) bids: usize,
}

/// A wave that runs.
struct WaveRun<'a, R: Rig> {
    rig: R,
    notes: Arc<Notes>,
    parts: Arc<Parts<R::Stores>>,
    scripts: &'a [Script],
    runners: Vec<ScriptRunner>,
    worker: WorkerNumber,
}

/// Runs the crowds of a wave, then its scripts. The crowds have the time to themselves: the
/// scripts let it jump, and between two hands on one bucket of admission such a jump looks like a
/// thread that slept for a second.
pub(crate) async fn run<R: Rig>(wave: u64, scripts: &[Script], crowds: &[Seed]) -> WaveResult {
    let mut run = WaveRun::<R>::begin(scripts, crowds).await;
    let results = run_crowds(&run.parts, crowds).await;
    let crowded = run.replay(crowds, &results);
    for segment in 0..=restarts(wave).len() {
        run.steps(|script| split(&script.segments[segment]).0.to_vec()).await;
        // All at once, so that much is on its way when the restart comes.
        run.steps(|script| split(&script.segments[segment]).1.to_vec()).await;
        if let Some(&back) = restarts(wave).get(segment) {
            run = run.restart(back).await;
        }
    }
    run.end(crowded).await
}

impl<'a, R: Rig> WaveRun<'a, R> {
    async fn begin(scripts: &'a [Script], crowds: &[Seed]) -> Self {
        let rig = R::new().await;
        publish(&rig.stores(), scripts.iter().map(|script| &script.shop).chain(crowds)).await;
        let notes = Notes::watching(crowds.iter().map(|shop| shop.lane).collect());
        let parts = Arc::new(Parts::start(rig.stores(), &notes, 0).await);
        let runners = scripts.iter().map(|script| ScriptRunner::new(script.shop.clone())).collect();
        for shop in scripts.iter().map(|script| &script.shop).chain(crowds) {
            rest(&parts, shop).await.unwrap();
        }
        Self { rig, notes, parts, scripts, runners, worker: 0 }
    }

    /// Every runner runs some steps, side by side.
    async fn steps(&mut self, steps: impl Fn(&Script) -> Vec<Step>) {
        let mut running = JoinSet::new();
        for (index, (script, mut runner)) in self.scripts.iter().zip(self.runners.drain(..)).enumerate() {
            let (parts, steps) = (Arc::clone(&self.parts), steps(script));
            running.spawn(async move {
                runner.run(&parts, &steps).await;
                (index, runner)
            });
        }
        let mut runners = running.join_all().await;
        runners.sort_unstable_by_key(|(index, _)| *index);
        self.runners = runners.into_iter().map(|(_, runner)| runner).collect();
    }

    async fn restart(mut self, back: Back) -> Self {
        if back == Back::Servers && R::PARTS_OUTLIVE_SERVERS {
            self.rig.restart(back).await;
            return self;
        }
        let parts = Arc::into_inner(self.parts).expect("no runner holds the parts");
        parts.stop(back == Back::BrokenParts).await;
        self.rig.restart(back).await;
        self.worker += 1;
        let lanes = self.scripts.iter().filter(|script| script.shop.seed % SILENT == 0).map(|script| script.shop.lane);
        self.notes.silence(lanes);
        let parts = Arc::new(Parts::start(self.rig.stores(), &self.notes, self.worker).await);
        Self { parts, ..self }
    }

    /// What the crowds did, on the pure machine.
    fn replay(&self, crowds: &[Seed], results: &HashMap<u64, HashMap<u64, Bid>>) -> Vec<Crowded> {
        let replay = |shop: &Seed| {
            let bids = &results[&shop.seed];
            let (mut orders, shop) = (Orders::default(), shop.clone());
            let ordered = self.rig.order(shop.lane, self.notes.calls(shop.lane));
            let (faults, ending) = match ordered {
                Err(fault) => (vec![fault], None),
                Ok(calls) => {
                    let mut replay = Replay::of(&shop, &calls);
                    replay.compare(bids);
                    let ending = replay.ending(&mut orders);
                    (replay.faults, Some(ending))
                }
            };
            Crowded { shop, orders, bids: bids.len(), faults, ending }
        };
        crowds.iter().map(replay).collect()
    }

    async fn end(self, mut crowded: Vec<Crowded>) -> WaveResult {
        let Self { rig, notes, parts, runners, .. } = self;
        let seeds = runners.iter().map(|runner| (&runner.shop, &runner.orders));
        let seeds: Vec<_> = seeds.chain(crowded.iter().map(|crowd| (&crowd.shop, &crowd.orders))).collect();
        let mut endings = endings(&parts, &seeds).await;
        let of_crowds = endings.split_off(runners.len());
        for (crowd, ending) in crowded.iter_mut().zip(of_crowds) {
            if let Some(right) = crowd.ending.take().filter(|right| *right != ending) {
                crowd.faults.push(format!("ending\n  got {ending:?}\n  pure {right:?}"));
            }
        }
        assert_eq!(notes.parked(), 0, "{}: no record is parked", R::NAME);
        Arc::into_inner(parts).expect("no runner holds the parts").stop(false).await;
        rig.close().await;
        let results = runners.into_iter().zip(endings);
        let results =
            results.map(|(runner, ending)| (runner.shop.seed, ScriptResult { replies: runner.replies, ending }));
        let bids = crowded.iter().map(|crowd| crowd.bids).sum();
        let faults = crowded.into_iter().flat_map(|crowd| {
            let seed = crowd.shop.seed;
            crowd.faults.into_iter().map(move |fault| (seed, fault))
        });
        WaveResult { name: R::NAME, results: results.collect(), faults: faults.collect(), bids }
    }
}

/// A crowd that was results again.
struct Crowded {
    shop: Seed,
    orders: Orders,
    bids: usize,
    faults: Vec<String>,
    /// What must be left.
    ending: Option<Ending>,
}

async fn run_crowds<S: Stores>(parts: &Arc<Parts<S>>, crowds: &[Seed]) -> HashMap<u64, HashMap<u64, Bid>> {
    let mut running = JoinSet::new();
    for shop in crowds.iter().cloned() {
        let parts = Arc::clone(parts);
        running.spawn(async move {
            let bids = crowd::run(&parts, &shop).await;
            rest(&parts, &shop).await.unwrap();
            (shop.seed, bids)
        });
    }
    running.join_all().await.into_iter().collect()
}

/// The steps up to the last rest, and those after it.
fn split(steps: &[Step]) -> (&[Step], &[Step]) {
    let rested = steps.iter().rposition(|step| matches!(step, Step::Tick | Step::Restart));
    steps.split_at(rested.map_or(0, |at| at + 1))
}

async fn publish<'a, S: Stores>(stores: &S, shops: impl Iterator<Item = &'a Seed>) {
    let (now_ms, mut publishing) = (SystemClock::new().now_ms(), JoinSet::new());
    for shop in shops {
        let (stores, sale) = (stores.clone(), shop.to_sale(now_ms));
        assert!(sale.validate(super::parts::PARTITIONS).is_ok(), "{sale:?}");
        publishing.spawn(async move { stores.log().publish(&sale).await.unwrap() });
    }
    publishing.join_all().await;
}

/// What is left of each seed.
async fn endings<S: Stores>(parts: &Parts<S>, seeds: &[(&Seed, &Orders)]) -> Vec<Ending> {
    let lanes: Vec<LaneId> = seeds.iter().map(|(shop, _)| shop.lane).collect();
    let mut rows = rows(parts, &lanes).await;
    let ledger = parts.stores.databases().ledger.all_lanes().await.unwrap();
    let offers = ledger.iter().flat_map(|lane| &lane.offers);
    let numbers = offers.map(|row| (row.offer, (row.allotment, row.target, row.sold)));
    let offers: HashMap<OfferId, (u64, u64, u64)> = numbers.collect();
    let mut endings = Vec::new();
    for (shop, orders) in seeds {
        let lane = shop.lane;
        let remains = Remains {
            view: &parts.keeping.inspect(lane).await.unwrap(),
            ledger: &|offer| offers.get(&offer).copied().unwrap_or_default(),
            rows: rows.remove(&lane).unwrap_or_default(),
            buyers: parts.keeping.buyers(lane).await.unwrap(),
        };
        endings.push(Ending::of(shop, orders, remains));
    }
    endings
}

/// All rows of the lanes.
async fn rows<S: Stores>(parts: &Parts<S>, lanes: &[LaneId]) -> HashMap<LaneId, Vec<OrderRow>> {
    let orders = &parts.stores.databases().orders;
    let from = OrderId::floor_at(SystemClock::new().now_ms() - BEFORE_MS);
    let mut rows: HashMap<LaneId, Vec<OrderRow>> = HashMap::new();
    for some in lanes.chunks(SCAN_LANES) {
        for home in orders.map().all() {
            let mut after = None;
            loop {
                let page = orders.scan(home, some, from, after, SCAN_PAGE).await.unwrap();
                let Some(last) = page.last() else { break };
                after = Some(last.order);
                page.into_iter().for_each(|row| rows.entry(row.lane).or_default().push(row));
            }
        }
    }
    rows
}

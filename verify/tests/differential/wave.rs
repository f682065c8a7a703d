//! A wave of seeds on one deployment: all play side by side, the deployment restarts between their segments, and at the end everything that
//! is left is read at once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use domain::{
    id::{LaneId, OfferId, OrderId, WorkerNumber},
    order::OrderRow,
};
use kit::clock::{Clock, SystemClock};
use store::{log::SalesPublisher, stock::LaneKeeping};
use tokio::task::JoinSet;

use super::{
    notes::Notes,
    parts::{Parts, Stores},
    place::Place,
    player::Player,
    script::{Script, Step},
    told::{Ending, Remains, Reply},
};

/// Seeds of a wave.
pub(crate) const WAVE: u64 = 250;
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
    fn close(self) -> impl Future<Output = ()>;
}

/// What a seed came to on one deployment.
pub(crate) struct Played {
    pub(crate) replies: Vec<Reply>,
    pub(crate) ending: Ending,
}

/// Plays the scripts of a wave.
pub(crate) async fn play<R: Rig>(wave: u64, scripts: &[Script]) -> HashMap<u64, Played> {
    let mut rig = R::new().await;
    publish(&rig.stores(), scripts.iter().map(|script| &script.place)).await;
    let notes = Notes::watching(HashSet::new());
    let mut worker: WorkerNumber = 0;
    let mut parts = Arc::new(Parts::start(rig.stores(), &notes, worker).await);
    let mut players: Vec<Player> = scripts.iter().map(|script| Player::new(script.place.clone())).collect();
    players = each(&parts, scripts, players, |_| vec![Step::Tick]).await;
    // To wait for the opening is no step of a script.
    players.iter_mut().for_each(|player| player.replies.clear());
    for segment in 0..=restarts(wave).len() {
        players = each(&parts, scripts, players, |script| split(&script.segments[segment]).0.to_vec()).await;
        // All at once, so that much is on its way when the restart comes.
        players = each(&parts, scripts, players, |script| split(&script.segments[segment]).1.to_vec()).await;
        let Some(&back) = restarts(wave).get(segment) else { break };
        if back == Back::Servers && R::PARTS_OUTLIVE_SERVERS {
            rig.restart(back).await;
            continue;
        }
        let ending = Arc::into_inner(parts).expect("no player holds the parts");
        ending.stop(back == Back::BrokenParts).await;
        rig.restart(back).await;
        worker += 1;
        parts = Arc::new(Parts::start(rig.stores(), &notes, worker).await);
    }
    let endings = endings(&parts, &players).await;
    assert_eq!(notes.parked(), 0, "{}: no record is parked", R::NAME);
    Arc::into_inner(parts).expect("no player holds the parts").stop(false).await;
    rig.close().await;
    let played = players.into_iter().zip(endings);
    played.map(|(player, ending)| (player.place.seed, Played { replies: player.replies, ending })).collect()
}

/// The steps up to the last rest, and those after it.
fn split(steps: &[Step]) -> (&[Step], &[Step]) {
    let rested = steps.iter().rposition(|step| matches!(step, Step::Tick | Step::Restart));
    steps.split_at(rested.map_or(0, |at| at + 1))
}

async fn publish<'a, S: Stores>(stores: &S, places: impl Iterator<Item = &'a Place>) {
    let (now_ms, mut publishing) = (SystemClock::new().now_ms(), JoinSet::new());
    for place in places {
        let (stores, sale) = (stores.clone(), place.to_sale(now_ms));
        assert!(sale.validate(super::parts::PARTITIONS).is_ok(), "{sale:?}");
        publishing.spawn(async move { stores.log().publish(&sale).await.unwrap() });
    }
    publishing.join_all().await;
}

/// Every player plays some steps, side by side.
async fn each<S: Stores>(
    parts: &Arc<Parts<S>>,
    scripts: &[Script],
    players: Vec<Player>,
    steps: impl Fn(&Script) -> Vec<Step>,
) -> Vec<Player> {
    let mut playing = JoinSet::new();
    for (place, (script, mut player)) in scripts.iter().zip(players).enumerate() {
        let (parts, steps) = (Arc::clone(parts), steps(script));
        playing.spawn(async move {
            player.play(&parts, &steps).await;
            (place, player)
        });
    }
    let mut players = playing.join_all().await;
    players.sort_unstable_by_key(|(place, _)| *place);
    players.into_iter().map(|(_, player)| player).collect()
}

/// What is left of each player's script.
async fn endings<S: Stores>(parts: &Parts<S>, players: &[Player]) -> Vec<Ending> {
    let lanes: Vec<LaneId> = players.iter().map(|player| player.place.lane).collect();
    let mut rows = rows(parts, &lanes).await;
    let ledger = parts.stores.databases().ledger.all_lanes().await.unwrap();
    let offers = ledger.iter().flat_map(|lane| &lane.offers);
    let offers: HashMap<OfferId, (u64, u64)> = offers.map(|row| (row.offer, (row.allotment, row.sold))).collect();
    let mut endings = Vec::new();
    for player in players {
        let lane = player.place.lane;
        let remains = Remains {
            view: &parts.keeping.inspect(lane).await.unwrap(),
            ledger: &|offer| offers.get(&offer).copied().unwrap_or_default(),
            rows: rows.remove(&lane).unwrap_or_default(),
            buyers: parts.keeping.buyers(lane).await.unwrap(),
        };
        endings.push(Ending::of(&player.place, &player.orders, remains));
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

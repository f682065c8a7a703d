//! The public page of a sale: written once a change, its bytes and its tag shared by all who ask. A
//! page that somebody asks for is checked against sale, clock and lanes at most a few times a
//! second, however many ask; one that nobody asks for costs nothing. Readers write nothing and ask
//! no lane.

mod pace;

use std::{
    hash::Hasher,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dashmap::DashMap;
use domain::{
    id::SaleId,
    sale::Phase,
    stock::{LaneMode, LaneView},
};
use kit::clock::Clock;
use siphasher::sip::SipHasher13;
use store::stock::LaneStock;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    hint::Coarse,
    http::wire,
    metrics::Metrics,
    moment::Moment,
    sales::{Directory, Offered, Promotion},
};

pub use pace::{PAGE_BYTES_PER_S, Pace};

/// A page that was checked so long ago is checked again when somebody asks.
const CHECK_AFTER_MS: u64 = 400;
/// A page that was checked longer ago is not sent: its reader waits for the check.
const CHECKED_MS_MAX: u64 = 700;
/// A lane that answered a purchase so recently is not asked for the page.
const TOLD_MS_MAX: u64 = 200;
const _: () = assert!(CHECK_AFTER_MS < CHECKED_MS_MAX && CHECKED_MS_MAX + TOLD_MS_MAX < 1_000);
/// All lanes of a check together. Those that did not answer keep what is known of them.
const ASK_DEADLINE: Duration = Duration::from_millis(400);
/// Lanes asked at the same time: the calls leave together.
const ASKED_AT_ONCE: usize = 64;
/// Longest wait for a check.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of earlier versions of a page that clients may hold by not reading them. Beyond, its stock
/// is not written anew.
const HELD_BYTES_MAX: usize = 64 << 20;

/// A page as it is sent.
pub struct Page {
    promotion: Arc<Promotion>,
    phase: Phase,
    /// As shown, in the order of the offers.
    stock: Vec<Option<Coarse>>,
    /// When it was found right, in milliseconds of the monotonic clock.
    checked_ms: u64,
    /// The page as JSON, shared by all who read it.
    pub body: Bytes,
    /// Its entity tag, a strong one: a hash of the body.
    pub tag: Bytes,
}

/// What is kept of a sale that somebody asked for.
#[derive(Default)]
struct Board {
    page: watch::Sender<Option<Arc<Page>>>,
    is_wanted: AtomicBool,
    /// Bodies written before, as long as answers hold them.
    earlier: Mutex<Vec<Weak<Vec<u8>>>>,
}

/// The pages of all sales, for the readers of all threads.
#[derive(Default)]
pub struct Pages {
    boards: DashMap<SaleId, Arc<Board>>,
    wanted: Notify,
    /// How fast pages may leave.
    pub pace: Pace,
}

impl Pages {
    /// The page of a sale as it was at most a second ago. `None` when it could not be checked in
    /// time.
    pub async fn of(&self, promotion: &Promotion, now: Moment) -> Option<Arc<Page>> {
        let board = self.board(promotion.sale.id);
        let mut versions = board.page.subscribe();
        let known = versions.borrow_and_update().clone();
        let phase = promotion.sale.phase(now.wall_ms);
        let is_of_now = |page: &Arc<Page>| {
            page.promotion.sale.version == promotion.sale.version
                && page.phase == phase
                && page.age_ms(now) <= CHECKED_MS_MAX
        };
        if known.as_ref().is_none_or(|page| !is_of_now(page) || page.age_ms(now) > CHECK_AFTER_MS) {
            board.is_wanted.store(true, Ordering::Release);
            self.wanted.notify_one();
        }
        if let Some(page) = known.as_ref().filter(|page| is_of_now(page)) {
            return Some(Arc::clone(page));
        }
        let is_newer = |page: &Arc<Page>| {
            page.checked_ms >= now.monotonic_ms && known.as_ref().is_none_or(|known| !Arc::ptr_eq(known, page))
        };
        let is_newer = |page: &Option<Arc<Page>>| page.as_ref().is_some_and(is_newer);
        let newest = tokio::time::timeout(PATIENCE, versions.wait_for(is_newer)).await.ok()?.ok()?;
        newest.clone()
    }

    fn board(&self, sale: SaleId) -> Arc<Board> {
        let known = self.boards.get(&sale).map(|board| Arc::clone(&board));
        known.unwrap_or_else(|| Arc::clone(&self.boards.entry(sale).or_default()))
    }
}

impl Page {
    fn age_ms(&self, now: Moment) -> u64 {
        now.monotonic_ms.saturating_sub(self.checked_ms)
    }

    /// The page of a promotion: `known` again, as far as it is still right.
    fn write(
        (promotion, phase, stock): (Arc<Promotion>, Phase, Vec<Option<Coarse>>),
        known: Option<&Arc<Self>>,
        checked_ms: u64,
        write: impl FnOnce(&wire::Sale) -> Bytes,
    ) -> Self {
        let is_same = |known: &&Arc<Self>| {
            Arc::ptr_eq(&known.promotion, &promotion) && (known.phase, &known.stock) == (phase, &stock)
        };
        let (body, tag) = known.filter(is_same).map_or_else(
            || {
                let body = write(&wire::Sale::of(&promotion, phase, &stock));
                let tag = tag_of(&body);
                (body, tag)
            },
            |known| (known.body.clone(), known.tag.clone()),
        );
        Self { promotion, phase, stock, checked_ms, body, tag }
    }
}

fn tag_of(body: &[u8]) -> Bytes {
    let mut hasher = SipHasher13::new();
    hasher.write(body);
    format!("\"{:016x}\"", hasher.finish()).into()
}

/// Bytes whose last holder lets them go; their writer sees whether there is one.
struct Written(Arc<Vec<u8>>);

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Board {
    /// Whether clients hold so much of earlier versions that no other shall be added.
    fn is_held(&self) -> bool {
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        earlier.retain(|body| body.strong_count() > 0);
        // The last is the page that is shown.
        let held = earlier.iter().rev().skip(1).filter_map(Weak::upgrade).map(|body| body.len());
        held.sum::<usize>() > HELD_BYTES_MAX
    }

    fn keep(&self, body: Vec<u8>) -> Bytes {
        let body = Arc::new(body);
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&body));
        Bytes::from_owner(Written(body))
    }
}

/// Checks the pages that are wanted. One per engine.
pub struct Checker<S, C> {
    pages: Arc<Pages>,
    directory: Arc<Directory>,
    stock: S,
    clock: C,
    metrics: Arc<Metrics>,
}

impl<S: LaneStock, C: Clock> Checker<S, C> {
    /// A checker that asks these lanes.
    pub fn new(pages: Arc<Pages>, directory: Arc<Directory>, stock: S, clock: C, metrics: Arc<Metrics>) -> Self {
        Self { pages, directory, stock, clock, metrics }
    }

    /// Checks pages whenever somebody asks for one; never returns.
    pub async fn run(self) {
        loop {
            self.pages.wanted.notified().await;
            self.round().await;
        }
    }

    /// Checks every page that is wanted: asks its lanes, and writes it anew if something changed.
    async fn round(&self) {
        let boards = self.pages.boards.iter().filter(|board| board.is_wanted.swap(false, Ordering::AcqRel));
        let boards: Vec<_> = boards.map(|board| (*board.key(), Arc::clone(&board))).collect();
        // After that, so that whoever wanted one of them before sees a page that is newer than the
        // question.
        let (now, directory) = (Moment::of(&self.clock), Arc::clone(&self.directory.now()));
        let promotion = |(sale, board)| Some((board, Arc::clone(directory.sale(sale)?)));
        let wanted: Vec<_> = boards.into_iter().filter_map(promotion).collect();
        self.pages.boards.retain(|sale, _| directory.sale(*sale).is_some());
        let mut to_ask = Vec::with_capacity(wanted.len());
        for (_, promotion) in wanted.iter().filter(|(_, promotion)| !promotion.is_retired()) {
            to_ask.push(&**promotion);
        }
        self.ask(to_ask.into_iter(), now).await;
        for (board, promotion) in wanted {
            self.show(&board, promotion, now);
        }
    }

    /// Asks the lanes that answered nothing for a while.
    async fn ask<'a>(&self, promotions: impl Iterator<Item = &'a Promotion> + Send, now: Moment) {
        let is_known = |offered: &Arc<Offered>| offered.stock.is_known_since(TOLD_MS_MAX, now.monotonic_ms);
        let lanes = promotions.flat_map(|promotion| promotion.offers.chunk_by(|one, next| one.lane.id == next.lane.id));
        let mut lanes = lanes.filter(|offers| !offers.iter().all(is_known));
        let mut under_way = JoinSet::new();
        let mut ask_next = |under_way: &mut JoinSet<_>| {
            let Some(offers) = lanes.next() else { return };
            let (stock, lane, offers) = (self.stock.clone(), offers[0].lane.id, offers.to_vec());
            under_way.spawn(async move { (offers, stock.inspect(lane).await) });
        };
        let all = async {
            (0..ASKED_AT_ONCE).for_each(|_| ask_next(&mut under_way));
            while let Some(answered) = under_way.join_next().await {
                match answered {
                    Ok((offers, Ok(view))) => note(&offers, &view, Moment::of(&self.clock)),
                    Ok((_, Err(error))) => tracing::debug!(%error, "a lane could not be asked for a page"),
                    Err(error) => tracing::error!(%error, "asking a lane for a page broke down"),
                }
                ask_next(&mut under_way);
            }
        };
        if tokio::time::timeout(ASK_DEADLINE, all).await.is_err() {
            tracing::warn!("not all lanes were asked for the pages of their sales in time");
        }
    }

    fn show(&self, board: &Board, promotion: Arc<Promotion>, asked: Moment) {
        let now = Moment::of(&self.clock);
        let phase = promotion.sale.phase(now.wall_ms);
        let known = board.page.borrow().clone();
        let is_same = |known: &&Arc<Page>| Arc::ptr_eq(&known.promotion, &promotion) && known.phase == phase;
        let stock = match known.as_ref().filter(is_same).filter(|_| board.is_held()) {
            Some(known) => known.stock.clone(),
            None => promotion.stock(now.monotonic_ms),
        };
        let write = |shown: &wire::Sale| {
            self.metrics.pages_written.inc();
            // Texts and numbers always serialise.
            board.keep(serde_json::to_vec(shown).unwrap_or_default())
        };
        let page = Page::write((promotion, phase, stock), known.as_ref(), asked.monotonic_ms, write);
        board.page.send_replace(Some(Arc::new(page)));
    }
}

/// Keeps what a lane answered. A lane that is not open says nothing of its stock.
fn note(offers: &[Arc<Offered>], view: &LaneView, now: Moment) {
    let LaneMode::Open { epoch } = view.mode else { return };
    for offered in offers {
        if let Ok(at) = view.offers.binary_search_by_key(&offered.id, |(offer, ..)| *offer) {
            offered.stock.note(view.offers[at].1, epoch, now.monotonic_ms);
        }
    }
}

#[cfg(test)]
mod tests;

//! Checks pages and lists that somebody asks for: asks their lanes, writes what changed, packs it.
//! One per process, beside its readers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{
    id::{LaneId, OfferId},
    stock::{LaneMode, LaneView},
};
use kit::clock::{Clock, Moment};
use store::stock::LaneStock;
use tokio::task::JoinSet;

use crate::{
    board::Board,
    list::{self, List, is_asked},
    metrics::Metrics,
    page::{self, Page},
    sales::{Sales, Shown},
    shared::Pages,
    stock::StockSeen,
};

/// All lanes of a check together. Those that did not answer keep what is known of them.
const ASK_DEADLINE: Duration = Duration::from_millis(400);
/// Lanes asked at the same time: the calls leave together.
const ASKED_AT_ONCE: usize = 64;
/// Packing rests so many times as long as it took: a page that changes all the while costs a
/// quarter of a core at most.
const PACKING_RESTS: u32 = 3;

/// The offers of a lane, each with what is kept of its stock.
type Asked = Vec<(OfferId, Arc<StockSeen>)>;

/// Checks the pages that are wanted.
pub struct Checker<V: Sales, S, C> {
    pages: Arc<Pages<V::Shown>>,
    sales: Arc<V>,
    stock: S,
    clock: C,
    metrics: Arc<Metrics>,
}

impl<V: Sales, S: LaneStock, C: Clock> Checker<V, S, C> {
    /// A checker that asks these lanes.
    pub fn new(pages: Arc<Pages<V::Shown>>, sales: Arc<V>, stock: S, clock: C, metrics: Arc<Metrics>) -> Self {
        Self { pages, sales, stock, clock, metrics }
    }

    /// Checks and packs whenever somebody asks; never returns.
    pub async fn run(self) {
        let checking = async {
            loop {
                self.pages.wanted.notified().await;
                self.round().await;
            }
        };
        tokio::join!(checking, self.pack());
    }

    /// Packs bodies one after the other, off the threads that answer.
    async fn pack(&self) {
        loop {
            let (body, coding) = self.pages.packing.next().await;
            let started = self.clock.monotonic();
            match tokio::task::spawn_blocking(move || body.pack(coding)).await {
                Ok(()) => self.metrics.packed.inc(),
                Err(error) => tracing::error!(%error, "packing a page broke down"),
            }
            let took = self.clock.monotonic().saturating_sub(started);
            tokio::time::sleep(took * PACKING_RESTS).await;
        }
    }

    /// Checks all that is wanted.
    async fn round(&self) {
        let pages = self.pages.pages.iter().filter(|board| board.take_wanted());
        let pages: Vec<_> = pages.map(|board| (*board.key(), Arc::clone(&board))).collect();
        let lists = self.pages.lists.iter().filter(|board| board.take_wanted());
        let lists: Vec<_> = lists.map(|board| (*board.key(), Arc::clone(&board))).collect();
        // After that, so that whoever wanted one of them before sees what is newer than the
        // question.
        let (now, edition) = (Moment::of(&self.clock), self.sales.edition());
        let found = |(sale, board): (_, Arc<Board<Page<V::Shown>>>)| Some((board, self.sales.sale(sale)?));
        let pages: Vec<_> = pages.into_iter().filter_map(found).collect();
        let lists: Vec<_> = lists.into_iter().map(|(of, board)| (board, of, self.sales.of_tenant(of))).collect();
        self.pages.pages.retain(|sale, _| self.sales.sale(*sale).is_some());
        for (_, tenant, sales) in &lists {
            self.pages.lists.remove_if(tenant, |_, _| sales.is_empty());
        }
        let of_pages = pages.iter().map(|(_, sale)| (sale, page::TOLD_MS_MAX));
        let of_lists = lists.iter().flat_map(|(_, _, sales)| sales);
        let of_lists = of_lists.filter(|sale| is_asked(sale.sale().phase(now.wall_ms)));
        let lanes = lanes_to_ask(of_pages.chain(of_lists.map(|sale| (sale, list::TOLD_MS_MAX))), now);
        self.ask(lanes).await;
        let asked_ms = now.monotonic_ms;
        let now = Moment::of(&self.clock);
        for (board, sale) in pages {
            let count = || self.metrics.pages_written.inc();
            let of = (sale, now.wall_ms, now.monotonic_ms);
            board.show(Page::write(of, board.newest().as_deref(), &board.held, count), asked_ms);
        }
        for (board, tenant, sales) in lists {
            let (count, known) = (|| self.metrics.lists_written.inc(), board.newest());
            let known = (known.as_deref(), &board.held);
            let at = (now.wall_ms, now.monotonic_ms);
            board.show(List::write((tenant, edition, sales), at, known, count), asked_ms);
        }
    }

    /// Asks each of these lanes once.
    async fn ask(&self, lanes: BTreeMap<LaneId, Asked>) {
        let lanes = Mutex::new(lanes.into_iter());
        let mut under_way = JoinSet::new();
        let ask_next = |under_way: &mut JoinSet<_>| {
            let next = lanes.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((lane, offers)) = next else { return };
            self.metrics.questions.inc();
            let stock = self.stock.clone();
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
}

/// The lanes of these sales that answered nothing for so long.
fn lanes_to_ask<'a, V: Shown>(sales: impl Iterator<Item = (&'a Arc<V>, u64)>, now: Moment) -> BTreeMap<LaneId, Asked> {
    let mut lanes: BTreeMap<LaneId, (Asked, bool)> = BTreeMap::new();
    for (sale, told_ms_max) in sales.filter(|(sale, _)| !sale.is_retired()) {
        for (lane, offer, seen) in sale.offers() {
            let (offers, is_to_ask) = lanes.entry(lane.id).or_default();
            *is_to_ask |= !seen.is_known_since(told_ms_max, now.monotonic_ms);
            offers.push((offer.id, Arc::clone(seen)));
        }
    }
    lanes.into_iter().filter(|(_, (_, is_to_ask))| *is_to_ask).map(|(lane, (offers, _))| (lane, offers)).collect()
}

/// Keeps what a lane answered. A lane that is not open says nothing of its stock.
fn note(offers: &Asked, view: &LaneView, now: Moment) {
    let LaneMode::Open { epoch } = view.mode else { return };
    for (offer, seen) in offers {
        if let Ok(at) = view.offers.binary_search_by_key(offer, |(offer, ..)| *offer) {
            seen.note(view.offers[at].1, epoch, now.monotonic_ms);
        }
    }
}

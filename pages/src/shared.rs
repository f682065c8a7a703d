//! All pages and lists of a process, for the readers of all its threads. Only what is on sale gets
//! a board, so that numbers at random fill nothing.

use std::sync::Arc;

use dashmap::DashMap;
use domain::id::{SaleId, TenantId};
use kit::clock::Moment;
use tokio::sync::Notify;

use crate::{
    board::{Board, Checked},
    cursor::Key,
    list::{self, List},
    pace::Pace,
    page::{self, Page},
    sales::{Sales, Shown},
    written::{Packing, Written},
};

/// Pages and lists.
pub struct Pages<V> {
    pub(crate) pages: DashMap<SaleId, Arc<Board<Page<V>>>>,
    pub(crate) lists: DashMap<TenantId, Arc<Board<List>>>,
    pub(crate) wanted: Notify,
    pub(crate) packing: Packing,
    pub(crate) pace: Pace,
    seed: u64,
}

impl<V: Shown> Pages<V> {
    /// No page yet. `seed`: another number in each process, so that those that ask the same lanes
    /// do not ask them together.
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            pages: DashMap::new(),
            lists: DashMap::new(),
            wanted: Notify::new(),
            packing: Packing::default(),
            pace: Pace::default(),
            seed,
        })
    }

    /// The page of a sale as it was at most a second ago. `None` when it could not be checked in
    /// time.
    pub(crate) async fn page(&self, sale: &V, now: Moment) -> Option<Arc<Written>> {
        let id = sale.sale().id;
        let known = self.pages.get(&id).map(|board| Arc::clone(&board));
        let board = known.unwrap_or_else(|| {
            let new = || Arc::new(Board::new(page::LIFETIME, self.seed ^ id.get()));
            Arc::clone(&self.pages.entry(id).or_insert_with(new))
        });
        let checked = board.read(now, &self.wanted, |page| page.is_right(sale, now.wall_ms)).await?;
        Some(Arc::clone(&checked.shown.body))
    }

    /// A page of the list of a tenant. `None` as for a page.
    pub(crate) async fn list(
        &self,
        (sales, tenant): (&impl Sales<Shown = V>, TenantId),
        (limit, after): (u32, Option<Key>),
        now: Moment,
    ) -> Option<Arc<Written>> {
        let Some(board) = self.board_of(sales, tenant) else { return Some(list::empty()) };
        let edition = sales.edition();
        let checked: Arc<Checked<List>> =
            board.read(now, &self.wanted, |list| list.is_right(edition, now.wall_ms)).await?;
        Some(checked.shown.page(limit, after))
    }

    /// `None` of a tenant who has no sales.
    fn board_of(&self, sales: &impl Sales<Shown = V>, tenant: TenantId) -> Option<Arc<Board<List>>> {
        if let Some(board) = self.lists.get(&tenant) {
            return Some(Arc::clone(&board));
        }
        if sales.of_tenant(tenant).is_empty() {
            return None;
        }
        let new = || Arc::new(Board::new(list::LIFETIME, self.seed ^ tenant.get()));
        Some(Arc::clone(&self.lists.entry(tenant).or_insert_with(new)))
    }

    /// How many boards there are.
    pub fn boards(&self) -> usize {
        self.pages.len() + self.lists.len()
    }
}

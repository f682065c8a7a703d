//! What a buyer sees of orders: the row, and before there is one the buyer's entry in the lane.
//! It changes nothing.

mod repeat;

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    id::{OfferId, OrderId, SaleId, SkuId, Slot},
    money::Money,
    order::{OrderRow, Reason, Status},
    stock::LaneAnswer,
};
use store::{
    orders::Orders as Repository,
    sql::{Sql, SqlError},
    stock::LaneStock,
};
use tokio::sync::Semaphore;

use crate::{
    limits::{BuyerBuckets, Limited, Ticks},
    purchase::Caller,
    sales::{Directory, Offered},
};

/// Orders of one page, at most.
pub const PAGE_MAX: u32 = kit::http::PAGE_LIMIT_MAX;
/// Reads of this engine under way, at most: those beyond would only wait for a connection.
pub const READS_MAX: usize = 512;
/// Reads a second of one buyer: a page that asks for a status twice a second in many tabs stays far
/// below, and one token alone cannot keep the databases busy.
pub const READS_PER_BUYER_PER_S: u32 = 50;
/// The name of that quota, beside that of a buyer's purchases.
const READS_POLICY: &str = "buyer_reads";
/// How long one may take.
pub const READ_DEADLINE: Duration = Duration::from_secs(3);

/// The rows, to be read.
pub trait OrderRows: Clone + Send + Sync + 'static {
    /// The row of an order. MUST see what was written before it was asked (failure 19: no lagging
    /// replica).
    fn find(&self, order: OrderId) -> impl Future<Output = Result<Option<OrderRow>, SqlError>> + Send;

    /// A buyer's rows in a shop, newest first, at most `limit` of those before `before`.
    fn of_buyer(
        &self,
        caller: Caller,
        before: Option<OrderId>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<OrderRow>, SqlError>> + Send;

    /// Those of them that take units of this sale.
    fn live_of_buyer(
        &self,
        caller: Caller,
        sale: SaleId,
        before: Option<OrderId>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<OrderRow>, SqlError>> + Send;
}

impl<Q: Sql> OrderRows for Repository<Q> {
    async fn find(&self, order: OrderId) -> Result<Option<OrderRow>, SqlError> {
        Ok(Self::find(self, &[order]).await?.remove(&order))
    }

    async fn of_buyer(&self, caller: Caller, before: Option<OrderId>, limit: u32) -> Result<Vec<OrderRow>, SqlError> {
        Self::of_buyer(self, caller.tenant, caller.buyer, before, limit).await
    }

    async fn live_of_buyer(
        &self,
        caller: Caller,
        sale: SaleId,
        before: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<OrderRow>, SqlError> {
        Self::live_of_buyer(self, (caller.tenant, caller.buyer, sale), before, limit).await
    }
}

pub use repeat::Earlier;

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderState {
    /// Promised, no row yet.
    Pending,
    /// As its row says.
    Row(Status, Option<Reason>),
}

/// An order, as its buyer may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderView {
    /// The order's id.
    pub order: OrderId,
    /// Promised only, or as its row says.
    pub state: OrderState,
    /// The sale it belongs to.
    pub sale: SaleId,
    /// The offer that was bought.
    pub offer: OfferId,
    /// What is sold; `None` before there is a row: a later version of the sale may say otherwise
    /// than the purchase.
    pub sku: Option<SkuId>,
    /// Units bought, 1 and more.
    pub quantity: u32,
    /// Of one unit; `None` before there is a row, likewise.
    pub unit_price: Option<Money>,
    /// When the lane promised it, in epoch milliseconds.
    pub reserved_at_ms: u64,
    /// When it is to be paid at the latest, in epoch milliseconds; `None` when there is nothing to
    /// pay, or no row yet.
    pub pay_by_ms: Option<u64>,
    /// What the purchase carried, as it was sent; empty for nothing, and before there is a row.
    pub context: Bytes,
}

impl From<OrderRow> for OrderView {
    fn from(row: OrderRow) -> Self {
        Self {
            order: row.order,
            state: OrderState::Row(row.status, row.reason),
            sale: row.sale,
            offer: row.offer,
            sku: Some(row.sku),
            quantity: row.quantity,
            unit_price: Some(row.unit_price),
            reserved_at_ms: row.reserved_at_ms,
            pay_by_ms: row.pay_by_ms.filter(|_| row.status == Status::PendingPayment),
            context: row.context,
        }
    }
}

/// Why an order is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    /// There is none, or none that this caller may know of: the same answer (INV-7).
    NotFound,
    /// The rows or the lane cannot be asked now.
    Unavailable,
    /// Too many are reading.
    Overloaded,
    /// This buyer reads too often.
    TooOften(Limited),
}

/// A page of orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderList {
    /// Newest first, at most [`PAGE_MAX`].
    pub orders: Vec<OrderView>,
    /// Whether there are older ones.
    pub has_more: bool,
}

/// What bounds the reads of all threads together.
pub struct Reads {
    permits: Semaphore,
    /// By shop and buyer: two shops' buyers may have one number (INV-7).
    buyers: BuyerBuckets<Caller>,
}

impl Reads {
    /// [`READS_MAX`] at a time, [`READS_PER_BUYER_PER_S`] of one buyer.
    pub fn new(ticks: &Ticks) -> Self {
        let buyers = BuyerBuckets::new(READS_POLICY, READS_PER_BUYER_PER_S, ticks);
        Self { permits: Semaphore::new(READS_MAX), buyers }
    }

    /// Forgets buyers whose buckets are full again. To be called every few seconds.
    pub fn forget_idle_buyers(&self) {
        self.buyers.forget_idle();
    }
}

/// Reads orders for their buyers, out of rows and lanes.
pub struct Orders<S, R> {
    rows: R,
    stock: S,
    directory: Arc<Directory>,
    reads: Arc<Reads>,
}

impl<S: LaneStock, R: OrderRows> Orders<S, R> {
    /// Over these rows and lanes. `reads` is shared by all threads.
    pub fn new(rows: R, stock: S, directory: Arc<Directory>, reads: Arc<Reads>) -> Self {
        Self { rows, stock, directory, reads }
    }

    /// One order. `offer` says which lane may know it before there is a row.
    ///
    /// # Errors
    /// [`Unseen`].
    pub async fn status(&self, caller: Caller, order: OrderId, offer: Option<OfferId>) -> Result<OrderView, Unseen> {
        // A buyer's orders carry the buyer's slot: others are refused without asking anybody.
        if order.slot() != Slot::of(caller.buyer) {
            return Err(Unseen::NotFound);
        }
        self.bounded(caller, self.look(caller, order, offer)).await
    }

    /// A page of the caller's orders, newest first: at most `limit`, itself at most [`PAGE_MAX`];
    /// of those that take units of a sale where one is named.
    ///
    /// # Errors
    /// [`Unseen`], never `NotFound`.
    pub async fn page(
        &self,
        (caller, live_in): (Caller, Option<SaleId>),
        before: Option<OrderId>,
        limit: u32,
    ) -> Result<OrderList, Unseen> {
        // One row more shows whether this page is the last.
        let read = async {
            let rows = match live_in {
                Some(sale) => self.rows.live_of_buyer(caller, sale, before, limit + 1).await,
                None => self.rows.of_buyer(caller, before, limit + 1).await,
            };
            rows.map_err(unavailable)
        };
        let rows = self.bounded(caller, read).await?;
        let limit = limit as usize;
        let has_more = rows.len() > limit;
        Ok(OrderList { orders: rows.into_iter().take(limit).map(OrderView::from).collect(), has_more })
    }

    async fn bounded<T>(&self, caller: Caller, read: impl Future<Output = Result<T, Unseen>>) -> Result<T, Unseen> {
        self.reads.buyers.take(caller).map_err(Unseen::TooOften)?;
        let _read = self.reads.permits.try_acquire().map_err(|_none| Unseen::Overloaded)?;
        tokio::time::timeout(READ_DEADLINE, read).await.unwrap_or(Err(Unseen::Unavailable))
    }

    async fn look(&self, caller: Caller, order: OrderId, offer: Option<OfferId>) -> Result<OrderView, Unseen> {
        if let Some(row) = self.row(caller, order).await? {
            return Ok(row);
        }
        let (offered, is_retired) = offer.and_then(|offer| self.offered(caller, offer)).ok_or(Unseen::NotFound)?;
        let entry = match self.stock.find(offered.lane.id, caller.buyer).await {
            Ok(LaneAnswer::Open(purchases)) => purchases.into_iter().find(|(purchase, _)| purchase.order == order),
            // R14: it was retired before the rows were asked once more, so they have every order of
            // it.
            Ok(LaneAnswer::Closed { .. }) if is_retired => {
                return self.row(caller, order).await?.ok_or(Unseen::NotFound);
            }
            Ok(LaneAnswer::Closed { .. }) => return Err(Unseen::Unavailable),
            Err(error) => {
                tracing::warn!(%error, lane = %offered.lane.id, "a lane could not be asked for a status");
                return Err(Unseen::Unavailable);
            }
        };
        let is_on_its_way = entry.is_some_and(|(purchase, settled)| !settled && purchase.number.is_some());
        // Settled, released or rejected between the two looks: then the row is there by now.
        if !is_on_its_way && let Some(row) = self.row(caller, order).await? {
            return Ok(row);
        }
        let (purchase, _) = entry.ok_or(Unseen::NotFound)?;
        // The lane's other offers are of the same sale; one that a later version dropped is not
        // shown before it has a row.
        let (offered, _) = self.offered(caller, purchase.offer).ok_or(Unseen::NotFound)?;
        Ok(OrderView {
            order,
            state: OrderState::Pending,
            sale: offered.sale,
            offer: offered.id,
            sku: None,
            quantity: purchase.quantity,
            unit_price: None,
            reserved_at_ms: order.minted_at_ms(),
            pay_by_ms: None,
            context: Bytes::new(),
        })
    }

    async fn row(&self, caller: Caller, order: OrderId) -> Result<Option<OrderView>, Unseen> {
        let Some(row) = self.rows.find(order).await.map_err(unavailable)? else { return Ok(None) };
        let is_theirs = row.tenant == caller.tenant && row.buyer == caller.buyer;
        if is_theirs { Ok(Some(row.into())) } else { Err(Unseen::NotFound) }
    }

    /// An offer of this caller's shop, and whether its lane is retired.
    fn offered(&self, caller: Caller, offer: OfferId) -> Option<(Arc<Offered>, bool)> {
        let directory = self.directory.now();
        let (promotion, offered) = directory.offer(offer)?;
        let is_retired = offered.lane.is_retired(promotion.sale.window);
        (offered.tenant == caller.tenant).then(|| (Arc::clone(offered), is_retired))
    }
}

fn unavailable(error: SqlError) -> Unseen {
    tracing::warn!(%error, "order rows could not be read");
    Unseen::Unavailable
}

#[cfg(test)]
mod tests;

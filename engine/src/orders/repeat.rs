//! A repeat of a known key gets its order, whatever the sale's window and pause say by now, and
//! whatever became of the order (R13). The lane knows every purchase but what became of released
//! ones; the rows know those, and all of a lane that is closed.

use domain::{
    id::{KeyHash, OrderId},
    order::{OrderRow, Status},
    stock::{LaneAnswer, Purchase},
};
use store::stock::LaneStock;

use super::{OrderRows, Orders, PAGE_MAX, Unseen, unavailable};
use crate::{admission::Repeat, purchase::Caller};

/// What an earlier purchase by the same key came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// No purchase by this key is known.
    None,
    /// It was for another quantity.
    Mismatch,
    /// It is live in the lane; and whether it is settled.
    Live(Purchase, bool),
    /// It has this row.
    Row(OrderId, Status),
}

impl<S: LaneStock, R: OrderRows> Orders<S, R> {
    /// The earlier purchase by a key. Bounded as reads are.
    ///
    /// # Errors
    /// [`Unseen`], never `NotFound`.
    pub async fn of_key(&self, repeat: &Repeat) -> Result<Earlier, Unseen> {
        self.bounded(repeat.caller, self.look_for_key(repeat)).await
    }

    /// The status of a released order: its row says whether it was cancelled or expired. Bounded as
    /// reads are.
    ///
    /// # Errors
    /// [`Unseen`], never `NotFound`: an order that the lane released has its row.
    pub async fn of_released(&self, caller: Caller, order: OrderId) -> Result<Status, Unseen> {
        self.bounded(caller, self.status_of(order)).await
    }

    async fn look_for_key(&self, repeat: &Repeat) -> Result<Earlier, Unseen> {
        let Repeat { caller, offered, key, quantity, .. } = repeat;
        let found = match self.stock.find(offered.lane.id, caller.buyer).await {
            Ok(LaneAnswer::Open(purchases)) => purchases.into_iter().find(|(purchase, _)| purchase.key == *key),
            Ok(LaneAnswer::Closed { .. }) => return self.look_in_rows(repeat).await,
            Err(error) => {
                tracing::warn!(%error, lane = %offered.lane.id, "a lane could not be asked for a repeated key");
                return self.look_in_rows(repeat).await;
            }
        };
        Ok(match found {
            None => Earlier::None,
            Some((first, _)) if (first.offer, first.quantity) != (offered.id, quantity.get()) => Earlier::Mismatch,
            Some((first, settled)) if first.number.is_some() => Earlier::Live(first, settled),
            Some((first, _)) => Earlier::Row(first.order, self.status_of(first.order).await?),
        })
    }

    /// For a lane that does not answer. While its records may still be under way, no row says
    /// nothing: only of a retired lane it says that there is no order.
    async fn look_in_rows(&self, repeat: &Repeat) -> Result<Earlier, Unseen> {
        match self.row_of_key(repeat.caller, repeat.key).await? {
            Some(row) if row.quantity != repeat.quantity.get() => Ok(Earlier::Mismatch),
            Some(row) => Ok(Earlier::Row(row.order, row.status)),
            None if repeat.is_retired => Ok(Earlier::None),
            None => Err(Unseen::Unavailable),
        }
    }

    /// The newest row of a key, page by page: the key's hash holds buyer and offer, and has no
    /// index of its own.
    async fn row_of_key(&self, caller: Caller, key: KeyHash) -> Result<Option<OrderRow>, Unseen> {
        let mut before = None;
        loop {
            let page = self.rows.of_buyer(caller, before, PAGE_MAX).await.map_err(unavailable)?;
            let is_last = page.len() < PAGE_MAX as usize;
            before = page.last().map(|row| row.order);
            if let Some(row) = page.into_iter().find(|row| row.key == key) {
                return Ok(Some(row));
            }
            if is_last {
                return Ok(None);
            }
        }
    }

    async fn status_of(&self, order: OrderId) -> Result<Status, Unseen> {
        let row = self.rows.find(order).await.map_err(unavailable)?;
        row.map(|row| row.status).ok_or(Unseen::Unavailable)
    }
}

#[cfg(test)]
mod tests;

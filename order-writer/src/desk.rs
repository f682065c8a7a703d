//! The desk: what people and time do to an order after it is decided. It changes the row by compare-and-set and writes the release
//! beside it in the same transaction; only the writer frees units and purchase numbers, when the release comes by in the log (R1).
//! The public routes come later: for now an operator's command asks.

use std::time::Duration;

use domain::{
    id::OrderId,
    order::{OrderRow, Status},
    record::{Record, Released},
    shard::ShardId,
};
use store::{
    ledger::Ledger,
    orders::{Marked, Orders, OutboxRow},
    sql::{Sql, SqlError},
};

use crate::partition::random_record_id;

/// Overdue orders taken at once, of each table.
const EXPIRE_PAGE: u32 = 500;

/// Why the desk did not do it.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// There is no such order.
    #[error("there is no order {0}: look at the id again")]
    NotFound(OrderId),
    /// Its status does not allow it.
    #[error("order {order} is {}; only one that is pending_payment can become {}", now.as_str(), wanted.as_str())]
    Conflict {
        /// The order.
        order: OrderId,
        /// Its status.
        now: Status,
        /// The status that was asked for.
        wanted: Status,
    },
    /// Its lane is not in the ledger.
    #[error("order {0} has no lane in the ledger: restore the ledger database first")]
    NoLane(OrderId),
    /// The database.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

/// Cancels an unpaid order.
///
/// # Errors
/// [`DeskError`]; after [`DeskError::Sql`] the outcome may be unknown: asking again tells.
pub async fn cancel<S: Sql>(orders: &Orders<S>, ledger: &Ledger<S>, order: OrderId) -> Result<(), DeskError> {
    let found = orders.find(&[order]).await?.remove(&order).ok_or(DeskError::NotFound(order))?;
    release(orders, ledger, &found, Status::Cancelled).await
}

/// Expires every order that is unpaid `after` it was reserved, by the database's clock. Returns how many.
///
/// # Errors
/// As [`cancel`].
pub async fn expire<S: Sql>(orders: &Orders<S>, ledger: &Ledger<S>, after: Duration) -> Result<u64, DeskError> {
    let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    let now_ms = orders.now_ms(ShardId(0)).await?;
    let before_ms = now_ms.saturating_sub(after_ms);
    let mut expired = 0;
    for home in orders.map().all() {
        loop {
            let overdue = orders.overdue(home, before_ms, EXPIRE_PAGE).await?;
            if overdue.is_empty() {
                break;
            }
            for row in overdue {
                match release(orders, ledger, &row, Status::Expired).await {
                    Ok(()) => expired += 1,
                    // Paid or cancelled since it was read: that is its buyer's good right.
                    Err(DeskError::Conflict { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(expired)
}

async fn release<S: Sql>(
    orders: &Orders<S>,
    ledger: &Ledger<S>,
    row: &OrderRow,
    wanted: Status,
) -> Result<(), DeskError> {
    let lane = ledger.lane(row.lane).await?.ok_or(DeskError::NoLane(row.order))?;
    let released = Released {
        lane: row.lane,
        order: row.order,
        buyer: row.buyer,
        offer: row.offer,
        quantity: row.quantity,
        key: row.key,
    };
    let out = OutboxRow {
        id: random_record_id(),
        order: row.order,
        lane: row.lane,
        partition: lane.partition,
        payload: Record::Released(released).encode().into(),
    };
    match orders.mark(row.order, Status::PendingPayment, wanted, Some(out)).await? {
        Marked::Done => Ok(()),
        Marked::Conflict(now) => Err(DeskError::Conflict { order: row.order, now, wanted }),
        Marked::NotFound => Err(DeskError::NotFound(row.order)),
    }
}

//! The desk: what people and time do to an order after it is decided. It changes the row by
//! compare-and-set and writes the release beside it in the same transaction; only the writer frees
//! units and purchase numbers, when the release comes by in the log (R1). The public routes come
//! later: for now an operator's command asks.

mod expire;

use domain::{
    id::{OrderId, PartitionId},
    order::{OrderRow, Status, Transition},
    record::{RELEASED_TYPE, Record, Released, Topic},
};
use store::{
    ledger::Ledger,
    orders::{Marked, Orders, OutboxRow},
    sql::{Sql, SqlError},
};

use crate::partition::random_record_id;

pub use expire::{Expiry, expire};

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
    /// Its buyer may be paying at this moment.
    #[error(
        "order {0} has an attempt to pay that is not closed: cancel it by the order service, which closes it first"
    )]
    Held(OrderId),
    /// Its lane is not in the ledger.
    #[error("order {0} has no lane in the ledger: restore the ledger database first")]
    NoLane(OrderId),
    /// The database.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The database, in the middle of many orders.
    #[error("{cause}; {} before that, and the same command goes on with the rest", done.told())]
    Interrupted {
        /// What was done before.
        done: Expiry,
        /// What came between.
        cause: SqlError,
    },
}

/// Cancels an unpaid order.
///
/// # Errors
/// [`DeskError`]; after [`DeskError::Sql`] the outcome may be unknown: asking again tells.
pub async fn cancel<S: Sql>(orders: &Orders<S>, ledger: &Ledger<S>, order: OrderId) -> Result<(), DeskError> {
    let found = orders.find(&[order]).await?.remove(&order).ok_or(DeskError::NotFound(order))?;
    release(orders, ledger, &found, Transition::Cancel).await
}

async fn release<S: Sql>(
    orders: &Orders<S>,
    ledger: &Ledger<S>,
    row: &OrderRow,
    wanted: Transition,
) -> Result<(), DeskError> {
    let lane = ledger.lane(row.lane).await?.ok_or(DeskError::NoLane(row.order))?;
    let out = release_of(row, lane.partition, wanted);
    match orders.mark(row.order, wanted, Some(out)).await? {
        Marked::Done => Ok(()),
        Marked::Conflict(now) => Err(DeskError::Conflict { order: row.order, now, wanted: wanted.to() }),
        Marked::Held => Err(DeskError::Held(row.order)),
        Marked::NotFound => Err(DeskError::NotFound(row.order)),
    }
}

/// The outbox row of an order that goes through a transition which gives its units back. Its record
/// says what the order becomes (R8), and from that the order's events follow.
fn release_of(row: &OrderRow, partition: PartitionId, wanted: Transition) -> OutboxRow {
    let OrderRow { lane, order, buyer, offer, quantity, key, .. } = *row;
    let released = Released { lane, order, buyer, offer, quantity, key, became: Some(wanted.to()) };
    OutboxRow {
        id: random_record_id(),
        order,
        lane,
        partition,
        kind: RELEASED_TYPE.into(),
        topic: Topic::Orders.name().into(),
        payload: Record::Released(released).encode().into(),
    }
}

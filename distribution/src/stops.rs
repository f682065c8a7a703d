//! What the shop has stopped: payouts of people and orders that it holds, and its switch. What is
//! stopped leaves the line of what is due, so that it keeps nobody behind it waiting, and comes
//! back by itself once nothing stops it.

use std::collections::BTreeMap;

use domain::id::{BuyerId, OrderId, TenantId};
use store::sql::{Fixed, Row, Sql, SqlError, Tx, Value, stored};

use crate::database::OPEN_END;

/// Orders, and withdrawals, that come back in one round.
const BATCH: u32 = 500;

const OF_PERSON: &str = "SELECT hold FROM holds WHERE tenant = ? AND person = ? AND released_at IS NULL LIMIT 1";
const SWITCH: &str = "SELECT earning, withdrawing FROM shop_switches WHERE tenant = ? ORDER BY from_ms DESC LIMIT 1";
/// Of each shop that ever switched, as it is now.
const SWITCHES: &str = "SELECT tenant, earning, withdrawing FROM shop_switches s WHERE from_ms = (\
                        SELECT MAX(from_ms) FROM shop_switches l WHERE l.tenant = s.tenant) ORDER BY tenant";
const HELD: [(&str, &str); 2] = [
    ("people", "SELECT COUNT(*) FROM holds WHERE released_at IS NULL AND order_id = 0"),
    ("orders", "SELECT COUNT(*) FROM holds WHERE released_at IS NULL AND order_id > 0"),
];

/// What comes back: due payouts, and approved withdrawals.
const ORDERS_AWAY: &str = "SELECT order_id FROM receipts WHERE due_at = ? LIMIT ?";
const ORDERS_FREE: &str = "SELECT order_id FROM receipts r WHERE due_at = ? AND NOT EXISTS (\
                           SELECT 1 FROM holds h WHERE h.order_id = r.order_id AND h.released_at IS NULL) LIMIT ?";
const ORDER_BACK: &str = "UPDATE receipts SET due_at = matures_at WHERE order_id = ? AND due_at = ?";
const WISHES_AWAY: &str = "SELECT tenant, withdrawal FROM withdrawals WHERE next_at = ? LIMIT ?";
const WISHES_FREE: &str = "SELECT tenant, withdrawal FROM withdrawals w WHERE next_at = ? AND NOT EXISTS (\
                           SELECT 1 FROM holds h WHERE h.tenant = w.tenant AND h.person = w.person \
                           AND h.released_at IS NULL) LIMIT ?";
const WISH_BACK: &str = "UPDATE withdrawals SET next_at = ? WHERE tenant = ? AND withdrawal = ? AND next_at = ?";

/// What a shop's commissions do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Switch {
    /// New orders pay, what is due matures, credits are posted.
    pub(crate) earning: bool,
    /// Withdrawals are taken, approved and sent.
    pub(crate) withdrawing: bool,
}

impl Switch {
    fn read(row: &mut Row) -> Result<Self, SqlError> {
        Ok(Self { earning: row.int()? != 0, withdrawing: row.int()? != 0 })
    }

    /// As it is now.
    pub(crate) async fn of<T: Tx>(tx: &mut T, tenant: TenantId) -> Result<Self, SqlError> {
        Self::last(tx.rows(SWITCH, vec![tenant.stored().into()]).await?)
    }

    /// The same without a transaction.
    pub(crate) async fn seen<S: Sql>(sql: &S, tenant: TenantId) -> Result<Self, SqlError> {
        Self::last(sql.rows(SWITCH, vec![tenant.stored().into()]).await?)
    }

    fn last(mut rows: Vec<Row>) -> Result<Self, SqlError> {
        rows.first_mut().map_or(Ok(Self { earning: true, withdrawing: true }), Self::read)
    }
}

/// Until when something waits that a switch stops: no time comes so late.
fn off(tenant: TenantId) -> i64 {
    OPEN_END - i64::from(tenant.number())
}

/// Whether a person's withdrawals are held. Lock the person first: a hold does so too.
pub(crate) async fn is_held<T: Tx>(tx: &mut T, (tenant, person): (TenantId, BuyerId)) -> Result<bool, SqlError> {
    Ok(!tx.rows(OF_PERSON, vec![tenant.stored().into(), person.stored().into()]).await?.is_empty())
}

/// The same without a transaction.
pub(crate) async fn is_seen_held<S: Sql>(sql: &S, (tenant, person): (TenantId, BuyerId)) -> Result<bool, SqlError> {
    Ok(!sql.rows(OF_PERSON, vec![tenant.stored().into(), person.stored().into()]).await?.is_empty())
}

/// Until when an approved withdrawal of a locked person waits; `None`: it may go out.
pub(crate) async fn of_withdrawal<T: Tx>(
    tx: &mut T,
    (tenant, person): (TenantId, BuyerId),
) -> Result<Option<i64>, SqlError> {
    if is_held(tx, (tenant, person)).await? {
        return Ok(Some(OPEN_END));
    }
    Ok((!Switch::of(tx, tenant).await?.withdrawing).then(|| off(tenant)))
}

/// Which of these locked orders do not mature, and until when.
pub(crate) async fn of_orders<T: Tx>(
    tx: &mut T,
    orders: &[(TenantId, OrderId)],
) -> Result<BTreeMap<OrderId, i64>, SqlError> {
    let held = Fixed::new("SELECT order_id FROM holds WHERE order_id IN ([?,]) AND released_at IS NULL");
    let (mut stopped, mut switches) = (BTreeMap::new(), BTreeMap::new());
    for (tenant, order) in orders {
        if !switches.contains_key(tenant) {
            switches.insert(*tenant, Switch::of(tx, *tenant).await?);
        }
        if switches.get(tenant).is_some_and(|switch: &Switch| !switch.earning) {
            stopped.insert(*order, off(*tenant));
        }
    }
    let ids: Vec<i64> = orders.iter().map(|(_, order)| order.stored()).collect();
    for (query, ids) in held.padded(&ids) {
        for mut row in tx.rows(query, ids.into_iter().map(Value::from).collect()).await? {
            stopped.insert(row.id(OrderId::new)?, OPEN_END);
        }
    }
    Ok(stopped)
}

/// Puts back what nothing stops any more, some of it in each call. Any number of processes may do
/// so. What is stopped now, by what.
pub(crate) async fn go_on<S: Sql>(sql: &S, now_ms: u64) -> Result<Vec<(&'static str, i64)>, SqlError> {
    let (mut earning, mut withdrawing) = (0, 0);
    for mut row in sql.rows(SWITCHES, vec![]).await? {
        let (tenant, switch) = (row.id(TenantId::new)?, Switch::read(&mut row)?);
        match switch.earning {
            true => orders_back(sql, ORDERS_AWAY, off(tenant)).await?,
            false => earning += 1,
        }
        match switch.withdrawing {
            true => wishes_back(sql, WISHES_AWAY, off(tenant), now_ms).await?,
            false => withdrawing += 1,
        }
    }
    orders_back(sql, ORDERS_FREE, OPEN_END).await?;
    wishes_back(sql, WISHES_FREE, OPEN_END, now_ms).await?;
    let mut stopped = vec![("earning", earning), ("withdrawing", withdrawing)];
    for (what, count) in HELD {
        let row = sql.rows(count, vec![]).await?.into_iter().next();
        stopped.push((what, row.map(|mut row| row.int()).transpose()?.unwrap_or(0)));
    }
    Ok(stopped)
}

async fn orders_back<S: Sql>(sql: &S, which: &str, away: i64) -> Result<(), SqlError> {
    for mut row in sql.rows(which, vec![away.into(), BATCH.into()]).await? {
        sql.exec(ORDER_BACK, vec![row.int()?.into(), away.into()]).await?;
    }
    Ok(())
}

async fn wishes_back<S: Sql>(sql: &S, which: &str, away: i64, now_ms: u64) -> Result<(), SqlError> {
    for mut row in sql.rows(which, vec![away.into(), BATCH.into()]).await? {
        let params = vec![stored(now_ms)?.into(), row.int()?.into(), row.int()?.into(), away.into()];
        sql.exec(WISH_BACK, params).await?;
    }
    Ok(())
}

//! Payouts whose time has come become available: orders in the order of that time, some in each
//! transaction, each once.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{OrderId, TenantId};
use kit::{clock::Clock, random::Random};
use store::sql::{Lock, Sql, SqlError, Tx, Value, stored};

use crate::{
    book::{Book, Owner, Texts},
    evaluate::{Key, To},
    ledger::LedgerError,
    stops,
};

/// Orders of one transaction.
const BATCH: u32 = 100;

/// Locked in the order of their key; who comes second finds them done.
const DUE: &str = "SELECT order_id FROM receipts WHERE due_at <= ? ORDER BY due_at LIMIT ?";
/// With the line, which whoever holds an order locks; what a closing pays has none.
const LOCK: &str = "SELECT r.tenant, r.due_at FROM receipts r LEFT JOIN order_lines l ON l.order_id = r.order_id \
                    WHERE r.order_id = ?";
const AWAY: &str = "UPDATE receipts SET due_at = ? WHERE order_id = ?";
const DONE: &str = "UPDATE receipts SET due_at = NULL WHERE order_id = ? AND due_at IS NOT NULL";
const ACCRUED: &str = "SELECT rule_name, person, plan_name, plan_version, expense FROM entries \
                       WHERE tenant = ? AND subject = ? AND kind = 1";
const OLDEST: &str = "SELECT MIN(due_at) FROM receipts WHERE due_at IS NOT NULL";

/// What is left of one payout, and the plan that made it.
type Accrued = BTreeMap<To, (String, u32, i64)>;

/// Matures what is due, at most a batch; what is stopped leaves the line. How many orders.
///
/// # Errors
/// [`SqlError`]; the next call goes on.
pub(crate) async fn mature<S: Sql>(sql: &S, clock: &impl Clock, random: &impl Random) -> Result<usize, SqlError> {
    let now_ms = clock.now_ms();
    let due = sql.rows(DUE, vec![stored(now_ms)?.into(), BATCH.into()]).await?;
    let mut orders = due.into_iter().map(|mut row| row.id(OrderId::new)).collect::<Result<Vec<_>, _>>()?;
    if orders.is_empty() {
        return Ok(0);
    }
    orders.sort_unstable();
    let texts = Texts::default();
    let mut tx = sql.begin().await?;
    let (mut held, mut takers): (Vec<(TenantId, OrderId)>, BTreeSet<Owner>) = (Vec::new(), BTreeSet::new());
    for order in orders {
        let locked = tx.lock_rows(LOCK, vec![order.stored().into()], Lock::Wait).await?.into_iter().next();
        let Some(mut row) = locked else { continue };
        let tenant = row.id(TenantId::new)?;
        if row.int_or_null()?.is_some() {
            held.push((tenant, order));
        }
    }
    let done = held.len();
    for (order, until) in stops::of_orders(&mut tx, &held).await? {
        tx.exec(AWAY, vec![until.into(), order.stored().into()]).await?;
        held.retain(|(_, due)| *due != order);
    }
    for (tenant, order) in &held {
        let accrued = accrued(&mut tx, *tenant, *order).await?;
        takers.extend(accrued.keys().filter_map(|to| Some((*tenant, to.beneficiary?))));
    }
    let broken = |error: LedgerError| SqlError::Broken(error.to_string().into());
    let mut book = Book::open(&texts, &mut tx, &BTreeSet::new(), takers.clone()).await?;
    for (tenant, order) in held {
        // Read again under the locks of the people: a refund may have come in between.
        let accrued = accrued(&mut tx, tenant, order).await?;
        if accrued.keys().any(|to| to.beneficiary.is_some_and(|person| !takers.contains(&(tenant, person)))) {
            return Err(SqlError::LockWait("an order got another payee meanwhile".into()));
        }
        for (to, (plan, version, amount)) in accrued {
            let Some(person) = to.beneficiary else { continue };
            let key = Key { plan, version, line: order.get(), sequence: 0, to };
            book.mature(tenant, key, person, amount).map_err(broken)?;
        }
        tx.exec(DONE, vec![order.stored().into()]).await?;
    }
    let part = random.bytes::<8>().map_err(|error| SqlError::Broken(error.to_string().into()))?;
    book.write(&mut tx, now_ms, i64::from_le_bytes(part) & i64::MAX).await?;
    tx.commit().await?;
    Ok(done)
}

async fn accrued<T: Tx>(tx: &mut T, tenant: TenantId, order: OrderId) -> Result<Accrued, SqlError> {
    let mut accrued = Accrued::new();
    for mut row in tx.rows(ACCRUED, vec![tenant.stored().into(), order.stored().into()]).await? {
        let (rule, person): (_, u64) = (row.text()?, row.number()?);
        let to = To { rule, beneficiary: (person != 0).then_some(person) };
        let (plan, version, expense) = (row.text()?, row.number()?, row.int()?);
        accrued.entry(to).or_insert((plan, version, 0)).2 -= expense;
    }
    Ok(accrued)
}

/// How long the oldest is overdue, milliseconds.
pub(crate) async fn lag_ms<S: Sql>(sql: &S, now_ms: u64) -> Result<u64, SqlError> {
    let oldest = sql.rows(OLDEST, Vec::<Value>::new()).await?.into_iter().next();
    let oldest = oldest.map(|mut row| row.time_or_null()).transpose()?.flatten();
    Ok(oldest.map_or(0, |due| now_ms.saturating_sub(due)))
}

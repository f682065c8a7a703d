//! The watch over what was paid: people who are paid on what they bought, pairs who pay each other,
//! and how many levels and people a shop pays, against the thresholds of the plan's profile. It
//! walks over the orders once, a day after they were made, some in each transaction.
//!
//! Events of orders name no device, address or payer: whose these overlap is not found here.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{OrderId, TenantId};
use store::sql::{Fixed, Lock, Sql, SqlError, Tx, Value, stored};

use crate::{
    book::DAY_MS,
    check::{Profiles, Watch},
    published::document,
};

/// Orders of one transaction.
const BATCH: u32 = 200;
/// An order is looked at so long after it was made: by then it is paid, or never.
const LAG_MS: u64 = DAY_MS;

const NEW_WALK: &str = "INSERT INTO risk_walks (walk, position) VALUES (1, 0)";
const LOCK_WALK: &str = "SELECT position FROM risk_walks WHERE walk = 1";
const MOVE_WALK: &str = "UPDATE risk_walks SET position = ? WHERE walk = 1";
const ORDERS: &str = "SELECT order_id, tenant, buyer FROM order_lines WHERE order_id > ? AND order_id < ? \
                      ORDER BY order_id LIMIT ?";
const PLANS: &str = "SELECT version, document FROM plans WHERE tenant = ?";
const PAIR: &str = "INSERT INTO risk_pairs (tenant, buyer, payee) VALUES (?, ?, ?)";
const BACK: &str = "SELECT buyer FROM risk_pairs WHERE tenant = ? AND buyer = ? AND payee = ?";
const FOUND: &str = "INSERT INTO risks (tenant, kind, person, other, risk, order_id, times, found_at, last_at) \
                     VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)";
const AGAIN: &str = "UPDATE risks SET times = times + 1, order_id = ?, last_at = ? \
                     WHERE tenant = ? AND kind = ? AND person = ? AND other = ?";

/// An order, and whom it pays.
#[derive(Debug)]
struct Paid {
    order: i64,
    tenant: TenantId,
    buyer: i64,
    /// Whether the buyer is a distributor.
    is_inside: bool,
    payees: BTreeSet<i64>,
    version: i64,
}

/// What one order shows: kind, person, other.
type Finding = (&'static str, i64, i64);

/// Looks at the next orders; how many. `number`: of a finding, which none has had.
///
/// # Errors
/// [`SqlError`]; the next call goes on.
pub(crate) async fn watch<S: Sql>(
    sql: &S,
    profiles: &Profiles,
    now_ms: u64,
    number: impl Fn() -> Result<i64, SqlError>,
) -> Result<usize, SqlError> {
    sql.insert_absent(NEW_WALK, vec![]).await?;
    let position = sql.rows(LOCK_WALK, vec![]).await?.pop().map_or(Ok(0), |mut row| row.int())?;
    let orders = paid(sql, position, stored(OrderId::floor_at(now_ms.saturating_sub(LAG_MS)))?).await?;
    let Some(last) = orders.last().map(|paid| paid.order) else { return Ok(0) };
    let watches = watches(sql, profiles, &orders).await?;
    let mut heads: BTreeMap<TenantId, i64> = BTreeMap::new();
    for tenant in orders.iter().map(|paid| paid.tenant).collect::<BTreeSet<_>>() {
        heads.insert(tenant, people(sql, tenant, profiles).await?);
    }
    let mut tx = sql.begin().await?;
    let at = tx.lock_rows(LOCK_WALK, vec![], Lock::Wait).await?.pop().map_or(Ok(0), |mut row| row.int())?;
    if at != position {
        tx.rollback().await;
        return Ok(0);
    }
    for paid in &orders {
        let watch = watches.get(&(paid.tenant, paid.version)).and_then(Option::as_ref);
        let heads = heads.get(&paid.tenant).copied().unwrap_or(0);
        for finding in findings(&mut tx, paid, watch, heads).await? {
            note(&mut tx, paid, finding, now_ms, &number).await?;
        }
    }
    tx.exec(MOVE_WALK, vec![last.into()]).await?;
    tx.commit().await?;
    Ok(orders.len())
}

/// The next orders with those whom they paid.
async fn paid<S: Sql>(sql: &S, after: i64, before: i64) -> Result<Vec<Paid>, SqlError> {
    let payees = Fixed::new(
        "SELECT subject, person, plan_version FROM entries WHERE tenant = ? AND subject IN ([?,]) AND kind = 1 \
         AND person > 0",
    );
    let inside = Fixed::new("SELECT person FROM people WHERE tenant = ? AND person IN ([?,])");
    let mut orders: BTreeMap<i64, Paid> = BTreeMap::new();
    let mut by_tenant: BTreeMap<TenantId, (Vec<i64>, Vec<i64>)> = BTreeMap::new();
    for mut row in sql.rows(ORDERS, vec![after.into(), before.into(), BATCH.into()]).await? {
        let (order, tenant, buyer) = (row.int()?, row.id(TenantId::new)?, row.int()?);
        let ids = by_tenant.entry(tenant).or_default();
        ids.0.push(order);
        ids.1.push(buyer);
        let paid = Paid { order, tenant, buyer, is_inside: false, payees: BTreeSet::new(), version: 0 };
        orders.insert(order, paid);
    }
    for (tenant, (ids, buyers)) in by_tenant {
        let params = |ids: Vec<i64>| {
            let mut params = vec![Value::from(tenant.stored())];
            params.extend(ids.into_iter().map(Value::from));
            params
        };
        for (query, ids) in payees.padded(&ids) {
            for mut row in sql.rows(query, params(ids)).await? {
                let (order, person, version) = (row.int()?, row.int()?, row.int()?);
                if let Some(paid) = orders.get_mut(&order) {
                    paid.payees.insert(person);
                    paid.version = version;
                }
            }
        }
        let mut known = BTreeSet::new();
        for (query, buyers) in inside.padded(&buyers) {
            for mut row in sql.rows(query, params(buyers)).await? {
                known.insert(row.int()?);
            }
        }
        for paid in orders.values_mut().filter(|paid| paid.tenant == tenant) {
            paid.is_inside = known.contains(&paid.buyer);
        }
    }
    Ok(orders.into_values().collect())
}

/// The thresholds of the profiles under which these orders were paid, by plan version.
async fn watches<S: Sql>(
    sql: &S,
    profiles: &Profiles,
    orders: &[Paid],
) -> Result<BTreeMap<(TenantId, i64), Option<Watch>>, SqlError> {
    let mut watches = BTreeMap::new();
    for tenant in orders.iter().map(|paid| paid.tenant).collect::<BTreeSet<_>>() {
        for mut row in sql.rows(PLANS, vec![tenant.stored().into()]).await? {
            let (version, plan) = (row.int()?, document(&mut row)?);
            let profile = profiles.profiles.iter().find(|profile| profile.name == plan.profile);
            watches.insert((tenant, version), profile.and_then(|profile| profile.watch.clone()));
        }
    }
    Ok(watches)
}

/// How many people a shop has paid, counted up to the highest threshold of all profiles.
async fn people<S: Sql>(sql: &S, tenant: TenantId, profiles: &Profiles) -> Result<i64, SqlError> {
    let watches = profiles.profiles.iter().filter_map(|profile| profile.watch.as_ref());
    let most = watches.flat_map(|watch| &watch.people).max().copied().unwrap_or(0);
    let count = "SELECT COUNT(*) FROM (SELECT DISTINCT person FROM sub_accounts WHERE tenant = ? LIMIT ?) AS paid";
    let row = sql.rows(count, vec![tenant.stored().into(), most.into()]).await?.pop();
    row.map_or(Ok(0), |mut row| row.int())
}

async fn findings<T: Tx>(tx: &mut T, paid: &Paid, watch: Option<&Watch>, heads: i64) -> Result<Vec<Finding>, SqlError> {
    let mut found = Vec::new();
    if paid.payees.contains(&paid.buyer) {
        found.push(("self_purchase", paid.buyer, 0));
    }
    let others: Vec<i64> = paid.payees.iter().copied().filter(|payee| *payee != paid.buyer && paid.is_inside).collect();
    for payee in others {
        let tenant = || Value::from(paid.tenant.stored());
        tx.insert_absent(PAIR, vec![tenant(), paid.buyer.into(), payee.into()]).await?;
        if !tx.rows(BACK, vec![tenant(), payee.into(), paid.buyer.into()]).await?.is_empty() {
            found.push(("ring", payee.min(paid.buyer), payee.max(paid.buyer)));
        }
    }
    if let Some(watch) = watch {
        let levels = i64::try_from(paid.payees.len()).unwrap_or(i64::MAX);
        if levels >= watch.levels {
            found.push(("levels", 0, levels));
        }
        found.extend(watch.people.iter().filter(|people| heads >= **people).map(|people| ("people", 0, *people)));
    }
    Ok(found)
}

async fn note<T: Tx>(
    tx: &mut T,
    paid: &Paid,
    (kind, person, other): Finding,
    now_ms: u64,
    number: &impl Fn() -> Result<i64, SqlError>,
) -> Result<(), SqlError> {
    let key = || vec![Value::from(paid.tenant.stored()), kind.into(), person.into(), other.into()];
    let now_ms = Value::from(stored(now_ms)?);
    let mut again = vec![paid.order.into(), now_ms.clone()];
    again.extend(key());
    if tx.exec(AGAIN, again).await? > 0 {
        return Ok(());
    }
    let mut row = key();
    row.extend([number()?.into(), paid.order.into(), now_ms.clone(), now_ms]);
    tx.insert_absent(FOUND, row).await.map(drop)
}

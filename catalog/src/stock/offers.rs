//! What offers have of stock: units are allotted to them, come back, or are accepted by buyers and
//! then wait for shipping. Each call carries a reference, and counts once however often it comes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kit::{
    digest::sha256,
    problem::{Code, Problem},
};
use store::sql::{Row, Sql, SqlError, Tx, Value};

use super::{
    book::{Book, Note},
    key::{By, Key},
    level::Act,
    names,
};
use crate::refused::Refused;

const CLAIM: &str = "INSERT INTO inventory_references (tenant, reference, asked, at_ms) VALUES (?, ?, ?, ?)";
const KNOWN: &str = "SELECT asked FROM inventory_references WHERE tenant = ? AND reference = ?";
const ALLOTMENT: &str =
    "SELECT units FROM inventory_allotments WHERE tenant = ? AND warehouse = ? AND sku = ? AND offer = ?";
const LEVEL: &str = "SELECT on_hand - allotted - unshipped FROM inventory_levels \
                     WHERE tenant = ? AND warehouse = ? AND sku = ?";
const EXPIRED: &str = "SELECT COALESCE(CAST(SUM(p.units) AS SIGNED), 0) FROM inventory_positions p \
                       JOIN inventory_batches b ON b.tenant = p.tenant AND b.batch = p.batch \
                       WHERE p.tenant = ? AND p.warehouse = ? AND p.sku = ? AND b.expires_at <= ?";
const FIRST_ALLOTMENT: &str =
    "INSERT INTO inventory_allotments (units, accepted, tenant, warehouse, sku, offer) VALUES (?, ?, ?, ?, ?, ?)";
const MOVE_ALLOTMENT: &str = "UPDATE inventory_allotments SET units = ?, accepted = accepted + ? \
                              WHERE tenant = ? AND warehouse = ? AND sku = ? AND offer = ?";
const ACCEPTED: &str =
    "SELECT accepted FROM inventory_allotments WHERE tenant = ? AND warehouse = ? AND sku = ? AND offer = ?";

/// Units of a SKU in a warehouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The warehouse's number.
    pub warehouse: i64,
    /// The SKU's number.
    pub sku: i64,
    /// How many; above 0.
    pub units: i64,
}

/// What is done with units, and how the figures of a level change by each.
#[derive(Debug, Clone, Copy)]
struct Doing {
    kind: &'static str,
    allotted: i64,
    unshipped: i64,
}

const ALLOCATE: Doing = Doing { kind: "allocate", allotted: 1, unshipped: 0 };
const GIVE_BACK: Doing = Doing { kind: "give_back", allotted: -1, unshipped: 0 };
const ACCEPT: Doing = Doing { kind: "accept", allotted: -1, unshipped: 1 };

/// Allots units to an offer: all of the shares or none, and never more than is available. The same
/// reference again changes nothing.
///
/// # Errors
/// `conflict` that says what is available, or that the reference stood for other shares before;
/// `not_found`; [`Refused::Sql`]. Roll back after each of them.
pub async fn allocate<T: Tx>(
    tx: &mut T,
    by: &By,
    reference: &str,
    offer: i64,
    shares: &[Share],
) -> Result<(), Refused> {
    carry_out(tx, by, (ALLOCATE, reference), offer, shares).await
}

/// Takes allotted units back from an offer.
///
/// # Errors
/// As [`allocate`]; `conflict` when the offer has fewer.
pub async fn give_back<T: Tx>(
    tx: &mut T,
    by: &By,
    reference: &str,
    offer: i64,
    shares: &[Share],
) -> Result<(), Refused> {
    carry_out(tx, by, (GIVE_BACK, reference), offer, shares).await
}

/// Buyers' orders were accepted: allotted units are unshipped ones from now on.
///
/// # Errors
/// As [`give_back`].
pub async fn accept<T: Tx>(tx: &mut T, by: &By, reference: &str, offer: i64, shares: &[Share]) -> Result<(), Refused> {
    carry_out(tx, by, (ACCEPT, reference), offer, shares).await
}

async fn carry_out<T: Tx>(
    tx: &mut T,
    by: &By,
    (doing, reference): (Doing, &str),
    offer: i64,
    shares: &[Share],
) -> Result<(), Refused> {
    if !claim(tx, by, reference, &format!("{} {offer} {shares:?}", doing.kind)).await? {
        return Ok(());
    }
    if shares.iter().any(|share| share.units <= 0) {
        return Err(Refused::Broken(format!("units of an offer are above 0: {shares:?}")));
    }
    let mut wanted: BTreeMap<Key, i64> = BTreeMap::new();
    for Share { warehouse, sku, units } in shares {
        *wanted.entry(Key { warehouse: *warehouse, sku: *sku }).or_default() += units;
    }
    let keys: BTreeSet<Key> = wanted.keys().copied().collect();
    let mut book = Book::open(tx, by.clone(), &keys).await?;
    let note = Note { kind: doing.kind, reference: reference.to_owned(), reason: String::new() };
    for (key, units) in wanted {
        let act = Act::Promise { allotted: doing.allotted * units, unshipped: doing.unshipped * units };
        if let Err(shortage) = book.apply(key, act, &note) {
            let (sku, warehouse) = names::codes(tx, by.tenant, key).await?;
            let why = format!("SKU {sku} in warehouse {warehouse}: {units} are asked for, {shortage}");
            return Err(Refused::conflict(why));
        }
        allot(tx, by.tenant, key, (offer, doing.allotted * units, doing.unshipped * units)).await?;
    }
    book.close(tx, "").await?;
    Ok(())
}

fn refused(key: Key, why: &str) -> Refused {
    Problem::new(Code::Conflict, format!("SKU {} in warehouse {}: {why}", key.sku, key.warehouse)).into()
}

/// Orders gave units back after their sale was settled: they wait for shipping no more. Of units
/// that were shipped all the same, by a movement of the merchant's, none come back. How many do.
///
/// # Errors
/// `not_found`; [`Refused::Sql`]. Roll back after each of them.
pub(crate) async fn release<T: Tx>(
    tx: &mut T,
    by: &By,
    reference: &str,
    offer: i64,
    share: Share,
) -> Result<i64, Refused> {
    if !claim(tx, by, reference, &format!("release {offer} {share:?}")).await? {
        return Ok(0);
    }
    let key = Key { warehouse: share.warehouse, sku: share.sku };
    let mut book = Book::open(tx, by.clone(), &BTreeSet::from([key])).await?;
    let unshipped = book.level(key).map_or(0, |(level, _)| level.units.unshipped);
    let units = share.units.min(unshipped);
    if units > 0 {
        let note = Note { kind: "release", reference: reference.to_owned(), reason: String::new() };
        let act = Act::Promise { allotted: 0, unshipped: -units };
        book.apply(key, act, &note).map_err(|shortage| Refused::conflict(shortage.to_string()))?;
    }
    allot(tx, by.tenant, key, (offer, 0, -share.units)).await?;
    book.close(tx, "").await?;
    Ok(units)
}

/// Units that wait for shipping by an offer's settled sale.
///
/// # Errors
/// [`Refused::Sql`].
pub(crate) async fn accepted<T: Tx>(tx: &mut T, tenant: u32, share: Share, offer: i64) -> Result<i64, Refused> {
    let place = vec![tenant.into(), share.warehouse.into(), share.sku.into(), offer.into()];
    let units = tx.rows(ACCEPTED, place).await?.into_iter().next();
    Ok(units.map(|mut row| row.int()).transpose()?.unwrap_or(0))
}

/// What an offer has of a level.
///
/// # Errors
/// [`Refused::Sql`].
pub(crate) async fn allotted<T: Tx>(tx: &mut T, tenant: u32, share: Share, offer: i64) -> Result<i64, Refused> {
    let place = vec![tenant.into(), share.warehouse.into(), share.sku.into(), offer.into()];
    let units = tx.rows(ALLOTMENT, place).await?.into_iter().next();
    Ok(units.map(|mut row| row.int()).transpose()?.unwrap_or(0))
}

/// Units that an offer could have of a level: those that it has, and what is available of the rest.
///
/// # Errors
/// [`SqlError`] when the database fails.
pub(crate) async fn in_reach<S: Sql>(
    db: &S,
    tenant: u32,
    share: Share,
    (offer, now_ms): (i64, i64),
) -> Result<i64, SqlError> {
    let place: [Value; 3] = [tenant.into(), share.warehouse.into(), share.sku.into()];
    let with = |more: i64| place.iter().cloned().chain([more.into()]).collect::<Vec<_>>();
    let first = |rows: Vec<Row>| rows.into_iter().next().map_or(Ok(0), |mut row| row.int());
    let level = first(db.rows(LEVEL, place.to_vec()).await?)?;
    let expired = first(db.rows(EXPIRED, with(now_ms)).await?)?;
    let has = first(db.rows(ALLOTMENT, with(offer)).await?)?;
    // Less than promised: then nothing is available, and the offer keeps what it has.
    Ok(has + (level - expired).max(0))
}

/// Whether this is the first time that the reference comes.
async fn claim<T: Tx>(tx: &mut T, by: &By, reference: &str, asked: &str) -> Result<bool, Refused> {
    let asked = Bytes::copy_from_slice(&sha256(asked.as_bytes()));
    let row = vec![by.tenant.into(), reference.into(), asked.clone().into(), by.now_ms.into()];
    if tx.insert_absent(CLAIM, row).await? {
        return Ok(true);
    }
    let known = tx.rows(KNOWN, vec![by.tenant.into(), reference.into()]).await?.into_iter().next();
    let mut known = known.ok_or_else(|| SqlError::LockWait("a reference vanished meanwhile".into()))?;
    if known.bytes()? == asked {
        Ok(false)
    } else {
        Err(Refused::conflict("this reference stood for other units before"))
    }
}

/// Moves what an offer has of a level, whose lock is held, and what is accepted of it.
async fn allot<T: Tx>(
    tx: &mut T,
    tenant: u32,
    key: Key,
    (offer, change, accepted): (i64, i64, i64),
) -> Result<(), Refused> {
    let place = [tenant.into(), key.warehouse.into(), key.sku.into(), offer.into()];
    let known = tx.rows(ALLOTMENT, place.to_vec()).await?.into_iter().next();
    let known = known.map(|mut row| row.int()).transpose()?;
    let units = known.unwrap_or(0) + change;
    if units < 0 {
        return Err(refused(key, &format!("only {} are allotted to this offer", known.unwrap_or(0))));
    }
    let statement = if known.is_some() { MOVE_ALLOTMENT } else { FIRST_ALLOTMENT };
    tx.exec(statement, [vec![units.into(), accepted.into()], place.to_vec()].concat()).await?;
    Ok(())
}

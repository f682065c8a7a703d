//! Order ids in blocks, in a database of their own: how a list is found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use bytes::Bytes;
use domain::id::{OfferId, OrderId, SaleId, TenantId};
use store::{
    orders::Listed,
    sql::{Insert, Sql, SqlError, Tx, Value, stored},
};

/// Orders of a block, at most: 2 KB.
const BLOCK_MAX: usize = 256;
/// Milliseconds between the first and the last order of a block, at most: a page that begins in the
/// middle looks no further up.
const SPAN_MS: u64 = 10_000;
/// Blocks that are read at once.
const READ_MAX: u32 = 64;

const COLUMNS: &str = "SELECT newest, source, place, orders FROM order_blocks WHERE tenant = ?";
// From a place of the order (newest, source, place) down; none that begins at the page's end.
const BELOW: &str = " AND newest <= ? AND (newest < ? OR source < ? OR (source = ? AND place < ?)) AND oldest < ? \
                     ORDER BY newest DESC, source DESC, place DESC LIMIT ?";

static INSERT: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "INSERT INTO order_blocks (tenant, newest, source, place, sale, offer, oldest, orders) \
         VALUES [(?, ?, ?, ?, ?, ?, ?, ?),]",
    )
});

/// Of which orders a list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Of all of the tenant.
    Tenant,
    /// Of a sale.
    Sale(SaleId),
    /// Of an offer.
    Offer(OfferId),
}

/// Where blocks come from: a partition and an offset, or a table and an id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub(crate) source: i64,
    pub(crate) place: u64,
}

/// The blocks of all orders.
#[derive(Debug, Clone)]
pub struct Blocks<S> {
    db: S,
}

impl<S: Sql> Blocks<S> {
    /// Over the database that [`open`](crate::follow::open) opens.
    pub const fn new(db: S) -> Self {
        Self { db }
    }

    /// Its database.
    pub(crate) const fn db(&self) -> &S {
        &self.db
    }

    /// Ids of a tenant's orders below `before` and not below `from`, falling, each once: `wanted`
    /// of them, less only when there are no more.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn page(
        &self,
        (tenant, of): (TenantId, Of),
        (from, before): (u64, u64),
        wanted: usize,
    ) -> Result<Vec<OrderId>, SqlError> {
        let (filter, value) = match of {
            Of::Tenant => ("", None),
            Of::Sale(sale) => (" AND sale = ?", Some(sale.stored())),
            Of::Offer(offer) => (" AND offer = ?", Some(offer.stored())),
        };
        let query = format!("{COLUMNS}{filter}{BELOW}");
        let before = stored(before.min(OrderId::MAX))?;
        // A block that holds an id below `before` begins less than a span above it.
        let (mut newest, mut source, mut place) = (before.saturating_add_unsigned(span()), i64::MAX, i64::MAX);
        let mut ids = BTreeSet::new();
        loop {
            let mut params = vec![tenant.stored().into()];
            params.extend(value.map(Value::from));
            params.extend([newest, newest, source, source, place, before].map(Value::from));
            params.push(READ_MAX.into());
            let rows = self.db.rows(&query, params).await?;
            let is_last = rows.len() < READ_MAX as usize;
            for mut row in rows {
                (newest, source, place) = (row.int()?, row.int()?, row.int()?);
                let known = row.bytes()?;
                ids.extend(read(&known)?.filter(|id| (from..before.cast_unsigned()).contains(id)));
            }
            // What was not read yet is not above the last block's newest.
            let is_enough = ids.range(newest.cast_unsigned() + 1..).nth(wanted.saturating_sub(1)).is_some();
            if is_last || is_enough || newest.cast_unsigned() < from {
                break;
            }
        }
        ids.into_iter().rev().take(wanted).map(|id| OrderId::new(id).map_err(damaged)).collect()
    }
}

/// Puts orders into blocks, in this transaction.
///
/// # Errors
/// [`SqlError`]; roll back.
pub(crate) async fn add<T: Tx>(tx: &mut T, from: Source, orders: impl Iterator<Item = Listed>) -> Result<(), SqlError> {
    let mut offers: BTreeMap<(TenantId, SaleId, OfferId), Vec<u64>> = BTreeMap::new();
    for Listed { order, tenant, sale, offer } in orders {
        offers.entry((tenant, sale, offer)).or_default().push(order.get());
    }
    let mut values = Vec::new();
    for ((tenant, sale, offer), mut ids) in offers {
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.dedup();
        for block in cut(&ids) {
            let (Some(&newest), Some(&oldest)) = (block.first(), block.last()) else { continue };
            let bytes: Vec<u8> = block.iter().flat_map(|id| id.to_be_bytes()).collect();
            values.extend([tenant.stored(), stored(newest)?, from.source, stored(from.place)?].map(Value::from));
            values.extend([sale.stored(), offer.stored(), stored(oldest)?].map(Value::from));
            values.push(Bytes::from(bytes).into());
        }
    }
    if values.is_empty() { Ok(()) } else { tx.insert(&INSERT, values).await }
}

/// Falling ids as blocks.
fn cut(mut ids: &[u64]) -> Vec<&[u64]> {
    let mut blocks = Vec::new();
    while let Some(&newest) = ids.first() {
        let fits = ids.iter().take(BLOCK_MAX).take_while(|&&id| newest - id < span()).count();
        let (block, rest) = ids.split_at(fits);
        blocks.push(block);
        ids = rest;
    }
    blocks
}

/// [`SPAN_MS`] as a distance of ids.
const fn span() -> u64 {
    let (zero, end) = (OrderId::floor_at(EPOCH_MS), OrderId::floor_at(EPOCH_MS + SPAN_MS));
    end - zero
}

/// A moment that ids can tell: 2026-01-01T00:00:00Z.
const EPOCH_MS: u64 = 1_767_225_600_000;

fn read(bytes: &[u8]) -> Result<impl Iterator<Item = u64>, SqlError> {
    let (ids, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(damaged("its length"));
    }
    Ok(ids.iter().map(|id| u64::from_be_bytes(*id)))
}

fn damaged(what: impl std::fmt::Display) -> SqlError {
    SqlError::Broken(format!("a block of the list of orders is damaged: {what}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks hold each id once, in order, and stay within both bounds.
    #[test]
    fn falling_ids_are_cut_within_bounds() {
        let dense: Vec<u64> = (1..=1_000).rev().map(|n| OrderId::floor_at(EPOCH_MS) + n).collect();
        let sparse: Vec<u64> = (1..=50).rev().map(|n| OrderId::floor_at(EPOCH_MS + n * 3_000)).collect();
        for ids in [dense, sparse, vec![]] {
            let blocks = cut(&ids);
            assert_eq!(blocks.concat(), ids);
            let fits = |block: &&[u64]| block.len() <= BLOCK_MAX && block[0] - block[block.len() - 1] < span();
            assert!(blocks.iter().all(fits));
        }
        assert_eq!(cut(&[7, 6]).len(), 1);
    }
}

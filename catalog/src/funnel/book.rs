//! Counts of a transaction: gathered by sale, offer and second, then added to the rows of every
//! width under the lock of each sale, in the order of their numbers.

use std::{collections::BTreeMap, sync::LazyLock};

use domain::{
    counts::Counts,
    id::{OfferId, SaleId, TenantId},
};
use store::sql::{Fixed, Lock, Row, SqlError, Tx, Value, stored};

use super::WIDTHS;

const LOCK: &str = "SELECT tenant, revision FROM funnel_sales WHERE sale = ?";
const FIRST: &str = "INSERT INTO funnel_sales (sale, tenant, revision) VALUES (?, ?, 0)";
const MOVE: &str = "UPDATE funnel_sales SET revision = ? WHERE sale = ?";

static KNOWN: LazyLock<Fixed> = LazyLock::new(|| {
    Fixed::new("SELECT offer, counts FROM funnel_counts WHERE sale = ? AND width = ? AND at_s = ? AND offer IN ([?,])")
});

/// Whose sale it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) sale: SaleId,
    pub(super) tenant: TenantId,
}

/// What is to be added.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// By offer and second, of each sale.
    sales: BTreeMap<Owner, BTreeMap<(OfferId, u64), Counts>>,
}

impl Book {
    /// Adds what was counted of an offer in a second since 1970.
    pub(super) fn add(&mut self, owner: Owner, offer: OfferId, second: u64, counts: &Counts) {
        self.sales.entry(owner).or_default().entry((offer, second)).or_default().merge(counts);
    }

    /// Adds all of it to the rows.
    ///
    /// # Errors
    /// [`SqlError`]; roll back.
    pub(super) async fn write<T: Tx>(self, tx: &mut T) -> Result<(), SqlError> {
        for (owner, counts) in self.sales {
            let Some(revision) = lock(tx, owner).await? else { continue };
            write_sale(tx, owner.sale.stored(), revision, counts).await?;
        }
        Ok(())
    }
}

/// Locks the sale, and gives the revision of this change; `None` where the sale is another
/// tenant's: what is told of it is left out.
async fn lock<T: Tx>(tx: &mut T, owner: Owner) -> Result<Option<i64>, SqlError> {
    let sale = owner.sale.stored();
    let look = vec![Value::from(sale)];
    let mut known = tx.lock_rows(LOCK, look.clone(), Lock::Wait).await?;
    if known.is_empty() {
        tx.insert_absent(FIRST, vec![sale.into(), owner.tenant.stored().into()]).await?;
        known = tx.lock_rows(LOCK, look, Lock::Wait).await?;
    }
    let known = known.into_iter().next();
    let mut known = known.ok_or_else(|| SqlError::LockWait("a sale of the funnel vanished meanwhile".into()))?;
    if known.id(TenantId::new)? != owner.tenant {
        tracing::error!(sale = %owner.sale, tenant = %owner.tenant, "counts of another tenant's sale are left out");
        return Ok(None);
    }
    let revision = known.int()? + 1;
    tx.exec(MOVE, vec![revision.into(), sale.into()]).await?;
    Ok(Some(revision))
}

async fn write_sale<T: Tx>(
    tx: &mut T,
    sale: i64,
    revision: i64,
    counts: BTreeMap<(OfferId, u64), Counts>,
) -> Result<(), SqlError> {
    let mut rows: BTreeMap<(u64, u64), BTreeMap<i64, Counts>> = BTreeMap::new();
    for ((offer, second), counts) in counts {
        for width in WIDTHS {
            let at = if width == 0 { 0 } else { second - second % width };
            rows.entry((width, at)).or_default().entry(offer.stored()).or_default().merge(&counts);
        }
    }
    for ((width, at), mut offers) in rows {
        let place = [sale.into(), stored(width)?.into(), stored(at)?.into()];
        let numbers: Vec<i64> = offers.keys().copied().collect();
        for (query, numbers) in KNOWN.padded(&numbers) {
            let params = place.iter().cloned().chain(numbers.into_iter().map(Value::from)).collect();
            for mut row in tx.lock_rows(query, params, Lock::Wait).await? {
                let (offer, known) = (row.int()?, read(&mut row)?);
                offers.entry(offer).or_default().merge(&known);
            }
        }
        for (offer, counts) in offers {
            let mut row = place.to_vec();
            row.extend([offer.into(), revision.into(), counts.pack().into()]);
            tx.upsert("funnel_counts", &["sale", "width", "at_s", "offer"], &["revision", "counts"], row).await?;
        }
    }
    Ok(())
}

/// The counts of a row.
///
/// # Errors
/// [`SqlError::Broken`] for damage.
pub(super) fn read(row: &mut Row) -> Result<Counts, SqlError> {
    Counts::unpack(&row.bytes()?).ok_or_else(|| SqlError::Broken("counts of a sale are damaged".into()))
}

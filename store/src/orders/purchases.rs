//! What a lane's load needs of its rows, and no more: a lane may have a million.

use domain::{
    id::{BuyerId, KeyHash, LaneId, OfferId, OrderId, PurchaseNumber},
    shard::Home,
    stock::Purchase,
};

use super::{Orders, row::sixteen};
use crate::sql::{Row, SIZE_MAX, Sql, SqlError, Value, stored};

/// Lanes that one scan may ask for.
pub const SCAN_LANES_MAX: usize = SIZE_MAX;
/// Columns as [`read`] takes them. A number is there exactly as long as the units are taken (R5).
pub(super) const PURCHASE_COLUMNS: &str = "order_id, buyer, lane, offer, quantity, number, key_hash";

/// An order that takes units, or did until it was released (R5, R6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanePurchase {
    /// Its lane.
    pub lane: LaneId,
    /// Its buyer.
    pub buyer: BuyerId,
    /// The purchase; a tombstone where it has no number.
    pub purchase: Purchase,
}

impl<S: Sql> Orders<S> {
    /// A page of a table's purchases in these lanes, by order id, from the id `from` on: rejected
    /// orders, which never took units, are left out. A page of less than `limit` is the last.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails, or for more than [`SCAN_LANES_MAX`] lanes.
    pub async fn purchases(
        &self,
        home: Home,
        lanes: &[LaneId],
        from: u64,
        limit: u32,
    ) -> Result<Vec<LanePurchase>, SqlError> {
        if lanes.len() > SCAN_LANES_MAX {
            return Err(SqlError::Broken(format!("{} lanes are more than one scan takes", lanes.len()).into()));
        }
        let (db, scan) = (self.shard(home.shard)?, &self.table(home)?.purchases);
        let lanes: Vec<i64> = lanes.iter().map(|lane| lane.stored()).collect();
        let Some((query, lanes)) = scan.padded(&lanes).next() else { return Ok(Vec::new()) };
        let mut params: Vec<Value> = lanes.into_iter().map(Value::from).collect();
        params.extend([stored(from)?.into(), limit.into()]);
        db.rows(query, params).await?.into_iter().map(read).collect()
    }
}

fn read(mut row: Row) -> Result<LanePurchase, SqlError> {
    let (order, buyer, lane) = (row.id(OrderId::new)?, row.id(BuyerId::new)?, row.id(LaneId::new)?);
    let (offer, quantity) = (row.id(OfferId::new)?, row.number()?);
    let number = row.int_or_null()?.map(u8::try_from).transpose();
    let number =
        number.map_err(|_| SqlError::Broken(format!("order {order} has no purchase number that fits").into()))?;
    let (number, key) = (number.map(PurchaseNumber), KeyHash(sixteen(&row.bytes()?)?));
    Ok(LanePurchase { lane, buyer, purchase: Purchase { order, offer, quantity, number, key, batch: None } })
}

//! An order row as columns: the one place that knows their order.

use bytes::Bytes;
use domain::{
    id::{BuyerId, KeyHash, LaneId, OfferId, OrderId, Position, PurchaseNumber, SaleId, SkuId, TenantId},
    money::Money,
    order::{OrderRow, Reason, Status},
};

use crate::sql::{Row, SqlError, Value, stored};

/// The columns of a new order, as [`push_new`] writes them.
pub(super) const NEW_COLUMNS: &str = "order_id, tenant, buyer, lane, number, sale, sale_version, offer, sku, quantity, unit_price, \
                                      currency, key_hash, position, reserved_at, context, pay_by";
/// The columns that say what became of it: those of a new order say nothing.
pub(super) const FATE_COLUMNS: &str = "status, reason, released_pos";

/// Whether nothing has become of the order yet: it is to be paid.
pub(super) fn is_new(row: &OrderRow) -> bool {
    (row.status, row.reason, row.released) == (Status::PendingPayment, None, None)
}

/// Appends the row's values, all columns: new ones and fate, as [`read`] reads them.
pub(super) fn push(values: &mut Vec<Value>, row: &OrderRow) -> Result<(), SqlError> {
    push_new(values, row)?;
    values.extend([
        row.status.stored().into(),
        row.reason.map(|reason| reason.stored().into()).into(),
        row.released.map(packed).transpose()?.into(),
    ]);
    Ok(())
}

/// Appends the row's values without its fate.
pub(super) fn push_new(values: &mut Vec<Value>, row: &OrderRow) -> Result<(), SqlError> {
    values.extend([
        row.order.stored().into(),
        row.tenant.stored().into(),
        row.buyer.stored().into(),
        row.lane.stored().into(),
        row.number.map(|number| number.0.into()).into(),
        row.sale.stored().into(),
        row.sale_version.into(),
        row.offer.stored().into(),
        row.sku.stored().into(),
        row.quantity.into(),
        row.unit_price.amount.into(),
        row.unit_price.currency.as_str().into(),
        Bytes::copy_from_slice(&row.key.0).into(),
        packed(row.position)?.into(),
        stored(row.reserved_at_ms)?.into(),
        row.context.clone().into(),
        row.pay_by_ms.map(stored).transpose()?.into(),
    ]);
    Ok(())
}

/// A position as it is stored.
pub(super) fn packed(position: Position) -> Result<i64, SqlError> {
    position.pack().ok_or_else(|| SqlError::Broken(format!("{position:?} is out of range").into()))
}

/// Reads a row.
pub(super) fn read(mut row: Row) -> Result<OrderRow, SqlError> {
    Ok(OrderRow {
        order: row.id(OrderId::new)?,
        tenant: row.id(TenantId::new)?,
        buyer: row.id(BuyerId::new)?,
        lane: row.id(LaneId::new)?,
        number: byte_or_null(&mut row, "purchase number", |byte| Some(PurchaseNumber(byte)))?,
        sale: row.id(SaleId::new)?,
        sale_version: row.number()?,
        offer: row.id(OfferId::new)?,
        sku: row.id(SkuId::new)?,
        quantity: row.number()?,
        unit_price: Money {
            amount: row.int()?,
            currency: row.text()?.parse().map_err(|error| SqlError::Broken(format!("column 12: {error}").into()))?,
        },
        key: KeyHash(sixteen(&row.bytes()?)?),
        position: Position::unpack(row.int()?),
        reserved_at_ms: row.number()?,
        context: row.bytes()?,
        pay_by_ms: moment_or_null(&mut row)?,
        status: status(&mut row)?,
        reason: byte_or_null(&mut row, "reason", Reason::from_stored)?,
        released: row.int_or_null()?.map(Position::unpack),
    })
}

/// Reads the next column as a status.
pub(super) fn status(row: &mut Row) -> Result<Status, SqlError> {
    row.int_as("status", |number| u8::try_from(number).ok().and_then(Status::from_stored))
}

fn byte_or_null<T>(row: &mut Row, what: &str, take: impl FnOnce(u8) -> Option<T>) -> Result<Option<T>, SqlError> {
    let Some(number) = row.int_or_null()? else { return Ok(None) };
    let taken = u8::try_from(number).ok().and_then(take);
    taken.map(Some).ok_or_else(|| SqlError::Broken(format!("{number} is no {what}").into()))
}

fn moment_or_null(row: &mut Row) -> Result<Option<u64>, SqlError> {
    let moment = row.int_or_null()?.map(u64::try_from).transpose();
    moment.map_err(|_| SqlError::Broken("a moment before 1970".into()))
}

pub(super) fn sixteen(bytes: &[u8]) -> Result<[u8; 16], SqlError> {
    bytes.try_into().map_err(|_| SqlError::Broken(format!("a key hash has 16 bytes, not {}", bytes.len()).into()))
}

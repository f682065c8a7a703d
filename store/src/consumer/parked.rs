//! What a consumer puts aside: rows of `parked_records`, written in the transaction that moves the
//! position past them.

use bytes::Bytes;
use domain::id::{OrderId, TenantId};

use super::Place;
use crate::{
    log::Entry,
    sql::{Sql, SqlError, Tx, Value, stored},
};

/// Longest cause that is kept, in characters.
const CAUSE_MAX: usize = 180;
/// Longest type of a record that is kept, in characters.
const KIND_MAX: usize = 64;

/// A record, or a part of one, that is put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// Where its record is.
    pub offset: u64,
    /// Which part of its record, from 0.
    pub item: usize,
    /// Whose it is, and which order it tells of; `None` where nobody can read it.
    pub order: Option<(TenantId, OrderId)>,
    /// What is wrong with it, for an operator.
    pub cause: String,
    /// Its `ce_type`.
    pub kind: String,
    /// Its bytes.
    pub payload: Bytes,
}

impl Aside {
    pub(super) fn whole(record: &Entry, cause: &dyn std::error::Error) -> Self {
        let (kind, payload) = (record.kind.clone(), record.payload.clone());
        Self { offset: record.offset, item: 0, order: None, cause: cause.to_string(), kind, payload }
    }
}

/// Writes them; the same one stays there once.
pub(super) async fn write<S: Sql>(tx: &mut S::Tx, place: &Place, parked: &[Aside]) -> Result<(), SqlError> {
    if parked.is_empty() {
        return Ok(());
    }
    let insert = format!(
        "INSERT INTO parked_records (consumer, topic, partition_id, log_offset, item, tenant, order_id, cause, kind, \
         payload, parked_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {})",
        S::NOW_MS
    );
    for aside in parked {
        let (tenant, order) = aside.order.map_or((0, 0), |(tenant, order)| (tenant.stored(), order.stored()));
        let short = |text: &str, most| text.chars().take(most).collect::<String>();
        let mut row = place.key();
        row.extend([
            stored(aside.offset)?.into(),
            Value::from(i64::try_from(aside.item).unwrap_or(i64::MAX)),
            tenant.into(),
            order.into(),
            short(&aside.cause, CAUSE_MAX).as_str().into(),
            short(&aside.kind, KIND_MAX).as_str().into(),
            aside.payload.clone().into(),
        ]);
        tx.insert_absent(&insert, row).await?;
    }
    Ok(())
}

/// Says so, once they are written.
pub(super) fn report(place: &Place, parked: &[Aside]) {
    for Aside { offset, item, order, cause, kind, .. } in parked {
        let (consumer, topic, partition) = (place.consumer, place.topic.name(), place.partition);
        let order = order.map(|(_, order)| order.get());
        tracing::error!(consumer, topic, %partition, offset, item, order, kind, cause,
            "a record is parked (table parked_records), and the consumer goes on");
    }
}

//! Movements: one packed row per decided log record.

use bytes::Bytes;
use domain::{
    decide::Movement,
    id::{Generation, LaneId, OfferId, PartitionId},
};

use super::Ledger;
use crate::sql::{Row, Sql, SqlError, Value, stored};

pub(super) const COLUMNS: usize = 6;
pub(super) const INSERT_MOVEMENTS: &str =
    "INSERT INTO movements (partition_id, generation, log_offset, lane, units, decisions) VALUES [(?, ?, ?, ?, ?, ?),]";
// A range of the primary key.
const MOVEMENTS: &str = "SELECT log_offset, lane, units, decisions FROM movements \
                         WHERE partition_id = ? AND generation = ? AND log_offset >= ? AND log_offset <= ? ORDER BY log_offset";

/// Bytes of one offer's units.
const UNITS: usize = 16;

impl<S: Sql> Ledger<S> {
    /// The movements of a partition from `from_offset` up to and with `through_offset`, in log order. Ask for a few thousand
    /// offsets at a time.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn movements(
        &self,
        partition: PartitionId,
        generation: Generation,
        from_offset: u64,
        through_offset: u64,
    ) -> Result<Vec<Movement>, SqlError> {
        let (from, through) = (stored(from_offset)?, stored(through_offset)?);
        let params = vec![partition.0.into(), generation.0.into(), from.into(), through.into()];
        self.db.rows(MOVEMENTS, params).await?.into_iter().map(read).collect()
    }
}

pub(super) fn values(
    partition: PartitionId,
    generation: Generation,
    movement: &Movement,
) -> Result<[Value; COLUMNS], SqlError> {
    let mut units = Vec::with_capacity(UNITS * movement.units.len());
    for (offer, change) in &movement.units {
        units.extend_from_slice(&offer.stored().to_be_bytes());
        units.extend_from_slice(&change.to_be_bytes());
    }
    Ok([
        partition.0.into(),
        generation.0.into(),
        stored(movement.offset)?.into(),
        movement.lane.map(LaneId::stored).into(),
        Bytes::from(units).into(),
        Bytes::copy_from_slice(&movement.decisions).into(),
    ])
}

fn read(mut row: Row) -> Result<Movement, SqlError> {
    Ok(Movement {
        offset: row.number()?,
        lane: row.int_or_null()?.map(lane_id).transpose()?,
        units: unpack(&row.bytes()?)?,
        decisions: row.bytes()?.into(),
    })
}

fn lane_id(stored: i64) -> Result<LaneId, SqlError> {
    let lane = u64::try_from(stored).ok().and_then(|lane| LaneId::new(lane).ok());
    lane.ok_or_else(|| SqlError::Broken(format!("{stored} is no lane")))
}

fn unpack(packed: &[u8]) -> Result<Vec<(OfferId, i64)>, SqlError> {
    let (pairs, rest) = packed.as_chunks::<UNITS>();
    let pairs = pairs.iter().map(|pair| {
        let bits = u128::from_be_bytes(*pair);
        let offer = OfferId::new((bits >> 64) as u64).ok()?;
        Some((offer, (bits as u64).cast_signed()))
    });
    let units: Option<Vec<_>> = pairs.collect();
    units.filter(|_| rest.is_empty()).ok_or_else(|| SqlError::Broken("units of a movement are damaged".into()))
}

//! Movements: one packed row per decided log record.

use std::cmp::Ordering;

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

// The first of the primary key's range.
const OLDEST: &str = "SELECT generation, log_offset FROM movements WHERE partition_id = ? \
                      ORDER BY partition_id, generation, log_offset LIMIT 1";
const DELETE: &str = "DELETE FROM movements \
                      WHERE partition_id = ? AND generation = ? AND log_offset >= ? AND log_offset < ?";

/// Bytes of one offer's units.
const UNITS: usize = 16;

impl<S: Sql> Ledger<S> {
    /// The movements of a partition from `from_offset` up to and with `through_offset`, in log
    /// order. Ask for a few thousand offsets at a time.
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

    /// Deletes the oldest movements of a partition, of at most `most` offsets: those of generations
    /// before `generation`, and of that one those below `below`. Returns how many; with less than
    /// there are, the next call goes on.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails; repeating is safe.
    pub async fn delete_movements(
        &self,
        partition: PartitionId,
        generation: Generation,
        below: u64,
        most: u64,
    ) -> Result<u64, SqlError> {
        let Some(mut oldest) = self.db.rows(OLDEST, vec![partition.0.into()]).await?.into_iter().next() else {
            return Ok(0);
        };
        let (of, from): (u16, u64) = (oldest.number()?, oldest.number()?);
        let end = from.saturating_add(most);
        let end = match Generation(of).cmp(&generation) {
            Ordering::Less => end,
            Ordering::Equal => end.min(below),
            Ordering::Greater => return Ok(0),
        };
        if from >= end {
            return Ok(0);
        }
        let params = vec![partition.0.into(), of.into(), stored(from)?.into(), stored(end)?.into()];
        self.db.exec(DELETE, params).await
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
    lane.ok_or_else(|| SqlError::Broken(format!("{stored} is no lane").into()))
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

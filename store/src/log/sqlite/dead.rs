//! Reads the table `dead`.

use bytes::Bytes;
use domain::id::{PartitionId, RecordId};
use rusqlite::{Connection, Row};

use super::SqliteLog;
use crate::log::{Entry, Parked, ParkedRecords, ReadError};

impl ParkedRecords for SqliteLog {
    async fn parked(&self, from: u64, limit: usize) -> Result<Vec<Parked>, ReadError> {
        self.shared().ask(move |connection| read(connection, from, limit)).await
    }
}

fn read(connection: &Connection, from: u64, limit: usize) -> rusqlite::Result<Vec<Parked>> {
    let sql = "SELECT sequence, partition_id, log_offset, record_id, kind, cause, parked_at_ms, payload FROM dead \
               WHERE sequence >= ?1 ORDER BY sequence LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let bounds = (i64::try_from(from).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = statement.query_map(bounds, parked)?;
    rows.collect()
}

fn parked(row: &Row<'_>) -> rusqlite::Result<Parked> {
    let id: Option<i64> = row.get(3)?;
    Ok(Parked {
        number: row.get::<_, i64>(0)?.cast_unsigned(),
        partition: PartitionId(row.get(1)?),
        entry: Entry {
            offset: row.get::<_, i64>(2)?.cast_unsigned(),
            id: id.and_then(|id| RecordId::new(id.cast_unsigned()).ok()),
            kind: row.get(4)?,
            payload: Bytes::from(row.get::<_, Vec<u8>>(7)?),
        },
        cause: row.get(5)?,
        parked_at_ms: row.get::<_, i64>(6)?.cast_unsigned(),
    })
}

//! Follows the sales.

use std::sync::Arc;

use bytes::Bytes;
use domain::{record::decode_sale, sale::Sale};
use rusqlite::Connection;
use tokio::sync::watch;

use super::{Shared, SqliteLog};
use crate::log::{ReadError, SalesFollower};

/// Sales handed over at once, at most.
const SALES_MAX: u32 = 256;

/// Follows the sales from the beginning. Of a sale's versions it shows the newest, older ones only
/// when it saw them while they were that.
///
/// A cancelled [`SalesFollower::next`] loses nothing. It may be called again after an error.
pub struct SqliteSalesFollower {
    log: Arc<Shared>,
    published: watch::Receiver<u64>,
    /// Sequence of the last sale handed over.
    seen: u64,
    /// Where the end was at the start; `None` once that was told.
    end: Option<u64>,
}

impl SqliteSalesFollower {
    /// Follows this log's sales.
    pub fn new(log: &SqliteLog) -> Self {
        let log = log.shared();
        let published = log.sales.subscribe();
        let end = Some(*published.borrow());
        Self { log, published, seen: 0, end }
    }
}

impl SalesFollower for SqliteSalesFollower {
    async fn next(&mut self) -> Result<Vec<Sale>, ReadError> {
        loop {
            if self.end.is_some_and(|end| self.seen >= end) {
                self.end = None;
                return Ok(Vec::new());
            }
            let seen = self.seen;
            let newest = self.published.wait_for(|&newest| newest > seen).await;
            let newest = *newest.map_err(|_| ReadError::Unavailable("the log was closed".into()))?;
            let rows = self.log.ask(move |connection| after(connection, seen)).await?;
            // A version that was replaced meanwhile has a later sequence: to have seen none is to
            // have seen all.
            self.seen = rows.last().map_or(newest, |(sequence, _)| *sequence);
            let sales: Vec<Sale> = rows.into_iter().filter_map(sale).collect();
            if !sales.is_empty() {
                return Ok(sales);
            }
        }
    }
}

fn after(connection: &Connection, seen: u64) -> rusqlite::Result<Vec<(u64, Vec<u8>)>> {
    let sql = "SELECT sequence, payload FROM sales WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement
        .query_map((seen.cast_signed(), SALES_MAX), |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?)))?;
    rows.collect()
}

/// None in a damaged row.
fn sale((sequence, payload): (u64, Vec<u8>)) -> Option<Sale> {
    let decoded = decode_sale(Bytes::from(payload));
    decoded.inspect_err(|error| tracing::error!(%error, sequence, "a row of the sales is skipped")).ok()
}

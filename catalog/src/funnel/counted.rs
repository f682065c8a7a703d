//! What engines counted, as the topic `counts` tells it.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::{
    counts::{EngineCounts, decode_counts},
    id::PartitionId,
    record::RecordError,
};
use store::{
    consumer::{Aside, Handler},
    sql::{Lock, Sql, SqlError, Tx, stored},
};

use super::book::{Book, Owner};

const LAST: &str = "SELECT sequence FROM funnel_engines WHERE engine = ?";

/// Adds each record of each engine once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted;

impl<S: Sql> Handler<S> for Counted {
    type Read = EngineCounts;

    fn read(kind: &str, payload: Bytes) -> Result<EngineCounts, RecordError> {
        decode_counts(kind, payload)
    }

    async fn handle(
        &mut self,
        tx: &mut S::Tx,
        _: PartitionId,
        records: Vec<(u64, EngineCounts)>,
        _: &mut Vec<Aside>,
    ) -> Result<(), SqlError> {
        let (mut book, mut last) = (Book::default(), BTreeMap::new());
        for (_, counted) in records {
            let known = match last.get(&counted.engine) {
                Some(&(known, _)) => known,
                None => last_of::<S>(tx, counted.engine).await?,
            };
            // An engine tells them in order: what is not above the last one was counted.
            if counted.sequence <= known {
                continue;
            }
            last.insert(counted.engine, (counted.sequence, counted.second));
            for told in &counted.offers {
                let owner = Owner { sale: told.sale, tenant: told.tenant };
                book.add(owner, told.offer, counted.second, &told.counts);
            }
        }
        for (engine, (sequence, second)) in last {
            let row = vec![stored(engine)?.into(), stored(sequence)?.into(), stored(second)?.into()];
            tx.upsert("funnel_engines", &["engine"], &["sequence", "at_s"], row).await?;
        }
        book.write(tx).await
    }
}

/// The number of the engine's record that was counted last; 0 for none.
async fn last_of<S: Sql>(tx: &mut S::Tx, engine: u64) -> Result<u64, SqlError> {
    let row = tx.lock_rows(LAST, vec![stored(engine)?.into()], Lock::Wait).await?.into_iter().next();
    row.map_or(Ok(0), |mut row| row.number())
}

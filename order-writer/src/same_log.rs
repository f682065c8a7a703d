//! R10 while a worker runs: whether the log that it reads is still the one that its position
//! belongs to. A topic that is deleted and made anew under a running reader may have grown past its
//! position before it reads on: it would skip what stands before. So a record of the worker's own
//! is read back every two seconds, beside its reading, and watermarks that contradict the position
//! are seen at each look. A finding makes the worker resume, which judges what is lost.
//!
//! Why nothing is missed for longer than one check: the record that a check compares was decided
//! before the check before it began, and that one found the log to be the same. So it stands in the
//! log of then, and another log does not have it.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use domain::{id::RecordId, record::Record};
use store::{
    ledger::PartitionRow,
    log::{Entry, OrderLogSource, PartitionReader, ReadError},
};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Between two checks: records of a topic that was made anew are skipped for so long at most. A
/// check costs two questions and a fetch of one record.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// Compares the log with a worker's position, on a reader of its own, so that the worker waits for
/// nothing. Ends when dropped.
#[derive(Debug)]
pub struct SameLog {
    decided: watch::Sender<PartitionRow>,
    found: Arc<OnceLock<String>>,
    _checks: AbortOnDropHandle<()>,
}

impl SameLog {
    /// Begins with a position that the log was just found to have.
    pub(crate) fn watch<S: OrderLogSource>(source: S, row: PartitionRow) -> Self {
        let (decided, followed) = watch::channel(row);
        let found = Arc::new(OnceLock::new());
        let checks = tokio::spawn(check_again(source, followed, Arc::clone(&found)));
        Self { decided, found, _checks: AbortOnDropHandle::new(checks) }
    }

    /// What shows that the log is another one; else the checks go on with this position.
    pub(crate) fn note_decided(&self, row: PartitionRow) -> Option<&str> {
        let found = self.found.get().map(String::as_str);
        if found.is_none() {
            self.decided.send_replace(row);
        }
        found
    }
}

/// What one log has and no other one: the number in its genesis record, or the id of whatever else
/// was first in it; 0 if that has none.
pub(crate) fn identity_of(first: &Entry) -> u64 {
    match Record::decode(&first.kind, Bytes::clone(&first.payload)) {
        Ok(Record::Genesis(genesis)) => genesis.log_id,
        _ => first.id.map_or(0, RecordId::get),
    }
}

async fn check_again<S: OrderLogSource>(
    source: S,
    decided: watch::Receiver<PartitionRow>,
    found: Arc<OnceLock<String>>,
) {
    let (mut reader, mut anchor) = (None, *decided.borrow());
    loop {
        tokio::time::sleep(CHECK_EVERY).await;
        // Before the check, so that the next one compares a record from before it.
        let newest = *decided.borrow();
        match check(&source, &mut reader, anchor).await {
            Ok(None) => anchor = newest,
            Ok(Some(what)) => {
                found.get_or_init(|| what);
                return;
            }
            Err(error) => {
                // A reader that holds what it knew of a topic is no help with the next one of that
                // name.
                reader = None;
                tracing::debug!(partition = %anchor.partition, %error, "the log cannot be checked now");
            }
        }
    }
}

async fn check<S: OrderLogSource>(
    source: &S,
    kept: &mut Option<S::Reader>,
    anchor: PartitionRow,
) -> Result<Option<String>, ReadError> {
    let reader = match kept {
        Some(reader) => reader,
        None => kept.insert(source.reader(anchor.partition)?),
    };
    difference(reader, anchor).await
}

/// What shows that the log is not the one in which this position was decided.
async fn difference(reader: &mut impl PartitionReader, anchor: PartitionRow) -> Result<Option<String>, ReadError> {
    let marks = reader.watermarks().await?;
    if marks.high < anchor.offset {
        return Ok(Some(format!("the log ends at {}, and {} was decided", marks.high, anchor.offset)));
    }
    let before = anchor.offset.checked_sub(1).filter(|&before| before >= marks.low);
    let (at, expected) = match (before, anchor.record) {
        (Some(before), Some(record)) => (before, record.get()),
        // Nothing of the worker's own to compare: what the log began with, if it still does.
        _ if marks.low == 0 && marks.high > 0 && anchor.log_id != 0 => (0, anchor.log_id),
        _ => return Ok(None),
    };
    let entry = reader.entry_at(at).await?;
    let is_same = match &entry {
        Some(entry) if Some(at) == before => entry.id.map(RecordId::get) == Some(expected),
        Some(entry) => identity_of(entry) == expected,
        // Retention may have taken it just now.
        None => at < reader.watermarks().await?.low,
    };
    Ok((!is_same).then(|| format!("the record at {at} is another one than before")))
}

#[cfg(test)]
mod tests {
    use domain::{
        id::{Generation, PartitionId},
        record::Genesis,
    };
    use store::log::Watermarks;

    use super::*;

    /// Records from an offset on, by their ids; the first may be a genesis.
    struct Log {
        low: u64,
        ids: Vec<u64>,
        genesis: Option<u64>,
    }

    impl PartitionReader for Log {
        async fn watermarks(&mut self) -> Result<Watermarks, ReadError> {
            Ok(Watermarks { low: self.low, high: self.low + self.ids.len() as u64 })
        }

        async fn entry_at(&mut self, offset: u64) -> Result<Option<Entry>, ReadError> {
            let at = offset.checked_sub(self.low).and_then(|at| usize::try_from(at).ok());
            let Some(&id) = at.and_then(|at| self.ids.get(at)) else { return Ok(None) };
            let (mut kind, mut payload) = ("other", Bytes::new());
            if let (0, Some(log_id)) = (offset, self.genesis) {
                let genesis = Record::Genesis(Genesis { partition: PartitionId(0), generation: Generation(1), log_id });
                (kind, payload) = (genesis.kind(), genesis.encode().into());
            }
            Ok(Some(Entry { offset, id: RecordId::new(id).ok(), kind: kind.into(), payload }))
        }

        async fn seek(&mut self, _: u64) -> Result<(), ReadError> {
            Ok(())
        }

        async fn read(&mut self, _: usize, _: usize, _: Duration) -> Result<Vec<Entry>, ReadError> {
            Ok(Vec::new())
        }
    }

    fn at(offset: u64, record: u64, log_id: u64) -> PartitionRow {
        let (partition, generation) = (PartitionId(0), Generation(1));
        PartitionRow { partition, generation, log_id, offset, record: RecordId::new(record).ok() }
    }

    /// R10: a log that has the record is the same, however it grew; one that has another there, or
    /// ends before, is not; where retention took the record, what the log began with decides, and
    /// else nothing does.
    #[tokio::test]
    async fn r10_another_log_is_told_from_the_same_one() {
        let whole = |ids: &[u64]| Log { low: 0, ids: ids.to_vec(), genesis: Some(77) };
        let cases = [
            (whole(&[1, 2, 3]), at(2, 2, 77), true),
            (whole(&[1, 2, 3]), at(2, 9, 77), false),
            (whole(&[1]), at(2, 2, 77), false),
            (whole(&[1, 2]), at(0, 0, 77), true),
            (whole(&[1, 2]), at(0, 0, 78), false),
            (whole(&[]), at(0, 0, 77), true),
            (Log { low: 0, ids: vec![5, 6], genesis: None }, at(0, 0, 5), true),
            (Log { low: 0, ids: vec![5, 6], genesis: None }, at(0, 0, 4), false),
            (Log { low: 5, ids: vec![6, 7], genesis: None }, at(3, 3, 77), true),
            (Log { low: 5, ids: vec![6, 7], genesis: None }, at(7, 7, 77), true),
            (Log { low: 5, ids: vec![6, 7], genesis: None }, at(7, 8, 77), false),
        ];
        for (number, (mut log, anchor, is_same)) in cases.into_iter().enumerate() {
            let found = difference(&mut log, anchor).await.unwrap();
            assert_eq!(found.is_none(), is_same, "case {number}: {found:?}");
        }
    }
}

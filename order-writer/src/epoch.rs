//! The record that begins a lane's next epoch, and the proof that it stands behind all that was
//! drained for it.

use std::{collections::HashSet, time::Duration};

use domain::{id::RecordId, record::Record};
use store::log::{Envelope, PartitionReader, ReadError};

use crate::{
    partition::{Partition, random_record_id},
    ports::{Halt, Ports},
};

/// Records read at once to find those that a rebuild drained.
const READ_RECORDS: usize = 512;
/// Bytes read at once for that.
const READ_BYTES: usize = 4 << 20;
/// How long the log may take to give records that it has.
const READ_WAIT: Duration = Duration::from_secs(10);

impl<P: Ports> Partition<P> {
    /// R3, step 3, and R14: appends the record that begins a lane's next epoch, to open it or to
    /// retire it. The batches drained before it MUST stand before it, or they are superseded: in a
    /// log that was made anew meanwhile they do not. Such an epoch is set aside, for ever, and a
    /// new generation begins.
    pub(crate) async fn append_epoch(&mut self, record: &Record, drained: &[(u64, RecordId)]) -> Result<(), Halt> {
        let id = random_record_id();
        let envelope = Envelope { id, kind: record.kind(), payload: record.encode().into() };
        let end = self.append_raw(envelope).await?;
        let Some(&(first, _)) = drained.first() else { return Ok(()) };
        if self.stand_between(first, end, drained).await? {
            // The reader went elsewhere to look.
            return Ok(self.reader.seek(self.row().offset).await?);
        }
        self.shared.ledger.skip(self.id, end, Some(id)).await?;
        let what = format!("{record:?} was appended to another log than the batches drained for it");
        Err(Halt::LostRecords { partition: self.id, generation: self.row().generation, what })
    }

    /// Whether all these records stand in the log from `first` on and before `end`.
    async fn stand_between(&mut self, first: u64, end: u64, records: &[(u64, RecordId)]) -> Result<bool, Halt> {
        let mut missing: HashSet<RecordId> = records.iter().map(|&(_, id)| id).collect();
        let (mut next, marks) = (first, self.reader.watermarks().await?);
        // What is appended stands behind what is decided.
        if first < marks.low.max(self.row().offset) || end >= marks.high {
            return Ok(false);
        }
        self.reader.seek(first).await?;
        while next < end && !missing.is_empty() {
            let entries = self.reader.read(READ_RECORDS, READ_BYTES, READ_WAIT).await?;
            let Some(last) = entries.last() else {
                return Err(ReadError::Unavailable(format!("the record at offset {next} does not come")).into());
            };
            next = last.offset + 1;
            for entry in entries.iter().filter(|entry| entry.offset < end) {
                entry.id.map(|id| missing.remove(&id));
            }
        }
        Ok(missing.is_empty())
    }
}

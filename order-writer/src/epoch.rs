//! The records that begin the next epochs of lanes, and the proof that each stands behind all that
//! was drained for it. A look appends the epochs of many lanes and proves them together: to go
//! elsewhere in the log and back takes a reader longer than everything else about a lane.

use std::{collections::HashMap, time::Duration};

use domain::{id::RecordId, record::Record};
use store::log::{Envelope, PartitionReader, ReadError};

use crate::{
    partition::{Partition, Unproven, random_record_id},
    ports::{Halt, Ports},
};

/// Records read at once to find those that a look drained.
const READ_RECORDS: usize = 512;
/// Bytes read at once for that.
const READ_BYTES: usize = 4 << 20;
/// How long the log may take to give records that it has.
const READ_WAIT: Duration = Duration::from_secs(10);

impl<P: Ports> Partition<P> {
    /// R3, step 3, and R14: appends the record that begins a lane's next epoch, to open it or to
    /// retire it. The look proves it before the worker decides anything.
    pub(crate) async fn append_epoch(&mut self, record: Record, drained: Vec<(u64, RecordId)>) -> Result<(), Halt> {
        let id = random_record_id();
        let offset = self.append_raw(Envelope { id, kind: record.kind(), payload: record.encode().into() }).await?;
        if !drained.is_empty() {
            self.looks.note_unproven(Unproven { id, offset, record, drained });
        }
        Ok(())
    }

    /// The batches drained before an epoch MUST stand before it, or they are superseded: in a log
    /// that was made anew meanwhile they do not. Such epochs are set aside, for ever, and a new
    /// generation begins.
    pub(crate) async fn prove_epochs(&mut self) -> Result<(), Halt> {
        let mut epochs = self.looks.take_unproven();
        if epochs.is_empty() {
            return Ok(());
        }
        let marks = self.reader.watermarks().await?;
        // What is appended stands behind what is decided.
        let decided = marks.low.max(self.row().offset);
        let is_there = |epoch: &Unproven| decided <= epoch.first() && epoch.offset < marks.high;
        let within = |epochs: &[Unproven]| {
            let there = epochs.iter().filter(|epoch| is_there(epoch));
            Some((there.clone().map(Unproven::first).min()?, there.map(|epoch| epoch.offset).max()?))
        };
        let found = match within(&epochs) {
            Some((from, to)) => self.find_between(from, to).await?,
            None => HashMap::new(),
        };
        let stands = |epoch: &Unproven| {
            let is_before = |id: &RecordId| found.get(id).is_some_and(|&offset| offset < epoch.offset);
            is_there(epoch) && epoch.drained.iter().all(|(_, id)| is_before(id))
        };
        epochs.retain(|epoch| !stands(epoch));
        let Some(Unproven { record, .. }) = epochs.first() else {
            // The reader went elsewhere to look.
            return Ok(self.reader.seek(self.row().offset).await?);
        };
        let what = format!("{record:?} was appended to another log than the batches drained for it");
        for epoch in &epochs {
            self.shared.ledger.skip(self.id, epoch.offset, Some(epoch.id)).await?;
        }
        Err(Halt::LostRecords { partition: self.id, generation: self.row().generation, what })
    }

    /// The first places of the records that stand in the log from `from` on and before `to`.
    async fn find_between(&mut self, from: u64, to: u64) -> Result<HashMap<RecordId, u64>, Halt> {
        let (mut found, mut next) = (HashMap::new(), from);
        self.reader.seek(from).await?;
        while next < to {
            let entries = self.reader.read(READ_RECORDS, READ_BYTES, READ_WAIT).await?;
            let Some(last) = entries.last() else {
                return Err(ReadError::Unavailable(format!("the record at offset {next} does not come").into()).into());
            };
            next = last.offset + 1;
            for entry in &entries {
                if let Some(id) = entry.id {
                    found.entry(id).or_insert(entry.offset);
                }
            }
        }
        Ok(found)
    }
}

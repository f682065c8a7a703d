//! Looks at a log's file beside whoever writes it: for audits. It changes and holds nothing.

use std::path::Path;

use domain::{id::PartitionId, record::Topic};
use rusqlite::Connection;

use super::{SqliteSettings, Stream, file::LogFile, no_such, read};
use crate::{
    cause::Cause,
    log::{Entry, ReadError, Watermarks},
};

/// A log's file, open to be read. Calls block.
pub struct SqliteLogView {
    file: LogFile,
    connection: Connection,
    partitions: u32,
}

impl SqliteLogView {
    /// Opens the file of a log.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] when there is none, or it is damaged.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        // Of the settings only the partitions matter to who reads, and the file tells these.
        let settings = SqliteSettings::new(1, std::sync::Arc::new(|| 0));
        let unavailable = |file: &LogFile, error| ReadError::Unavailable(file.cause(error));
        let file = LogFile::new(path, &settings);
        let connection = file.open_to_read().map_err(|error| unavailable(&file, error))?;
        let partitions = connection.query_row("SELECT partitions FROM shape", (), |row| row.get(0));
        let partitions = partitions.map_err(|error| unavailable(&file, error))?;
        let file = LogFile::new(path, &SqliteSettings { partitions, ..settings });
        Ok(Self { file, connection, partitions })
    }

    /// Where each partition of the topic `orders` begins and ends.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] when the file cannot be read.
    pub fn partitions(&self) -> Result<Vec<(PartitionId, Watermarks)>, ReadError> {
        let positions = self.file.positions(&self.connection);
        let (marks, _) = positions.map_err(|error| ReadError::Unavailable(Cause::of(error)))?;
        // Those of `orders` stand first.
        Ok((0..self.partitions).map(PartitionId).zip(marks).collect())
    }

    /// Records from this offset on, at most so many; none where there is no record at that very
    /// offset.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] when the file cannot be read.
    pub fn read(&self, partition: PartitionId, offset: u64, records_max: usize) -> Result<Vec<Entry>, ReadError> {
        let stream = Stream::new(Topic::Orders, partition, self.partitions)
            .ok_or_else(|| ReadError::Unavailable(no_such(partition, self.partitions).into()))?;
        let entries = read::read(&self.connection, stream.number, offset, records_max, usize::MAX);
        entries.map_err(|error| ReadError::Unavailable(self.file.cause(error)))
    }
}

//! Reads one partition of a topic.

use std::{pin::pin, sync::Arc, time::Duration};

use domain::{id::PartitionId, record::Topic};
use rdkafka::{
    Offset,
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use tokio::time::sleep;

use super::{
    KafkaSettings,
    cursor::{Cursor, at_once},
    envelope, failed, unavailable,
};
use crate::{
    cause::Cause,
    log::{Entry, OrderLogSource, PartitionReader, ReadError, Watermarks},
};

/// Opens readers of one topic.
#[derive(Debug, Clone)]
pub struct KafkaSource {
    settings: Arc<KafkaSettings>,
    topic: Topic,
}

impl KafkaSource {
    /// Of the topic `orders`. Connects to nothing yet.
    pub fn new(settings: &KafkaSettings) -> Self {
        Self::of(settings, Topic::Orders)
    }

    /// The same of another topic.
    pub fn of(settings: &KafkaSettings, topic: Topic) -> Self {
        Self { settings: Arc::new(settings.clone()), topic }
    }
}

impl OrderLogSource for KafkaSource {
    type Reader = KafkaReader;

    fn reader(&self, partition: PartitionId) -> Result<KafkaReader, ReadError> {
        let settings = &self.settings;
        if partition.0 >= settings.partitions {
            return Err(unavailable(format!("there is no partition {partition}: there are {}", settings.partitions)));
        }
        let more = [
            // A lost position is for people and R10 to solve, never for a default.
            ("auto.offset.reset", "error"),
        ];
        let cursor = Cursor::new(settings, settings.topic(self.topic), partition, &more)?;
        Ok(KafkaReader { cursor, partition, next: 0, lost: false, entry_timeout: settings.request_timeout() })
    }
}

/// Reads one partition with a consumer of its own: a new one stands at the beginning.
///
/// [`PartitionReader::seek`] and a cancelled [`PartitionReader::read`] lose nothing. After
/// [`PartitionReader::entry_at`] the reader stands somewhere else: seek before reading on. After
/// [`ReadError::OutOfRange`] every read says so again until the next seek. A record that the log
/// lost and replaced by another at the same offset cannot be told here; the ids in the ledger tell
/// (R10).
pub struct KafkaReader {
    cursor: Cursor,
    partition: PartitionId,
    /// Offset asked for next, as far as known.
    next: u64,
    /// The log has no record there.
    lost: bool,
    entry_timeout: Duration,
}

/// What an error means to a reader.
enum Fault {
    Lost,
    Trouble(Cause),
}

impl From<KafkaError> for Fault {
    fn from(error: KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::LogTruncation,
            ) => Self::Lost,
            _ => Self::Trouble(Cause::of(error)),
        }
    }
}

impl KafkaReader {
    fn out_of_range(&self) -> ReadError {
        ReadError::OutOfRange { partition: self.partition, offset: self.next }
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) -> Entry {
        let entry = envelope::entry(message);
        self.next = entry.offset + 1;
        entry
    }
}

impl PartitionReader for KafkaReader {
    async fn watermarks(&mut self) -> Result<Watermarks, ReadError> {
        self.cursor.watermarks().await
    }

    async fn entry_at(&mut self, offset: u64) -> Result<Option<Entry>, ReadError> {
        let Watermarks { low, high } = self.cursor.watermarks().await?;
        if !(low..high).contains(&offset) {
            return Ok(None);
        }
        self.seek(offset).await?;
        match self.read(1, 1, self.entry_timeout).await {
            Ok(entries) => match entries.into_iter().next() {
                Some(entry) => Ok(Some(entry).filter(|entry| entry.offset == offset)),
                None => Err(unavailable(format!("the record at offset {offset} does not come"))),
            },
            // It went while we asked.
            Err(ReadError::OutOfRange { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn seek(&mut self, offset: u64) -> Result<(), ReadError> {
        let place = i64::try_from(offset).map_err(failed)?;
        self.cursor.place(Offset::Offset(place)).await?;
        (self.next, self.lost) = (offset, false);
        Ok(())
    }

    async fn read(&mut self, max_records: usize, max_bytes: usize, wait: Duration) -> Result<Vec<Entry>, ReadError> {
        self.cursor.place_if_new().await?;
        if self.lost {
            return Err(self.out_of_range());
        }
        let consumer = self.cursor.consumer()?;
        let mut waited = pin!(sleep(wait));
        let (mut entries, mut bytes, mut trouble) = (Vec::new(), 0, None);
        while entries.is_empty() || (entries.len() < max_records && bytes < max_bytes) {
            // Only the first record is waited for: from it on nothing suspends, so that a cancelled
            // read has taken none.
            let message = if entries.is_empty() {
                tokio::select! {
                    biased;
                    message = consumer.recv() => Some(message),
                    () = &mut waited => None,
                }
            } else {
                at_once(consumer.recv()).await
            };
            match message.map(|outcome| outcome.map_err(Fault::from)) {
                Some(Ok(message)) => {
                    let entry = self.take(&message);
                    bytes += entry.payload.len();
                    entries.push(entry);
                }
                Some(Err(Fault::Lost)) => {
                    self.lost = true;
                    break;
                }
                // The client goes on trying by itself.
                Some(Err(Fault::Trouble(why))) => trouble = Some(why),
                None => break,
            }
        }
        match trouble {
            _ if !entries.is_empty() => Ok(entries),
            _ if self.lost => Err(self.out_of_range()),
            Some(why) => Err(ReadError::Unavailable(why)),
            None => Ok(entries),
        }
    }
}

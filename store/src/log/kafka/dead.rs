//! Reads the topic `orders.dead`.

use domain::id::PartitionId;
use rdkafka::{
    Message, Offset,
    message::{BorrowedMessage, Headers},
};
use tokio::time::timeout;

use super::{KafkaSettings, cursor::Cursor, envelope, failed, unavailable};
use crate::log::{Entry, Parked, ParkedRecords, ReadError};

/// The dead letters, to be read. A number is an offset of the topic. Each question has a client of
/// its own: people ask.
#[derive(Debug, Clone)]
pub struct KafkaDeadLetters(KafkaSettings);

impl KafkaDeadLetters {
    /// Connects when asked.
    pub fn new(settings: &KafkaSettings) -> Self {
        Self(settings.clone())
    }
}

impl ParkedRecords for KafkaDeadLetters {
    async fn parked(&self, from: u64, limit: usize) -> Result<Vec<Parked>, ReadError> {
        let more = [("auto.offset.reset", "earliest")];
        let mut cursor = Cursor::new(&self.0, self.0.dead_topic(), PartitionId(0), &more)?;
        let marks = cursor.watermarks().await?;
        let from = from.max(marks.low);
        let mut found = Vec::new();
        if from >= marks.high {
            return Ok(found);
        }
        cursor.place(Offset::Offset(i64::try_from(from).map_err(failed)?)).await?;
        let consumer = cursor.consumer()?;
        while found.len() < limit {
            let next = timeout(self.0.request_timeout(), consumer.recv()).await;
            let message = next.map_err(|_| unavailable("the dead letters do not come"))?.map_err(failed)?;
            found.push(parked(&message));
            if message.offset().cast_unsigned() + 1 >= marks.high {
                break;
            }
        }
        Ok(found)
    }
}

fn parked(message: &BorrowedMessage<'_>) -> Parked {
    let (mut cause, mut partition, mut offset) = (String::new(), 0, 0);
    for header in message.headers().into_iter().flat_map(Headers::iter) {
        let value = String::from_utf8_lossy(header.value.unwrap_or_default());
        match header.key {
            envelope::CAUSE => cause = value.into_owned(),
            envelope::ORIGINAL_PARTITION => partition = value.parse().unwrap_or(0),
            envelope::ORIGINAL_OFFSET => offset = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    Parked {
        number: message.offset().cast_unsigned(),
        partition: PartitionId(partition),
        entry: Entry { offset, ..envelope::entry(message) },
        cause,
        parked_at_ms: message.timestamp().to_millis().map_or(0, i64::cast_unsigned),
    }
}

//! Follows the topic `sales`.

use std::time::Duration;

use domain::{
    id::PartitionId,
    record::{SALE_TYPE, decode_sale},
    sale::Sale,
};
use rdkafka::{Message, Offset, error::KafkaError, message::BorrowedMessage};
use tokio::time::timeout;

use super::{
    KafkaSettings,
    cursor::{Cursor, at_once},
    envelope, failed,
};
use crate::log::{ReadError, SalesFollower};

/// Sales handed over at once, at most.
const SALES_MAX: usize = 256;
/// Nothing came for so long: does the topic still have what it had?
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// Follows the topic `sales` from its beginning. Of a sale's versions it shows the newest for
/// certain, older ones maybe, each after those before it. When the topic lost records or was
/// recreated it says so, and begins anew.
///
/// A cancelled [`SalesFollower::next`] loses nothing. It may be called again after an error: the
/// client goes on trying.
pub struct KafkaSalesFollower {
    cursor: Cursor,
    end: End,
    trouble: Option<ReadError>,
    /// One past the last record taken.
    next: u64,
    /// The topic is another one: it is to be read from its beginning.
    is_lost: bool,
}

#[derive(PartialEq)]
enum End {
    Ahead,
    Reached,
    Told,
}

impl KafkaSalesFollower {
    /// Connects when first asked.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] when the client refuses the settings.
    pub fn new(settings: &KafkaSettings) -> Result<Self, ReadError> {
        let more = [
            ("auto.offset.reset", "earliest"),
            // Compaction leaves gaps: only the broker knows where the end is.
            ("enable.partition.eof", "true"),
        ];
        let cursor = Cursor::new(settings, settings.sales_topic(), PartitionId(0), &more)?;
        Ok(Self { cursor, end: End::Ahead, trouble: None, next: 0, is_lost: false })
    }

    fn take(&mut self, outcome: Result<BorrowedMessage<'_>, KafkaError>, sales: &mut Vec<Sale>) {
        match outcome {
            // The client went back to the beginning by itself. What it found is read once more.
            Ok(message) if message.offset().cast_unsigned() < self.next => self.is_lost = true,
            Ok(message) => {
                self.next = message.offset().cast_unsigned() + 1;
                sales.extend(sale(&message));
            }
            Err(KafkaError::PartitionEOF(_)) if self.end == End::Ahead => self.end = End::Reached,
            Err(KafkaError::PartitionEOF(_)) => {}
            Err(error) => self.trouble = Some(failed(error)),
        }
    }

    /// Compaction leaves the newest record where it is: only a topic that lost it, or another one,
    /// ends before it.
    async fn look(&mut self) {
        match self.cursor.watermarks().await {
            Ok(marks) => self.is_lost |= marks.high < self.next,
            Err(error) => tracing::debug!(%error, "the end of the topic sales cannot be asked for now"),
        }
    }

    async fn begin_anew(&mut self) -> Result<(), ReadError> {
        if !self.is_lost {
            return Ok(());
        }
        self.cursor.place(Offset::Beginning).await?;
        let lost = ReadError::OutOfRange { partition: PartitionId(0), offset: self.next };
        (self.next, self.end, self.is_lost) = (0, End::Ahead, false);
        Err(lost)
    }
}

impl SalesFollower for KafkaSalesFollower {
    async fn next(&mut self) -> Result<Vec<Sale>, ReadError> {
        self.cursor.place_if_new().await?;
        let consumer = self.cursor.consumer()?;
        let mut sales = Vec::new();
        loop {
            self.begin_anew().await?;
            if let Some(trouble) = self.trouble.take() {
                return Err(trouble);
            }
            if self.end == End::Reached {
                self.end = End::Told;
                return Ok(Vec::new());
            }
            // Only the first is waited for: from it on nothing suspends, so that a cancelled call
            // has taken none.
            let Ok(first) = timeout(LOOK_AFTER, consumer.recv()).await else {
                self.look().await;
                continue;
            };
            let mut outcome = Some(first);
            while let Some(taken) = outcome {
                self.take(taken, &mut sales);
                let is_end = self.end == End::Reached || self.is_lost;
                let stop = sales.len() >= SALES_MAX || is_end || self.trouble.is_some();
                outcome = if stop { None } else { at_once(consumer.recv()).await };
            }
            if !sales.is_empty() {
                return Ok(sales);
            }
        }
    }
}

/// The sale in a record; none in a tombstone, in a damaged record and in one of another type.
fn sale(message: &BorrowedMessage<'_>) -> Option<Sale> {
    message.payload()?;
    let entry = envelope::entry(message);
    let sale = match entry.kind.as_str() {
        SALE_TYPE => decode_sale(entry.payload).map_err(|error| error.to_string()),
        kind => Err(format!("unknown record type {kind:?}: update this program")),
    };
    sale.inspect_err(|error| tracing::error!(error, offset = entry.offset, "a record of the topic sales is skipped"))
        .ok()
}

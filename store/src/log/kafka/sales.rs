//! Follows the topic `sales`.

use domain::{
    id::PartitionId,
    record::{SALE_TYPE, decode_sale},
    sale::Sale,
};
use rdkafka::{Message, error::KafkaError, message::BorrowedMessage};

use super::{
    KafkaSettings,
    cursor::{Cursor, at_once},
    envelope, unavailable,
};
use crate::log::{ReadError, SalesFollower};

/// Sales handed over at once, at most.
const SALES_MAX: usize = 256;

/// Follows the topic `sales` from its beginning. Of a sale's versions it shows the newest for certain, older ones maybe, each
/// after those before it. When the topic was recreated it begins anew.
///
/// A cancelled [`SalesFollower::next`] loses nothing. It may be called again after an error: the client goes on trying.
pub struct KafkaSalesFollower {
    cursor: Cursor,
    end: End,
    trouble: Option<ReadError>,
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
        Ok(Self { cursor, end: End::Ahead, trouble: None })
    }

    fn take(&mut self, outcome: Result<BorrowedMessage<'_>, KafkaError>, sales: &mut Vec<Sale>) {
        match outcome {
            Ok(message) => sales.extend(sale(&message)),
            Err(KafkaError::PartitionEOF(_)) if self.end == End::Ahead => self.end = End::Reached,
            Err(KafkaError::PartitionEOF(_)) => {}
            Err(error) => self.trouble = Some(unavailable(error)),
        }
    }
}

impl SalesFollower for KafkaSalesFollower {
    async fn next(&mut self) -> Result<Vec<Sale>, ReadError> {
        self.cursor.place_if_new().await?;
        let consumer = self.cursor.consumer()?;
        let mut sales = Vec::new();
        loop {
            if let Some(trouble) = self.trouble.take() {
                return Err(trouble);
            }
            if self.end == End::Reached {
                self.end = End::Told;
                return Ok(Vec::new());
            }
            // Only the first is waited for: from it on nothing suspends, so that a cancelled call has taken none.
            let mut outcome = Some(consumer.recv().await);
            while let Some(taken) = outcome {
                self.take(taken, &mut sales);
                let stop = sales.len() >= SALES_MAX || self.end == End::Reached || self.trouble.is_some();
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

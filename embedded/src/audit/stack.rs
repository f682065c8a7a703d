//! The audit of a production stack: Redis, Kafka and MySQL, each asked by its own adapter.

use std::time::Duration;

use domain::id::PartitionId;
use kit::settings::StoreArgs;
use loadtest::{audit::PromiseEvidence, backends::production::ProductionBackends};
use store::log::{
    OrderLogSource, PartitionReader, ReadError,
    kafka::{KafkaSettings, KafkaSource},
};

use super::{Audit, AuditError, RECORDS, promised};

/// Bytes of the log read at once.
const BYTES: usize = 4 << 20;
/// How long the log may take to give records that it has.
const WAIT: Duration = Duration::from_secs(10);

/// Audits everything that this namespace has ever sold, as far as its log is kept.
///
/// # Errors
/// [`AuditError`].
pub async fn audit(stores: &StoreArgs) -> Result<Audit, AuditError> {
    let backends = ProductionBackends::open(stores, Vec::new()).await?;
    let kafka = KafkaSettings::new(&stores.kafka.kafka_brokers, stores.namespace.as_str(), stores.partitions.into());
    let logged = logged(&KafkaSource::new(&kafka), stores.partitions.into()).await?;
    super::audit(backends, logged, &format!("the stack with namespace {}", stores.namespace), true).await
}

async fn logged(source: &impl OrderLogSource, partitions: u32) -> Result<Vec<PromiseEvidence>, ReadError> {
    let mut promises = Vec::new();
    for partition in (0..partitions).map(PartitionId) {
        let mut reader = source.reader(partition)?;
        let marks = reader.watermarks().await?;
        reader.seek(marks.low).await?;
        let mut next = marks.low;
        while next < marks.high {
            let entries = reader.read(RECORDS, BYTES, WAIT).await?;
            let Some(last) = entries.last() else {
                let what = format!("partition {partition} gave no record at {next} of {} within {WAIT:?}", marks.high);
                return Err(ReadError::Unavailable(what.into()));
            };
            next = last.offset + 1;
            entries.into_iter().for_each(|entry| promises.extend(promised(entry)));
        }
    }
    Ok(promises)
}

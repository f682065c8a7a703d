//! Redis, Kafka and MySQL as a witness sees them.

use domain::{
    id::{LaneId, PartitionId},
    shard::ShardMap,
    stock::LaneMode,
};
use kit::settings::StoreArgs;
use store::{
    ledger::Ledger,
    log::{
        OrderLogSource, PartitionReader, ReadError,
        kafka::{KafkaReader, KafkaSettings, KafkaSource, ensure_topics},
    },
    shards::{self, Namespace},
    sql::mysql::{MySql, MySqlServer, Settings},
    stock::{
        LaneKeeping,
        redis::{RedisKeeping, RedisSettings},
    },
};

use super::{Backends, BackendsError, LaneSeen, LaneWitness};
use crate::{
    audit::EntryEvidence,
    durable::{PartitionPosition, Snapshot},
};

/// The stores of the production deployment.
pub type ProductionBackends = Backends<MySql, ServerWitness>;

/// Redis for lanes and journals, Kafka with the ledger for the log.
pub struct ServerWitness {
    stock: RedisKeeping,
    readers: Vec<(PartitionId, KafkaReader)>,
    ledger: Ledger<MySql>,
}

fn of<E: Into<super::Cause>>(store: &'static str) -> impl Fn(E) -> BackendsError {
    super::of::<ServerWitness, E>(store)
}

impl ProductionBackends {
    /// Opens all of them, and makes what a fresh deployment lacks.
    ///
    /// # Errors
    /// [`BackendsError`] of the first that does not answer.
    pub async fn open(stores: &StoreArgs, lanes: Vec<LaneId>) -> Result<Self, BackendsError> {
        let namespace = stores.namespace.as_str();
        let server = MySqlServer::new(stores.mysql_url.expose(), Settings::default()).map_err(of("MySQL"))?;
        let map = ShardMap::even(stores.shards, stores.tables).map_err(of("shards"))?;
        let databases = Namespace::new(namespace).map_err(of("namespace"))?;
        let store = shards::open(&server, &databases, map).await.map_err(of("MySQL"))?;
        let redis = RedisSettings::new(stores.redis_url.expose(), namespace);
        let stock = RedisKeeping::connect(&redis).await.map_err(of("Redis"))?;
        let kafka = KafkaSettings::new(&stores.kafka.kafka_brokers, namespace, stores.partitions.into());
        ensure_topics(&kafka).await.map_err(of("Kafka"))?;
        let source = KafkaSource::new(&kafka);
        let readers = (0..stores.partitions.into()).map(PartitionId).map(|p| Ok((p, source.reader(p)?)));
        let readers = readers.collect::<Result<_, ReadError>>().map_err(of("Kafka"))?;
        let witness = ServerWitness { stock, readers, ledger: store.ledger.clone() };
        let backends = Self::new(store, witness, lanes);
        // Redis is connected to when it is first asked.
        backends.closed_lanes().await?;
        Ok(backends)
    }
}

impl LaneWitness for ServerWitness {
    const DATABASE: &'static str = "MySQL";
    const ADVICE: &'static str = "are the servers up? stack/stack up && . stack/env; stack/stack status tells";

    async fn under_way(&mut self, lanes: &[LaneId]) -> Result<Snapshot, BackendsError> {
        let mut snapshot = Snapshot::default();
        for &lane in lanes {
            let entries = self.stock.inspect(lane).await.map_err(of("Redis"))?.journal_len;
            snapshot.journal += entries;
            if entries > 0 {
                snapshot.outstanding.push(format!("lane {lane}: {entries} journal entries"));
            }
        }
        for (partition, reader) in &mut self.readers {
            let high = reader.watermarks().await.map_err(of("Kafka"))?.high;
            let lag = self.ledger.lag(*partition, high).await.map_err(of("MySQL"))?;
            snapshot.lag += lag;
            snapshot.partitions.push(PartitionPosition { partition: partition.0, next: high.saturating_sub(lag), lag });
            if lag > 0 {
                snapshot.outstanding.push(format!("partition {partition}: {lag} of {high} records are not decided"));
            }
        }
        Ok(snapshot)
    }

    async fn lanes(&self, lanes: &[LaneId]) -> Result<Vec<LaneSeen>, BackendsError> {
        let mut seen = Vec::with_capacity(lanes.len());
        for &lane in lanes {
            let view = self.stock.inspect(lane).await.map_err(of("Redis"))?;
            let journal = match view.journal_len {
                0 => Vec::new(),
                _ => self.stock.journal(lane).await.map_err(of("Redis"))?,
            };
            seen.push(LaneSeen {
                open: matches!(view.mode, LaneMode::Open { .. }),
                left: view.offers.iter().map(|(offer, left, _)| (*offer, *left)).collect(),
                journal: journal.iter().map(|(batch, _)| *batch).collect(),
            });
        }
        Ok(seen)
    }

    async fn entries(&self, lane: LaneId) -> Result<Vec<EntryEvidence>, BackendsError> {
        let buyers = self.stock.buyers(lane).await.map_err(of("Redis"))?;
        Ok(buyers.iter().flat_map(|(buyer, purchases)| EntryEvidence::live(lane, *buyer, purchases)).collect())
    }
}

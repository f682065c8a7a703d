//! What the load test asks of the stores: is the sale open, how far is everything, and the evidence for the audit. The only
//! file that names the technologies, and it only reads.

use std::collections::HashMap;

use domain::{
    id::{LaneId, OfferId, OrderId, PartitionId},
    shard::ShardMap,
    stock::LaneMode,
};
use kit::settings::StoreArgs;
use store::{
    ledger::{Ledger, PartitionRow},
    log::{
        OrderLogSource, PartitionReader,
        kafka::{KafkaReader, KafkaSettings, KafkaSource, ensure_topics},
    },
    orders::Orders,
    shards::{self, Namespace},
    sql::mysql::{MySql, MySqlServer, Settings},
    stock::{
        LaneKeeping,
        redis::{RedisKeeping, RedisSettings},
    },
};

use crate::{
    audit::{EntryEvidence, Evidence, OfferEvidence, PromiseEvidence, RowEvidence},
    durable::{Standing, Unseen, Witness},
    sale::{LIMIT_PER_BUYER, LoadSale},
    tally::Book,
};

/// Rows read at once.
const PAGE: u32 = 10_000;
/// R5: rows are looked for from an hour before the sale opened.
const BEFORE_OPENING_MS: u64 = 3_600_000;

/// A store failed.
#[derive(Debug, thiserror::Error)]
#[error("{store}: {cause}")]
pub struct BackendsError {
    store: &'static str,
    cause: String,
}

/// For `map_err`: which store it was.
fn of<E: std::fmt::Display>(store: &'static str) -> impl Fn(E) -> BackendsError {
    move |error| BackendsError { store, cause: error.to_string() }
}

/// The stores of a deployment, as far as the sale of a run goes.
pub struct Backends {
    ledger: Ledger<MySql>,
    orders: Orders<MySql>,
    stock: RedisKeeping,
    readers: Vec<(PartitionId, KafkaReader)>,
    lanes: Vec<LaneId>,
}

impl Backends {
    /// Opens all of them, and makes what a fresh deployment lacks.
    ///
    /// # Errors
    /// [`BackendsError`] of the first that does not answer.
    pub async fn open(stores: &StoreArgs, sale: &LoadSale) -> Result<Self, BackendsError> {
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
        let readers = readers.collect::<Result<_, store::log::ReadError>>().map_err(of("Kafka"))?;
        let backends = Self { ledger: store.ledger, orders: store.orders, stock, readers, lanes: sale.lanes() };
        // Redis is connected to when it is first asked.
        backends.closed_lanes().await?;
        Ok(backends)
    }

    /// Lanes of the sale that are not open yet.
    ///
    /// # Errors
    /// [`BackendsError`] when Redis does not tell.
    pub async fn closed_lanes(&self) -> Result<Vec<LaneId>, BackendsError> {
        let mut closed = Vec::new();
        for &lane in &self.lanes {
            let view = self.stock.inspect(lane).await.map_err(of("Redis"))?;
            if !matches!(view.mode, LaneMode::Open { .. }) {
                closed.push(lane);
            }
        }
        Ok(closed)
    }

    /// All that the audit compares.
    ///
    /// # Errors
    /// [`BackendsError`] of a store that does not answer: there is no audit with a part missing.
    pub async fn evidence(&self, sale: &LoadSale, book: &Book) -> Result<Evidence, BackendsError> {
        let mut evidence = Evidence { rows: self.rows(sale).await?, ..Evidence::default() };
        for &lane in &self.lanes {
            self.lane_evidence(lane, sale, &mut evidence).await?;
        }
        let buyer = |index| sale.buyer(index).map_err(of("buyers"));
        for promise in book.promises() {
            let buyer = buyer(promise.buyer)?;
            evidence.promises.push(PromiseEvidence { buyer, order: promise.order, accepted: promise.accepted });
        }
        evidence.refused = book.refused().into_iter().map(buyer).collect::<Result<_, _>>()?;
        Ok(evidence)
    }

    async fn rows(&self, sale: &LoadSale) -> Result<Vec<RowEvidence>, BackendsError> {
        let from = OrderId::floor_at(sale.opens_at_ms.saturating_sub(BEFORE_OPENING_MS));
        let mut rows = Vec::new();
        for home in self.orders.map().all() {
            let mut after = None;
            loop {
                let page = self.orders.scan(home, &self.lanes, from, after, PAGE).await.map_err(of("MySQL"))?;
                rows.extend(page.iter().map(RowEvidence::from));
                after = page.last().map(|row| row.order);
                if page.len() < PAGE as usize {
                    break;
                }
            }
        }
        Ok(rows)
    }

    async fn lane_evidence(&self, lane: LaneId, sale: &LoadSale, evidence: &mut Evidence) -> Result<(), BackendsError> {
        let counted = self.ledger.lane(lane).await.map_err(of("MySQL"))?;
        let counted: HashMap<OfferId, (u64, u64)> = counted
            .iter()
            .flat_map(|lane| lane.offers.iter().map(|offer| (offer.offer, (offer.allotment, offer.sold))))
            .collect();
        let view = self.stock.inspect(lane).await.map_err(of("Redis"))?;
        for published in sale.offers.iter().filter(|offer| offer.lane == lane) {
            let offer = published.offer;
            let (allotment, sold) = counted.get(&offer).copied().unwrap_or((published.allotment, 0));
            let left = view.offers.iter().find(|(known, ..)| *known == offer).map_or(0, |(_, left, _)| *left);
            let limit_per_buyer = LIMIT_PER_BUYER;
            evidence.offers.push(OfferEvidence { lane, offer, limit_per_buyer, allotment, sold, left });
        }
        for (buyer, purchases) in self.stock.buyers(lane).await.map_err(of("Redis"))? {
            evidence.entries.extend(EntryEvidence::live(lane, buyer, &purchases));
        }
        let journal = self.stock.journal(lane).await.map_err(of("Redis"))?;
        evidence.journal.extend(journal.iter().map(|(batch, _)| (lane, *batch)));
        Ok(())
    }

    /// Closes what can be closed.
    pub async fn close(self) {
        self.ledger.close().await;
        self.orders.close().await;
    }
}

impl Witness for Backends {
    async fn look(&mut self) -> Result<Standing, Unseen> {
        self.standing().await.map_err(|error| Unseen(error.to_string()))
    }
}

impl Backends {
    async fn standing(&mut self) -> Result<Standing, BackendsError> {
        let mut standing = Standing::default();
        // The journals first: what leaves them is in the log, and what is in the log is looked for after that.
        for &lane in &self.lanes {
            let entries = self.stock.inspect(lane).await.map_err(of("Redis"))?.journal_len;
            standing.journal += entries;
            if entries > 0 {
                standing.outstanding.push(format!("lane {lane}: {entries} journal entries"));
            }
        }
        for (partition, reader) in &mut self.readers {
            let high = reader.watermarks().await.map_err(of("Kafka"))?.high;
            let decided = self.ledger.partition(*partition).await.map_err(of("MySQL"))?;
            let next = decided.map_or(0, |PartitionRow { offset, .. }| offset + 1);
            let lag = high.saturating_sub(next);
            standing.lag += lag;
            if lag > 0 {
                standing.outstanding.push(format!("partition {partition}: decided up to {next} of {high} records"));
            }
        }
        for &lane in &self.lanes {
            let row = self.ledger.lane(lane).await.map_err(of("MySQL"))?;
            standing.sold += row.iter().flat_map(|lane| &lane.offers).map(|offer| offer.sold).sum::<u64>();
        }
        Ok(standing)
    }
}

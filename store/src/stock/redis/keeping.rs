//! The keeper's port: rare calls, some of them large, over a pool of connections. (In a cluster
//! over one shared connection, which routes by keys.)

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use deadpool_redis::{Manager, Pool, PoolConfig, Runtime, Timeouts};
use domain::{
    id::{BatchId, BuyerId, Epoch, LaneId, OfferId},
    stock::{CloseAnswer, Gone, GoneWhy, LaneAnswer, LaneOpening, LaneView, LoadAnswer, Purchase, RetireAnswer},
};
use redis::{AsyncConnectionConfig, Cmd, RedisWrite, Value, cluster_async::ClusterConnection};

use super::{
    LUA_MAX, RedisSettings,
    keys::{Key, Keys},
    link::{classify, cluster, cluster_nodes, evaluate, send, within},
    reply,
    scripts::{self, Run, Script},
};
use crate::{
    cause::Cause,
    figures::{CallCount, Calls, PoolUse},
    stock::{LaneKeeping, StockError},
};

/// Buyers in one step of a load.
const LOAD_CHUNK: usize = 1_000;
/// Fields that one step of a scan asks for.
const SCAN_COUNT: usize = 500;
/// Batches, and gone orders, of one call of `settle`: a script holds up everybody else.
const SETTLE_CHUNK: usize = 1_000;
/// Bytes of a gone order: buyer, order, why, units retired.
const GONE_BYTES: usize = 18;
/// The field that a hash has from its load on, so that a lost one is told from an empty one.
const ZEROS: [u8; 8] = [0; 8];

/// A field of a hash and its value.
type Field = (Vec<u8>, Vec<u8>);

#[derive(Clone)]
enum Way {
    Node(Pool),
    Cluster(ClusterConnection),
}

/// The keeper's port on Redis.
#[derive(Clone)]
pub struct RedisKeeping {
    way: Way,
    keys: Keys,
    patience: Duration,
    calls: Arc<CallCount>,
}

impl RedisKeeping {
    /// Prepares the pool. One node is connected to when it is first asked; a cluster must be there.
    ///
    /// # Errors
    /// [`StockError::Broken`] for a URL that is none, [`StockError::Unknown`] when no node of a
    /// cluster answers.
    pub async fn connect(settings: &RedisSettings) -> Result<Self, StockError> {
        let patient = RedisSettings { response_timeout: settings.keeper_timeout, ..settings.clone() };
        let way = match cluster_nodes(&settings.url) {
            Some(nodes) => Way::Cluster(cluster(nodes, &patient).await?),
            None => Way::Node(pool(&patient)?),
        };
        let keys = Keys::new(&settings.namespace);
        Ok(Self { way, keys, patience: settings.keeper_timeout, calls: Arc::default() })
    }

    /// How its pool is used; nothing in a cluster, where one connection is shared.
    pub fn pool(&self) -> PoolUse {
        let Way::Node(pool) = &self.way else { return PoolUse::default() };
        let status = pool.status();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        PoolUse {
            in_use: number(status.size.saturating_sub(status.available)),
            idle: number(status.available),
            waiting: number(status.waiting),
            max: number(status.max_size),
        }
    }

    /// What came of its calls.
    pub fn calls(&self) -> Calls {
        self.calls.read()
    }

    async fn ask(&self, run: &Run) -> Result<Value, StockError> {
        let answer = self.ask_way(run).await;
        self.calls.note(&answer);
        answer
    }

    async fn ask_way(&self, run: &Run) -> Result<Value, StockError> {
        match &self.way {
            Way::Node(pool) => {
                let mut connection = pool.get().await.map_err(|error| StockError::Unsent(Cause::of(error)))?;
                let answer = within(self.patience, evaluate(&mut connection, run)).await;
                let answer = answer.and_then(|told| told.map_err(classify));
                if answer.as_ref().is_err_and(StockError::is_retryable) {
                    // It broke or is silent: the next call gets another.
                    drop(deadpool_redis::Connection::take(connection));
                }
                answer
            }
            Way::Cluster(connection) => {
                let answer = within(self.patience, evaluate(&mut connection.clone(), run)).await;
                answer?.map_err(classify)
            }
        }
    }

    async fn command(&self, cmd: &Cmd) -> Result<Value, StockError> {
        let answer = self.command_way(cmd).await;
        self.calls.note(&answer);
        answer
    }

    async fn command_way(&self, cmd: &Cmd) -> Result<Value, StockError> {
        let answer = match &self.way {
            Way::Node(pool) => {
                let mut connection = pool.get().await.map_err(|error| StockError::Unsent(Cause::of(error)))?;
                within(self.patience, send(&mut connection, cmd)).await
            }
            Way::Cluster(connection) => within(self.patience, send(&mut connection.clone(), cmd)).await,
        };
        answer?.map_err(classify)
    }

    /// Every field of a hash that may be large, by name. The lane must be at rest, or fields may be
    /// missed.
    async fn scan(&self, key: Key<'_>) -> Result<Vec<Field>, StockError> {
        let mut fields = std::collections::BTreeMap::new();
        let mut cursor = "0".to_owned();
        loop {
            let mut cmd = Cmd::new();
            cmd.arg("HSCAN").write_arg_fmt(key);
            cmd.arg(&cursor).arg("COUNT").arg(SCAN_COUNT);
            let (next, page): (String, Vec<Field>) =
                redis::from_redis_value(self.command(&cmd).await?).map_err(|e| StockError::Broken(Cause::of(e)))?;
            // A scan may tell a field twice.
            fields.extend(page.into_iter().filter(|(name, _)| *name != ZEROS));
            if next == "0" {
                return Ok(fields.into_iter().collect());
            }
            cursor = next;
        }
    }

    fn run(&self, script: &'static Script, lane: LaneId) -> Run {
        script.run(&self.keys, lane, 256)
    }

    fn step_of_load(&self, lane: LaneId, epoch: Epoch, name: &str) -> Run {
        let mut run = self.run(&scripts::LOAD, lane);
        run.arg(name).arg(epoch.0);
        run
    }

    async fn load_step(&self, run: &Run) -> Result<Option<u64>, StockError> {
        reply::loaded(self.ask(run).await?)
    }

    async fn settle_some(
        &self,
        lane: LaneId,
        epoch: Epoch,
        batches: &[BatchId],
        gone: &[Gone],
    ) -> Result<LaneAnswer<()>, StockError> {
        let batches: Vec<u8> = batches.iter().flat_map(|batch| batch.get().to_be_bytes()).collect();
        let mut orders = Vec::with_capacity(gone.len() * GONE_BYTES);
        for gone in gone {
            orders.extend_from_slice(&gone.buyer.get().to_be_bytes());
            orders.extend_from_slice(&gone.order.get().to_be_bytes());
            let (why, retired) = match gone.why {
                GoneWhy::Released { retired } => (b'R', retired),
                GoneWhy::Rejected => (b'J', 0),
                GoneWhy::RejectedForStock => (b'S', 0),
            };
            let retired = u8::try_from(retired).map_err(|_| {
                StockError::Broken(format!("order {}: {retired} units are more than an order has", gone.order).into())
            })?;
            orders.extend_from_slice(&[why, retired]);
        }
        let mut run = self.run(&scripts::SETTLE, lane);
        run.arg(epoch.0).arg(batches).arg(orders);
        reply::done(self.ask(&run).await?)
    }
}

fn pool(settings: &RedisSettings) -> Result<Pool, StockError> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(settings.connect_timeout)).set_response_timeout(None);
    let manager = Manager::new_with_config(settings.url.as_str(), config).map_err(classify)?;
    let mut pool = PoolConfig::new(settings.keeper_connections.max(1));
    pool.timeouts = Timeouts {
        wait: Some(settings.response_timeout),
        create: Some(settings.connect_timeout),
        recycle: Some(settings.connect_timeout),
    };
    Pool::builder(manager)
        .config(pool)
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| StockError::Broken(Cause::of(error)))
}

impl LaneKeeping for RedisKeeping {
    async fn settle(
        &self,
        lane: LaneId,
        epoch: Epoch,
        batches: &[BatchId],
        gone: &[Gone],
    ) -> Result<LaneAnswer<()>, StockError> {
        let (mut batches, mut gone) = (batches.chunks(SETTLE_CHUNK), gone.chunks(SETTLE_CHUNK));
        let (mut some_batches, mut some_gone) = (batches.next(), gone.next());
        loop {
            let (of_batches, of_gone) = (some_batches.unwrap_or_default(), some_gone.unwrap_or_default());
            let answer = self.settle_some(lane, epoch, of_batches, of_gone).await?;
            (some_batches, some_gone) = (batches.next(), gone.next());
            if answer != LaneAnswer::Open(()) || (some_batches, some_gone) == (None, None) {
                return Ok(answer);
            }
        }
    }

    async fn close(&self, lane: LaneId, epoch: Epoch) -> Result<CloseAnswer, StockError> {
        let mut run = self.run(&scripts::CLOSE, lane);
        run.arg(epoch.0);
        reply::closed(self.ask(&run).await?)
    }

    async fn journal(&self, lane: LaneId) -> Result<Vec<(BatchId, Bytes)>, StockError> {
        let fields = self.scan(self.keys.key(lane, "journal")).await?;
        Ok(fields.into_iter().filter_map(|(id, payload)| reply::journaled(&id, payload)).collect())
    }

    async fn clear(&self, lane: LaneId, epoch: Epoch) -> Result<bool, StockError> {
        Ok(self.load_step(&self.step_of_load(lane, epoch, "clear")).await?.is_some())
    }

    async fn fill(
        &self,
        lane: LaneId,
        epoch: Epoch,
        purchases: &[(BuyerId, Purchase)],
    ) -> Result<Option<u64>, StockError> {
        let mut buyers = 0;
        let mut entries = purchases.chunk_by(|(one, _), (next, _)| one == next).peekable();
        while entries.peek().is_some() {
            let mut run = self.step_of_load(lane, epoch, "buyers");
            for entry in entries.by_ref().take(LOAD_CHUNK) {
                run.arg(&entry[0].0.get().to_be_bytes()[..])
                    .arg(reply::entry(entry.iter().map(|(_, purchase)| purchase))?);
            }
            let Some(new) = self.load_step(&run).await? else { return Ok(None) };
            buyers += new;
        }
        Ok(Some(buyers))
    }

    async fn open(&self, lane: LaneId, epoch: Epoch, opening: &LaneOpening) -> Result<LoadAnswer, StockError> {
        let mut run = self.step_of_load(lane, epoch, "open");
        run.arg(opening.buyers).arg(opening.limit_per_buyer);
        for offer in &opening.offers {
            run.arg(&offer.offer.get().to_be_bytes()[..]).arg(offer.left).arg(offer.allotment);
            run.arg(position(offer.changed_at)?);
        }
        Ok(self.load_step(&run).await?.map_or(LoadAnswer::Refused, |_| LoadAnswer::Loaded))
    }

    async fn retire(&self, lane: LaneId, epoch: Epoch) -> Result<RetireAnswer, StockError> {
        let mut run = self.run(&scripts::RETIRE, lane);
        run.arg(epoch.0);
        reply::retired(self.ask(&run).await?)
    }

    async fn adjust(
        &self,
        lane: LaneId,
        epoch: Epoch,
        offer: OfferId,
        allotment: u64,
        changed_at: i64,
    ) -> Result<LaneAnswer<()>, StockError> {
        let mut run = self.run(&scripts::ADJUST, lane);
        run.arg(epoch.0).arg(&offer.get().to_be_bytes()[..]).arg(allotment).arg(position(changed_at)?);
        reply::done(self.ask(&run).await?)
    }

    async fn withhold(
        &self,
        lane: LaneId,
        epoch: Epoch,
        offer: OfferId,
        after: i64,
        units: u64,
    ) -> Result<LaneAnswer<u64>, StockError> {
        let mut run = self.run(&scripts::WITHHOLD, lane);
        run.arg(epoch.0).arg(&offer.get().to_be_bytes()[..]).arg(position(after)?).arg(units.min(LUA_MAX));
        reply::withheld(self.ask(&run).await?)
    }

    async fn limit(
        &self,
        lane: LaneId,
        epoch: Epoch,
        limit: u32,
        changed_at: i64,
        most: u32,
    ) -> Result<LaneAnswer<Option<u32>>, StockError> {
        let mut run = self.run(&scripts::LIMIT, lane);
        run.arg(epoch.0).arg(limit).arg(position(changed_at)?).arg(most);
        reply::limited(self.ask(&run).await?)
    }

    async fn inspect(&self, lane: LaneId) -> Result<LaneView, StockError> {
        reply::view(self.ask(&self.run(&scripts::INSPECT, lane)).await?)
    }

    async fn buyers(&self, lane: LaneId) -> Result<Vec<(BuyerId, Vec<Purchase>)>, StockError> {
        let fields = self.scan(self.keys.key(lane, "buyers")).await?;
        fields.into_iter().map(|(buyer, entry)| reply::buyer(&buyer, &entry)).collect()
    }
}

/// Positions do not fit a Lua number: as text of one length they compare as numbers do.
fn position(packed: i64) -> Result<String, StockError> {
    match packed {
        0.. => Ok(format!("{packed:019}")),
        _ => Err(StockError::Broken(format!("{packed} is no packed position").into())),
    }
}

//! The keeper's port: rare calls, some of them large, over a pool of connections. (In a cluster over one shared connection, which routes
//! by keys.)

use bytes::Bytes;
use deadpool_redis::{Manager, Pool, PoolConfig, Runtime, Timeouts};
use domain::{
    id::{BatchId, BuyerId, Epoch, LaneId, OfferId},
    stock::{CloseAnswer, Gone, GoneWhy, LaneAnswer, LaneLoad, LaneView, LoadAnswer, Purchase},
};
use redis::{AsyncConnectionConfig, Cmd, Value, aio::ConnectionLike, cluster_async::ClusterConnection};

use super::{
    RedisSettings,
    keys::Keys,
    link::{classify, cluster, cluster_nodes, evaluate},
    reply,
    scripts::{self, Run},
};
use crate::stock::{LaneKeeping, StockError};

/// Buyers in one step of a load.
const LOAD_CHUNK: usize = 1_000;
/// Fields that one step of a scan asks for.
const SCAN_COUNT: usize = 500;

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
}

impl RedisKeeping {
    /// Prepares the pool. One node is connected to when it is first asked; a cluster must be there.
    ///
    /// # Errors
    /// [`StockError::Broken`] for a URL that is none, [`StockError::Unknown`] when no node of a cluster answers.
    pub async fn connect(settings: &RedisSettings) -> Result<Self, StockError> {
        let patient = RedisSettings { response_timeout: settings.keeper_timeout, ..settings.clone() };
        let way = match cluster_nodes(&settings.url) {
            Some(nodes) => Way::Cluster(cluster(nodes, &patient).await?),
            None => Way::Node(pool(&patient)?),
        };
        Ok(Self { way, keys: Keys::new(&settings.namespace) })
    }

    async fn ask(&self, run: &Run) -> Result<Value, StockError> {
        match &self.way {
            Way::Node(pool) => {
                let mut connection = pool.get().await.map_err(|error| StockError::Unknown(error.to_string()))?;
                let answer = evaluate(&mut connection, run).await;
                if answer.is_err() {
                    // A late answer must not meet another question.
                    drop(deadpool_redis::Connection::take(connection));
                }
                answer
            }
            Way::Cluster(connection) => evaluate(&mut connection.clone(), run).await,
        }
    }

    async fn command(&self, cmd: &Cmd) -> Result<Value, StockError> {
        let answer = match &self.way {
            Way::Node(pool) => {
                let mut connection = pool.get().await.map_err(|error| StockError::Unknown(error.to_string()))?;
                connection.req_packed_command(cmd).await
            }
            Way::Cluster(connection) => connection.clone().req_packed_command(cmd).await,
        };
        answer.and_then(Value::extract_error).map_err(|error| classify(&error))
    }

    /// Every field of a hash that may be large. The lane must be at rest, or fields may be missed.
    async fn scan(&self, key: &str) -> Result<Vec<Field>, StockError> {
        let mut fields = std::collections::BTreeMap::new();
        let mut cursor = "0".to_owned();
        loop {
            let mut cmd = Cmd::new();
            cmd.arg("HSCAN").arg(key).arg(&cursor).arg("COUNT").arg(SCAN_COUNT);
            let (next, page): (String, Vec<Field>) =
                redis::from_redis_value(self.command(&cmd).await?).map_err(|e| StockError::Broken(e.to_string()))?;
            // A scan may tell a field twice.
            fields.extend(page);
            if next == "0" {
                return Ok(fields.into_iter().collect());
            }
            cursor = next;
        }
    }

    async fn load_step(&self, run: &Run) -> Result<LoadAnswer, StockError> {
        reply::loaded(self.ask(run).await?)
    }
}

fn pool(settings: &RedisSettings) -> Result<Pool, StockError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.connect_timeout))
        .set_response_timeout(Some(settings.response_timeout));
    let manager = Manager::new_with_config(settings.url.as_str(), config).map_err(|error| classify(&error))?;
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
        .map_err(|error| StockError::Broken(error.to_string()))
}

impl LaneKeeping for RedisKeeping {
    async fn settle(
        &self,
        lane: LaneId,
        epoch: Epoch,
        batches: &[BatchId],
        gone: &[Gone],
    ) -> Result<LaneAnswer<()>, StockError> {
        let mut run = scripts::SETTLE.run(&self.keys.all(lane));
        run.arg(epoch.0).arg(batches.len());
        for batch in batches {
            run.arg(&batch.get().to_be_bytes()[..]);
        }
        for gone in gone {
            let why = match gone.why {
                GoneWhy::Released => "R",
                GoneWhy::Rejected => "J",
                GoneWhy::RejectedForStock => "S",
            };
            run.arg(gone.buyer.get()).arg(&gone.order.get().to_be_bytes()[..]).arg(why);
        }
        reply::done(self.ask(&run).await?)
    }

    async fn close(&self, lane: LaneId, epoch: Epoch) -> Result<CloseAnswer, StockError> {
        let [state, ..] = self.keys.all(lane);
        let mut run = scripts::CLOSE.run(&[state]);
        run.arg(epoch.0);
        reply::closed(self.ask(&run).await?)
    }

    async fn journal(&self, lane: LaneId) -> Result<Vec<(BatchId, Bytes)>, StockError> {
        let [_, _, journal, _] = self.keys.all(lane);
        let fields = self.scan(&journal).await?;
        fields.into_iter().map(|(id, payload)| reply::journaled(&id, payload)).collect()
    }

    async fn load(&self, lane: LaneId, epoch: Epoch, load: &LaneLoad) -> Result<LoadAnswer, StockError> {
        let keys = self.keys.all(lane);
        let step = |name: &str| {
            let mut run = scripts::LOAD.run(&keys);
            run.arg(name).arg(epoch.0);
            run
        };
        if self.load_step(&step("clear")).await? == LoadAnswer::Refused {
            return Ok(LoadAnswer::Refused);
        }
        for chunk in load.buyers.chunks(LOAD_CHUNK) {
            let mut run = step("buyers");
            for (buyer, purchases) in chunk.iter().filter(|(_, purchases)| !purchases.is_empty()) {
                run.arg(buyer.get()).arg(reply::entry(purchases));
            }
            if self.load_step(&run).await? == LoadAnswer::Refused {
                return Ok(LoadAnswer::Refused);
            }
        }
        let mut run = step("open");
        run.arg(load.limit_per_buyer);
        for offer in &load.offers {
            run.arg(&offer.offer.get().to_be_bytes()[..]).arg(offer.left).arg(offer.allotment);
            run.arg(position(offer.changed_at));
        }
        self.load_step(&run).await
    }

    async fn adjust(
        &self,
        lane: LaneId,
        epoch: Epoch,
        offer: OfferId,
        allotment: u64,
        changed_at: i64,
    ) -> Result<LaneAnswer<()>, StockError> {
        let [state, ..] = self.keys.all(lane);
        let mut run = scripts::ADJUST.run(&[state]);
        run.arg(epoch.0).arg(&offer.get().to_be_bytes()[..]).arg(allotment).arg(position(changed_at));
        reply::done(self.ask(&run).await?)
    }

    async fn withhold(
        &self,
        lane: LaneId,
        epoch: Epoch,
        offer: OfferId,
        sale_version: u32,
        units: u64,
    ) -> Result<LaneAnswer<u64>, StockError> {
        let [state, ..] = self.keys.all(lane);
        let mut run = scripts::WITHHOLD.run(&[state]);
        run.arg(epoch.0).arg(&offer.get().to_be_bytes()[..]).arg(sale_version).arg(units);
        reply::withheld(self.ask(&run).await?)
    }

    async fn inspect(&self, lane: LaneId) -> Result<LaneView, StockError> {
        reply::view(self.ask(&scripts::INSPECT.run(&self.keys.all(lane))).await?)
    }

    async fn buyers(&self, lane: LaneId) -> Result<Vec<(BuyerId, Vec<Purchase>)>, StockError> {
        let [_, buyers, ..] = self.keys.all(lane);
        let read = |(buyer, entry): Field| {
            let buyer = std::str::from_utf8(&buyer).ok().and_then(|text| text.parse().ok());
            let buyer = buyer.ok_or_else(|| StockError::Broken("a buyer that is no id".into()))?;
            Ok((buyer, reply::purchases(&entry)?))
        };
        let mut all = self.scan(&buyers).await?.into_iter().map(read).collect::<Result<Vec<_>, StockError>>()?;
        all.sort_unstable_by_key(|(buyer, _)| *buyer);
        Ok(all)
    }
}

/// Positions do not fit a Lua number: as text of one length they compare as numbers do.
fn position(packed: i64) -> String {
    format!("{packed:019}")
}

//! The production deployment: Kafka and MySQL of `stack/` in a namespace of the wave's own, and a
//! Redis of its own, which restarts.

use domain::{id::LaneId, shard::ShardMap};
use order_writer::failpoint::Contender;
use rdkafka::{ClientConfig, admin::AdminClient, client::DefaultClientContext};
use store::{
    log::kafka::{KafkaLog, KafkaSalesFollower, KafkaSettings, KafkaSource, ensure_topics},
    shards::{self, Namespace, Store},
    sql::mysql::{MySql, MySqlServer, Settings},
    stock::redis::{RedisKeeping, RedisSettings, RedisStock},
};
use tempfile::TempDir;
use verify::redis_server::RedisServer;

use super::{
    monitor::Monitor,
    notes::{Call, Noted},
    parts::{PARTITIONS, PATIENCE, Stores},
    wave::{Back, Rig},
};

/// The clients of one deployment.
#[derive(Clone)]
pub(crate) struct ProductionStores {
    databases: Store<MySql>,
    stock: RedisStock,
    keeping: RedisKeeping,
    log: KafkaLog,
    kafka: KafkaSettings,
}

impl Stores for ProductionStores {
    type Sql = MySql;
    type Stock = RedisStock;
    type Keeping = RedisKeeping;
    type Log = KafkaLog;
    type Source = KafkaSource;
    type Member = Contender;
    type Follower = KafkaSalesFollower;

    fn databases(&self) -> &Store<MySql> {
        &self.databases
    }

    fn stock(&self) -> RedisStock {
        self.stock.clone()
    }

    fn keeping(&self) -> RedisKeeping {
        self.keeping.clone()
    }

    fn log(&self) -> &KafkaLog {
        &self.log
    }

    fn source(&self) -> KafkaSource {
        KafkaSource::new(&self.kafka)
    }

    /// The group would take seconds to hand partitions from one writer to the next; it decides
    /// nothing.
    fn member(&self) -> Contender {
        Contender::new(PARTITIONS)
    }

    fn follower(&self) -> KafkaSalesFollower {
        KafkaSalesFollower::new(&self.kafka).unwrap()
    }
}

/// A namespace, open.
pub(crate) struct ProductionRig {
    namespace: Namespace,
    mysql: MySqlServer,
    redis: RedisServer,
    monitor: Monitor,
    stores: ProductionStores,
    _folder: TempDir,
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: stack/stack up, then . stack/env"))
}

impl Rig for ProductionRig {
    type Stores = ProductionStores;
    const NAME: &'static str = "production";
    const PARTS_OUTLIVE_SERVERS: bool = true;

    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let redis = RedisServer::start(folder.path()).unwrap();
        let monitor = Monitor::start(&redis.url());
        let name = format!("d{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let namespace = Namespace::new(&name).unwrap();
        let mysql = MySqlServer::new(&env("FLASHSALE_MYSQL_URL"), Settings::default()).unwrap();
        let databases = shards::open(&mysql, &namespace, ShardMap::even(2, 2).unwrap()).await.unwrap();
        let kafka = KafkaSettings::new(env("FLASHSALE_KAFKA_BROKERS"), &name, PARTITIONS);
        ensure_topics(&kafka).await.unwrap();
        let settings = RedisSettings { response_timeout: PATIENCE, ..RedisSettings::new(redis.url(), &name) };
        let stores = ProductionStores {
            databases,
            stock: RedisStock::connect(&settings).await.unwrap(),
            keeping: RedisKeeping::connect(&settings).await.unwrap(),
            log: KafkaLog::new(&kafka).unwrap(),
            kafka,
        };
        Self { namespace, mysql, redis, monitor, stores, _folder: folder }
    }

    fn stores(&self) -> ProductionStores {
        self.stores.clone()
    }

    async fn restart(&mut self, what: Back) {
        if what == Back::Servers {
            self.redis.restart().unwrap();
        }
    }

    fn order(&self, lane: LaneId, noted: Vec<Noted>) -> Result<Vec<Call>, String> {
        self.monitor.order(lane, noted)
    }

    async fn close(self) {
        let kafka = self.stores.kafka.clone();
        self.stores.databases.close().await;
        drop(self.stores);
        shards::drop_all(&self.mysql, &self.namespace).await.unwrap();
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().unwrap();
        let topics = kafka.topics();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        admin.delete_topics(&topics, &Default::default()).await.unwrap();
    }
}

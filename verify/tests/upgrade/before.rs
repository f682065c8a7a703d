//! What the first program left, put into a namespace as it was: databases with the schema of that
//! day, and the records of the log. `data/before-production` was made once by that program's own
//! binaries (commit 70a12be): `sale.toml` was published, four buyers bought, one order was
//! cancelled, all services were stopped. Redis is the deployment's own and starts empty, as after a
//! loss.

use std::time::Duration;

use embedded::audit::{Audit, stack};
use kit::settings::StoreArgs;
use rdkafka::{
    ClientConfig,
    admin::AdminClient,
    client::DefaultClientContext,
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use store::{
    log::kafka::{KafkaSettings, ensure_topics},
    shards::{self, Namespace},
    sql::{
        Row, Server, Sql,
        mysql::{MySqlServer, Settings},
    },
};
use tokio::runtime::Runtime;
use verify::services::Services;

const DATABASES: &str = include_str!("../data/before-production/databases.sql");
const RECORDS: &str = include_str!("../data/before-production/records.txt");
/// How long the broker may take to acknowledge a record.
const PATIENCE: Duration = Duration::from_secs(30);

/// A namespace that the first program has used.
pub(crate) struct Before {
    stores: StoreArgs,
    mysql: MySqlServer,
    kafka: KafkaSettings,
    runtime: Runtime,
}

impl Before {
    /// Puts it into the namespace of services of which none runs yet.
    pub(crate) fn load(services: &Services) -> Self {
        let stores = services.stores().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mysql = MySqlServer::new(stores.mysql_url.expose(), Settings::default()).unwrap();
        let kafka = KafkaSettings::new(&stores.kafka.kafka_brokers, services.namespace(), stores.partitions.into());
        runtime.block_on(load_databases(&mysql, services.namespace()));
        runtime.block_on(load_log(&kafka));
        Self { stores, mysql, kafka, runtime }
    }

    /// The migrations that a database has.
    pub(crate) fn migrations(&self, database: &str) -> Vec<String> {
        let rows = self.rows(database, "SELECT name FROM migrations ORDER BY name");
        rows.into_iter().map(|mut row| row.text().unwrap()).collect()
    }

    /// Sales and their published versions, by the ledger.
    pub(crate) fn published(&self) -> Vec<(u64, u32)> {
        let rows = self.rows("ledger", "SELECT sale, version FROM sales ORDER BY sale");
        rows.into_iter().map(|mut row| (row.number().unwrap(), row.number().unwrap())).collect()
    }

    fn rows(&self, database: &str, query: &str) -> Vec<Row> {
        let database = self.mysql.open(&format!("{}_{database}", self.kafka.namespace));
        self.runtime.block_on(async {
            let rows = database.rows(query, vec![]).await.unwrap();
            database.close().await;
            rows
        })
    }

    /// What `flashsale audit-stack` says when everything has come to rest.
    pub(crate) fn audit(&self) -> Audit {
        self.runtime.block_on(stack::audit(&self.stores)).unwrap()
    }

    /// Takes everything away. A test that failed leaves it to be looked at.
    pub(crate) fn remove(self) {
        self.runtime.block_on(async {
            let namespace = Namespace::new(&self.kafka.namespace).unwrap();
            shards::drop_all(&self.mysql, &namespace).await.unwrap();
            let admin: AdminClient<DefaultClientContext> =
                ClientConfig::new().set("bootstrap.servers", &self.kafka.brokers).create().unwrap();
            let topics = self.kafka.topics();
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            admin.delete_topics(&topics, &Default::default()).await.unwrap();
        });
    }
}

async fn load_databases(server: &MySqlServer, namespace: &str) {
    for section in DATABASES.split("-- database ").skip(1) {
        let (name, statements) = section.split_once('\n').unwrap();
        let name = format!("{namespace}_{name}");
        server.create(&name).await.unwrap();
        let database = server.open(&name);
        for statement in statements.split(";\n").filter(|statement| !statement.is_empty()) {
            database.exec(statement, vec![]).await.unwrap_or_else(|error| panic!("{name}: {error}: {statement}"));
        }
        database.close().await;
    }
}

/// The records one after the other, so that each gets the offset that it had.
async fn load_log(kafka: &KafkaSettings) {
    ensure_topics(kafka).await.unwrap();
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().unwrap();
    for line in RECORDS.lines().filter(|line| !line.starts_with('#')) {
        let [topic, partition, offset, key, id, kind, payload] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let (name, source) = (format!("{}.{topic}", kafka.namespace), format!("/flashsale/{topic}"));
        let attributes = [("ce_specversion", "1.0"), ("ce_id", id), ("ce_type", kind), ("ce_source", &source)];
        let headers = attributes
            .into_iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        let payload = bytes_of(payload);
        let mut record = FutureRecord::to(&name).partition(partition.parse().unwrap());
        record = record.headers(headers).payload(&payload);
        if key != "-" {
            record = record.key(key);
        }
        let delivered = producer.send(record, PATIENCE).await.map_err(|(error, _)| error).unwrap();
        assert_eq!(delivered.offset.to_string(), offset, "{line}");
    }
}

fn bytes_of(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

//! A log on fresh topics, for the rules that hold for every log.

use std::future::Future;

use domain::record::{SALE_TYPE, Topic};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::AdminOptions,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use store::log::kafka::{KafkaDeadLetters, KafkaLog, KafkaSalesFollower, KafkaSettings, KafkaSource};

use super::*;
use crate::contract::Rig;

struct KafkaRig(KafkaSettings);

impl Rig for KafkaRig {
    type Log = KafkaLog;
    type Source = KafkaSource;
    type Follower = KafkaSalesFollower;
    type Dead = KafkaDeadLetters;

    fn log(&self) -> KafkaLog {
        KafkaLog::new(&self.0).unwrap()
    }

    fn narrow_log(&self, records_max: usize, bytes_max: usize) -> KafkaLog {
        let bytes_max = bytes_max.min(store::log::kafka::QUEUE_BYTES_MAX);
        let (queue_records_max, queue_bytes_max) = (records_max, bytes_max);
        KafkaLog::new(&KafkaSettings { queue_records_max, queue_bytes_max, ..self.0.clone() }).unwrap()
    }

    fn source_of(&self, topic: Topic) -> KafkaSource {
        KafkaSource::of(&self.0, topic)
    }

    fn follower(&self) -> KafkaSalesFollower {
        KafkaSalesFollower::new(&self.0).unwrap()
    }

    fn dead(&self) -> KafkaDeadLetters {
        KafkaDeadLetters::new(&self.0)
    }

    async fn delete_before(&self, offset: u64) {
        let mut place = TopicPartitionList::new();
        let offset = Offset::Offset(offset.cast_signed());
        place.add_partition_offset(&self.0.orders_topic(), 0, offset).unwrap();
        admin().delete_records(&place, &AdminOptions::new()).await.unwrap();
    }

    /// A tombstone, and a record that is no sale.
    async fn damage_sales(&self) {
        let topic = self.0.sales_topic();
        let publish = move || {
            let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
            let headers = OwnedHeaders::new().insert(Header { key: "ce_type", value: Some(SALE_TYPE) });
            producer.send(BaseRecord::<str, [u8]>::to(&topic).key("9")).map_err(|(e, _)| e).unwrap();
            let damaged = BaseRecord::<str, [u8]>::to(&topic).key("9").payload(&[0xff; 5]).headers(headers);
            producer.send(damaged).map_err(|(e, _)| e).unwrap();
            producer.flush(PATIENCE).unwrap();
        };
        tokio::task::spawn_blocking(publish).await.unwrap();
    }
}

async fn on_topics<F: Future<Output = ()> + Send + 'static>(rule: impl FnOnce(KafkaRig) -> F) {
    on_fresh_topics(|settings| rule(KafkaRig(settings))).await;
}

contract!(on_topics);

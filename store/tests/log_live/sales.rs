//! The topic `sales`: all versions, the end, then what is published.

use domain::{
    id::{LaneId, OfferId, SaleId, SkuId, TenantId},
    money::Money,
    record::SALE_TYPE,
    sale::{Lane, Offer, Sale, Window},
};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use store::log::{
    SalesFollower, SalesPublisher,
    kafka::{KafkaLog, KafkaSalesFollower},
};

use super::*;

fn sale(id: u64, version: u32) -> Sale {
    let offer = Offer {
        id: OfferId::new(id).unwrap(),
        sku: SkuId::new(1).unwrap(),
        title: "offer".into(),
        price: Money { amount: 100, currency: "EUR".parse().unwrap() },
        allotment: 10,
        rate_per_s: 1_000,
    };
    let lane = Lane { id: LaneId::new(id).unwrap(), partition: FIRST, limit_per_buyer: 1, offers: vec![offer] };
    Sale {
        id: SaleId::new(id).unwrap(),
        tenant: TenantId::new(1).unwrap(),
        version,
        title: "sale".into(),
        window: Window { opens_at_ms: 1, closes_at_ms: 2 },
        paused: false,
        buyer_rate_per_s: 1,
        shard_map_version: 1,
        lanes: vec![lane],
    }
}

#[tokio::test]
async fn sales_come_from_the_beginning_then_the_end_then_as_they_are_published() {
    on_fresh_topics(async |settings| {
        let mut early = KafkaSalesFollower::new(&settings).unwrap();
        assert_eq!(early.next().await.unwrap(), [], "an empty topic ends at once");
        let log = KafkaLog::new(&settings).unwrap();
        for version in 1..=3 {
            log.publish(&sale(1, version)).await.unwrap();
        }
        publish_tombstone_and_damage(settings.sales_topic()).await;
        log.publish(&sale(2, 1)).await.unwrap();
        let expected = [sale(1, 1), sale(1, 2), sale(1, 3), sale(2, 1)];
        assert_eq!(until(&mut early, 4).await, expected);

        let mut follower = KafkaSalesFollower::new(&settings).unwrap();
        let mut sales = Vec::new();
        loop {
            let some = follower.next().await.unwrap();
            if some.is_empty() {
                break;
            }
            sales.extend(some);
        }
        assert_eq!(sales, expected, "all before the end");
        let live = sale(1, 4);
        let (some, published) = tokio::join!(follower.next(), log.publish(&live));
        published.unwrap();
        assert_eq!(some.unwrap(), [live]);
    })
    .await;
}

async fn until(follower: &mut KafkaSalesFollower, count: usize) -> Vec<Sale> {
    let mut sales = Vec::new();
    while sales.len() < count {
        sales.extend(follower.next().await.unwrap());
    }
    sales
}

/// What a follower skips.
async fn publish_tombstone_and_damage(topic: String) {
    let publish = move || {
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
        let header = rdkafka::message::Header { key: "ce_type", value: Some(SALE_TYPE) };
        let headers = rdkafka::message::OwnedHeaders::new().insert(header);
        producer.send(BaseRecord::<str, [u8]>::to(&topic).key("9")).map_err(|(e, _)| e).unwrap();
        let damaged = BaseRecord::<str, [u8]>::to(&topic).key("9").payload(&[0xff; 5]).headers(headers);
        producer.send(damaged).map_err(|(e, _)| e).unwrap();
        producer.flush(PATIENCE).unwrap();
    };
    tokio::task::spawn_blocking(publish).await.unwrap();
}

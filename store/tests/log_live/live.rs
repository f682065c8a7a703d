//! What the tests share, and the one that needs everything.

mod append;
mod membership;
mod read;
mod rig;
mod topics;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use store::log::{
    Membership, OrderLogSource, SalesFollower,
    kafka::{KafkaLog, KafkaMembership, KafkaSalesFollower, KafkaSettings, KafkaSource, ensure_topics},
};

use crate::contract::{
    FIRST, KIND, PARTITIONS, PATIENCE, SHORT, append, append_all, entry, is_out_of_range, read, record,
};

fn brokers() -> String {
    std::env::var("FLASHSALE_KAFKA_BROKERS").expect("FLASHSALE_KAFKA_BROKERS is set: run `. stack/env`")
}

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap()
}

/// Runs a test on fresh topics, and deletes them however it ends.
async fn on_fresh_topics<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(KafkaSettings) -> F) {
    let settings = KafkaSettings::new(brokers(), format!("test-{:016x}", rand::random::<u64>()), PARTITIONS);
    ensure_topics(&settings).await.unwrap();
    let outcome = tokio::spawn(tokio::time::timeout(PATIENCE, test(settings.clone()))).await;
    let topics = settings.topics();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    admin().delete_topics(&topics, &AdminOptions::new()).await.unwrap();
    match outcome {
        Ok(in_time) => in_time.expect("the test ends in time"),
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

fn unreachable() -> KafkaSettings {
    let settings = KafkaSettings::new("127.0.0.1:1", "nowhere", PARTITIONS);
    KafkaSettings { message_timeout_ms: 400, request_timeout_ms: 400, ..settings }
}

/// Dropping these clients blocks; it must not block us.
#[tokio::test]
async fn dropping_everything_takes_a_moment() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&settings).unwrap();
        append_all(&log, FIRST, 1).await;
        let mut reader = KafkaSource::new(&settings).reader(FIRST).unwrap();
        read(&mut reader, 1).await;
        let mut follower = KafkaSalesFollower::new(&settings).unwrap();
        follower.next().await.unwrap();
        let mut member = KafkaMembership::join(&settings).unwrap();
        member.next().await.unwrap();
        let began = Instant::now();
        drop((log, reader, follower, member));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    })
    .await;
}

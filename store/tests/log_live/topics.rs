//! Topics are created once and never changed.

use store::log::kafka::{KafkaSettings, KafkaSetupError, ensure_topics};

use super::*;

#[tokio::test]
async fn topics_are_ensured_again_but_never_with_other_partitions() {
    on_fresh_topics(async |settings| {
        ensure_topics(&settings).await.unwrap();
        let other = KafkaSettings { partitions: PARTITIONS + 1, ..settings.clone() };
        match ensure_topics(&other).await {
            Err(KafkaSetupError::Partitions { topic, found, expected }) => {
                assert_eq!((topic, found, expected), (settings.orders_topic(), 4, PARTITIONS + 1));
            }
            other => panic!("{other:?}"),
        }
        let other = KafkaSettings { replication: 99, namespace: format!("{}-x", settings.namespace), ..settings };
        assert!(matches!(ensure_topics(&other).await, Err(KafkaSetupError::Topic { .. })));
    })
    .await;
}

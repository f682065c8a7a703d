//! Connections for the tests.

use std::time::Duration;

use domain::id::LaneId;
use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use store::stock::redis::{RedisKeeping, RedisSettings, RedisStock};

/// Long enough for a slow machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn url() -> String {
    std::env::var("FLASHSALE_REDIS_URL").expect("FLASHSALE_REDIS_URL; stack/stack up, then . stack/env")
}

/// Patient: a call that a slow machine leaves without an answer is an unknown one, which most tests
/// do not expect.
pub(super) fn settings(url: &str) -> RedisSettings {
    let namespace = format!("t{:016x}", rand::random::<u64>());
    RedisSettings {
        connect_timeout: PATIENCE,
        response_timeout: PATIENCE,
        keeper_timeout: PATIENCE,
        keeper_connections: 2,
        ..RedisSettings::new(url, namespace)
    }
}

/// Both ports.
pub(super) async fn connect(settings: &RedisSettings) -> (RedisStock, RedisKeeping) {
    (RedisStock::connect(settings).await.unwrap(), RedisKeeping::connect(settings).await.unwrap())
}

/// A connection beside the adapter, which waits as long as a slow machine needs.
pub(super) async fn raw(url: &str) -> MultiplexedConnection {
    let patient =
        AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    redis::Client::open(url).unwrap().get_multiplexed_async_connection_with_config(&patient).await.unwrap()
}

pub(super) fn keys(settings: &RedisSettings, lane: LaneId) -> [String; 4] {
    ["state", "buyers", "journal", "due"].map(|part| format!("{}:{{{lane}}}:{part}", settings.namespace))
}

pub(super) async fn delete(raw: &mut MultiplexedConnection, keys: &[String; 4]) {
    redis::cmd("DEL").arg(keys).exec_async(raw).await.unwrap();
}

/// Every key's bytes as the server dumps them.
pub(super) async fn dumps(raw: &mut MultiplexedConnection, keys: &[String; 4]) -> Vec<Option<Vec<u8>>> {
    let mut dumps = Vec::new();
    for key in keys {
        dumps.push(redis::cmd("DUMP").arg(key).query_async(raw).await.unwrap());
    }
    dumps
}

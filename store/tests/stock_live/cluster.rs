//! Goal: one dead node of a cluster is silence for its own lanes alone; calls of others go on
//! beside calls that wait for it. Method: three nodes, one of them stopped.

use std::time::{Duration, Instant};

use domain::id::{Epoch, LaneId};
use store::stock::{
    LaneKeeping, LaneStock, LoadAtOnce,
    redis::{RedisKeeping, RedisSettings},
};

use super::{
    sample::{call, fresh, lane, request},
    server::OwnRedis,
    support::{connect, keys, settings},
};

/// Lanes, by the node on which they stand.
async fn lanes_of_nodes(settings: &RedisSettings, nodes: &[OwnRedis; 3]) -> [Vec<LaneId>; 3] {
    let mut raw = nodes[0].raw().await;
    let mut lanes: [Vec<LaneId>; 3] = Default::default();
    for number in 1..=30 {
        let key = &keys(settings, lane(number))[0];
        let slot: u16 = redis::cmd("CLUSTER").arg("KEYSLOT").arg(key).query_async(&mut raw).await.unwrap();
        lanes[usize::from(slot) * 3 / 16_384].push(lane(number));
    }
    lanes
}

async fn open(keeping: &RedisKeeping, lane: LaneId) {
    keeping.close(lane, Epoch(1)).await.unwrap();
    keeping.load(lane, Epoch(1), &fresh(2, &[10])).await.unwrap();
}

#[tokio::test]
async fn a_dead_node_is_silent_for_its_own_lanes_alone() {
    let nodes = OwnRedis::start_cluster_of_three().await;
    let urls: Vec<String> = nodes.iter().map(OwnRedis::url).collect();
    let patience = Duration::from_secs(10);
    let settings = RedisSettings { keeper_timeout: patience, response_timeout: patience, ..settings(&urls.join(",")) };
    let (stock, keeping) = connect(&settings).await;
    let lanes = lanes_of_nodes(&settings, &nodes).await;
    for lane in lanes.iter().flatten() {
        open(&keeping, *lane).await;
    }
    let (dead, sound) = (lanes[2].clone(), [&lanes[0][..], &lanes[1]].concat());
    nodes[2].signal("-STOP");
    // All at once: nobody pays for the silence of another lane's node.
    let begun = Instant::now();
    let mut silent = tokio::task::JoinSet::new();
    for &lane in &dead {
        let keeping = keeping.clone();
        silent.spawn(async move { keeping.inspect(lane).await });
    }
    for (number, &lane) in (100..).zip(&sound) {
        keeping.inspect(lane).await.unwrap();
        stock.reserve(call(lane, 1, number), &[request(number, number, 1, 1, 1)]).await.unwrap();
    }
    assert!(begun.elapsed() < patience, "{:?}", begun.elapsed());
    for answer in silent.join_all().await {
        assert!(answer.as_ref().is_err_and(|error| error.is_retryable()), "{answer:?}");
    }
    assert!(begun.elapsed() < 2 * patience, "{:?}", begun.elapsed());
    nodes[2].signal("-CONT");
    let back = async { while keeping.inspect(dead[0]).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(60), back).await.unwrap();
}

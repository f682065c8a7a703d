//! The scripts against their specification. Goal: no difference between `LaneMachine` and Redis in
//! any reply, journal byte or buyer's entry. Method: random scripts of operations on one lane, told
//! to both, with restarts and lost data; every script is named by its seed.

use std::{collections::BTreeMap, time::Instant};

use domain::{
    id::LaneId,
    stock::{LaneMachine, RunId},
};
use redis::aio::MultiplexedConnection;
use store::stock::redis::{RedisKeeping, RedisSettings, RedisStock};
use tokio::task::JoinSet;

use super::{
    script::{check_kinds, play, seeds},
    support::{connect, delete, dumps, keys, raw, settings, url},
    world::{Seen, Server, same},
};

const SEEDS: u64 = 10_000;
const TASKS: u64 = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scripts_do_what_the_machine_does() {
    let started = Instant::now();
    let (seeds, is_one) = seeds(SEEDS);
    let settings = settings(&url());
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let mine: Vec<u64> = seeds.clone().filter(|seed| seed % TASKS == task).collect();
        let (stock, keeping) = connect(&settings).await;
        let mut raw = raw(&url()).await;
        let run_id = run_id(&mut raw).await;
        let server = Redis { settings: settings.clone(), stock, keeping, raw, run_id };
        tasks.spawn(async move {
            let mut seen = Seen::new();
            for seed in mine {
                for (kind, times) in Box::pin(play(seed, server.clone())).await {
                    *seen.entry(kind).or_default() += times;
                }
            }
            seen
        });
    }
    let mut seen = Seen::new();
    while let Some(of_task) = tasks.join_next().await {
        let of_task = match of_task {
            Ok(of_task) => of_task,
            Err(failed) => {
                // The others end first, or they would tell their seeds too.
                tasks.shutdown().await;
                std::panic::resume_unwind(failed.into_panic());
            }
        };
        for (kind, times) in of_task {
            *seen.entry(kind).or_default() += times;
        }
    }
    println!("{} seeds in {:?}: {seen:?}", seeds.end - seeds.start, started.elapsed());
    if !is_one {
        check_kinds(&seen);
    }
}

async fn run_id(raw: &mut MultiplexedConnection) -> String {
    let info: String = redis::cmd("INFO").arg("server").query_async(raw).await.unwrap();
    info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap().trim().to_owned()
}

/// What a task shares among its lanes.
#[derive(Clone)]
struct Redis {
    settings: RedisSettings,
    stock: RedisStock,
    keeping: RedisKeeping,
    raw: MultiplexedConnection,
    run_id: String,
}

impl Server for Redis {
    type Stock = RedisStock;
    type Keeping = RedisKeeping;
    type Backup = Vec<Option<Vec<u8>>>;

    fn stock(&self) -> &RedisStock {
        &self.stock
    }

    fn keeping(&self) -> &RedisKeeping {
        &self.keeping
    }

    /// The real server keeps its run id; that its run is another is told by another id in the
    /// lane's state.
    async fn restart(&mut self, lane: LaneId, run: RunId, stored: Option<RunId>) -> bool {
        if let Some(stored) = stored {
            let id = if stored == run { self.run_id.clone() } else { format!("{:040x}", stored.0) };
            let state = &keys(&self.settings, lane)[0];
            redis::cmd("HSET").arg(state).arg("r").arg(id).exec_async(&mut self.raw).await.unwrap();
        }
        true
    }

    async fn back_up(&mut self, lane: LaneId) -> Option<Self::Backup> {
        Some(dumps(&mut self.raw, &keys(&self.settings, lane)).await)
    }

    async fn lose(&mut self, lane: LaneId, backup: Option<&Self::Backup>) {
        let keys = keys(&self.settings, lane);
        delete(&mut self.raw, &keys).await;
        for (key, dump) in keys.iter().zip(backup.into_iter().flatten()) {
            if let Some(dump) = dump {
                let mut restore = redis::cmd("RESTORE");
                restore.arg(key).arg(0).arg(dump).exec_async(&mut self.raw).await.unwrap();
            }
        }
    }

    async fn check(&mut self, lane: LaneId, machine: &LaneMachine, run: RunId) {
        self.state(lane, machine, run).await;
        self.due(lane, machine).await;
    }

    async fn clean(&mut self, lane: LaneId) {
        delete(&mut self.raw, &keys(&self.settings, lane)).await;
    }
}

impl Redis {
    /// Every field of the state, also those that no port shows. A field of 0 may be absent.
    async fn state(&mut self, lane: LaneId, machine: &LaneMachine, run: RunId) {
        let mut expected: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        if let Some(state) = machine.state() {
            let run = if state.run == run { self.run_id.clone() } else { format!("{:040x}", state.run.0) };
            expected.insert(b"o".into(), u8::from(state.open).to_string());
            expected.insert(b"e".into(), state.epoch.to_string());
            expected.insert(b"m".into(), state.marker.to_string());
            expected.insert(b"r".into(), run);
            expected.insert(b"l".into(), state.limit_per_buyer.to_string());
            expected.insert(
                b"p".into(),
                match state.limit_changed_at {
                    0 => "0".into(),
                    changed_at => format!("{changed_at:019}"),
                },
            );
            for (offer, stock) in &state.offers {
                let mut put = |name: u8, value: String| {
                    expected.insert([&[name][..], &offer.get().to_be_bytes()].concat(), value);
                };
                put(b'u', stock.left.to_string());
                put(b'a', stock.allotment.to_string());
                put(b'c', format!("{:019}", stock.changed_at));
                put(b'w', stock.withheld.to_string());
            }
        }
        let get_all = redis::cmd("HGETALL").arg(&keys(&self.settings, lane)[0]).query_async(&mut self.raw).await;
        let mut stored: BTreeMap<Vec<u8>, String> = get_all.unwrap();
        stored.retain(|_, value| value != "0");
        expected.retain(|_, value| value != "0");
        same("state", &expected, &stored);
    }

    /// When each batch is due.
    async fn due(&mut self, lane: LaneId, machine: &LaneMachine) {
        let mut range = redis::cmd("ZRANGE");
        range.arg(&keys(&self.settings, lane)[3]).arg(0).arg(-1).arg("WITHSCORES");
        let stored: Vec<(Vec<u8>, String)> = range.query_async(&mut self.raw).await.unwrap();
        let stored = stored.into_iter().filter(|(batch, _)| batch[..] != [0; 8]).collect();
        let due = machine.due().into_iter();
        let expected = due.map(|(batch, at)| (batch.get().to_be_bytes().to_vec(), at.to_string())).collect();
        same::<BTreeMap<_, _>>("due", &expected, &stored);
    }
}

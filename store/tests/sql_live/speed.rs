//! Measures, does not judge: `cargo test -p store --release --features live --test sql_live -- --ignored --nocapture`.

use std::time::Instant;

use domain::{id::BuyerId, order::OrderRow, shard::ShardId};
use store::orders::{ShardWrite, Written};

use super::support::{PARTITION, deployment, progress, row};

const ROWS: u64 = 100_000;
const BATCH: usize = 4_096;

/// Clock ticks (10 ms) of the database server's process.
fn server_ticks() -> Option<u64> {
    let pid = std::env::var("MYSQL_PID").ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let times: Vec<u64> = stat.rsplit(')').next()?.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
    Some(times.iter().sum())
}

/// Rows a second, two shards of two tables written at the same time, in time order, about 1000 rows a table and batch.
#[tokio::test]
#[ignore = "a measurement"]
async fn rows_a_second() {
    let d = deployment(2, 2).await;
    let context = bytes::Bytes::from_static(&[7; 40]);
    let rows: Vec<OrderRow> = (1..=ROWS).map(|n| OrderRow { context: context.clone(), ..row(n) }).collect();
    let shards = [ShardId(0), ShardId(1)].map(|shard| {
        let here = |row: &&OrderRow| d.orders.map().home_of_order(row.order).shard == shard;
        (shard, rows.iter().filter(here).cloned().collect::<Vec<_>>())
    });
    let (ticks, started) = (server_ticks(), Instant::now());
    let writers = shards.map(|(shard, rows)| {
        let orders = d.orders.clone();
        tokio::spawn(async move {
            orders.begin_progress(shard, PARTITION, progress(1, 0)).await.unwrap();
            for (n, rows) in (1..).zip(rows.chunks(BATCH / 2)) {
                let (expected, next) = (progress(1, n - 1), progress(1, n));
                let write = ShardWrite { partition: PARTITION, expected, next, rows: rows.to_vec(), released: vec![] };
                assert_eq!(orders.write(shard, write).await.unwrap(), Written::Done);
            }
        })
    });
    for writer in writers {
        writer.await.unwrap();
    }
    let took = started.elapsed();
    println!("{ROWS} rows in {took:?}: {:.0} rows/s", ROWS as f64 / took.as_secs_f64());
    if let Some((before, after)) = ticks.zip(server_ticks()) {
        println!("server CPU: {:.1} us a row", (after - before) as f64 * 10_000.0 / ROWS as f64);
    }
    let buyers: Vec<BuyerId> = rows.iter().take(4_096).map(|row| row.buyer).collect();
    let started = Instant::now();
    let live = d.orders.live_purchases(rows[0].lane, &buyers).await.unwrap();
    println!("live units of {} buyers in {:?}", live.len(), started.elapsed());
    let ids: Vec<_> = rows.iter().take(4_096).map(|row| row.order).collect();
    let started = Instant::now();
    let found = d.orders.find(&ids).await.unwrap();
    println!("{} rows found by id in {:?}", found.len(), started.elapsed());
}

//! Goal: a process that freezes within a transaction, or whose host vanishes, holds up nobody for
//! longer than seconds. Method: a session of ours that says nothing more, as the server sees it
//! then.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use domain::shard::ShardId;
use store::{
    orders::{ShardWrite, Written},
    sql::{Lock, Sql, SqlError, Tx, Value, mysql::MySqlTx},
};

use super::server::Live;
use crate::suite::support::{self, PARTITION, progress, row, write};

/// The session's time, the wait of a statement for a row, and what a busy machine adds.
const SECONDS: Duration = Duration::from_secs(9);

/// Waits until `is_so`, and says how long that took.
async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) -> Duration {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}");
    }
    started.elapsed()
}

/// The partition goes on within seconds, and whoever wakes has lost its transaction and is told so.
#[tokio::test]
async fn r2_a_silent_transaction_does_not_hold_its_partition() {
    let d = support::deployment(&Live, 1, 1).await;
    assert_eq!(write(&d.orders, 1, &[row(1)], &[]).await, [Written::Done]);
    let hand = d.space.hand(&d.space.orders(0));
    let mut frozen = hand.begin().await.unwrap();
    let of_partition = "SELECT log_offset FROM progress WHERE partition_id = ?";
    let partition = || vec![Value::from(i64::from(PARTITION.0))];
    assert_eq!(frozen.lock_rows(of_partition, partition(), Lock::Wait).await.unwrap().len(), 1);
    assert_eq!(frozen.exec("UPDATE progress SET log_offset = 99 WHERE partition_id = ?", partition()).await, Ok(1));
    let (expected, next) = (progress(1, 1), progress(1, 2));
    let write = ShardWrite { partition: PARTITION, expected, next, rows: vec![row(2)], released: vec![] };
    let goes_on = || async { d.orders.write(ShardId(0), write.clone()).await == Ok(Written::Done) };
    let took = until("the partition goes on", goes_on).await;
    assert!(took < SECONDS, "{took:?}");
    let woken = frozen.exec("UPDATE progress SET log_offset = 100 WHERE partition_id = ?", partition()).await;
    assert!(woken.as_ref().is_err_and(SqlError::is_unknown), "{woken:?}");
    assert!(frozen.commit().await.is_err());
    assert_eq!(d.orders.progress(PARTITION).await.unwrap(), [Some(progress(1, 2))]);
}

/// A lock that a migration holds is the session's: it goes with it.
#[tokio::test]
async fn the_migration_lock_of_a_silent_session_is_given_back() {
    let d = support::deployment(&Live, 1, 1).await;
    let hand = d.space.hand(&d.space.orders(0));
    let lock = async |tx: &mut MySqlTx| {
        tx.rows("SELECT GET_LOCK(DATABASE(), 0)", vec![]).await.unwrap().remove(0).int().unwrap()
    };
    let mut frozen = hand.begin().await.unwrap();
    assert_eq!(lock(&mut frozen).await, 1);
    let took = until("another process migrates", || async {
        let mut other = hand.begin().await.unwrap();
        let is_locked = lock(&mut other).await == 1;
        other.rollback().await;
        is_locked
    })
    .await;
    assert!(took < SECONDS, "{took:?}");
}

/// Connections that nobody uses are closed by the pool, before the server ends them: no call meets
/// a dead one.
#[tokio::test]
async fn connections_that_rest_are_closed_before_the_server_ends_them() {
    let d = support::deployment(&Live, 1, 1).await;
    assert_eq!(write(&d.orders, 1, &[row(1)], &[]).await, [Written::Done]);
    let took = until("idle connections are closed", || async {
        tokio::task::yield_now().await;
        d.orders.figures().pool.idle == 0
    })
    .await;
    assert!(took < Duration::from_secs(5), "the server's time: {took:?}");
    assert_eq!(d.orders.find(&[row(1).order]).await.unwrap().len(), 1);
}

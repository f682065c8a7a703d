//! Goal: a fault is an error of the right kind, in time, and the pool recovers. Method: a raw
//! connection holds locks and kills.

use std::time::{Duration, Instant};

use domain::{order::Transition, shard::ShardId};
use mysql_async::{Conn, prelude::Queryable};
use store::{
    orders::{Marked, ShardWrite, Written},
    shards,
    sql::{
        SqlError,
        mysql::{MySqlServer, Settings},
    },
};
use tokio::time::timeout;

use super::server::{Live, raw, settings, url};
use crate::suite::support::{self, PARTITION, Space, progress, release, row, write};

type Deployment = support::Deployment<Live>;

async fn deployment(shards: u16, tables: u16) -> Deployment {
    support::deployment(&Live, shards, tables).await
}

/// The connection to the database that runs a statement which begins so.
async fn running_now(hand: &mut Conn, database: &str, statement: &str) -> Option<u32> {
    let find = "SELECT id FROM information_schema.processlist WHERE db = ? AND command <> 'Sleep' AND info LIKE ?";
    hand.exec_first(find, (database, format!("{statement}%"))).await.unwrap()
}

/// Waits for one.
async fn running(hand: &mut Conn, database: &str, statement: &str) -> u32 {
    let wait = async {
        loop {
            if let Some(id) = running_now(hand, database, statement).await {
                return id;
            }
        }
    };
    timeout(Duration::from_secs(60), wait).await.expect("the statement runs")
}

/// One order, whose row the returned connection holds.
async fn held_order(d: &Deployment) -> Conn {
    assert_eq!(write(&d.orders, 1, &[row(1)], &[]).await, [Written::Done]);
    let mut hand = raw(&d.space.orders(0)).await;
    hand.query_drop("BEGIN").await.unwrap();
    hand.query_drop("SELECT * FROM orders_0 FOR UPDATE").await.unwrap();
    hand
}

#[tokio::test]
async fn a_killed_connection_is_an_error_and_the_pool_recovers() {
    let d = deployment(1, 1).await;
    let mut hand = held_order(&d).await;
    let orders = d.orders.clone();
    let started = Instant::now();
    let marking = tokio::spawn(async move { orders.mark(row(1).order, Transition::Pay, None).await });
    let id = running(&mut hand, &d.space.orders(0), "UPDATE orders_0").await;
    hand.query_drop(format!("KILL {id}")).await.unwrap();
    let error = marking.await.unwrap().unwrap_err();
    assert!(matches!(error, SqlError::Unreachable(_)), "{error:?}");
    assert!(error.is_unknown() && !error.is_retryable());
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    hand.query_drop("ROLLBACK").await.unwrap();
    let marked = d.orders.mark(row(1).order, Transition::Pay, None).await.unwrap();
    assert_eq!(marked, Marked::Done);
}

/// All idle connections die at once, as when the server restarts: the next calls work.
#[tokio::test]
async fn idle_connections_that_died_are_replaced() {
    let d = deployment(1, 1).await;
    assert_eq!(write(&d.orders, 1, &[row(1)], &[]).await, [Written::Done]);
    let ids = [row(1).order];
    let calls: Vec<_> = (0..16)
        .map(|_| {
            tokio::spawn({
                let orders = d.orders.clone();
                async move { orders.find(&ids).await.unwrap().len() }
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 1);
    }
    let mut hand = raw(&d.space.ledger()).await;
    let idle = "SELECT id FROM information_schema.processlist WHERE db = ?";
    let connections: Vec<u32> = hand.exec(idle, (d.space.orders(0),)).await.unwrap();
    assert!(!connections.is_empty() && connections.len() <= settings().connections_max, "{connections:?}");
    for id in connections {
        hand.query_drop(format!("KILL {id}")).await.unwrap();
    }
    for _ in 0..16 {
        assert_eq!(d.orders.find(&ids).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_lock_wait_ends_in_a_clear_error() {
    let d = deployment(1, 1).await;
    let mut hand = held_order(&d).await;
    let error = d.orders.mark(row(1).order, Transition::Pay, None).await.unwrap_err();
    assert!(matches!(error, SqlError::LockWait(_)) && error.is_retryable(), "{error:?}");
    hand.query_drop("ROLLBACK").await.unwrap();
    let marked = d.orders.mark(row(1).order, Transition::Pay, None).await.unwrap();
    assert_eq!(marked, Marked::Done);
}

/// The lock goes away while the transaction is tried again: the caller never hears of it.
#[tokio::test]
async fn a_short_lock_wait_is_tried_again() {
    let d = deployment(1, 1).await;
    let mut hand = held_order(&d).await;
    let orders = d.orders.clone();
    let marking = tokio::spawn(async move { orders.mark(row(1).order, Transition::Pay, None).await });
    let _ = running(&mut hand, &d.space.orders(0), "UPDATE orders_0").await;
    while running_now(&mut hand, &d.space.orders(0), "UPDATE orders_0").await.is_some() {}
    hand.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(marking.await.unwrap().unwrap(), Marked::Done);
}

/// A statement that takes too long is given up; its connection is closed, not used again, and its
/// locks go with it.
#[tokio::test]
async fn a_timeout_closes_its_connection() {
    let d = deployment(1, 1).await;
    let impatient = Settings {
        connections_max: 1,
        statement_timeout: Duration::from_millis(1_500),
        lock_wait: Duration::from_millis(1_400),
        ..settings()
    };
    let server = MySqlServer::new(&url(), impatient).unwrap();
    let store = shards::open(&server, &d.space.name, d.orders.map().clone()).await.unwrap();
    let mut hand = held_order(&d).await;
    // The progress moves, then the insert waits for the whole table, longer than any wait for a
    // row.
    hand.query_drop("LOCK TABLES orders_0 WRITE").await.unwrap();
    let next = ShardWrite {
        partition: PARTITION,
        expected: progress(1, 1),
        next: progress(1, 2),
        rows: vec![row(2)],
        released: vec![],
    };
    let error = store.orders.write(ShardId(0), next.clone()).await.unwrap_err();
    assert_eq!(error, SqlError::Timeout(impatient.statement_timeout));
    hand.query_drop("UNLOCK TABLES").await.unwrap();
    // One connection only: it must be a new one, and the old one's lock on the progress must be
    // gone.
    assert_eq!(store.orders.write(ShardId(0), next).await.unwrap(), Written::Done);
}

/// A caller that goes away in the middle leaves neither a lock nor a half-read connection.
#[tokio::test]
async fn a_dropped_call_leaves_nothing_behind() {
    let d = deployment(1, 1).await;
    let one = MySqlServer::new(&url(), Settings { connections_max: 1, ..settings() }).unwrap();
    let store = shards::open(&one, &d.space.name, d.orders.map().clone()).await.unwrap();
    let mut hand = held_order(&d).await;
    let orders = store.orders.clone();
    let marking = tokio::spawn(async move { orders.mark(row(1).order, Transition::Pay, None).await });
    running(&mut hand, &d.space.orders(0), "UPDATE orders_0").await;
    marking.abort();
    assert!(marking.await.unwrap_err().is_cancelled());
    hand.query_drop("ROLLBACK").await.unwrap();
    let found = store.orders.find(&[row(1).order]).await.unwrap();
    assert_eq!(found[&row(1).order], row(1));
    let marked = store.orders.mark(row(1).order, Transition::Pay, None).await.unwrap();
    assert_eq!(marked, Marked::Done);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let nobody = MySqlServer::new("mysql://user:secret@127.0.0.1:1", settings()).unwrap();
    let space = Space::new(&Live);
    let error = shards::open(&nobody, &space.name, domain::shard::ShardMap::even(1, 1).unwrap()).await.unwrap_err();
    let shards::OpenError::Sql(SqlError::Unreachable(cause)) = &error else { panic!("{error:?}") };
    assert!(!cause.to_string().contains("secret"));
}

/// Two transactions that take two rows in opposite order: one is the victim, tries again, and both
/// are done.
#[tokio::test]
async fn a_deadlock_is_tried_again() {
    let d = deployment(1, 1).await;
    let _ = write(&d.orders, 1, &[row(1), row(2)], &[]).await;
    let mut hand = raw(&d.space.orders(0)).await;
    let (first, second) = (row(1).order.stored(), row(2).order.stored());
    hand.query_drop("BEGIN").await.unwrap();
    hand.query_drop(format!("UPDATE orders_0 SET tenant = 5 WHERE order_id = {second}")).await.unwrap();
    // Makes the hand's transaction the heavier one, so that the other is chosen.
    hand.query_drop(
        "INSERT INTO outbox (id, order_id, lane, partition_id, payload, created_at) SELECT n, n, n, 0, '', 0 FROM (WITH RECURSIVE r (n) AS \
                     (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 100) SELECT n FROM r) AS rows_",
    )
    .await
    .unwrap();
    let orders = d.orders.clone();
    let released = vec![release(row(1).order, 2, None), release(row(2).order, 2, None)];
    let next =
        ShardWrite { partition: PARTITION, expected: progress(1, 1), next: progress(1, 2), rows: vec![], released };
    let writing = tokio::spawn(async move { orders.write(ShardId(0), next).await });
    running(&mut hand, &d.space.orders(0), "UPDATE orders_0").await;
    hand.query_drop(format!("UPDATE orders_0 SET tenant = 5 WHERE order_id = {first}")).await.unwrap();
    hand.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(writing.await.unwrap().unwrap(), Written::Done);
    assert_eq!(d.orders.find(&[row(2).order]).await.unwrap()[&row(2).order].released, Some(progress_at(2)));
}

fn progress_at(offset: u64) -> domain::id::Position {
    support::at(offset, 0)
}

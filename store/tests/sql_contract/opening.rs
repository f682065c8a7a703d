//! Goal: any number of processes may open a deployment at once, and none with another map. Also the
//! named operations that no repository uses yet.

use std::sync::Arc;

use store::{
    shards::{MapOutline, OpenError},
    sql::{Lock, Server, Sql, SqlError, Tx, Value},
};

use super::{
    migrations::step,
    support::{Adapter, Space, SqlOf},
};

pub(crate) async fn processes_that_start_at_once_migrate_once<A: Adapter>(adapter: A) {
    let space = Arc::new(Space::new(&adapter));
    let open = || {
        let space = Arc::clone(&space);
        tokio::spawn(async move { space.open(2, 3).await.unwrap() })
    };
    let (a, b, c) = tokio::join!(open(), open(), open());
    for store in [a, b, c] {
        store.unwrap().close().await;
    }
    space.open(2, 3).await.unwrap();
    assert_eq!(space.count(&space.ledger(), "migrations WHERE name = '001'").await, 1);
    assert_eq!(space.count(&space.ledger(), "workers").await, 256);
    for shard in 0..2 {
        assert_eq!(space.count(&space.orders(shard), "migrations WHERE name = '001'").await, 1);
        assert_eq!(space.count(&space.orders(shard), "orders_2").await, 0);
    }
}

pub(crate) async fn another_map_is_refused_before_anything_is_made<A: Adapter>(adapter: A) {
    let space = Space::new(&adapter);
    space.open(1, 2).await.unwrap();
    for (shards, tables) in [(2, 2), (1, 4)] {
        let refused = space.open(shards, tables).await.map(drop);
        let Err(OpenError::OtherMap { stored, given, .. }) = &refused else { panic!("{refused:?}") };
        assert_eq!(*stored, MapOutline { version: 1, shards: 1, tables: 2 });
        assert_eq!((given.shards, given.tables), (shards, tables));
        assert!(refused.unwrap_err().to_string().contains("version 1, 1 x 2 tables, and this program is set to"));
    }
    assert_eq!(adapter.server().databases(&space.orders(0)[..18]).await.unwrap().len(), 2, "ledger and one shard");
    space.open(1, 2).await.unwrap();
}

/// A database with one table, `t`.
async fn one_table<A: Adapter>(space: &Space<A>) -> SqlOf<A> {
    let server = space.adapter.server();
    server.create(&space.ledger()).await.unwrap();
    let db = server.open(&space.ledger());
    let table = "CREATE TABLE IF NOT EXISTS t (k VARCHAR(9) NOT NULL PRIMARY KEY, a BIGINT NULL, b VARBINARY(9) NULL)";
    assert_eq!(db.migrate(&[step("t", &[table])]).await.unwrap(), 1);
    assert_eq!(db.migrate(&[step("t", &["not SQL"])]).await.unwrap(), 0);
    db
}

pub(crate) async fn named_operations_do_what_they_promise<A: Adapter>(adapter: A) {
    let space = Space::new(&adapter);
    let db = one_table(&space).await;
    let bytes = |bytes: &'static [u8]| Value::Bytes(bytes::Bytes::from_static(bytes));

    let mut tx = db.begin().await.unwrap();
    tx.upsert("t", &["k"], &["a", "b"], vec!["x".into(), 1_i64.into(), bytes(b"\0\xff")]).await.unwrap();
    tx.upsert("t", &["k"], &["a", "b"], vec!["X".into(), i64::MIN.into(), Value::Null]).await.unwrap();
    tx.upsert("t", &["k"], &["a"], vec!["x".into(), 2_i64.into()]).await.unwrap();
    assert!(!tx.insert_absent("INSERT INTO t (k) VALUES (?)", vec!["x".into()]).await.unwrap());
    let nonsense = tx.insert_absent("INSERT INTO t (k) VALUES (?)", vec![Value::Null]).await;
    assert!(matches!(nonsense, Err(SqlError::Unfit(_))), "only a taken key is no error: {nonsense:?}");
    assert_eq!(tx.exec("UPDATE t SET a = 2 WHERE k = 'x'", vec![]).await.unwrap(), 1, "matched, though not changed");
    let rows = tx.rows("SELECT k, a, b FROM t ORDER BY a", vec![]).await.unwrap();
    let mut rows = rows.into_iter();
    let (mut upper, mut lower) = (rows.next().unwrap(), rows.next().unwrap());
    assert_eq!((upper.text().unwrap(), upper.int().unwrap()), ("X".into(), i64::MIN), "by bytes, not by letters");
    assert_eq!((lower.text().unwrap(), lower.int().unwrap()), ("x".into(), 2));
    assert_eq!(lower.bytes().unwrap(), b"\0\xff"[..]);
    tx.commit().await.unwrap();
    assert_eq!(space.count(&space.ledger(), "t").await, 2);
    db.close().await;
    assert!(db.rows("SELECT 1", vec![]).await.unwrap_err().is_unknown());
}

/// What one transaction has changed another neither sees nor takes, until it is committed.
pub(crate) async fn a_transaction_is_alone_with_its_rows<A: Adapter>(adapter: A) {
    let space = Space::new(&adapter);
    let db = one_table(&space).await;
    let query = "SELECT k FROM t WHERE k = ?";
    let mut tx = db.begin().await.unwrap();
    tx.exec("INSERT INTO t (k) VALUES ('x')", vec![]).await.unwrap();
    assert!(db.rows(query, vec!["x".into()]).await.unwrap().is_empty(), "a reader neither waits nor sees it");
    let taken = async || {
        let mut other = db.begin().await?;
        let rows = other.lock_rows(query, vec!["x".into()], Lock::Wait).await?;
        other.exec("DELETE FROM t", vec![]).await?;
        other.rollback().await;
        Ok(rows.len())
    };
    let waited = taken().await;
    assert!(matches!(waited, Err(SqlError::LockWait(_))), "{waited:?}");
    tx.commit().await.unwrap();
    assert_eq!(taken().await, Ok(1));
    assert_eq!(db.rows(query, vec!["x".into()]).await.unwrap().len(), 1, "rolled back");
}

/// A transaction that is dropped, also in the middle of a call, leaves neither a row nor a lock.
pub(crate) async fn a_dropped_transaction_is_undone<A: Adapter>(adapter: A) {
    let space = Space::new(&adapter);
    let db = one_table(&space).await;
    let insert = "INSERT INTO t (k) VALUES ('x')";
    let mut tx = db.begin().await.unwrap();
    tx.exec(insert, vec![]).await.unwrap();
    drop(tx);
    let mut tx = db.begin().await.unwrap();
    {
        let mut call = std::pin::pin!(tx.exec(insert, vec![]));
        // Polled once, it is on its way.
        std::future::poll_fn(|context| {
            assert!(call.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    }
    drop(tx);
    let mut tx = db.begin().await.unwrap();
    assert!(tx.rows("SELECT k FROM t", vec![]).await.unwrap().is_empty());
    assert!(tx.insert_absent(insert, vec![]).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(space.count(&space.ledger(), "t").await, 1);
}

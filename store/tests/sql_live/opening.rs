//! Goal: any number of processes may open a deployment at once, and none with another map. Also the named operations that no
//! repository uses yet.

use domain::shard::ShardMap;
use store::{
    shards::{self, MapOutline, OpenError},
    sql::{
        Lock, Server, Sql, SqlError, Tx, Value,
        mysql::{MySqlServer, Settings},
    },
};

use super::support::{Space, count, server, url};

#[tokio::test]
async fn processes_that_start_at_once_migrate_once() {
    let space = Space::new();
    let open = || {
        let name = space.0.clone();
        tokio::spawn(async move { shards::open(&server(), &name, ShardMap::even(2, 3).unwrap()).await.unwrap() })
    };
    let (a, b, c) = tokio::join!(open(), open(), open());
    for store in [a, b, c] {
        store.unwrap().close().await;
    }
    shards::open(&server(), &space.0, ShardMap::even(2, 3).unwrap()).await.unwrap();
    assert_eq!(count(&space.ledger(), "migrations").await, 1);
    assert_eq!(count(&space.ledger(), "workers").await, 256);
    for shard in 0..2 {
        assert_eq!(count(&space.orders(shard), "migrations").await, 1);
        assert_eq!(count(&space.orders(shard), "orders_2").await, 0);
    }
}

#[tokio::test]
async fn another_map_is_refused_before_anything_is_made() {
    let space = Space::new();
    let open = async |shards, tables| shards::open(&server(), &space.0, ShardMap::even(shards, tables).unwrap()).await;
    open(1, 2).await.unwrap();
    for (shards, tables) in [(2, 2), (1, 4)] {
        let refused = open(shards, tables).await;
        let Err(OpenError::OtherMap { stored, given, .. }) = &refused else { panic!("{refused:?}") };
        assert_eq!(*stored, MapOutline { version: 1, shards: 1, tables: 2 });
        assert_eq!((given.shards, given.tables), (shards, tables));
        assert!(refused.unwrap_err().to_string().contains("version 1, 1 x 2 tables, and this program is set to"));
    }
    assert_eq!(server().databases(&space.orders(0)[..18]).await.unwrap().len(), 2, "ledger and one shard");
    open(1, 2).await.unwrap();
}

#[tokio::test]
async fn named_operations_do_what_they_promise() {
    let space = Space::new();
    let server = server();
    server.create(&space.ledger()).await.unwrap();
    let db = server.open(&space.ledger());
    let table = "CREATE TABLE IF NOT EXISTS t (k VARCHAR(9) NOT NULL PRIMARY KEY, a BIGINT NULL, b VARBINARY(9) NULL)";
    assert!(db.migrate("t", &[table.into()]).await.unwrap());
    assert!(!db.migrate("t", &["not SQL".into()]).await.unwrap());
    let bytes = |bytes: &'static [u8]| Value::Bytes(bytes::Bytes::from_static(bytes));

    let mut tx = db.begin().await.unwrap();
    tx.upsert("t", &["k"], &["a", "b"], vec!["x".into(), 1_i64.into(), bytes(b"\0\xff")]).await.unwrap();
    tx.upsert("t", &["k"], &["a", "b"], vec!["X".into(), i64::MIN.into(), Value::Null]).await.unwrap();
    tx.upsert("t", &["k"], &["a"], vec!["x".into(), 2_i64.into()]).await.unwrap();
    assert!(!tx.insert_absent("INSERT INTO t (k) VALUES (?)", vec!["x".into()]).await.unwrap());
    let nonsense = tx.insert_absent("INSERT INTO t (k) VALUES (?)", vec![Value::Null]).await;
    assert!(matches!(nonsense, Err(SqlError::Broken(_))), "only a taken key is no error: {nonsense:?}");
    assert_eq!(tx.exec("UPDATE t SET a = 2 WHERE k = 'x'", vec![]).await.unwrap(), 1, "matched, though not changed");
    let rows = tx.rows("SELECT k, a, b FROM t ORDER BY a", vec![]).await.unwrap();
    let mut rows = rows.into_iter();
    let (mut upper, mut lower) = (rows.next().unwrap(), rows.next().unwrap());
    assert_eq!((upper.text().unwrap(), upper.int().unwrap()), ("X".into(), i64::MIN), "by bytes, not by letters");
    assert_eq!((lower.text().unwrap(), lower.int().unwrap()), ("x".into(), 2));
    assert_eq!(lower.bytes().unwrap(), b"\0\xff"[..]);

    // Another transaction neither sees nor takes what is not committed.
    let mut other = db.begin().await.unwrap();
    let query = "SELECT k FROM t WHERE k = ?";
    assert!(other.lock_rows(query, vec!["x".into()], Lock::SkipLocked).await.unwrap().is_empty());
    let waited = other.lock_rows(query, vec!["x".into()], Lock::Wait).await;
    assert!(matches!(waited, Err(SqlError::LockWait(_))), "{waited:?}");
    tx.commit().await.unwrap();
    assert_eq!(other.lock_rows(query, vec!["x".into()], Lock::SkipLocked).await.unwrap().len(), 1);
    other.exec("DELETE FROM t", vec![]).await.unwrap();
    other.rollback().await;
    assert_eq!(count(&space.ledger(), "t").await, 2);
    db.close().await;
    assert!(db.rows("SELECT 1", vec![]).await.unwrap_err().is_unknown());
}

#[tokio::test]
async fn unusable_settings_are_refused() {
    let impatient = Settings { lock_wait: Settings::default().statement_timeout, ..Settings::default() };
    assert!(MySqlServer::new(&url(), impatient).is_err());
    let error = MySqlServer::new("postgres://user:secret@host", Settings::default()).unwrap_err();
    assert!(!error.to_string().contains("secret"));
}

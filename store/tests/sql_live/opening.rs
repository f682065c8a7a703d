//! What of opening and locking is MySQL's own.

use store::sql::{
    Lock, Server, Sql, Tx,
    mysql::{MySqlServer, Settings},
};

use super::server::{Live, settings, url};
use crate::suite::support::{Adapter, Space};

/// A row that another transaction holds is left out; when it is free, it is there.
#[tokio::test]
async fn held_rows_are_skipped() {
    let space = Space::new(&Live);
    let server = Live.server();
    server.create(&space.ledger()).await.unwrap();
    let db = server.open(&space.ledger());
    db.migrate("t", &["CREATE TABLE t (k BIGINT NOT NULL PRIMARY KEY)".into()]).await.unwrap();
    db.exec("INSERT INTO t (k) VALUES (1)", vec![]).await.unwrap();
    let (mut tx, mut other) = (db.begin().await.unwrap(), db.begin().await.unwrap());
    let query = "SELECT k FROM t WHERE k = 1";
    assert_eq!(tx.lock_rows(query, vec![], Lock::Wait).await.unwrap().len(), 1);
    assert!(other.lock_rows(query, vec![], Lock::SkipLocked).await.unwrap().is_empty());
    tx.rollback().await;
    assert_eq!(other.lock_rows(query, vec![], Lock::SkipLocked).await.unwrap().len(), 1);
    other.rollback().await;
}

#[tokio::test]
async fn unusable_settings_are_refused() {
    let impatient = Settings { lock_wait: settings().statement_timeout, ..settings() };
    assert!(MySqlServer::new(&url(), impatient).is_err());
    let error = MySqlServer::new("postgres://user:secret@host", Settings::default()).unwrap_err();
    assert!(!error.to_string().contains("secret"));
}

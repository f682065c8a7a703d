//! What of opening and locking is MySQL's own.

use store::sql::{
    Lock, Server, Sql, Tx,
    mysql::{MySqlServer, Settings},
};

use super::server::{Live, settings, url};
use crate::suite::{
    migrations::step,
    support::{Adapter, Space},
};

/// A row that another transaction holds is left out; when it is free, it is there.
#[tokio::test]
async fn held_rows_are_skipped() {
    let space = Space::new(&Live);
    let server = Live.server();
    server.create(&space.ledger()).await.unwrap();
    let db = server.open(&space.ledger());
    db.migrate(&[step("t", &["CREATE TABLE t (k BIGINT NOT NULL PRIMARY KEY)"])]).await.unwrap();
    db.exec("INSERT INTO t (k) VALUES (1)", vec![]).await.unwrap();
    let (mut tx, mut other) = (db.begin().await.unwrap(), db.begin().await.unwrap());
    let query = "SELECT k FROM t WHERE k = 1";
    assert_eq!(tx.lock_rows(query, vec![], Lock::Wait).await.unwrap().len(), 1);
    assert!(other.lock_rows(query, vec![], Lock::SkipLocked).await.unwrap().is_empty());
    tx.rollback().await;
    assert_eq!(other.lock_rows(query, vec![], Lock::SkipLocked).await.unwrap().len(), 1);
    other.rollback().await;
}

/// A crash after a statement and before its step is written: the definition stands, and is taken
/// for what it is; every other error stays one.
#[tokio::test]
async fn a_definition_whose_step_was_not_written_is_recognised() {
    let space = Space::new(&Live);
    let server = Live.server();
    server.create(&space.ledger()).await.unwrap();
    let db = server.open(&space.ledger());
    let statements = [
        "CREATE TABLE t (k BIGINT NOT NULL PRIMARY KEY)",
        "ALTER TABLE t ADD COLUMN a BIGINT NULL",
        "CREATE INDEX i ON t (a)",
        "ALTER TABLE t DROP COLUMN a",
        "CREATE TABLE u (k BIGINT NOT NULL PRIMARY KEY)",
        "DROP TABLE u",
    ];
    for crashed in 0..statements.len() {
        let name = format!("{crashed}");
        db.exec("DROP TABLE IF EXISTS t", vec![]).await.unwrap();
        db.exec("DELETE FROM migrations WHERE 1 = 1", vec![]).await.ok();
        let mut begun = statements[..=crashed].to_vec();
        begun.push("not SQL");
        assert!(db.migrate(&[step(&name, &begun)]).await.is_err());
        db.exec("UPDATE migration_steps SET done = ?", vec![(crashed as i64).into()]).await.unwrap();
        assert_eq!(db.migrate(&[step(&name, &statements)]).await.unwrap(), 1, "{}", statements[crashed]);
        assert_eq!(space.count(&space.ledger(), "migration_steps").await, 0);
    }
    db.exec("DELETE FROM migrations WHERE 1 = 1", vec![]).await.unwrap();
    let twice = db.migrate(&[step("9", &[statements[0]])]).await;
    assert!(twice.is_err(), "a table that stood before the migration began is not its own: {twice:?}");
}

#[tokio::test]
async fn unusable_settings_are_refused() {
    let impatient = Settings { lock_wait: settings().statement_timeout, ..settings() };
    assert!(MySqlServer::new(&url(), impatient).is_err());
    let error = MySqlServer::new("postgres://user:secret@host", Settings::default()).unwrap_err();
    assert!(!error.to_string().contains("secret"));
}

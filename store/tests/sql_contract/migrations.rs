//! Goal: a schema changes step by step, each step once, whoever starts when; and a program keeps
//! off what it does not know. Method: lists of migrations on a database of their own; a crash is a
//! statement that fails.

use std::sync::Arc;

use store::sql::{Migration, Newer, Server, Sql, SqlError};

use super::support::{Adapter, Space, SqlOf};

pub(crate) fn step(name: &str, statements: &[&str]) -> Migration {
    Migration { name: name.into(), statements: statements.iter().map(|&statement| statement.into()).collect() }
}

/// Each needs what the one before it made.
fn schema() -> Vec<Migration> {
    vec![
        step("001", &["CREATE TABLE t (k BIGINT NOT NULL PRIMARY KEY)", "INSERT INTO t (k) VALUES (1)"]),
        step("002-a", &["ALTER TABLE t ADD COLUMN a BIGINT NOT NULL DEFAULT 7"]),
        step("003-b", &["INSERT INTO t (k, a) SELECT k + 1, a + 1 FROM t"]),
    ]
}

async fn database<A: Adapter>(space: &Space<A>) -> SqlOf<A> {
    let server = space.adapter.server();
    server.create(&space.ledger()).await.unwrap();
    server.open(&space.ledger())
}

async fn sum<S: Sql>(db: &S) -> i64 {
    let rows = db.rows("SELECT a, k FROM t", vec![]).await.unwrap();
    rows.into_iter().map(|mut row| row.int().unwrap() * row.int().unwrap()).sum()
}

pub(crate) async fn migrations_are_applied_in_order_and_once<A: Adapter>(adapter: A) {
    let space = Space::new(&adapter);
    let db = database(&space).await;
    assert_eq!(db.migrate(&schema()[..1]).await.unwrap(), 1);
    assert_eq!(db.migrate(&schema()).await.unwrap(), 2);
    assert_eq!(db.migrate(&schema()).await.unwrap(), 0);
    assert_eq!(sum(&db).await, 7 + 2 * 8);
    assert_eq!(space.count(&space.ledger(), "migrations").await, 3);
}

pub(crate) async fn of_programs_that_start_at_once_one_applies<A: Adapter>(adapter: A) {
    let space = Arc::new(Space::new(&adapter));
    database(&space).await.migrate(&schema()[..1]).await.unwrap();
    let start = || {
        let space = Arc::clone(&space);
        tokio::spawn(async move { database(&space).await.migrate(&schema()).await.unwrap() })
    };
    let (a, b, c) = tokio::join!(start(), start(), start());
    let mut applied = [a.unwrap(), b.unwrap(), c.unwrap()];
    applied.sort_unstable();
    assert_eq!(applied, [0, 0, 2]);
    assert_eq!(sum(&database(&space).await).await, 7 + 2 * 8);
}

/// Rows that a statement before the crash wrote are not written again.
pub(crate) async fn a_migration_that_broke_half_way_is_gone_on_from<A: Adapter>(adapter: A) {
    let space = Space::new(&adapter);
    let db = database(&space).await;
    let first = schema().remove(0);
    db.migrate(std::slice::from_ref(&first)).await.unwrap();
    let insert = "INSERT INTO u (k) VALUES (5)";
    let half = |last: &str| {
        step("002", &["CREATE TABLE u (k BIGINT NOT NULL)", insert, "ALTER TABLE u ADD COLUMN a BIGINT NULL", last])
    };
    let broken = db.migrate(&[first.clone(), half("not SQL")]).await;
    assert!(matches!(broken, Err(SqlError::Broken(_))), "{broken:?}");
    assert_eq!(space.count(&space.ledger(), "migrations WHERE name = '002'").await, 0);
    db.migrate(&[first, half(insert)]).await.unwrap();
    assert_eq!(space.count(&space.ledger(), "u").await, 2);
}

/// An older program works beside a newer one as long as nothing was taken away; one that has the
/// database for itself does not.
pub(crate) async fn a_newer_programs_database_is_refused<A: Adapter>(adapter: A) {
    let space = Space::new(&adapter);
    let db = database(&space).await;
    db.migrate(&schema()).await.unwrap();
    let beside = db.migrate(&schema()[..1]).await;
    match <SqlOf<A> as Sql>::NEWER {
        Newer::Refused => assert!(beside.unwrap_err().to_string().contains("made by a newer program")),
        Newer::RefusedWhenContracted => assert_eq!(beside, Ok(0)),
    }
    let mut newest = schema();
    newest.push(step("004-less-contract", &["ALTER TABLE t ADD COLUMN b BIGINT NULL"]));
    db.migrate(&newest).await.unwrap();
    let refused = db.migrate(&schema()).await.unwrap_err().to_string();
    let told = "made by a newer program: it has migration 004-less-contract, and this one knows none after 003-b; use that program";
    assert!(refused.contains(&space.ledger()) && refused.contains(told), "{refused}");
    db.migrate(&newest).await.unwrap();
}

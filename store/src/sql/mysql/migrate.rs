//! A list of migrations on a server whose definitions of tables commit by themselves: how far it is
//! stands beside them, statement by statement, so that a crash anywhere is gone on from.

use mysql_async::{Conn, Error, prelude::Queryable};

use super::{super::migration::MIGRATIONS_TABLE, Migration, MySql, Sql};

/// How many statements of a migration have run. A row stands while its migration is under way.
const STEPS_TABLE: &str = "CREATE TABLE IF NOT EXISTS migration_steps \
                           (name VARCHAR(64) NOT NULL PRIMARY KEY, done INT UNSIGNED NOT NULL)";

/// Runs what is left of a migration. The caller holds the database's migration lock.
pub(super) async fn run(conn: &mut Conn, migration: &Migration) -> mysql_async::Result<()> {
    conn.query_drop(STEPS_TABLE).await?;
    let name = migration.name.as_str();
    let begun: Option<usize> = conn.exec_first("SELECT done FROM migration_steps WHERE name = ?", (name,)).await?;
    if begun.is_none() {
        conn.exec_drop("INSERT INTO migration_steps (name, done) VALUES (?, 0)", (name,)).await?;
    }
    let done = begun.unwrap_or(0);
    for (at, statement) in migration.statements.iter().enumerate().skip(done) {
        // Rows change together with the step; a definition commits before it.
        conn.query_drop("START TRANSACTION").await?;
        let unclear = begun.is_some() && at == done;
        match conn.query_drop(statement).await {
            // It ran, and its step was not written any more.
            Err(Error::Server(error)) if unclear && already_there(error.code) => {}
            result => result?,
        }
        conn.exec_drop("UPDATE migration_steps SET done = ? WHERE name = ?", (at + 1, name)).await?;
        conn.query_drop("COMMIT").await?;
    }
    conn.query_drop("START TRANSACTION").await?;
    let insert = format!("INSERT INTO migrations (name, applied_at) VALUES (?, {})", MySql::NOW_MS);
    conn.exec_drop(insert, (name,)).await?;
    conn.exec_drop("DELETE FROM migration_steps WHERE name = ?", (name,)).await?;
    conn.query_drop("COMMIT").await
}

/// The table that names the applied migrations.
pub(super) async fn prepare(conn: &mut Conn) -> mysql_async::Result<Vec<String>> {
    conn.query_drop(MIGRATIONS_TABLE).await?;
    conn.query(super::super::migration::APPLIED).await
}

/// Table exists, unknown table, duplicate column, duplicate key name, no such column or key to
/// drop.
fn already_there(code: u16) -> bool {
    matches!(code, 1050 | 1051 | 1060 | 1061 | 1091)
}

//! What the operator set while the deployment runs, as every program reads it from the ledger's
//! database. What is not set has no row.

use std::time::Duration;

use crate::{
    copies::{Copied, Copies},
    sql::{Row, Sql, SqlError, Value},
};

/// Which lines programs log: directives as in `RUST_LOG`.
pub const LOG_FILTER: &str = "log_filter";

/// How often a program looks.
const EVERY: Duration = Duration::from_secs(3);

/// The repository of what is set.
pub type Controls<S> = Copies<S, Set>;

/// The table `controls`.
#[derive(Debug, Clone, Copy)]
pub enum Set {}

impl Copied for Set {
    type Key = String;
    type Value = String;
    const NAME: &'static str = "what the operator set";
    const ALL: &'static str = "SELECT name, value FROM controls ORDER BY name";
    const INSERT: &'static str = "INSERT INTO controls (name, value) VALUES (?, ?)";
    const UPDATE: &'static str = "UPDATE controls SET value = ? WHERE name = ?";
    const DELETE: &'static str = "DELETE FROM controls WHERE name = ?";

    fn read(mut row: Row) -> Result<(String, String), SqlError> {
        Ok((row.text()?, row.text()?))
    }

    fn key(name: &String) -> Value {
        name.as_str().into()
    }

    fn value(value: &String) -> Value {
        value.as_str().into()
    }
}

/// Gives what is set of the log to `set_filter`, again and again, for ever.
pub async fn follow<S: Sql>(controls: Controls<S>, set_filter: fn(Option<&str>)) {
    controls.follow(EVERY, move |set| set_filter(set.get(LOG_FILTER).map(String::as_str))).await;
}

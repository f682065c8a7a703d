//! Which level, whose and changed by whom; and how its rows are written.

use store::sql::{Fixed, Insert, SqlError, Tx, Value};

use crate::reading::with;

/// Which level. Levels are locked in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) warehouse: i64,
    pub(crate) sku: i64,
}

/// Whose stock it is, and who changes it when.
#[derive(Debug, Clone)]
pub struct By {
    /// Whose.
    pub tenant: u32,
    /// Who, as the audit log names him: `user:7`.
    pub actor: String,
    /// When, in milliseconds since 1970.
    pub now_ms: i64,
}

/// Inserts rows, if any.
pub(super) async fn put<T: Tx>(tx: &mut T, insert: &Insert, values: Vec<Value>) -> Result<(), SqlError> {
    if values.is_empty() { Ok(()) } else { tx.insert(insert, values).await }
}

/// Inserts rows that somebody else may make at the same time: like a lock, theirs are there at the
/// next try.
pub(super) async fn put_new<T: Tx>(tx: &mut T, insert: &Insert, values: Vec<Value>) -> Result<(), SqlError> {
    put(tx, insert, values).await.map_err(|error| match error {
        SqlError::KeyTaken(cause) => SqlError::LockWait(cause),
        other => other,
    })
}

/// Carries out a statement that takes a list, with the parameters before the list.
pub(super) async fn exec<T: Tx>(tx: &mut T, statement: &Fixed, before: &[Value], keys: &[i64]) -> Result<(), SqlError> {
    for (text, chunk) in statement.padded(keys) {
        tx.exec(text, with(before, chunk)).await?;
    }
    Ok(())
}

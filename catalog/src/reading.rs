//! Reads that a route and a field of GraphQL share: written once, for a database of any kind.

use std::{future::Future, pin::Pin};

use store::sql::{Row, Sql, SqlError, Value};

/// A database, as reads need it.
pub(crate) trait Reading: Send + Sync {
    /// The rows of a query, in a transaction of its own.
    fn read<'a>(
        &'a self,
        query: &'a str,
        params: Vec<Value>,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Row>, SqlError>> + Send + 'a>>;
}

impl<S: Sql> Reading for S {
    fn read<'a>(
        &'a self,
        query: &'a str,
        params: Vec<Value>,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Row>, SqlError>> + Send + 'a>> {
        Box::pin(self.rows(query, params))
    }
}

/// The parameters of a statement that takes a list: those before it, then the list.
pub(crate) fn with<K: Into<Value>>(before: &[Value], keys: Vec<K>) -> Vec<Value> {
    before.iter().cloned().chain(keys.into_iter().map(Into::into)).collect()
}

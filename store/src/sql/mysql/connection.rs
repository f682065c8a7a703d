//! A connection out of the pool for one call or transaction, and what its errors mean.

use std::{sync::Arc, time::Duration};

use mysql_async::{Conn, DriverError, Error, Pool};
use tokio::{runtime::Handle, time::timeout};

use crate::{cause::Cause, figures::CallCount, sql::SqlError};

/// How long the server gets for a goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection that goes back to the pool only through [`Held::give_back`]. Dropped before,
/// because a call failed, timed out or was itself dropped, it is closed: the server then undoes its
/// transaction and gives its locks back.
#[derive(Debug)]
pub(super) struct Held {
    conn: Option<Conn>,
    statements: Arc<CallCount>,
}

impl Held {
    pub(super) async fn acquire(pool: &Pool, limit: Duration, statements: &Arc<CallCount>) -> Result<Self, SqlError> {
        match timeout(limit, pool.get_conn()).await {
            Ok(conn) => {
                conn.map(|conn| Self { conn: Some(conn), statements: Arc::clone(statements) }).map_err(classify)
            }
            Err(_) => Err(SqlError::Unreachable(format!("no connection within {limit:?}").into())),
        }
    }

    /// Runs a statement, at most `limit` long. After an unknown outcome the connection is closed
    /// and later statements fail.
    pub(super) async fn run<T>(
        &mut self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut Conn) -> mysql_async::Result<T>,
    ) -> Result<T, SqlError> {
        let conn = self.conn.as_mut().ok_or_else(|| SqlError::Unreachable("the connection failed before".into()))?;
        let result = match timeout(limit, work(conn)).await {
            Ok(result) => result.map_err(classify),
            Err(_) => Err(SqlError::Timeout(limit)),
        };
        self.statements.note(&result);
        if result.as_ref().is_err_and(SqlError::is_unknown) {
            self.close();
        }
        result
    }

    /// Back into the pool, unless it failed.
    pub(super) fn give_back(mut self) {
        drop(self.conn.take());
    }

    fn close(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        // Without a runtime there is no pool to return to either.
        if let Ok(runtime) = Handle::try_current() {
            // What is left of an answer is not waited for. Half-said goodbyes are hung up on.
            runtime.spawn(async move { drop(timeout(GOODBYE, conn.disconnect()).await) });
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.close();
    }
}

/// What an error says about the statement.
pub(super) fn classify(error: Error) -> SqlError {
    // The server's own message says enough of a statement that did nothing.
    let said = |message: &str| Arc::<str>::from(message);
    let (what, kind): (Arc<str>, fn(Cause) -> SqlError) = match &error {
        Error::Server(server) => match server.code {
            // Duplicate entry (also named by its key).
            1062 | 1586 => (said(&server.message), SqlError::KeyTaken),
            // Deadlock; a row changed under a snapshot (MariaDB).
            1213 | 1020 => (said(&server.message), SqlError::Deadlock),
            // Lock wait; NOWAIT.
            1205 | 3572 => (said(&server.message), SqlError::LockWait),
            // Null, an unknown or cut value, out of range (also of an expression), not of the
            // column's type, too long, a constraint, a trigger's word (MySQL, MariaDB).
            1048 | 1264 | 1265 | 1292 | 1366 | 1406 | 1644 | 1690 | 3819 | 4025 => {
                (said(&server.message), SqlError::Unfit)
            }
            // Too many connections, shutting down, interrupted or killed, out of time, network,
            // reconnect, read-only (an old primary after a failover), statement to be prepared
            // again.
            1040
            | 1053
            | 1077..=1079
            | 1152
            | 1158..=1161
            | 1184
            | 1203
            | 1226
            | 1243
            | 1290
            | 1317
            | 1615
            | 1836
            | 1927
            | 1969
            | 3024
            | 3169
            | 4031 => (error.to_string().into(), SqlError::Unreachable),
            _ => (error.to_string().into(), SqlError::Broken),
        },
        Error::Io(_)
        | Error::Driver(
            DriverError::ConnectionClosed | DriverError::PoolDisconnected | DriverError::PacketOutOfOrder,
        ) => (error.to_string().into(), SqlError::Unreachable),
        Error::Driver(_) | Error::Other(_) | Error::Url(_) => (error.to_string().into(), SqlError::Broken),
    };
    kind(Cause::new(what, error))
}

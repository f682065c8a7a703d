//! Pages of sales read in a row, and the databases meanwhile.

use std::net::SocketAddr;

use anyhow::ensure;

use crate::wire::Wire;

/// Statements that databases answered to a service, in its metrics.
pub const STATEMENTS: &str = "flashsale_sql_statements_total";

/// Reads a page so often, one read after the other, and gives the statements meanwhile; `count`:
/// how many there were so far. A service has work of its own beside pages, so that there are some.
///
/// # Errors
/// When a read is refused, or the count is not to be had.
pub fn statements_while_read(
    at: SocketAddr,
    path: &str,
    reads: u32,
    count: impl Fn() -> anyhow::Result<f64>,
) -> anyhow::Result<f64> {
    let (before, mut wire) = (count()?, Wire::connect(at)?);
    for _ in 0..reads {
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n"))?;
        let answer = wire.answer();
        ensure!(answer.status() == 200, "GET {path}: {answer:?}");
    }
    Ok(count()? - before)
}

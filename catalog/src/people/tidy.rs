//! What nobody needs any more, deleted a bounded piece at a time; and the signing keys, kept young.

use kit::clock::Clock as _;
use store::sql::{Row, Sql, SqlError, Value, stored};

use super::{
    lockout::{self, millis},
    signing,
};
use crate::{ports::Ports, refused::Refused, service::Catalog};

/// Rows of a piece.
const PIECE: u32 = 500;

const SESSIONS_OVER: &str = "SELECT tenant, session_number FROM sessions WHERE expires_at <= ? LIMIT ?";
const END_SESSION: &str = "DELETE FROM sessions WHERE tenant = ? AND session_number = ? AND expires_at <= ?";
const INVITATIONS_OVER: &str = "SELECT digest FROM invitations WHERE expires_at <= ? LIMIT ?";
const END_INVITATION: &str = "DELETE FROM invitations WHERE digest = ? AND expires_at <= ?";
const FAILURES_OLD: &str = "SELECT tenant, email_digest FROM login_failures WHERE failed_at <= ? LIMIT ?";
const FORGET_FAILURES: &str = "DELETE FROM login_failures WHERE tenant = ? AND email_digest = ? AND failed_at <= ?";

/// A round of it: what is over and old goes, and a signing key that is old gets a successor.
///
/// # Errors
/// [`Refused::Sql`]; the next round goes on.
pub(crate) async fn tidy<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    let (db, now_ms) = (catalog.sql(), catalog.clock().now_ms());
    let now = stored(now_ms)?;
    let forgotten = stored(now_ms.saturating_sub(millis(lockout::MEMORY)))?;
    sweep(db, (SESSIONS_OVER, END_SESSION), now, |row| Ok(vec![row.int()?.into(), row.int()?.into()])).await?;
    sweep(db, (INVITATIONS_OVER, END_INVITATION), now, |row| Ok(vec![row.text()?.as_str().into()])).await?;
    let of_account = |row: &mut store::sql::Row| Ok(vec![row.int()?.into(), row.text()?.as_str().into()]);
    sweep(db, (FAILURES_OLD, FORGET_FAILURES), forgotten, of_account).await?;
    signing::keep(catalog).await
}

/// Deletes, one by one, what a query finds until it finds nothing.
async fn sweep(
    db: &impl Sql,
    (find, delete): (&str, &str),
    until: i64,
    key: impl Fn(&mut Row) -> Result<Vec<Value>, SqlError>,
) -> Result<(), SqlError> {
    loop {
        let rows = db.rows(find, vec![until.into(), PIECE.into()]).await?;
        if rows.is_empty() {
            return Ok(());
        }
        for mut row in rows {
            // What was renewed since it was found stays.
            let mut key = key(&mut row)?;
            key.push(until.into());
            db.exec(delete, key).await?;
        }
    }
}

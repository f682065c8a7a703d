//! From a key to who asks. The database is asked each time, so that a deleted key is refused at
//! once.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use kit::{
    access::{Actor, Permissions, Who},
    clock::Clock as _,
    digest::sha256,
    problem::{Code, Problem},
};
use store::sql::{Row, Sql as _, stored};

use crate::{ports::Ports, refused::Refused, service::Catalog};

/// What every key begins with, so that leaked ones are found by whoever scans for them.
pub(crate) const PREFIX: &str = "fsk_";

/// The one query without a tenant: the key says which one.
const FIND: &str = "SELECT tenant, scope, secret_hash, expires_at, last_used_at FROM api_keys WHERE key_number = ?";

/// Who asks by this key.
///
/// # Errors
/// `unauthenticated` when it is none, was deleted, or has expired.
pub(crate) async fn actor<P: Ports>(catalog: &Catalog<P>, token: &str) -> Result<Actor, Refused> {
    let (number, secret) = parse(token).ok_or_else(unknown)?;
    let rows = catalog.sql().rows(FIND, vec![number.into()]).await?;
    let found = rows.into_iter().next().map(Found::read).transpose()?.ok_or_else(unknown)?;
    // The secret is as long as its hash, so that a hash without stretching keeps it.
    verify_slices_are_equal(&sha256(secret.as_bytes()), &found.secret_hash).map_err(|_other| unknown())?;
    let now_ms = catalog.clock().now_ms();
    if found.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
        let problem = Problem::new(Code::Unauthenticated, "this key has expired: make a new one");
        return Err(problem.with_token_error("expired").into());
    }
    catalog.memory().key_uses.note(number, found.last_used_ms, now_ms);
    Ok(Actor { who: Who::Key(number.into()), tenant: found.tenant, permissions: found.permissions })
}

/// What a tenant's key may do now.
///
/// # Errors
/// [`Refused::Sql`].
pub(crate) async fn permissions<P: Ports>(
    catalog: &Catalog<P>,
    tenant: u32,
    number: u64,
) -> Result<Permissions, Refused> {
    let rows = catalog.sql().rows(FIND, vec![stored(number)?.into()]).await?;
    let (now_ms, found) = (catalog.clock().now_ms(), rows.into_iter().next().map(Found::read).transpose()?);
    let valid = found.filter(|key| key.tenant == tenant && key.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms));
    Ok(valid.map_or(Permissions::NONE, |key| key.permissions))
}

/// The refusal of a token or key that stands for nobody.
pub(crate) fn unknown() -> Box<Problem> {
    let problem = Problem::new(Code::Unauthenticated, "this token or key is not known here");
    Box::new(problem.with_token_error("not known here"))
}

/// The number and the secret of a key.
fn parse(token: &str) -> Option<(u32, &str)> {
    let (number, secret) = token.strip_prefix(PREFIX)?.split_once('_')?;
    let is_plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    Some((number.parse().ok().filter(|_| is_plain)?, secret))
}

struct Found {
    tenant: u32,
    permissions: Permissions,
    secret_hash: bytes::Bytes,
    expires_ms: Option<u64>,
    last_used_ms: Option<u64>,
}

impl Found {
    fn read(mut row: Row) -> Result<Self, store::sql::SqlError> {
        let epoch = |ms: Option<i64>| ms.and_then(|ms| u64::try_from(ms).ok());
        Ok(Self {
            tenant: row.number()?,
            permissions: Permissions::of_scope(&row.text()?).common(Permissions::of_tenant()),
            secret_hash: row.bytes()?,
            expires_ms: epoch(row.int_or_null()?),
            last_used_ms: epoch(row.int_or_null()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_number_and_its_secret() {
        assert_eq!(parse("fsk_17_a_b-c"), Some((17, "a_b-c")));
        for none in ["fsk_17", "fsk__x", "fsk_+1_x", "fsk_4294967296_x", "FSK_1_x", ""] {
            assert_eq!(parse(none), None, "{none}");
        }
    }
}

//! A change that a call makes: one transaction with what it changes, its audit entry, and its
//! answer under its Idempotency-Key. A repeated call gets the same answer and changes nothing.

use bytes::Bytes;
use domain::id::TenantId;
use kit::{
    api::Call,
    digest::sha256,
    http::{Body, Method, Response, StatusCode, reply},
    problem::{Code, Problem},
};
use serde::Serialize;
use store::sql::{Sql, SqlError, Tx, stored};

use super::{Distribution, Kinds, Refused};

const CLAIM: &str = "INSERT INTO requests (tenant, actor, request_key, asked, status, reply, answered_at) \
                     VALUES (?, ?, ?, ?, 0, ?, ?)";
const KNOWN: &str = "SELECT asked, status, reply FROM requests WHERE tenant = ? AND actor = ? AND request_key = ?";
const ANSWER: &str = "UPDATE requests SET status = ?, reply = ? WHERE tenant = ? AND actor = ? AND request_key = ?";
const AUDIT: &str = "INSERT INTO audit_log (tenant, number, at_ms, actor, action, target, before_json, after_json) \
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
/// Transactions of one purge; the next one goes on.
const PURGES_MAX: usize = 200;
/// Bounded, so that nobody waits long for it.
const PURGE_UP_TO: &str = "SELECT answered_at FROM requests WHERE answered_at < ? ORDER BY answered_at LIMIT 500";
const PURGE: &str = "DELETE FROM requests WHERE answered_at <= ?";

/// How long an answer is kept for a repeated request.
const KEPT_MS: u64 = 24 * 3_600 * 1_000;

/// What a change begins as.
pub(super) enum Begun<T> {
    /// Something new: make it, then [`Change::commit`].
    Fresh(Change<T>),
    /// The same request came before: this was its answer.
    Repeated(Response<Body>),
}

/// A change under way. Dropped, it is rolled back.
pub(super) struct Change<T> {
    pub(super) tx: T,
    pub(super) now_ms: u64,
    pub(super) tenant: TenantId,
    /// `user:7`, `key:7`, `buyer:7`.
    pub(super) who: String,
    /// A number that nothing else has.
    pub(super) number: i64,
    key: Option<String>,
}

impl<K: Kinds> Distribution<K> {
    /// Begins a change of a merchant's person or program.
    pub(super) async fn begin(&self, call: &Call<'_>, tenant: TenantId) -> Result<Begun<<K::Sql as Sql>::Tx>, Refused> {
        self.begin_as(call, tenant, call.actor.who.to_string()).await
    }

    /// The same of anybody. A POST carries an Idempotency-Key; the other methods name what they
    /// change and are the same when they are repeated.
    pub(super) async fn begin_as(
        &self,
        call: &Call<'_>,
        tenant: TenantId,
        who: String,
    ) -> Result<Begun<<K::Sql as Sql>::Tx>, Refused> {
        let key = match *call.method() {
            Method::POST => Some(hex(&sha256(call.idempotency_key()?.as_bytes()))),
            _ => None,
        };
        let (now_ms, number) = (self.now_ms(), self.number()?);
        let mut tx = self.sql().begin().await?;
        if let Some(key) = &key {
            let mut asked = format!("{} {}\n", call.method(), call.target()).into_bytes();
            asked.extend_from_slice(&sha256(&call.body));
            let asked = sha256(&asked);
            let claim = vec![
                tenant.stored().into(),
                (&*who).into(),
                (&**key).into(),
                Bytes::copy_from_slice(&asked).into(),
                Bytes::new().into(),
                stored(now_ms)?.into(),
            ];
            if !tx.insert_absent(CLAIM, claim).await? {
                let params = vec![tenant.stored().into(), (&*who).into(), (&**key).into()];
                let known = tx.rows(KNOWN, params).await?.into_iter().next();
                tx.rollback().await;
                // Committed and purged between the two statements: like a lock, it is gone at the
                // next try.
                let mut row = known.ok_or_else(|| SqlError::LockWait("a request's row vanished meanwhile".into()))?;
                if row.bytes()? != asked[..] {
                    let detail = "this Idempotency-Key came with another request before";
                    return Err(Problem::new(Code::IdempotencyMismatch, detail).into());
                }
                let status = StatusCode::from_u16(row.number()?);
                let status = status.map_err(|error| SqlError::Broken(error.to_string().into()))?;
                return Ok(Begun::Repeated(reply::raw(status, reply::CONTENT_TYPE_JSON, row.bytes()?)));
            }
        }
        Ok(Begun::Fresh(Change { tx, now_ms, tenant, who, number, key }))
    }
}

impl<T: Tx> Change<T> {
    /// Makes all of it durable, with what was changed for the audit, and gives the answer.
    pub(super) async fn commit<V: Serialize>(
        mut self,
        (action, target): (&'static str, String),
        before: Option<&V>,
        (status, after): (StatusCode, &V),
    ) -> Result<Response<Body>, Refused> {
        let json = |value: &V| {
            serde_json::to_string(value).map_err(|error| SqlError::Broken(format!("no JSON: {error}").into()))
        };
        let (was, is) = (before.map(json).transpose()?.unwrap_or_default(), json(after)?);
        let row = vec![
            self.tenant.stored().into(),
            self.number.into(),
            stored(self.now_ms)?.into(),
            (&*self.who).into(),
            action.into(),
            (&*target).into(),
            (&*was).into(),
            (&*is).into(),
        ];
        self.tx.exec(AUDIT, row).await?;
        if let Some(key) = &self.key {
            let answer = vec![
                status.as_u16().into(),
                Bytes::copy_from_slice(is.as_bytes()).into(),
                self.tenant.stored().into(),
                (&*self.who).into(),
                (&**key).into(),
            ];
            self.tx.exec(ANSWER, answer).await?;
        }
        self.tx.commit().await?;
        Ok(reply::raw(status, reply::CONTENT_TYPE_JSON, is))
    }
}

/// Deletes answers that are too old to be repeated.
pub(super) async fn purge<K: Kinds>(service: &Distribution<K>) -> Result<(), SqlError> {
    let before = stored(service.now_ms().saturating_sub(KEPT_MS))?;
    for _batch in 0..PURGES_MAX {
        let old = service.sql().rows(PURGE_UP_TO, vec![before.into()]).await?;
        let Some(mut last) = old.into_iter().next_back() else { break };
        service.sql().exec(PURGE, vec![last.int()?.into()]).await?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

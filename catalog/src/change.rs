//! A change that a call makes: one transaction with what it changes, its entries of the audit log,
//! and its answer under its Idempotency-Key. Either all of it is there or nothing; a repeated call
//! gets the same answer and changes nothing.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use kit::{
    access::{Actor, Who},
    api::{Call, tagged},
    clock::Clock as _,
    digest::sha256,
    http::{Body, HeaderValue, Method, Response, StatusCode, header, reply},
    problem::{Code, Problem},
    trace::TraceContext,
};
use serde::Serialize;
use store::sql::{Row, Sql, SqlError, Tx, stored};

use crate::{
    audit::{self, Entry, Origin},
    failpoint::{Failpoint, Step},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

const CLAIM: &str = "INSERT INTO requests (tenant, actor, request_key, asked, status, location, reply, answered_at) \
                     VALUES (?, ?, ?, ?, 0, '', ?, ?)";
const KNOWN: &str =
    "SELECT asked, status, location, reply FROM requests WHERE tenant = ? AND actor = ? AND request_key = ?";
const ANSWER: &str =
    "UPDATE requests SET status = ?, location = ?, reply = ? WHERE tenant = ? AND actor = ? AND request_key = ?";

/// How long an answer is kept for a repeated request.
const KEPT_MS: u64 = 24 * 3_600 * 1_000;

/// Rows that one transaction deletes, about.
const PURGED_MAX: u32 = 500;

/// Transactions of one purge; the next one goes on.
const PURGES_MAX: usize = 200;

/// When the last row of a batch was answered, if there are that many.
const END_OF_BATCH: &str =
    "SELECT answered_at FROM requests WHERE answered_at < ? ORDER BY answered_at LIMIT 1 OFFSET ?";
const PURGE: &str = "DELETE FROM requests WHERE answered_at <= ?";
/// A body that takes a moment to digest.
const LARGE_BYTES: usize = 1024 * 1024;

/// What a change begins as.
#[must_use]
pub enum Begun<T> {
    /// Something new: make it, then [`Change::commit`].
    Fresh(Change<T>),
    /// The same request came before: this was its answer.
    Repeated(Response<Body>),
}

/// A change under way. Dropped, it is rolled back.
pub struct Change<T> {
    /// Its transaction.
    pub tx: T,
    /// When it is made, in milliseconds since 1970.
    pub now_ms: u64,
    origin: Origin,
    key: Option<String>,
    entries: Vec<Entry>,
    failpoint: Failpoint,
}

/// The answer of a change.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    location: String,
    shown: Vec<u8>,
    kept: Option<Vec<u8>>,
}

impl Answer {
    /// `201` with where the new thing is, and the thing.
    ///
    /// # Errors
    /// [`Refused::Broken`] when it cannot be written as JSON, a fault of ours.
    pub fn created(location: String, body: &impl Serialize) -> Result<Self, Refused> {
        Ok(Self { status: StatusCode::CREATED, location, shown: json(body)?, kept: None })
    }

    /// `202`: a job took it on, and `location` tells how far it is.
    ///
    /// # Errors
    /// As [`Answer::created`].
    pub fn accepted(location: String, body: &impl Serialize) -> Result<Self, Refused> {
        Ok(Self { status: StatusCode::ACCEPTED, location, shown: json(body)?, kept: None })
    }

    /// `200` with the thing as it is now.
    ///
    /// # Errors
    /// As [`Answer::created`].
    pub fn ok(body: &impl Serialize) -> Result<Self, Refused> {
        Ok(Self { status: StatusCode::OK, location: String::new(), shown: json(body)?, kept: None })
    }

    /// `204`: the thing is gone.
    #[must_use]
    pub fn gone() -> Self {
        Self { status: StatusCode::NO_CONTENT, location: String::new(), shown: Vec::new(), kept: None }
    }

    /// Keeps another body for a repeated request: this one has a secret, which is shown once.
    ///
    /// # Errors
    /// As [`Answer::created`].
    pub fn keeping(self, kept: &impl Serialize) -> Result<Self, Refused> {
        Ok(Self { kept: Some(json(kept)?), ..self })
    }
}

fn json(body: &impl Serialize) -> Result<Vec<u8>, Refused> {
    serde_json::to_vec(body).map_err(|error| Refused::Broken(error.to_string()))
}

impl<P: Ports> Catalog<P> {
    /// Begins a change. A POST carries an Idempotency-Key; the other methods name what they change
    /// and are the same when they are repeated.
    ///
    /// # Errors
    /// `idempotency_mismatch` when the key came with another request before; [`Refused::Sql`].
    pub async fn begin(&self, call: &Call<'_>) -> Result<Begun<<P::Sql as Sql>::Tx>, Refused> {
        let body = match *call.method() {
            Method::POST => digest_of(call.body.clone()).await?,
            _ => [0; 32],
        };
        self.begin_with(call, body).await
    }

    /// The same of a body that the handler read, of which this is the SHA-256.
    ///
    /// # Errors
    /// As [`Catalog::begin`].
    pub(crate) async fn begin_with(
        &self,
        call: &Call<'_>,
        body: [u8; 32],
    ) -> Result<Begun<<P::Sql as Sql>::Tx>, Refused> {
        let key = match *call.method() {
            Method::POST => Some((call.idempotency_key()?.to_owned(), asked_of(call, body))),
            _ => None,
        };
        let now_ms = self.clock().now_ms();
        let origin = origin_of(call, &call.actor, now_ms);
        let mut tx = self.sql().begin().await?;
        if let Some((key, asked)) = &key {
            let (tenant, who) = (origin.tenant.into(), origin.who.to_string());
            let claim = vec![
                tenant,
                who.as_str().into(),
                key.as_str().into(),
                Bytes::copy_from_slice(asked).into(),
                Bytes::new().into(),
                stored(now_ms)?.into(),
            ];
            if !tx.insert_absent(CLAIM, claim).await? {
                let known =
                    tx.rows(KNOWN, vec![origin.tenant.into(), who.as_str().into(), key.as_str().into()]).await?;
                tx.rollback().await;
                return known_answer(known, asked).map(Begun::Repeated);
            }
        }
        let (key, failpoint) = (key.map(|(key, _)| key), Failpoint::of(call));
        Ok(Begun::Fresh(Change { tx, now_ms, origin, key, entries: Vec::new(), failpoint }))
    }

    /// Begins a change of one whom the body proves to be this actor: a login, a one-use token. What
    /// proves it is used up, so that there is no Idempotency-Key.
    ///
    /// # Errors
    /// [`Refused::Sql`].
    pub(crate) async fn begin_as(
        &self,
        call: &Call<'_>,
        actor: &Actor,
    ) -> Result<Change<<P::Sql as Sql>::Tx>, Refused> {
        let now_ms = self.clock().now_ms();
        let origin = origin_of(call, actor, now_ms);
        let (tx, failpoint) = (self.sql().begin().await?, Failpoint::of(call));
        Ok(Change { tx, now_ms, origin, key: None, entries: Vec::new(), failpoint })
    }
}

impl<P: Ports> Catalog<P> {
    /// Begins a change of a tenant's things that the operator makes for the deployment: this entry
    /// stands in the chain of his own too, or neither does. It takes the lock of that chain's end.
    ///
    /// # Errors
    /// [`Refused::Sql`].
    pub(crate) async fn begin_control(
        &self,
        call: &Call<'_>,
        tenant: u32,
        entry: Entry,
    ) -> Result<Change<<P::Sql as Sql>::Tx>, Refused> {
        let mut change = self.begin_as(call, &Actor { tenant, ..call.actor }).await?;
        let own = Origin { tenant: call.actor.tenant, ..change.origin.clone() };
        audit::append(&mut change.tx, &own, &[entry]).await?;
        Ok(change)
    }

    /// Begins a change that was scheduled earlier, and that no request makes now.
    ///
    /// # Errors
    /// [`Refused::Sql`].
    pub(crate) async fn begin_for(&self, tenant: u32, who: Who) -> Result<Change<<P::Sql as Sql>::Tx>, Refused> {
        let now_ms = self.clock().now_ms();
        let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let origin = Origin { tenant, who, at_ms: now_ms, trace: String::new(), address };
        let tx = self.sql().begin().await?;
        Ok(Change { tx, now_ms, origin, key: None, entries: Vec::new(), failpoint: Failpoint::of_actions() })
    }
}

/// Who asks, when, from where.
fn origin_of(call: &Call<'_>, actor: &Actor, at_ms: u64) -> Origin {
    let Actor { who, tenant, .. } = *actor;
    let trace = TraceContext::current().map(|trace| trace.trace_id().to_string()).unwrap_or_default();
    Origin { tenant, who, at_ms, trace, address: call.address }
}

/// What a key stands for: the same method, path, query and body.
fn asked_of(call: &Call<'_>, body: [u8; 32]) -> [u8; 32] {
    let mut whole = format!("{} {}\n", call.method(), call.target()).into_bytes();
    whole.extend_from_slice(&body);
    sha256(&whole)
}

async fn digest_of(body: Bytes) -> Result<[u8; 32], Refused> {
    match body.len() {
        0..=LARGE_BYTES => Ok(sha256(&body)),
        // Megabytes take longer than other requests of this thread should wait.
        _ => {
            tokio::task::spawn_blocking(move || sha256(&body)).await.map_err(|error| Refused::Broken(error.to_string()))
        }
    }
}

fn known_answer(rows: Vec<Row>, asked: &[u8]) -> Result<Response<Body>, Refused> {
    // Committed and purged between the two statements: like a lock, it is gone at the next try.
    let row = rows.into_iter().next();
    let mut row = row.ok_or_else(|| SqlError::LockWait("a request's row vanished meanwhile".into()))?;
    if row.bytes()? != *asked {
        return Err(
            Problem::new(Code::IdempotencyMismatch, "this Idempotency-Key came with another request before").into()
        );
    }
    let status: u16 = row.number()?;
    let (location, body) = (row.text()?, row.bytes()?);
    let status = StatusCode::from_u16(status).map_err(|error| SqlError::Broken(error.to_string().into()))?;
    Ok(response(status, &location, body.to_vec()))
}

fn response(status: StatusCode, location: &str, body: Vec<u8>) -> Response<Body> {
    let mut response = match body.is_empty() {
        true => reply::empty(status),
        false => reply::raw(status, reply::CONTENT_TYPE_JSON, body),
    };
    if let Some(location) = HeaderValue::try_from(location).ok().filter(|location| !location.is_empty()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

impl<T: Tx> Change<T> {
    /// The tenant whose things it changes.
    pub fn tenant(&self) -> u32 {
        self.origin.tenant
    }

    /// Whether something is recorded already.
    pub(crate) fn has_entries(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Who makes it.
    pub(crate) fn who(&self) -> Who {
        self.origin.who
    }

    /// What was changed, for the audit log.
    ///
    /// # Errors
    /// As [`Entry::new`].
    pub fn record<V: Serialize>(
        &mut self,
        action: &'static str,
        target: String,
        before: Option<&V>,
        after: Option<&V>,
    ) -> Result<(), Refused> {
        self.entries.push(Entry::new(action, target, before, after)?);
        Ok(())
    }

    /// The end of a change that puts `after` in the place of `before`: recorded, durable, answered
    /// with its version as the ETag.
    ///
    /// # Errors
    /// As [`Change::record`] and [`Change::commit`].
    pub async fn replace<V: Serialize>(
        mut self,
        action: &'static str,
        target: String,
        before: Option<&V>,
        (after, version): (&V, u64),
    ) -> Result<Response<Body>, Refused> {
        self.record(action, target, before, Some(after))?;
        Ok(tagged(self.commit(Answer::ok(after)?).await?, version))
    }

    /// Makes all of it durable, and gives the answer.
    ///
    /// # Errors
    /// [`Refused::Sql`]; when that is unknown, the same call again tells.
    pub async fn commit(mut self, answer: Answer) -> Result<Response<Body>, Refused> {
        audit::append(&mut self.tx, &self.origin, &self.entries).await?;
        if let Some(key) = &self.key {
            let kept = answer.kept.as_ref().unwrap_or(&answer.shown);
            let row = vec![
                answer.status.as_u16().into(),
                answer.location.as_str().into(),
                Bytes::copy_from_slice(kept).into(),
                self.origin.tenant.into(),
                self.origin.who.to_string().as_str().into(),
                key.as_str().into(),
            ];
            self.tx.exec(ANSWER, row).await?;
        }
        self.failpoint.reach(Step::Written);
        self.tx.commit().await?;
        self.failpoint.reach(Step::Durable);
        Ok(response(answer.status, &answer.location, answer.shown))
    }
}

/// Deletes the answers of requests that are too old to be repeated, batch by batch, so that no
/// change waits long for it.
///
/// # Errors
/// [`Refused::Sql`]; the next purge goes on.
pub(crate) async fn purge<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    let before = stored(catalog.clock().now_ms().saturating_sub(KEPT_MS))?;
    for _batch in 0..PURGES_MAX {
        let end = catalog.sql().rows(END_OF_BATCH, vec![before.into(), PURGED_MAX.into()]).await?;
        let end = end.into_iter().next().map(|mut row| row.int()).transpose()?;
        catalog.sql().exec(PURGE, vec![end.unwrap_or(before - 1).into()]).await?;
        if end.is_none() {
            break;
        }
    }
    Ok(())
}

//! The audit log: every change by a person or key, in the transaction that made it, one chain of
//! hashes per tenant. Rows are only ever added.

mod entry;
mod export;
mod routes;
mod verification;

use std::net::IpAddr;

use bytes::Bytes;
use kit::{access::Who, digest::sha256};
use serde::Serialize;
use store::sql::{Lock, Row, SqlError, Tx, Value, stored};

pub(crate) use routes::{document, routes};

const HEAD: &str = "SELECT sequence, hash FROM audit_heads WHERE tenant = ?";
const FIRST_HEAD: &str = "INSERT INTO audit_heads (tenant, sequence, hash) VALUES (?, 0, ?)";
const MOVE_HEAD: &str = "UPDATE audit_heads SET sequence = ?, hash = ? WHERE tenant = ?";
const APPEND: &str = "INSERT INTO audit_log (tenant, sequence, at_ms, actor, action, target, before_json, after_json, \
                      trace, address, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// What stands before the first row of a chain.
const BEGINNING: [u8; 32] = [0; 32];

/// One change. It names no buyer: personal data lives elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was done: `product.create`.
    pub action: &'static str,
    /// To what: `product:17`.
    pub target: String,
    /// What it was before, JSON; empty where there was nothing.
    pub before: String,
    /// What it is now, JSON; empty where nothing is left.
    pub after: String,
}

impl Entry {
    /// A change from one value to another.
    ///
    /// # Errors
    /// [`SqlError::Broken`] when a value cannot be written as JSON, a fault of ours.
    pub fn new<T: Serialize>(
        action: &'static str,
        target: String,
        before: Option<&T>,
        after: Option<&T>,
    ) -> Result<Self, SqlError> {
        let json = |value: Option<&T>| {
            let text = value.map(serde_json::to_string).transpose();
            text.map(Option::unwrap_or_default).map_err(|error| SqlError::Broken(error.to_string().into()))
        };
        Ok(Self { action, target, before: json(before)?, after: json(after)? })
    }
}

/// Who did it, when, from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Whose chain.
    pub tenant: u32,
    /// Who.
    pub who: Who,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The request's trace, 32 hexadecimal digits; empty where there is none.
    pub trace: String,
    /// Where from.
    pub address: IpAddr,
}

/// Adds entries to the chain of their tenant. It takes the lock of the chain's end, so it comes
/// last in a transaction.
///
/// # Errors
/// [`SqlError`] when the database fails.
pub(crate) async fn append<T: Tx>(tx: &mut T, origin: &Origin, entries: &[Entry]) -> Result<(), SqlError> {
    if entries.is_empty() {
        return Ok(());
    }
    let tenant = i64::from(origin.tenant);
    tx.insert_absent(FIRST_HEAD, vec![tenant.into(), Bytes::from_static(&BEGINNING).into()]).await?;
    let head = tx.lock_rows(HEAD, vec![tenant.into()], Lock::Wait).await?.into_iter().next();
    let mut head = head.ok_or_else(|| SqlError::Broken("the end of an audit chain vanished".into()))?;
    let (mut sequence, mut hash) = (head.number::<u64>()?, head.bytes()?);
    for entry in entries {
        sequence += 1;
        let mut row = Written {
            sequence,
            at_ms: origin.at_ms,
            actor: origin.who.to_string(),
            action: entry.action.to_owned(),
            target: entry.target.clone(),
            before: entry.before.clone(),
            after: entry.after.clone(),
            trace: origin.trace.clone(),
            address: origin.address.to_string(),
            hash: Bytes::new(),
        };
        hash = Bytes::copy_from_slice(&row.hash_after(&hash, origin.tenant));
        row.hash = hash.clone();
        tx.exec(APPEND, row.values(origin.tenant)?).await?;
    }
    tx.exec(MOVE_HEAD, vec![stored(sequence)?.into(), hash.into(), tenant.into()]).await?;
    Ok(())
}

/// A row as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its place in the chain, from 1.
    pub sequence: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who: `user:7`, `key:3`, `operator`.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub target: String,
    /// What it was before, JSON or empty.
    pub before: String,
    /// What it became, JSON or empty.
    pub after: String,
    /// The request's trace.
    pub trace: String,
    /// Where from.
    pub address: String,
    /// The hash of the chain up to here.
    pub hash: Bytes,
}

/// The columns of [`Written`], in its order.
pub(crate) const COLUMNS: &str =
    "sequence, at_ms, actor, action, target, before_json, after_json, trace, address, hash";

impl Written {
    pub(crate) fn read(mut row: Row) -> Result<Self, SqlError> {
        Ok(Self {
            sequence: row.number()?,
            at_ms: row.number()?,
            actor: row.text()?,
            action: row.text()?,
            target: row.text()?,
            before: row.text()?,
            after: row.text()?,
            trace: row.text()?,
            address: row.text()?,
            hash: row.bytes()?,
        })
    }

    fn values(&self, tenant: u32) -> Result<Vec<Value>, SqlError> {
        let text = |text: &String| Value::from(text.as_str());
        Ok(vec![
            tenant.into(),
            stored(self.sequence)?.into(),
            stored(self.at_ms)?.into(),
            text(&self.actor),
            text(&self.action),
            text(&self.target),
            text(&self.before),
            text(&self.after),
            text(&self.trace),
            text(&self.address),
            self.hash.clone().into(),
        ])
    }

    /// The hash of the chain up to this row: of the one before it, then of each column after its
    /// length.
    fn hash_after(&self, before: &[u8], tenant: u32) -> [u8; 32] {
        let numbers = [u64::from(tenant), self.sequence, self.at_ms].map(|number| number.to_string());
        let texts = [&self.actor, &self.action, &self.target, &self.before, &self.after, &self.trace, &self.address];
        let mut whole = before.to_vec();
        for column in numbers.iter().chain(texts) {
            whole.extend_from_slice(&u64::try_from(column.len()).unwrap_or(u64::MAX).to_be_bytes());
            whole.extend_from_slice(column.as_bytes());
        }
        sha256(&whole)
    }

    /// Whether this row follows the one with the hash `before`, unchanged since it was written.
    pub fn follows(&self, before: &[u8], tenant: u32) -> bool {
        self.hash_after(before, tenant) == *self.hash
    }

    /// Whether rows that begin a chain are whole: none changed, none missing between them.
    pub fn is_chain(rows: &[Self], tenant: u32) -> bool {
        let mut before = Bytes::from_static(&BEGINNING);
        rows.iter().zip(1..).all(|(row, sequence)| {
            let holds = row.sequence == sequence && row.follows(&before, tenant);
            before = row.hash.clone();
            holds
        })
    }
}

//! The row of a sale and of its versions.

use kit::{
    api::tagged,
    clock::{Clock as _, rfc3339},
    http::{Body, Response, StatusCode, reply},
};
use serde::Serialize;
use store::sql::{Lock, Row, SqlError, Tx, Value, stored};
use utoipa::ToSchema;

use super::{life::State, terms::Terms};
use crate::{ports::Ports, reading::Reading, refused::Refused, service::Catalog};

pub(super) const COLUMNS: &str =
    "sale, code, is_template, terms, version, published, is_due, is_owed, is_settled, created_at, updated_at";
/// What a change may write comes first, then what names the row: as [`Kept::values`] lists them.
const INSERT: &str = "INSERT INTO sales (terms, offers, opens_at, closes_at, version, published, is_due, is_owed, \
                      updated_at, tenant, sale, code, is_template, created_at, is_settled) \
                      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)";
const UPDATE: &str = "UPDATE sales SET terms = ?, offers = ?, opens_at = ?, closes_at = ?, version = ?, \
                      published = ?, is_due = ?, is_owed = ?, updated_at = ? WHERE tenant = ? AND sale = ?";
const VERSION: &str = "INSERT INTO sale_versions (tenant, sale, version, action, actor, terms, at_ms) \
                       VALUES (?, ?, ?, ?, ?, ?, ?)";
const REMOVE: [&str; 2] =
    ["DELETE FROM sale_versions WHERE tenant = ? AND sale = ?", "DELETE FROM sales WHERE tenant = ? AND sale = ?"];

/// A sale, as its row has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    pub(super) sale: i64,
    pub(super) code: String,
    pub(super) is_template: bool,
    pub(super) terms: Terms,
    pub(super) version: u64,
    /// The version that is known to be published; 0 for none.
    pub(super) published: u32,
    /// The terms are to be published.
    pub(super) is_due: bool,
    /// An allotment was lowered, and the warehouse waits for its units.
    pub(super) is_owed: bool,
    pub(super) is_settled: bool,
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

/// A sale.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = MerchantSale)]
pub(crate) struct Shown {
    /// The number by which buyers know it, as a decimal string.
    id: String,
    /// The merchant's own code; stays.
    code: String,
    state: State,
    /// Rises with each change; also the ETag.
    version: u64,
    /// The version that buyers buy by; missing while it was never published.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    published_version: Option<u32>,
    /// A later version is on its way to the engines; it gets there by itself.
    is_publishing: bool,
    terms: Terms,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339.
    updated_at: String,
}

impl Kept {
    pub(super) fn read(mut row: Row) -> Result<Self, SqlError> {
        Ok(Self {
            sale: row.int()?,
            code: row.text()?,
            is_template: row.int()? != 0,
            terms: read_terms(&row.text()?)?,
            version: row.number()?,
            published: row.number()?,
            is_due: row.int()? != 0,
            is_owed: row.int()? != 0,
            is_settled: row.int()? != 0,
            created_at: row.number()?,
            updated_at: row.number()?,
        })
    }

    /// A sale of a tenant, without a lock.
    pub(super) async fn find(db: &dyn Reading, tenant: u32, sale: i64) -> Result<Self, Refused> {
        Self::look(db, tenant, sale).await?.ok_or_else(|| Refused::not_found("sale"))
    }

    /// The same, where it may be missing.
    pub(super) async fn look(db: &dyn Reading, tenant: u32, sale: i64) -> Result<Option<Self>, SqlError> {
        let rows = db.read(&one(), vec![tenant.into(), sale.into()]).await?;
        rows.into_iter().next().map(Self::read).transpose()
    }

    /// A sale of a tenant, locked until the transaction ends.
    pub(super) async fn lock<T: Tx>(tx: &mut T, tenant: u32, sale: i64) -> Result<Self, Refused> {
        let rows = tx.lock_rows(&one(), vec![tenant.into(), sale.into()], Lock::Wait).await?;
        let found = rows.into_iter().next().map(Self::read).transpose()?;
        found.ok_or_else(|| Refused::not_found("sale"))
    }

    /// Whether buyers know it, or are about to.
    pub(super) fn is_published(&self) -> bool {
        self.published > 0 || self.is_due
    }

    pub(super) fn state(&self, now_ms: u64) -> State {
        match () {
            () if self.is_template => State::Template,
            () if !self.is_published() => State::Draft,
            () if self.is_settled => State::Settled,
            () if now_ms >= self.terms.closes_at => State::Closed,
            () if self.terms.paused => State::Paused,
            () if now_ms < self.terms.opens_at => State::Published,
            () => State::Open,
        }
    }

    pub(super) fn shown(&self, now_ms: u64) -> Shown {
        Shown {
            id: self.sale.to_string(),
            code: self.code.clone(),
            state: self.state(now_ms),
            version: self.version,
            published_version: (self.published > 0).then_some(self.published),
            is_publishing: self.is_due,
            terms: self.terms.clone(),
            created_at: rfc3339(self.created_at),
            updated_at: rfc3339(self.updated_at),
        }
    }

    /// Adds it with its first version; `false` when another sale of the tenant has its code.
    pub(super) async fn insert<T: Tx>(&self, tx: &mut T, tenant: u32, by: (&str, &str)) -> Result<bool, SqlError> {
        let mut row = self.values(tenant)?;
        row.extend([self.code.as_str().into(), i64::from(self.is_template).into(), stored(self.created_at)?.into()]);
        if !tx.insert_absent(INSERT, row).await? {
            return Ok(false);
        }
        self.note(tx, tenant, by).await?;
        Ok(true)
    }

    /// Writes it over its row, which is locked, as another version. `by`: what was done, and who
    /// did it.
    pub(super) async fn save<T: Tx>(&self, tx: &mut T, tenant: u32, by: (&str, &str)) -> Result<(), SqlError> {
        tx.exec(UPDATE, self.values(tenant)?).await?;
        self.note(tx, tenant, by).await
    }

    /// What both statements write, and by what they name the row.
    fn values(&self, tenant: u32) -> Result<Vec<Value>, SqlError> {
        Ok(vec![
            terms(&self.terms)?,
            stored(u64::try_from(self.terms.offers().count()).unwrap_or(u64::MAX))?.into(),
            stored(self.terms.opens_at)?.into(),
            stored(self.terms.closes_at)?.into(),
            stored(self.version)?.into(),
            self.published.into(),
            i64::from(self.is_due).into(),
            i64::from(self.is_owed).into(),
            stored(self.updated_at)?.into(),
            tenant.into(),
            self.sale.into(),
        ])
    }

    async fn note<T: Tx>(&self, tx: &mut T, tenant: u32, (action, actor): (&str, &str)) -> Result<(), SqlError> {
        let row = vec![
            tenant.into(),
            self.sale.into(),
            stored(self.version)?.into(),
            action.into(),
            actor.into(),
            terms(&self.terms)?,
            stored(self.updated_at)?.into(),
        ];
        tx.exec(VERSION, row).await.map(drop)
    }

    pub(super) async fn remove<T: Tx>(&self, tx: &mut T, tenant: u32) -> Result<(), SqlError> {
        for statement in REMOVE {
            tx.exec(statement, vec![tenant.into(), self.sale.into()]).await?;
        }
        Ok(())
    }
}

/// The answer that shows a sale as it is.
///
/// # Errors
/// `not_found`; [`Refused::Sql`].
pub(super) async fn shown_of<P: Ports>(
    catalog: &Catalog<P>,
    tenant: u32,
    sale: i64,
) -> Result<Response<Body>, Refused> {
    let kept = Kept::find(catalog.sql(), tenant, sale).await?;
    Ok(tagged(reply::json(StatusCode::OK, &kept.shown(catalog.clock().now_ms())), kept.version))
}

fn one() -> String {
    format!("SELECT {COLUMNS} FROM sales WHERE tenant = ? AND sale = ?")
}

fn terms(terms: &Terms) -> Result<Value, SqlError> {
    let text = serde_json::to_string(terms).map_err(|error| SqlError::Broken(error.to_string().into()))?;
    Ok(text.as_str().into())
}

pub(super) fn read_terms(text: &str) -> Result<Terms, SqlError> {
    serde_json::from_str(text).map_err(|error| SqlError::Broken(format!("the terms of a sale: {error}").into()))
}

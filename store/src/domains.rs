//! At which domains tenants' shops have their pages. `catalog` decides that in its own database and
//! keeps this copy in the ledger's, which every service reads that answers pages.

use std::collections::BTreeMap;

use domain::id::TenantId;

use crate::sql::{Sql, SqlError, Tx};

const ALL: &str = "SELECT domain, tenant FROM shop_domains ORDER BY domain";
const INSERT: &str = "INSERT INTO shop_domains (domain, tenant) VALUES (?, ?)";
const UPDATE: &str = "UPDATE shop_domains SET tenant = ? WHERE domain = ?";
const DELETE: &str = "DELETE FROM shop_domains WHERE domain = ?";

/// The repository of shops' domains.
#[derive(Debug, Clone)]
pub struct ShopDomains<S> {
    db: S,
}

impl<S: Sql> ShopDomains<S> {
    /// The repository over the ledger's database.
    pub const fn new(db: S) -> Self {
        Self { db }
    }

    /// All of them, each with its tenant.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn all(&self) -> Result<BTreeMap<String, TenantId>, SqlError> {
        let rows = self.db.rows(ALL, vec![]).await?;
        rows.into_iter().map(|mut row| Ok((row.text()?, row.id(TenantId::new)?))).collect()
    }

    /// Makes it these and no others, in one transaction; returns how many rows changed. Of two who
    /// do so at once the later one counts, or fails and comes again: both copy one original.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails, or another did the same at this moment.
    pub async fn put(&self, wanted: &BTreeMap<String, TenantId>) -> Result<usize, SqlError> {
        let known = self.all().await?;
        let mut changes = Vec::new();
        for domain in known.keys().filter(|domain| !wanted.contains_key(*domain)) {
            changes.push((domain, DELETE, vec![domain.as_str().into()]));
        }
        for (domain, tenant) in wanted.iter().filter(|(domain, tenant)| known.get(*domain) != Some(tenant)) {
            let (domain_value, tenant) = (domain.as_str().into(), tenant.stored().into());
            changes.push(match known.contains_key(domain) {
                true => (domain, UPDATE, vec![tenant, domain_value]),
                false => (domain, INSERT, vec![domain_value, tenant]),
            });
        }
        if changes.is_empty() {
            return Ok(0);
        }
        // In one order for everybody, so that two wait for each other once at most.
        changes.sort_by_key(|(domain, ..)| *domain);
        let changed = changes.len();
        let mut tx = self.db.begin().await?;
        for (_, change, values) in changes {
            if let Err(error) = tx.exec(change, values).await {
                tx.rollback().await;
                return Err(error);
            }
        }
        tx.commit().await?;
        Ok(changed)
    }
}

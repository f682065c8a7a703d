//! The row of a scheduled action.

use kit::clock::rfc3339;
use store::sql::{Lock, Row, SqlError, Tx, stored};

use super::bodies::{NewAction, Shown, State};
use crate::refused::Refused;

pub(super) const COLUMNS: &str = "action, sale, asked, state, next_at, attempts, reason, created_by, version";
const INSERT: &str = "INSERT INTO sale_actions (tenant, action, sale, asked, state, is_open, at_ms, next_at, \
                      attempts, reason, created_by, version, created_at, ended_at) \
                      VALUES (?, ?, ?, ?, 'waiting', 1, ?, ?, 0, '', ?, 1, ?, 0)";
const UPDATE: &str = "UPDATE sale_actions SET state = ?, is_open = ?, next_at = ?, attempts = ?, reason = ?, \
                      version = ?, ended_at = ? WHERE tenant = ? AND action = ?";

/// An action, as its row has it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) action: i64,
    pub(super) sale: i64,
    pub(super) asked: NewAction,
    pub(super) state: State,
    pub(super) next_at: u64,
    pub(super) attempts: u32,
    pub(super) reason: String,
    pub(super) created_by: String,
    pub(super) version: u64,
}

impl Kept {
    pub(super) fn read(mut row: Row) -> Result<Self, SqlError> {
        let broken = |what: &str| SqlError::Broken(format!("a scheduled action: {what}").into());
        let (action, sale, asked, state) = (row.int()?, row.int()?, row.text()?, row.text()?);
        let state = State::ALL.into_iter().find(|known| known.as_str() == state);
        Ok(Self {
            action,
            sale,
            asked: serde_json::from_str(&asked).map_err(|error| broken(&error.to_string()))?,
            state: state.ok_or_else(|| broken("its state"))?,
            next_at: row.number()?,
            attempts: row.number()?,
            reason: row.text()?,
            created_by: row.text()?,
            version: row.number()?,
        })
    }

    pub(super) async fn lock<T: Tx>(tx: &mut T, tenant: u32, action: i64) -> Result<Self, Refused> {
        let query = format!("SELECT {COLUMNS} FROM sale_actions WHERE tenant = ? AND action = ?");
        let rows = tx.lock_rows(&query, vec![tenant.into(), action.into()], Lock::Wait).await?;
        let found = rows.into_iter().next().map(Self::read).transpose()?;
        found.ok_or_else(|| Refused::not_found("scheduled action"))
    }

    pub(super) async fn insert<T: Tx>(&self, tx: &mut T, tenant: u32, now_ms: u64) -> Result<(), Refused> {
        let asked = serde_json::to_string(&self.asked).map_err(|error| Refused::Broken(error.to_string()))?;
        let row = vec![
            tenant.into(),
            self.action.into(),
            self.sale.into(),
            asked.as_str().into(),
            stored(self.next_at)?.into(),
            stored(self.next_at)?.into(),
            self.created_by.as_str().into(),
            stored(now_ms)?.into(),
        ];
        tx.exec(INSERT, row).await?;
        Ok(())
    }

    /// Writes it over its row, which is locked.
    pub(super) async fn save<T: Tx>(&self, tx: &mut T, tenant: u32, now_ms: u64) -> Result<(), SqlError> {
        let is_open = self.state == State::Waiting;
        let row = vec![
            self.state.as_str().into(),
            i64::from(is_open).into(),
            stored(self.next_at)?.into(),
            self.attempts.into(),
            self.reason.as_str().into(),
            stored(self.version)?.into(),
            stored(if is_open { 0 } else { now_ms })?.into(),
            tenant.into(),
            self.action.into(),
        ];
        tx.exec(UPDATE, row).await.map(drop)
    }

    pub(super) fn shown(&self) -> Shown {
        Shown {
            id: self.action.to_string(),
            state: self.state,
            asked: self.asked.clone(),
            next_at: (self.state == State::Waiting).then(|| rfc3339(self.next_at)),
            attempts: self.attempts,
            reason: self.reason.clone(),
            created_by: self.created_by.clone(),
            version: self.version,
        }
    }
}

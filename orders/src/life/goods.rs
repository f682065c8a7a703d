//! How goods reach their buyers, in words: what an offer's row says, and what an order's does.

use domain::id::{OfferId, TenantId};
use serde::{Deserialize, Serialize};
use store::sql::{Row, SqlError, Value};
use utoipa::ToSchema;

/// What an offer's row says; its parameters are the [`key`].
pub(super) const OFFER: &str = "SELECT kind, kind_before, from_at FROM offer_handovers WHERE tenant = ? AND offer = ?";

/// How goods reach their buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A carrier brings them.
    Express = 1,
    /// The buyer comes with a code.
    Pickup = 2,
    /// They are codes.
    Code = 3,
}

/// Where the handover of an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its buyer has nothing yet.
    Waiting = 1,
    /// He has it.
    Given = 2,
    /// It is refunded; its codes are to be withdrawn.
    Withdrawing = 3,
    /// They are.
    Withdrawn = 4,
}

impl Kind {
    fn from_stored(number: i64) -> Option<Self> {
        [Self::Express, Self::Pickup, Self::Code].into_iter().find(|kind| *kind as i64 == number)
    }
}

impl State {
    pub(super) const fn stored(self) -> i64 {
        self as i64
    }

    fn from_stored(number: i64) -> Option<Self> {
        [Self::Waiting, Self::Given, Self::Withdrawing, Self::Withdrawn].into_iter().find(|s| s.stored() == number)
    }
}

/// What an offer's row says.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfferKind {
    pub(super) kind: Kind,
    pub(super) before: Kind,
    /// From when on it is `kind`.
    pub(super) from_ms: u64,
}

impl OfferKind {
    const SENT: Self = Self { kind: Kind::Express, before: Kind::Express, from_ms: 0 };

    pub(super) fn read(rows: Vec<Row>) -> Result<Self, SqlError> {
        let Some(mut row) = rows.into_iter().next() else { return Ok(Self::SENT) };
        let mut kind = || row.int_as("kind of a handover", Kind::from_stored);
        let (kind, before) = (kind()?, kind()?);
        Ok(Self { kind, before, from_ms: row.number()? })
    }

    /// What holds at that moment.
    pub(super) const fn at(self, now_ms: u64) -> Kind {
        if now_ms >= self.from_ms { self.kind } else { self.before }
    }
}

/// A handover's row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handover {
    pub(super) kind: Kind,
    pub(super) state: State,
    /// Wrong pickup codes.
    pub(super) tries: u32,
}

impl Handover {
    pub(super) fn read(rows: Vec<Row>) -> Result<Option<Self>, SqlError> {
        let Some(mut row) = rows.into_iter().next() else { return Ok(None) };
        let kind = row.int_as("kind of a handover", Kind::from_stored)?;
        Ok(Some(Self { kind, state: row.int_as("state of a handover", State::from_stored)?, tries: row.number()? }))
    }
}

/// An offer, in the first shard.
pub(super) fn key(tenant: TenantId, offer: OfferId) -> Vec<Value> {
    vec![tenant.stored().into(), offer.stored().into()]
}

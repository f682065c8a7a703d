//! What limits count: one word in sales and in the tokens of buyers.

use async_graphql::Enum;
use domain::sale::SubjectKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the number of a buyer's token counts as. A sale sells only to tokens of its own kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema, Enum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LimitBy {
    /// An account of the shop.
    #[default]
    Account,
    /// A phone number.
    Phone,
    /// The hash of an identity document.
    IdHash,
}

impl From<LimitBy> for SubjectKind {
    fn from(by: LimitBy) -> Self {
        match by {
            LimitBy::Account => Self::Account,
            LimitBy::Phone => Self::Phone,
            LimitBy::IdHash => Self::IdHash,
        }
    }
}

impl From<SubjectKind> for LimitBy {
    fn from(kind: SubjectKind) -> Self {
        match kind {
            SubjectKind::Account => Self::Account,
            SubjectKind::Phone => Self::Phone,
            SubjectKind::IdHash => Self::IdHash,
        }
    }
}

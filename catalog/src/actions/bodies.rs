//! What the routes of scheduled actions take and give.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    products::{
        rules::Flaws,
        texts::{Code, Price},
    },
    refused::Refused,
    sales::{Deed, Setting, To},
};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SaleActionKind)]
pub(crate) enum Kind {
    Publish,
    Pause,
    Resume,
    Close,
    SetPrice,
    SetAllotment,
    SetLimit,
    SetRate,
}

/// What is to be done to a sale, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAction {
    /// RFC 3339; in the future.
    #[schema(max_length = 35, format = DateTime)]
    pub(super) at: String,
    pub(super) action: Kind,
    /// The lane's code; left out where only one comes into question.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    lane: Option<Code>,
    /// The SKU's code, for what is an offer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    sku: Option<Code>,
    /// For `set_price`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    price: Option<Price>,
    /// For `set_allotment`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100000000, nullable = false)]
    allotment: Option<u64>,
    /// For `set_limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100, nullable = false)]
    limit_per_buyer: Option<u32>,
    /// For `set_rate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000000, nullable = false)]
    rate_per_s: Option<u32>,
}

/// Of each kind: members that it needs, and one more that it may have.
const MEMBERS: [(Kind, &[&str], &str); 8] = [
    (Kind::Publish, &[], ""),
    (Kind::Pause, &[], ""),
    (Kind::Resume, &[], ""),
    (Kind::Close, &[], ""),
    (Kind::SetPrice, &["sku", "price"], "lane"),
    (Kind::SetAllotment, &["sku", "allotment"], "lane"),
    (Kind::SetLimit, &["limit_per_buyer"], "lane"),
    (Kind::SetRate, &["sku", "rate_per_s"], "lane"),
];

impl NewAction {
    /// What it does.
    ///
    /// # Errors
    /// `invalid_request` that names each member that is missing, or not this action's.
    pub(super) fn deed(&self) -> Result<Deed, Refused> {
        let mut flaws = Flaws::default();
        let given = [
            ("lane", self.lane.is_some()),
            ("sku", self.sku.is_some()),
            ("price", self.price.is_some()),
            ("allotment", self.allotment.is_some()),
            ("limit_per_buyer", self.limit_per_buyer.is_some()),
            ("rate_per_s", self.rate_per_s.is_some()),
        ];
        for (_, needs, may) in MEMBERS.iter().filter(|(kind, ..)| *kind == self.action) {
            for (name, is_given) in given {
                match (needs.contains(&name), is_given) {
                    (true, false) => flaws.add(name, "is needed for this action"),
                    (false, true) if name != *may => flaws.add(name, "does not belong to this action; leave it out"),
                    _ => {}
                }
            }
        }
        flaws.refuse()?;
        let text = |code: &Option<Code>| code.as_ref().map(|code| code.0.clone());
        let set = |to: Option<To>| {
            let to = to.ok_or_else(|| Refused::Broken("an action without its value".into()))?;
            Ok(Deed::Set(Setting { lane: text(&self.lane), sku: text(&self.sku), to }))
        };
        match self.action {
            Kind::Publish => Ok(Deed::Publish),
            Kind::Pause => Ok(Deed::Pause),
            Kind::Resume => Ok(Deed::Resume),
            Kind::Close => Ok(Deed::Close),
            Kind::SetPrice => set(self.price.clone().map(To::Price)),
            Kind::SetAllotment => set(self.allotment.map(To::Allotment)),
            Kind::SetLimit => set(self.limit_per_buyer.map(To::Limit)),
            Kind::SetRate => set(self.rate_per_s.map(To::Rate)),
        }
    }
}

/// Where an action is. It runs in the transaction that notes it done: nobody sees it under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SaleActionState)]
pub(crate) enum State {
    Waiting,
    Done,
    /// It was tried for the last time, or could not be done any more.
    Failed,
    Cancelled,
}

impl State {
    pub(super) const ALL: [Self; 4] = [Self::Waiting, Self::Done, Self::Failed, Self::Cancelled];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A scheduled action.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = SaleAction)]
pub(crate) struct Shown {
    /// Its number, as a decimal string.
    pub(super) id: String,
    pub(super) state: State,
    pub(super) asked: NewAction,
    /// When it is tried next, RFC 3339; missing when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) next_at: Option<String>,
    /// Attempts that failed.
    pub(super) attempts: u32,
    /// Why the last one failed; empty when none did.
    pub(super) reason: String,
    /// Whose permissions it needs.
    pub(super) created_by: String,
    /// Rises with each change.
    pub(super) version: u64,
}

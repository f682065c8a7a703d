//! What the routes of sales take and give.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{
    history::Difference,
    row::Shown,
    terms::{AskedLane, FulfilBy, epoch_ms},
};
use crate::{
    limit_by::LimitBy,
    products::{
        rules::Flaws,
        texts::{Code, Title},
    },
    refused::Refused,
};

const NO_MOMENT: &str = "is no moment; give it as in 2027-01-31T12:00:00Z";

/// A new sale: a draft, until it is published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSale {
    /// The merchant's own code; one of its own in the tenant.
    pub(super) code: Code,
    pub(super) title: Title,
    /// The first moment at which it sells; RFC 3339.
    #[schema(max_length = 35, format = DateTime)]
    pub(super) opens_at: String,
    /// The first moment at which it sells no more; RFC 3339.
    #[schema(max_length = 35, format = DateTime)]
    pub(super) closes_at: String,
    /// Purchases admitted a second from one buyer; 5 when it is left out.
    #[schema(minimum = 1, maximum = 1000000, nullable = false)]
    pub(super) buyer_rate_per_s: Option<u32>,
    /// What its limits count; stays once it is published.
    #[serde(default)]
    pub(super) limit_by: LimitBy,
    /// Sells to members alone.
    #[serde(default)]
    pub(super) members_only: bool,
    /// From when on shoppers may see it, RFC 3339, at most `opens_at`; always when it is left out.
    #[schema(max_length = 35, format = DateTime, nullable = false)]
    pub(super) visible_from: Option<String>,
    /// Seconds that a buyer has to pay; the deployment's default when it is left out.
    #[schema(minimum = 60, maximum = 2592000, nullable = false)]
    pub(super) payment_window_s: Option<u32>,
    #[serde(default)]
    pub(super) fulfilment: FulfilBy,
    /// Days in which an order may be returned.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 366)]
    pub(super) after_sale_days: u16,
    #[schema(min_items = 1, max_items = 1000)]
    pub(super) lanes: Vec<AskedLane>,
    /// It is cloned, and never published itself.
    #[serde(default)]
    pub(super) template: bool,
}

/// What changes of a sale; what is left out stays. Lanes, when they are given, are all of them: a
/// published lane or offer may not vanish.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaleChange {
    #[schema(nullable = false)]
    pub(super) title: Option<Title>,
    #[schema(max_length = 35, format = DateTime, nullable = false)]
    pub(super) opens_at: Option<String>,
    #[schema(max_length = 35, format = DateTime, nullable = false)]
    pub(super) closes_at: Option<String>,
    #[schema(minimum = 1, maximum = 1000000, nullable = false)]
    pub(super) buyer_rate_per_s: Option<u32>,
    #[schema(nullable = false)]
    pub(super) limit_by: Option<LimitBy>,
    #[schema(nullable = false)]
    pub(super) members_only: Option<bool>,
    /// Null for always.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 35, format = DateTime)]
    pub(super) visible_from: Option<Option<String>>,
    #[schema(minimum = 60, maximum = 2592000, nullable = false)]
    pub(super) payment_window_s: Option<u32>,
    #[schema(nullable = false)]
    pub(super) fulfilment: Option<FulfilBy>,
    #[schema(minimum = 0, maximum = 366, nullable = false)]
    pub(super) after_sale_days: Option<u16>,
    #[schema(min_items = 1, max_items = 1000, nullable = false)]
    pub(super) lanes: Option<Vec<AskedLane>>,
}

/// A sale like another one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaleClone {
    /// The code of the new one.
    pub(super) code: Code,
    /// That of the other when it is left out.
    #[schema(nullable = false)]
    pub(super) title: Option<Title>,
    #[schema(max_length = 35, format = DateTime)]
    pub(super) opens_at: String,
    #[schema(max_length = 35, format = DateTime)]
    pub(super) closes_at: String,
    /// Of which version; the newest when it is left out.
    #[schema(minimum = 1, maximum = 9007199254740991_i64, nullable = false)]
    pub(super) version: Option<u64>,
}

/// What a publication would do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DryRun {
    /// The sale as it would be.
    pub(super) sale: Shown,
    /// Against what is published now.
    pub(super) changes: Vec<Difference>,
}

/// The moments of a window that are given.
pub(super) fn window(opens_at: Option<&str>, closes_at: Option<&str>) -> Result<(Option<u64>, Option<u64>), Refused> {
    let mut flaws = Flaws::default();
    let mut moment = |field: &str, text: Option<&str>| {
        let found = text.and_then(epoch_ms);
        if text.is_some() && found.is_none() {
            flaws.add(field, NO_MOMENT);
        }
        found
    };
    let window = (moment("opens_at", opens_at), moment("closes_at", closes_at));
    flaws.refuse().map(|()| window)
}

/// A moment, if one is given.
pub(super) fn moment(field: &'static str, text: Option<&str>) -> Result<Option<u64>, Refused> {
    let read = |text| epoch_ms(text).ok_or_else(|| Refused::field(field, NO_MOMENT));
    text.map(read).transpose()
}

/// A member that is there, null or not; a missing one is `None` by default.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

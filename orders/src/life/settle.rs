//! A provider's bill of one day beside what was booked of a tenant's orders: read whole or not at
//! all, each difference listed. It changes nothing.

use domain::{
    id::{OrderId, TenantId},
    shard::ShardId,
};
use kit::{
    access::Permission,
    api::{Access, Call, Route},
    http::{Body, Mount, Response, StatusCode, reply},
    openapi::{Responses, refusals},
    problem::{Code, Problem},
};
use serde::Serialize;
use store::sql::{SqlError, Value, stored};
use utoipa::{IntoResponses, OpenApi, ToSchema};

use super::{ports::Kinds, refused::Refused, service::Life};
use crate::{
    payment::{ProviderKind, attempt::AttemptState, beijing, pacer::RefundPhase},
    settlement::{self, BillError, Difference, Entry, Kind, Listed, Report, Totals},
};

/// Largest bill: some 200,000 lines.
const BILL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most differences that one answer lists.
const LISTED_MAX: usize = 10_000;
/// Rows that are read at once.
const PAGE: u32 = 2_000;
const DAY_MS: u64 = 86_400_000;
/// How far the clocks of ids and of providers may be apart.
const CLOCKS_MS: u64 = 3_600_000;
/// An attempt is paid within so long of its order: the longest that a provider keeps one open, and
/// a day for late notices and clocks.
const ORDER_BEFORE_MS: u64 = 16 * DAY_MS;

const PAID: &str = "SELECT order_id, attempt, number, COALESCE(provider_number, ''), amount FROM attempts \
                    WHERE order_id >= ? AND order_id < ? AND tenant = ? AND provider = ? AND state = ? \
                    AND paid_at >= ? AND paid_at < ? ORDER BY order_id, attempt LIMIT ?";
const REFUNDED: &str = "SELECT r.order_id, r.refund, r.number, COALESCE(a.provider_number, ''), r.amount \
                        FROM refunds r JOIN attempts a ON a.order_id = r.order_id AND a.attempt = r.attempt \
                        WHERE r.order_id >= ? AND r.order_id < ? AND r.tenant = ? AND a.provider = ? AND r.state = ? \
                        AND r.done_at >= ? AND r.done_at < ? ORDER BY r.order_id, r.refund LIMIT ?";

/// Sums of one side, in minor units.
#[derive(Debug, Serialize, ToSchema)]
struct SumsShown {
    received: i64,
    refunded: i64,
}

/// One difference.
#[derive(Debug, Serialize, ToSchema)]
struct DifferenceShown {
    /// `payment` or `refund`.
    #[schema(value_type = String)]
    kind: &'static str,
    /// `missing_here`: the bill alone has it; `missing_there`: we alone; `amount_differs`.
    #[schema(value_type = String)]
    difference: &'static str,
    /// Our number, of the attempt or refund.
    number: String,
    /// The provider's number of the payment; empty where neither side has it.
    provider_number: String,
    /// In minor units, by us.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ours: Option<i64>,
    /// In minor units, by the bill.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    theirs: Option<i64>,
}

/// A bill beside our books.
#[derive(Debug, Serialize, ToSchema)]
struct SettlementShown {
    #[schema(value_type = String)]
    provider: &'static str,
    /// In Beijing.
    day: String,
    ours: SumsShown,
    theirs: SumsShown,
    /// What the bill has more than we, received less refunded, in minor units.
    difference: i64,
    /// What the provider keeps, in hundred-thousandths of the currency's unit, as WeChat writes it.
    fees_e5: i64,
    /// Payments first, by number; the first 10,000.
    differences: Vec<DifferenceShown>,
    /// Differences beyond those.
    left_out: usize,
}

/// The refusals of a bill.
struct BillRefused;

impl IntoResponses for BillRefused {
    fn responses() -> Responses {
        refusals(&[
            (Code::InvalidRequest, "the day is none, or the bill is not whole: it says where; nothing was compared"),
            (Code::Unauthenticated, ""),
            (Code::Forbidden, ""),
            (Code::NotFound, "no such provider"),
            (Code::TooLarge, ""),
            (Code::RateLimited, ""),
            (Code::Overloaded, "other large bodies are being read"),
            (Code::TemporarilyUnavailable, ""),
            (Code::Internal, ""),
        ])
    }
}

#[derive(OpenApi)]
#[openapi(paths(settle))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Life<K>>>> {
    let route = Route::new(Access::Needs(Permission::ReadPayments), |life, call| Box::pin(settle(life, call)));
    let route = route.with_upload(BILL_BYTES_MAX).that_reads();
    vec![Mount::post("/v1/merchant/settlements/{provider}/{day}", "settle_day", route)]
}

/// Holds a provider's trade bill of one day against what was booked. A refund stands on the day on
/// which the buyer had the money.
#[utoipa::path(
    post, path = "/v1/merchant/settlements/{provider}/{day}", operation_id = "settle_day", tag = "payments",
    security(("merchant" = [])),
    params(
        ("provider" = String, Path, description = "`wechat` or `alipay`."),
        ("day" = String, Path, description = "Of the bill, in Beijing, such as `2026-11-11`.")
    ),
    request_body(
        description = "The bill as it was downloaded (WeChat: `bill_type=ALL`), unpacked, at most 64 MiB; by way of \
                       the engine at most 256 KiB.",
        content((String = "text/csv"))
    ),
    responses((status = 200, body = SettlementShown), BillRefused)
)]
async fn settle<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = TenantId::new(call.actor.tenant.into()).map_err(|_none| Refused::not_found())?;
    let (name, day): (String, String) = (call.part("provider")?, call.part("day")?);
    let provider = ProviderKind::named(&name).filter(|provider| *provider != ProviderKind::Simulated);
    let provider = provider.ok_or_else(|| Problem::new(Code::NotFound, "there are no bills of such a provider"))?;
    let invalid = |field: &'static str, message: String| {
        Problem::new(Code::InvalidRequest, "nothing was compared; see `errors`").with_field(field, message)
    };
    let begin_ms =
        Some(&day).filter(|day| day.len() == 10).and_then(|day| beijing::read_plain(&format!("{day} 00:00:00")));
    let begin_ms = begin_ms.ok_or_else(|| invalid("day", "is no day: give it as 2026-11-11".to_owned()))?;
    let mut text = Vec::new();
    while let Some(piece) = call.piece().await? {
        text.extend_from_slice(&piece);
    }
    let ours = life.booked(tenant, provider, begin_ms).await?;
    // Off the threads that answer others: a bill is large.
    let compared = tokio::task::spawn_blocking(move || compared(provider, &text, &ours)).await;
    let compared = compared.map_err(|_gone| Problem::new(Code::Internal, "the bill could not be compared"))?;
    let (report, fees_e5) = compared.map_err(|error| invalid("body", error.to_string()))?;
    let shown = shown(provider, day, report, fees_e5);
    let shown = shown.ok_or_else(|| invalid("body", BillError::TooLarge.to_string()))?;
    Ok(reply::json(StatusCode::OK, &shown))
}

fn compared(provider: ProviderKind, text: &[u8], ours: &[Entry]) -> Result<(Report, i64), BillError> {
    let bill = match provider {
        ProviderKind::Alipay => settlement::alipay::read(text)?,
        _ => settlement::wechat::read(text)?,
    };
    Ok((settlement::compare(ours, &bill.entries)?, bill.fees_e5))
}

/// `None`: more than a number of JSON holds.
fn shown(provider: ProviderKind, day: String, report: Report, fees_e5: i64) -> Option<SettlementShown> {
    let sums = |totals: Totals| {
        let (received, refunded) = (i64::try_from(totals.received).ok()?, i64::try_from(totals.refunded).ok()?);
        Some(SumsShown { received, refunded })
    };
    Some(SettlementShown {
        provider: provider.as_str(),
        day,
        ours: sums(report.ours)?,
        theirs: sums(report.theirs)?,
        difference: i64::try_from(report.difference()).ok()?,
        fees_e5,
        left_out: report.differences.len().saturating_sub(LISTED_MAX),
        differences: report.differences.into_iter().take(LISTED_MAX).map(difference).collect(),
    })
}

fn difference(listed: Listed) -> DifferenceShown {
    let (difference, ours, theirs) = match listed.difference {
        Difference::MissingHere { theirs } => ("missing_here", None, Some(theirs)),
        Difference::MissingThere { ours } => ("missing_there", Some(ours), None),
        Difference::AmountDiffers { ours, theirs } => ("amount_differs", Some(ours), Some(theirs)),
    };
    let kind = if listed.kind == Kind::Payment { "payment" } else { "refund" };
    let (number, provider_number) = (listed.number, listed.provider_number);
    DifferenceShown { kind, difference, number, provider_number, ours, theirs }
}

impl<K: Kinds> Life<K> {
    /// What was booked of a tenant at a provider in the day that begins then.
    async fn booked(&self, tenant: TenantId, provider: ProviderKind, begin_ms: u64) -> Result<Vec<Entry>, Refused> {
        let (end_ms, mut booked) = (begin_ms + DAY_MS, Vec::new());
        // Ids of orders rise with time: those before cannot have been paid on this day. A refund
        // may be of any order.
        let first = OrderId::floor_at(begin_ms.saturating_sub(ORDER_BEFORE_MS));
        let looks = [
            (PAID, Kind::Payment, AttemptState::Paid.stored(), first),
            (REFUNDED, Kind::Refund, RefundPhase::Done.stored(), 0),
        ];
        for shard in (0..self.orders().map().shards()).map(ShardId) {
            for (query, kind, state, first) in looks {
                self.book((shard, query, kind, state), (tenant, provider), (begin_ms, end_ms, first), &mut booked)
                    .await?;
            }
        }
        Ok(booked)
    }

    /// Adds what a query finds in a shard, page by page.
    async fn book(
        &self,
        (shard, query, kind, state): (ShardId, &str, Kind, u8),
        (tenant, provider): (TenantId, ProviderKind),
        (begin_ms, end_ms, first): (u64, u64, u64),
        booked: &mut Vec<Entry>,
    ) -> Result<(), Refused> {
        let behind = OrderId::floor_at(end_ms + CLOCKS_MS);
        // A page begins with the order that the one before ended with: what was read is left out.
        let mut last = (first, 0_u32);
        loop {
            let params: Vec<Value> = vec![
                stored(last.0)?.into(),
                stored(behind)?.into(),
                tenant.stored().into(),
                provider.as_str().into(),
                state.into(),
                stored(begin_ms)?.into(),
                stored(end_ms)?.into(),
                PAGE.into(),
            ];
            let rows = self.orders().beside(shard, query, params).await?;
            let (is_last, before) = (rows.len() < PAGE as usize, last);
            for mut row in rows {
                let place = (row.number()?, row.number()?);
                if place > last {
                    last = place;
                    let (number, provider_number, amount) = (row.text()?, row.text()?, row.int()?);
                    booked.push(Entry { kind, number, provider_number, amount });
                }
            }
            if is_last {
                return Ok(());
            }
            if last == before {
                return Err(SqlError::Broken(format!("order {} fills a page of {PAGE}", last.0).into()).into());
            }
        }
    }
}

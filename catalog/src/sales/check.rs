//! The facts by which a sale is looked at (`readiness`), and when: as asked, before it is
//! published, and before it opens.

/// What is known beyond the databases of rows.
mod outside;

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    sync::LazyLock,
};

use domain::id::{LaneId, OfferId};
use kit::{
    api::Call,
    clock::{Clock as _, rfc3339},
    http::{Body, Response, StatusCode, reply},
    problem::{Code, Problem},
};
use store::{
    ledger::LaneRow,
    sql::{Fixed, Sql as _, SqlError, Tx as _, Value, stored},
};

use super::{
    row::{Kept, read_terms},
    terms::{LaneTerms, OfferTerms},
};
use crate::{
    plans::{self, TenantState},
    ports::Ports,
    readiness::{self, AHEAD_MS, Article, Facts, Finding, LaneFacts, LedgerLane, OfferFacts, Payable, Report},
    refused::Refused,
    service::Catalog,
    stock::{Share, in_reach},
};

/// How often a sale is looked at that opens soon.
const EVERY_MS: u64 = 60_000;
/// Sales that one round looks at.
const ROUND_MAX: u32 = 50;
/// Sales at the same time that are named.
const OTHERS_MAX: u32 = 100;

const OPENING: &str = "SELECT s.tenant, s.sale FROM sales s \
                       LEFT JOIN sale_reports r ON r.tenant = s.tenant AND r.sale = s.sale \
                       WHERE s.opens_at > ? AND s.opens_at <= ? AND s.published > 0 AND s.is_settled = 0 \
                       AND (r.checked_at IS NULL OR r.checked_at <= ?) ORDER BY s.opens_at LIMIT ?";
const OTHERS: &str = "SELECT code, terms FROM sales WHERE tenant = ? AND sale <> ? AND is_template = 0 \
                      AND is_settled = 0 AND opens_at < ? AND closes_at > ? ORDER BY sale LIMIT ?";
const LAST: &str = "SELECT report FROM sale_reports WHERE tenant = ? AND sale = ?";

static ARTICLES: LazyLock<Fixed> =
    LazyLock::new(|| Fixed::new("SELECT sku, price, currency, state FROM skus WHERE tenant = ? AND sku IN ([?,])"));

/// Who is not asked again while one sale is looked at after the other: an answer that did not come
/// is waited for once.
#[derive(Debug, Default)]
struct Away {
    /// Why a stock server did not answer.
    stock: Option<String>,
    /// What is known of payments instead of an answer.
    orders: Option<Payable>,
}

/// What refuses the publication of a sale. The order service is not waited for: what it knows
/// refuses none.
///
/// # Errors
/// [`Refused::Sql`].
pub(super) async fn before_publishing<P: Ports>(
    catalog: &Catalog<P>,
    tenant: u32,
    kept: &Kept,
) -> Result<Vec<Finding>, Refused> {
    let mut away = Away { orders: Some(Payable::Unasked), ..Away::default() };
    Ok(readiness::before_publishing(look(catalog, tenant, kept, &mut away).await?.findings))
}

/// Looks at a sale now.
async fn look<P: Ports>(catalog: &Catalog<P>, tenant: u32, kept: &Kept, away: &mut Away) -> Result<Report, Refused> {
    let facts = facts(catalog, tenant, kept, away).await?;
    let findings = readiness::findings(&facts);
    Ok(Report {
        sale: kept.sale.to_string(),
        version: kept.version,
        checked_at: rfc3339(facts.now_ms),
        is_ready: readiness::is_ready(&findings),
        findings,
    })
}

/// Refuses a publication for what is red before it.
///
/// # Errors
/// `conflict` that names each reason and what to do; `current` has the findings.
pub(super) fn refuse(findings: &[Finding]) -> Result<(), Refused> {
    if findings.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = findings.iter().map(|finding| format!("{}: {}", finding.reason, finding.remedy)).collect();
    Err(Problem::new(Code::Conflict, told.join("; ")).with_current(&findings).into())
}

/// Looks at the sales that open soon, and keeps what it found. A red finding is an alarm.
///
/// # Errors
/// [`Refused::Sql`]; the next round goes on.
pub(super) async fn round<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    let now_ms = catalog.clock().now_ms();
    let times = [now_ms, now_ms + AHEAD_MS, now_ms.saturating_sub(EVERY_MS)];
    let mut values: Vec<Value> =
        times.into_iter().map(|time| Ok(stored(time)?.into())).collect::<Result<_, SqlError>>()?;
    values.push(ROUND_MAX.into());
    let mut away = Away::default();
    for mut row in catalog.sql().rows(OPENING, values).await? {
        let (tenant, sale): (u32, i64) = (row.number()?, row.int()?);
        let kept = Kept::find(catalog.sql(), tenant, sale).await?;
        let report = look(catalog, tenant, &kept, &mut away).await?;
        for finding in report.findings.iter().filter(|finding| finding.light == readiness::Light::Red) {
            let Finding { code, field, reason, .. } = finding;
            tracing::error!(tenant, sale, code, field, reason, "a sale is about to open and is not ready");
        }
        let text = serde_json::to_string(&report).map_err(|error| Refused::Broken(error.to_string()))?;
        let row = vec![tenant.into(), sale.into(), stored(now_ms)?.into(), text.as_str().into()];
        let mut tx = catalog.sql().begin().await?;
        tx.upsert("sale_reports", &["tenant", "sale"], &["checked_at", "report"], row).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Looks whether a sale is ready to sell: what stands against it, and what to do. It changes
/// nothing.
#[utoipa::path(
    post, path = "/v1/merchant/sales/{sale}/check", operation_id = "check_sale", tag = "sales",
    security(("merchant" = [])), params(("sale" = String, Path, description = "Its number.")),
    responses((status = 200, body = Report), crate::document::Read)
)]
pub(super) async fn now<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, sale): (u32, i64) = (call.actor.tenant, call.part("sale")?);
    let kept = Kept::find(catalog.sql(), tenant, sale).await?;
    Ok(reply::json(StatusCode::OK, &look(catalog, tenant, &kept, &mut Away::default()).await?))
}

/// What the last look before the opening of a sale found; such a look is made each minute of the
/// ten before it.
#[utoipa::path(
    get, path = "/v1/merchant/sales/{sale}/check", operation_id = "last_sale_check", tag = "sales",
    security(("merchant" = [])), params(("sale" = String, Path, description = "Its number.")),
    responses((status = 200, body = Report), crate::document::Read)
)]
pub(super) async fn last<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, sale): (u32, i64) = (call.actor.tenant, call.part("sale")?);
    let row = catalog.sql().rows(LAST, vec![tenant.into(), sale.into()]).await?.into_iter().next();
    let text = row.ok_or_else(|| Refused::not_found("look at this sale: it is made before it opens"))?.text()?;
    Ok(reply::json(StatusCode::OK, &Report::read(&text)?))
}

async fn facts<P: Ports>(catalog: &Catalog<P>, tenant: u32, kept: &Kept, away: &mut Away) -> Result<Facts, Refused> {
    let ledger_now_ms = catalog.selling().ledger.now_ms().await?;
    let tenancy = plans::tenancy(catalog.sql(), tenant).await?;
    let (lanes, offers) = (ledger_lanes(catalog, kept).await?, offers(catalog, tenant, kept).await?);
    let mut stock = outside::stock(catalog, kept, &lanes, &mut away.stock).await;
    let mut lane_facts = |(at, lane): (usize, &LaneTerms)| LaneFacts {
        field: format!("lanes[{at}]"),
        stock: stock.remove(&lane.id),
        limit_per_buyer: lane.limit_per_buyer,
        ledger: lanes.get(&lane.id).map(|(row, is_distrusted)| LedgerLane {
            is_retired: row.is_retired,
            is_distrusted: *is_distrusted,
            limit_per_buyer: row.limit_per_buyer,
        }),
    };
    let targets: HashMap<OfferId, u64> =
        lanes.values().flat_map(|(row, _)| &row.offers).map(|offer| (offer.offer, offer.target)).collect();
    let target = |id: i64| OfferId::new(id.cast_unsigned()).ok().and_then(|id| targets.get(&id).copied());
    Ok(Facts {
        now_ms: catalog.clock().now_ms(),
        ledger_now_ms,
        opens_at: kept.terms.opens_at,
        closes_at: kept.terms.closes_at,
        published: kept.published,
        engines: outside::engines(catalog, kept).await?,
        payable: outside::payable(catalog, tenant, &mut away.orders).await,
        stock_away: away.stock.clone(),
        is_published: kept.published > 0 && !kept.is_settled,
        is_due: kept.is_due,
        is_suspended: tenancy.is_none_or(|tenancy| tenancy.state == TenantState::Suspended),
        has_token_key: catalog.buyer_tokens().is_some(),
        lanes: kept.terms.lanes.iter().enumerate().map(&mut lane_facts).collect(),
        offers: offers.into_iter().map(|(id, offer)| OfferFacts { target: target(id), ..offer }).collect(),
    })
}

/// Rows of the ledger, and whether Redis is to be set right by them.
async fn ledger_lanes<P: Ports>(catalog: &Catalog<P>, kept: &Kept) -> Result<BTreeMap<i64, (LaneRow, bool)>, Refused> {
    let (ledger, mut found) = (&catalog.selling().ledger, BTreeMap::new());
    let mut distrusted: HashMap<_, HashSet<LaneId>> = HashMap::new();
    for lane in kept.terms.lanes.iter().filter(|_| kept.published > 0) {
        let id = LaneId::new(lane.id.cast_unsigned()).map_err(|error| SqlError::Broken(error.to_string().into()))?;
        let Some(row) = ledger.lane(id).await? else { continue };
        let lanes = match distrusted.entry(row.partition) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(ledger.distrusted(row.partition).await?.into_iter().collect()),
        };
        let is_distrusted = lanes.contains(&id);
        found.insert(lane.id, (row, is_distrusted));
    }
    Ok(found)
}

/// Facts of each offer, after its number.
async fn offers<P: Ports>(catalog: &Catalog<P>, tenant: u32, kept: &Kept) -> Result<Vec<(i64, OfferFacts)>, Refused> {
    let (articles, others) = (articles(catalog, tenant, kept).await?, others(catalog, tenant, kept).await?);
    let now_ms = stored(catalog.clock().now_ms())?;
    let mut found = Vec::new();
    for (place, lane) in kept.terms.lanes.iter().enumerate() {
        for (at, offer) in lane.offers.iter().enumerate() {
            let OfferTerms { id, sku_id, .. } = *offer;
            let in_reach = match &offer.warehouse {
                Some(source) if !kept.is_settled => {
                    let share = Share { warehouse: source.id, sku: sku_id, units: 0 };
                    Some(in_reach(catalog.sql(), tenant, share, (id, now_ms)).await?)
                }
                _ => None,
            };
            let facts = OfferFacts {
                field: format!("lanes[{place}].offers[{at}]"),
                sku: offer.sku.clone(),
                currency: offer.price.currency.0.clone(),
                amount: offer.price.amount,
                allotment: offer.allotment,
                rate_per_s: offer.rate_per_s,
                in_reach,
                target: None,
                article: articles.get(&sku_id).cloned(),
                others: others.get(&sku_id).cloned().unwrap_or_default(),
            };
            found.push((id, facts));
        }
    }
    Ok(found)
}

async fn articles<P: Ports>(catalog: &Catalog<P>, tenant: u32, kept: &Kept) -> Result<HashMap<i64, Article>, Refused> {
    let mut numbers: Vec<i64> = kept.terms.offers().map(|offer| offer.sku_id).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut found = HashMap::new();
    for (query, numbers) in ARTICLES.padded(&numbers) {
        let values = std::iter::once(tenant.into()).chain(numbers.into_iter().map(Value::from)).collect();
        for mut row in catalog.sql().rows(query, values).await? {
            let (sku, amount, currency) = (row.int()?, row.int()?, row.text()?);
            found.insert(sku, Article { currency, amount, is_active: row.text()? == "active" });
        }
    }
    Ok(found)
}

/// Codes of other sales at the same time, by SKU.
async fn others<P: Ports>(
    catalog: &Catalog<P>,
    tenant: u32,
    kept: &Kept,
) -> Result<HashMap<i64, Vec<String>>, Refused> {
    let (opens_at, closes_at) = (stored(kept.terms.opens_at)?, stored(kept.terms.closes_at)?);
    let values = vec![tenant.into(), kept.sale.into(), closes_at.into(), opens_at.into(), OTHERS_MAX.into()];
    let mut found: HashMap<i64, Vec<String>> = HashMap::new();
    for mut row in catalog.sql().rows(OTHERS, values).await? {
        let (code, terms) = (row.text()?, read_terms(&row.text()?)?);
        let skus: HashSet<i64> = terms.offers().map(|offer| offer.sku_id).collect();
        skus.into_iter().for_each(|sku| found.entry(sku).or_default().push(code.clone()));
    }
    Ok(found)
}

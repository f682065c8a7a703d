//! Plans: checked, published, listed; and which sales pay commissions.

use domain::id::SaleId;
use kit::{
    access::Permission,
    api::{Access, Call, Route},
    clock::rfc3339,
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
    openapi::IdempotencyKey,
};
use serde::{Deserialize, Serialize};
use store::sql::{Row, Sql as _, SqlError, Tx as _, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    Distribution, Kinds, LEAD_MS, Refused,
    answers::{Changed, Page, Read},
    change::Begun,
};
use crate::{
    check::check,
    plan::Plan,
    published::{self, New, document as read_plan, unsupported},
};

const COLUMNS: &str = "version, name, from_ms, document, worst, sign_off, published_at, published_by";
const LAST: &str = "SELECT version, from_ms FROM plans WHERE tenant = ? ORDER BY version DESC LIMIT 1";
const SWITCH: &str = "INSERT INTO sale_switches (sale, from_ms, tenant, is_on, who) VALUES (?, ?, ?, ?, ?)";

/// A plan to be published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPlan {
    /// The plan in its text form, with the version that follows the last one.
    #[schema(min_length = 1, max_length = 20_000)]
    text: String,
    /// Who answers for it, where its profile asks for that.
    #[schema(min_length = 1, max_length = 191, nullable = false)]
    sign_off: Option<String>,
    /// Checks it, and publishes nothing.
    #[serde(default)]
    dry_run: bool,
}

/// A published plan.
#[derive(Debug, Serialize, ToSchema)]
struct PlanShown {
    version: u32,
    name: String,
    /// Orders from here on freeze it, RFC 3339.
    from: String,
    /// The plan, as people write it.
    text: String,
    /// What a line may cost at most, in millionths of its net.
    worst_ppm: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    sign_off: Option<String>,
    /// RFC 3339.
    published_at: String,
    /// Who: `user:7`, `key:7`.
    published_by: String,
}

/// Whether a sale pays commissions.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Switch {
    /// Lines of flash sales pay nothing unless this is set.
    enabled: bool,
}

#[derive(OpenApi)]
#[openapi(paths(list, publish, show, switch))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Distribution<K>>>> {
    const PLANS: &str = "/v1/merchant/commissions/plans";
    let (read, write) = (Access::Needs(Permission::ReadPayments), Access::Needs(Permission::WritePayments));
    vec![
        Mount::get(PLANS, "commission_plans", Route::new(read, |service, call| Box::pin(list(service, call)))),
        Mount::post(
            PLANS,
            "publish_commission_plan",
            Route::new(write, |service, call| Box::pin(publish(service, call))),
        ),
        Mount::get(
            "/v1/merchant/commissions/plans/{version}",
            "commission_plan",
            Route::new(read, |service, call| Box::pin(show(service, call))),
        ),
        Mount::put(
            "/v1/merchant/commissions/sales/{sale_id}",
            "switch_commissions",
            Route::new(write, |service, call| Box::pin(switch(service, call))),
        ),
    ]
}

fn shown(mut row: Row) -> Result<PlanShown, SqlError> {
    let (version, name, from): (_, _, u64) = (row.number()?, row.text()?, row.number()?);
    let plan = read_plan(&mut row)?;
    Ok(PlanShown {
        version,
        name,
        from: rfc3339(from),
        text: plan.to_string(),
        worst_ppm: row.int()?,
        sign_off: row.text_or_null()?,
        published_at: rfc3339(row.number()?),
        published_by: row.text()?,
    })
}

/// The shop's plans, the last version first.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/plans", operation_id = "commission_plans", tag = "commissions",
    security(("merchant" = [])), params(PageAsked), responses((status = 200, body = inline(Page<PlanShown>)), Read)
)]
async fn list<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, asked) = (Distribution::<K>::tenant(call)?, call.page()?);
    let query = format!("SELECT {COLUMNS} FROM plans WHERE tenant = ? AND version < ? ORDER BY version DESC LIMIT ?");
    let after = Page::<PlanShown>::after(&asked, i64::MAX)?;
    let rows = service.sql().rows(&query, vec![tenant.stored().into(), after.into(), (asked.limit + 1).into()]).await?;
    let plans = rows.into_iter().map(shown).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(plans, &asked, |plan| plan.version.to_string())))
}

/// A published plan.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/plans/{version}", operation_id = "commission_plan", tag = "commissions",
    security(("merchant" = [])), params(("version" = u32, Path, description = "Its version.")),
    responses((status = 200, body = PlanShown), Read)
)]
async fn show<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, version): (_, u32) = (Distribution::<K>::tenant(call)?, call.part("version")?);
    let query = format!("SELECT {COLUMNS} FROM plans WHERE tenant = ? AND version = ?");
    let rows = service.sql().rows(&query, vec![tenant.stored().into(), version.into()]).await?;
    let plan = rows.into_iter().next().map(shown).transpose()?.ok_or_else(|| Refused::not_found("plan"))?;
    Ok(reply::json(StatusCode::OK, &plan))
}

/// A plan that may be published, and what a line may cost at most; or all that is wrong with it.
pub(super) fn read_and_check<K: Kinds>(
    service: &Distribution<K>,
    text: &str,
    sign_off: Option<&str>,
) -> Result<(Plan, i64), Refused> {
    let plan: Plan = text.parse().map_err(|flaws: crate::plan::Flaws| {
        Refused::fields(flaws.0.iter().map(|flaw| (format!("text:{}:{}", flaw.line, flaw.column), flaw.what.clone())))
    })?;
    let checked = check(&plan, &service.profiles, sign_off);
    let mut flaws: Vec<(String, String)> = checked
        .as_ref()
        .err()
        .into_iter()
        .flatten()
        .map(|refusal| (refusal.at.clone(), format!("{}: {}", refusal.rule, refusal.what)))
        .collect();
    flaws.extend(unsupported(&plan).into_iter().map(|(at, what)| (at, what.to_owned())));
    match (flaws.is_empty(), checked) {
        (true, Ok(worst)) => Ok((plan, worst)),
        _ => Err(Refused::fields(flaws)),
    }
}

/// Checks and publishes a plan. It never changes afterwards: a change is the next version.
#[utoipa::path(
    post, path = "/v1/merchant/commissions/plans", operation_id = "publish_commission_plan", tag = "commissions",
    security(("merchant" = [])), request_body = NewPlan, params(IdempotencyKey),
    responses((status = 200, body = PlanShown, description = "Checked, by `dry_run`"),
        (status = 201, body = PlanShown), Changed)
)]
async fn publish<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = Distribution::<K>::tenant(call)?;
    let asked: NewPlan = call.json()?;
    let (plan, worst) = read_and_check(service, &asked.text, asked.sign_off.as_deref())?;
    let who = call.actor.who.to_string();
    let now_ms = service.now_ms();
    let from_ms = plan.from.and_then(|from| u64::try_from(from).ok()).unwrap_or(0).max(now_ms + LEAD_MS);
    let answer = PlanShown {
        version: plan.version,
        name: plan.name.clone(),
        from: rfc3339(from_ms),
        text: plan.to_string(),
        worst_ppm: worst,
        sign_off: asked.sign_off.clone(),
        published_at: rfc3339(now_ms),
        published_by: who.clone(),
    };
    if asked.dry_run {
        return Ok(reply::json(StatusCode::OK, &answer));
    }
    let mut change = match service.begin(call, tenant).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let last = change.tx.rows(LAST, vec![tenant.stored().into()]).await?.into_iter().next();
    let (last, last_from) =
        last.map(|mut row| Ok::<(u32, u64), SqlError>((row.number()?, row.number()?))).transpose()?.unwrap_or_default();
    if plan.version != last + 1 || from_ms < last_from {
        return Err(Refused::conflict(format!(
            "version {last} is the last one: publish version {}, in force no earlier than that one",
            last + 1
        )));
    }
    let new = New { plan: &plan, from_ms, worst, sign_off: asked.sign_off.as_deref(), now_ms, who: &who };
    if !published::publish(&mut change.tx, tenant, new).await? {
        return Err(Refused::conflict("this version was published meanwhile: look at it, then publish the next one"));
    }
    let what = ("commissions.publish", format!("plan:{}", plan.version));
    change.commit(what, None, (StatusCode::CREATED, &answer)).await
}

/// Switches the commissions of a sale on or off, for its orders from two seconds ahead.
#[utoipa::path(
    put, path = "/v1/merchant/commissions/sales/{sale_id}", operation_id = "switch_commissions", tag = "commissions",
    security(("merchant" = [])), request_body = Switch,
    params(("sale_id" = String, Path, description = "The sale.")),
    responses((status = 200, body = Switch), Changed)
)]
async fn switch<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, sale): (_, SaleId) = (Distribution::<K>::tenant(call)?, call.part("sale_id")?);
    let asked: Switch = call.json()?;
    let mut change = match service.begin(call, tenant).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let from_ms = stored(change.now_ms + LEAD_MS)?;
    let row = vec![
        sale.stored().into(),
        from_ms.into(),
        tenant.stored().into(),
        u8::from(asked.enabled).into(),
        (&*change.who).into(),
    ];
    if !change.tx.insert_absent(SWITCH, row).await? {
        return Err(Refused::conflict("somebody switched this sale in the same moment: look, then do it again"));
    }
    change.commit(("commissions.switch", format!("sale:{sale}")), None, (StatusCode::OK, &asked)).await
}

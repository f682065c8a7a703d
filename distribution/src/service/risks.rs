//! The risk queue: what the watch found, and what a person of the shop decided about it.

use domain::id::BuyerId;
use kit::{
    access::Permission,
    api::{Access, Call, Route},
    clock::rfc3339,
    http::{Body, Mount, PageAsked, Response, StatusCode, reply, wrong_parameter},
    openapi::IdempotencyKey,
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Row, Sql as _, SqlError, Tx as _, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    Distribution, Kinds, Refused,
    answers::{Changed, Page, Read},
    change::Begun,
    holds,
};

const COLUMNS: &str = "risk, kind, person, other, order_id, times, found_at, last_at, decision, decided_at, \
                       decided_by, reason";
const DECIDE: &str = "UPDATE risks SET decision = ?, decided_at = ?, decided_by = ?, reason = ? \
                      WHERE tenant = ? AND risk = ?";

/// What is done about a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// Nothing.
    Dismissed,
    /// The withdrawals of its people are held.
    Held,
}

/// A decision.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewVerdict {
    decision: Verdict,
    /// Why; kept in the history. No personal data.
    #[schema(min_length = 1, max_length = 191)]
    reason: String,
}

/// What the watch found.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct RiskShown {
    /// Its number, a decimal string.
    risk: String,
    /// `self_purchase`: somebody is paid on what the same person bought. `ring`: two are paid on
    /// what the other one bought. `levels`: an order pays so many people. `people`: the shop has
    /// paid so many people.
    kind: String,
    /// Whom it is about.
    people: Vec<String>,
    /// Of `levels` and `people`: how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    count: Option<i64>,
    /// The last order that showed it.
    order_id: String,
    /// Orders that showed it.
    times: i64,
    /// RFC 3339.
    found_at: String,
    /// RFC 3339.
    last_at: String,
    /// `dismissed` or `held`; missing: open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    decision: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    decided_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    decided_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    #[serde(skip)]
    persons: Vec<i64>,
}

impl RiskShown {
    fn read(mut row: Row) -> Result<Self, SqlError> {
        let (risk, kind, person, other) = (row.int()?.to_string(), row.text()?, row.int()?, row.int()?);
        // A finding about nobody has a number in the place of the other one.
        let persons: Vec<i64> =
            if person == 0 { Vec::new() } else { [person, other].into_iter().filter(|id| *id != 0).collect() };
        Ok(Self {
            risk,
            kind,
            people: persons.iter().map(i64::to_string).collect(),
            count: (person == 0).then_some(other),
            order_id: row.int()?.to_string(),
            times: row.int()?,
            found_at: rfc3339(row.number()?),
            last_at: rfc3339(row.number()?),
            decision: row.text_or_null()?,
            decided_at: row.time_or_null()?.map(rfc3339),
            decided_by: row.text_or_null()?,
            reason: row.text_or_null()?,
            persons,
        })
    }
}

#[derive(OpenApi)]
#[openapi(paths(list, decide))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Distribution<K>>>> {
    let (read, write) = (Access::Needs(Permission::ReadPayments), Access::Needs(Permission::WritePayments));
    vec![
        Mount::get(
            "/v1/merchant/commissions/risks",
            "commission_risks",
            Route::new(read, |service, call| Box::pin(list(service, call))),
        ),
        Mount::post(
            "/v1/merchant/commissions/risks/{risk}/decision",
            "decide_commission_risk",
            Route::new(write, |service, call| Box::pin(decide(service, call))),
        ),
    ]
}

/// What the watch over paid commissions found, the newest first. It looks at an order a day after
/// it was made. Events of orders name no device and no payer: their overlap is not found.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/risks", operation_id = "commission_risks", tag = "commissions",
    security(("merchant" = [])),
    params(("open" = Option<bool>, Query, description = "Only those that wait for a decision.", nullable = false), PageAsked),
    responses((status = 200, body = inline(Page<RiskShown>)), Read)
)]
async fn list<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = Distribution::<K>::tenant(call)?;
    let query = call.query(&["open", "cursor", "limit"])?;
    let asked = PageAsked::of(&query)?;
    let only = match query.get("open") {
        Some("true") => "AND decision IS NULL",
        None | Some("false") => "",
        Some(_) => return Err(wrong_parameter("open", "give true or false").into()),
    };
    let query = format!("SELECT {COLUMNS} FROM risks WHERE tenant = ? AND risk < ? {only} ORDER BY risk DESC LIMIT ?");
    let before = Page::<RiskShown>::after(&asked, i64::MAX)?;
    let params = vec![Value::from(tenant.stored()), before.into(), (asked.limit + 1).into()];
    let rows = service.sql().rows(&query, params).await?;
    let rows = rows.into_iter().map(RiskShown::read).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(rows, &asked, |shown| shown.risk.clone())))
}

/// Decides about a finding, once: it is dismissed, or the withdrawals of its people are held. A
/// hold is released as others are.
#[utoipa::path(
    post, path = "/v1/merchant/commissions/risks/{risk}/decision", operation_id = "decide_commission_risk",
    tag = "commissions", security(("merchant" = [])), request_body = NewVerdict,
    params(("risk" = String, Path, description = "Its number."), IdempotencyKey),
    responses((status = 200, body = RiskShown), Changed)
)]
async fn decide<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, number): (_, u64) = (Distribution::<K>::tenant(call)?, call.part("risk")?);
    let asked: NewVerdict = call.json()?;
    let number = stored(number).map_err(|_| Refused::not_found("finding"))?;
    let mut change = match service.begin(call, tenant).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let query = format!("SELECT {COLUMNS} FROM risks WHERE tenant = ? AND risk = ?");
    let row = change.tx.lock_rows(&query, vec![tenant.stored().into(), number.into()], Lock::Wait).await?.pop();
    let before = RiskShown::read(row.ok_or_else(|| Refused::not_found("finding"))?)?;
    if let Some(decision) = &before.decision {
        return Err(Refused::conflict(format!("this finding is {decision} already: hold or release its people")));
    }
    let word = match asked.decision {
        Verdict::Dismissed => "dismissed",
        Verdict::Held if before.persons.is_empty() => {
            return Err(Refused::conflict(
                "this finding is about the shop: change the plan, or switch commissions off",
            ));
        }
        Verdict::Held => "held",
    };
    if asked.decision == Verdict::Held {
        let by = (&*change.who, &*asked.reason, change.now_ms);
        for person in &before.persons {
            let person = BuyerId::new(person.unsigned_abs()).map_err(|_| Refused::not_found("person"))?;
            holds::hold_person(&mut change.tx, (tenant, person), service.number()?, by).await?;
        }
    }
    let params = vec![
        word.into(),
        stored(change.now_ms)?.into(),
        (&*change.who).into(),
        (&*asked.reason).into(),
        tenant.stored().into(),
        number.into(),
    ];
    change.tx.exec(DECIDE, params).await?;
    let after = RiskShown {
        decision: Some(word.to_owned()),
        decided_at: Some(rfc3339(change.now_ms)),
        decided_by: Some(change.who.clone()),
        reason: Some(asked.reason),
        ..before.clone()
    };
    let what = ("commissions.decide_risk", format!("risk:{number}"));
    change.commit(what, Some(&before), (StatusCode::OK, &after)).await
}

//! What a distributor does and sees: joins, shares, looks at the own money and takes it out.
//! Whoever asks is known by the token of a buyer, and sees nobody else's.

use domain::id::{BuyerId, TenantId};
use kit::{
    api::{Access, Call, Route},
    clock::rfc3339,
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
    openapi::IdempotencyKey,
};
use serde::{Deserialize, Serialize};
use store::sql::{Row, Sql as _, SqlError, Tx as _, Value};
use utoipa::{OpenApi, ToSchema};

use super::{
    Distribution, Kinds, Refused,
    answers::{Changed, Page, Read},
    change::Begun,
    ledger::{EntryShown, of_person},
    people::{PersonShown, one},
    settings,
    withdrawals::{WithdrawalShown, page},
};
use crate::{
    book::balance_of,
    payouts::Payouts as _,
    people::{self, By, Standing, State},
    plan::Relation,
    stops::{self, Switch},
    withdrawals,
};

const ORDERS: &str = "SELECT e.subject, e.sequence, e.rule_name, -e.expense, e.at_ms, r.matures_at FROM entries e \
                      LEFT JOIN receipts r ON r.order_id = e.subject \
                      WHERE e.tenant = ? AND e.person = ? AND e.kind = 1 AND e.at_ms <= ? AND (e.at_ms < ? \
                      OR e.subject > ? OR (e.subject = ? AND (e.sequence > ? OR (e.sequence = ? \
                      AND e.rule_name > ?)))) ORDER BY e.at_ms DESC, e.subject, e.sequence, e.rule_name LIMIT ?";

/// The own account; amounts in minor units.
#[derive(Debug, Serialize, ToSchema)]
struct Account {
    #[serde(flatten)]
    person: PersonShown,
    /// What the shop has stopped: `held` (the payouts of this account), `withdrawing`, `earning`.
    #[schema(value_type = Vec<String>)]
    stopped: Vec<&'static str>,
    /// Earned, may still be taken back.
    pending: i64,
    /// Can be withdrawn.
    available: i64,
    /// On its way out.
    withdrawing: i64,
    /// Paid out up to now.
    paid: i64,
    /// Owed after late refunds: what is earned next pays it first.
    owed: i64,
}

/// A code to share.
#[derive(Debug, Serialize, ToSchema)]
struct Link {
    /// 32 characters, which fit the `scene` of a mini-program's code.
    code: String,
}

/// A link that somebody opened.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Touched {
    /// The code of the link.
    #[schema(pattern = "^[A-Za-z0-9_-]{32}$")]
    code: String,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
struct Touch {
    /// Whether the visitor stands below the sharer now.
    bound: bool,
}

/// What one event of an order earned or took back.
#[derive(Debug, Serialize, ToSchema)]
struct Earned {
    order_id: String,
    /// Minor units; negative: a refund took it back.
    amount: i64,
    /// The plan's rule.
    rule: String,
    /// `paid`, `refunded` or `period_closed`: why the amount changed.
    #[schema(value_type = String)]
    why: &'static str,
    /// RFC 3339.
    at: String,
    /// When it can be withdrawn, RFC 3339; missing until the buyer has the goods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    matures_at: Option<String>,
    #[serde(skip)]
    cursor: String,
}

/// A wish for money.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewWithdrawal {
    /// Minor units.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    amount: i64,
}

#[derive(OpenApi)]
#[openapi(paths(join, leave, me, link, touch, orders, statement, withdraw, withdrawn))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Distribution<K>>>> {
    const WITHDRAWALS: &str = "/v1/commissions/withdrawals";
    let open = Access::Public;
    vec![
        Mount::post("/v1/commissions/join", "join", Route::new(open, |service, call| Box::pin(join(service, call))))
            .for_pages(),
        Mount::post("/v1/commissions/leave", "leave", Route::new(open, |service, call| Box::pin(leave(service, call))))
            .for_pages(),
        Mount::get("/v1/commissions/me", "own_account", Route::new(open, |service, call| Box::pin(me(service, call))))
            .for_pages(),
        Mount::get("/v1/commissions/link", "own_link", Route::new(open, |service, call| Box::pin(link(service, call))))
            .for_pages(),
        Mount::post(
            "/v1/commissions/touches",
            "touch",
            Route::new(open, |service, call| Box::pin(touch(service, call))),
        )
        .for_pages(),
        Mount::get(
            "/v1/commissions/orders",
            "own_orders",
            Route::new(open, |service, call| Box::pin(orders(service, call))),
        )
        .for_pages(),
        Mount::get(
            "/v1/commissions/statement",
            "own_statement",
            Route::new(open, |service, call| Box::pin(statement(service, call))),
        )
        .for_pages(),
        Mount::post(WITHDRAWALS, "withdraw", Route::new(open, |service, call| Box::pin(withdraw(service, call))))
            .for_pages(),
        Mount::get(
            WITHDRAWALS,
            "own_withdrawals",
            Route::new(open, |service, call| Box::pin(withdrawn(service, call))),
        )
        .for_pages(),
    ]
}

/// Asks to become a distributor; free of charge, and at once where the shop says so.
#[utoipa::path(
    post, path = "/v1/commissions/join", operation_id = "join", tag = "distributors", security(("buyer" = [])),
    params(IdempotencyKey), responses((status = 200, body = PersonShown), (status = 201, body = PersonShown), Changed)
)]
async fn join<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, person) = service.buyer(call)?;
    let who = format!("buyer:{person}");
    let mut change = match service.begin_as(call, tenant, who.clone()).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let settings = settings::of(&mut change.tx, tenant).await?;
    let state = if settings.joins_at_once { State::Active } else { State::Applied };
    let standing = Standing { state, rank: None, kyc: false };
    let by = By { who: &who, reason: "joined", now_ms: change.now_ms };
    if !people::join(&mut change.tx, (tenant, person), &standing, by).await? {
        change.tx.rollback().await;
        return Ok(reply::json(StatusCode::OK, &one(service, (tenant, person)).await?));
    }
    let joined_at = rfc3339(change.now_ms);
    let shown = PersonShown { person: person.to_string(), state, rank: None, kyc: false, joined_at, version: 1 };
    change.commit(("commissions.join", format!("person:{person}")), None, (StatusCode::CREATED, &shown)).await
}

/// Leaves: nobody new is bound, nothing more is earned by rules that ask for a distributor, and
/// what was earned may still be withdrawn.
#[utoipa::path(
    post, path = "/v1/commissions/leave", operation_id = "leave", tag = "distributors", security(("buyer" = [])),
    params(IdempotencyKey), responses((status = 200, body = PersonShown), Changed)
)]
async fn leave<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let key = service.buyer(call)?;
    let who = format!("buyer:{}", key.1);
    let mut change = match service.begin_as(call, key.0, who.clone()).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let found = people::lock(&mut change.tx, key).await?.ok_or_else(|| Refused::not_found("distributor"))?;
    if found.standing.state == State::Frozen {
        return Err(Refused::conflict("the shop has frozen this account: ask the shop first"));
    }
    let after = Standing { state: State::Left, ..found.standing.clone() };
    if after != found.standing {
        let by = By { who: &who, reason: "left", now_ms: change.now_ms };
        people::change(&mut change.tx, key, &found, &after, by).await?;
    }
    let shown = PersonShown {
        person: key.1.to_string(),
        state: after.state,
        rank: after.rank,
        kyc: after.kyc,
        joined_at: rfc3339(found.joined_ms),
        version: found.version + u64::from(found.standing.state != State::Left),
    };
    change.commit(("commissions.leave", format!("person:{}", key.1)), None, (StatusCode::OK, &shown)).await
}

/// The own account, with what is owed shown plainly.
#[utoipa::path(
    get, path = "/v1/commissions/me", operation_id = "own_account", tag = "distributors", security(("buyer" = [])),
    responses((status = 200, body = Account), Read)
)]
async fn me<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let key = service.buyer(call)?;
    let person = one(service, key).await?;
    let balance = balance_of(&service.texts, service.sql(), (key.0, key.1.get())).await?;
    let switch = Switch::seen(service.sql(), key.0).await?;
    let is_held = stops::is_seen_held(service.sql(), key).await?;
    let stopped = [("held", is_held), ("withdrawing", !switch.withdrawing), ("earning", !switch.earning)];
    let account = Account {
        person,
        pending: balance.pending,
        available: balance.available,
        withdrawing: balance.withdrawing,
        paid: balance.paid,
        owed: balance.receivable.saturating_neg(),
        stopped: stopped.into_iter().filter(|(_, is)| *is).map(|(word, _)| word).collect(),
    };
    Ok(reply::json(StatusCode::OK, &account))
}

/// A code to share; whoever buys after opening it is the sharer's customer.
#[utoipa::path(
    get, path = "/v1/commissions/link", operation_id = "own_link", tag = "distributors", security(("buyer" = [])),
    responses((status = 200, body = Link), (status = 409, description = "no active distributor"), Read)
)]
async fn link<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, person) = service.buyer(call)?;
    if one(service, (tenant, person)).await?.state != State::Active {
        return Err(Refused::conflict("only active distributors share: ask the shop"));
    }
    let mut tx = service.sql().begin().await?;
    let settings = settings::of(&mut tx, tenant).await?;
    tx.rollback().await;
    let code = service.ports.share.code(tenant, person, service.now_ms(), settings.share_days);
    Ok(reply::json(StatusCode::OK, &Link { code }))
}

/// Somebody opened a link. The first sharer keeps the visitor as long as the shop's protection
/// says.
#[utoipa::path(
    post, path = "/v1/commissions/touches", operation_id = "touch", tag = "distributors", security(("buyer" = [])),
    request_body = Touched, params(IdempotencyKey), responses((status = 200, body = Touch), Changed)
)]
async fn touch<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, visitor) = service.buyer(call)?;
    let asked: Touched = call.json()?;
    let sharer: BuyerId = service.ports.share.open(tenant, &asked.code, service.now_ms())?;
    if sharer == visitor {
        return Err(Refused::conflict("this is your own link: it counts for others"));
    }
    let who = format!("buyer:{visitor}");
    let mut change = match service.begin_as(call, tenant, who.clone()).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let settings = settings::of(&mut change.tx, tenant).await?;
    people::touch(&mut change.tx, tenant, (visitor, sharer), change.now_ms).await?;
    let by = By { who: &who, reason: "opened a link", now_ms: change.now_ms };
    let protected_ms = settings.protected_ms();
    let bound = people::bind(&mut change.tx, (tenant, Relation::Referral), (visitor, sharer), protected_ms, by).await;
    let bound = match bound {
        Ok(_) => true,
        // The touch counts, whoever has the visitor.
        Err(people::BindRefused::Protected { .. }) => false,
        Err(refused) => return Err(refused.into()),
    };
    let answer = Touch { bound };
    change.commit(("commissions.touch", format!("person:{visitor}")), None, (StatusCode::OK, &answer)).await
}

/// What the own orders earned, and what refunds took back of it; the newest first.
#[utoipa::path(
    get, path = "/v1/commissions/orders", operation_id = "own_orders", tag = "distributors",
    security(("buyer" = [])), params(PageAsked), responses((status = 200, body = inline(Page<Earned>)), Read)
)]
async fn orders<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let ((tenant, person), asked) = (service.buyer(call)?, call.page()?);
    let ([at_ms, subject, sequence], rule) = Page::<Earned>::place(&asked, [i64::MAX; 3])?;
    let shown = |mut row: Row| {
        let (order_id, sequence, rule): (_, u32, _) = (row.int()?.to_string(), row.number()?, row.text()?);
        let (amount, at_ms, matures): (_, u64, _) = (row.int()?, row.number()?, row.time_or_null()?);
        let why = match sequence {
            0 => "period_closed",
            2 => "paid",
            _ => "refunded",
        };
        let cursor = format!("{at_ms}.{order_id}.{sequence}.{rule}");
        let (at, matures_at) = (rfc3339(at_ms), matures.map(rfc3339));
        Ok(Earned { order_id, amount, rule, why, at, matures_at, cursor })
    };
    let mut params = vec![Value::from(tenant.stored()), person.stored().into(), at_ms.into(), at_ms.into()];
    params.extend([subject.into(), subject.into(), sequence.into(), sequence.into(), rule.into()]);
    params.push((asked.limit + 1).into());
    let rows = service.sql().rows(ORDERS, params).await?;
    let rows = rows.into_iter().map(shown).collect::<Result<Vec<_>, SqlError>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(rows, &asked, |earned| earned.cursor.clone())))
}

/// All entries of the own account, the newest first.
#[utoipa::path(
    get, path = "/v1/commissions/statement", operation_id = "own_statement", tag = "distributors",
    security(("buyer" = [])), params(PageAsked), responses((status = 200, body = inline(Page<EntryShown>)), Read)
)]
async fn statement<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (key, asked) = (service.buyer(call)?, call.page()?);
    Ok(reply::json(StatusCode::OK, &of_person(service, key, &asked).await?))
}

/// Asks for money: it is reserved at once, and goes out when the shop has approved.
#[utoipa::path(
    post, path = "/v1/commissions/withdrawals", operation_id = "withdraw", tag = "distributors",
    security(("buyer" = [])), request_body = NewWithdrawal, params(IdempotencyKey),
    responses((status = 201, body = WithdrawalShown), Changed)
)]
async fn withdraw<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let key: (TenantId, BuyerId) = service.buyer(call)?;
    let asked: NewWithdrawal = call.json()?;
    if !service.ports.payouts.serves(key.0) {
        return Err(Refused::conflict("this shop has no channel for payouts yet: the balance stays as it is"));
    }
    let mut change = match service.begin_as(call, key.0, format!("buyer:{}", key.1)).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let rules = settings::of(&mut change.tx, key.0).await?.rules();
    let (now_ms, number) = (change.now_ms, change.number);
    let of = (number.unsigned_abs(), asked.amount, number);
    let made = withdrawals::ask(&mut change.tx, &rules, key, of, now_ms).await?;
    let shown = WithdrawalShown::of(&made);
    let what = ("commissions.withdraw", format!("withdrawal:{}", made.number));
    change.commit(what, None, (StatusCode::CREATED, &shown)).await
}

/// The own withdrawals, the newest first.
#[utoipa::path(
    get, path = "/v1/commissions/withdrawals", operation_id = "own_withdrawals", tag = "distributors",
    security(("buyer" = [])), params(PageAsked), responses((status = 200, body = inline(Page<WithdrawalShown>)), Read)
)]
async fn withdrawn<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let ((tenant, person), asked) = (service.buyer(call)?, call.page()?);
    Ok(reply::json(StatusCode::OK, &page(service, tenant, Some(person), &asked).await?))
}

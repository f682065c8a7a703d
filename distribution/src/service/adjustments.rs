//! Corrections of a balance by the shop: so much is given or taken, with a reason. People approve
//! as they approve withdrawals, and who asks for one has approved it; then it is posted, once.

use std::collections::BTreeSet;

use domain::id::{BuyerId, TenantId};
use kit::{
    access::{Permission, Who},
    api::{Access, Call, Route},
    clock::rfc3339,
    http::{Body, Mount, Response, StatusCode, reply},
    openapi::IdempotencyKey,
    problem::{Code, Problem},
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Row, Sql as _, SqlError, Tx, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    Distribution, Kinds, Refused,
    answers::{Changed, Page, Read},
    change::Begun,
    settings,
};
use crate::{
    book::{Book, Texts},
    people,
    settle::{Happens, State, Withdrawal},
    stops::Switch,
};

const COLUMNS: &str = "adjustment, person, amount, reason, state, needs, approved, asked_by, asked_at, version";
const INSERT: &str = "INSERT INTO adjustments (tenant, adjustment, person, amount, reason, state, needs, approved, \
                      asked_by, asked_at, version) VALUES (?, ?, ?, ?, ?, 'asked', ?, '', ?, ?, 0)";
const SAVE: &str = "UPDATE adjustments SET state = ?, approved = ?, version = version + 1 \
                    WHERE tenant = ? AND adjustment = ?";
const STATES: [(State, &str); 3] = [(State::Asked, "asked"), (State::Approved, "posted"), (State::Failed, "declined")];
/// The rules ask that nobody approves what is his; people of the shop own no balance.
const OWNER: u64 = u64::MAX;

/// A correction that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAdjustment {
    /// Whose balance, a decimal string.
    #[schema(pattern = "^[1-9][0-9]{0,18}$")]
    person: String,
    /// Minor units, not 0: what is given, or, negative, taken.
    #[schema(minimum = -9_007_199_254_740_991_i64, maximum = 9_007_199_254_740_991_i64)]
    amount: i64,
    /// Why; the person reads it too. No personal data.
    #[schema(min_length = 1, max_length = 191)]
    reason: String,
}

/// A correction.
#[derive(Debug, Serialize, ToSchema)]
struct AdjustmentShown {
    /// Its number, a decimal string: the subject of its entry.
    adjustment: String,
    person: String,
    /// Minor units; negative: taken.
    amount: i64,
    reason: String,
    /// `asked`, `posted`, `declined`.
    #[schema(value_type = String)]
    state: &'static str,
    /// People who must approve.
    needs: usize,
    /// Who has: `user:7`.
    approved: Vec<String>,
    /// Who asked for it: `user:7`, `key:7`.
    asked_by: String,
    /// RFC 3339.
    asked_at: String,
    version: u64,
}

/// A correction, locked.
struct Held {
    number: u64,
    person: BuyerId,
    amount: i64,
    reason: String,
    rules: Withdrawal,
    asked_by: String,
    asked_ms: u64,
    version: u64,
}

#[derive(OpenApi)]
#[openapi(paths(list, ask, approve, decline))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Distribution<K>>>> {
    const PATH: &str = "/v1/merchant/commissions/adjustments";
    let (read, write) = (Access::Needs(Permission::ReadPayments), Access::Needs(Permission::WritePayments));
    vec![
        Mount::get(PATH, "adjustments", Route::new(read, |service, call| Box::pin(list(service, call)))),
        Mount::post(PATH, "adjust", Route::new(write, |service, call| Box::pin(ask(service, call)))),
        Mount::post(
            "/v1/merchant/commissions/adjustments/{adjustment}/approve",
            "approve_adjustment",
            Route::new(write, |service, call| Box::pin(approve(service, call))),
        ),
        Mount::post(
            "/v1/merchant/commissions/adjustments/{adjustment}/decline",
            "decline_adjustment",
            Route::new(write, |service, call| Box::pin(decline(service, call))),
        ),
    ]
}

impl Held {
    fn read(mut row: Row) -> Result<Self, SqlError> {
        let (number, person, amount, reason) = (row.number()?, row.id(BuyerId::new)?, row.int()?, row.text()?);
        let state = row.text_as("state of an adjustment", |text| {
            STATES.iter().find(|(_, word)| *word == text).map(|(state, _)| *state)
        })?;
        let (needs, approved) = (row.number()?, row.text()?);
        let approved = approved.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>();
        let approved = approved.map_err(|error| SqlError::Broken(format!("an approval is no user: {error}").into()))?;
        let rules = Withdrawal { person: OWNER, amount: amount.saturating_abs(), state, needs, approved };
        let (asked_by, asked_ms, version) = (row.text()?, row.number()?, row.number()?);
        Ok(Self { number, person, amount, reason, rules, asked_by, asked_ms, version })
    }

    async fn lock<T: Tx>(tx: &mut T, tenant: TenantId, number: u64) -> Result<Self, Refused> {
        let query = format!("SELECT {COLUMNS} FROM adjustments WHERE tenant = ? AND adjustment = ?");
        let number = stored(number).map_err(|_| Refused::not_found("adjustment"))?;
        let rows = tx.lock_rows(&query, vec![tenant.stored().into(), number.into()], Lock::Wait).await?;
        let row = rows.into_iter().next().ok_or_else(|| Refused::not_found("adjustment"))?;
        Ok(Self::read(row)?)
    }

    fn shown(&self) -> AdjustmentShown {
        let word = STATES.iter().find(|(state, _)| *state == self.rules.state).map_or("unknown", |(_, word)| word);
        AdjustmentShown {
            adjustment: self.number.to_string(),
            person: self.person.to_string(),
            amount: self.amount,
            reason: self.reason.clone(),
            state: word,
            needs: self.rules.needs,
            approved: self.rules.approved.iter().map(|user| format!("user:{user}")).collect(),
            asked_by: self.asked_by.clone(),
            asked_at: rfc3339(self.asked_ms),
            version: self.version,
        }
    }

    /// Takes it a step further. The last approval posts it in the same transaction.
    async fn step<T: Tx>(
        &mut self,
        tx: &mut T,
        tenant: TenantId,
        happens: Happens,
        (now_ms, part): (u64, i64),
    ) -> Result<(), Refused> {
        if self.rules.state != State::Asked {
            let detail = format!("the adjustment is {}: it never changes again, make another one", self.shown().state);
            return Err(Refused::conflict(detail));
        }
        self.rules.step(happens).map_err(|refused| Refused::conflict(refused.to_string()))?;
        if self.rules.state == State::Approved {
            if self.amount > 0 && !Switch::of(tx, tenant).await?.earning {
                return Err(Refused::conflict("the shop's commissions are switched off: nothing is credited"));
            }
            let (texts, owner) = (Texts::default(), (tenant, self.person.get()));
            let mut book = Book::open(&texts, tx, &BTreeSet::new(), BTreeSet::from([owner])).await?;
            book.adjust(owner, self.number, self.amount).map_err(|error| Refused::conflict(error.to_string()))?;
            book.write(tx, now_ms, part).await?;
        }
        let approved: Vec<String> = self.rules.approved.iter().map(u64::to_string).collect();
        let params = vec![
            self.shown().state.into(),
            (&*approved.join(" ")).into(),
            tenant.stored().into(),
            stored(self.number)?.into(),
        ];
        tx.exec(SAVE, params).await?;
        self.version += 1;
        Ok(())
    }
}

/// Corrections, the newest first.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/adjustments", operation_id = "adjustments", tag = "commissions",
    security(("merchant" = [])), params(kit::http::PageAsked),
    responses((status = 200, body = inline(Page<AdjustmentShown>)), Read)
)]
async fn list<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, asked) = (Distribution::<K>::tenant(call)?, call.page()?);
    let query = format!(
        "SELECT {COLUMNS} FROM adjustments WHERE tenant = ? AND adjustment < ? ORDER BY adjustment DESC LIMIT ?"
    );
    let before = Page::<AdjustmentShown>::after(&asked, i64::MAX)?;
    let params = vec![Value::from(tenant.stored()), before.into(), (asked.limit + 1).into()];
    let rows = service.sql().rows(&query, params).await?;
    let rows = rows.into_iter().map(|row| Held::read(row).map(|held| held.shown())).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(rows, &asked, |shown| shown.adjustment.clone())))
}

/// Gives a person so much, or takes it. A person who asks has approved it; above the shop's
/// threshold another one must. What is taken comes from what is available, then from what is
/// pending, and the rest is owed.
#[utoipa::path(
    post, path = "/v1/merchant/commissions/adjustments", operation_id = "adjust", tag = "commissions",
    security(("merchant" = [])), request_body = NewAdjustment, params(IdempotencyKey),
    responses((status = 201, body = AdjustmentShown), Changed)
)]
async fn ask<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = Distribution::<K>::tenant(call)?;
    let asked: NewAdjustment = call.json()?;
    if asked.amount == 0 {
        return Err(Refused::fields([("amount".to_owned(), "give an amount, or take one: not 0".to_owned())]));
    }
    let nobody = || Refused::conflict("this person is no distributor of this shop: somebody must join first");
    let person: BuyerId = asked.person.parse().map_err(|_| nobody())?;
    let mut change = match service.begin(call, tenant).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    people::lock(&mut change.tx, (tenant, person)).await?.ok_or_else(nobody)?;
    let two_from = settings::of(&mut change.tx, tenant).await?.two_approve_from;
    let needs = if asked.amount.saturating_abs() >= two_from { 2 } else { 1 };
    let (now_ms, part) = (change.now_ms, change.number);
    let rules = Withdrawal {
        person: OWNER,
        amount: asked.amount.saturating_abs(),
        state: State::Asked,
        needs,
        approved: Vec::new(),
    };
    let mut held = Held {
        number: part.unsigned_abs(),
        person,
        amount: asked.amount,
        reason: asked.reason,
        rules,
        asked_by: change.who.clone(),
        asked_ms: now_ms,
        version: 0,
    };
    let row = vec![
        tenant.stored().into(),
        part.into(),
        person.stored().into(),
        held.amount.into(),
        (&*held.reason).into(),
        i64::try_from(needs).unwrap_or(i64::MAX).into(),
        (&*held.asked_by).into(),
        stored(now_ms)?.into(),
    ];
    change.tx.exec(INSERT, row).await?;
    if let Who::Person(user) = call.actor.who {
        held.step(&mut change.tx, tenant, Happens::Approve(user), (now_ms, part)).await?;
    }
    let what = ("commissions.adjust", format!("adjustment:{}", held.number));
    change.commit(what, None, (StatusCode::CREATED, &held.shown())).await
}

/// A person of the shop approves a correction; the last approval posts it.
#[utoipa::path(
    post, path = "/v1/merchant/commissions/adjustments/{adjustment}/approve", operation_id = "approve_adjustment",
    tag = "commissions", security(("merchant" = [])),
    params(("adjustment" = String, Path, description = "Its number."), IdempotencyKey),
    responses((status = 200, body = AdjustmentShown), Changed)
)]
async fn approve<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let Who::Person(user) = call.actor.who else {
        let detail = "a person approves: sign in, a key may not";
        return Err(Problem::new(Code::Forbidden, detail).into());
    };
    step(service, call, Happens::Approve(user), "commissions.approve_adjustment").await
}

/// Declines a correction that is not posted yet.
#[utoipa::path(
    post, path = "/v1/merchant/commissions/adjustments/{adjustment}/decline", operation_id = "decline_adjustment",
    tag = "commissions", security(("merchant" = [])),
    params(("adjustment" = String, Path, description = "Its number."), IdempotencyKey),
    responses((status = 200, body = AdjustmentShown), Changed)
)]
async fn decline<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    step(service, call, Happens::Decline, "commissions.decline_adjustment").await
}

async fn step<K: Kinds>(
    service: &Distribution<K>,
    call: &Call<'_>,
    happens: Happens,
    action: &'static str,
) -> Result<Response<Body>, Refused> {
    let (tenant, number): (_, u64) = (Distribution::<K>::tenant(call)?, call.part("adjustment")?);
    let mut change = match service.begin(call, tenant).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let mut held = Held::lock(&mut change.tx, tenant, number).await?;
    let (before, now_ms, part) = (held.shown(), change.now_ms, change.number);
    held.step(&mut change.tx, tenant, happens, (now_ms, part)).await?;
    change.commit((action, format!("adjustment:{number}")), Some(&before), (StatusCode::OK, &held.shown())).await
}

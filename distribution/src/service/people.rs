//! Distributors as the shop sees them: what they are, whom they stand below, and since when.

use domain::id::{BuyerId, TenantId};
use kit::{
    access::Permission,
    api::{Access, Call, Route, tagged},
    clock::rfc3339,
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
};
use serde::{Deserialize, Serialize};
use store::sql::{Row, Sql as _, SqlError};
use utoipa::{OpenApi, ToSchema};

use super::{
    Distribution, Kinds, Refused,
    answers::{Changed, Page, Read},
    change::Begun,
};
use crate::{
    database::OPEN_END,
    people::{self, By, Standing, State, stored_relation},
    plan::Relation,
};

const COLUMNS: &str = "p.person, p.joined_at, p.version, s.state, s.rank_name, s.kyc FROM people p \
                       JOIN standings s ON s.tenant = p.tenant AND s.person = p.person AND s.to_ms = ?";
const HISTORY: &str = "SELECT relation, from_ms, to_ms, parent, who, reason FROM relations \
                       WHERE tenant = ? AND person = ? AND from_ms > ? ORDER BY from_ms LIMIT ?";

/// A distributor.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct PersonShown {
    /// The number as a buyer, a decimal string.
    pub(super) person: String,
    pub(super) state: State,
    /// One of the plan's ranks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) rank: Option<String>,
    /// Whether the identity is verified, without which nothing is paid out.
    pub(super) kyc: bool,
    /// RFC 3339.
    pub(super) joined_at: String,
    /// Rises with each change; also the ETag.
    pub(super) version: u64,
}

/// What changes of a distributor; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PersonChange {
    #[schema(nullable = false)]
    state: Option<State>,
    #[schema(pattern = "^[a-z][a-z0-9_]{0,63}$", nullable = false)]
    rank: Option<String>,
    #[schema(nullable = false)]
    kyc: Option<bool>,
    /// Why; kept in the history. No personal data.
    #[schema(min_length = 1, max_length = 191)]
    reason: String,
}

/// Whom somebody shall stand below.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRelation {
    /// The person above, a decimal string.
    #[schema(pattern = "^[1-9][0-9]{0,18}$")]
    parent: String,
    /// Why; kept in the history. No personal data.
    #[schema(min_length = 1, max_length = 191)]
    reason: String,
}

/// Whom somebody stood below for a while.
#[derive(Debug, Serialize, ToSchema)]
struct RelationShown {
    /// `referral` or `org`.
    relation: String,
    /// The person above.
    parent: String,
    /// RFC 3339.
    from: String,
    /// RFC 3339; missing: it holds now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    to: Option<String>,
    /// Who did it: `user:7`, `key:7`, `buyer:7`.
    who: String,
    reason: String,
    #[serde(skip)]
    from_ms: u64,
}

#[derive(OpenApi)]
#[openapi(paths(list, show, change, relations, bind))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Distribution<K>>>> {
    const PERSON: &str = "/v1/merchant/commissions/people/{person}";
    let (read, write) = (Access::Needs(Permission::ReadPayments), Access::Needs(Permission::WritePayments));
    vec![
        Mount::get(
            "/v1/merchant/commissions/people",
            "distributors",
            Route::new(read, |service, call| Box::pin(list(service, call))),
        ),
        Mount::get(PERSON, "distributor", Route::new(read, |service, call| Box::pin(show(service, call)))),
        Mount::patch(PERSON, "change_distributor", Route::new(write, |service, call| Box::pin(change(service, call)))),
        Mount::get(
            "/v1/merchant/commissions/people/{person}/relations",
            "relations",
            Route::new(read, |service, call| Box::pin(relations(service, call))),
        ),
        Mount::put(
            "/v1/merchant/commissions/people/{person}/relations/{relation}",
            "bind",
            Route::new(write, |service, call| Box::pin(bind(service, call))),
        ),
    ]
}

fn read(mut row: Row) -> Result<PersonShown, SqlError> {
    let (person, joined_ms, version) = (row.int()?.to_string(), row.number()?, row.number()?);
    let Standing { state, rank, kyc } = people::read_standing(&mut row)?;
    Ok(PersonShown { person, state, rank, kyc, joined_at: rfc3339(joined_ms), version })
}

/// One of a shop's distributors.
pub(super) async fn one<K: Kinds>(
    service: &Distribution<K>,
    (tenant, person): (TenantId, BuyerId),
) -> Result<PersonShown, Refused> {
    let query = format!("SELECT {COLUMNS} WHERE p.tenant = ? AND p.person = ?");
    let params = vec![OPEN_END.into(), tenant.stored().into(), person.stored().into()];
    let found = service.sql().rows(&query, params).await?.into_iter().next();
    found.map(read).transpose()?.ok_or_else(|| Refused::not_found("distributor"))
}

/// The shop's distributors, by their number.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/people", operation_id = "distributors", tag = "commissions",
    security(("merchant" = [])), params(PageAsked), responses((status = 200, body = inline(Page<PersonShown>)), Read)
)]
async fn list<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, asked) = (Distribution::<K>::tenant(call)?, call.page()?);
    let query = format!("SELECT {COLUMNS} WHERE p.tenant = ? AND p.person > ? ORDER BY p.person LIMIT ?");
    let after = Page::<PersonShown>::after(&asked, 0)?;
    let params = vec![OPEN_END.into(), tenant.stored().into(), after.into(), (asked.limit + 1).into()];
    let people = service.sql().rows(&query, params).await?;
    let people = people.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(people, &asked, |person| person.person.clone())))
}

/// A distributor.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/people/{person}", operation_id = "distributor", tag = "commissions",
    security(("merchant" = [])), params(("person" = String, Path, description = "The number as a buyer.")),
    responses((status = 200, body = PersonShown), Read)
)]
async fn show<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let found = one(service, (Distribution::<K>::tenant(call)?, call.part("person")?)).await?;
    Ok(tagged(reply::json(StatusCode::OK, &found), found.version))
}

/// Changes what a distributor is: agrees, freezes, verifies, promotes. The history keeps it.
#[utoipa::path(
    patch, path = "/v1/merchant/commissions/people/{person}", operation_id = "change_distributor",
    tag = "commissions", security(("merchant" = [])), request_body = PersonChange,
    params(("person" = String, Path, description = "The number as a buyer."), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = PersonShown), Changed)
)]
async fn change<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let key: (TenantId, BuyerId) = (Distribution::<K>::tenant(call)?, call.part("person")?);
    let asked: PersonChange = call.json()?;
    let expected = call.expected_version()?;
    let mut change = match service.begin(call, key.0).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let found = people::lock(&mut change.tx, key).await?.ok_or_else(|| Refused::not_found("distributor"))?;
    let shown = |standing: &Standing, version| PersonShown {
        person: key.1.to_string(),
        state: standing.state,
        rank: standing.rank.clone(),
        kyc: standing.kyc,
        joined_at: rfc3339(found.joined_ms),
        version,
    };
    let before = shown(&found.standing, found.version);
    Refused::unless_seen(expected, found.version, &before)?;
    let after = Standing {
        state: asked.state.unwrap_or(found.standing.state),
        rank: asked.rank.or_else(|| found.standing.rank.clone()),
        kyc: asked.kyc.unwrap_or(found.standing.kyc),
    };
    if after == found.standing {
        return Ok(tagged(reply::json(StatusCode::OK, &before), found.version));
    }
    let who = change.who.clone();
    let by = By { who: &who, reason: &asked.reason, now_ms: change.now_ms };
    people::change(&mut change.tx, key, &found, &after, by).await?;
    let (answer, version) = (shown(&after, found.version + 1), found.version + 1);
    let what = ("commissions.person", format!("person:{}", key.1));
    Ok(tagged(change.commit(what, Some(&before), (StatusCode::OK, &answer)).await?, version))
}

/// Whom somebody stood below, from the first to now.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/people/{person}/relations", operation_id = "relations", tag = "commissions",
    security(("merchant" = [])), params(("person" = String, Path, description = "A buyer's number."), PageAsked),
    responses((status = 200, body = inline(Page<RelationShown>)), Read)
)]
async fn relations<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, person): (_, BuyerId) = (Distribution::<K>::tenant(call)?, call.part("person")?);
    let asked = call.page()?;
    let after = Page::<RelationShown>::after(&asked, 0)?;
    let params = vec![tenant.stored().into(), person.stored().into(), after.into(), (asked.limit + 1).into()];
    let shown = |mut row: Row| {
        let relation = row.int_as("relation", |number| {
            Relation::ALL.iter().find(|(_, relation)| stored_relation(*relation) == number).map(|(word, _)| *word)
        })?;
        let (from_ms, to, parent): (u64, i64, _) = (row.number()?, row.int()?, row.int()?.to_string());
        let to = (to != OPEN_END).then(|| rfc3339(to.unsigned_abs()));
        let (who, reason, from) = (row.text()?, row.text()?, rfc3339(from_ms));
        Ok(RelationShown { relation: relation.to_owned(), parent, from, to, who, reason, from_ms })
    };
    let rows = service.sql().rows(HISTORY, params).await?;
    let relations = rows.into_iter().map(shown).collect::<Result<Vec<_>, SqlError>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(relations, &asked, |relation| relation.from_ms.to_string())))
}

/// Puts somebody below another from now on, whatever protects the binding before. Orders that were
/// made before keep whom they froze. Refused where it would close a circle.
#[utoipa::path(
    put, path = "/v1/merchant/commissions/people/{person}/relations/{relation}", operation_id = "bind",
    tag = "commissions", security(("merchant" = [])), request_body = NewRelation,
    params(("person" = String, Path, description = "A buyer's number."),
        ("relation" = String, Path, description = "`referral`, `org` or `territory`.")),
    responses((status = 200, body = PersonRelation), Changed)
)]
async fn bind<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, person): (_, BuyerId) = (Distribution::<K>::tenant(call)?, call.part("person")?);
    let relation = match &*call.part::<String>("relation")? {
        "referral" => Relation::Referral,
        "org" => Relation::Org,
        "territory" => Relation::Territory,
        _ => return Err(Refused::not_found("relation")),
    };
    let asked: NewRelation = call.json()?;
    let parent: BuyerId = asked.parent.parse().map_err(|_| Refused::conflict("the parent is no person"))?;
    let mut change = match service.begin(call, tenant).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let who = change.who.clone();
    let by = By { who: &who, reason: &asked.reason, now_ms: change.now_ms };
    people::bind(&mut change.tx, (tenant, relation), (person, parent), Some(0), by).await?;
    let answer = PersonRelation { relation: relation.word().to_owned(), parent: parent.to_string() };
    change.commit(("commissions.bind", format!("person:{person}")), None, (StatusCode::OK, &answer)).await
}

/// Whom somebody stands below now.
#[derive(Debug, Serialize, ToSchema)]
struct PersonRelation {
    relation: String,
    parent: String,
}

//! Tokens for a shop's own users: its server says who they are, many at once, and passes the tokens
//! on. Minting again changes nothing: a subject keeps its number.

use kit::{
    access::Permission::WriteBuyerTokens,
    api::{Access, Call, Route},
    http::{Body, Mount, Response, StatusCode, reply},
    openapi::{Responses, refusals},
    problem::{Code, Problem},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, OpenApi, ToSchema};

use super::{
    session::{HOURS, Session, secret},
    subjects::Subject,
};
use crate::{gate, limit_by::LimitBy, ports::Ports, refused::Refused, service::Catalog};

/// Whom to mint for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BuyerTokenWanted {
    /// The shop's own id of the buyer; with `limit_by` `id_hash` the hash of his identity document,
    /// which the shop makes.
    #[schema(min_length = 1, max_length = 64)]
    id: String,
    /// Whether he may buy in sales for members.
    #[serde(default)]
    member: bool,
    /// His number, as E.164 writes it. It is read with `limit_by` `phone` alone, and never kept.
    #[schema(pattern = "^\\+[1-9][0-9]{6,14}$", nullable = false)]
    phone: Option<String>,
    #[serde(default)]
    #[schema(inline)]
    limit_by: LimitBy,
}

/// Tokens to mint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BuyerTokensWanted {
    #[schema(min_items = 1, max_items = 100)]
    buyers: Vec<BuyerTokenWanted>,
    /// How long they live: 24 where it is left out.
    #[schema(minimum = 1, maximum = 744, nullable = false)]
    hours: Option<u64>,
}

/// A buyer's token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BuyerToken {
    /// As it was asked for.
    id: String,
    /// The buyer's number, which orders carry, as a decimal string.
    buyer: String,
    /// For the buyer's surface.
    token: String,
}

/// Buyers' tokens, in the order in which they were asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BuyerTokens {
    tokens: Vec<BuyerToken>,
    /// When they end, RFC 3339.
    expires_at: String,
}

struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> Responses {
        refusals(&[
            (Code::InvalidRequest, "each wrong member is named"),
            (Code::Unauthenticated, ""),
            (Code::Forbidden, "the permission that is missing is named"),
            (Code::QuotaExceeded, "the month's requests are used up"),
            (Code::NotFound, "the operator acts for no such tenant"),
            (Code::Conflict, "this deployment has no key to sign for this tenant"),
            (Code::TooLarge, ""),
            (Code::UnsupportedMediaType, ""),
            (Code::RateLimited, ""),
            (Code::OutcomeUnknown, "repeat it"),
            (Code::TemporarilyUnavailable, ""),
            (Code::Internal, ""),
        ])
    }
}

#[derive(OpenApi)]
#[openapi(paths(mint))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let mint = Route::new(Access::Needs(WriteBuyerTokens), |catalog, call| Box::pin(mint(catalog, call)));
    vec![Mount::post("/v1/buyer-tokens", "buyer_tokens", mint)]
}

/// Mints tokens for a shop's own users.
///
/// A subject (an id, a phone number, a hash) gets a number once and keeps it, so that a repeated
/// call changes nothing and needs no Idempotency-Key.
#[utoipa::path(
    post, path = "/v1/buyer-tokens", operation_id = "buyer_tokens", tag = "buyers", security(("merchant" = [])),
    request_body = BuyerTokensWanted, responses((status = 200, body = BuyerTokens), Refusals)
)]
async fn mint<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: BuyerTokensWanted = call.json()?;
    let tenant = call.actor.tenant;
    let subjects = subjects(catalog, tenant, &asked.buyers)?;
    let session = Session::begin(catalog, tenant, asked.hours.unwrap_or(HOURS))?;
    gate::mint(catalog, tenant, asked.buyers.len()).await?;
    let numbers = catalog.numbers_of(call, tenant, &subjects).await?;
    let tokens = asked.buyers.into_iter().zip(numbers).map(|(wanted, number)| {
        let token = session.token(number, wanted.limit_by.into(), wanted.member)?;
        Ok(BuyerToken { id: wanted.id, buyer: number.to_string(), token })
    });
    let tokens = tokens.collect::<Result<Vec<_>, Refused>>()?;
    Ok(secret(reply::json(StatusCode::OK, &BuyerTokens { tokens, expires_at: session.expires_at() })))
}

/// Whom the entries stand for; all that lack a phone number are named at once.
fn subjects<P: Ports>(catalog: &Catalog<P>, tenant: u32, wanted: &[BuyerTokenWanted]) -> Result<Vec<Subject>, Refused> {
    let mut problem = Problem::new(Code::InvalidRequest, "where phone numbers count, each buyer has one; see `errors`");
    let mut subjects = Vec::with_capacity(wanted.len());
    for (place, wanted) in wanted.iter().enumerate() {
        let text = match (wanted.limit_by, &wanted.phone) {
            (LimitBy::Phone, Some(phone)) => phone,
            (LimitBy::Phone, None) => {
                problem = problem.with_field(format!("buyers[{place}].phone"), "is missing");
                continue;
            }
            (LimitBy::Account | LimitBy::IdHash, _) => &wanted.id,
        };
        subjects.push(catalog.subject(tenant, wanted.limit_by.into(), text));
    }
    if problem.field_errors.is_empty() { Ok(subjects) } else { Err(problem.into()) }
}

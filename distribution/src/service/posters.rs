//! The text of a poster, before it is printed: what the rules refuse of it.

use kit::{
    access::Permission,
    api::{Access, Call, Route},
    http::{Body, Mount, Response, StatusCode, reply},
};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::{Distribution, Kinds, Refused, answers::Read};

/// A text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Poster {
    /// All that shall stand on it.
    #[schema(min_length = 1, max_length = 2_000)]
    text: String,
}

/// What the rules say.
#[derive(Debug, Serialize, ToSchema)]
struct PosterChecked {
    /// Whether no rule refuses it.
    is_fine: bool,
    /// Version of the rules.
    rules: u32,
    /// In the order of the text.
    flaws: Vec<PosterFlaw>,
}

/// Words that a rule refuses.
#[derive(Debug, Serialize, ToSchema)]
struct PosterFlaw {
    /// Name of the rule.
    rule: String,
    /// Why, and what to write instead.
    why: String,
    /// As the text has it.
    found: String,
    /// Characters before it.
    at: usize,
}

#[derive(OpenApi)]
#[openapi(paths(check, own_check))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Distribution<K>>>> {
    let read = Access::Needs(Permission::ReadPayments);
    let of_shop = Route::new(read, |service, call| Box::pin(check(service, call)));
    let own = Route::new(Access::Public, |service, call| Box::pin(own_check(service, call)));
    vec![
        Mount::post("/v1/merchant/commissions/poster-checks", "check_poster", of_shop.that_reads()),
        Mount::post("/v1/commissions/poster-checks", "own_poster_check", own.that_reads()).for_pages(),
    ]
}

/// Looks whether a poster's text may be shown; each refusal names its rule.
#[utoipa::path(
    post, path = "/v1/merchant/commissions/poster-checks", operation_id = "check_poster", tag = "commissions",
    security(("merchant" = [])), request_body = Poster, responses((status = 200, body = PosterChecked), Read)
)]
async fn check<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    answer(service, call)
}

/// The same for a distributor's own poster.
#[utoipa::path(
    post, path = "/v1/commissions/poster-checks", operation_id = "own_poster_check", tag = "distributors",
    security(("buyer" = [])), request_body = Poster, responses((status = 200, body = PosterChecked), Read)
)]
async fn own_check<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    service.buyer(call)?;
    answer(service, call)
}

fn answer<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: Poster = call.json()?;
    let flaws = service.posters.flaws(&asked.text).into_iter();
    let flaws = flaws.map(|flaw| PosterFlaw {
        rule: flaw.rule.to_owned(),
        why: flaw.why.to_owned(),
        found: flaw.found,
        at: flaw.at,
    });
    let flaws: Vec<_> = flaws.collect();
    let checked = PosterChecked { is_fine: flaws.is_empty(), rules: service.posters.version, flaws };
    Ok(reply::json(StatusCode::OK, &checked))
}

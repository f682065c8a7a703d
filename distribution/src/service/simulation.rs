//! A plan over past orders, before it is published.

use kit::{
    access::Permission,
    api::{Access, Call, Route},
    clock::rfc3339,
    http::{Body, Mount, Response, StatusCode, reply},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::{OpenApi, ToSchema};

use super::{Distribution, Kinds, Refused, answers::Read, plans::read_and_check};
use crate::{
    month::day_ms,
    plan::ONE,
    simulate::{Outcome, Share, picture, simulate},
};

/// People of each list.
const PEOPLE: usize = 10;
/// Simulations at a time: each takes a core for a second.
static ROOM: Semaphore = Semaphore::const_new(1);

/// A plan, and on which orders it is tried.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSimulation {
    /// The plan in its text form; its version may be any.
    #[schema(min_length = 1, max_length = 20_000)]
    text: String,
    /// Who answers for it, where its profile asks for that.
    #[schema(min_length = 1, max_length = 191, nullable = false)]
    sign_off: Option<String>,
    /// Orders from the beginning of this day on, UTC.
    #[schema(pattern = "^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
    since: String,
    /// Up to the beginning of this day; missing: up to now.
    #[schema(pattern = "^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$", nullable = false)]
    until: Option<String>,
}

/// What one plan costs; minor units.
#[derive(Debug, Serialize, ToSchema)]
struct CostShown {
    /// All that it pays, with breakage.
    cost: i64,
    /// Of it what no one gets.
    breakage: i64,
    /// Its part of the net, in millionths.
    cost_ppm: i64,
}

/// What somebody gets; minor units.
#[derive(Debug, Serialize, ToSchema)]
struct ShareShown {
    person: String,
    /// By today's plan.
    today: i64,
    /// By the simulated one.
    then: i64,
}

/// The line that costs the greatest part of its net; minor units.
#[derive(Debug, Serialize, ToSchema)]
struct DearestShown {
    order_id: String,
    /// After refunds.
    net: i64,
    cost: i64,
}

/// What a plan would have paid.
#[derive(Debug, Serialize, ToSchema)]
struct SimulationShown {
    name: String,
    /// Proved: what a line may cost at most, in millionths of its net.
    worst_ppm: i64,
    /// Seen: the dearest line; missing where none paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    dearest: Option<DearestShown>,
    /// RFC 3339.
    since: String,
    /// RFC 3339; of the last order, where there were more than one simulation takes.
    until: String,
    /// Whether all orders of the time were looked at.
    is_whole: bool,
    /// Orders that were evaluated, of those that froze a plan.
    lines: usize,
    /// Orders that had not frozen the sums that a plan looks at: neither plan is evaluated on them.
    left_out: usize,
    /// What was paid and not refunded on the evaluated orders, minor units.
    net: i64,
    /// Version of today's plan; missing where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    today_version: Option<u32>,
    today: CostShown,
    then: CostShown,
    /// How many people get something by either plan.
    people: usize,
    /// Who gets most by the simulated plan.
    top: Vec<ShareShown>,
    /// Whose share grows most.
    gain: Vec<ShareShown>,
    /// Whose share shrinks most.
    lose: Vec<ShareShown>,
    /// The same as bars: an SVG document.
    picture: String,
}

#[derive(OpenApi)]
#[openapi(paths(run))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Distribution<K>>>> {
    let read = Access::Needs(Permission::ReadPayments);
    let route = Route::new(read, |service, call| Box::pin(run(service, call)));
    vec![Mount::post("/v1/merchant/commissions/simulations", "simulate_commissions", route.of_few(&ROOM).that_reads())]
}

/// Evaluates a plan on past orders, beside today's plan: cost, worst case, who gains. Writes
/// nothing; one at a time. An order is evaluated on what it froze, with the refunds of it up to
/// now.
#[utoipa::path(
    post, path = "/v1/merchant/commissions/simulations", operation_id = "simulate_commissions", tag = "commissions",
    security(("merchant" = [])), request_body = NewSimulation,
    responses((status = 200, body = SimulationShown), Read)
)]
async fn run<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = Distribution::<K>::tenant(call)?;
    let asked: NewSimulation = call.json()?;
    let no_day = |field: &str| (field.to_owned(), "there is no such day: give one such as 2026-11-28".to_owned());
    let now_ms = service.now_ms();
    let (since, until) = (day_ms(&asked.since), asked.until.as_deref().map_or(Some(now_ms), day_ms));
    let (Some(since_ms), Some(until_ms)) = (since, until) else {
        let flaws = [since.is_none().then(|| no_day("since")), until.is_none().then(|| no_day("until"))];
        return Err(Refused::fields(flaws.into_iter().flatten()));
    };
    // What is yet to come has no orders.
    let (since_ms, until_ms) = (since_ms.min(now_ms), until_ms.min(now_ms));
    let (plan, worst) = read_and_check(service, &asked.text, asked.sign_off.as_deref())?;
    let name = plan.name.clone();
    let outcome = simulate(service.sql(), (tenant, plan), (since_ms, until_ms), now_ms).await?;
    Ok(reply::json(StatusCode::OK, &shown(&outcome, (name, worst), (since_ms, until_ms))))
}

fn shown(outcome: &Outcome, (name, worst_ppm): (String, i64), (since_ms, until_ms): (u64, u64)) -> SimulationShown {
    let cost = |side: crate::simulate::Side| {
        let ppm = i128::from(side.cost) * i128::from(ONE) / i128::from(outcome.net.max(1));
        CostShown { cost: side.cost, breakage: side.breakage, cost_ppm: i64::try_from(ppm).unwrap_or(i64::MAX) }
    };
    let best = |of: fn(&Share) -> i64| {
        let mut people: Vec<_> = outcome.people.iter().filter(|(_, share)| of(share) > 0).collect();
        people.sort_by_key(|(person, share)| (of(share).saturating_neg(), **person));
        let shown = |(person, share): (&u64, &Share)| ShareShown {
            person: person.to_string(),
            today: share.today,
            then: share.then,
        };
        people.into_iter().take(PEOPLE).map(shown).collect::<Vec<_>>()
    };
    SimulationShown {
        worst_ppm,
        dearest: outcome.dearest.map(|line| DearestShown {
            order_id: line.order.to_string(),
            net: line.net,
            cost: line.cost,
        }),
        since: rfc3339(since_ms),
        until: rfc3339(outcome.ended_at.map_or(until_ms, |order| order.minted_at_ms())),
        is_whole: outcome.ended_at.is_none(),
        lines: outcome.lines,
        left_out: outcome.left_out,
        net: outcome.net,
        today_version: outcome.version,
        today: cost(outcome.today),
        then: cost(outcome.then),
        people: outcome.people.len(),
        top: best(|share| share.then),
        gain: best(|share| share.then - share.today),
        lose: best(|share| share.today - share.then),
        picture: picture(outcome, &name),
        name,
    }
}

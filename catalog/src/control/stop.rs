//! The stop of a tenant, a sale or an offer, and its end. Each sale is stopped in a transaction of
//! its own with its entries in both audit logs: a process that dies in between leaves the rest to
//! the next request, which finds what still sells.

use std::str::FromStr;

use kit::{
    api::Call,
    http::{Body, Response, StatusCode, reply},
    problem::Code,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{for_the_deployment, second_word};
use crate::{
    audit::Entry,
    document::Changed,
    plans::{self, TenantState},
    ports::Ports,
    refused::Refused,
    sales::{self, Deed, Setting, State, Summary, To},
    service::Catalog,
    tenants,
};

/// Sales that a refusal names, at most.
const NAMED_MAX: usize = 20;

/// What is to be stopped, or to go on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewStop {
    /// The tenant's number. Alone: it is suspended, and all its sales are paused.
    tenant: String,
    /// The number of one of its sales: that one is paused.
    #[schema(nullable = false)]
    sale: Option<String>,
    /// The code of a SKU of that sale: its offer is paused.
    #[schema(nullable = false, max_length = 64)]
    sku: Option<String>,
    /// The lane's code, where the SKU stands in several.
    #[schema(nullable = false, max_length = 64)]
    lane: Option<String>,
    /// Whether it shall stand, or go on. A tenant that goes on is open again; its sales stay paused
    /// until each is resumed.
    is_stopped: bool,
    /// The second word, of a stop of what sells now.
    #[schema(nullable = false, max_length = 64)]
    word: Option<String>,
}

/// A sale after it.
#[derive(Debug, Serialize, ToSchema)]
struct StoppedSale {
    /// Its number, as a decimal string.
    id: String,
    code: String,
    state: State,
}

/// How things stand after it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stopped {
    /// The tenant's number, as a decimal string.
    tenant: String,
    state: TenantState,
    /// Of a tenant those that buyers know and whose window is not over; else the one that was
    /// named.
    sales: Vec<StoppedSale>,
}

/// What a stop is about.
struct Scope {
    tenant: u32,
    sale: Option<i64>,
    /// The offer's SKU, and its lane where it was named.
    offer: Option<(String, Option<String>)>,
}

impl Scope {
    /// Every wrong member at once.
    fn of(asked: &NewStop) -> Result<Self, Refused> {
        fn number<N: FromStr>(flaws: &mut Vec<(String, &'static str)>, name: &str, text: &str) -> Option<N> {
            let read = text.parse().ok();
            if read.is_none() {
                flaws.push((name.to_owned(), "give a number, as a decimal string"));
            }
            read
        }
        let mut flaws = Vec::new();
        let tenant = number(&mut flaws, "tenant", &asked.tenant);
        let sale = asked.sale.as_ref().and_then(|sale| number(&mut flaws, "sale", sale));
        if asked.sku.is_some() && asked.sale.is_none() {
            flaws.push(("sale".to_owned(), "name the sale of this SKU"));
        }
        if asked.lane.is_some() && asked.sku.is_none() {
            flaws.push(("sku".to_owned(), "name the SKU in this lane: single offers are stopped, or the whole sale"));
        }
        let offer = asked.sku.clone().map(|sku| (sku, asked.lane.clone()));
        match tenant {
            Some(tenant) if flaws.is_empty() => Ok(Self { tenant, sale, offer }),
            _ => Err(Refused::fields(flaws)),
        }
    }

    /// As the operator's log names it.
    fn target(&self) -> String {
        let mut target = format!("tenant:{}", self.tenant);
        if let Some(sale) = self.sale {
            target += &format!(" sale:{sale}");
        }
        if let Some((sku, lane)) = &self.offer {
            target += &format!(" sku:{sku}");
            target += &lane.as_ref().map(|lane| format!(" lane:{lane}")).unwrap_or_default();
        }
        target
    }

    /// What the stop does to the sales that sell now.
    fn does(&self, selling: &[&Summary]) -> String {
        let what = match (&self.offer, self.sale) {
            (Some((sku, _)), _) => format!("this stops the offer of {sku} in"),
            (None, Some(_)) => "this stops".to_owned(),
            (None, None) => {
                format!("this suspends tenant {}, whose people change nothing then, and stops", self.tenant)
            }
        };
        let named = selling.iter().take(NAMED_MAX).map(|of| format!("{} ({})", of.code, of.sale)).collect::<Vec<_>>();
        let more = selling.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!(
            "{what} {} sales that sell now: {}{more}. Buyers hear `paused`; what they have bought stays",
            selling.len(),
            named.join(", ")
        )
    }
}

/// Stops a tenant, a sale or an offer at once, or lets it go on.
#[utoipa::path(
    put, path = "/v1/control/stops", operation_id = "control_stop", tag = "control", security(("operator" = [])),
    request_body = NewStop, responses((status = 200, body = Stopped), Changed)
)]
pub(super) async fn set<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    for_the_deployment(call)?;
    let asked: NewStop = call.json()?;
    let scope = Scope::of(&asked)?;
    let tenancy = plans::tenancy(catalog.sql(), scope.tenant).await?;
    if tenancy.is_none() {
        return Err(Refused::not_found("tenant"));
    }
    let found = sales::summaries(catalog, scope.tenant, scope.sale).await?;
    let selling: Vec<&Summary> = found.iter().filter(|of| of.state == State::Open).collect();
    if asked.is_stopped && !selling.is_empty() {
        second_word(asked.word.as_deref(), &scope.does(&selling))?;
    }
    if scope.sale.is_none() {
        let state = if asked.is_stopped { TenantState::Suspended } else { TenantState::Open };
        // First: nobody of the tenant resumes a sale behind it.
        tenants::set_state(catalog, call, scope.tenant, state).await?;
    }
    for of in found.iter().filter(|of| is_to_change(&scope, asked.is_stopped, of.state)) {
        turn(catalog, call, &scope, of.sale, asked.is_stopped).await?;
    }
    let state = plans::tenancy(catalog.sql(), scope.tenant).await?.ok_or_else(|| Refused::not_found("tenant"))?.state;
    let sales = sales::summaries(catalog, scope.tenant, scope.sale).await?.into_iter();
    let sales = sales.map(|of| StoppedSale { id: of.sale.to_string(), code: of.code, state: of.state }).collect();
    Ok(reply::json(StatusCode::OK, &Stopped { tenant: scope.tenant.to_string(), state, sales }))
}

/// A whole tenant is resumed sale by sale: which of them its people had paused, they know.
fn is_to_change(scope: &Scope, is_stopped: bool, state: State) -> bool {
    match (&scope.offer, is_stopped) {
        (Some(_), _) => true,
        (None, true) => matches!(state, State::Published | State::Open),
        (None, false) => scope.sale.is_some() && state == State::Paused,
    }
}

/// One sale, or its offer.
async fn turn<P: Ports>(
    catalog: &Catalog<P>,
    call: &Call<'_>,
    scope: &Scope,
    sale: i64,
    is_stopped: bool,
) -> Result<(), Refused> {
    let deed = match (&scope.offer, is_stopped) {
        (Some((sku, lane)), _) => {
            Deed::Set(Setting { lane: lane.clone(), sku: Some(sku.clone()), to: To::Paused(is_stopped) })
        }
        (None, true) => Deed::Pause,
        (None, false) => Deed::Resume,
    };
    let action = if is_stopped { "control.stop" } else { "control.resume" };
    let entry = Entry::new(action, scope.target(), None, Some(&format!("sale:{sale}")))?;
    let change = async || catalog.begin_control(call, scope.tenant, entry).await.map(Some);
    let done = sales::act(catalog, change, (scope.tenant, sale), deed).await;
    let is_conflict = matches!(&done, Err(Refused::Problem(problem)) if problem.code == Code::Conflict);
    if is_conflict && scope.offer.is_none() && is_paused(catalog, scope, sale).await? == is_stopped {
        // Another operator, or the shop itself, was quicker.
        return Ok(());
    }
    done.map(drop)
}

async fn is_paused<P: Ports>(catalog: &Catalog<P>, scope: &Scope, sale: i64) -> Result<bool, Refused> {
    let found = sales::summaries(catalog, scope.tenant, Some(sale)).await?;
    Ok(found.iter().any(|of| of.state == State::Paused))
}

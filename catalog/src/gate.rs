//! What a tenant's people and keys meet before any route: is the tenant there, does it ask too
//! often, is its month used up, may it change anything now.

use std::num::NonZeroU32;

use kit::{
    access::{Actor, Permissions, Who},
    http::Method,
    problem::{Code, Problem},
};

use crate::{
    plans::{self, Tenancy, TenantState},
    ports::Ports,
    rates::Policy,
    refused::Refused,
    service::Catalog,
    usage,
};

/// Counts a request of this actor, and lets it pass.
///
/// # Errors
/// `rate_limited`, `quota_exceeded` for the month, `forbidden` for a change by a suspended tenant,
/// `not_found` for an operator who acts for a tenant that is not there.
pub(crate) async fn admit<P: Ports>(catalog: &Catalog<P>, actor: &Actor, method: &Method) -> Result<(), Refused> {
    if actor.tenant == 0 {
        return Ok(());
    }
    // Asked anew for each request, so that a suspension and another plan hold at once.
    let tenancy = plans::tenancy(catalog.sql(), actor.tenant).await?;
    let tenancy = tenancy.ok_or_else(|| Refused::not_found("tenant"))?;
    if actor.who == Who::Operator {
        return Ok(());
    }
    let Tenancy { state, quotas, .. } = &tenancy;
    if let Some(per_s) = quotas.requests_per_s.and_then(NonZeroU32::new) {
        catalog.rates().take(Policy::Requests, actor.tenant, per_s, NonZeroU32::MIN)?;
    }
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    // People must be able to see why nothing else is answered.
    let reads_on = is_read && matches!(actor.who, Who::Person(_));
    usage::count(catalog, actor, &tenancy, reads_on).await?;
    if *state == TenantState::Suspended && !is_read {
        let detail = "this tenant is suspended: it may read, and change nothing, until the operator opens it again";
        return Err(Problem::new(Code::Forbidden, detail).into());
    }
    Ok(())
}

/// What is left of somebody's permissions in the state that the tenant has now: a suspended one
/// reads, and changes nothing.
///
/// # Errors
/// [`Refused::Sql`].
pub(crate) async fn lasting<P: Ports>(
    catalog: &Catalog<P>,
    tenant: u32,
    permissions: Permissions,
) -> Result<Permissions, Refused> {
    Ok(match plans::tenancy(catalog.sql(), tenant).await?.map(|tenancy| tenancy.state) {
        Some(TenantState::Open) => permissions,
        Some(TenantState::Suspended) => permissions.iter().filter(|held| held.as_str().starts_with("read_")).collect(),
        None => Permissions::NONE,
    })
}

/// Lets so many buyers' tokens be minted for a tenant.
///
/// # Errors
/// `rate_limited` beyond its plan; `not_found` without such a tenant.
pub(crate) async fn mint<P: Ports>(catalog: &Catalog<P>, tenant: u32, tokens: usize) -> Result<(), Refused> {
    let tenancy = plans::tenancy(catalog.sql(), tenant).await?.ok_or_else(|| Refused::not_found("tenant"))?;
    let wanted = u32::try_from(tokens).ok().and_then(NonZeroU32::new);
    let (Some(per_s), Some(wanted)) = (tenancy.quotas.buyer_tokens_per_s.and_then(NonZeroU32::new), wanted) else {
        return Ok(());
    };
    Ok(catalog.rates().take(Policy::BuyerTokens, tenant, per_s, wanted)?)
}

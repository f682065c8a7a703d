//! What a tenant's people and keys meet before any route: is the tenant there, does it ask too
//! often, is its month used up, may it change anything now.

use std::num::NonZeroU32;

use kit::{
    access::{Actor, Who},
    http::Method,
    problem::{Code, Problem},
};

use crate::{
    plans::{self, Standing},
    ports::Ports,
    refused::Refused,
    service::Catalog,
    tenants::TenantState,
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
    let standing = plans::standing(catalog.sql(), actor.tenant).await?;
    let standing = standing.ok_or_else(|| Refused::not_found("tenant"))?;
    if actor.who == Who::Operator {
        return Ok(());
    }
    let Standing { state, quotas, .. } = &standing;
    if let Some(per_s) = quotas.requests_per_s.and_then(NonZeroU32::new) {
        catalog.rates().take(actor.tenant, per_s)?;
    }
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    // People must be able to see why nothing else is answered.
    let reads_on = is_read && matches!(actor.who, Who::Person(_));
    usage::count(catalog, actor, &standing, reads_on).await?;
    if *state == TenantState::Suspended && !is_read {
        let detail = "this tenant is suspended: it may read, and change nothing, until the operator opens it again";
        return Err(Problem::new(Code::Forbidden, detail).into());
    }
    Ok(())
}

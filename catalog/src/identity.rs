//! Who asks: people by their tokens, programs by their API keys, and the deployment's operator by
//! his secret.

use kit::{
    access::{Actor, Permission::ReadAudit, Permissions, Who},
    api::Fault as _,
    http::{HeaderMap, HeaderName, header::AUTHORIZATION, wrong_parameter},
    problem::Problem,
};

use store::sql::stored;

use crate::{gate, keys, people, ports::Ports, refused::Refused, service::Catalog};

/// The tenant for which the operator acts; without it he acts for the deployment. Of everybody else
/// it is not read: their token says whose they are.
pub(crate) const ACT_FOR: HeaderName = HeaderName::from_static("flashsale-tenant");

/// Who this token or key stands for.
///
/// # Errors
/// `unauthenticated` when for nobody.
pub(crate) async fn actor<P: Ports>(
    catalog: &Catalog<P>,
    token: &str,
    headers: &HeaderMap,
) -> Result<Actor, Box<Problem>> {
    if catalog.is_operator(token) {
        return operator(headers);
    }
    if token.starts_with(keys::PREFIX) {
        return keys::actor(catalog, token).await.map_err(|refused| refused.into_problem(true));
    }
    // A signed token has three parts; neither a key nor the operator's secret has.
    if token.split('.').count() == 3 {
        return people::actor(catalog, token).await;
    }
    Err(keys::unknown())
}

/// Of the headers of a request, those that say who asks.
pub(crate) fn proof(headers: &HeaderMap) -> HeaderMap {
    let named = [AUTHORIZATION, ACT_FOR].into_iter();
    named.filter_map(|name| Some((name.clone(), headers.get(name)?.clone()))).collect()
}

fn operator(headers: &HeaderMap) -> Result<Actor, Box<Problem>> {
    let Some(named) = headers.get(ACT_FOR) else {
        // His own changes stand in the chain of tenant 0.
        let permissions = Permissions::of_operator().and(Permissions::of(&[ReadAudit]));
        return Ok(Actor { who: Who::Operator, tenant: 0, permissions });
    };
    let tenant = named.to_str().ok().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
    let tenant = tenant.ok_or_else(|| wrong_parameter("Flashsale-Tenant", "give the number of a tenant"))?;
    Ok(Actor { who: Who::Operator, tenant, permissions: Permissions::of_tenant() })
}

/// Whom a row names; nobody where it names nobody that can be known again.
pub(crate) fn who(text: &str) -> Who {
    text.parse().unwrap_or(Who::Nobody)
}

/// What somebody may do now: looked up again for work that outlasts its request.
///
/// # Errors
/// [`Refused::Sql`].
pub(crate) async fn permissions<P: Ports>(catalog: &Catalog<P>, tenant: u32, who: Who) -> Result<Permissions, Refused> {
    let held = match who {
        Who::Operator => return Ok(Permissions::of_tenant()),
        Who::Key(number) => keys::permissions(catalog, tenant, number).await?,
        Who::Person(number) => people::held_now(catalog.sql(), tenant, stored(number)?).await?,
        Who::Nobody => Permissions::NONE,
    };
    gate::lasting(catalog, tenant, held).await
}

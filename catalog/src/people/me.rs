//! The signed-in person's own things.

use kit::{
    access::Permission,
    api::{Access, Call, Route},
    clock::Clock as _,
    http::{Body, Mount, Response, StatusCode, reply},
    random::Random as _,
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Sql as _, Tx as _, Value};
use utoipa::{OpenApi, ToSchema};

use super::{
    lockout::{self, Account},
    login, person,
    person::User,
    sessions,
};
use crate::{
    change::{Answer, Begun},
    document::{Changed, Read},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

const LOOK: &str = "SELECT email_digest, password FROM users WHERE tenant = ? AND person = ? AND state = 'active'";
const SET: &str = "UPDATE users SET password = ?, version = version + 1 WHERE tenant = ? AND person = ?";

/// Who asks, and what he may do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Me {
    #[serde(flatten)]
    user: User,
    /// The tenant's number, as a decimal string.
    tenant: String,
    /// The session's number, as a decimal string.
    session: String,
    /// What the roles give together, now.
    permissions: Vec<Permission>,
}

/// Another password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordChange {
    /// The one that holds now.
    #[schema(min_length = 1, max_length = 256)]
    current_password: String,
    /// The one from now on.
    #[schema(min_length = 12, max_length = 256)]
    password: String,
}

#[derive(OpenApi)]
#[openapi(paths(me, change_password))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let known = Access::Known;
    vec![
        Mount::get("/v1/me", "me", Route::new(known, |catalog, call| Box::pin(me(catalog, call)))),
        Mount::put(
            "/v1/me/password",
            "change_password",
            Route::new(known, |catalog, call| Box::pin(change_password(catalog, call))),
        ),
    ]
}

/// Who asks, and what he may do.
#[utoipa::path(
    get, path = "/v1/me", operation_id = "me", tag = "sessions", security(("merchant" = [])),
    responses((status = 200, body = Me), Read)
)]
async fn me<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (claims, number) = sessions::own(catalog, call).await?;
    let user = person::find(catalog, claims.tenant, number).await?;
    let permissions = call.actor.permissions.iter().collect();
    let me = Me { user, tenant: claims.tenant.to_string(), session: claims.session.to_string(), permissions };
    Ok(reply::json(StatusCode::OK, &me))
}

/// Changes the password of who asks, who gives the one that holds now. All other sessions end. A
/// wrong one counts as a failed login.
#[utoipa::path(
    put, path = "/v1/me/password", operation_id = "change_password", tag = "sessions", security(("merchant" = [])),
    request_body = PasswordChange, responses((status = 204), Changed)
)]
async fn change_password<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: PasswordChange = call.json()?;
    let (claims, number) = sessions::own(catalog, call).await?;
    let key = || -> Vec<Value> { vec![claims.tenant.into(), number.into()] };
    let turn = catalog.memory().turns.enter(call.address, true, catalog.clock().monotonic()).await?;
    let row = catalog.sql().rows(LOOK, key()).await?.into_iter().next();
    let mut row = row.ok_or_else(|| Refused::not_found("user"))?;
    let (account, stored) = (Account { tenant: claims.tenant, email_digest: row.text()? }, row.text()?);
    lockout::check(catalog.sql(), &account, catalog.clock().now_ms()).await?;
    if !turn.is_right(&asked.current_password, &stored).await? {
        login::count_failure(catalog, call, &account).await?;
        return Err(Refused::field("current_password", "is not the password that holds now"));
    }
    let password = turn.hash(&asked.password, catalog.random().bytes()?).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let row = change.tx.lock_rows(LOOK, key(), Lock::Wait).await?.into_iter().next();
    let mut row = row.ok_or_else(|| Refused::not_found("user"))?;
    let (_digest, now) = (row.text()?, row.text()?);
    if now != stored {
        return Err(Refused::conflict("the password was changed meanwhile; sign in with it"));
    }
    let mut set = vec![password.as_str().into()];
    set.extend(key());
    change.tx.exec(SET, set).await?;
    sessions::end_all(&mut change.tx, (claims.tenant, number), Some(claims.session)).await?;
    lockout::clear(&mut change.tx, &account).await?;
    change.record::<()>("user.password", person::target(number), None, None)?;
    change.commit(Answer::gone()).await
}

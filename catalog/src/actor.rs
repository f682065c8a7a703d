//! Who a token or key stands for, for other services of the deployment: they hand on what came to
//! them, and guard their own routes by the answer.

use kit::{
    access::{Permission, Permissions, Who},
    api::{Access, Call, Route},
    http::{Body, Mount, Response, StatusCode, reply},
};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use crate::{document::Read, gate, ports::Ports, refused::Refused, service::Catalog};

/// Who asks, for which tenant, and what he may do now.
#[derive(Debug, Serialize, ToSchema)]
struct ActorNow {
    /// `user:NUMBER`, `key:NUMBER` or `operator`.
    who: String,
    /// The tenant's number, as a decimal string; `0` of the operator who acts for none.
    tenant: String,
    /// Of a suspended tenant only those that read.
    permissions: Vec<Permission>,
}

#[derive(OpenApi)]
#[openapi(paths(actor))]
struct Document;

pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let route = Route::new(Access::Known, |catalog, call| Box::pin(actor(catalog, call)));
    vec![Mount::get("/v1/actor", "actor", route)]
}

/// Who the token or key of this request stands for.
#[utoipa::path(
    get, path = "/v1/actor", operation_id = "actor", tag = "sessions", security(("merchant" = [])),
    responses((status = 200, body = ActorNow), Read)
)]
async fn actor<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let kit::access::Actor { who, tenant, permissions } = call.actor;
    let permissions: Permissions = match who {
        Who::Operator => permissions,
        _ => gate::lasting(catalog, tenant, permissions).await?,
    };
    let now = ActorNow { who: who.to_string(), tenant: tenant.to_string(), permissions: permissions.iter().collect() };
    Ok(reply::json(StatusCode::OK, &now))
}

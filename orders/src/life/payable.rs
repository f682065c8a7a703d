//! Who takes payments for a shop.

use domain::id::TenantId;
use kit::{
    access::Permission::ReadPayments,
    api::{Access, Call, Route},
    http::{Body, Mount, Response, StatusCode, reply},
    openapi::{Responses, refusals},
    problem::Code,
};
use serde::Serialize;
use utoipa::{IntoResponses, OpenApi, ToSchema};

use super::{
    ports::{Accounts as _, Kinds},
    refused::Refused,
    service::Life,
};
use crate::payment::ProviderKind;

/// The providers at which the shop has an account.
#[derive(Debug, Serialize, ToSchema)]
struct PaymentAccounts {
    /// `wechat`, `alipay` or `simulated`, each once; empty: nobody can pay.
    #[schema(value_type = Vec<String>)]
    providers: Vec<&'static str>,
}

/// The refusals of who looks.
struct Read;

impl IntoResponses for Read {
    fn responses() -> Responses {
        refusals(&[
            (Code::InvalidRequest, "it has no parameters"),
            (Code::Unauthenticated, ""),
            (Code::Forbidden, ""),
            (Code::NotFound, "nobody's shop"),
            (Code::RateLimited, ""),
            (Code::Overloaded, ""),
            (Code::TemporarilyUnavailable, ""),
            (Code::Internal, ""),
        ])
    }
}

#[derive(OpenApi)]
#[openapi(paths(accounts))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Life<K>>>> {
    let route = Route::new(Access::Needs(ReadPayments), |life, call| Box::pin(accounts(life, call)));
    vec![Mount::get("/v1/merchant/payment-accounts", "payment_accounts", route)]
}

/// The providers that take payments for the shop.
#[utoipa::path(
    get, path = "/v1/merchant/payment-accounts", operation_id = "payment_accounts", tag = "payments",
    security(("merchant" = [])), responses((status = 200, body = PaymentAccounts), Read)
)]
async fn accounts<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    call.query(&[])?;
    let tenant = TenantId::new(call.actor.tenant.into()).map_err(|_none| Refused::not_found())?;
    Ok(reply::json(StatusCode::OK, &PaymentAccounts { providers: life.providers(tenant) }))
}

impl<K: Kinds> Life<K> {
    /// The providers at which a tenant has an account.
    pub fn providers(&self, tenant: TenantId) -> Vec<&'static str> {
        let accounts = &self.ports().accounts;
        let known = ProviderKind::ALL.into_iter().filter(|provider| accounts.of(tenant, *provider).is_some());
        known.map(ProviderKind::as_str).collect()
    }
}

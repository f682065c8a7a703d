use kit::{
    access::{Actor, Permission::ReadOrders},
    api::{Access, Api, Route},
    http::{HeaderMap, Method, Mount},
    problem::Problem,
};

use super::{exports, list, service::Following, show, stream};
use crate::life::{Kinds, Refused, Staff as _};

impl<K: Kinds> Api for Following<K> {
    type Error = Refused;

    fn routes() -> Vec<Mount<Route<Self>>> {
        vec![
            Mount::get(
                "/v1/merchant/orders",
                "merchant_orders",
                Route::new(Access::Needs(ReadOrders), |following, call| Box::pin(list::list(following, call))),
            ),
            Mount::get(
                "/v1/merchant/orders/{order_id}",
                "merchant_order",
                Route::new(Access::Needs(ReadOrders), |following, call| Box::pin(show::show(following, call))),
            ),
            Mount::post(
                "/v1/merchant/order-exports",
                "export_orders",
                Route::new(Access::Needs(ReadOrders), |following, call| Box::pin(exports::export(following, call))),
            ),
            Mount::get(
                "/v1/merchant/order-exports/{export}",
                "order_export",
                Route::new(Access::Needs(ReadOrders), |following, call| Box::pin(exports::show(following, call))),
            ),
            Mount::get(
                "/v1/merchant/order-exports/{export}/file",
                "order_export_file",
                Route::new(Access::Needs(ReadOrders), |following, call| Box::pin(exports::file(following, call))),
            ),
            Mount::get(
                "/v1/orders/{order_id}/stream",
                "order_stream",
                Route::new(Access::Public, |following, call| Box::pin(stream::stream(following, call))),
            )
            .for_pages(),
        ]
    }

    async fn actor(&self, token: &str, method: &Method, headers: &HeaderMap) -> Result<Actor, Box<Problem>> {
        self.staff().actor(token, method, headers).await
    }
}

/// The service's part of the OpenAPI document: `life::document` has the rest.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = list::document();
    document.merge(show::document());
    document.merge(exports::document());
    document.merge(stream::document());
    document
}

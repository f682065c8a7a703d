//! What the order service answers, at the buyers' URL: its requests are handed on. Which of them it
//! has, it knows itself; a purchase is none of them.

use kit::{
    client::Forward,
    http::{Asked, Body, Method, Mount, Response, Service},
    problem::{Code, Problem},
};

/// Method, paths, name in metrics, and whether pages of shops may ask for it.
const ROUTES: [(Method, &str, &str, bool); 22] = [
    (Method::POST, "/v1/orders/{order_id}/{*step}", "order_step", true),
    (Method::GET, "/v1/orders/{order_id}/{*step}", "order_part", true),
    (Method::PUT, "/v1/orders/{order_id}/{*step}", "order_put", true),
    (Method::POST, "/v1/payments/{provider}/notify", "payment_notice", false),
    (Method::GET, "/v1/merchant/orders", "merchant_orders", false),
    (Method::GET, "/v1/merchant/orders/{*step}", "merchant_order", false),
    (Method::POST, "/v1/merchant/orders/{*step}", "merchant_order_step", false),
    (Method::PUT, "/v1/merchant/orders/{*step}", "merchant_order_put", false),
    (Method::DELETE, "/v1/merchant/orders/{*step}", "merchant_order_delete", false),
    (Method::POST, "/v1/merchant/order-exports", "merchant_order_export", false),
    (Method::GET, "/v1/merchant/order-exports/{*export}", "merchant_order_exports", false),
    (Method::GET, "/v1/merchant/payment-accounts", "payment_accounts", false),
    (Method::POST, "/v1/merchant/settlements/{*day}", "merchant_settlement", false),
    (Method::DELETE, "/v1/merchant/order-recipients/{*buyer}", "merchant_order_recipients", false),
    (Method::GET, "/v1/merchant/order-vouchers/{*part}", "merchant_order_vouchers", false),
    (Method::POST, "/v1/merchant/order-cancels", "merchant_order_cancel", false),
    (Method::GET, "/v1/merchant/order-cancels/{*job}", "merchant_order_cancels", false),
    (Method::GET, "/v1/merchant/order-handovers/{*offer}", "merchant_order_handover", false),
    (Method::PUT, "/v1/merchant/order-handovers/{*offer}", "merchant_order_handover_put", false),
    (Method::POST, "/v1/merchant/order-handovers/{*offer}", "merchant_order_handover_codes", false),
    (Method::GET, "/simulated/cashier/{account}/{*trade}", "cashier", false),
    (Method::POST, "/simulated/cashier/{account}/{*trade}", "cashier_step", false),
];

/// The order service, if there is one: without it there is nothing at these paths.
#[derive(Debug, Clone)]
pub struct Forwarded(pub Option<Forward>);

impl Service for Forwarded {
    type Route = ();

    fn mounts() -> Vec<Mount<()>> {
        let mount = |(method, pattern, name, is_for_pages)| Mount { method, pattern, name, route: (), is_for_pages };
        ROUTES.into_iter().map(mount).collect()
    }

    async fn answer(&self, _route: (), asked: Asked<'_>) -> Response<Body> {
        match &self.0 {
            // Boxed: every purchase would carry its room about.
            Some(orders) => Box::pin(orders.answer(asked)).await,
            None => {
                let problem = Problem::new(Code::NotFound, "there is nothing at this path");
                let mut response = problem.to_response();
                response.extensions_mut().insert(problem.code);
                response
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kit::http::{Both, Table};

    use super::*;
    use crate::testing::MemoryFront;

    /// The purchase stays the route that is compared first.
    #[test]
    fn no_route_of_the_order_service_is_in_the_way_of_buyers() {
        let table = Table::of::<Both<MemoryFront, Forwarded>>().unwrap();
        assert_eq!(table.names()[0], "buy");
        assert_eq!(table.names().len(), MemoryFront::mounts().len() + ROUTES.len());
    }
}

//! What the services behind the engine answer, at the buyers' URL: their requests are handed on.
//! Which of them there are, each knows itself; a purchase is none of them.

use kit::{
    client::Forward,
    http::{Asked, Body, Method, Mount, Response, Service},
    problem::{Code, Problem},
};

/// Method, paths, name in metrics, and whether pages of shops may ask for it.
type Handed = (Method, &'static str, &'static str, bool);

/// Of the order service.
const ORDERS: [Handed; 25] = [
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
    (Method::GET, "/v1/merchant/hoarders", "merchant_hoarders", false),
    (Method::PUT, "/v1/merchant/hoarders", "merchant_hoarders_put", false),
    (Method::DELETE, "/v1/merchant/hoarders", "merchant_hoarders_delete", false),
    (Method::GET, "/simulated/cashier/{account}/{*trade}", "cashier", false),
    (Method::POST, "/simulated/cashier/{account}/{*trade}", "cashier_step", false),
];

/// Of the service of commissions.
const COMMISSIONS: [Handed; 7] = [
    (Method::GET, "/v1/commissions/{*step}", "commission", true),
    (Method::POST, "/v1/commissions/{*step}", "commission_step", true),
    (Method::GET, "/v1/merchant/commissions/{*step}", "merchant_commission", false),
    (Method::POST, "/v1/merchant/commissions/{*step}", "merchant_commission_step", false),
    (Method::PUT, "/v1/merchant/commissions/{*step}", "merchant_commission_put", false),
    (Method::PATCH, "/v1/merchant/commissions/{*step}", "merchant_commission_patch", false),
    (Method::DELETE, "/v1/merchant/commissions/{*step}", "merchant_commission_delete", false),
];

/// The services behind an engine, each if there is one: without it there is nothing at its paths.
#[derive(Debug, Clone, Default)]
pub struct Forwarded {
    /// What becomes of an accepted order.
    pub orders: Option<Forward>,
    /// Commissions on orders.
    pub commissions: Option<Forward>,
}

/// Which of them has a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// The order service.
    Orders,
    /// The service of commissions.
    Commissions,
}

impl Service for Forwarded {
    type Route = Behind;

    fn mounts() -> Vec<Mount<Behind>> {
        let mount =
            |route| move |(method, pattern, name, is_for_pages)| Mount { method, pattern, name, route, is_for_pages };
        let orders = ORDERS.into_iter().map(mount(Behind::Orders));
        orders.chain(COMMISSIONS.into_iter().map(mount(Behind::Commissions))).collect()
    }

    async fn answer(&self, route: Behind, asked: Asked<'_>) -> Response<Body> {
        let service = match route {
            Behind::Orders => &self.orders,
            Behind::Commissions => &self.commissions,
        };
        match service {
            // Boxed: every purchase would carry its room about.
            Some(service) => Box::pin(service.answer(asked)).await,
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
    fn no_route_that_is_handed_on_is_in_the_way_of_buyers() {
        let table = Table::of::<Both<MemoryFront, Forwarded>>().unwrap();
        assert_eq!(table.names()[0], "buy");
        assert_eq!(table.names().len(), MemoryFront::mounts().len() + ORDERS.len() + COMMISSIONS.len());
    }
}

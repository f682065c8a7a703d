//! The routes of the service.

use kit::{
    access::Actor,
    api::{Api, Route},
    http::{HeaderMap, Method, Mount},
    problem::Problem,
};

use super::{
    cancel, cancels, codes, complete, handover, hoarders, notify, pay, payable,
    ports::{Kinds, Staff as _},
    recipient, refund_routes,
    refused::Refused,
    service::Life,
    settle, ship, voucher,
};

impl<K: Kinds> Api for Life<K> {
    type Error = Refused;

    fn routes() -> Vec<Mount<Route<Self>>> {
        let paid = [pay::routes(), payable::routes(), notify::routes(), voucher::routes(), refund_routes::routes()];
        let ended = [cancel::routes(), cancels::routes(), complete::routes(), settle::routes(), hoarders::routes()];
        let sent = [recipient::routes(), ship::routes(), handover::routes(), codes::routes()];
        paid.into_iter().chain(ended).chain(sent).flatten().collect()
    }

    async fn actor(&self, token: &str, method: &Method, headers: &HeaderMap) -> Result<Actor, Box<Problem>> {
        self.ports().staff.actor(token, method, headers).await
    }
}

//! The buyer's URL: requests in, domain types through, responses out. Only here are paths, statuses
//! and JSON; nothing past this module knows HTTP.

mod answers;
mod cursor;
pub(crate) mod handlers;
mod purchase;
pub mod wire;

use std::sync::Arc;

use domain::id::OfferId;
use kit::{
    clock::Clock,
    http::{Asked, Body, HeaderMap, HeaderValue, Mount, RequestMetrics, Response, Service, bearer, header, of_tenant},
    problem::Problem,
};
use store::{log::OrderLog, stock::LaneStock};

use crate::{
    buy::Purchases,
    metrics::Metrics,
    orders::{OrderRows, Unseen},
    purchase::{Caller, Declined},
};

use answers::Answers;

/// The routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `POST /v1/orders`.
    Buy,
    /// `GET /v1/orders`.
    OrderPage,
    /// `GET /v1/orders/{order_id}`.
    Order,
    /// `GET /v1/time`.
    Time,
}

/// What one front thread answers with.
pub struct Front<S, L: OrderLog, R, C> {
    purchases: Purchases<S, L, R, C>,
    clock: C,
    metrics: Arc<Metrics>,
    requests: Arc<RequestMetrics>,
    answers: Arc<Answers>,
}

/// Answers written once, shared by all threads.
#[derive(Clone)]
pub struct PreparedAnswers(Arc<Answers>);

impl Default for PreparedAnswers {
    fn default() -> Self {
        Self(Arc::new(Answers::prepare()))
    }
}

impl<S: LaneStock, L: OrderLog, R: OrderRows, C: Clock> Front<S, L, R, C> {
    /// A front over its purchases.
    pub fn new(
        purchases: Purchases<S, L, R, C>,
        clock: C,
        (metrics, requests): (Arc<Metrics>, Arc<RequestMetrics>),
        answers: PreparedAnswers,
    ) -> Self {
        Self { purchases, clock, metrics, requests, answers: answers.0 }
    }

    /// What it buys with: to wait for its tasks at the end.
    pub fn purchases(&self) -> &Purchases<S, L, R, C> {
        &self.purchases
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Declined> {
        self.purchases.admission.caller(bearer(headers), self.clock.now_ms())
    }

    /// Whose buyer asked, for a page that calls from another origin. Nobody's where the token is
    /// none; the page may read that too.
    fn noted(&self, headers: &HeaderMap, response: Response<Body>) -> Response<Body> {
        if !headers.contains_key(header::ORIGIN) {
            return response;
        }
        match self.caller(headers) {
            Ok(caller) => of_tenant(headers, caller.tenant, response),
            Err(_) => response,
        }
    }

    fn declined(&self, why: &Declined) -> Response<Body> {
        self.requests.refused(answers::code(why));
        if let Declined::RateLimited(limited) = why {
            self.metrics.rate_limited(limited.policy);
        }
        self.answers.declined(why)
    }

    /// As the one before, of a purchase of this offer: whoever holds as much as one buyer may is
    /// led to it.
    fn declined_of(&self, why: &Declined, offer: OfferId) -> Response<Body> {
        if !matches!(why, Declined::LimitReached) {
            return self.declined(why);
        }
        let directory = self.purchases.admission.directory().now();
        let Some((promotion, _)) = directory.offer(offer) else { return self.declined(why) };
        self.requests.refused(answers::code(why));
        answers::limit_reached(promotion.sale.id)
    }

    fn unseen(&self, why: Unseen) -> Response<Body> {
        self.requests.refused(answers::code_of_unseen(why));
        if let Unseen::TooOften(limited) = why {
            self.metrics.rate_limited(limited.policy);
        }
        self.answers.unseen(why)
    }

    fn refuse(&self, problem: &Problem) -> Response<Body> {
        self.requests.refused(problem.code);
        problem.to_response()
    }

    /// For a purchase that cannot be read: who has no good token is refused for that first.
    fn unreadable(&self, headers: &HeaderMap, problem: &Problem) -> Response<Body> {
        match self.caller(headers) {
            Ok(_) => self.refuse(problem),
            Err(why) => self.declined(&why),
        }
    }

    /// For a body that was not read to its end: what follows on the connection cannot be told from
    /// it.
    fn refuse_and_close(&self, problem: &Problem) -> Response<Body> {
        let mut response = self.refuse(problem);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

impl<S: LaneStock, L: OrderLog, R: OrderRows, C: Clock> Service for Front<S, L, R, C> {
    type Route = Route;

    fn mounts() -> Vec<Mount<Route>> {
        vec![
            Mount::post("/v1/orders", "buy", Route::Buy).for_pages(),
            Mount::get("/v1/orders", "order_page", Route::OrderPage).for_pages(),
            Mount::get("/v1/orders/{order_id}", "order", Route::Order).for_pages(),
            Mount::get("/v1/time", "time", Route::Time).for_pages(),
        ]
    }

    async fn answer(&self, route: Route, asked: Asked<'_>) -> Response<Body> {
        // What asks a database is boxed: its futures are large, and every purchase would carry
        // their room about.
        let headers = asked.headers();
        let response = match route {
            Route::Buy => handlers::buy(self, asked).await,
            Route::OrderPage => Box::pin(handlers::list_orders(self, asked)).await,
            Route::Order => Box::pin(handlers::get_order(self, asked)).await,
            Route::Time => handlers::get_time(self),
        };
        self.noted(headers, response)
    }
}

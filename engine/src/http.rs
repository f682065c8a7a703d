//! The buyer's URL: requests in, domain types through, responses out. Only here are paths, statuses
//! and JSON; nothing past this module knows HTTP.

mod answers;
mod body;
mod cursor;
mod purchase;
pub mod wire;

use std::sync::Arc;

use domain::id::{InvalidId, OfferId, OrderId, SaleId};
use kit::{
    clock::Clock,
    http::{
        BODY_DEADLINE, Body, Handler, HeaderMap, HeaderValue, Incoming, Method, Query, Request, Response, StatusCode,
        TraceContext, bearer, header, idempotency_key, read_body, reply,
    },
    problem::{Code, Problem},
};
use store::{log::OrderLog, stock::LaneStock};

use crate::{
    buy::Purchases,
    metrics::{Metrics, Route},
    orders::{OrderRows, PAGE_MAX, Unseen},
    pages::Pages,
    purchase::{Caller, Declined, Purchase, PurchaseState},
};

use answers::Answers;
use body::rfc3339;
use purchase::{PURCHASE_BYTES_MAX, PurchaseBody};

/// Orders of one page, unless the client says otherwise.
const PAGE_DEFAULT: u32 = 20;

/// A path of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path<'a> {
    Orders,
    Order(&'a str),
    Sale(&'a str),
    Time,
}

impl<'a> Path<'a> {
    fn of(path: &'a str) -> Option<Self> {
        match path.strip_prefix("/v1/")? {
            "orders" => Some(Self::Orders),
            "time" => Some(Self::Time),
            rest => {
                let (collection, id) = rest.split_once('/')?;
                match collection {
                    _ if id.is_empty() || id.contains('/') => None,
                    "orders" => Some(Self::Order(id)),
                    "sales" => Some(Self::Sale(id)),
                    _ => None,
                }
            }
        }
    }
}

/// What one front thread answers with.
pub struct Front<S, L: OrderLog, R, C> {
    purchases: Purchases<S, L, R, C>,
    pages: Arc<Pages>,
    clock: C,
    metrics: Arc<Metrics>,
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
    /// A front over its purchases, and the pages of all threads.
    pub fn new(
        purchases: Purchases<S, L, R, C>,
        pages: Arc<Pages>,
        clock: C,
        metrics: Arc<Metrics>,
        answers: PreparedAnswers,
    ) -> Self {
        Self { purchases, pages, clock, metrics, answers: answers.0 }
    }

    /// What it buys with: to wait for its tasks at the end.
    pub fn purchases(&self) -> &Purchases<S, L, R, C> {
        &self.purchases
    }

    async fn answer(&self, request: Request<Incoming>) -> (Route, Response<Body>) {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        // What asks a database is boxed: its futures are large, and every purchase would carry
        // their room about.
        match Path::of(request.uri().path()) {
            Some(Path::Orders) if request.method() == Method::POST => (Route::Buy, self.buy(request).await),
            Some(Path::Orders) if reads => (Route::OrderPage, Box::pin(self.page(&request)).await),
            Some(Path::Order(id)) if reads => (Route::Order, Box::pin(self.order(id, &request)).await),
            Some(Path::Sale(id)) if reads => (Route::Sale, Box::pin(self.sale(id, &request)).await),
            Some(Path::Time) if reads => (Route::Time, self.time()),
            Some(Path::Orders) => (Route::Other, self.not_allowed("GET, HEAD, POST")),
            Some(_) => (Route::Other, self.not_allowed("GET, HEAD")),
            None => (Route::Other, self.refuse(&Problem::new(Code::NotFound, "there is nothing at this path"))),
        }
    }

    async fn buy(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, incoming) = request.into_parts();
        // Read before anything is refused, so that the connection can go on.
        let sent = match read_body(incoming, PURCHASE_BYTES_MAX, BODY_DEADLINE).await {
            Ok(sent) => sent,
            Err(error) => return self.refuse_and_close(&error.into()),
        };
        let key = match idempotency_key(&head.headers) {
            Ok(key) => key,
            Err(error) => return self.refuse(&Problem::from(error).with_field("Idempotency-Key", error.to_string())),
        };
        if let Err(problem) = body::check_json(&head.headers) {
            return self.refuse(&problem);
        }
        let PurchaseBody { offer, quantity, context } = match PurchaseBody::read(&sent) {
            Ok(read) => read,
            Err(problem) => return self.refuse(&problem),
        };
        match self.purchases.buy(Purchase { token: bearer(&head.headers), offer, quantity, key, context }).await {
            Ok(bought) => {
                match bought.state {
                    PurchaseState::Accepted => self.metrics.accepted.inc(),
                    PurchaseState::Pending => self.metrics.pending.inc(),
                    // Nothing was bought: it is what became of an earlier order.
                    PurchaseState::Over(_) => {}
                }
                answers::bought(bought)
            }
            Err(why) => self.declined(&why),
        }
    }

    async fn page(&self, request: &Request<Incoming>) -> Response<Body> {
        let caller = match self.caller(request.headers()) {
            Ok(caller) => caller,
            Err(why) => return self.declined(&why),
        };
        let (before, limit) = match page_asked(caller, request.uri().query()) {
            Ok(asked) => asked,
            Err(problem) => return self.refuse(&problem),
        };
        match self.purchases.orders.page(caller, before, limit).await {
            Ok(list) => answers::page(&list, caller),
            Err(why) => self.unseen(why),
        }
    }

    async fn order(&self, id: &str, request: &Request<Incoming>) -> Response<Body> {
        let caller = match self.caller(request.headers()) {
            Ok(caller) => caller,
            Err(why) => return self.declined(&why),
        };
        let offer = match offer_asked(request.uri().query()) {
            Ok(offer) => offer,
            Err(problem) => return self.refuse(&problem),
        };
        // What is no id names nothing.
        let Ok(id) = id.parse::<OrderId>() else { return self.unseen(Unseen::NotFound) };
        match self.purchases.orders.status(caller, id, offer).await {
            Ok(view) => answers::order(&view),
            Err(why) => self.unseen(why),
        }
    }

    async fn sale(&self, id: &str, request: &Request<Incoming>) -> Response<Body> {
        let promotion = {
            let directory = self.purchases.admission.directory().now();
            id.parse::<SaleId>().ok().and_then(|id| directory.sale(id)).map(Arc::clone)
        };
        let Some(promotion) = promotion else {
            return self.refuse(&Problem::new(Code::NotFound, "there is no such sale"));
        };
        let moment = || self.purchases.admission.moment();
        let Some(mut page) = self.pages.of(&promotion, moment()).await else {
            return self.no_page(Code::TemporarilyUnavailable);
        };
        let is_sent = request.method() == Method::GET && !answers::is_known(&page.tag, request.headers());
        let (bytes, selling) = (if is_sent { page.body.len() } else { 0 }, self.metrics.permits_in_use.get() > 0);
        let Some(turn) = self.pages.pace.turn(bytes, selling, self.clock.monotonic()) else {
            return self.no_page(Code::Overloaded);
        };
        if !turn.is_zero() {
            tokio::time::sleep(turn).await;
            // What was right before the wait need not be any more.
            page = self.pages.of(&promotion, moment()).await.unwrap_or(page);
        }
        answers::sale(&page, answers::is_known(&page.tag, request.headers()))
    }

    fn no_page(&self, code: Code) -> Response<Body> {
        self.metrics.refused(code);
        self.answers.no_page(code)
    }

    fn time(&self) -> Response<Body> {
        let now_ms = self.clock.now_ms();
        let body = wire::Time { server_time: rfc3339(now_ms), epoch_ms: now_ms };
        let mut response = reply::json(StatusCode::OK, &body);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Declined> {
        self.purchases.admission.caller(bearer(headers), self.clock.now_ms())
    }

    fn declined(&self, why: &Declined) -> Response<Body> {
        self.metrics.refused(answers::code(why));
        if let Declined::RateLimited(limited) = why {
            self.metrics.rate_limited(limited.policy);
        }
        self.answers.declined(why)
    }

    fn unseen(&self, why: Unseen) -> Response<Body> {
        self.metrics.refused(answers::code_of_unseen(why));
        if let Unseen::TooOften(limited) = why {
            self.metrics.rate_limited(limited.policy);
        }
        self.answers.unseen(why)
    }

    fn refuse(&self, problem: &Problem) -> Response<Body> {
        self.metrics.refused(problem.code);
        problem.to_response()
    }

    /// For a body that was not read to its end: what follows on the connection cannot be told from
    /// it.
    fn refuse_and_close(&self, problem: &Problem) -> Response<Body> {
        let mut response = self.refuse(problem);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }

    fn not_allowed(&self, allowed: &'static str) -> Response<Body> {
        let mut response = self.refuse(&Problem::new(Code::MethodNotAllowed, "this path has other methods"));
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
        response
    }
}

impl<S: LaneStock, L: OrderLog, R: OrderRows, C: Clock> Handler for Front<S, L, R, C> {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let started = self.clock.monotonic();
        let trace = TraceContext::of_request(request.headers());
        let (route, mut response) = self.answer(request).await;
        trace.insert_into(response.headers_mut());
        let took = self.clock.monotonic().saturating_sub(started);
        self.metrics.route(route).observe(response.status(), took);
        response
    }
}

fn page_asked(caller: Caller, query: Option<&str>) -> Result<(Option<OrderId>, u32), Box<Problem>> {
    let query = parameters(query, &["cursor", "limit"])?;
    let no_cursor = || wrong("cursor", "give the next_cursor of an earlier page of this buyer".into());
    let before = query.get("cursor").map(|sent| cursor::read(caller, sent).ok_or_else(no_cursor)).transpose()?;
    let limit = query.get("limit").map_or(Some(PAGE_DEFAULT), number);
    let limit = limit.filter(|limit| (1..=PAGE_MAX).contains(limit));
    Ok((before, limit.ok_or_else(|| wrong("limit", format!("give 1 to {PAGE_MAX}")))?))
}

/// A number in its one spelling: digits, no sign, no leading zero.
fn number(sent: &str) -> Option<u32> {
    let is_plain = sent.bytes().all(|byte| byte.is_ascii_digit()) && !sent.starts_with('0');
    sent.parse().ok().filter(|_| is_plain)
}

fn offer_asked(query: Option<&str>) -> Result<Option<OfferId>, Box<Problem>> {
    let offer = parameters(query, &["offer_id"])?.get("offer_id").map(str::parse).transpose();
    offer.map_err(|error: InvalidId| wrong("offer_id", error.to_string()))
}

fn parameters<'a>(query: Option<&'a str>, known: &[&str]) -> Result<Query<'a>, Box<Problem>> {
    let query = Query::parse(query).map_err(|error| Box::new(error.into()))?;
    query.only(known).map_err(|error| Box::new(error.into()))?;
    Ok(query)
}

fn wrong(field: &'static str, message: String) -> Box<Problem> {
    Box::new(Problem::new(Code::InvalidRequest, "the query cannot be understood").with_field(field, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn paths_are_matched_exactly() {
        assert_eq!(Path::of("/v1/orders"), Some(Path::Orders));
        assert_eq!(Path::of("/v1/orders/12"), Some(Path::Order("12")));
        assert_eq!(Path::of("/v1/sales/7"), Some(Path::Sale("7")));
        assert_eq!(Path::of("/v1/time"), Some(Path::Time));
        for none in
            ["/", "/v1", "/v1/", "/v1/orders/", "/v1/orders/1/2", "/v1/sales", "/v2/time", "/v1/time/", "//v1/time"]
        {
            assert_eq!(Path::of(none), None, "{none}");
        }
    }

    #[test]
    fn a_page_is_asked_for_within_bounds() {
        let caller = Caller { tenant: testing::tenant(), buyer: testing::buyer(1) };
        let page_asked = |query| page_asked(caller, query);
        assert_eq!(page_asked(None).unwrap(), (None, PAGE_DEFAULT));
        let order = OrderId::new(9).unwrap();
        let good = format!("cursor={}&limit=100", cursor::write(caller, order));
        assert_eq!(page_asked(Some(&good)).unwrap(), (Some(order), 100));
        for bad in ["limit=0", "limit=101", "limit=x", "limit=%2B5", "limit=+5", "limit=05", "limit=", "limit=5%20"] {
            assert_eq!(page_asked(Some(bad)).unwrap_err().field_errors[0].field, "limit", "{bad}");
        }
        for bad in ["cursor=9", "cursor=x", "cursor="] {
            assert_eq!(page_asked(Some(bad)).unwrap_err().field_errors[0].field, "cursor", "{bad}");
        }
        assert!(page_asked(Some("limt=1")).is_err());
    }

    #[test]
    fn routes_are_numbered_in_order() {
        for (number, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, number);
        }
    }
}

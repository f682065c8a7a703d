//! Outcomes to responses: the one place where an outcome gets its code and a status. Refusals that never vary are rendered once.

use std::{hash::Hasher, time::Duration};

use bytes::Bytes;
use kit::{
    http::{Body, HeaderMap, HeaderValue, Response, StatusCode, header, reply},
    problem::{Code, PreparedProblem, Problem, RateLimit},
};
use siphasher::sip::SipHasher13;

use super::{body::rfc3339, wire};
use crate::{
    admission::{Limited, Moment},
    buy::{Bought, Declined, Standing},
    orders::{OrderView, Unseen},
    sales::Promotion,
};

/// When to come back to an overloaded engine.
const OVERLOADED_AFTER: Duration = Duration::from_secs(1);
/// When to come back to a closed lane: rebuilds take about as long.
const CLOSED_AFTER: Duration = Duration::from_secs(2);
/// Buckets are filled by the second.
const WINDOW_S: u64 = 1;
/// How long a cache may show a sale without asking.
const SALE_CACHE: HeaderValue = HeaderValue::from_static("public, max-age=1");

/// The code of a refusal.
pub(super) const fn code(why: &Declined) -> Code {
    match why {
        Declined::NoToken => Code::Unauthenticated,
        Declined::Token(error) if error.is_forbidden() => Code::Forbidden,
        Declined::Token(_) => Code::Unauthenticated,
        Declined::UnknownOffer => Code::NotFound,
        Declined::NotStarted { .. } => Code::NotStarted,
        Declined::Paused => Code::Paused,
        Declined::Ended => Code::Ended,
        Declined::SoldOut => Code::SoldOut,
        Declined::LimitReached => Code::LimitReached,
        Declined::Mismatch => Code::IdempotencyMismatch,
        Declined::RateLimited(_) => Code::RateLimited,
        Declined::Overloaded => Code::Overloaded,
        Declined::LaneClosed => Code::TemporarilyUnavailable,
    }
}

/// The code of an order that is not shown.
pub(super) const fn code_of_unseen(why: Unseen) -> Code {
    match why {
        Unseen::NotFound => Code::NotFound,
        Unseen::Unavailable => Code::TemporarilyUnavailable,
        Unseen::Overloaded => Code::Overloaded,
        Unseen::TooOften(_) => Code::RateLimited,
    }
}

/// Refusals, rendered once.
pub(super) struct Answers {
    no_token: PreparedProblem,
    bad_token: PreparedProblem,
    forbidden: PreparedProblem,
    unknown_offer: PreparedProblem,
    not_started: PreparedProblem,
    paused: PreparedProblem,
    ended: PreparedProblem,
    sold_out: PreparedProblem,
    limit_reached: PreparedProblem,
    mismatch: PreparedProblem,
    overloaded: PreparedProblem,
    lane_closed: PreparedProblem,
    unknown_order: PreparedProblem,
    unavailable: PreparedProblem,
}

impl Answers {
    pub(super) fn prepare() -> Self {
        let of = |code, detail: &'static str| PreparedProblem::new(&Problem::new(code, detail));
        let later = |code, detail: &'static str, after| Problem::new(code, detail).with_retry_after(after).into();
        Self {
            no_token: of(Code::Unauthenticated, "a bearer token is needed"),
            bad_token: of(Code::Unauthenticated, "the token is not valid"),
            forbidden: of(Code::Forbidden, "the token is not a buyer's"),
            unknown_offer: of(Code::NotFound, "there is no such offer"),
            not_started: of(Code::NotStarted, "the sale has not started; come back when it opens"),
            paused: of(Code::Paused, "the merchant has stopped the sale for now"),
            ended: of(Code::Ended, "the sale is over"),
            sold_out: of(Code::SoldOut, "fewer units are left than asked for"),
            limit_reached: of(Code::LimitReached, "with this purchase you would hold more than one buyer may"),
            mismatch: of(Code::IdempotencyMismatch, "this Idempotency-Key was used for another quantity"),
            overloaded: later(Code::Overloaded, "too many buyers at once; nothing was bought", OVERLOADED_AFTER),
            lane_closed: later(
                Code::TemporarilyUnavailable,
                "the stock of this offer is being checked; repeat with the same Idempotency-Key",
                CLOSED_AFTER,
            ),
            unknown_order: of(Code::NotFound, "there is no such order, or none yet without its offer_id"),
            unavailable: later(Code::TemporarilyUnavailable, "orders cannot be read now", CLOSED_AFTER),
        }
    }

    pub(super) fn declined(&self, why: &Declined) -> Response<Body> {
        match why {
            Declined::NoToken => self.no_token.response(),
            Declined::Token(error) if error.is_forbidden() => self.forbidden.response(),
            Declined::Token(_) => self.bad_token.response(),
            Declined::UnknownOffer => self.unknown_offer.response(),
            Declined::NotStarted { opens_in_ms } => {
                self.not_started.response_after(Duration::from_millis(*opens_in_ms))
            }
            Declined::Paused => self.paused.response(),
            Declined::Ended => self.ended.response(),
            Declined::SoldOut => self.sold_out.response(),
            Declined::LimitReached => self.limit_reached.response(),
            Declined::Mismatch => self.mismatch.response(),
            Declined::RateLimited(limited) => rate_limited(limited),
            Declined::Overloaded => self.overloaded.response(),
            Declined::LaneClosed => self.lane_closed.response(),
        }
    }

    pub(super) fn unseen(&self, why: Unseen) -> Response<Body> {
        match why {
            Unseen::NotFound => self.unknown_order.response(),
            Unseen::Unavailable => self.unavailable.response(),
            Unseen::Overloaded => self.overloaded.response(),
            Unseen::TooOften(limited) => rate_limited(&limited),
        }
    }
}

fn rate_limited(limited: &Limited) -> Response<Body> {
    let reset_s = limited.retry_after.as_secs() + u64::from(limited.retry_after.subsec_nanos() > 0);
    let detail = match limited.policy {
        "buyer" => "you ask too often",
        "tenant" => "this shop is asked too often",
        _ => "this offer is asked for too often",
    };
    let limit =
        RateLimit { policy: limited.policy, quota: limited.per_s.into(), window_s: WINDOW_S, remaining: 0, reset_s };
    Problem::new(Code::RateLimited, detail).with_retry_after(limited.retry_after).with_rate_limit(limit).to_response()
}

/// `202`: an order, and where its status is told.
pub(super) fn bought(bought: Bought) -> Response<Body> {
    let status = match bought.standing {
        Standing::Accepted => "accepted",
        Standing::Pending => "pending",
    };
    let (mut order, mut offer) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (order, offer) = (order.format(bought.order.get()), offer.format(bought.offer.get()));
    // Put together without the formatter: this is the answer of every order.
    let body = ["{\"order_id\":\"", order, "\",\"status\":\"", status, "\"}"].concat();
    let location = ["/v1/orders/", order, "?offer_id=", offer].concat();
    let mut response = reply::raw(StatusCode::ACCEPTED, reply::CONTENT_TYPE_JSON, body);
    // Digits and plain letters always make a header value.
    if let Ok(location) = HeaderValue::from_maybe_shared(Bytes::from(location)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// A page of orders. The cursor of the next one is the last order shown: a full page may have a successor.
pub(super) fn page(views: &[OrderView], limit: u32) -> Response<Body> {
    let is_full = views.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next_cursor = views.last().filter(|_| is_full).map(|view| view.order.to_string());
    reply::json(StatusCode::OK, &wire::OrderPage { orders: views.iter().map(wire::Order::from).collect(), next_cursor })
}

/// A sale, or that it is still the one the client knows.
pub(super) fn sale(promotion: &Promotion, moment: Moment, headers: &HeaderMap) -> Response<Body> {
    let shown = show(promotion, moment);
    let tag = tag_of(&shown);
    let is_known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|sent| sent.to_str().ok()).any(|sent| {
        // Compared weakly, as RFC 9110 asks.
        sent.split(',').map(str::trim).any(|sent| sent == "*" || sent.trim_start_matches("W/") == &tag[2..])
    });
    let mut response =
        if is_known { reply::empty(StatusCode::NOT_MODIFIED) } else { reply::json(StatusCode::OK, &shown) };
    if let Ok(tag) = HeaderValue::from_maybe_shared(Bytes::from(tag)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, SALE_CACHE);
    response
}

fn show(promotion: &Promotion, moment: Moment) -> wire::Sale {
    let sale = &promotion.sale;
    let offers = sale.offers().filter_map(|(lane, offer)| {
        // Offers that the directory left out are not sold here.
        let offered = promotion.offers.iter().find(|offered| offered.id == offer.id)?;
        Some(wire::Offer {
            offer_id: offer.id.to_string(),
            sku_id: offer.sku.to_string(),
            title: offer.title.clone(),
            price: offer.price.into(),
            limit_per_buyer: lane.limit_per_buyer,
            stock: offered.stock.coarse(offer.allotment, moment.monotonic_ms).as_str(),
        })
    });
    wire::Sale {
        sale_id: sale.id.to_string(),
        title: sale.title.clone(),
        version: sale.version,
        state: sale.phase(moment.wall_ms).as_str(),
        opens_at: rfc3339(sale.window.opens_at_ms),
        closes_at: rfc3339(sale.window.closes_at_ms),
        server_time: rfc3339(moment.wall_ms),
        offers: offers.collect(),
    }
}

/// A weak tag: of all that is shown but the server's time, which has a route of its own.
fn tag_of(sale: &wire::Sale) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write_u32(sale.version);
    hasher.write(sale.state.as_bytes());
    for offer in &sale.offers {
        hasher.write(offer.offer_id.as_bytes());
        hasher.write(offer.stock.as_bytes());
    }
    format!("W/\"{:016x}\"", hasher.finish())
}

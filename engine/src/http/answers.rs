//! Outcomes to responses: the one place where an outcome gets its code and a status. Refusals that
//! never vary are rendered once.

use std::time::Duration;

use bytes::Bytes;
use domain::{id::SaleId, money::Money, sale::SubjectKind};
use kit::{
    http::{Body, HeaderValue, Response, StatusCode, header, reply},
    problem::{Code, NO_STORE, PreparedProblem, Problem, RateLimit},
    token::TokenError,
};

use super::{cursor, wire};
use crate::{
    limits::Limited,
    orders::{OrderList, OrderView, Unseen},
    purchase::{Bought, Caller, Declined, PurchaseState},
};

/// When to come back to an overloaded engine.
const OVERLOADED_AFTER: Duration = Duration::from_secs(1);
/// When to come back to a closed lane: rebuilds take about as long.
const CLOSED_AFTER: Duration = Duration::from_secs(2);
/// What a buyer is told who holds enough.
const LIMIT_REACHED: &str = "with this purchase you would hold more than one buyer may";
/// Buckets are filled by the second.
const WINDOW_S: u64 = 1;

/// The code of a refusal.
pub(super) const fn code(why: &Declined) -> Code {
    match why {
        Declined::NoToken => Code::Unauthenticated,
        Declined::Token(error) if error.is_forbidden() => Code::Forbidden,
        Declined::Token(_) => Code::Unauthenticated,
        Declined::UnknownOffer => Code::NotFound,
        Declined::WrongSubject { .. } => Code::WrongSubject,
        Declined::MembersOnly => Code::MembersOnly,
        Declined::PriceChanged { .. } => Code::PriceChanged,
        Declined::NotStarted { .. } => Code::NotStarted,
        Declined::Paused => Code::Paused,
        Declined::Ended => Code::Ended,
        Declined::SoldOut => Code::SoldOut,
        Declined::LimitReached => Code::LimitReached,
        Declined::Mismatch => Code::IdempotencyMismatch,
        Declined::RateLimited(_) => Code::RateLimited,
        Declined::Overloaded => Code::Overloaded,
        Declined::LaneClosed => Code::TemporarilyUnavailable,
        Declined::OutcomeUnknown => Code::OutcomeUnknown,
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
    expired_token: PreparedProblem,
    early_token: PreparedProblem,
    forbidden: PreparedProblem,
    unknown_offer: PreparedProblem,
    counts_accounts: PreparedProblem,
    counts_phones: PreparedProblem,
    counts_id_hashes: PreparedProblem,
    members_only: PreparedProblem,
    not_started: PreparedProblem,
    paused: PreparedProblem,
    ended: PreparedProblem,
    sold_out: PreparedProblem,
    limit_reached: PreparedProblem,
    mismatch: PreparedProblem,
    overloaded: PreparedProblem,
    lane_closed: PreparedProblem,
    outcome_unknown: PreparedProblem,
    unknown_order: PreparedProblem,
    unavailable: PreparedProblem,
}

impl Answers {
    pub(super) fn prepare() -> Self {
        let of = |code, detail: &'static str| PreparedProblem::new(&Problem::new(code, detail));
        let of_token = |detail| Problem::new(Code::Unauthenticated, detail).with_token_error(detail).into();
        let later = |code, detail: &'static str, after| Problem::new(code, detail).with_retry_after(after).into();
        Self {
            no_token: of(Code::Unauthenticated, "a bearer token is needed"),
            bad_token: of_token("the token is not valid"),
            expired_token: of_token("the token has expired"),
            early_token: of_token("the token is not valid yet"),
            forbidden: of(Code::Forbidden, "the token is not a buyer's"),
            unknown_offer: of(Code::NotFound, "there is no such offer"),
            counts_accounts: of(Code::WrongSubject, "this sale counts by account; come with a token by account"),
            counts_phones: of(Code::WrongSubject, "this sale counts by phone; come with a token by phone"),
            counts_id_hashes: of(Code::WrongSubject, "this sale counts by id_hash; come with a token by id_hash"),
            members_only: of(Code::MembersOnly, "this sale is for members; come with a member's token"),
            not_started: of(Code::NotStarted, "the sale has not started; come back when it opens"),
            paused: of(Code::Paused, "the merchant has stopped the sale for now"),
            ended: of(Code::Ended, "the sale is over"),
            sold_out: of(Code::SoldOut, "fewer units are left than asked for"),
            limit_reached: of(Code::LimitReached, LIMIT_REACHED),
            mismatch: of(Code::IdempotencyMismatch, "this Idempotency-Key was used for another quantity"),
            overloaded: later(Code::Overloaded, "too many buyers at once; nothing was bought", OVERLOADED_AFTER),
            lane_closed: later(
                Code::TemporarilyUnavailable,
                "the stock of this offer is being checked; repeat with the same Idempotency-Key",
                CLOSED_AFTER,
            ),
            outcome_unknown: later(
                Code::OutcomeUnknown,
                "whether this purchase was taken is not known; repeat it with the same Idempotency-Key: it gets the same order",
                CLOSED_AFTER,
            ),
            unknown_order: of(
                Code::NotFound,
                "there is no such order. An order that has no row yet is found by its offer_id only; one that was pending and is \
                 not found by it either was lost before it was written down: repeat the purchase with the same Idempotency-Key",
            ),
            unavailable: later(Code::TemporarilyUnavailable, "orders cannot be read now", CLOSED_AFTER),
        }
    }

    pub(super) fn declined(&self, why: &Declined) -> Response<Body> {
        match why {
            Declined::NoToken => self.no_token.response(),
            Declined::Token(error) if error.is_forbidden() => self.forbidden.response(),
            // Whose clock is wrong, or who only needs a new one, can mend it; of all else a forger
            // learns nothing.
            Declined::Token(TokenError::Expired) => self.expired_token.response(),
            Declined::Token(TokenError::NotYetValid) => self.early_token.response(),
            Declined::Token(_) => self.bad_token.response(),
            Declined::UnknownOffer => self.unknown_offer.response(),
            Declined::WrongSubject { counted } => match counted {
                SubjectKind::Account => self.counts_accounts.response(),
                SubjectKind::Phone => self.counts_phones.response(),
                SubjectKind::IdHash => self.counts_id_hashes.response(),
            },
            Declined::MembersOnly => self.members_only.response(),
            Declined::PriceChanged { price } => price_changed(*price),
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
            Declined::OutcomeUnknown => self.outcome_unknown.response(),
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
        "buyer" | "buyer_reads" => "you ask too often",
        "tenant" => "this shop is asked too often",
        _ => "this offer is asked for too often",
    };
    let limit =
        RateLimit { policy: limited.policy, quota: limited.per_s.into(), window_s: WINDOW_S, remaining: 0, reset_s };
    Problem::new(Code::RateLimited, detail).with_retry_after(limited.retry_after).with_rate_limit(limit).to_response()
}

/// `202`: an order, and where its status is asked for.
pub(super) fn bought(bought: Bought) -> Response<Body> {
    let status = match bought.state {
        PurchaseState::Accepted => "accepted",
        PurchaseState::Pending => "pending",
        PurchaseState::Over(status) => status.as_str(),
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
    unstored(response)
}

/// The refusal of a purchase at another price, with the one that holds. Rare, so that it is written
/// when it is needed.
fn price_changed(price: Money) -> Response<Body> {
    let detail = "the price is another one by now; nothing was bought. Look at `current`, and buy at that price";
    Problem::new(Code::PriceChanged, detail).with_current(&wire::Priced { price: price.into() }).to_response()
}

/// The refusal of whoever holds as much of a sale as one buyer may, with where that is. It varies
/// by sale, so that it is written when it is needed.
pub(super) fn limit_reached(sale: SaleId) -> Response<Body> {
    let problem = Problem::new(Code::LimitReached, LIMIT_REACHED);
    problem.with_orders(format!("/v1/orders?live_in_sale={sale}")).to_response()
}

/// A page of orders.
pub(super) fn page(list: &OrderList, caller: Caller) -> Response<Body> {
    let last = list.orders.last().filter(|_| list.has_more);
    let page = wire::OrderPage {
        orders: list.orders.iter().map(wire::Order::from).collect(),
        next_cursor: last.map(|view| cursor::write(caller, view.order)),
    };
    unstored(reply::json(StatusCode::OK, &page))
}

/// An order.
pub(super) fn order(view: &OrderView) -> Response<Body> {
    unstored(reply::json(StatusCode::OK, &wire::Order::from(view)))
}

/// What is one buyer's, no cache keeps.
fn unstored(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
    response
}

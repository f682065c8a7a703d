//! The requests, and what each must get. They are sent in this order: later ones know what earlier
//! ones bought.

use serde_json::{Value, json};

use crate::{
    sales::{
        BY_PHONE, FUTURE, LIMIT, MEMBERS, OPEN, PAST, PAUSED, PLENTY, SCARCE, SLOW_BUYER, SLOW_OFFER, TENANT, offer_of,
    },
    side::{Side, ask, post},
};

/// The routes, as the document writes them.
pub(crate) const BUY: &str = "POST /v1/orders";
/// See [`BUY`].
pub(crate) const PAGE: &str = "GET /v1/orders";
/// See [`BUY`].
pub(crate) const ORDER: &str = "GET /v1/orders/{order_id}";
/// See [`BUY`].
pub(crate) const SALE: &str = "GET /v1/sales/{sale_id}";
/// See [`BUY`].
pub(crate) const LIST: &str = "GET /v1/sales";
/// See [`BUY`].
pub(crate) const TIME: &str = "GET /v1/time";

/// What no client can bring about, and why.
pub(crate) const UNPROVOKED: [(&str, u16, &str, &str); 9] = [
    (
        BUY,
        503,
        "outcome_unknown",
        "needs a stock server that falls silent in a call, which the embedded deployment has none of",
    ),
    (SALE, 503, "overloaded", "needs more than 128 MiB of pages in a second"),
    (LIST, 503, "overloaded", "needs more than 128 MiB of pages in a second"),
    (LIST, 503, "temporarily_unavailable", "needs an engine whose checks of pages stand still"),
    (SALE, 503, "temporarily_unavailable", "needs an engine whose checks of pages stand still"),
    (PAGE, 503, "overloaded", "needs 512 reads at one time, each of which takes a millisecond"),
    (PAGE, 503, "temporarily_unavailable", "needs databases that do not answer"),
    (ORDER, 503, "overloaded", "needs 512 reads at one time, each of which takes a millisecond"),
    (ORDER, 503, "temporarily_unavailable", "needs databases that do not answer"),
];

/// Purchases at one time that are too many for the permits of a side.
const CROWD: u64 = 64;
/// The buyer of the first order.
const BUYER: u64 = 1;
/// Buyers with one purpose each.
const STRANGER: u64 = 2;
const FAST: u64 = 3;
const LATE: u64 = 4;
/// How much this one buys is a matter of time.
pub(crate) const HASTY: u64 = 5;
/// The first of the crowd's.
const FIRST_OF_CROWD: u64 = 10_000;

/// How long to ask.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// The first answer counts.
    AtOnce,
    /// Asks again, in haste, until the expected answer comes.
    Expected,
    /// Asks again until the expected answer comes and says this.
    Says(&'static str),
}

/// Writes requests for a side.
pub(crate) type Make = dyn Fn(&Side) -> Vec<String>;

/// What to ask.
pub(crate) enum Ask {
    /// These requests at one time, over a connection each; the expected answer is looked for among
    /// theirs.
    Requests(Box<Make>),
    /// A purchase in a sale that was published just now.
    LaneThatIsNotOpen,
}

/// A request and what it must get.
pub(crate) struct Case {
    /// As the document writes it.
    pub route: &'static str,
    /// Expected.
    pub status: u16,
    /// Expected; `none` where the answer is no problem.
    pub code: &'static str,
    /// What is asked for.
    pub name: &'static str,
    /// How long to ask.
    pub until: Until,
    /// What to ask.
    pub ask: Ask,
}

/// A case of one request, whose first answer counts.
pub(crate) fn case(
    (route, status, code): (&'static str, u16, &'static str),
    name: &'static str,
    make: impl Fn(&Side) -> String + 'static,
) -> Case {
    let ask = Ask::Requests(Box::new(move |side| vec![make(side)]));
    Case { route, status, code, name, until: Until::AtOnce, ask }
}

impl Case {
    fn until(self, until: Until) -> Self {
        Self { until, ..self }
    }
}

/// All cases of what is documented.
pub(crate) fn table() -> Vec<Case> {
    [purchases(), refusals(), bodies(), tokens(), limits(), orders(), sales(), too_many_reads()]
        .into_iter()
        .flatten()
        .collect()
}

fn buys(expected: (&'static str, u16, &'static str), name: &'static str, of: (u64, &'static str, u64, u32)) -> Case {
    let (buyer, key, offer, quantity) = of;
    case(expected, name, move |side| side.buys(buyer, key, offer, quantity))
}

fn purchases() -> Vec<Case> {
    let with_context = |side: &Side| {
        let body = format!(r#" {{"quantity":1,"context":{{"a":[1,2]}},"offer_id":"{PLENTY}"}}"#);
        post(
            &side.token(LATE),
            "Idempotency-Key: \"quoted\"\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
            &body,
        )
    };
    vec![
        buys((BUY, 202, "none"), "a purchase", (BUYER, "a", PLENTY, 1)),
        buys((BUY, 202, "none"), "the same again", (BUYER, "a", PLENTY, 1)),
        buys((BUY, 422, "idempotency_mismatch"), "the same with another quantity", (BUYER, "a", PLENTY, 2)),
        buys((BUY, 202, "none"), "another key", (BUYER, "b", PLENTY, 1)),
        buys((BUY, 409, "limit_reached"), "more than one may hold", (BUYER, "c", PLENTY, 1)),
        buys((BUY, 202, "none"), "the same again, at the limit", (BUYER, "b", PLENTY, 1)),
        buys((BUY, 409, "limit_reached"), "more at once than one may hold", (STRANGER, "a", PLENTY, LIMIT + 1)),
        case((BUY, 202, "none"), "a purchase with a context and a trace", with_context),
        buys((BUY, 202, "none"), "the last unit", (STRANGER, "a", SCARCE, 1)),
        buys((BUY, 409, "sold_out"), "none left", (LATE, "a", SCARCE, 1)),
        buys((BUY, 409, "sold_out"), "none left, asked again", (LATE, "b", SCARCE, 1)),
        buys((BUY, 202, "none"), "the same again, sold out meanwhile", (STRANGER, "a", SCARCE, 1)),
    ]
}

fn refusals() -> Vec<Case> {
    let elsewhere = |side: &Side| {
        let body = format!(r#"{{"offer_id":"{PLENTY}","quantity":1}}"#);
        post(&side.token_in(TENANT + 1, BUYER), "Idempotency-Key: a\r\n", &body)
    };
    let saying = |(claim, value): (&str, Value), side: &Side, sale| {
        let body = format!(r#"{{"offer_id":"{}","quantity":1}}"#, offer_of(sale));
        post(&side.token_with(claim, value), "Idempotency-Key: said\r\n", &body)
    };
    let another_price = |side: &Side| {
        let price = json!({ "amount": 1, "currency": "CNY" });
        let body = json!({ "offer_id": PLENTY.to_string(), "quantity": 1, "expected_price": price });
        post(&side.token(BUYER), "Idempotency-Key: priced\r\n", &body.to_string())
    };
    vec![
        buys((BUY, 403, "wrong_subject"), "an account, where phones are counted", (BUYER, "a", offer_of(BY_PHONE), 1)),
        // Once its lane is open: before, nobody knows whether the key has an order.
        buys((BUY, 403, "members_only"), "no member", (BUYER, "a", offer_of(MEMBERS), 1)).until(Until::Expected),
        case((BUY, 202, "none"), "a phone, where phones are counted", move |side| {
            saying(("by", json!("phone")), side, BY_PHONE)
        })
        .until(Until::Expected),
        case((BUY, 202, "none"), "a member", move |side| saying(("member", json!(true)), side, MEMBERS))
            .until(Until::Expected),
        buys((BUY, 409, "not_started"), "too early", (BUYER, "a", offer_of(FUTURE), 1)),
        // Until its engine knows that the lane never sold.
        buys((BUY, 409, "ended"), "too late", (BUYER, "a", offer_of(PAST), 1)).until(Until::Expected),
        // While its lane is being opened nobody knows whether the key has an order.
        case((BUY, 409, "price_changed"), "at another price", another_price).until(Until::Expected),
        buys((BUY, 409, "paused"), "stopped", (BUYER, "a", offer_of(PAUSED), 1)).until(Until::Expected),
        buys((BUY, 404, "not_found"), "an offer that is not", (BUYER, "a", 77, 1)),
        case((BUY, 404, "not_found"), "another shop's offer", elsewhere),
    ]
}

fn bodies() -> Vec<Case> {
    let good = format!(r#"{{"offer_id":"{PLENTY}","quantity":1}}"#);
    let sent = move |name, more: &'static str, body: &str| {
        let body = body.replace("{good}", &good);
        case((BUY, 400, "invalid_request"), name, move |side| post(&side.token(BUYER), more, &body))
    };
    let of = move |name, body| sent(name, "Idempotency-Key: k\r\n", body);
    let large = |name, bytes: usize| {
        let body = format!(r#"{}{{"offer_id":"{PLENTY}","quantity":1}}"#, " ".repeat(bytes));
        case((BUY, 413, "too_large"), name, move |side| post(&side.token(BUYER), "Idempotency-Key: k\r\n", &body))
    };
    let mut cases = vec![
        of("no body", ""),
        of("no object", "[]"),
        of("no JSON", "{\"offer_id\":"),
        of("nothing in it", "{}"),
        of("another member", r#"{"offer_id":"1","quantity":1,"price":1}"#),
        of("wrong types", r#"{"offer_id":1,"quantity":"1","context":null}"#),
        of("a member twice", r#"{"offer_id":"1","quantity":1,"quantity":1}"#),
        of("too many", r#"{"offer_id":"1","quantity":101}"#),
        of("many members", r#"{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1}"#),
        large("a body too large", 9_000),
        large("a megabyte", 1 << 20),
    ];
    let keys = [
        ("no key", ""),
        ("two keys", "Idempotency-Key: a\r\nIdempotency-Key: b\r\n"),
        ("a key with a space", "Idempotency-Key: a b\r\n"),
        ("two types", "Idempotency-Key: a\r\nContent-Type: application/json\r\n"),
    ];
    let body = format!(r#"{{"offer_id":"{PLENTY}","quantity":1}}"#);
    let (coded, good) = ("Idempotency-Key: k\r\nContent-Encoding: gzip\r\n", body.clone());
    let unsupported = (BUY, 415, "unsupported_media_type");
    cases.push(case(unsupported, "a packed body", move |side| post(&side.token(BUYER), coded, &good)));
    cases.extend(keys.map(|(name, more)| {
        let body = body.clone();
        case((BUY, 400, "invalid_request"), name, move |side| post(&side.token(BUYER), more, &body))
    }));
    cases
}

/// On every route that wants one.
fn tokens() -> Vec<Case> {
    let mut cases = Vec::new();
    for route in [BUY, PAGE, ORDER] {
        let with = move |token: &str| match route {
            BUY => post(token, "Idempotency-Key: k\r\n", &format!(r#"{{"offer_id":"{PLENTY}","quantity":1}}"#)),
            PAGE => ask("GET", "/v1/orders", &bearer(token)),
            _ => ask("GET", "/v1/orders/1", &bearer(token)),
        };
        let refused = (route, 401, "unauthenticated");
        cases.push(case(refused, "no token", move |_| with("")));
        cases.push(case(refused, "nonsense for a token", move |_| with("a.b.c")));
        cases.push(case(refused, "expired", move |side| with(&side.token_with("exp", json!(1_500_000_000)))));
        cases.push(case(refused, "for others", move |side| with(&side.token_with("aud", json!("merchants")))));
        cases.push(case(refused, "changed", move |side| with(&side.token(BUYER).replace('.', ".e"))));
        cases.push(case((route, 403, "forbidden"), "a merchant's", move |side| {
            with(&side.token_with("role", json!("merchant")))
        }));
    }
    cases
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn limits() -> Vec<Case> {
    let crowd = |side: &Side| {
        (FIRST_OF_CROWD..)
            .map(|buyer| side.buys(buyer, "crowd", PLENTY, 1))
            .take(usize::try_from(CROWD).unwrap())
            .collect()
    };
    let refused = (BUY, 429, "rate_limited");
    vec![
        buys(refused, "a buyer too often", (HASTY, "a", offer_of(SLOW_BUYER), 1)).until(Until::Expected),
        buys(refused, "an offer too often", (HASTY, "a", offer_of(SLOW_OFFER), 1)).until(Until::Expected),
        Case {
            route: BUY,
            status: 503,
            code: "overloaded",
            name: "too many at once",
            until: Until::Expected,
            ask: Ask::Requests(Box::new(crowd)),
        },
        Case {
            route: BUY,
            status: 503,
            code: "temporarily_unavailable",
            name: "a lane that is not open",
            until: Until::Expected,
            ask: Ask::LaneThatIsNotOpen,
        },
    ]
}

/// Reads of one buyer's orders.
fn reads(expected: (&'static str, u16, &'static str), name: &'static str, buyer: u64, path: &'static str) -> Case {
    case(expected, name, move |side| {
        ask("GET", &path.replace("{first}", side.first_order()), &bearer(&side.token(buyer)))
    })
}

fn orders() -> Vec<Case> {
    let (shown, wrong, unknown) = ((ORDER, 200, "none"), (ORDER, 400, "invalid_request"), (ORDER, 404, "not_found"));
    let (page, wrong_page) = ((PAGE, 200, "none"), (PAGE, 400, "invalid_request"));
    vec![
        reads(shown, "an order", BUYER, "/v1/orders/{first}").until(Until::Says("pending_payment")),
        reads(shown, "an order, with its offer", BUYER, "/v1/orders/{first}?offer_id=9001"),
        reads(unknown, "another buyer's order", STRANGER, "/v1/orders/{first}?offer_id=9001"),
        reads(unknown, "no order", BUYER, "/v1/orders/1"),
        reads(unknown, "no id", BUYER, "/v1/orders/first"),
        reads(wrong, "an offer that is no id", BUYER, "/v1/orders/{first}?offer_id=x"),
        reads(wrong, "another parameter", BUYER, "/v1/orders/{first}?offer=9001"),
        reads(page, "one order and where to go on", BUYER, "/v1/orders?limit=1").until(Until::Says("next_cursor")),
        reads(page, "all orders", BUYER, "/v1/orders?limit=2"),
        reads(wrong_page, "an id for a cursor", BUYER, "/v1/orders?cursor={first}"),
        reads(page, "nothing", FAST, "/v1/orders"),
        reads(wrong_page, "no orders", BUYER, "/v1/orders?limit=0"),
        reads(wrong_page, "too many orders", BUYER, "/v1/orders?limit=101"),
        reads(wrong_page, "a limit with a sign", BUYER, "/v1/orders?limit=%2B5"),
        reads(wrong_page, "a cursor that is none", BUYER, "/v1/orders?cursor=x"),
        reads(wrong_page, "another parameter", BUYER, "/v1/orders?page=2"),
        reads(wrong_page, "a parameter twice", BUYER, "/v1/orders?limit=1&limit=1"),
        reads(wrong_page, "a parameter that is no text", BUYER, "/v1/orders?limit=%zz"),
    ]
}

fn sales() -> Vec<Case> {
    let shown = |name, id: u64| case((SALE, 200, "none"), name, move |_| ask("GET", &format!("/v1/sales/{id}"), ""));
    let unknown = |name, id| case((SALE, 404, "not_found"), name, move |_| ask("GET", &format!("/v1/sales/{id}"), ""));
    let listed = |(status, code), name, query| {
        case((LIST, status, code), name, move |_| ask("GET", &format!("/v1/sales?{query}"), ""))
    };
    let if_not = |tag: String| ask("GET", &format!("/v1/sales/{OPEN}"), &format!("If-None-Match: {tag}\r\n"));
    vec![
        shown("an open sale", OPEN).until(Until::Says("sold_out")),
        shown("one to come", FUTURE).until(Until::Says("available")),
        shown("one that is over", PAST),
        shown("one that is stopped", PAUSED).until(Until::Says("available")),
        case((SALE, 200, "none"), "a sale that is known otherwise", move |_| if_not("W/\"x\"".into())),
        case((SALE, 304, "none"), "a sale that is known", move |side| if_not(side.tag())),
        case((SALE, 304, "none"), "any sale", move |_| if_not("*".into())),
        listed((200, "none"), "the sales of a shop", "tenant=7&limit=1").until(Until::Says("\"stock\":\"available\"")),
        listed((200, "none"), "the sales of no shop", "tenant=77"),
        listed((400, "invalid_request"), "the sales of nobody", "limit=1"),
        listed((400, "invalid_request"), "the sales of a shop that is no number", "tenant=seven"),
        listed((400, "invalid_request"), "no sales", "tenant=7&limit=0"),
        listed((400, "invalid_request"), "a cursor that is none", "tenant=7&cursor=x"),
        listed((400, "invalid_request"), "another parameter", "tenant=7&page=2"),
        case((LIST, 304, "none"), "any list", |_| ask("GET", "/v1/sales?tenant=7", "If-None-Match: *\r\n")),
        unknown("no sale", "77"),
        unknown("no id of a sale", "winter"),
        case((TIME, 200, "none"), "the time", |_| ask("GET", "/v1/time", "")),
    ]
}

/// The last: this buyer may not read for a while.
fn too_many_reads() -> Vec<Case> {
    vec![
        reads((PAGE, 429, "rate_limited"), "pages too often", FAST, "/v1/orders").until(Until::Expected),
        reads((ORDER, 429, "rate_limited"), "an order too often", BUYER, "/v1/orders/{first}").until(Until::Expected),
    ]
}

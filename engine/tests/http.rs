//! Goal: the buyer's surface as a client meets it, over a real socket. Method: the whole front
//! served over in-memory lanes, log and rows, on a clock that stands still; a plain HTTP/1.1
//! client, which holds each answer against the OpenAPI document.

#![allow(clippy::unwrap_used, reason = "all of this is a test, its helpers too")]

#[path = "http/documented.rs"]
mod documented;
#[path = "http/kinds.rs"]
mod kinds;
#[path = "http/origins.rs"]
mod origins;
#[path = "http/pages.rs"]
mod pages_of_sales;
#[path = "http/repeats.rs"]
mod repeats;
#[allow(dead_code, unreachable_pub, reason = "shared with the unit tests, each of which uses a part")]
#[path = "../src/testing.rs"]
mod testing;

use std::net::SocketAddr;

use domain::{
    id::{Epoch, OrderId, TenantId},
    order::Status,
};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use kit::{
    clock::{Clock, ManualClock},
    http::{Limits, bind, serve},
};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use testing::{BUYER_RATE, Fault, LogMode, MemoryLog, MemoryRows, MemoryStock, NOW_MS, Shop, buyer, tenant};

/// A served shop and what a test turns on it.
struct Served {
    address: SocketAddr,
    clock: ManualClock,
    stock: MemoryStock,
    log: MemoryLog,
    rows: MemoryRows,
    directory: std::sync::Arc<engine::sales::Directory>,
    pages: std::sync::Arc<pages::shared::Pages<engine::sales::Promotion>>,
    page_metrics: std::sync::Arc<pages::metrics::Metrics>,
    origins: std::sync::Arc<kit::http::Origins>,
    tokens: Vec<String>,
    stranger: String,
    _stop: DropGuard,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn code(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or("none"))
    }
}

const PURCHASE: &str = r#"{"offer_id":"101","quantity":1}"#;

impl Served {
    /// Sale 1 with `left` units; tokens of buyers 1 to 9, and of buyer 1 of another shop.
    fn new(left: u64) -> Self {
        let shop = Shop::new(left);
        let listener = bind(([127, 0, 0, 1], 0).into(), false).unwrap();
        let stop = CancellationToken::new();
        let served = Self {
            address: listener.local_addr().unwrap(),
            clock: shop.clock.clone(),
            stock: shop.stock.clone(),
            log: shop.log.clone(),
            rows: shop.rows.clone(),
            directory: std::sync::Arc::clone(&shop.directory),
            pages: std::sync::Arc::clone(&shop.pages),
            page_metrics: std::sync::Arc::clone(&shop.page_metrics),
            origins: std::sync::Arc::clone(&shop.origins),
            tokens: (0..10).map(|n| shop.token(n.max(1))).collect(),
            stranger: shop.token_of(TenantId::new(9).unwrap(), 1),
            _stop: stop.clone().drop_guard(),
        };
        tokio::spawn(serve(listener, shop.into_front(), Limits::default(), stop));
        served
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let (status, headers, bytes) = self.exchange(&method, path, headers, body).await;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        assert_eq!(documented::check(&method, path, (status, &headers, &body)), Ok(()));
        Answer { status, headers, body }
    }

    /// The bytes as they came.
    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> (u16, HeaderMap, Bytes) {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "shop");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = client.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        (head.status.as_u16(), head.headers, body.collect().await.unwrap().to_bytes())
    }

    async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        self.send(Method::GET, path, &headers, "").await
    }

    async fn post(&self, token: &str, key: &str, body: impl Into<Bytes>) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &bearer[..]), ("idempotency-key", key), ("content-type", "application/json")];
        self.send(Method::POST, "/v1/orders", &headers, body).await
    }

    async fn buy(&self, buyer: usize, key: &str) -> Answer {
        self.post(&self.tokens[buyer], key, PURCHASE).await
    }
}

/// What a 401 says is wrong with the token (RFC 6750).
fn challenge(answer: &Answer) -> &str {
    let told = answer.headers["www-authenticate"].to_str().unwrap();
    let told = told.strip_prefix("Bearer error=\"invalid_token\", error_description=\"").unwrap_or(told);
    told.strip_suffix('"').unwrap_or(told)
}

/// The way of a purchase: 202 with its place, pending there, then the row; and the same for a
/// repeat.
#[tokio::test]
async fn an_order_from_promise_to_row() {
    let shop = Served::new(10);
    let bought = shop.buy(1, "k").await;
    assert_eq!(bought.status, 202);
    assert_eq!(bought.headers["content-type"], "application/json");
    assert_eq!(bought.body["status"], "accepted");
    assert_eq!(bought.body.as_object().unwrap().len(), 2);
    assert_eq!(bought.headers["cache-control"], "no-store");
    let order = bought.body["order_id"].as_str().unwrap().to_owned();
    let location = bought.headers["location"].to_str().unwrap();
    assert_eq!(location, format!("/v1/orders/{order}?offer_id=101"));
    let pending = shop.get(location, Some(&shop.tokens[1])).await;
    assert_eq!(pending.status, 200);
    assert_eq!(
        pending.body,
        json!({"order_id": order, "status": "pending", "sale_id": "1", "offer_id": "101", "quantity": 1,
            "reserved_at": "2027-01-15T08:00:00.000Z"}),
        "what a later version of the sale may say otherwise is left out"
    );
    assert_eq!(pending.headers["cache-control"], "no-store");
    assert_eq!(shop.get("/v1/orders", Some(&shop.tokens[1])).await.body, json!({"orders": []}), "listed with its row");
    shop.rows.write(order.parse().unwrap(), buyer(1), Status::PendingPayment);
    let row = shop.get(location, Some(&shop.tokens[1])).await;
    assert_eq!(
        (row.body["status"].as_str(), row.body["total"]["amount"].as_i64()),
        (Some("pending_payment"), Some(19_800))
    );
    assert_eq!(row.body["pay_by"], "2027-01-15T08:15:00.000Z");
    let page = shop.get("/v1/orders?limit=1", Some(&shop.tokens[1])).await;
    assert_eq!(page.body, json!({"orders": [row.body]}), "a full last page has no cursor");
    assert_eq!(page.headers["cache-control"], "no-store");
    let again = shop.buy(1, "k").await;
    assert_eq!((again.status, again.body), (202, bought.body));
}

/// Every way to be declined, with its status and code.
#[tokio::test]
async fn refusals_have_stable_codes() {
    let shop = Served::new(3);
    assert_eq!(
        shop.send(Method::POST, "/v1/orders", &[("idempotency-key", "k")], PURCHASE).await.code(),
        (401, "unauthenticated")
    );
    let forged = shop.post("a.b.c", "k", PURCHASE).await;
    assert_eq!((forged.code(), challenge(&forged)), ((401, "unauthenticated"), "the token is not valid"));
    assert_eq!(shop.post(&shop.tokens[1], "k", r#"{"offer_id":"7","quantity":1}"#).await.code(), (404, "not_found"));
    assert_eq!(shop.buy(1, "k").await.status, 202);
    assert_eq!(
        shop.post(&shop.tokens[1], "k", r#"{"offer_id":"101","quantity":2}"#).await.code(),
        (422, "idempotency_mismatch")
    );
    let more = shop.post(&shop.tokens[1], "other", r#"{"offer_id":"101","quantity":2}"#).await;
    assert_eq!((more.code(), &more.body["orders"]), ((409, "limit_reached"), &json!("/v1/orders?live_in_sale=1")));
    assert_eq!(shop.post(&shop.tokens[2], "k", r#"{"offer_id":"101","quantity":2}"#).await.status, 202);
    assert_eq!(shop.buy(3, "k").await.code(), (409, "sold_out"));
    shop.stock.lane(1, |lane, run| lane.close(run, Epoch(2)));
    let closed = shop.buy(5, "k").await;
    assert_eq!(
        (closed.code(), &closed.headers["retry-after"]),
        ((503, "temporarily_unavailable"), &"2".parse().unwrap())
    );
    let rooms = shop.log.fill();
    let full = shop.buy(4, "k").await;
    assert_eq!((full.code(), &full.headers["retry-after"]), ((503, "overloaded"), &"1".parse().unwrap()));
    drop(rooms);
    shop.stock.open(1, 2, 1);
    let mut sale = testing::sale(1);
    (sale.version, sale.paused) = (2, true);
    shop.directory.take_in(vec![sale.clone()], NOW_MS);
    assert_eq!(shop.buy(4, "k").await.code(), (409, "paused"));
    shop.clock.set_wall(sale.window.opens_at_ms - 1_500);
    let early = shop.buy(4, "k").await;
    assert_eq!((early.code(), &early.headers["retry-after"]), ((409, "not_started"), &"2".parse().unwrap()));
    shop.clock.set_wall(sale.window.closes_at_ms);
    assert_eq!(shop.buy(4, "k").await.code(), (409, "ended"));
}

#[tokio::test]
async fn who_asks_too_often_is_told_which_bucket_and_when() {
    let shop = Served::new(10);
    for _ in 0..BUYER_RATE {
        assert_eq!(shop.buy(1, "k").await.status, 202);
    }
    let limited = shop.buy(1, "k").await;
    assert_eq!(limited.code(), (429, "rate_limited"));
    assert_eq!(limited.headers["retry-after"], "1");
    assert_eq!(limited.headers["ratelimit-policy"], format!("\"buyer\";q={BUYER_RATE};w=1"));
    assert_eq!(limited.headers["ratelimit"], "\"buyer\";r=0;t=1");
    // Another quota has another name.
    for _ in 0..50 {
        assert_eq!(shop.get("/v1/orders", Some(&shop.tokens[1])).await.status, 200);
    }
    let limited = shop.get("/v1/orders", Some(&shop.tokens[1])).await;
    assert_eq!(
        (limited.code(), limited.headers["ratelimit-policy"].to_str().unwrap()),
        ((429, "rate_limited"), "\"buyer_reads\";q=50;w=1")
    );
}

#[tokio::test]
async fn malformed_requests_get_a_clear_answer() {
    let shop = Served::new(10);
    let token = &shop.tokens[1];
    let bearer = format!("Bearer {token}");
    let keyless = shop.send(Method::POST, "/v1/orders", &[("authorization", &bearer)], PURCHASE).await;
    assert_eq!(
        (keyless.code(), &keyless.body["errors"][0]["field"]),
        ((400, "invalid_request"), &json!("Idempotency-Key"))
    );
    let headers = [("authorization", &bearer[..]), ("idempotency-key", "k"), ("content-type", "text/plain")];
    let plain = shop.send(Method::POST, "/v1/orders", &headers, PURCHASE).await;
    assert_eq!(
        (plain.code(), &plain.body["errors"][0]["field"]),
        ((415, "unsupported_media_type"), &json!("Content-Type"))
    );
    let headers = [("authorization", &bearer[..]), ("idempotency-key", "k"), ("content-encoding", "gzip")];
    let packed = shop.send(Method::POST, "/v1/orders", &headers, PURCHASE).await;
    assert_eq!(
        (packed.code(), &packed.body["errors"][0]["field"]),
        ((415, "unsupported_media_type"), &json!("Content-Encoding"))
    );
    let broken = shop.post(token, "k", "{\"offer_id\":").await;
    assert_eq!(broken.code(), (400, "invalid_request"));
    assert!(broken.body["detail"].as_str().unwrap().starts_with("the body is not a JSON object"));
    let wrong = shop.post(token, "k", r#"{"offer_id":101,"quantity":0,"color":"red"}"#).await;
    let fields: Vec<_> = wrong.body["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert_eq!(
        (wrong.code(), fields),
        ((400, "invalid_request"), vec![json!("color"), json!("offer_id"), json!("quantity")])
    );
    let huge = shop.post(token, "k", vec![b' '; 65 * 1024]).await;
    assert_eq!((huge.code(), &huge.headers["connection"]), ((413, "too_large"), &"close".parse().unwrap()));
    for query in ["limit=0", "limit=x", "limit=%2B5", "cursor=x", "cursor=77", "page=2", "limit=1&limit=2"] {
        assert_eq!(
            shop.get(&format!("/v1/orders?{query}"), Some(token)).await.code(),
            (400, "invalid_request"),
            "{query}"
        );
    }
    assert_eq!(shop.get("/v1/orders/1?offer_id=x", Some(token)).await.code(), (400, "invalid_request"));
    assert!(shop.stock.calls().is_empty(), "nothing of this reached a lane");
    // Who has no good token learns of that before all else that is wrong.
    for headers in [&[][..], &[("authorization", "Bearer a.b.c")], &[("idempotency-key", "k")]] {
        let refused = shop.send(Method::POST, "/v1/orders", headers, "{}").await;
        assert_eq!(refused.code(), (401, "unauthenticated"), "{headers:?}");
    }
}

#[tokio::test]
async fn other_paths_and_methods() {
    let shop = Served::new(10);
    for path in ["/", "/v1", "/v1/orders/1/x", "/v1/offers/1", "/v1/sales/8", "/v1/sales/x", "/metrics"] {
        assert_eq!(shop.get(path, Some(&shop.tokens[1])).await.code(), (404, "not_found"), "{path}");
    }
    for (method, path, allow) in [
        (Method::DELETE, "/v1/orders", "GET, HEAD, POST"),
        (Method::POST, "/v1/orders/1", "GET, HEAD"),
        (Method::PUT, "/v1/sales/1", "GET, HEAD"),
        (Method::POST, "/v1/time", "GET, HEAD"),
    ] {
        let refused = shop.send(method, path, &[], "").await;
        assert_eq!((refused.code(), &refused.headers["allow"]), ((405, "method_not_allowed"), &allow.parse().unwrap()));
    }
    assert_eq!(shop.send(Method::HEAD, "/v1/time", &[], "").await.status, 200);
}

/// INV-7 on every route that has something to hide.
#[tokio::test]
async fn inv_7_no_route_crosses_a_tenant() {
    let shop = Served::new(10);
    let order: OrderId = shop.buy(1, "k").await.body["order_id"].as_str().unwrap().parse().unwrap();
    let place = format!("/v1/orders/{order}?offer_id=101");
    let foreign = shop.post(&shop.stranger, "k", PURCHASE).await;
    let unknown = shop.post(&shop.stranger, "k", r#"{"offer_id":"7","quantity":1}"#).await;
    assert_eq!((foreign.code(), &foreign.body), ((404, "not_found"), &unknown.body));
    for written in [false, true] {
        if written {
            shop.rows.write(order, buyer(1), Status::Paid);
        }
        for token in [&shop.stranger, &shop.tokens[2]] {
            let theirs = shop.get(&place, Some(token)).await;
            let never = shop.get("/v1/orders/77?offer_id=101", Some(token)).await;
            assert_eq!((theirs.code(), &theirs.body), ((404, "not_found"), &never.body));
            assert_eq!(shop.get("/v1/orders", Some(token)).await.body, json!({"orders": []}));
        }
        for anonymous in [&place[..], "/v1/orders"] {
            assert_eq!(shop.get(anonymous, None).await.code(), (401, "unauthenticated"));
        }
    }
    assert_eq!(tenant().get(), 1);
}

#[tokio::test]
async fn a_sale_is_public_and_cached_by_its_tag() {
    let shop = Served::new(1);
    let sale = shop.get("/v1/sales/1", None).await;
    assert_eq!(sale.status, 200);
    assert_eq!(
        sale.body,
        json!({"sale_id": "1", "title": "sale", "version": 1, "state": "open", "opens_at": "2027-01-15T07:00:00.000Z",
            "closes_at": "2027-01-15T09:00:00.000Z", "offers": [{
                "offer_id": "101", "sku_id": "301", "title": "kettle", "price": {"amount": 9_900, "currency": "CNY"},
                "limit_per_buyer": 2, "stock": "low"}]}),
        "nothing in it changes by itself"
    );
    let tag = sale.headers["etag"].to_str().unwrap();
    let unchanged = shop.send(Method::GET, "/v1/sales/1", &[("if-none-match", tag)], "").await;
    assert_eq!(
        (unchanged.status, &unchanged.headers["etag"]),
        (StatusCode::NOT_MODIFIED.as_u16(), &sale.headers["etag"])
    );
    assert_eq!(shop.buy(1, "k").await.status, 202);
    shop.clock.advance(std::time::Duration::from_secs(1));
    let sold_out = shop.send(Method::GET, "/v1/sales/1", &[("if-none-match", tag)], "").await;
    assert_eq!((sold_out.status, &sold_out.body["offers"][0]["stock"]), (200, &json!("sold_out")));
    let weak = format!("\"x\", W/{}", sold_out.headers["etag"].to_str().unwrap());
    assert_eq!(shop.send(Method::GET, "/v1/sales/1", &[("if-none-match", &weak)], "").await.status, 304);
    shop.clock.set_wall(testing::sale(1).window.closes_at_ms);
    let ended = shop.send(Method::GET, "/v1/sales/1", &[("if-none-match", &weak)], "").await;
    assert_eq!((ended.status, &ended.body["state"]), (200, &json!("ended")), "the state is part of the tag");
    shop.clock.set_wall(NOW_MS);
    let time = shop.get("/v1/time", None).await;
    assert_eq!(time.body, json!({"server_time": "2027-01-15T08:00:00.000Z", "epoch_ms": NOW_MS}));
    assert_eq!(time.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn every_answer_continues_the_callers_trace() {
    let shop = Served::new(1);
    let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for path in ["/v1/time", "/nothing", "/v1/orders?limit=0"] {
        let bearer = format!("Bearer {}", shop.tokens[1]);
        let headers = [("traceparent", sent), ("authorization", &bearer)];
        let answer = shop.send(Method::GET, path, &headers, "").await;
        let named = answer.body["trace_id"].as_str();
        assert_eq!(named, (answer.status >= 400).then_some(&sent[3..35]), "a refusal names it too");
        let told = answer.headers["traceparent"].to_str().unwrap();
        assert_eq!(&told[..36], &sent[..36], "the trace");
        assert_ne!(&told[36..52], &sent[36..52], "a step of its own");
    }
    assert!(shop.get("/v1/time", None).await.headers.contains_key("traceparent"));
}

/// R7 as a client sees it: the log is silent, and the answer is 202 pending.
#[tokio::test]
async fn r7_a_log_that_fails_is_pending_and_not_an_error() {
    let shop = Served::new(10);
    shop.log.mode(LogMode::Lose);
    let bought = shop.buy(1, "k").await;
    assert_eq!((bought.status, &bought.body["status"]), (202, &json!("pending")));
    let order = bought.body["order_id"].as_str().unwrap();
    let place = bought.headers["location"].to_str().unwrap();
    assert_eq!(shop.get(place, Some(&shop.tokens[1])).await.body["status"], "pending");
    assert_eq!(shop.buy(1, "k").await.body["order_id"], order);
}

/// R13 as a client sees it: the stock server is silent, and no id is told; a repeat gets the order
/// that there is.
#[tokio::test]
async fn r13_an_unknown_outcome_is_503_without_an_id() {
    let shop = Served::new(10);
    shop.stock.fail(&[Fault::LoseAnswer; 3]);
    let unknown = shop.buy(1, "k").await;
    assert_eq!((unknown.code(), &unknown.headers["retry-after"]), ((503, "outcome_unknown"), &"2".parse().unwrap()));
    assert!(!unknown.headers.contains_key("location") && unknown.body["order_id"].is_null(), "{}", unknown.body);
    let first = shop.buy(1, "k").await;
    assert_eq!((first.status, &first.body["status"]), (202, &json!("pending")), "promised, and left to the sweeper");
    assert_eq!(shop.buy(1, "k").await.body, first.body);
    shop.stock.fail(&[Fault::NotSent]);
    assert_eq!(shop.buy(2, "k").await.code(), (503, "temporarily_unavailable"));
}

/// R13: an order that was pending when the stock server lost it ends: unavailable while the lane is
/// rebuilt, then a 404 that says what to do. The key then buys anew.
#[tokio::test]
async fn r13_a_pending_order_that_is_lost_ends_with_words() {
    let shop = Served::new(10);
    shop.log.mode(LogMode::Lose);
    let lost = shop.buy(1, "k").await;
    assert_eq!(lost.body["status"], "pending");
    let place = lost.headers["location"].to_str().unwrap();
    shop.stock.lane(1, |lane, _| *lane = domain::stock::LaneMachine::default());
    assert_eq!(shop.get(place, Some(&shop.tokens[1])).await.code(), (503, "temporarily_unavailable"));
    shop.stock.open(1, 2, 10);
    let gone = shop.get(place, Some(&shop.tokens[1])).await;
    assert_eq!(gone.code(), (404, "not_found"));
    let detail = gone.body["detail"].as_str().unwrap();
    assert!(
        detail.contains("pending") && detail.contains("repeat the purchase with the same Idempotency-Key"),
        "{detail}"
    );
    assert_ne!(shop.buy(1, "k").await.body["order_id"], lost.body["order_id"]);
}

/// RFC 6750: who sent no token is told the scheme; who sent one is told what is wrong with it, as
/// far as that can be mended.
#[tokio::test]
async fn expired_early_and_malformed_tokens_are_told_apart() {
    let shop = Served::new(10);
    let now_ms = shop.clock.now_ms();
    assert_eq!(challenge(&shop.get("/v1/orders", None).await), "Bearer");
    assert_eq!(challenge(&shop.get("/v1/orders", Some("a.b.c")).await), "the token is not valid");
    shop.clock.set_wall(now_ms + 2 * 86_400_000);
    let expired = shop.get("/v1/orders", Some(&shop.tokens[1])).await;
    assert_eq!(
        (challenge(&expired), &expired.body["detail"]),
        ("the token has expired", &json!("the token has expired"))
    );
}

/// The draft writes the key between quotes; the key is what stands between them.
#[tokio::test]
async fn a_quoted_key_and_a_bare_one_are_one_key() {
    let shop = Served::new(10);
    let bare = shop.buy(1, "8e03978e-40d5").await;
    let quoted = shop.buy(1, "\"8e03978e-40d5\"").await;
    assert_eq!((quoted.status, quoted.body), (202, bare.body));
    assert_eq!(shop.buy(1, "\"8e03978e-40d5").await.code(), (400, "invalid_request"));
}

/// A cursor goes on where its page ended, is its buyer's alone, and shows no id.
#[tokio::test]
async fn pages_go_on_by_opaque_cursors() {
    let shop = Served::new(10);
    for id in 1..=5 {
        shop.rows.write(OrderId::new(id).unwrap(), buyer(1), Status::Paid);
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/orders?limit=2".to_owned());
    loop {
        let page = shop.get(&path, Some(&shop.tokens[1])).await;
        let orders = page.body["orders"].as_array().unwrap();
        seen.extend(orders.iter().map(|order| order["order_id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        assert_eq!(cursor.len(), 32);
        path = format!("/v1/orders?limit=2&cursor={cursor}");
        assert_eq!(shop.get(&path, Some(&shop.tokens[2])).await.code(), (400, "invalid_request"));
    }
    assert_eq!(seen, ["5", "4", "3", "2", "1"]);
}

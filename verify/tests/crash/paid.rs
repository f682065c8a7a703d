//! An order becomes money or gives its unit back, on servers: asked at the engine, answered by an
//! order service behind it, whatever of them dies. `tests/embedded/paid.rs` plays the first part on
//! one process.

use std::{net::SocketAddr, thread};

use serde_json::json;
use verify::{
    merchants::{Seller, answered},
    order_services::{OrderServices, PATIENCE},
    wire::{Outcome, Wire},
};

use super::*;

/// What readiness finds of payments.
const OF_PAYMENT: [&str; 2] = ["payment_account", "orders_away"];

/// A shop without an account sells for money: its sale is red for that.
fn can_nobody_pay_another_shop(place: &OrderServices) {
    let seller = Seller::open(&place.merchants, 10).unwrap();
    let offer = json!({ "sku": Seller::SKU, "warehouse": "MAIN", "allotment": 10 });
    let terms = json!({ "code": "day-1", "title": "Day one", "opens_at": "2048-01-01T00:00:00Z",
        "closes_at": "2049-01-01T00:00:00Z", "lanes": [{ "code": "main", "limit_per_buyer": 1, "offers": [offer] }] });
    let made = seller.call(&place.merchants, ("POST", "/v1/merchant/sales"), &terms).unwrap();
    let path = format!("/v1/merchant/sales/{}/check", made["id"].as_str().unwrap());
    let report = seller.call(&place.merchants, ("POST", &path), &json!({})).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["code"] == "payment_account"), "{report}");
}

/// Who bought what.
struct Bought {
    token: String,
    order: String,
}

fn bought(place: &OrderServices, buyer: u32) -> Bought {
    let token = place.token(buyer).unwrap();
    let order = place.bought(buyer as usize % 2, &token).unwrap();
    Bought { token, order }
}

/// Opens a payment and pays it at the cashier, all at one engine.
fn paid(place: &OrderServices, engine: usize, Bought { token, order }: &Bought) {
    let (status, page) = place.pay(engine, order, token).unwrap();
    assert_eq!(status, 200, "{page}");
    assert_eq!(place.post(engine, &format!("{page}/pay"), token, &Value::Null).unwrap().0, 303);
    place.becomes(order, token, "paid").unwrap();
}

/// Bought, paid, refunded in part and then in full, sent, cancelled, expired: each at another
/// engine than the last, so that two order services share all of it.
#[test]
fn an_order_is_paid_refunded_cancelled_or_expires_on_servers_through_the_engine() {
    let mut place = OrderServices::open("paid", 50).unwrap();
    let [refunded, cancelled, sent, expired] = [0, 1, 2, 3].map(|buyer| bought(&place, buyer));
    paid(&place, 0, &refunded);
    paid(&place, 1, &sent);
    let (_, page) = place.pay(0, &cancelled.order, &cancelled.token).unwrap();
    let cancel = format!("/v1/orders/{}/cancel", cancelled.order);
    assert_eq!(place.post(1, &cancel, &cancelled.token, &Value::Null).unwrap().0, 200);
    place.becomes(&cancelled.order, &cancelled.token, "cancelled").unwrap();
    let (_, answer) = place.post(0, &format!("{page}/pay"), &cancelled.token, &Value::Null).unwrap();
    assert_eq!(answer, Value::Null, "the cashier shows that it is closed");

    let refunds = format!("POST /v1/merchant/orders/{}/refunds", refunded.order);
    let refund = |engine, amount| {
        let body = json!({ "reason": "as a person would", "amount": amount });
        place.as_shop(engine, &refunds, &body).unwrap()
    };
    let (status, made) = refund(0, 900);
    assert_eq!(status, 201, "{made}");
    let rest = || Ok(refund(1, 19_000).0 == 201);
    wait_until("the rest is refunded", PATIENCE, rest).unwrap();
    place.becomes(&refunded.order, &refunded.token, "refunded").unwrap();
    let parcel = json!({ "carrier": "sf", "number": "SF1" });
    let ship = format!("POST /v1/merchant/orders/{}/ship", sent.order);
    let (status, shipped) = place.as_shop(1, &ship, &parcel).unwrap();
    assert_eq!((status, &shipped["status"]), (200, &json!("fulfilled")), "{shipped}");

    // Another buyer's order, and a buyer's token for what is the shop's.
    let (status, _) =
        place.post(0, &format!("/v1/orders/{}/cancel", sent.order), &expired.token, &Value::Null).unwrap();
    assert_eq!(status, 404);
    let path = ship.trim_start_matches("POST ");
    assert_eq!(place.post(0, path, &sent.token, &parcel).unwrap().0, 401);
    let forged = answered(
        place.engine(1),
        &format!("POST /v1/payments/simulated/notify?account={}", place.sale.tenant),
        "x",
        "Simulated-Signature: 00\r\n",
        &json!({}),
    );
    assert_eq!(forged.unwrap().0, 400);

    place.becomes(&expired.order, &expired.token, "expired").unwrap();
    let listed = |engine| {
        let (status, page) = place.as_shop(engine, "GET /v1/merchant/orders", &Value::Null).unwrap();
        assert_eq!(status, 200, "{page}");
        let orders = page["items"].as_array().unwrap();
        orders.iter().map(|order| (order["order_id"].clone(), order["status"].clone())).collect::<Vec<_>>()
    };
    let all = [(&expired, "expired"), (&sent, "fulfilled"), (&cancelled, "cancelled"), (&refunded, "refunded")];
    let mut all = all.map(|(bought, status)| (json!(bought.order), json!(status)));
    all.sort_by_key(|(order, _)| std::cmp::Reverse(order.as_str().unwrap().parse::<u64>().unwrap()));
    wait_until("both list all orders, newest first", PATIENCE, || Ok(listed(0) == all && listed(1) == all)).unwrap();
    lists_by_graphql_what_the_engine_lists(&place);
    place.audit(1).unwrap();
    assert_eq!(place.buy(0, &expired.token, "again"), "accepted", "the buyer may buy again");
    place.metrics_are_known().unwrap();
    for service in [0, 1] {
        place.drain(service).unwrap();
    }
}

/// The merchants' service lists by GraphQL what the engine lists, page by page and by filter.
fn lists_by_graphql_what_the_engine_lists(place: &OrderServices) {
    let by_engine = |query: &str| {
        let (status, page) = place.as_shop(0, &format!("GET /v1/merchant/orders?{query}"), &Value::Null).unwrap();
        assert_eq!(status, 200, "{page}");
        let orders = page["items"].as_array().unwrap().iter();
        let orders =
            orders.map(|order| json!({ "id": order["order_id"], "status": order["status"], "total": order["total"] }));
        (orders.collect::<Value>(), page["next_cursor"].clone())
    };
    let by_graphql = |arguments: &str| {
        let list = "{ nextCursor items { id status total { amount currency } } }";
        let answer = place.graphql(&format!("{{ orders({arguments}) {list} }}")).unwrap();
        assert_eq!(answer["errors"], Value::Null, "{answer}");
        let page = &answer["data"]["orders"];
        (page["items"].clone(), page["nextCursor"].clone())
    };
    let first = by_graphql("first: 3");
    assert_eq!(first, by_engine("limit=3"));
    let next = first.1.as_str().unwrap();
    assert_eq!(by_graphql(&format!("first: 3, after: \"{next}\"")), by_engine(&format!("limit=3&cursor={next}")));
    let paid = by_graphql("filter: { status: \"fulfilled\" }");
    assert_eq!((&paid, paid.0.as_array().unwrap().len()), (&by_engine("status=fulfilled"), 1));
    let answer = place.graphql("{ orders(filter: { saleId: \"x\" }) { nextCursor } }").unwrap();
    assert_eq!(answer["errors"][0]["extensions"]["errors"][0]["field"], "filter.saleId", "{answer}");
    // Another shop has none of them.
    let other = Seller::open(&place.merchants, 1).unwrap();
    let query = json!({ "query": "{ orders { items { id } } }" });
    let answer = other.call(&place.merchants, ("POST", "/v1/graphql"), &query).unwrap();
    assert_eq!(answer, json!({ "data": { "orders": { "items": [] } } }));
}

/// While no order service is there, purchases go on, and what it would answer is refused as what
/// passes; it goes on from there. A bank that is silent leaves the outcome unknown, and the same
/// request finds it.
#[test]
fn purchases_go_on_without_the_order_service_and_nothing_is_lost() {
    let mut place = OrderServices::open("orders_down", 50).unwrap();
    let [first, second] = [0, 1].map(|buyer| bought(&place, buyer));
    assert!(place.red().unwrap().iter().all(|code| !OF_PAYMENT.contains(&&**code)), "the shop is paid in play money");
    can_nobody_pay_another_shop(&place);
    let (status, page) = place.pay(0, &first.order, &first.token).unwrap();
    assert_eq!(status, 200, "{page}");
    place.kill(0).unwrap();
    place.kill(1).unwrap();
    assert!(place.red().unwrap().contains(&"orders_away".to_owned()), "readiness says that nobody can pay");
    let answer = place.graphql("{ orders { items { id } } sales { items { id } } }").unwrap();
    assert_eq!(answer["errors"][0]["extensions"]["code"], "temporarily_unavailable", "{answer}");
    assert_eq!(answer["data"]["sales"]["items"].as_array().map(Vec::len), Some(1), "the rest is answered: {answer}");
    let third = bought(&place, 2);
    let mut wire = Wire::connect(place.engine(0)).unwrap();
    let (order, token) = (&second.order, &second.token);
    wire.send(format!(
        "POST /v1/orders/{order}/cancel HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
    ))
    .unwrap();
    let answer = wire.answer();
    assert_eq!(answer.code(), (503, "temporarily_unavailable"));
    assert!(format!("{answer:?}").contains("retry-after: 2"), "{answer:?}");
    assert_eq!(place.pay(1, &third.order, &third.token).unwrap(), (503, "temporarily_unavailable".to_owned()));

    // Paid at the bank once the page is there again; its notice comes again until it is taken.
    place.restart(0).unwrap();
    assert_eq!(place.post(0, &format!("{page}/pay"), &first.token, &Value::Null).unwrap().0, 303);
    place.becomes(&first.order, &first.token, "paid").unwrap();
    assert!(place.red().unwrap().iter().all(|code| !OF_PAYMENT.contains(&&**code)), "it is back");
    place.restart(1).unwrap();
    place.bank.freeze().unwrap();
    let (status, code) = place.pay(1, &second.order, &second.token).unwrap();
    assert_eq!((status, &*code), (503, "outcome_unknown"));
    place.bank.thaw().unwrap();
    paid(&place, 0, &second);
    paid(&place, 1, &third);
    place.audit(3).unwrap();
}

/// Asks until the answer is one that does not pass by itself.
fn ask_patiently(engine: SocketAddr, path: &str, token: &str, body: &Value) -> u16 {
    loop {
        match answered(engine, &format!("POST {path}"), token, "", body) {
            Ok((503 | 429, _)) | Err(_) => thread::sleep(Duration::from_millis(50)),
            Ok((status, _)) => return status,
        }
    }
}

/// Each order is paid for at one service and cancelled at the other at once, while both are killed
/// in turn. Each becomes one of the two, and the bank agrees.
#[test]
fn an_order_service_is_killed_amid_pay_and_cancel() {
    let mut place = OrderServices::open("orders_killed", 100).unwrap();
    let all: Vec<Bought> = (0..16).map(|buyer| bought(&place, buyer)).collect();
    let engines = [0, 1].map(|number| place.engine(number));
    let tenant = place.sale.tenant;
    let way = json!({ "method": "simulated" });
    thread::scope(|scope| {
        for (number, Bought { token, order }) in all.iter().enumerate() {
            let (at, other) = (engines[number % 2], engines[(number + 1) % 2]);
            let (pay, cancel) = (format!("/v1/orders/{order}/pay"), format!("/v1/orders/{order}/cancel"));
            let page = format!("/simulated/cashier/{tenant}/{order}_1/pay");
            let way = &way;
            scope.spawn(move || {
                // 409: it is being cancelled. Of a page that is not there nothing is paid.
                assert!([200, 409].contains(&ask_patiently(at, &pay, token, way)));
                assert!([303, 404].contains(&ask_patiently(at, &page, token, &Value::Null)));
            });
            scope.spawn(move || {
                assert!([200, 202, 409].contains(&ask_patiently(other, &cancel, token, &Value::Null)));
            });
        }
        for service in [0, 1, 0, 1] {
            place.kill(service).unwrap();
            place.restart(service).unwrap();
        }
    });
    let mut sold = 0;
    for Bought { token, order } in &all {
        let is_over = || Ok(["paid", "cancelled"].contains(&&*place.status(order, token)?));
        wait_until("it is paid or cancelled", 2 * PATIENCE, is_over).unwrap();
        let status = place.status(order, token).unwrap();
        let page = get_page(engines[0], &format!("/simulated/cashier/{tenant}/{order}_1"));
        assert_eq!(page.contains("Paid."), status == "paid", "{order} is {status}, and the bank shows {page}");
        sold += u64::from(status == "paid");
    }
    place.audit(sold).unwrap();
}

fn get_page(engine: SocketAddr, path: &str) -> String {
    let mut wire = Wire::connect(engine).unwrap();
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n")).unwrap();
    match wire.answer() {
        Outcome::Answered { body, .. } => body,
        other => panic!("{other:?}"),
    }
}

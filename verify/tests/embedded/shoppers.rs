//! What shoppers read, in the program as it runs: the list of a shop's sales, and pages at the
//! shop's domain, which the engine hears of by way of the ledger's database.

use std::time::Duration;

use verify::{
    child::wait_until,
    embedded::Embedded,
    pages::{STATEMENTS, statements_while_read},
    wire::{ask, request},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// A change of a domain is known everywhere in that time.
const DOMAIN_PATIENCE: Duration = Duration::from_secs(10);
const ORIGIN: &str = "https://shop.example";

fn head_of(embedded: &Embedded, request: &str) -> (u16, String) {
    let (status, head, _) = ask(embedded.address(), request).unwrap().answered().unwrap();
    (status, head)
}

/// The merchant names a domain, and its pages may call; takes it away, and they may not.
#[test]
fn pages_at_the_domain_of_a_shop_call_as_long_as_it_is_the_shops() {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    let list = || embedded.ask("GET /v1/sales?tenant=7 HTTP/1.1\r\nHost: shop\r\n\r\n");
    let is_listed = || Ok(list()?.1.contains("\"state\":\"open\",\"opens_at\""));
    wait_until("the shop's sale is listed", PATIENCE, is_listed).unwrap();
    let operator = embedded.control_key().unwrap();
    let put = |branding: &str| {
        let asked = request("PUT /v1/branding", &operator, "Flashsale-Tenant: 7\r\n", branding);
        let (status, body) = embedded.ask(&asked).unwrap();
        assert_eq!(status, 200, "{body}");
    };
    let preflight = format!(
        "OPTIONS /v1/orders HTTP/1.1\r\nHost: shop\r\nOrigin: {ORIGIN}\r\nAccess-Control-Request-Method: POST\r\n\r\n"
    );
    let is_answered = |expected: u16| Ok(head_of(&embedded, &preflight).0 == expected);
    assert!(is_answered(403).unwrap(), "no shop is there yet");
    put(r#"{"domain": "shop.example"}"#);
    wait_until("the domain is the shop's", DOMAIN_PATIENCE, || is_answered(204)).unwrap();
    let page = format!("GET /v1/sales?tenant=7 HTTP/1.1\r\nHost: shop\r\nOrigin: {ORIGIN}\r\n\r\n");
    let (status, head) = head_of(&embedded, &page);
    assert!(status == 200 && head.contains(&format!("access-control-allow-origin: {ORIGIN}\r\n")), "{head}");
    let foreign = page.replace("tenant=7", "tenant=8");
    assert!(!head_of(&embedded, &foreign).1.contains("access-control-allow-origin"), "another shop's list");
    let merchants = preflight.replace("/v1/orders", "/v1/branding");
    assert_eq!(head_of(&embedded, &merchants).0, 405, "merchants' routes are for no page");
    put("{}");
    wait_until("the domain is nobody's", DOMAIN_PATIENCE, || is_answered(403)).unwrap();
}

/// Pages come from memory: thousands of reads ask the databases for nothing. What these answer
/// meanwhile is the work beside the reads.
#[test]
fn a_page_asks_no_database() {
    const READS: u32 = 5_000;
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    for path in ["/v1/sales/1001", "/v1/sales?tenant=7"] {
        let listed = || Ok(embedded.ask(&format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n"))?.0 == 200);
        wait_until("the page is there", PATIENCE, listed).unwrap();
        let count = || embedded.metric(STATEMENTS);
        let statements = statements_while_read(embedded.address(), path, READS, count).unwrap();
        assert!(statements < f64::from(READS) / 5.0, "{statements} statements while {path} was read {READS} times");
    }
}

//! What shoppers read from the merchants' service, when engines are busy.

use std::{net::SocketAddr, time::Duration};

use verify::{
    child::wait_until,
    engine_and_writer::EngineAndWriter,
    pages::{STATEMENTS, statements_while_read},
    services::OPERATOR,
    wire,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// A change of a domain is known everywhere in that time.
const DOMAIN_PATIENCE: Duration = Duration::from_secs(10);
const LANES: u32 = 40;

/// Status, head and body.
fn ask(at: SocketAddr, request: &str) -> (u16, String, String) {
    wire::ask(at, request).unwrap().answered().unwrap()
}

fn line<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// `catalog serve` gives the bytes and tags that the engine gives, in each coding; a page at the
/// domain of the shop may call both; and no database is asked for it.
#[test]
fn catalog_answers_pages_as_the_engine_does() {
    let production = EngineAndWriter::open("reads").unwrap();
    let sale = production.publish_lanes(u64::from(LANES), LANES, -1_000).unwrap();
    let (catalog, merchants) = production.services.catalog().unwrap();
    let sides = [production.address(), merchants.address];
    for path in [format!("/v1/sales/{}", sale.id), format!("/v1/sales?tenant={}", sale.tenant)] {
        for accepted in ["identity", "gzip", "br"] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: shop\r\naccept-encoding: {accepted}\r\n\r\n");
            let mut last = String::new();
            let are_alike = || {
                let [one, other] = sides.map(|side| ask(side, &request));
                let is_known = |answer: &(u16, String, String)| {
                    // Stock and coding come a moment later.
                    let is_small = line(&answer.1, "content-length").is_some_and(|bytes| bytes.len() < 4);
                    let coding = line(&answer.1, "content-encoding").unwrap_or("identity");
                    answer.0 == 200 && (coding == accepted || is_small)
                };
                last = format!("{one:?}\n{other:?}");
                let tags = [&one.1, &other.1].map(|head| line(head, "etag").map(str::to_owned));
                Ok([&one, &other].into_iter().all(is_known)
                    && tags[0].is_some()
                    && tags[0] == tags[1]
                    && one.2 == other.2)
            };
            let alike = wait_until(&format!("{path} is alike as {accepted}"), PATIENCE, are_alike);
            alike.unwrap_or_else(|error| panic!("{error}\n{last}"));
        }
        let plain = ask(merchants.address, &format!("GET {path} HTTP/1.1\r\nhost: shop\r\n\r\n")).2;
        assert!(plain.contains("\"stock\":\""), "{plain}");
    }
    const READS: u32 = 5_000;
    for path in [format!("/v1/sales/{}", sale.id), format!("/v1/sales?tenant={}", sale.tenant)] {
        let count = || production.services.engine_metric(STATEMENTS);
        let statements = statements_while_read(production.address(), &path, READS, count).unwrap();
        assert!(statements < f64::from(READS) / 5.0, "{statements} statements while {path} was read {READS} times");
    }
    let branding = r#"{"domain": "shop.example"}"#;
    let put = format!(
        "PUT /v1/branding HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {OPERATOR}\r\nflashsale-tenant: {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{branding}",
        sale.tenant,
        branding.len()
    );
    let (status, _, body) = ask(merchants.address, &put);
    assert_eq!(status, 200, "{body}");
    let preflight = "OPTIONS /v1/sales/1 HTTP/1.1\r\nhost: shop\r\norigin: https://shop.example\r\n\
                     access-control-request-method: GET\r\n\r\n";
    let are_open = || Ok(sides.iter().all(|side| ask(*side, preflight).0 == 204));
    wait_until("engine and catalog know the domain", DOMAIN_PATIENCE, are_open).unwrap();
    let page = format!("GET /v1/sales/{} HTTP/1.1\r\nhost: shop\r\norigin: https://shop.example\r\n\r\n", sale.id);
    for side in sides {
        let head = ask(side, &page).1;
        assert_eq!(line(&head, "access-control-allow-origin"), Some("https://shop.example"), "{head}");
    }
    catalog.terminate().unwrap();
}

//! Goal: a page at a tenant's domain calls the buyers' routes and reads what is its tenant's; no
//! other page does. Method: what a browser sends, without the browser.

use domain::id::TenantId;

use super::*;

const OURS: &str = "https://shop.example";
const THEIRS: &str = "https://kettles.example";
const STRANGE: &str = "https://evil.example";

/// Tenant 1 at `shop.example`, tenant 9 at `kettles.example`.
fn served() -> Served {
    let shop = Served::new(10);
    let of = |domain: &str, tenant| (domain.to_owned(), TenantId::new(tenant).unwrap());
    shop.origins.put([of("shop.example", 1), of("kettles.example", 9)]);
    shop
}

fn allowed(headers: &HeaderMap) -> Option<&str> {
    headers.get("access-control-allow-origin").map(|origin| origin.to_str().unwrap())
}

async fn preflight(shop: &Served, path: &str, origin: &str, method: &str) -> (u16, HeaderMap) {
    let asked = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", "authorization,content-type,idempotency-key"),
    ];
    let (status, headers, _) = shop.exchange(&Method::OPTIONS, path, &asked, "").await;
    (status, headers)
}

/// A preflight has no token: the origin alone decides, for every tenant's.
#[tokio::test]
async fn a_preflight_is_answered_by_its_origin() {
    let shop = served();
    for origin in [OURS, THEIRS] {
        for (path, methods) in [
            ("/v1/orders", "GET, HEAD, POST"),
            ("/v1/orders/7", "GET, HEAD"),
            ("/v1/sales/1", "GET, HEAD"),
            ("/v1/sales?tenant=1", "GET, HEAD"),
            ("/v1/time", "GET, HEAD"),
        ] {
            let (status, headers) = preflight(&shop, path, origin, "GET").await;
            assert_eq!((status, allowed(&headers)), (204, Some(origin)), "{path}");
            assert_eq!(headers["access-control-allow-methods"], methods, "{path}");
            let sent = headers["access-control-allow-headers"].to_str().unwrap();
            assert_eq!(sent, "authorization, content-type, idempotency-key, traceparent");
            assert_eq!(
                (&headers["access-control-max-age"], &headers["vary"]),
                (&"600".parse().unwrap(), &"Origin".parse().unwrap())
            );
            assert!(headers.contains_key("traceparent") && !headers.contains_key("access-control-allow-credentials"));
        }
    }
    for origin in [STRANGE, "null", "http://shop.example", "https://shop.example:444"] {
        let (status, headers) = preflight(&shop, "/v1/orders", origin, "POST").await;
        assert_eq!((status, allowed(&headers)), (403, None), "{origin}");
    }
    let (status, headers) = preflight(&shop, "/v1/nothing", OURS, "GET").await;
    assert_eq!((status, allowed(&headers)), (404, None));
    assert!(shop.stock.calls().is_empty());
}

/// The tenant of what was asked for decides whether the page reads the answer.
#[tokio::test]
async fn a_page_reads_what_is_its_own_tenants() {
    let shop = served();
    let bearer = |token: &str| format!("Bearer {token}");
    let (buyer, stranger) = (bearer(&shop.tokens[1]), bearer(&shop.stranger));
    let purchase = |origin, authorization| {
        [
            ("origin", origin),
            ("authorization", authorization),
            ("idempotency-key", "k"),
            ("content-type", "application/json"),
        ]
    };
    for (origin, authorization, status, read) in [
        (OURS, &buyer, 202, true),
        (THEIRS, &buyer, 202, false),
        (STRANGE, &buyer, 202, false),
        (THEIRS, &stranger, 404, true),
        (OURS, &stranger, 404, false),
    ] {
        let bought = shop.send(Method::POST, "/v1/orders", &purchase(origin, authorization), PURCHASE).await;
        assert_eq!((bought.status, allowed(&bought.headers)), (status, read.then_some(origin)), "{origin}");
        assert_eq!(bought.headers["vary"], "Origin");
        let listed = shop.send(Method::GET, "/v1/orders", &purchase(origin, authorization), "").await;
        assert_eq!((listed.status, allowed(&listed.headers)), (200, read.then_some(origin)), "{origin}");
    }
    let shown = "etag, location, ratelimit, ratelimit-policy, retry-after, traceparent";
    for (path, of) in [("/v1/sales/1", &[OURS][..]), ("/v1/sales?tenant=9", &[THEIRS]), ("/v1/time", &[OURS, THEIRS])] {
        for origin in [OURS, THEIRS, STRANGE] {
            let read = shop.send(Method::GET, path, &[("origin", origin)], "").await;
            assert_eq!((read.status, allowed(&read.headers)), (200, of.contains(&origin).then_some(origin)), "{path}");
            let exposed = read.headers.get("access-control-expose-headers").map(|names| names.to_str().unwrap());
            assert_eq!(exposed, of.contains(&origin).then_some(shown));
            let varies: Vec<_> = read.headers.get_all("vary").iter().collect();
            assert_eq!(varies, [if path == "/v1/time" { "Origin" } else { "Accept-Encoding, Origin" }]);
        }
    }
    let refused = shop.send(Method::GET, "/v1/orders", &[("origin", OURS)], "").await;
    assert_eq!((refused.status, allowed(&refused.headers)), (401, Some(OURS)), "a page reads why it was refused");
}

/// A cache that keeps a page must not give one origin what was said to another, so the page says so
/// without an origin too.
#[tokio::test]
async fn without_an_origin_nothing_is_allowed() {
    let shop = served();
    let page = shop.get("/v1/sales/1", None).await;
    assert_eq!((allowed(&page.headers), &page.headers["vary"]), (None, &"Accept-Encoding, Origin".parse().unwrap()));
    let time = shop.get("/v1/time", None).await;
    assert!(allowed(&time.headers).is_none() && !time.headers.contains_key("vary"), "the hot path sends nothing more");
    let options = shop.send(Method::OPTIONS, "/v1/time", &[("origin", OURS)], "").await;
    assert_eq!(options.code(), (405, "method_not_allowed"), "no preflight");
}

use std::io::Read as _;

use kit::token::{Tenants, TokenVerifier};

use super::*;

fn headers(all: &[(header::HeaderName, &'static str)]) -> HeaderMap {
    all.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
}

fn asked(path: &'static str, all: &[(header::HeaderName, &'static str)]) -> Response<Body> {
    file(&Uri::from_static(path), &headers(all))
}

fn shown(response: &Response<Body>, name: header::HeaderName) -> &str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// What the browser enforces stands on every file, and no policy lets anything inline in.
#[test]
fn every_file_carries_a_strict_policy() {
    for file in FILES {
        let response = asked(file.path, &[]);
        assert_eq!(response.status(), StatusCode::OK, "{}", file.path);
        let policy = shown(&response, header::CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(shown(&response, header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(shown(&response, header::CONTENT_TYPE), file.media);
    }
    let page = str::from_utf8(FILES.iter().find(|file| file.path == "/").unwrap().plain).unwrap();
    assert!(!page.contains("<style") && !page.contains("style=\"") && page.matches("<script").count() == 1, "{page}");
}

/// A hashed file is kept for ever, the page that names it is asked for each time, and an unchanged
/// one is not sent again.
#[test]
fn hashed_files_are_kept_and_the_page_is_asked_for_by_its_tag() {
    for file in FILES {
        let cache = if file.path.starts_with("/assets/") { FOR_EVER } else { EACH_TIME };
        assert_eq!(shown(&asked(file.path, &[]), header::CACHE_CONTROL), cache);
        assert_eq!(asked(file.path, &[(header::IF_NONE_MATCH, file.tag)]).status(), StatusCode::NOT_MODIFIED);
        let packed = [(header::ACCEPT_ENCODING, "br"), (header::IF_NONE_MATCH, file.tag)];
        assert_eq!(asked(file.path, &packed).status(), StatusCode::OK, "the tag of the plain bytes");
    }
    assert_eq!(asked("/assets/index-gone.js", &[]).status(), StatusCode::NOT_FOUND);
}

/// Packed for those alone who take it, and the packed bytes are the plain ones.
#[test]
fn the_packed_form_goes_to_who_takes_it_and_holds_the_same() {
    for (sent, is_packed) in [("gzip, deflate, br", true), ("br;q=0", false), ("gzip", false), ("identity", false)] {
        let response = asked("/", &[(header::ACCEPT_ENCODING, sent)]);
        let coding = shown(&response, header::CONTENT_ENCODING);
        assert_eq!(coding, if is_packed { "br" } else { "" }, "{sent}");
        assert_eq!(shown(&response, header::VARY), "Accept-Encoding");
    }
    for file in FILES {
        let mut plain = Vec::new();
        brotli::Decompressor::new(file.br, 4096).read_to_end(&mut plain).unwrap();
        assert!(plain == file.plain, "{}: run web/build", file.path);
    }
}

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5000))
}

fn with_host(host: &'static str) -> HeaderMap {
    headers(&[(header::HOST, host)])
}

/// No proxy for others, no rebound name, nobody from outside, no two names.
#[test]
fn the_demo_logs_in_browsers_of_its_own_machine_alone() {
    for host in ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080"] {
        assert!(is_of_this_machine(&with_host(host), &local()), "{host}");
    }
    for host in ["shop.example", "localhost.evil.example", "10.0.0.1:8080", "127.0.0.1.evil.example", "", "a b"] {
        assert!(!is_of_this_machine(&with_host(host), &local()), "{host}");
    }
    assert!(!is_of_this_machine(&HeaderMap::new(), &local()), "HTTP/1.0");
    assert!(!is_of_this_machine(&with_host("localhost"), &SocketAddr::from(([10, 0, 0, 2], 5000))));
    let mut twice = with_host("localhost");
    twice.append(header::HOST, HeaderValue::from_static("localhost"));
    assert!(!is_of_this_machine(&twice, &local()));
}

/// Each login is another buyer of the demo's shop, whom the engine believes; without the demo
/// there is no login.
#[test]
fn a_login_is_a_new_buyer_of_the_demos_shop_and_only_with_the_demo() {
    let key = TokenKey::new("shop", &TokenKey::fresh_secret().unwrap(), Tenants::All).unwrap();
    let clock = SystemClock::new();
    let pages = ShopPages::new(key.clone(), true, clock);
    let response = pages.login(&with_host("localhost"), &local());
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(shown(&response, header::CACHE_CONTROL), "no-store");
    let (one, other) = (pages.new_buyer(clock.now_ms()).unwrap(), pages.new_buyer(clock.now_ms()).unwrap());
    assert_ne!(one.buyer, other.buyer);
    let verifier = TokenVerifier::new(vec![key.clone()]).unwrap();
    let buyer = verifier.verify(&one.token, clock.now_ms()).unwrap();
    assert_eq!((buyer.tenant, buyer.buyer.to_string()), (DEMO_TENANT, one.buyer));
    assert!(buyer.buyer >= BUYERS_FROM);
    let without = ShopPages::new(key, false, clock);
    assert_eq!(without.login(&with_host("localhost"), &local()).status(), StatusCode::NOT_FOUND);
}

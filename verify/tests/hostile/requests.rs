//! Requests that are wrong in one thing each.

use super::*;

use Expected::{Bare, Closed, Problem, Status};

const INVALID: Expected = Problem(400, "invalid_request");
const LARGE: Expected = Problem(413, "too_large");

/// Bodies: the grammar, the members, their types and ranges.
#[test]
fn bodies() {
    let fixture = Fixture::new("bodies");
    let offer = fixture.sale.offers[0].offer.to_string();
    let mut bodies = wrong_values(&offer);
    bodies.extend(wrong_shapes(&offer).into_iter().map(|(name, body)| (name.to_owned(), body)));
    for (name, body) in &bodies {
        expect(&fixture, name, fixture.post("idempotency-key: k\r\n", body).as_bytes(), INVALID);
    }
    // Not UTF-8: what no string can hold.
    let mut bytes = fixture.post("idempotency-key: k\r\n", r#"{"offer_id":"??","quantity":1}"#).into_bytes();
    let at = bytes.windows(2).position(|two| two == b"??").unwrap();
    bytes[at..at + 2].copy_from_slice(b"\xc3\x28");
    expect(&fixture, "not UTF-8", &bytes, INVALID);
    let spaces = |n: usize| format!("{}{}", " ".repeat(n), of_offer("1"));
    expect(
        &fixture,
        "spaces up to the limit",
        fixture.post("idempotency-key: k\r\n", &spaces(8_000)).as_bytes(),
        INVALID,
    );
    expect(
        &fixture,
        "spaces beyond the limit",
        fixture.post("idempotency-key: k\r\n", &spaces(9_000)).as_bytes(),
        LARGE,
    );
    expect(&fixture, "a megabyte", fixture.post("idempotency-key: k\r\n", &" ".repeat(1 << 20)).as_bytes(), LARGE);
    let unknown = fixture.post("idempotency-key: k\r\n", &of_offer("\"9223372036854775807\""));
    expect(&fixture, "an unknown offer", unknown.as_bytes(), Problem(404, "not_found"));
    fixture.leave_unhurt();
}

fn of_offer(id: &str) -> String {
    format!(r#"{{"offer_id":{id},"quantity":1}}"#)
}

fn with_quantity(offer: &str, raw: &str) -> String {
    format!(r#"{{"offer_id":"{offer}","quantity":{raw}}}"#)
}

fn wrong_values(offer: &str) -> Vec<(String, String)> {
    let mut bodies: Vec<(String, String)> = Vec::new();
    let two_to = ["18446744073709551616", "9223372036854775808", "4294967296", "4294967297"];
    for raw in [
        "0", "-1", "-0", "1.0", "1.5", "1e0", "1e400", "101", "01", "+1", "\"1\"", "null", "true", "[1]", "{}", "NaN",
        "Infinity", "0x1", "",
    ]
    .iter()
    .chain(&two_to)
    {
        bodies.push((format!("quantity {raw}"), with_quantity(offer, raw)));
    }
    for raw in [
        "1",
        "null",
        "\"\"",
        "\"0\"",
        "\"-1\"",
        "\"007\"",
        "\" 7\"",
        "\"7 \"",
        "\"7e0\"",
        "\"18446744073709551616\"",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "[\"7\"]",
    ] {
        bodies.push((format!("offer {raw}"), of_offer(raw)));
    }
    bodies
}

fn wrong_shapes(offer: &str) -> Vec<(&'static str, String)> {
    let with = |member: &str| format!(r#"{{"offer_id":"{offer}",{member}}}"#);
    let good = &with_quantity(offer, "1");
    vec![
        ("quantity twice", with(r#""quantity":1,"quantity":1"#)),
        ("quantity twice, once escaped", with(r#""quantity":1,"quantit\u0079":1"#)),
        ("offer twice", with(&format!(r#""quantity":1,"offer_id":"{offer}""#))),
        ("no quantity", format!(r#"{{"offer_id":"{offer}"}}"#)),
        ("no offer", r#"{"quantity":1}"#.into()),
        ("a member more", with(r#""quantity":1,"price":1"#)),
        ("a member with another case", with(r#""Quantity":1"#)),
        ("context that is text", with(r#""quantity":1,"context":"x""#)),
        ("context that is null", with(r#""quantity":1,"context":null"#)),
        ("context too large", with(&format!(r#""quantity":1,"context":{{"x":"{}"}}"#, "y".repeat(300)))),
        ("context deep", with(&format!(r#""quantity":1,"context":{}1{}"#, "{\"a\":".repeat(1_000), "}".repeat(1_000)))),
        ("context unclosed", with(&format!(r#""quantity":1,"context":{}"#, "[".repeat(7_000)))),
        ("nothing", String::new()),
        ("an empty object", "{}".into()),
        ("a list", format!(r#"["{offer}",1]"#)),
        ("text", format!("\"{}\"", "x".repeat(8_000))),
        ("two objects", format!("{good}{good}")),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("a comment", format!("/**/{good}")),
        ("a comma too many", with(r#""quantity":1,"#)),
        ("single quotes", format!("{{'offer_id':'{offer}','quantity':1}}")),
        ("a form", format!("offer_id={offer}&quantity=1")),
        ("a thousand members", format!("{{{}\"a\":1}}", "\"a\":1,".repeat(1_000))),
    ]
}

/// Framing: where a request ends, and whether it is one.
#[test]
fn framing() {
    let mut fixture = Fixture::new("framing");
    let good = fixture.good_body();
    let length = good.len();
    let token = fixture.production.token(&fixture.sale, 500_000).unwrap();
    // Complete but for what tells its length; nothing of it may be bought: its key is missing.
    let head = format!("POST /v1/orders HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {token}\r\n");
    let chunked = |chunks: &str| format!("{head}transfer-encoding: chunked\r\n\r\n{chunks}");
    let whole = format!("{length:x}\r\n{good}\r\n0\r\n\r\n");
    let flood = |bytes: usize| format!("{head}x-flood: {}\r\n\r\n", "x".repeat(bytes));
    let lines: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    for (name, request, expected) in [
        ("chunks", chunked(&whole), INVALID),
        ("chunks with extensions", chunked(&whole.replacen("\r\n", ";a=b\r\n", 1)), INVALID),
        ("chunks with a trailer", chunked(&whole.replace("0\r\n\r\n", "0\r\nidempotency-key: k\r\n\r\n")), INVALID),
        ("no chunk size", chunked("zz\r\n"), INVALID),
        ("a negative chunk", chunked("-1\r\n"), INVALID),
        ("a chunk size of 2^64", chunked("10000000000000000\r\n"), INVALID),
        ("a chunk of 2^63", chunked("8000000000000000\r\nx"), Status(400)),
        ("a chunk longer than said", chunked("1\r\nxy\r\n0\r\n\r\n"), INVALID),
        ("chunks ended by bare LF", chunked("1\nx\n0\n\n"), INVALID),
        ("a chunk extension without end", chunked(&format!("1;{}", "x".repeat(100_000))), INVALID),
        ("a megabyte in one chunk", chunked(&format!("100000\r\n{}", "x".repeat(1 << 20))), LARGE),
        ("a trailer without end", chunked(&format!("0\r\nx: {}", "x".repeat(100_000))), INVALID),
        ("no length", format!("{head}\r\n"), INVALID),
        (
            "two equal lengths",
            format!("{head}content-length: {length}\r\ncontent-length: {length}\r\n\r\n{good}"),
            INVALID,
        ),
        ("two lengths", format!("{head}content-length: {length}\r\ncontent-length: 1\r\n\r\n{good}"), Bare(400)),
        ("a list of lengths", format!("{head}content-length: {length}, {length}\r\n\r\n{good}"), Bare(400)),
        ("a length with a sign", format!("{head}content-length: +{length}\r\n\r\n{good}"), Bare(400)),
        ("a negative length", format!("{head}content-length: -1\r\n\r\n{good}"), Bare(400)),
        ("a length of 2^64", format!("{head}content-length: 18446744073709551616\r\n\r\n{good}"), Bare(400)),
        ("a length of 2^63", format!("{head}content-length: 9223372036854775808\r\n\r\n{good}"), LARGE),
        ("length and chunks", format!("{head}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n{whole}"), INVALID),
        ("chunked twice", format!("{head}transfer-encoding: chunked, identity\r\n\r\n{whole}"), Bare(400)),
        ("an unknown coding", format!("{head}transfer-encoding: xchunked\r\n\r\n{whole}"), Bare(400)),
        ("chunks in HTTP/1.0", chunked(&whole).replace("HTTP/1.1", "HTTP/1.0"), Bare(400)),
        ("a folded header", format!("{head}x: a\r\n b\r\n\r\n"), Bare(400)),
        ("NUL in a header", format!("{head}x: a\0b\r\n\r\n"), Bare(400)),
        ("CR in a header", format!("{head}x: a\rb\r\n\r\n"), Bare(400)),
        ("a space before the colon", format!("{head}x : a\r\n\r\n"), Bare(400)),
        ("a header without a name", format!("{head}: a\r\n\r\n"), Bare(400)),
        ("a header without a colon", format!("{head}x\r\n\r\n"), Bare(400)),
        ("8 KiB of a header", flood(8 << 10), Bare(431)),
        ("a megabyte of a header", flood(1 << 20), Bare(431)),
        ("a hundred headers", format!("{head}{lines}\r\n"), Bare(431)),
        ("a thousand headers", format!("{head}{}\r\n", lines.repeat(10)), Bare(431)),
        ("empty lines without end", "\r\n".repeat(50_000), Bare(431)),
        ("another version", "GET /v1/time HTTP/9.9\r\n\r\n".into(), Bare(400)),
        ("no version", "GET /v1/time\r\n\r\n".into(), Bare(400)),
        ("no method", " /v1/time HTTP/1.1\r\n\r\n".into(), Bare(400)),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), Closed),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}".into(), Bare(400)),
        ("a URI of 9 KB", format!("GET /{} HTTP/1.1\r\nhost: shop\r\n\r\n", "x".repeat(9_000)), Bare(431)),
        ("spaces in a URI", "GET /v1/ time HTTP/1.1\r\nhost: shop\r\n\r\n".into(), Bare(400)),
    ] {
        expect(&fixture, name, request.as_bytes(), expected);
    }
    fixture.buys();
    fixture.leave_unhurt();
}

/// Methods, paths and what HTTP offers besides.
#[test]
fn methods_and_paths() {
    let fixture = Fixture::new("paths");
    let of = |line: &str, more: &str| format!("{line} HTTP/1.1\r\nhost: shop\r\n{more}\r\n");
    let nothing = Problem(404, "not_found");
    let anonymous = Problem(401, "unauthenticated");
    for (name, request, expected) in [
        ("HTTP/1.0", "GET /v1/time HTTP/1.0\r\n\r\n".to_owned(), Status(200)),
        ("an absolute URI", of("GET http://elsewhere/v1/time", ""), Status(200)),
        ("an upgrade", of("GET /v1/time", "connection: upgrade\r\nupgrade: websocket\r\n"), Status(200)),
        (
            "an upgrade to HTTP/2",
            of("GET /v1/time", "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"),
            Status(200),
        ),
        ("a tunnel", of("CONNECT shop:443", ""), nothing),
        ("an asterisk", of("OPTIONS *", ""), nothing),
        ("a trace", of("TRACE /v1/orders", ""), Problem(405, "method_not_allowed")),
        ("an unknown method", of("BREW /v1/orders", ""), Problem(405, "method_not_allowed")),
        ("a long method", of(&format!("{} /v1/orders", "A".repeat(2_000)), ""), Problem(405, "method_not_allowed")),
        ("a percent-encoded path", of("GET /v1/%74ime", ""), nothing),
        ("a path upwards", of("GET /v1/orders/../time", ""), nothing),
        ("a double slash", of("GET //v1/time", ""), nothing),
        ("an order that is no id", of("GET /v1/orders/%00", ""), anonymous),
        ("a sale that is no id", of("GET /v1/sales/18446744073709551616", ""), nothing),
        ("a sale with a sign", of("GET /v1/sales/+1", ""), nothing),
        (
            "a GET with a body",
            of("GET /v1/time", "content-length: 5\r\n").trim_end().to_owned() + "\r\n\r\nhello",
            Status(200),
        ),
        ("a query on a purchase without a token", of("POST /v1/orders?a=%zz", "idempotency-key: k\r\n"), anonymous),
        ("Expect, and too large", of("POST /v1/orders", "content-length: 99999\r\nexpect: 100-continue\r\n"), LARGE),
        ("Expect something else", of("GET /v1/time", "expect: a miracle\r\n"), Status(200)),
    ] {
        expect(&fixture, name, request.as_bytes(), expected);
    }
    let mut wire = fixture.wire();
    wire.send(of("HEAD /v1/nothing", "content-length: 5\r\n") + "GET /").unwrap();
    assert_eq!(wire.answer_to_head().status(), 404);
    drop(wire);
    let good = fixture.good_body();
    for (name, more, expected) in [
        ("no key", "", INVALID),
        ("two keys", "idempotency-key: a\r\nidempotency-key: b\r\n", INVALID),
        ("an empty key", "idempotency-key:\r\n", INVALID),
        ("a key with a space", "idempotency-key: a b\r\n", INVALID),
        ("two media types", "idempotency-key: k\r\ncontent-type: text/plain\r\n", INVALID),
        ("two tokens", "idempotency-key: k\r\nauthorization: Bearer x\r\n", Problem(401, "unauthenticated")),
    ] {
        expect(&fixture, name, fixture.post(more, &good).as_bytes(), expected);
    }
    let long = format!("idempotency-key: {}\r\n", "k".repeat(256));
    expect(&fixture, "a key too long", fixture.post(&long, &good).as_bytes(), INVALID);
    pipelined(&fixture);
    fixture.leave_unhurt();
}

/// Good and bad requests in one packet are answered in their order, and one that cannot be framed
/// ends the connection.
fn pipelined(fixture: &Fixture) {
    let time = "GET /v1/time HTTP/1.1\r\nhost: shop\r\n\r\n";
    let bad = fixture.post("", &fixture.good_body());
    let mut wire = fixture.wire();
    wire.send(format!("{time}{bad}{time}{bad}{}\0\r\n\r\n{time}", time.trim_end())).unwrap();
    let statuses: Vec<u16> =
        std::iter::from_fn(|| Some(wire.answer().status()).filter(|status| *status != 0)).collect();
    assert_eq!(statuses, [200, 400, 200, 400, 400]);
    let mut wire = fixture.wire();
    wire.send(time.repeat(2_000)).unwrap();
    for _ in 0..2_000 {
        assert_eq!(wire.answer().status(), 200);
    }
}

/// Early and late purchases; a client that goes away in the middle.
#[test]
fn early_and_late() {
    let mut fixture = Fixture::new("windows");
    let early = fixture.production.publish(UNITS, 3_600_000).unwrap();
    let late = fixture.production.publish(UNITS, -3 * 86_400_000).unwrap();
    for (sale, code) in [(&early, "not_started"), (&late, "ended")] {
        let token = fixture.production.token(sale, 0).unwrap();
        let body = format!(r#"{{"offer_id":"{}","quantity":1}}"#, sale.offers[0].offer);
        let request = post(&token, "idempotency-key: k\r\n", &body);
        // Until the engine knows that the lane of the ended sale never sold.
        wait_until("the engine knows the sale", PATIENCE, || {
            let mut wire = fixture.wire();
            wire.send(&request)?;
            Ok(wire.answer().code() == (409, code))
        })
        .unwrap();
        expect(&fixture, code, request.as_bytes(), Problem(409, code));
        let mut wire = fixture.wire();
        wire.send(&request).unwrap();
        let Outcome::Answered { head, .. } = wire.answer() else { panic!("no answer") };
        let retry_after = head.lines().find_map(|line| line.strip_prefix("retry-after: ")?.parse::<u64>().ok());
        assert_eq!(retry_after.is_some_and(|after| (3_500..=3_600).contains(&after)), code == "not_started", "{head}");
        // The lane of a sale that is over is not opened, and then Redis knows of no units.
        let left = if code == "ended" { 0 } else { UNITS };
        assert_eq!(
            fixture.production.remembered(sale).unwrap(),
            Remembered { left, ..Remembered::default() },
            "{code}"
        );
    }
    // A purchase of which only a part ever comes is none.
    for cut in [1, 20, 200, 400] {
        let request = fixture.post("idempotency-key: k\r\n", &fixture.good_body());
        let part = &request.as_bytes()[..cut.min(request.len() - 1)];
        let mut wire = fixture.wire();
        wire.send(part).unwrap();
        wire.reset().unwrap();
        let mut wire = fixture.wire();
        wire.send(part).unwrap();
        wire.stream().shutdown(std::net::Shutdown::Write).unwrap();
        assert!(matches!(wire.answer().status(), 0 | 400));
    }
    fixture.buys();
    fixture.leave_unhurt();
}

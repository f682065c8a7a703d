//! What is not documented: other paths, other methods, bytes that are no request. Refused alike all
//! the same.

use crate::{
    sales::OPEN,
    side::ask,
    table::{Case, case},
};

/// No route of the document.
const OUTSIDE: &str = "outside";

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    [paths(), methods(), bytes()].into_iter().flatten().collect()
}

fn plain(expected: (u16, &'static str), name: &'static str, request: String) -> Case {
    case((OUTSIDE, expected.0, expected.1), name, move |_| request.clone())
}

/// Also the second port's: buyers never reach it. At `/` the embedded deployment alone has pages.
fn paths() -> Vec<Case> {
    let paths = [
        "/nothing",
        "/v1",
        "/v1/",
        "/v1/orders/",
        "/v1/orders/1/2",
        "/v1/sales/",
        "/v1/sales/1001/",
        "/v1/time/",
        "/v2/time",
        "//v1/time",
        "/V1/time",
        "/v1/tim%65",
        "/v1/./time",
        "/metrics",
        "/livez",
        "/readyz",
        "/standing",
        "/lanes",
        "/sales",
        "/openapi.json",
    ];
    let mut cases: Vec<Case> = paths.map(|path| plain((404, "not_found"), path, ask("GET", path, ""))).into();
    cases.push(plain((200, "none"), "a query that nobody reads", ask("GET", "/v1/time?now=1", "")));
    cases.push(plain((200, "none"), "a whole URL", ask("GET", "http://shop/v1/time", "")));
    cases.push(plain((200, "none"), "HTTP/1.0", "GET /v1/time HTTP/1.0\r\n\r\n".into()));
    cases
}

fn methods() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        for path in ["/v1/orders", "/v1/orders/1", "/v1/sales/1001", "/v1/time"] {
            cases.push(plain(
                (405, "method_not_allowed"),
                "another method",
                ask(method, path, "Content-Length: 0\r\n"),
            ));
        }
        cases.push(plain((404, "not_found"), "another method of no path", ask(method, "/v2", "Content-Length: 0\r\n")));
    }
    for path in ["/v1/orders/1", "/v1/sales/1001", "/v1/time"] {
        cases.push(plain((405, "method_not_allowed"), "POST", ask("POST", path, "Content-Length: 0\r\n")));
    }
    cases.push(plain((200, "none"), "HEAD of the time", ask("HEAD", "/v1/time", "")));
    cases.push(plain((200, "none"), "HEAD of a sale", ask("HEAD", &format!("/v1/sales/{OPEN}"), "")));
    cases.push(case((OUTSIDE, 401, "none"), "HEAD of the orders", |_| ask("HEAD", "/v1/orders", "")));
    cases
}

fn bytes() -> Vec<Case> {
    let lines: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    vec![
        plain((400, "none"), "no request", "what is this\r\n\r\n".into()),
        plain((400, "none"), "another version", "GET /v1/time HTTP/3.0\r\nHost: shop\r\n\r\n".into()),
        plain((400, "none"), "two lengths", ask("POST", "/v1/orders", "Content-Length: 1\r\nContent-Length: 2\r\n")),
        plain((431, "none"), "too many lines", ask("GET", "/v1/time", &lines)),
        plain((431, "none"), "a line too long", ask("GET", "/v1/time", &format!("x: {}\r\n", "x".repeat(20_000)))),
        plain((200, "none"), "no host", "GET /v1/time HTTP/1.1\r\n\r\n".into()),
    ]
}

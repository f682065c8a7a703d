//! The shop's pages in the program as it runs: a browser of this machine opens `/`, logs in to the
//! demo and buys, with nothing but what the pages name; somebody else's browser gets no login.

use std::time::Duration;

use serde_json::Value;
use verify::{
    child::wait_until,
    embedded::Embedded,
    wire::{ask, request},
};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_shop_is_at_the_root_and_sells_to_a_browser_of_this_machine() {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    assert!(server.said("  shop     http://127.0.0.1:"), "{}", server.tail());
    let get = |path: &str, more: &str| {
        let asked = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
        ask(embedded.address(), &asked).unwrap().answered().unwrap()
    };
    let (status, head, page) = get("/", "");
    assert!(status == 200 && head.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{head}");
    let script = page.split('"').find(|part| part.starts_with("/assets/") && part.ends_with(".js")).unwrap();
    let (status, head, _) = get(script, "Accept-Encoding: br\r\n");
    assert!(status == 200 && head.contains("content-encoding: br\r\n") && head.contains("immutable"), "{head}");
    assert_eq!(get("/assets/none.js", "").0, 404);

    let login =
        |host: &str| embedded.ask(&format!("POST /demo/login HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(login("shop.example").unwrap().0, 404, "a name that others may lead here");
    let (status, session) = login("localhost").unwrap();
    assert_eq!(status, 200, "{session}");
    let session: Value = serde_json::from_str(&session).unwrap();
    let token = session["token"].as_str().unwrap();
    let bought = || Ok(embedded.buy(token, "first")?.0 == 202);
    wait_until("the login buys", PATIENCE, bought).unwrap();
    let (status, orders) = embedded.ask(&request("GET /v1/orders", token, "", "")).unwrap();
    assert_eq!(status, 200, "{orders}");
}

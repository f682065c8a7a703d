//! An order becomes money or gives its unit back: by the buyer's and the merchant's own requests to
//! the real program, over a kill.

use std::{io::Read as _, time::Duration};

use serde_json::Value;
use verify::{
    child::{Child, wait_until},
    embedded::Embedded,
    shown::metrics_are_known,
    wire::{Wire, request},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The demo's sale, and the server that sells it.
struct Demo {
    embedded: Embedded,
    server: Child,
    key: String,
}

impl Demo {
    fn open() -> Self {
        let embedded = Embedded::new().unwrap();
        let mut server = embedded.serve().unwrap();
        embedded.wait_selling(&mut server).unwrap();
        let key = embedded.control_key().unwrap();
        Self { embedded, server, key }
    }

    /// As it comes back after a kill -9.
    fn restart(&mut self) {
        self.server.kill().unwrap();
        self.server = self.embedded.serve().unwrap();
        self.embedded.wait_ready(&mut self.server).unwrap();
    }

    fn post(&self, path: &str, token: &str, body: &str) -> (u16, Value) {
        let more = "Idempotency-Key: one\r\nFlashsale-Tenant: 7\r\n";
        let (status, body) = self.embedded.ask(&request(&format!("POST {path}"), token, more, body)).unwrap();
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    fn get(&self, path: &str, token: &str) -> Value {
        let look = request(&format!("GET {path}"), token, "Flashsale-Tenant: 7\r\n", "");
        let (_, body) = self.embedded.ask(&look).unwrap();
        serde_json::from_str(&body).unwrap_or(Value::Null)
    }

    fn status(&self, order: &str, token: &str) -> String {
        let body = self.get(&format!("/v1/orders/{order}?offer_id=9001"), token);
        body["status"].as_str().unwrap_or_default().to_owned()
    }

    fn becomes(&self, order: &str, token: &str, status: &str) {
        wait_until(status, PATIENCE, || Ok(self.status(order, token) == status)).unwrap();
    }

    /// A token of a buyer, and what he bought.
    fn bought(&self, buyer: u64) -> (String, String) {
        let token = self.embedded.token(buyer).unwrap();
        let (status, body) = self.embedded.buy(&token, "first").unwrap();
        assert_eq!(status, 202, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let order = body["order_id"].as_str().unwrap().to_owned();
        self.becomes(&order, &token, "pending_payment");
        (token, order)
    }

    fn audit(&self) {
        let holds = || {
            let output = self.embedded.command("audit").output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok(output.status.success() && text.matches("holds  INV-").count() == 5)
        };
        wait_until("the audit holds", PATIENCE, holds).unwrap();
    }
}

/// Whoever holds as much as one buyer may is led to it, and pays it while watching; the merchant
/// finds it in the list, with its timeline and by the bank's number.
#[test]
fn an_order_is_found_watched_paid_and_listed() {
    let demo = Demo::open();
    let (token, order) = demo.bought(1);
    let (status, refused) = demo.embedded.buy(&token, "second").unwrap();
    let refused: Value = serde_json::from_str(&refused).unwrap();
    assert_eq!((status, &refused["code"]), (409, &"limit_reached".into()));
    let held = demo.get(refused["orders"].as_str().unwrap(), &token);
    assert_eq!((held["orders"].as_array().unwrap().len(), &held["orders"][0]["order_id"]), (1, &order.as_str().into()));

    let mut wire = Wire::connect(demo.embedded.address()).unwrap();
    wire.send(request(&format!("GET /v1/orders/{order}/stream"), &token, "", "")).unwrap();
    let mut told = String::new();
    let mut tells = |what: &str| {
        while !told.contains(what) {
            let mut bytes = [0; 1_024];
            let read = wire.stream().read(&mut bytes).unwrap();
            assert_ne!(read, 0, "it ended: {told}");
            told.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    };
    tells("pending_payment");
    let (_, opened) = demo.post(&format!("/v1/orders/{order}/pay"), &token, "{\"method\": \"simulated\"}");
    let page = opened["page"].as_str().unwrap();
    assert_eq!(demo.post(&format!("{}/pay", &page[page.find("/simulated").unwrap()..]), &token, "").0, 303);
    tells("\"paid\"");

    let listed =
        || Ok(demo.get("/v1/merchant/orders?status=paid", &demo.key)["items"][0]["order_id"] == order.as_str());
    wait_until("the order is listed", PATIENCE, listed).unwrap();
    let shown = demo.get(&format!("/v1/merchant/orders/{order}"), &demo.key);
    let lines: Vec<&str> =
        shown["timeline"].as_array().unwrap().iter().map(|line| line["what"].as_str().unwrap()).collect();
    assert_eq!(lines, ["created", "attempt", "paid"]);
    let number = shown["attempts"][0]["provider_number"].as_str().unwrap();
    let found = demo.get(&format!("/v1/merchant/orders?number={number}"), &demo.key);
    assert_eq!(found["items"][0]["order_id"], order.as_str());
    metrics_are_known(&demo.server).unwrap();

    // The same by GraphQL, and by its filters.
    let by_graphql = |arguments: &str| {
        let list = "{ nextCursor items { id status total { amount currency } } }";
        let query = serde_json::json!({ "query": format!("{{ orders({arguments}) {list} }}") });
        demo.post("/v1/graphql", &demo.key, &query.to_string()).1
    };
    let listed = &demo.get("/v1/merchant/orders?status=paid", &demo.key)["items"][0];
    let answer = by_graphql("first: 1, filter: { status: \"paid\", saleId: 1001 }");
    let shown = serde_json::json!({ "id": listed["order_id"], "status": "paid", "total": listed["total"] });
    assert_eq!(answer["data"]["orders"], serde_json::json!({ "nextCursor": null, "items": [shown] }), "{answer}");
    let answer = by_graphql(&format!("filter: {{ number: \"{number}\" }}"));
    assert_eq!(answer["data"]["orders"]["items"][0]["id"], order.as_str());
    let answer = by_graphql("filter: { status: \"odd\", saleId: \"x\" }");
    let wrong = answer["errors"][0]["extensions"]["errors"].as_array().unwrap();
    let wrong: Vec<&str> = wrong.iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(wrong, ["filter.saleId", "filter.status"], "{answer}");
}

/// Bought, paid at the simulated cashier, refunded in part and then in full; another is cancelled
/// while its payment is open. Units and rows agree afterwards, and the buyers may buy again.
#[test]
fn an_order_is_paid_and_refunded_and_another_cancelled() {
    let mut demo = Demo::open();
    let ((token, order), (other_token, other)) = (demo.bought(1), demo.bought(2));
    let pay = |demo: &Demo, order: &str, token: &str| {
        let (status, opened) = demo.post(&format!("/v1/orders/{order}/pay"), token, "{\"method\": \"simulated\"}");
        assert_eq!(status, 200, "{opened}");
        let page = opened["page"].as_str().unwrap().to_owned();
        page[page.find("/simulated").unwrap()..].to_owned()
    };
    let page = pay(&demo, &order, &token);
    assert_eq!(demo.post(&format!("{page}/pay"), &token, "").0, 303);
    demo.becomes(&order, &token, "paid");
    pay(&demo, &other, &other_token);
    assert_eq!(demo.post(&format!("/v1/orders/{other}/cancel"), &other_token, "").0, 200);
    demo.becomes(&other, &other_token, "cancelled");
    let refunds = format!("/v1/merchant/orders/{order}/refunds");
    let (status, made) = demo.post(&refunds, &demo.key, "{\"reason\": \"as a person would\"}");
    assert_eq!((status, &made["order"]["status"]), (201, &"refunding".into()), "{made}");
    demo.becomes(&order, &token, "refunded");
    demo.audit();
    for token in [&token, &other_token] {
        let again = || Ok(demo.embedded.buy(token, "again")?.0 == 202);
        wait_until("the buyer may buy again", PATIENCE, again).unwrap();
    }

    // A payment that is open when the process dies: the bank of this process has forgotten it, and
    // it is opened again under its number.
    let (token, order) = demo.bought(3);
    let first = pay(&demo, &order, &token);
    demo.restart();
    assert_eq!(pay(&demo, &order, &token), first);
    assert_eq!(demo.post(&format!("{first}/pay"), &token, "").0, 303);
    demo.becomes(&order, &token, "paid");
    demo.audit();
}

//! The life of a sale as a merchant lives it: products and stock, a draft, published over HTTP,
//! changed in the middle of selling, closed, and settled with the warehouse. Method: the program as
//! it runs, killed between the steps; at the end stock, ledger and rows say the same.

use std::{fs, time::Duration};

use kit::{
    clock::{Clock as _, SystemClock},
    token::{BuyerClaims, TokenSigner},
};
use serde_json::{Value, json};
use verify::{
    child::{Child, wait_until},
    folder::Folder,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// How long a buyer's token lives.
const TOKEN_MS: u64 = 3_600_000;
const SALES: &str = "/v1/merchant/sales";

struct Shop {
    folder: Folder,
    server: Child,
    operator: String,
    signer: TokenSigner,
    tenant: u32,
}

impl Shop {
    /// A shop with 100 kettles in `MAIN`, whose lanes retire a second after their sale's end.
    fn open() -> Self {
        let folder = Folder::new().unwrap();
        let settings = folder.room().join("flashsale.toml");
        fs::write(&settings, "[lanes]\nsettling_s = 1\n").unwrap();
        let mut server = folder.serve_with(&["--config", settings.to_str().unwrap(), "--no-demo"]).unwrap();
        folder.wait_ready(&mut server).unwrap();
        let operator = fs::read_to_string(folder.data().join("control.key")).unwrap().trim().to_owned();
        let signer = folder.signer().unwrap();
        let mut shop = Self { folder, server, operator, signer, tenant: 0 };
        let tenant = json!({ "code": "kettles", "name": "Kettles", "plan": "unlimited" });
        let made = shop.merchant("POST", "/v1/tenants", &tenant, 201);
        shop.tenant = made["id"].as_str().unwrap().parse().unwrap();
        shop
    }

    fn restart(&mut self) {
        self.server.kill().unwrap();
        let settings = self.folder.room().join("flashsale.toml");
        self.server = self.folder.serve_with(&["--config", settings.to_str().unwrap(), "--no-demo"]).unwrap();
        self.folder.wait_ready(&mut self.server).unwrap();
    }

    /// What the merchants' service answers to the operator, who acts for the tenant.
    fn merchant(&self, method: &str, path: &str, body: &Value, expected: u16) -> Value {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let key = uuid::Uuid::new_v4();
        let acts_for = format!("Flashsale-Tenant: {}\r\n", self.tenant);
        let acts_for = if self.tenant == 0 { "" } else { &acts_for };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {}\r\n{acts_for}Idempotency-Key: {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.operator,
            body.len()
        );
        let (status, answer) = self.folder.ask(&request).unwrap();
        assert_eq!(status, expected, "{method} {path}: {answer}");
        serde_json::from_str(&answer).unwrap_or(Value::Null)
    }

    fn get(&self, path: &str) -> Value {
        self.merchant("GET", path, &Value::Null, 200)
    }

    /// Buys a unit at this price: `accepted`, or why not. What passes by itself is waited out.
    fn buy(&self, offer: &str, buyer: u64, amount: i64) -> String {
        let now_ms = SystemClock::new().now_ms();
        let token = self.signer.sign(&BuyerClaims::new(self.tenant, buyer, now_ms + TOKEN_MS), now_ms).unwrap();
        let price = json!({ "amount": amount, "currency": "CNY" });
        let body = json!({ "offer_id": offer, "quantity": 1, "expected_price": price }).to_string();
        let request = format!(
            "POST /v1/orders HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: only\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut found = String::new();
        wait_until("the purchase is answered", PATIENCE, || {
            let (status, answer) = self.folder.ask(&request)?;
            let answer: Value = serde_json::from_str(&answer)?;
            let member = if status == 202 { "status" } else { "code" };
            found = answer[member].as_str().unwrap_or_default().to_owned();
            Ok(status == 202 || status == 409)
        })
        .unwrap();
        found
    }

    /// Buys for the first time with this answer: what was changed is heard of by then.
    fn wait_for(&self, offer: &str, buyer: u64, amount: i64, answer: &str) {
        wait_until(answer, PATIENCE, || Ok(self.buy(offer, buyer, amount) == answer)).unwrap();
    }

    /// On hand, allotted, unshipped, available.
    fn stock(&self) -> [i64; 4] {
        let level = self.get("/v1/stock/1/1");
        ["on_hand", "allotted", "unshipped", "available"].map(|figure| level[figure].as_i64().unwrap())
    }
}

fn lanes(allotment: u64, amount: i64) -> Value {
    json!([{ "code": "main", "limit_per_buyer": 1, "offers": [{
        "sku": "KETTLE-RED", "warehouse": "MAIN", "price": { "amount": amount, "currency": "CNY" }, "allotment": allotment,
    }] }])
}

#[test]
fn a_sale_lives_from_a_draft_to_its_settlement_whatever_is_killed() {
    let mut shop = Shop::open();
    shop.merchant("POST", "/v1/warehouses", &json!({ "code": "MAIN", "name": "Main" }), 201);
    shop.merchant("POST", "/v1/products", &json!({ "code": "KETTLE", "title": "Kettle" }), 201);
    let sku = json!({ "code": "KETTLE-RED", "price": { "amount": 9_900, "currency": "CNY" } });
    shop.merchant("POST", "/v1/products/1/skus", &sku, 201);
    let line = json!({ "kind": "receive", "sku": "KETTLE-RED", "warehouse": "MAIN", "units": 100 });
    shop.merchant("POST", "/v1/stock/movements", &json!({ "lines": [line] }), 200);
    let terms = json!({ "code": "day-1", "title": "Day one", "opens_at": "2026-01-01T00:00:00Z",
                        "closes_at": "2050-01-01T00:00:00Z", "lanes": lanes(30, 9_900) });
    let made = shop.merchant("POST", SALES, &terms, 201);
    let sale = format!("{SALES}/{}", made["id"].as_str().unwrap());
    let offer = made["terms"]["lanes"][0]["offers"][0]["id"].as_str().unwrap().to_owned();
    let publish = format!("{sale}/publish");
    let published = shop.merchant("POST", &publish, &json!({}), 200);
    assert_eq!((&published["state"], shop.stock()), (&json!("open"), [100, 30, 0, 70]));

    // It sells its units, and no more.
    shop.wait_for(&offer, 1, 9_900, "accepted");
    let answers: Vec<String> = (2..=31).map(|buyer| shop.buy(&offer, buyer, 9_900)).collect();
    assert_eq!(answers.iter().filter(|answer| *answer == "accepted").count(), 29, "{answers:?}");
    assert_eq!(answers.last().unwrap(), "sold_out");

    // More units, at another price, after a kill; who saw the old price buys nothing.
    shop.restart();
    shop.merchant("PATCH", &sale, &json!({ "lanes": lanes(50, 8_800) }), 200);
    assert_eq!(shop.stock(), [100, 50, 0, 50]);
    shop.wait_for(&offer, 100, 9_900, "price_changed");
    shop.wait_for(&offer, 100, 8_800, "accepted");
    for buyer in 101..=109 {
        assert_eq!(shop.buy(&offer, buyer, 8_800), "accepted");
    }

    // Stopped, killed, and let go on.
    shop.merchant("POST", &format!("{sale}/pause"), &json!({}), 200);
    shop.wait_for(&offer, 200, 8_800, "paused");
    shop.restart();
    shop.wait_for(&offer, 200, 8_800, "paused");
    shop.merchant("POST", &format!("{sale}/resume"), &json!({}), 200);
    shop.wait_for(&offer, 200, 8_800, "accepted");

    // Fewer units than it still had: the rest is the warehouse's again, at once where it is free.
    shop.merchant("PATCH", &sale, &json!({ "lanes": lanes(45, 8_800) }), 200);
    wait_until("the reduction is back", PATIENCE, || Ok(shop.stock() == [100, 45, 0, 55])).unwrap();
    for buyer in 201..=204 {
        assert_eq!(shop.buy(&offer, buyer, 8_800), "accepted");
    }
    assert_eq!(shop.buy(&offer, 205, 8_800), "sold_out");

    // Closed and killed: 45 units wait for shipping, nothing is promised, 55 are free.
    shop.merchant("POST", &format!("{sale}/close"), &json!({}), 200);
    shop.restart();
    wait_until("the sale is settled", PATIENCE, || Ok(shop.get(&sale)["state"] == "settled")).unwrap();
    assert_eq!(shop.stock(), [100, 0, 45, 55]);
    assert_eq!(shop.buy(&offer, 300, 8_800), "ended");
    let evidence = shop.folder.evidence().unwrap();
    let findings = loadtest::audit::compare(&evidence);
    assert!(findings.is_clean(), "{findings:?}");
    let actions: Vec<Value> = shop.get(&format!("{sale}/history"))["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["action"].clone())
        .collect();
    let expected = ["create", "publish", "change", "pause", "resume", "change", "close"];
    assert_eq!(actions, expected.map(|action| json!(format!("sale.{action}"))));
}

//! The merchants' service over HTTP, asked by its operator, who acts for a tenant.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::wire::{Outcome, Wire};

/// The merchants' service, asked by its operator.
#[derive(Debug, Clone)]
pub struct Merchants {
    /// Where it answers.
    pub address: SocketAddr,
    /// Its operator's secret.
    pub key: String,
}

impl Merchants {
    /// A request for a tenant (0: for none), under an Idempotency-Key of its own. `seen`: the
    /// version that it changes, and no other.
    pub fn request(&self, tenant: u32, (method, path): (&str, &str), body: &Value, seen: Option<u64>) -> String {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let tenant = if tenant == 0 { String::new() } else { format!("Flashsale-Tenant: {tenant}\r\n") };
        let seen = seen.map_or_else(String::new, |version| format!("If-Match: \"{version}\"\r\n"));
        format!(
            "{method} {path} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {}\r\n{tenant}{seen}Idempotency-Key: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.key,
            uuid::Uuid::new_v4(),
            body.len()
        )
    }

    /// Sends a request. Status and body of its answer.
    ///
    /// # Errors
    /// When there is none.
    pub fn send(&self, request: &str) -> anyhow::Result<(u16, Value)> {
        let mut wire = Wire::connect(self.address)?;
        wire.send(request)?;
        match wire.answer() {
            Outcome::Answered { status, body, .. } => Ok((status, serde_json::from_str(&body).unwrap_or(Value::Null))),
            other => bail!("no answer of the merchants' service: {other:?}"),
        }
    }
}

/// A tenant with one SKU in one warehouse.
#[derive(Debug, Clone, Copy)]
pub struct Seller(u32);

impl Seller {
    /// The SKU that it sells.
    pub const SKU: &'static str = "KETTLE-RED";

    /// A tenant with so many units in the warehouse `MAIN`.
    ///
    /// # Errors
    /// When a step is refused.
    pub fn open(merchants: &Merchants, units: u64) -> anyhow::Result<Self> {
        let code = format!("kettles-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let tenant = json!({ "code": code, "name": "Kettles", "plan": "unlimited" });
        let made = Self(0).call(merchants, ("POST", "/v1/tenants"), &tenant)?;
        let seller = Self(made["id"].as_str().context("a tenant without an id")?.parse()?);
        let make = |path: &str, body: Value| seller.call(merchants, ("POST", path), &body);
        make("/v1/warehouses", json!({ "code": "MAIN", "name": "Main" }))?;
        let product = make("/v1/products", json!({ "code": "KETTLE", "title": "Kettle" }))?;
        let skus = format!("/v1/products/{}/skus", product["id"].as_str().context("a product without an id")?);
        make(&skus, json!({ "code": Self::SKU, "price": { "amount": 9_900, "currency": "CNY" } }))?;
        let line = json!({ "kind": "receive", "sku": Self::SKU, "warehouse": "MAIN", "units": units });
        make("/v1/stock/movements", json!({ "lines": [line] }))?;
        Ok(seller)
    }

    /// Its number.
    pub fn tenant(self) -> u32 {
        self.0
    }

    /// What a request for it is answered, which must be granted.
    ///
    /// # Errors
    /// When it is refused, or not answered.
    pub fn call(self, merchants: &Merchants, what: (&str, &str), body: &Value) -> anyhow::Result<Value> {
        let (status, answer) = merchants.send(&merchants.request(self.0, what, body, None))?;
        ensure!((200..300).contains(&status), "{what:?}: {status} {answer}");
        Ok(answer)
    }

    /// What is shown at a path.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn get(self, merchants: &Merchants, path: &str) -> anyhow::Result<Value> {
        self.call(merchants, ("GET", path), &Value::Null)
    }
}

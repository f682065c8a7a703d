//! The merchants' service over HTTP, asked by its operator, who acts for a tenant.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::wire::{self, Wire};

/// The merchants' service, asked by its operator.
#[derive(Debug, Clone)]
pub struct Merchants {
    /// Where it answers.
    pub address: SocketAddr,
    /// Its operator's secret.
    pub key: String,
}

/// A request with a bearer token and an Idempotency-Key of its own. `what`: method and path;
/// `more`: further headers, each with its end of line.
fn request(what: &str, token: &str, more: &str, body: &Value) -> String {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    wire::request(what, token, &format!("{more}Idempotency-Key: {}\r\n", uuid::Uuid::new_v4()), &body)
}

/// Sends a request with a bearer token and an Idempotency-Key of its own: status and body of the
/// answer, which is JSON or nothing.
///
/// # Errors
/// When there is no answer.
pub fn answered(to: SocketAddr, what: &str, token: &str, more: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
    let (status, _, body) = wire::ask(to, request(what, token, more, body))?.answered().context(what.to_owned())?;
    Ok((status, serde_json::from_str(&body).unwrap_or(Value::Null)))
}

fn acts_for(tenant: &str) -> String {
    if tenant.is_empty() { String::new() } else { format!("Flashsale-Tenant: {tenant}\r\n") }
}

impl Merchants {
    /// Asks something as the operator, for a tenant or, where it is empty, for the deployment.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&self, method: &str, path: &str, tenant: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        answered(self.address, &format!("{method} {path}"), &self.key, &acts_for(tenant), body)
    }

    /// Sends a change for a tenant, and waits for nothing.
    ///
    /// # Errors
    /// When nobody is there.
    pub fn send(&self, method: &str, path: &str, tenant: &str, body: &Value) -> anyhow::Result<Wire> {
        let mut wire = Wire::connect(self.address)?;
        wire.send(request(&format!("{method} {path}"), &self.key, &acts_for(tenant), body))?;
        Ok(wire)
    }

    /// Changes something of a tenant if its version is this one.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn patch_if(&self, path: &str, tenant: &str, version: u64, body: &Value) -> anyhow::Result<(u16, Value)> {
        let more = format!("{}If-Match: \"{version}\"\r\n", acts_for(tenant));
        answered(self.address, &format!("PATCH {path}"), &self.key, &more, body)
    }
}

/// A tenant with one SKU in one warehouse.
#[derive(Debug, Clone)]
pub struct Seller(String);

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
        let made = Self(String::new()).call(merchants, ("POST", "/v1/tenants"), &tenant)?;
        let seller = Self(made["id"].as_str().context("a tenant without an id")?.to_owned());
        let make = |path: &str, body: Value| seller.call(merchants, ("POST", path), &body);
        make("/v1/warehouses", json!({ "code": "MAIN", "name": "Main" }))?;
        let product = make("/v1/products", json!({ "code": "KETTLE", "title": "Kettle" }))?;
        let skus = format!("/v1/products/{}/skus", product["id"].as_str().context("a product without an id")?);
        make(&skus, json!({ "code": Self::SKU, "price": { "amount": 9_900, "currency": "CNY" } }))?;
        let line = json!({ "kind": "receive", "sku": Self::SKU, "warehouse": "MAIN", "units": units });
        make("/v1/stock/movements", json!({ "lines": [line] }))?;
        Ok(seller)
    }

    /// Its number, as the merchants' service writes it.
    pub fn id(&self) -> &str {
        &self.0
    }

    /// Its number.
    ///
    /// # Errors
    /// When it is none.
    pub fn number(&self) -> anyhow::Result<u32> {
        Ok(self.0.parse()?)
    }

    /// What a request for it is answered, which must be granted.
    ///
    /// # Errors
    /// When it is refused, or not answered.
    pub fn call(&self, merchants: &Merchants, (method, path): (&str, &str), body: &Value) -> anyhow::Result<Value> {
        let (status, answer) = merchants.ask(method, path, &self.0, body)?;
        ensure!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        Ok(answer)
    }

    /// What is shown at a path.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn get(&self, merchants: &Merchants, path: &str) -> anyhow::Result<Value> {
        self.call(merchants, ("GET", path), &Value::Null)
    }
}

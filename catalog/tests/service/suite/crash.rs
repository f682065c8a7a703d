//! Goal: whatever moment of a change catalog dies in, nothing is half done, and the same call again
//! finishes it, exactly once. Method: another process of the service on the same database is killed
//! within each call of a table, before its transaction is durable and after; one that starts anew
//! gets the same call. All rows of all tables are compared, so that a second audit entry, a second
//! event or a row too few is seen whatever it belongs to.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use catalog::buyers::outside::Outside;
use kit::{clock::ManualClock, http::Method};
use serde_json::Value;

use super::{
    erasure::everything,
    rig::{Ask, BEGIN_MS, OPERATOR, Rig},
};
use crate::place::Place;

/// Names the place to the process that is to be killed.
const PLACE: &str = "FLASHSALE_TEST_CRASH_PLACE";
/// What that process says before its address.
const LISTENS: &str = "listens on ";

/// Tables that no change is told from: blocks of numbers that a process took, and how much was
/// asked.
const OUTSIDE: [&str; 2] = ["numbers: ", "usage"];

/// A call: method and path, body, its status, its status once it is done already, and the name of
/// what it makes. `{x}` is the number of what was made as `x`, `$` the run's letter.
type Made = (&'static str, &'static str, u16, u16, &'static str);

#[rustfmt::skip]
const CALLS: &[Made] = &[
    ("PUT /v1/plans/gold-$", r#"{"quotas":{"keys":7}}"#, 201, 200, ""),
    ("PUT /v1/plans/gold-$", r#"{"quotas":{"keys":8}}"#, 200, 200, ""),
    ("POST /v1/tenants", r#"{"code":"pots-$","name":"Pots","plan":"free"}"#, 201, 201, "other"),
    ("PATCH /v1/tenants/{other}", r#"{"name":"Pots & Co","state":"suspended"}"#, 200, 200, ""),
    ("PUT /v1/flags/checkout-$", r#"{"description":"the new checkout","default":false}"#, 201, 200, ""),
    ("PUT /v1/flags/checkout-$", r#"{"description":"the new checkout","default":true}"#, 200, 200, ""),
    ("DELETE /v1/flags/checkout-$", "", 204, 404, ""),
    ("POST /v1/signing-keys", "", 201, 201, ""),
    ("PUT /v1/branding", r#"{"name":"Kettles & Co","domain":"$.example"}"#, 200, 200, ""),
    ("PUT /v1/roles/packer", r#"{"name":"Packer","permissions":["read_stock"]}"#, 200, 200, ""),
    ("POST /v1/users", r#"{"email":"ann@example.com","name":"Ann","roles":["packer"]}"#, 201, 201, "user"),
    ("PATCH /v1/users/{user}", r#"{"name":"Anna","roles":["viewer"]}"#, 200, 200, ""),
    ("POST /v1/users/{user}/invitations", "", 201, 201, ""),
    ("DELETE /v1/users/{user}", "", 204, 404, ""),
    ("DELETE /v1/roles/packer", "", 204, 404, ""),
    ("POST /v1/keys", r#"{"name":"shop","permissions":["read_stock"]}"#, 201, 201, "key"),
    ("DELETE /v1/keys/{key}", "", 204, 404, ""),
    ("PUT /v1/product-fields", r#"{"schema":{"type":"object"}}"#, 200, 200, ""),
    ("POST /v1/products", r#"{"code":"KETTLE","title":"Kettle"}"#, 201, 201, "product"),
    ("PATCH /v1/products/{product}", r#"{"title":"Red kettle"}"#, 200, 200, ""),
    ("POST /v1/products/{product}/skus", r#"{"code":"RED","price":{"amount":100,"currency":"CNY"}}"#, 201, 201, "sku"),
    ("PATCH /v1/skus/{sku}", r#"{"weight_g":900}"#, 200, 200, ""),
    ("POST /v1/products/export?format=csv", "", 202, 202, "job"),
    ("DELETE /v1/jobs/{job}", "", 200, 200, ""),
    ("POST /v1/warehouses", r#"{"code":"MAIN","name":"Main"}"#, 201, 201, "warehouse"),
    ("PATCH /v1/warehouses/{warehouse}", r#"{"name":"The main one"}"#, 200, 200, ""),
    ("POST /v1/warehouses/{warehouse}/places", r#"{"kind":"zone","code":"Z"}"#, 201, 201, "place"),
    ("PATCH /v1/warehouses/{warehouse}/places/{place}", r#"{"code":"Z-1"}"#, 200, 200, ""),
    ("DELETE /v1/warehouses/{warehouse}/places/{place}", "", 204, 404, ""),
    ("POST /v1/batches", r#"{"sku":"RED","code":"B"}"#, 201, 201, "batch"),
    ("PATCH /v1/batches/{batch}", r#"{"expires_at":"2027-06-30T00:00:00Z"}"#, 200, 200, ""),
    ("POST /v1/stock/movements", r#"{"lines":[{"kind":"receive","sku":"RED","warehouse":"MAIN","units":9}]}"#, 200, 200, ""),
    ("PUT /v1/stock/{sku}/{warehouse}/threshold", r#"{"threshold":5}"#, 200, 200, ""),
    ("POST /v1/stock/set", r#"{"sku":"RED","warehouse":"MAIN","on_hand":8,"expected_on_hand":9}"#, 200, 200, ""),
    ("POST /v1/stock/feed", r#"{"source":"erp","lines":[{"sku":"RED","warehouse":"MAIN","on_hand":4,"version":1}]}"#, 200, 200, ""),
    ("POST /v1/stock/reconciliation", "", 202, 202, ""),
    ("POST /v1/merchant/sales", r#"{"code":"S","title":"Sale","opens_at":"2027-01-01T00:00:00Z","closes_at":"2027-01-02T00:00:00Z","lanes":[{"code":"main","limit_per_buyer":1,"offers":[{"sku":"RED","allotment":1}]}]}"#, 201, 201, "sale"),
    ("PATCH /v1/merchant/sales/{sale}", r#"{"title":"Winter sale"}"#, 200, 200, ""),
    ("POST /v1/merchant/sales/{sale}/clone", r#"{"code":"T","opens_at":"2027-02-01T00:00:00Z","closes_at":"2027-02-02T00:00:00Z"}"#, 201, 201, ""),
    ("DELETE /v1/merchant/sales/{sale}", "", 204, 404, ""),
    ("PUT /v1/buyers/{buyer}/profile", r#"{"name":"Bo"}"#, 200, 200, ""),
    ("POST /v1/buyers/{buyer}/export", "", 201, 201, ""),
    ("POST /v1/buyers/{buyer}/erasure", "", 200, 200, ""),
    ("POST /v1/products", r#"{"code":"CUP","title":"Cup"}"#, 201, 201, "cup"),
    ("POST /v1/products/{cup}/skus", r#"{"code":"BLUE","price":{"amount":100,"currency":"CNY"}}"#, 201, 201, "blue"),
    ("DELETE /v1/skus/{blue}", "", 204, 404, ""),
    ("DELETE /v1/products/{cup}", "", 204, 404, ""),
];

/// Serves the place that the environment names, until it is killed or whoever started it is gone.
#[tokio::test]
async fn serves_until_it_is_killed() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let place = Arc::new(Place::of(&place));
    let rig = Rig::start_at(place, ManualClock::new(BEGIN_MS), Outside::default()).await;
    println!("\n{LISTENS}{}", rig.url);
    let until_gone = || std::io::stdin().read_to_end(&mut Vec::new());
    tokio::task::spawn_blocking(until_gone).await.unwrap().unwrap();
}

/// A service in a process of its own.
struct Victim {
    process: Child,
    url: String,
}

impl Victim {
    fn start(place: &Place) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "suite::crash::serves_until_it_is_killed", "--nocapture"]).env(PLACE, place.name());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let url = lines.find_map(|line| line.unwrap().strip_prefix(LISTENS).map(str::to_owned));
        Self { process, url: url.expect("it says where it listens") }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _is_gone = self.process.kill();
        let _status = self.process.wait();
    }
}

/// One walk through the table, with a death in each call at this step.
struct Run {
    rig: Rig,
    step: &'static str,
    victim: Victim,
    names: BTreeMap<&'static str, String>,
}

impl Run {
    async fn of(rig: Rig, step: &'static str) -> Self {
        let tenant = rig.tenant(&format!("kettles-{step}")).await;
        let wanted = serde_json::json!({ "buyers": [{ "id": "u-1" }] });
        let mint = rig.post("/v1/buyer-tokens").token(OPERATOR).header("flashsale-tenant", &tenant).json(&wanted);
        let buyer = mint.send().await.expect(200)["tokens"][0]["buyer"].as_str().unwrap().to_owned();
        let victim = Victim::start(rig.place());
        Self { rig, step, victim, names: BTreeMap::from([("tenant", tenant), ("buyer", buyer)]) }
    }

    fn ask(&self, number: usize, (what, body, ..): &Made) -> Ask<'_> {
        let (method, path) = what.split_once(' ').unwrap();
        let letter = &self.step[..1];
        let path = self
            .names
            .iter()
            .fold(path.replace('$', letter), |path, (name, number)| path.replace(&format!("{{{name}}}"), number));
        let is_operators =
            ["/v1/plans", "/v1/tenants", "/v1/flags", "/v1/signing-keys"].iter().any(|area| path.starts_with(area));
        let method: Method = method.parse().unwrap();
        let mut ask = self.rig.ask(method.clone(), &path).to(&self.victim.url).token(OPERATOR);
        if !is_operators {
            ask = ask.header("flashsale-tenant", &self.names["tenant"]);
        }
        if method == Method::POST {
            ask = ask.key(&format!("{}-{number}", self.step));
        }
        if body.is_empty() { ask } else { ask.body("application/json", body.replace('$', letter)) }
    }

    async fn rows(&self) -> Vec<String> {
        let everything = everything(&self.rig).await;
        let rows = everything.lines().filter(|row| !OUTSIDE.iter().any(|table| row.starts_with(table)));
        let mut rows: Vec<_> = rows.map(str::to_owned).collect();
        rows.sort();
        rows
    }

    /// One call: the process dies in it, starts anew, and is asked the same. Says what is wrong.
    async fn call(&mut self, number: usize, call: &Made) -> Vec<String> {
        let (what, _, done, again, makes) = call;
        let mut flaws = Vec::new();
        let mut holds = |is_so: bool, flaw: String| flaws.extend((!is_so).then(|| format!("{what}: {flaw}")));
        let before = self.rows().await;
        let died = self.ask(number, call).header("flashsale-die-at", self.step).attempt().await;
        if let Ok(answer) = died {
            // Nobody died: what follows would wait for it.
            return vec![format!("{what}: {} {}", answer.status, answer.json())];
        }
        let status = self.victim.process.wait().unwrap();
        holds(status.signal().is_some(), format!("it ended with {status}"));
        let (dead, is_durable) = (self.rows().await, self.step == "durable");
        holds(
            (dead != before) == is_durable,
            format!("before it is durable nothing is there: {}", new(&before, &dead)),
        );
        self.victim = Victim::start(self.rig.place());
        let answer = self.ask(number, call).send().await;
        let shown: Value = answer.json();
        holds(answer.status == if is_durable { *again } else { *done }, format!("{} {shown}", answer.status));
        let after = self.rows().await;
        if is_durable {
            holds(after == dead, format!("done already, it changes nothing: {}", new(&dead, &after)));
        } else {
            holds(after != before, "it is done now".to_owned());
            let once_more = self.ask(number, call).send().await;
            holds(once_more.status == *again, format!("once more: {} {}", once_more.status, once_more.json()));
            let last = self.rows().await;
            holds(last == after, format!("once: {}", new(&after, &last)));
        }
        if !makes.is_empty() {
            self.names.insert(makes, shown["id"].as_str().unwrap_or("none").to_owned());
        }
        flaws
    }
}

/// The rows that were not there before.
fn new(before: &[String], after: &[String]) -> String {
    after.iter().filter(|row| !before.contains(row)).cloned().collect::<Vec<_>>().join("\n  ")
}

async fn all_calls(step: &'static str) {
    let mut run = Run::of(Rig::start().await, step).await;
    let mut flaws = Vec::new();
    for (number, call) in CALLS.iter().enumerate() {
        flaws.extend(run.call(number, call).await);
    }
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
}

#[tokio::test]
async fn a_catalog_that_dies_before_a_change_is_durable_did_nothing_and_does_it_when_asked_again() {
    all_calls("written").await;
}

#[tokio::test]
async fn a_catalog_that_dies_before_it_answers_did_all_of_it_once() {
    all_calls("durable").await;
}

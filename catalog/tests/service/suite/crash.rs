//! Goal: whatever moment of a change catalog dies in, nothing is half done, and the same call again
//! finishes it, exactly once. Method: another process of the service on the same database is killed
//! within each call of a table, before its transaction is durable and after; one that starts anew
//! gets the same call. All rows of all tables are compared, so that a second audit entry, a second
//! event or a row too few is seen whatever it belongs to.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Lines, Read as _},
    os::unix::process::ExitStatusExt as _,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use catalog::{failpoint, jobs::Runner, outside::Outside};
use kit::{clock::ManualClock, http::Method};
use serde_json::{Value, json};
use store::sql::Sql as _;

use super::{
    erasure::everything,
    jobs::{file, finish},
    rig::{Ask, BEGIN_MS, OPERATOR, Rig},
    totp::code,
};
use crate::place::Place;

/// Names the place to the process that is to be killed.
const PLACE: &str = "FLASHSALE_TEST_CRASH_PLACE";
/// Names the step of a piece of a job at which that process dies.
const IN_PIECES: &str = "FLASHSALE_TEST_CRASH_IN_PIECES";
/// What that process says before its address.
const LISTENS: &str = "listens on ";

/// Tables that no change is told from: blocks of numbers that a process took, and how much was
/// asked.
const OUTSIDE: [&str; 2] = ["numbers: ", "usage"];

/// How long a runner's job is left alone, and a moment more.
const LEASE: Duration = Duration::from_secs(31);

/// A call: method and path, body, its status, its status once it is done already, and what of its
/// answer later calls name. `x` is its `id`, `x=y` its member `y`; they say `{x}`. `$` is the run's
/// letter, `{code}` what an authenticator app shows.
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
    ("POST /v1/images", "RIFF\x10\0\0\0WEBPVP8 picture", 201, 201, ""),
    ("POST /v1/products/import?format=csv", "product,title\nPOT,Pot\n", 202, 202, "import"),
    ("DELETE /v1/jobs/{import}", "", 200, 200, ""),
    ("POST /v1/merchant/sales", r#"{"code":"S","title":"Sale","opens_at":"2027-01-01T00:00:00Z","closes_at":"2027-01-02T00:00:00Z","lanes":[{"code":"main","limit_per_buyer":1,"offers":[{"sku":"RED","allotment":1}]}]}"#, 201, 201, "sale"),
    ("PATCH /v1/merchant/sales/{sale}", r#"{"title":"Winter sale"}"#, 200, 200, ""),
    ("POST /v1/merchant/sales/{sale}/clone", r#"{"code":"T","opens_at":"2027-02-01T00:00:00Z","closes_at":"2027-02-02T00:00:00Z"}"#, 201, 201, ""),
    ("DELETE /v1/merchant/sales/{sale}", "", 204, 404, ""),
    ("POST /v1/merchant/sales", r#"{"code":"L","title":"Life","opens_at":"2026-11-01T00:00:00Z","closes_at":"2027-01-02T00:00:00Z","lanes":[{"code":"main","limit_per_buyer":1,"offers":[{"sku":"RED","warehouse":"MAIN","allotment":1}]}]}"#, 201, 201, "life"),
    ("POST /v1/merchant/sales/{life}/publish", "", 200, 200, ""),
    ("POST /v1/merchant/sales/{life}/pause", "", 200, 200, ""),
    ("PATCH /v1/merchant/sales/{life}", r#"{"lanes":[{"code":"main","limit_per_buyer":1,"offers":[{"sku":"RED","warehouse":"MAIN","allotment":3}]}]}"#, 200, 200, ""),
    ("POST /v1/merchant/sales/{life}/resume", "", 200, 200, ""),
    ("POST /v1/merchant/sales/{life}/clone", r#"{"code":"M","opens_at":"2027-02-01T00:00:00Z","closes_at":"2027-02-02T00:00:00Z"}"#, 201, 201, ""),
    ("POST /v1/merchant/sales/{life}/close", "", 200, 200, ""),
    ("POST /v1/buyer-tokens", r#"{"buyers":[{"id":"u-2"},{"id":"u-3"}]}"#, 200, 200, ""),
    ("PUT /v1/login-providers/phone", r#"{"app_id":"a","secret":"s"}"#, 200, 200, ""),
    ("DELETE /v1/login-providers/phone", "", 204, 404, ""),
    ("PUT /v1/buyers/{buyer}/profile", r#"{"name":"Bo"}"#, 200, 200, ""),
    ("POST /v1/buyers/export", r#"{"buyers":["{buyer}"]}"#, 202, 202, ""),
    ("POST /v1/buyers/erasure", r#"{"buyers":["{buyer}"]}"#, 202, 202, ""),
    ("POST /v1/products", r#"{"code":"CUP","title":"Cup"}"#, 201, 201, "cup"),
    ("POST /v1/products/{cup}/skus", r#"{"code":"BLUE","price":{"amount":100,"currency":"CNY"}}"#, 201, 201, "blue"),
    ("DELETE /v1/skus/{blue}", "", 204, 404, ""),
    ("DELETE /v1/products/{cup}", "", 204, 404, ""),
    ("POST /v1/passwords", r#"{"token":"{invitation}","password":"a red kettle whistles"}"#, 204, 404, ""),
    ("POST /v1/sessions", r#"{"tenant":"{shop}","email":"bo-$@example.com","password":"a red kettle whistles"}"#, 201, 201, "session=session access=access_token refresh=refresh_token"),
    ("POST /v1/sessions/refresh", r#"{"refresh_token":"{refresh}"}"#, 200, 200, "access=access_token"),
    ("PUT /v1/me/totp", "", 200, 200, "secret=secret"),
    ("POST /v1/me/totp/confirmation", r#"{"totp":"{code}"}"#, 201, 201, ""),
    ("DELETE /v1/me/totp", "", 204, 204, ""),
    ("PUT /v1/me/password", r#"{"current_password":"a red kettle whistles","password":"a blue kettle whistles"}"#, 204, 400, ""),
    ("POST /v1/sessions", r#"{"tenant":"{shop}","email":"bo-$@example.com","password":"a blue kettle whistles"}"#, 201, 201, "session=session access=access_token"),
    ("DELETE /v1/sessions/{session}", "", 204, 401, ""),
];

/// Calls that do another of the same when they come again: a login, a refresh, a secret, a failed
/// guess.
const ANEW: [&str; 4] = ["POST /v1/sessions", "POST /v1/sessions/refresh", "PUT /v1/me/totp", "PUT /v1/me/password"];

/// Areas of the operator, and of people who sign in.
const OPERATORS: [&str; 4] = ["/v1/plans", "/v1/tenants", "/v1/flags", "/v1/signing-keys"];
const PEOPLES: [&str; 3] = ["/v1/me/", "/v1/sessions", "/v1/passwords"];

/// A job of one piece: what makes it, its body, and what comes of it.
type Worked = (&'static str, &'static str, &'static str);

#[rustfmt::skip]
const JOBS: &[Worked] = &[
    ("POST /v1/products/import?format=csv", "product,title,sku,price,currency\nPOT,Pot,POT-1,100,CNY\nPOT,Pot,POT-1,x,CNY\n", r#"{"made":1,"changed":0,"unchanged":0,"failed":1}"#),
    ("POST /v1/products/export?format=csv", "", r#"{"made":0,"changed":0,"unchanged":0,"failed":0}"#),
    ("POST /v1/buyers/export", r#"{"buyers":["{gone}","999999"]}"#, r#"{"made":1,"changed":0,"unchanged":0,"failed":1}"#),
    ("POST /v1/buyers/erasure", r#"{"buyers":["{gone}","999999"]}"#, r#"{"made":0,"changed":1,"unchanged":0,"failed":1}"#),
];

/// Serves the place that the environment names, until it is killed or whoever started it is gone.
#[tokio::test]
async fn serves_until_it_is_killed() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let place = Arc::new(Place::of(&place));
    let rig = Rig::start_at(place, ManualClock::new(BEGIN_MS), Outside::default()).await;
    println!("\n{LISTENS}{}", rig.url);
    if let Ok(step) = std::env::var(IN_PIECES) {
        failpoint::die_in_pieces(failpoint::Step::named(step.as_bytes()).unwrap());
        finish(&rig).await;
    }
    let until_gone = || std::io::stdin().read_to_end(&mut Vec::new());
    tokio::task::spawn_blocking(until_gone).await.unwrap().unwrap();
}

/// A service in a process of its own.
struct Victim {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Victim {
    fn start(place: &Place, in_pieces: Option<&str>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "suite::crash::serves_until_it_is_killed", "--nocapture"]).env(PLACE, place.name());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.envs(in_pieces.map(|step| (IN_PIECES, step)));
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Where it listens, once it does.
    fn url(&mut self) -> String {
        let url = self.lines.find_map(|line| line.unwrap().strip_prefix(LISTENS).map(str::to_owned));
        url.expect("it says where it listens")
    }

    /// Whether a signal ended it; it waits for its end.
    fn was_killed(&mut self) -> bool {
        self.process.wait().unwrap().signal().is_some()
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
    url: String,
    /// The next victim: it begins while the rows of the one before are compared.
    next: Victim,
    names: BTreeMap<&'static str, String>,
    rows: Vec<String>,
}

impl Run {
    async fn of(rig: Rig, step: &'static str) -> Self {
        let (shop, email) = (format!("kettles-{step}"), format!("bo-{}@example.com", &step[..1]));
        let tenant = rig.tenant(&shop).await;
        let operators = async |path: &str, body: Value| {
            rig.post(path).token(OPERATOR).header("flashsale-tenant", &tenant).fresh().json(&body).send().await
        };
        let minted = operators("/v1/buyer-tokens", json!({ "buyers": [{ "id": "u-1" }, { "id": "u-4" }] })).await;
        let buyer = |place: usize| minted.expect(200)["tokens"][place]["buyer"].as_str().unwrap().to_owned();
        let (buyer, gone) = (buyer(0), buyer(1));
        let user = operators("/v1/users", json!({ "email": email, "name": "Bo", "roles": ["viewer"] })).await;
        let invitation = user.expect(201)["invitation"]["token"].as_str().unwrap().to_owned();
        let [mut victim, next] = [(), ()].map(|()| Victim::start(rig.place(), None));
        let url = victim.url();
        let names = [("tenant", tenant), ("shop", shop), ("buyer", buyer), ("gone", gone), ("invitation", invitation)];
        let mut run = Self { rig, step, victim, url, next, names: BTreeMap::from(names), rows: Vec::new() };
        run.rows = run.look().await;
        run
    }

    /// A text of the table with what was made.
    fn filled(&self, text: &str) -> String {
        let text = text.replace('$', &self.step[..1]);
        let code = self.names.get("secret").map(|secret| code(secret, BEGIN_MS));
        let names =
            self.names.iter().map(|(name, value)| (*name, value)).chain(code.as_ref().map(|code| ("code", code)));
        names.fold(text, |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    fn ask<'r>(&'r self, key: &str, what: &str, body: &str, url: &'r str) -> Ask<'r> {
        let (method, path) = what.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let mut ask = self.rig.ask(method.clone(), &self.filled(path)).to(url);
        let is_of = |areas: &[&str]| areas.iter().any(|area| path.starts_with(area));
        ask = match self.names.get("access") {
            Some(access) if is_of(&PEOPLES) => ask.token(access),
            None if is_of(&PEOPLES) => ask,
            _ if is_of(&OPERATORS) => ask.token(OPERATOR),
            _ => ask.token(OPERATOR).header("flashsale-tenant", &self.names["tenant"]),
        };
        if method == Method::POST {
            ask = ask.key(key);
        }
        let media = match body.as_bytes() {
            [] => return ask,
            [b'{', ..] => "application/json",
            [b'R', b'I', b'F', b'F', ..] => "image/webp",
            _ => "text/csv",
        };
        ask.body(media, self.filled(body))
    }

    async fn look(&self) -> Vec<String> {
        let everything = everything(&self.rig).await;
        let rows = everything.lines().filter(|row| !OUTSIDE.iter().any(|table| row.starts_with(table)));
        let mut rows: Vec<_> = rows.map(str::to_owned).collect();
        rows.sort();
        rows
    }

    /// One call: the process dies in it, another one is asked the same. Says what is wrong.
    async fn call(&mut self, number: usize, call: &Made) -> Vec<String> {
        let (what, body, done, again, makes) = *call;
        let key = format!("{}-{number}", self.step);
        let mut flaws = Vec::new();
        let mut holds = |is_so: bool, flaw: String| flaws.extend((!is_so).then(|| format!("{what}: {flaw}")));
        let died = self.ask(&key, what, body, &self.url).header("flashsale-die-at", self.step).attempt().await;
        if let Ok(answer) = died {
            // Nobody died: what follows would wait for it.
            return vec![format!("{what}: {} {}", answer.status, answer.json())];
        }
        holds(self.victim.was_killed(), "it ended by itself".to_owned());
        self.victim = std::mem::replace(&mut self.next, Victim::start(self.rig.place(), None));
        let (dead, is_durable, is_anew) = (self.look().await, self.step == "durable", ANEW.contains(&what));
        let before = &self.rows;
        holds(
            (dead != *before) == is_durable,
            format!("nothing is there before it is durable: {}", new(before, &dead)),
        );
        self.url = self.victim.url();
        let answer = self.ask(&key, what, body, &self.url).send().await;
        let mut shown: Value = answer.json();
        holds(answer.status == if is_durable { again } else { done }, format!("{} {shown}", answer.status));
        let mut after = self.look().await;
        if is_durable {
            holds(is_anew || after == dead, format!("done already, it changes nothing: {}", new(&dead, &after)));
        } else {
            holds(after != self.rows, "it is done now".to_owned());
            let once_more = self.ask(&key, what, body, &self.url).send().await;
            holds(once_more.status == again, format!("once more: {} {}", once_more.status, once_more.json()));
            let last = self.look().await;
            holds(is_anew || last == after, format!("once: {}", new(&after, &last)));
            after = last;
            if is_anew {
                // What it gave first holds no more.
                shown = once_more.json();
            }
        }
        self.rows = after;
        for made in makes.split_whitespace() {
            let (name, member) = made.split_once('=').unwrap_or((made, "id"));
            self.names.insert(name, shown[member].as_str().unwrap_or("none").to_owned());
        }
        flaws
    }

    /// One job: the process dies in its piece, another one goes on with it. Says what is wrong.
    async fn job(&mut self, number: usize, job: &Worked) -> Vec<String> {
        let (what, body, counts) = *job;
        let made = self.ask(&format!("job-{number}"), what, body, &self.rig.url).send().await.expect(202);
        // Who works on a job, and until when, is told nobody.
        let kept = |rows: &[String]| rows.iter().filter(|row| !row.starts_with("jobs: ")).cloned().collect::<Vec<_>>();
        let before = kept(&self.look().await);
        let mut flaws = Vec::new();
        let mut holds = |is_so: bool, flaw: String| flaws.extend((!is_so).then(|| format!("{what}: {flaw}")));
        let mut worker = Victim::start(self.rig.place(), Some(self.step));
        holds(worker.was_killed(), "it ended by itself".to_owned());
        let (dead, is_durable) = (kept(&self.look().await), self.step == "durable");
        holds(
            (dead != before) == is_durable,
            format!("nothing is there before it is durable: {}", new(&before, &dead)),
        );
        self.rig.clock.advance(LEASE);
        finish(&self.rig).await;
        let path = format!("GET /v1/jobs/{}", made["id"].as_str().unwrap());
        let shown = self.ask("", &path, "", &self.rig.url).send().await.expect(200);
        let wanted: Value = serde_json::from_str(counts).unwrap();
        holds(shown["state"] == "done" && shown["counts"] == wanted, format!("{shown}"));
        let after = kept(&self.look().await);
        let more = new(&dead, &after);
        holds(is_durable == more.is_empty(), format!("what is done is done once: {more}"));
        flaws
    }
}

/// The rows that were not there before.
fn new(before: &[String], after: &[String]) -> String {
    after.iter().filter(|row| !before.contains(row)).cloned().collect::<Vec<_>>().join("\n  ")
}

/// A job of two pieces: what makes it, its body, and what comes of it.
fn of_two_pieces(buyers: &[String]) -> [(&'static str, String, Value); 4] {
    let counts = |[made, changed, failed]: [u32; 3]| json!({ "made": made, "changed": changed, "unchanged": 0, "failed": failed });
    let (lines, buyers) = (file(2_300) + "P1,Product 1,S1,x,CNY\n", json!({ "buyers": buyers }).to_string());
    [
        ("POST /v1/products/import?format=csv", lines, counts([2_300, 0, 1])),
        ("POST /v1/products/export?format=csv", String::new(), counts([0, 0, 0])),
        ("POST /v1/buyers/export", buyers.clone(), counts([70, 0, 0])),
        ("POST /v1/buyers/erasure", buyers, counts([0, 70, 0])),
    ]
}

/// Killed half way: one piece is durable, the process dies in the second, whose work is written
/// (`written`) or durable and not told (`durable`). The next one does the rest, and nothing twice.
async fn half_way(step: &'static str) {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let ids: Vec<_> = (0..70).map(|number| json!({ "id": format!("u-{number}") })).collect();
    let minted = rig.post("/v1/buyer-tokens").token(OPERATOR).header("flashsale-tenant", &tenant).fresh();
    let minted = minted.json(&json!({ "buyers": ids })).send().await.expect(200);
    let buyers = minted["tokens"].as_array().unwrap().iter().map(|one| one["buyer"].as_str().unwrap().to_owned());
    let buyers: Vec<String> = buyers.collect();
    for (what, body, counts) in of_two_pieces(&buyers) {
        let (method, path) = what.split_once(' ').unwrap();
        let media = if body.starts_with('{') { "application/json" } else { "text/csv" };
        let ask = rig.ask(method.parse().unwrap(), path).token(OPERATOR).header("flashsale-tenant", &tenant).fresh();
        let ask = if body.is_empty() { ask } else { ask.body(media, body) };
        let made = ask.send().await.expect(202);
        let shown = async || {
            let path = format!("/v1/jobs/{}", made["id"].as_str().unwrap());
            rig.get(&path).token(OPERATOR).header("flashsale-tenant", &tenant).send().await.expect(200)
        };
        assert!(Runner::with_turns_of(1).turn(&rig.catalog).await.unwrap());
        let half = shown().await;
        assert_eq!(half["state"], "running", "{what}: {half}");
        let mut worker = Victim::start(rig.place(), Some(step));
        assert!(worker.was_killed(), "{what}: it ended by itself");
        if step == "written" {
            assert_eq!(shown().await["done"], half["done"], "{what}: nothing of the second piece is there");
        }
        rig.clock.advance(LEASE);
        finish(&rig).await;
        let done = shown().await;
        assert_eq!((&done["state"], &done["counts"]), (&json!("done"), &counts), "{what}");
        assert_eq!(done["done"], done["total"], "{what}");
    }
    let count = async |what: &str| {
        let sql = format!("SELECT COUNT(*) FROM {what}");
        rig.db.rows(&sql, vec![]).await.unwrap().remove(0).int().unwrap()
    };
    assert_eq!((count("products").await, count("skus").await, count("job_errors").await), (2_300, 2_300, 1));
    let erased = "audit_log WHERE action = 'buyer.erase'";
    assert_eq!(count(erased).await, 70, "one entry for each who was erased");
}

#[tokio::test]
async fn a_job_that_is_killed_half_way_before_a_piece_is_durable_goes_on_with_that_piece() {
    half_way("written").await;
}

#[tokio::test]
async fn a_job_that_is_killed_half_way_after_a_piece_is_durable_goes_on_after_it() {
    half_way("durable").await;
}

async fn all_calls(step: &'static str) {
    let mut run = Run::of(Rig::start().await, step).await;
    let mut flaws = Vec::new();
    for (number, job) in JOBS.iter().enumerate() {
        flaws.extend(run.job(number, job).await);
    }
    run.rows = run.look().await;
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

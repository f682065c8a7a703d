//! `flashsale sale`, command by command, each on the folder of a server, at its URL with an API
//! key, and on the folder at rest; in words and as JSON, and from standard input.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use verify::{child::Child, embedded::Embedded, merchants::Seller};

const PATIENCE: Duration = Duration::from_secs(90);

/// How a command finds the merchants' service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Folder,
    Url,
    Rest,
}

/// A shop with 1,000 units of one SKU.
struct Shop {
    embedded: Embedded,
    server: Child,
    seller: Seller,
    key: String,
}

/// What a command came to.
struct Came {
    status: Option<i32>,
    out: String,
    err: String,
}

impl Came {
    #[track_caller]
    fn well(self) -> String {
        assert_eq!(self.status, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    /// It was refused, for what stands in its error.
    #[track_caller]
    fn refused(self, words: &[&str]) {
        assert_eq!((self.status, &*self.out), (Some(1), ""), "{}", self.err);
        words.iter().for_each(|word| assert!(self.err.contains(word), "{word}: {}", self.err));
    }
}

impl Shop {
    fn open() -> Self {
        let embedded = Embedded::new().unwrap();
        let mut server = embedded.serve_with(&["--no-demo"]).unwrap();
        embedded.wait_ready(&mut server).unwrap();
        let merchants = embedded.merchants().unwrap();
        let seller = Seller::open(&merchants, 1_000).unwrap();
        let key = json!({ "name": "commands", "permissions": ["read_sales", "write_sales"] });
        let key = seller.call(&merchants, ("POST", "/v1/keys"), &key).unwrap();
        Self { embedded, server, seller, key: key["token"].as_str().unwrap().to_owned() }
    }

    fn command(&self, by: By, words: &[&str], input: &str) -> Came {
        let mut command = match by {
            By::Url => {
                let mut command = Command::new(self.embedded.program());
                command.args(["sale", "--url", &format!("http://{}", self.embedded.address())]);
                command.env("FLASHSALE_API_KEY", &self.key).env("RUST_BACKTRACE", "0");
                command
            }
            By::Folder | By::Rest => {
                let mut command = self.embedded.command("sale");
                command.args(["--tenant", self.seller.id()]);
                command
            }
        };
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Came { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// What a command prints as JSON.
    #[track_caller]
    fn json(&self, by: By, words: &[&str], input: &str) -> Value {
        serde_json::from_str(&self.command(by, &[words, &["--json"]].concat(), input).well()).unwrap()
    }

    /// A draft of this code.
    #[track_caller]
    fn draft(&self, by: By, code: &str) -> Value {
        self.json(by, &["add", "-"], &terms(code).to_string())
    }

    /// A sale of this code that is open.
    #[track_caller]
    fn opened(&self, by: By, code: &str) {
        self.json(by, &["publish", "-"], &terms(code).to_string());
    }
}

/// The terms of a sale of 10 units, which is open.
fn terms(code: &str) -> Value {
    let offer = json!({ "sku": Seller::SKU, "warehouse": "MAIN", "allotment": 10 });
    json!({ "code": code, "title": "Day one", "opens_at": "2026-01-01T00:00:00Z", "closes_at": "2050-01-01T00:00:00Z",
        "lanes": [{ "code": "main", "limit_per_buyer": 1, "offers": [offer] }] })
}

/// Does it on the folder of a server, at its URL, and on the folder at rest.
fn everywhere(test: impl Fn(&Shop, By)) {
    let mut shop = Shop::open();
    test(&shop, By::Folder);
    test(&shop, By::Url);
    shop.server.terminate().unwrap();
    shop.server.wait(PATIENCE).unwrap();
    test(&shop, By::Rest);
}

/// A code of its own.
fn code(name: &str, by: By) -> String {
    format!("{name}-{by:?}").to_lowercase()
}

fn units(sale: &Value) -> &Value {
    &sale["terms"]["lanes"][0]["offers"][0]["allotment"]
}

#[test]
fn sale_list() {
    everywhere(|shop, by| {
        let codes = ["one", "two"].map(|name| code(name, by));
        codes.iter().for_each(|code| drop(shop.draft(by, code)));
        let listed = shop.json(by, &["list"], "");
        let items = listed["items"].as_array().unwrap();
        let text = shop.command(by, &["list"], "").well();
        assert!(text.starts_with("id") && text.lines().count() == items.len() + 1, "{text}");
        for code in &codes {
            assert_eq!(items.iter().filter(|item| item["code"] == **code).count(), 1, "{listed}");
            assert!(text.contains(&format!("{code}  ")) && text.contains("draft"), "{text}");
        }
    });
}

#[test]
fn sale_show() {
    everywhere(|shop, by| {
        let code = code("one", by);
        let made = shop.draft(by, &code);
        let number = made["id"].as_str().unwrap();
        assert_eq!(
            (shop.json(by, &["show", &code], ""), shop.json(by, &["show", number], "")),
            (made.clone(), made.clone())
        );
        let text = shop.command(by, &["show", &code], "").well();
        assert!(text.contains("state        draft") && text.contains(Seller::SKU) && text.contains("9900"), "{text}");
        shop.command(by, &["show", "nothing"], "").refused(&["not_found", "flashsale sale list"]);
    });
}

#[test]
fn sale_publish() {
    everywhere(|shop, by| {
        let code = code("one", by);
        shop.draft(by, &code);
        let dry = shop.json(by, &["publish", &code, "--dry-run"], "");
        assert!(dry["items"].is_array(), "{dry}");
        assert_eq!(shop.json(by, &["show", &code], "")["state"], "draft", "a dry run changes nothing");
        assert_eq!(shop.json(by, &["publish", &code], "")["published_version"], 1);
        shop.command(by, &["publish", &code], "").refused(&["conflict"]);
        // From standard input: made and published; the same again changes nothing, another title
        // does.
        let other = format!("{code}-2");
        let published = shop.json(by, &["publish", "-"], &terms(&other).to_string());
        assert_eq!((&published["code"], &published["published_version"]), (&json!(other), &json!(1)), "{published}");
        let again = shop.json(by, &["publish", "-"], &terms(&other).to_string());
        assert_eq!(again["version"], published["version"]);
        let mut renamed = terms(&other);
        renamed["title"] = json!("Day two");
        assert_eq!(shop.json(by, &["publish", "-"], &renamed.to_string())["terms"]["title"], "Day two");
        // Every wrong member at once, and nothing is made.
        let mut wrong = terms("wrong");
        wrong["lanes"][0]["offers"][0]["sku"] = json!("NOTHING");
        wrong["lanes"][0]["offers"][0]["warehouse"] = json!("NOWHERE");
        let came = shop.command(by, &["publish", "-"], &wrong.to_string());
        came.refused(&["invalid_request", "lanes[0].offers[0].sku", "lanes[0].offers[0].warehouse"]);
        let came = shop.command(by, &["publish", "-"], "{");
        assert!(came.status != Some(0) && came.err.contains("is no JSON"), "{}", came.err);
        shop.command(by, &["show", "wrong"], "").refused(&["not_found"]);
    });
}

#[test]
fn sale_check() {
    everywhere(|shop, by| {
        let code = code("one", by);
        let mut over = terms(&code);
        over["closes_at"] = json!("2026-01-02T00:00:00Z");
        shop.json(by, &["add", "-"], &over.to_string());
        let report = shop.json(by, &["check", &code], "");
        assert_eq!((&report["is_ready"], &report["version"]), (&json!(false), &json!(1)), "{report}");
        let text = shop.command(by, &["check", &code], "").well();
        assert!(text.contains("window_over") && text.contains("clone the sale"), "{text}");
        // In the report, and nowhere else: what is red before it refuses the publication.
        shop.command(by, &["publish", &code], "").refused(&["conflict", "window is over", "clone the sale"]);
    });
}

#[test]
fn sale_pause() {
    everywhere(|shop, by| {
        let code = code("one", by);
        shop.draft(by, &code);
        shop.command(by, &["pause", &code], "").refused(&["conflict"]);
        shop.json(by, &["publish", &code], "");
        assert_eq!(shop.json(by, &["show", &code], "")["state"], "open");
        assert_eq!(shop.json(by, &["pause", &code], "")["state"], "paused");
        let text = shop.command(by, &["show", &code], "").well();
        assert!(text.contains("state        paused"), "{text}");
    });
}

#[test]
fn sale_resume() {
    everywhere(|shop, by| {
        let code = code("one", by);
        shop.opened(by, &code);
        shop.json(by, &["pause", &code], "");
        assert_eq!(shop.json(by, &["resume", &code], "")["state"], "open");
        let text = shop.command(by, &["show", &code], "").well();
        assert!(text.contains("state        open"), "{text}");
    });
}

#[test]
fn sale_stock() {
    everywhere(|shop, by| {
        let code = code("one", by);
        shop.opened(by, &code);
        let change = |units: &str| shop.json(by, &["stock", &code, Seller::SKU, units], "");
        assert_eq!(units(&change("+50")), 60);
        assert_eq!(units(&change("-20")), 40);
        assert_eq!(units(&change("25")), 25);
        let text = shop.command(by, &["stock", &code, Seller::SKU, "30", "--lane", "main"], "").well();
        assert!(text.contains("  30  "), "{text}");
        let came = shop.command(by, &["stock", &code, Seller::SKU, "100000"], "");
        came.refused(&["conflict"]);
        let came = shop.command(by, &["stock", &code, "NOTHING", "1"], "");
        assert!(came.status != Some(0) && came.err.contains("no offer of SKU"), "{}", came.err);
        assert_eq!(units(&shop.json(by, &["show", &code], "")), 30);
    });
}

#[test]
fn sale_history() {
    everywhere(|shop, by| {
        let code = code("one", by);
        shop.opened(by, &code);
        shop.json(by, &["stock", &code, Seller::SKU, "+5"], "");
        shop.json(by, &["pause", &code], "");
        let history = shop.json(by, &["history", &code], "");
        let actions = history["items"].as_array().unwrap().iter().map(|line| line["action"].as_str().unwrap());
        assert_eq!(actions.collect::<Vec<_>>(), ["sale.create", "sale.publish", "sale.change", "sale.pause"]);
        let author = history["items"][2]["by"].as_str().unwrap();
        let expected = if by == By::Url { "key:" } else { "operator" };
        assert!(author.starts_with(expected), "{author}");
        let text = shop.command(by, &["history", &code], "").well();
        assert!(
            text.contains("lanes[0].offers[0].allotment: 10 -> 15") && text.contains("paused: false -> true"),
            "{text}"
        );
    });
}

#[test]
fn sale_clone() {
    everywhere(|shop, by| {
        let (code, other) = (code("one", by), code("two", by));
        shop.opened(by, &code);
        let window = ["--opens-at", "2049-01-31T20:00:00+08:00", "--closes-at", "2049-02-01T00:00:00Z"];
        let clone = |as_code: &str| {
            [&["clone", &code, as_code][..], &window].concat().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let words = clone(&other);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let cloned = shop.json(by, &words, "");
        assert_eq!((&cloned["state"], &cloned["code"]), (&json!("draft"), &json!(other)));
        assert_eq!((&cloned["terms"]["opens_at"], units(&cloned)), (&json!("2049-01-31T12:00:00.000Z"), &json!(10)));
        shop.command(by, &words, "").refused(&["conflict"]);
    });
}

/// An address without a key asks nobody, and a key that may only read changes nothing.
#[test]
fn a_url_needs_a_key_that_may() {
    let shop = Shop::open();
    shop.draft(By::Folder, "one");
    let mut command = Command::new(shop.embedded.program());
    command
        .args(["sale", "list", "--url", &format!("http://{}", shop.embedded.address())])
        .env_remove("FLASHSALE_API_KEY");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("FLASHSALE_API_KEY"));
    let merchants = shop.embedded.merchants().unwrap();
    let key = json!({ "name": "reads", "permissions": ["read_sales"] });
    let key = shop.seller.call(&merchants, ("POST", "/v1/keys"), &key).unwrap()["token"].as_str().unwrap().to_owned();
    let shop = Shop { key, ..shop };
    assert_eq!(shop.json(By::Url, &["show", "one"], "")["state"], "draft");
    shop.command(By::Url, &["publish", "one"], "").refused(&["forbidden", "write_sales"]);
}

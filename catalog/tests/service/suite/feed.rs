//! The feed of an ERP: only a higher version changes anything, each line is answered, and what was
//! promised is never promised again.

use serde_json::{Value, json};

use super::{
    rig::{Answer, Rig},
    stock::{Promise, Shop},
};

fn line(sku: &str, on_hand: i64, version: i64) -> Value {
    json!({ "sku": sku, "warehouse": "MAIN", "on_hand": on_hand, "version": version })
}

async fn feed(shop: &Shop<'_>, source: &str, lines: &[Value]) -> Answer {
    shop.post("/v1/stock/feed", &json!({ "source": source, "lines": lines })).await
}

fn outcomes(answer: &Value) -> Vec<(u64, String)> {
    let lines = answer["lines"].as_array().unwrap().iter();
    lines.map(|line| (line["line"].as_u64().unwrap(), line["outcome"].as_str().unwrap().to_owned())).collect()
}

fn outcome(line: u64, outcome: &str) -> (u64, String) {
    (line, outcome.to_owned())
}

#[tokio::test]
async fn only_a_higher_version_changes_anything_and_each_line_is_answered() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT", "PAN"]).await;
    let first = feed(&shop, "erp", &[line("POT", 10, 5), line("PAN", 3, 1)]).await.expect(200);
    assert_eq!((&first["applied"], outcomes(&first)), (&json!(2), vec![]));
    let lines = [
        line("POT", 10, 5), // the same again
        line("POT", 99, 5), // the same version, another figure
        line("POT", 98, 4), // older
        line("PAN", 3, 2),  // newer, nothing new
        line("CUP", 1, 1),
        json!({ "sku": "POT", "warehouse": "NONE", "on_hand": 1, "version": 9 }),
        json!({ "sku": "POT", "warehouse": "MAIN", "on_hand": 1, "version": 9, "expected_on_hand": 11 }),
        json!({ "sku": "POT", "warehouse": "MAIN", "on_hand": 8, "version": 6, "expected_on_hand": 10 }),
        line("POT", 7, 7), // twice in one call
    ];
    let second = feed(&shop, "erp", &lines).await.expect(200);
    let expected = [
        (0, "unchanged"),
        (1, "stale"),
        (2, "stale"),
        (3, "unchanged"),
        (4, "unknown_sku"),
        (5, "unknown_warehouse"),
        (6, "unexpected"),
    ];
    assert_eq!(outcomes(&second), expected.map(|(at, what)| outcome(at, what)));
    assert_eq!((&second["applied"], &second["stale"], &second["unknown"]), (&json!(2), &json!(2), &json!(2)));
    assert_eq!((&second["lines"][1]["version"], &second["lines"][6]["on_hand"]), (&json!(5), &json!(10)));
    assert_eq!((shop.figures(1).await[0], shop.figures(2).await[0]), (7, 3));
    // Another source counts its own versions; PAN's version moved with the line that changed
    // nothing.
    let other = feed(&shop, "shop", &[line("POT", 6, 1)]).await.expect(200);
    assert_eq!(other["applied"], 1);
    let stale = feed(&shop, "erp", &[line("PAN", 4, 2)]).await.expect(200);
    assert_eq!(outcomes(&stale), [outcome(0, "stale")]);
    let ledger = shop.all("/v1/stock/movements?sku=POT").await;
    let said: Vec<_> = ledger.iter().map(|movement| movement["reference"].as_str().unwrap()).collect();
    assert_eq!(said, ["shop:1", "erp:7", "erp:6", "erp:5"]);
}

#[tokio::test]
async fn a_repeated_feed_changes_nothing_with_the_same_key_or_another() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    let body = json!({ "source": "erp", "lines": [line("POT", 10, 1)] });
    let ask = |key: &str| shop.keyed("/v1/stock/feed", key).json(&body).send();
    let (first, again, anew) = (ask("a").await.expect(200), ask("a").await.expect(200), ask("b").await.expect(200));
    assert_eq!((&first, &first["applied"]), (&again, &json!(1)));
    assert_eq!((&anew["applied"], &anew["unchanged"]), (&json!(0), &json!(1)));
    assert_eq!(shop.all("/v1/stock/movements").await.len(), 1);
    assert_eq!(shop.level(1).await["version"], 1);
}

#[tokio::test]
async fn below_what_is_promised_is_a_listed_conflict_and_never_an_oversell() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    feed(&shop, "erp", &[line("POT", 10, 1)]).await.expect(200);
    shop.promise(Promise::Allocate, "a", 8).await.unwrap();
    shop.promise(Promise::Accept, "b", 3).await.unwrap();
    let short = feed(&shop, "erp", &[line("POT", 6, 2)]).await.expect(200);
    assert_eq!((&short["conflict"], outcomes(&short)), (&json!(1), vec![outcome(0, "conflict")]));
    assert_eq!(shop.figures(1).await, [6, 5, 3, 0]);
    let open = shop.all("/v1/stock/conflicts?state=open").await;
    let members = ["sku", "source", "on_hand", "promised", "state"].map(|member| open[0][member].clone());
    assert_eq!(members, [json!("POT"), json!("erp"), json!(6), json!(8), json!("open")]);
    assert!(shop.promise(Promise::Allocate, "c", 1).await.is_err(), "nothing is available");
    // Still short: the same conflict.
    feed(&shop, "erp", &[line("POT", 7, 3)]).await.expect(200);
    assert_eq!(shop.all("/v1/stock/conflicts").await.len(), 1);
    shop.promise(Promise::GiveBack, "d", 1).await.unwrap();
    let resolved = shop.all("/v1/stock/conflicts?state=resolved").await;
    assert_eq!(resolved[0]["id"], open[0]["id"]);
    assert!(shop.all("/v1/stock/conflicts?state=open").await.is_empty());
    feed(&shop, "erp", &[line("POT", 0, 4)]).await.expect(200);
    assert_eq!(shop.all("/v1/stock/conflicts").await.len(), 2, "short again is another conflict");
    shop.get("/v1/stock/conflicts?state=x").await.refused(400, "invalid_request");
}

#[tokio::test]
async fn a_feed_that_counts_less_takes_from_what_lies_nowhere_then_from_what_expires_first() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    shop.batch("POT", "LATE", "2028-01-01T00:00:00Z").await;
    shop.batch("POT", "SOON", "2027-01-01T00:00:00Z").await;
    let receive = |units: i64, batch: &str| json!({ "kind": "receive", "sku": "POT", "units": units, "batch": batch });
    shop.moves(&[receive(3, "LATE"), receive(3, "SOON")]).await.expect(200);
    shop.receive("POT", 3).await;
    feed(&shop, "erp", &[line("POT", 4, 1)]).await.expect(200);
    let level = shop.level(1).await;
    let lying: Vec<_> =
        level["positions"].as_array().unwrap().iter().map(|at| (at["batch"].clone(), at["units"].clone())).collect();
    assert_eq!(lying, [(json!("SOON"), json!(1)), (json!("LATE"), json!(3))]);
}

#[tokio::test]
async fn a_wrong_body_names_its_members_and_nothing_is_taken() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    let lines =
        [line("POT", -1, 0), json!({ "sku": "", "warehouse": "MAIN", "on_hand": 1, "version": 1, "tenant": 8 })];
    let refused = feed(&shop, "ERP!", &lines).await;
    refused.refused(400, "invalid_request");
    let expected = ["lines[0].on_hand", "lines[0].version", "lines[1].sku", "lines[1].tenant", "source"];
    assert_eq!(refused.wrong_fields(), expected);
    let many = vec![line("POT", 1, 1); 5_001];
    feed(&shop, "erp", &many).await.refused(400, "invalid_request");
    let large = json!({ "source": "erp", "lines": [], "more": "x".repeat(1024 * 1024) });
    shop.post("/v1/stock/feed", &large).await.refused(413, "too_large");
    assert!(shop.all("/v1/stock").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_feeds_at_once_the_higher_version_stands_on_every_line() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let codes: Vec<String> = (1..=40).map(|number| format!("SKU-{number:03}")).collect();
    let shop = Shop::open(&rig, &codes.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for round in [1, 3, 5] {
        let lines = |version: i64, odd: bool| -> Vec<Value> {
            let each = codes.iter().enumerate();
            // On every other line the one or the other is newer, and their orders differ.
            let mut lines: Vec<Value> = each
                .map(|(at, code)| {
                    let version = if (at % 2 == 0) == odd { version + 1 } else { version };
                    line(code, version * 100, version)
                })
                .collect();
            if odd {
                lines.reverse();
            }
            lines
        };
        let (one, other) = (lines(round, true), lines(round, false));
        let (one, other) = tokio::join!(feed(&shop, "erp", &one), feed(&shop, "erp", &other));
        let (one, other) = (one.expect(200), other.expect(200));
        for level in shop.all("/v1/stock?limit=100").await {
            assert_eq!(level["on_hand"], (round + 1) * 100, "{level} {one} {other}");
        }
    }
    assert_eq!(shop.all("/v1/stock?limit=100").await.len(), 40);
    assert_eq!(shop.reconcile().await["items"], json!([]));
}

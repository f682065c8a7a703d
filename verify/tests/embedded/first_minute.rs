//! The first minute: a folder that does not exist, a demo that sells, the commands that the welcome
//! names.

use std::{fs, time::Duration};

use serde_json::Value;
use verify::{child::wait_until, embedded::Embedded};

use super::rights::says;

const PATIENCE: Duration = Duration::from_secs(60);

fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {token}\r\n\r\n")
}

/// What the welcome prints works as it is printed: the token buys, the order becomes a row, and
/// stays one over a restart.
#[test]
fn an_empty_folder_sells_and_remembers() {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    let welcome = server.tail();
    assert!(welcome.contains("curl -i") && welcome.contains(" load"), "{welcome}");
    let token = welcome.lines().find_map(|line| line.trim().strip_prefix("TOKEN=")).unwrap().to_owned();
    let (status, body) = embedded.buy(&token, "first").unwrap();
    assert_eq!(status, 202, "{body}");
    let bought: Value = serde_json::from_str(&body).unwrap();
    let order = bought["order_id"].as_str().unwrap();
    let is_row = || {
        let (_, body) = embedded.ask(&get(&format!("/v1/orders/{order}?offer_id=9001"), &token))?;
        Ok(body.contains("\"pending_payment\""))
    };
    wait_until("the order is a row", PATIENCE, is_row).unwrap();
    server.terminate().unwrap();
    assert!(server.wait(PATIENCE).unwrap().success(), "{}", server.tail());
    assert!(!embedded.data().join("server.json").exists(), "nothing names a server that ended");

    let mut server = embedded.serve().unwrap();
    embedded.wait_ready(&mut server).unwrap();
    assert!(is_row().unwrap());
    let is_known = || Ok(embedded.buy(&token, "first")?.1.contains(order));
    wait_until("the lane is open again", PATIENCE, is_known).unwrap();
    let (status, body) = embedded.buy(&token, "second").unwrap();
    assert_eq!((status, body.contains("limit_reached")), (409, true), "{body}");
}

/// `publish` reaches a running server, and a folder at rest; a wrong file is refused with its
/// flaws.
#[test]
fn a_sale_is_published_with_and_without_a_server() {
    let embedded = Embedded::new().unwrap();
    let example = embedded.program_says("example").unwrap();
    let sale = |id: &str, lane: &str| {
        let (text, first, second) = (example.replace("\"1001\"", id).replace("\"5001\"", lane), "\"9001\"", "\"9002\"");
        text.replace(first, &format!("\"1{}", &first[1..])).replace(second, &format!("\"1{}", &second[1..]))
    };
    let publish = |text: &str| {
        let file = embedded.scratch().join("sale.toml");
        fs::write(&file, text).unwrap();
        let output = embedded.command("publish").arg(&file).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (status, text) = publish(&sale("\"2001\"", "\"6001\""));
    assert!(status != Some(0) && text.contains("flashsale serve"), "there is no folder yet: {text}");

    let mut server = embedded.serve().unwrap();
    embedded.wait_ready(&mut server).unwrap();
    let (status, text) = publish(&sale("\"2001\"", "\"6001\""));
    assert_eq!(status, Some(0), "{text}");
    let known = || Ok(embedded.ask("GET /v1/sales/2001 HTTP/1.1\r\nHost: shop\r\n\r\n")?.0 == 200);
    wait_until("the engine knows the sale", PATIENCE, known).unwrap();
    let (status, text) = publish("id = 0");
    assert!(status == Some(65) && text.contains("sale.toml"), "{status:?}: {text}");
    server.terminate().unwrap();
    server.wait(PATIENCE).unwrap();
    let (status, text) = publish(&sale("\"2001\"", "\"6001\"").replace("Winter", "Spring"));
    assert!(status == Some(0) && text.contains("version 2"), "{status:?}: {text}");
}

/// The desk's commands and the audit, with a server and without one; and an audit of a folder that
/// lost a row says so.
#[test]
fn the_manuals_commands_work_and_the_audit_can_fail() {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    wait_until("the demo's sale is open", PATIENCE, || Ok(server.said("TOKEN="))).unwrap();
    let buy = |buyer| {
        let (status, body) = embedded.buy(&embedded.token(buyer).unwrap(), "first").unwrap();
        assert_eq!(status, 202, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["order_id"].as_str().unwrap().to_owned()
    };
    let (first, _second, _third) = (buy(1), buy(2), buy(3));
    let holds = || {
        let (status, text) = says(&mut embedded.command("audit"));
        // Right after a purchase it says that orders are under way.
        Ok(status == Some(0) && text.matches("holds  INV-").count() == 5)
    };
    wait_until("the audit with a server holds", PATIENCE, holds).unwrap();
    let (status, text) = says(embedded.command("cancel").arg(&first));
    assert!(status == Some(0) && text.contains(&first), "{status:?}: {text}");
    let (status, text) = says(embedded.command("cancel").arg(&first));
    assert!(status == Some(1) && text.contains("cancelled"), "{status:?}: {text}");
    wait_until("the audit holds after the release", PATIENCE, holds).unwrap();
    server.terminate().unwrap();
    assert!(server.wait(PATIENCE).unwrap().success(), "{}", server.tail());
    let (status, text) = says(embedded.command("expire").args(["--older-than", "0"]));
    assert!(status == Some(0) && text.contains("2 of 2 overdue orders were expired"), "{status:?}: {text}");
    // What it left undecided, the next server decides.
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    wait_until("the audit holds after the expiry", PATIENCE, holds).unwrap();
    server.terminate().unwrap();
    assert!(server.wait(PATIENCE).unwrap().success(), "{}", server.tail());

    // As a server leaves it that is killed between the log and the ledger: nothing is lost, and
    // nothing to compare yet.
    let ledger = rusqlite::Connection::open(embedded.data().join("shop_ledger.db")).unwrap();
    let decided =
        |by: &str| ledger.execute(&format!("UPDATE partitions SET log_offset = log_offset {by}"), ()).unwrap();
    assert_eq!(decided("- 1"), 1);
    let (status, text) = says(&mut embedded.command("audit"));
    assert!(status == Some(75) && text.contains("1 of") && text.contains("start the server"), "{status:?}: {text}");
    assert_eq!(decided("+ 1"), 1);
    assert_eq!(says(&mut embedded.command("audit")).0, Some(0));

    let mut rows = 0;
    for shard in ["shop_orders_00.db", "shop_orders_01.db"] {
        let file = rusqlite::Connection::open(embedded.data().join(shard)).unwrap();
        rows += file.execute("DELETE FROM orders_0", ()).unwrap();
    }
    assert_eq!(rows, 3);
    let (status, text) = says(&mut embedded.command("audit"));
    assert!(status == Some(1) && text.contains("BROKEN INV-3") && text.contains("lost: 3"), "{status:?}: {text}");
}

//! A person whom the shop forgot, in the embedded deployment: after an erasure his name, his number
//! and his address are in no file of the data folder and in no line that the program wrote. His
//! order and its money are as they were. Method: as in `crash/erased.rs`; the program is stopped
//! first, because with it goes what the databases wrote ahead.

use std::time::Duration;

use serde_json::{Value, json};
use verify::{
    child::wait_until,
    embedded::Embedded,
    funnel::answered,
    search::{bytes_below, holds},
};

const PERSON: [&str; 4] = ["Zhang Sanfeng-Planted", "13987654321", "7 Planted Lane", "planted-account"];
/// What the folder must hold: the search finds it.
const SHOP: &str = "Kettles-in-every-place";
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn an_erased_person_is_in_no_file_and_his_order_stays() {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    let operator = embedded.control_key().unwrap();
    let ask = |what: &str, body: &Value| {
        let acts_for = "Flashsale-Tenant: 7\r\n";
        let (status, answer) = answered(embedded.address(), what, &operator, acts_for, body).unwrap();
        assert!((200..300).contains(&status), "{what}: {status} {answer}");
        answer
    };
    ask("PUT /v1/branding", &json!({ "name": SHOP }));
    let minted = ask("POST /v1/buyer-tokens", &json!({ "buyers": [{ "id": PERSON[3] }] }))["tokens"][0].clone();
    let (buyer, token) = (minted["buyer"].as_str().unwrap(), minted["token"].as_str().unwrap());
    let profile = json!({ "name": PERSON[0], "phone": format!("+86{}", PERSON[1]), "address": PERSON[2] });
    ask(&format!("PUT /v1/buyers/{buyer}/profile"), &profile);
    let (status, bought) = embedded.buy(token, "only").unwrap();
    assert_eq!(status, 202, "{bought}");
    let order = serde_json::from_str::<Value>(&bought).unwrap()["order_id"].as_str().unwrap().to_owned();
    let shown = || answered(embedded.address(), &format!("GET /v1/orders/{order}"), token, "", &Value::Null).unwrap().1;
    wait_until("his order has a row", PATIENCE, || Ok(shown()["status"] == "pending_payment")).unwrap();
    let before = shown();
    for what in ["export", "erasure"] {
        let job = ask(&format!("POST /v1/buyers/{what}"), &json!({ "buyers": [buyer] }));
        let path = format!("GET /v1/jobs/{}", job["id"].as_str().unwrap());
        wait_until(what, PATIENCE, || Ok(ask(&path, &Value::Null)["state"] == "done")).unwrap();
    }
    assert_eq!(shown(), before, "his order and its money are as they were");
    server.terminate().unwrap();
    server.wait(PATIENCE).unwrap();
    let found = bytes_below(embedded.scratch()).unwrap();
    assert!(holds(&found, SHOP), "the search does not look there");
    for text in PERSON {
        assert!(!holds(&found, text), "{text} stands in a file");
    }
}

//! R9: a merchant who lowers an allotment below what is sold sells no returned unit again until the
//! new allotment is reached. Method: the program's own commands, as a merchant types them, and its
//! own audit at the end.

use std::time::Duration;

use serde_json::{Value, json};
use verify::{
    child::{Child, wait_until},
    embedded::Embedded,
};

const PATIENCE: Duration = Duration::from_secs(60);
const OFFER: &str = "9001";

/// A sale of one offer, and the server that sells it.
pub(crate) struct OneOfferSale {
    pub(crate) embedded: Embedded,
    pub(crate) server: Child,
    file: String,
}

impl OneOfferSale {
    /// Ten units, one a buyer.
    pub(crate) fn open() -> Self {
        let embedded = Embedded::new().unwrap();
        let mut server = embedded.serve_with(&["--no-demo"]).unwrap();
        embedded.wait_ready(&mut server).unwrap();
        let (opens, closes) = ("2026-01-01T00:00:00Z", "2059-01-01T00:00:00Z");
        let file = format!(
            "id = \"1001\"\ntenant = \"7\"\ntitle = \"t\"\nopens_at = \"{opens}\"\ncloses_at = \"{closes}\"\n\
             buyer_rate_per_s = 1000\n[[lanes]]\nid = \"5001\"\nlimit_per_buyer = 1\n[[lanes.offers]]\nid = \"{OFFER}\"\n\
             sku = \"1\"\ntitle = \"x\"\nprice = {{ amount = 100, currency = \"CNY\" }}\nallotment = UNITS\nrate_per_s = 1000\n"
        );
        let sale = Self { embedded, server, file };
        sale.publish(10);
        sale
    }

    fn publish(&self, units: u64) {
        self.embedded.publish(&self.file.replace("UNITS", &units.to_string())).unwrap();
    }

    /// The order, or the code of the refusal.
    pub(crate) fn buy(&self, buyer: u64) -> Result<String, String> {
        let mut bought = None;
        // Right after a publication or a start the lane is still being opened.
        wait_until("the lane answers", PATIENCE, || {
            let (status, body) = self.embedded.buy(&self.embedded.token(buyer)?, "key")?;
            let body: Value = serde_json::from_str(&body)?;
            bought = match status {
                202 => Some(Ok(body["order_id"].as_str().unwrap_or_default().to_owned())),
                409 => Some(Err(body["code"].as_str().unwrap_or_default().to_owned())),
                _ => None,
            };
            Ok(bought.is_some())
        })
        .unwrap();
        bought.unwrap()
    }

    /// Cancels and waits until the release is decided: so many units are sold, so many may be, so
    /// many are wanted.
    fn cancel(&self, orders: &[String], expected: [u64; 3]) {
        for order in orders {
            self.embedded.run("cancel", &[order]).unwrap();
        }
        self.wait_numbers(expected);
    }

    pub(crate) fn wait_numbers(&self, [sold, allotment, target]: [u64; 3]) {
        wait_until("the ledger has come so far", PATIENCE, || {
            let lanes: Value = serde_json::from_str(&self.embedded.control("lanes")?)?;
            let standing: Value = serde_json::from_str(&self.embedded.control("standing")?)?;
            let offer = &lanes[0]["offers"][0];
            let waiting = json!([{"offer": OFFER, "allotment": allotment, "target": target, "sold": sold}]);
            let is_known = standing["above_target"] == if allotment > target { waiting } else { json!([]) };
            let left = allotment - sold;
            Ok(is_known && *offer == json!({"offer": OFFER, "left": left, "allotment": allotment, "target": target}))
        })
        .unwrap();
    }

    /// The program's audit, once nothing is under way.
    pub(crate) fn audit(&self) -> String {
        let mut text = String::new();
        wait_until("the audit holds", PATIENCE, || {
            let output = self.embedded.command("audit").output()?;
            text = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok(output.status.success())
        })
        .unwrap();
        text
    }

    fn restart(&mut self) {
        self.server.terminate().unwrap();
        assert!(self.server.wait(PATIENCE).unwrap().success(), "{}", self.server.tail());
        self.server = self.embedded.serve_with(&["--no-demo"]).unwrap();
        self.embedded.wait_ready(&mut self.server).unwrap();
    }
}

/// Ten of ten sold, five published: the first three that come back are nobody's, also after a
/// restart; of the next three one is sold again.
#[test]
fn r9_returned_units_serve_a_reduction_before_the_next_buyer() {
    let mut sale = OneOfferSale::open();
    let orders: Vec<String> = (1..=10).map(|buyer| sale.buy(buyer).unwrap()).collect();
    sale.wait_numbers([10, 10, 10]);
    sale.publish(5);
    sale.wait_numbers([10, 10, 5]);
    sale.cancel(&orders[..3], [7, 7, 5]);
    let sold_out = Err("sold_out".to_owned());
    assert_eq!((101..=103).map(|buyer| sale.buy(buyer)).collect::<Vec<_>>(), vec![sold_out.clone(); 3]);
    let text = sale.audit();
    assert!(text.contains("allotment 7, target 5"), "{text}");

    sale.restart();
    assert_eq!(sale.buy(104), sold_out);
    sale.cancel(&orders[3..6], [4, 5, 5]);
    let again: Vec<_> = (105..=107).map(|buyer| sale.buy(buyer)).collect();
    assert_eq!(again.iter().filter(|bought| bought.is_ok()).count(), 1, "{again:?}");
    sale.wait_numbers([5, 5, 5]);
    let text = sale.audit();
    assert!(!text.contains("target"), "{text}");
}

/// A larger allotment after a smaller one holds at once, whatever came back between.
#[test]
fn r9_an_increase_ends_a_reduction() {
    let sale = OneOfferSale::open();
    let orders: Vec<String> = (1..=10).map(|buyer| sale.buy(buyer).unwrap()).collect();
    sale.publish(5);
    sale.wait_numbers([10, 10, 5]);
    sale.cancel(&orders[..2], [8, 8, 5]);
    sale.publish(12);
    sale.wait_numbers([8, 12, 12]);
    assert_eq!((11..=15).filter(|&buyer| sale.buy(buyer).is_ok()).count(), 4);
    sale.audit();
}

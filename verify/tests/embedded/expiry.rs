//! `flashsale expire`: by a running server and at rest, with what it reports. Method: the program's
//! own commands.

use std::time::Duration;

use super::reduction::OneOfferSale;

impl OneOfferSale {
    /// Expires everything that is unpaid, and says what the program printed.
    fn expire(&self) -> String {
        self.embedded.run("expire", &["--older-than", "0"]).unwrap()
    }
}

#[test]
fn an_expiry_tells_how_many_and_gives_their_units_back() {
    let mut sale = OneOfferSale::open();
    (1..=3).for_each(|buyer| drop(sale.buy(buyer).unwrap()));
    sale.wait_numbers([3, 10, 10]);
    // Their rows are written then.
    sale.audit();
    let text = sale.expire();
    assert!(text.starts_with("3 of 3 overdue orders were expired; "), "{text}");
    sale.wait_numbers([0, 10, 10]);
    assert!(sale.expire().starts_with("0 of 0 overdue orders were expired; "));

    (4..=5).for_each(|buyer| drop(sale.buy(buyer).unwrap()));
    sale.wait_numbers([2, 10, 10]);
    sale.audit();
    sale.server.terminate().unwrap();
    assert!(sale.server.wait(Duration::from_secs(60)).unwrap().success(), "{}", sale.server.tail());
    assert!(sale.expire().starts_with("2 of 2 overdue orders were expired; "));
    sale.server = sale.embedded.serve_with(&["--no-demo"]).unwrap();
    sale.embedded.wait_ready(&mut sale.server).unwrap();
    sale.wait_numbers([0, 10, 10]);
    sale.audit();
}

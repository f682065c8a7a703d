//! `flashsale expire`: by a running server and at rest, with what it tells. Method: the program's
//! own commands.

use std::time::Duration;

use super::reduction::Shop;

impl Shop {
    /// Expires everything that is unpaid, and says what the program printed.
    fn expire(&self) -> String {
        let output = self.folder.command("expire").args(["--older-than", "0"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn an_expiry_tells_how_many_and_gives_their_units_back() {
    let mut shop = Shop::open();
    (1..=3).for_each(|buyer| drop(shop.buy(buyer).unwrap()));
    shop.wait_numbers([3, 10, 10]);
    // Their rows are written then.
    shop.audit();
    let text = shop.expire();
    assert!(text.starts_with("3 of 3 overdue orders were expired; "), "{text}");
    shop.wait_numbers([0, 10, 10]);
    assert!(shop.expire().starts_with("0 of 0 overdue orders were expired; "));

    (4..=5).for_each(|buyer| drop(shop.buy(buyer).unwrap()));
    shop.wait_numbers([2, 10, 10]);
    shop.audit();
    shop.server.terminate().unwrap();
    assert!(shop.server.wait(Duration::from_secs(60)).unwrap().success(), "{}", shop.server.tail());
    assert!(shop.expire().starts_with("2 of 2 overdue orders were expired; "));
    shop.server = shop.folder.serve_with(&["--no-demo"]).unwrap();
    shop.folder.wait_ready(&mut shop.server).unwrap();
    shop.wait_numbers([0, 10, 10]);
    shop.audit();
}

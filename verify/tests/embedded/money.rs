//! Hundreds of orders by the load test's own buyers: each is paid or gives its unit back, and bank,
//! books and rows agree to the cent.

use verify::{embedded::Embedded, load_test::LifeTest};

/// Each payment is told twice, one in a hundred with a forgery beside it; those who pay when their
/// time is over get their money back; and who only held has nothing in the end.
#[test]
fn every_cent_of_two_hundred_orders_is_accounted_for() {
    let embedded = Embedded::new().unwrap();
    let report = embedded.life(LifeTest { buyers: 200, at_once: 16, fault: None }).unwrap();
    let figure = |name: &str| report[name].as_i64().unwrap_or_else(|| panic!("{name} in {report}"));
    let ends = ["orders", "paid", "expired", "cancelled", "hoarders", "units_left"].map(figure);
    assert_eq!(ends, [200, 140, 40, 20, 10, 0]);
    assert_eq!(["late_refunded", "late_reinstated", "refunded"].map(figure), [2, 0, 2]);
    let money = ["money_received", "money_refunded", "money_difference"].map(figure);
    assert_eq!(money, [142 * 19_900, 2 * 19_900, 0]);
    let notices = |what: &str| report["notices"][what].as_u64().unwrap_or(0);
    assert_eq!((notices("forged"), notices("late"), figure("forged")), (2, 2, 2), "{report}");
    assert!(notices("applied") >= 140 && notices("nothing") >= 142, "each comes twice: {report}");
    assert_eq!(report["damage"], serde_json::json!([]));
    assert_eq!(["lost", "doubled", "oversold", "leaked"].map(figure), [0; 4]);
}

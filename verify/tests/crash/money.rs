//! Hundreds of orders by the load test's own buyers, over a kill of the order service.

use verify::load_test::LifeTest;

use super::*;

/// While it is dead nobody can pay or cancel, and buyers and the bank ask again. Afterwards each
/// order is paid or has given its unit back, and bank, books and rows agree to the cent.
#[test]
fn the_order_service_is_killed_while_hundreds_pay_and_every_cent_is_accounted_for() {
    let services = Services::new("money").unwrap();
    let life = LifeTest { buyers: 300, at_once: 8, fault: Some("orders-kill@1+1") };
    let report = services.life(life).unwrap();
    assert_clean(&report);
    let ends = ["orders", "paid", "expired", "cancelled", "units_left"].map(|name| figure(&report, name));
    assert_eq!(ends, [300, 210, 60, 30, 0]);
    assert_eq!((&report["money_difference"], &report["damage"]), (&0.into(), &serde_json::json!([])));
    assert_eq!(figure(&report, "late_refunded") + figure(&report, "late_reinstated"), 3);
    let seconds = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{report}"));
    let fault = &report["parts"][0]["fault"];
    let over = seconds(&fault["at_s"]) + seconds(&fault["lasted_s"]);
    assert!(over < seconds(&report["phases"][0]["seconds"]), "it was amid the first buyers: {report}");
}

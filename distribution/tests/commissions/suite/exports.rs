//! Goal: a month's file has each entry once and says that it is whole; a statement leads from the
//! balance before the month to the one after it.

use domain::{event::EventKind, record::ORDER_EVENTS_TYPE};
use kit::clock::Clock as _;
use serde_json::json;

use super::rig::{DAY_MS, Rig, bought, bytes_of, later};

/// More than a page of entries on one day.
const ORDERS: u64 = 300;

async fn lines(rig: &Rig, query: &str) -> Vec<String> {
    let file = rig.merchant("GET", &format!("ledger/csv?{query}"), None).await;
    assert_eq!(file.status, 200, "{}", file.text);
    file.text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_file_has_each_entry_of_its_month_once_and_ends_with_the_sums() {
    let rig = Rig::start().await;
    let now_ms = rig.clock.now_ms();
    let events: Vec<_> = (0..ORDERS).flat_map(|number| bought(20, now_ms - number, 0)).collect();
    for some in events.chunks(200) {
        rig.log.append(ORDER_EVENTS_TYPE, bytes_of(some));
    }
    rig.consume().await;
    rig.pass(DAY_MS);
    let body = json!({"person": "12", "amount": -1, "reason": "=HYPERLINK(\"x\"), \"so\""});
    rig.merchant("POST", "adjustments", Some(body)).await.expect(201);
    rig.pass(30 * DAY_MS);
    rig.feed(&bought(20, rig.clock.now_ms(), 0)).await;
    let count = ORDERS as usize;
    let shop = lines(&rig, "month=2026-11").await;
    assert_eq!(shop.len(), 1 + 2 * count + 1 + 1, "names, two payouts an order, a correction, sums");
    let mut distinct: Vec<_> = shop.iter().map(|line| line.split_once(',').unwrap().1).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), shop.len());
    let cost = 300 * (999 + 499) - 1;
    let pending = cost;
    assert_eq!(shop.last().unwrap(), &format!(",total,601,,,,,,-{cost},{pending},0,0,0,0,0,0,0,0,,"));
    let correction = shop.iter().find(|line| line.contains(",adjustment,")).unwrap();
    assert!(correction.ends_with(",\"'=HYPERLINK(\"\"x\"\"), \"\"so\"\"\",user:5"), "{correction}");
    let person = lines(&rig, "month=2026-11&person=11").await;
    assert_eq!(
        (person.len(), person.last().unwrap().as_str()),
        (count + 2, ",total,300,,,,,,-149700,149700,0,0,0,0,0,0,0,0,,")
    );
    let next = lines(&rig, "month=2026-12").await;
    assert_eq!((next.len(), lines(&rig, "month=2027-01").await.len()), (4, 2));
    rig.merchant("GET", "ledger/csv?month=2026-13", None).await.refused(400, "invalid_request");
    rig.merchant("GET", "ledger/csv", None).await.refused(400, "invalid_request");
    let other = rig.call("GET", "merchant/commissions/ledger/csv?month=2026-11", "user-5-8", None, &[]).await;
    assert_eq!(other.text.lines().count(), 2, "another shop's file has no entry of this one");
}

#[tokio::test]
async fn a_statement_leads_from_the_balance_before_the_month_to_the_one_after_it() {
    let rig = Rig::start().await;
    let [first, paid] = bought(20, rig.clock.now_ms(), 0);
    rig.feed(&[first, paid, later(&first, 4, EventKind::Completed, 0)]).await;
    rig.pass(25 * DAY_MS);
    rig.service.round().await.unwrap();
    rig.feed(&bought(20, rig.clock.now_ms(), 0)).await;
    let month = async |month: &str| rig.own("GET", &format!("statements/{month}"), 12, None).await;
    let november = month("2026-11").await;
    let accounts = |pending: i64, available: i64| json!({"pending": pending, "available": available, "withdrawing": 0, "paid": 0, "owed": 0});
    let november = november.expect(200);
    assert_eq!((&november["opening"], &november["closing"]), (&accounts(0, 0), &accounts(999, 0)));
    assert_eq!(november["is_over"], true);
    let december = month("2026-12").await;
    let december = december.expect(200);
    assert_eq!((&december["opening"], &december["closing"]), (&accounts(999, 0), &accounts(999, 999)));
    assert_eq!(december["is_over"], false);
    let moved: Vec<_> =
        december["moved"].as_array().unwrap().iter().map(|moved| (&moved["kind"], &moved["pending"])).collect();
    assert_eq!(moved, [(&json!("payout"), &json!(999)), (&json!("mature"), &json!(-999))]);
    let file = rig.own("GET", "statements/2026-12/csv", 12, None).await;
    assert_eq!((file.status, file.text.lines().count()), (200, 4));
    month("2026-1").await.refused(404, "not_found");
    rig.own("GET", "statements/2026-11", 99, None).await.refused(404, "not_found");
    rig.call("GET", "commissions/statements/2026-11/csv", "user-5-7", None, &[]).await.refused(401, "unauthenticated");
}

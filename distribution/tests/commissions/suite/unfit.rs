//! Goal: an event that cannot be posted is put aside with its cause, counted, and stops neither the
//! others of its record nor its partition. Method: rows of the database that leave no room for it,
//! or do not read.

use bytes::Bytes;
use domain::{event::EventKind, record::ORDER_EVENTS_TYPE};
use kit::clock::Clock as _;

use super::{
    aggregates::{of_a_month, tiers},
    rig::{Rig, bought, bytes_of, later},
};

/// Just below what somebody's accounts may hold together.
const FULL: i64 = (1 << 62) - 500;

async fn causes(rig: &Rig) -> Vec<String> {
    let parked = rig.merchant("GET", "parked", None).await;
    let items = parked.expect(200)["items"].as_array().unwrap();
    items.iter().map(|item| item["cause"].as_str().unwrap().to_owned()).collect()
}

/// 9.99 for 12 do not fit, and what the same record tells of another order is posted; the receipt
/// and the refund of the first wait for its payment, which counts once it is told again.
#[tokio::test]
async fn a_payment_that_fits_no_balance_is_put_aside_and_the_others_of_its_record_go_on() {
    let rig = Rig::start().await;
    rig.bind(22, 11).await.expect(200);
    rig.pass(5_000);
    let full = "INSERT INTO sub_accounts (tenant, person, part, pending, available, withdrawing, paid, receivable) \
                VALUES (7, 12, 1, ?, 0, 0, 0, 0)";
    rig.change(full, vec![FULL.into()]).await;
    let [first, paid] = bought(20, rig.clock.now_ms(), 0);
    let other = bought(22, rig.clock.now_ms(), 1);
    let mut record = vec![first, paid, later(&first, 4, EventKind::Completed, 0)];
    record.extend([later(&first, 9, EventKind::RefundedInPart, 3_333)]);
    record.extend(other);
    rig.log.append(ORDER_EVENTS_TYPE, bytes_of(&record));
    rig.consume().await;
    assert_eq!((rig.pending(12).await, rig.pending(11).await), (FULL, 999), "11 earned by the other order alone");
    assert_eq!(causes(&rig).await, ["the balance of a payee does not fit 64 bits with it"]);
    assert_eq!((rig.parked(), rig.count("waiting_events").await, rig.count("receipts").await), (1, 2, 0));
    // The partition goes on.
    rig.feed(&bought(22, rig.clock.now_ms(), 2)).await;
    assert_eq!(rig.pending(11).await, 2 * 999);
    rig.change("DELETE FROM sub_accounts WHERE person = 12 AND part = 1", vec![]).await;
    rig.feed(&[paid]).await;
    assert_eq!((rig.pending(12).await, rig.pending(11).await), (666, 2 * 999 + 333));
    assert_eq!((rig.count("waiting_events").await, rig.count("receipts").await), (0, 1));
    rig.sums_to_zero().await;
}

/// The sales of 12 leave no room: nothing of the line is counted or paid.
#[tokio::test]
async fn a_line_that_fits_no_sum_of_sales_is_put_aside_and_counts_nowhere() {
    let rig = tiers().await;
    rig.feed(&bought(20, rig.clock.now_ms(), 0)).await;
    rig.change("UPDATE aggregates SET sales = ? WHERE person = 12", vec![(i64::MAX - 9).into()]).await;
    let mut record = bought(20, rig.clock.now_ms(), 1).to_vec();
    record.extend(bought(22, rig.clock.now_ms(), 2));
    rig.log.append(ORDER_EVENTS_TYPE, bytes_of(&record));
    rig.consume().await;
    assert_eq!((rig.pending(12).await, rig.pending(11).await), (of_a_month(9_999), of_a_month(9_999)));
    assert_eq!(causes(&rig).await, ["the sales of who stands above do not fit 64 bits with it"]);
    let orders = rig.sql_int("SELECT orders FROM aggregates WHERE person = 12").await;
    assert_eq!((orders, rig.parked()), (1, 1));
    rig.sums_to_zero().await;
}

/// A line that is put aside because of a balance is no part of the sales that the next one stands
/// on.
#[tokio::test]
async fn a_line_that_fits_no_balance_is_taken_off_the_sales_again() {
    let rig = tiers().await;
    rig.feed(&bought(20, rig.clock.now_ms(), 0)).await;
    let full = "INSERT INTO sub_accounts (tenant, person, part, pending, available, withdrawing, paid, receivable) \
                VALUES (7, 12, 1, ?, 0, 0, 0, 0)";
    rig.change(full, vec![FULL.into()]).await;
    rig.feed(&bought(20, rig.clock.now_ms(), 1)).await;
    assert_eq!(rig.parked(), 1);
    let sales = "SELECT sales + orders FROM aggregates WHERE person = 12";
    assert_eq!(rig.sql_int(sales).await, 9_999 + 1);
    rig.change("DELETE FROM sub_accounts WHERE person = 12 AND part = 1", vec![]).await;
    rig.feed(&bought(20, rig.clock.now_ms(), 2)).await;
    assert_eq!(rig.pending(12).await, of_a_month(2 * 9_999));
    rig.sums_to_zero().await;
}

/// What the payment froze is damaged: its refund is put aside, the refund of another order is not.
#[tokio::test]
async fn a_refund_of_a_line_whose_frozen_row_is_damaged_is_put_aside() {
    let rig = Rig::start().await;
    let (one, other) = (bought(20, rig.clock.now_ms(), 0), bought(20, rig.clock.now_ms(), 1));
    rig.feed(&one).await;
    rig.feed(&other).await;
    let order = vec![one[0].order.stored().into()];
    rig.change("UPDATE evaluations SET frozen = '{' WHERE order_id = ?", order).await;
    let refunds = [&one[0], &other[0]].map(|first| later(first, 9, EventKind::RefundedInPart, 3_333));
    rig.log.append(ORDER_EVENTS_TYPE, bytes_of(&refunds));
    rig.consume().await;
    assert_eq!(rig.pending(12).await, 999 + 666);
    assert!(causes(&rig).await[0].starts_with("what its payment froze does not read"), "{:?}", causes(&rig).await);
    rig.sums_to_zero().await;
}

/// A receipt waits, and its row is damaged: it is put aside once its order comes, which is paid.
#[tokio::test]
async fn a_damaged_row_of_a_waiting_event_is_put_aside_and_its_order_goes_on() {
    let rig = Rig::start().await;
    let orders = [0, 1].map(|sequence| bought(20, rig.clock.now_ms(), sequence));
    let receipts = orders.map(|[first, _]| later(&first, 4, EventKind::Completed, 0));
    rig.feed(&receipts).await;
    let damage = "UPDATE waiting_events SET payload = ? WHERE order_id = ?";
    let another = Bytes::from(bytes_of(&receipts[..1]));
    for (bytes, [first, _]) in [(Bytes::from_static(&[1]), &orders[0]), (another, &orders[1])] {
        rig.change(damage, vec![bytes.into(), first.order.stored().into()]).await;
    }
    for [first, paid] in &orders {
        rig.feed(&[*first, *paid]).await;
    }
    assert_eq!((rig.pending(12).await, rig.parked()), (2 * 999, 2));
    let causes = causes(&rig).await;
    assert!(causes.iter().all(|cause| cause.starts_with("its row among the events that wait")), "{causes:?}");
    assert_eq!((rig.count("waiting_events").await, rig.count("receipts").await), (0, 0));
    // Told again, it is received.
    rig.feed(&receipts).await;
    assert_eq!(rig.count("receipts").await, 2);
}

/// Items of one millisecond are on one page each, and none is missing.
#[tokio::test]
async fn pages_lose_nothing_of_one_millisecond() {
    let rig = Rig::start().await;
    let mut record = Vec::new();
    let mut wrong = Vec::new();
    for sequence in 0..5 {
        let [first, paid] = bought(20, rig.clock.now_ms(), sequence);
        record.extend([first, paid]);
        wrong.push(later(&first, 3, EventKind::Cancelled, 0));
    }
    for events in [record, wrong] {
        rig.log.append(ORDER_EVENTS_TYPE, bytes_of(&events));
        rig.consume().await;
    }
    // All of one moment, whatever the database's clock said.
    rig.change("UPDATE parked_records SET parked_at = 5", vec![]).await;
    let (mut orders, mut parked) = (Vec::new(), Vec::new());
    for (list, is_own) in [(&mut orders, true), (&mut parked, false)] {
        let mut cursor = String::new();
        loop {
            let page = match is_own {
                true => rig.own("GET", &format!("orders?limit=2{cursor}"), 12, None).await,
                false => rig.merchant("GET", &format!("parked?limit=2{cursor}"), None).await,
            };
            let page = page.expect(200);
            let items = page["items"].as_array().unwrap();
            list.extend(items.iter().map(|item| item["order_id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(list.len(), 5, "{list:?}");
    }
    orders.sort_unstable();
    parked.sort_unstable();
    orders.dedup();
    assert_eq!((orders.len(), &orders), (5, &parked));
    for cursor in ["1", "1.2.x.rule", "-1.2.3.rule", "1..3.rule"] {
        rig.own("GET", &format!("orders?cursor={cursor}"), 12, None).await.refused(400, "invalid_request");
    }
}

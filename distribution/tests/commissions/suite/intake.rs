//! Goal: each event counts once, whatever order it comes in; what an order froze stays; what cannot
//! be is put aside, and the others go on.

use std::{sync::Arc, time::Duration};

use distribution::intake::{CONSUMER, Intakes};
use domain::{
    event::{EventKind, OrderEvent},
    record::{ORDER_EVENTS_TYPE, Topic},
};
use kit::{clock::Clock as _, random::SystemRandom};
use store::{
    consumer::{ConsumeError, Consumer},
    sql::Sql as _,
};
use tokio_util::sync::CancellationToken;

use super::faults::Dying;
use super::rig::{PARTITION, PLAN, Rig, SALE, bought, bytes_of, created, later};

/// Long enough for a slow machine; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// 10 and 5 percent of 99.99, rounded down, to who stands above the buyer.
#[tokio::test]
async fn a_paid_order_pays_who_stands_above_and_says_why() {
    let rig = Rig::start().await;
    let [first, paid] = bought(20, rig.clock.now_ms(), 0);
    rig.feed(&[first, paid]).await;
    assert_eq!(rig.balance(12).await, [999, 0, 0, 0, 0]);
    assert_eq!(rig.balance(11).await, [499, 0, 0, 0, 0]);
    assert_eq!(rig.balance(10).await, [0; 5]);
    let shown = rig.merchant("GET", &format!("orders/{}", first.order), None).await;
    let trace = &shown.expect(200)["evaluations"][0]["trace"];
    assert_eq!(trace[0]["why"]["paid"]["amount"], 999, "{trace}");
    assert_eq!(trace[0]["why"]["paid"]["rest"], 900_000);
    let earned = rig.own("GET", "orders", 12, None).await;
    assert_eq!(earned.expect(200)["items"][0]["amount"], 999);
    rig.sums_to_zero().await;
}

/// The path, the ranks and the plan are those of the moment of the order.
#[tokio::test]
async fn what_changes_after_the_order_changes_nothing_of_it() {
    let rig = Rig::start().await;
    let [first, paid] = bought(20, rig.clock.now_ms(), 0);
    rig.feed(&[first]).await;
    rig.pass(10);
    rig.bind(20, 10).await.expect(200);
    rig.publish(&super::rig::PLAN.replace("v1", "v2").replace("10%, 5%", "1%, 1%")).await.expect(201);
    rig.pass(5_000);
    rig.feed(&[paid, later(&first, 9, EventKind::RefundedInPart, 3_333)]).await;
    assert_eq!((rig.balance(12).await[0], rig.balance(11).await[0], rig.balance(10).await[0]), (666, 333, 0));
    rig.feed(&bought(20, rig.clock.now_ms(), 1)).await;
    assert_eq!(rig.balance(10).await[0], 99, "the new order froze the new relation and the new plan");
}

/// Partial refunds take back against the cumulative target; a full one takes all.
#[tokio::test]
async fn refunds_in_parts_end_at_the_same_cent_as_one() {
    let rig = Rig::start().await;
    let [first, paid] = bought(20, rig.clock.now_ms(), 0);
    let part = |refund: u8, refunded| later(&first, 8 + refund, EventKind::RefundedInPart, refunded);
    rig.feed(&[first, paid, part(1, 3_333), part(2, 6_666), later(&first, 7, EventKind::Refunded, 0)]).await;
    assert_eq!((rig.balance(12).await, rig.balance(11).await), ([0; 5], [0; 5]));
    rig.sums_to_zero().await;
}

/// All orders of five events, each also sent twice, come to the same balances and entries.
#[tokio::test]
async fn events_in_any_order_and_twice_come_to_the_same() {
    let rig = Rig::start().await;
    let now_ms = rig.clock.now_ms();
    let mut places = vec![];
    for (number, first) in [0_usize, 7, 33, 64, 99, 119].into_iter().zip(0..) {
        let created = created(20, now_ms, first);
        let mut events = vec![
            created,
            later(&created, 2, EventKind::Paid, 0),
            later(&created, 4, EventKind::Completed, 0),
            later(&created, 9, EventKind::RefundedInPart, 3_333),
            later(&created, 10, EventKind::RefundedInPart, 6_666),
        ];
        // The permutation of this number.
        let (mut rest, mut shuffled) = (number, Vec::new());
        for left in (1..=events.len()).rev() {
            shuffled.push(events.remove(rest % left));
            rest /= left;
        }
        for event in &shuffled {
            rig.feed(&[*event, *event]).await;
        }
        rig.feed(&shuffled).await;
        places.push((rig.balance(12).await[0], rig.balance(11).await[0]));
    }
    let expected: Vec<_> = (1..=places.len() as i64).map(|orders| (333 * orders, 166 * orders)).collect();
    assert_eq!(places, expected);
    assert_eq!((rig.count("waiting_events").await, rig.count("parked_records").await), (0, 0));
    rig.sums_to_zero().await;
}

/// One record that holds an order from its beginning to its end, and one batch for many orders.
#[tokio::test]
async fn a_span_may_hold_all_of_an_orders_life_and_many_orders() {
    let rig = Rig::start().await;
    let now_ms = rig.clock.now_ms();
    let mut all = Vec::new();
    for number in 0..30 {
        let [first, paid] = bought(20, now_ms + number, 0);
        all.extend([first, paid, later(&first, 9, EventKind::RefundedInPart, 6_666)]);
    }
    for events in all.chunks(45) {
        rig.log.append(ORDER_EVENTS_TYPE, bytes_of(events));
    }
    rig.consume().await;
    assert_eq!((rig.balance(12).await[0], rig.balance(11).await[0]), (333 * 30, 166 * 30));
    rig.sums_to_zero().await;
}

#[tokio::test]
async fn what_cannot_be_is_parked_with_its_cause_and_the_others_go_on() {
    let rig = Rig::start().await;
    let now_ms = rig.clock.now_ms();
    let [first, paid] = bought(20, now_ms, 0);
    let other = domain::id::BuyerId::new(21).unwrap();
    let forged = OrderEvent { buyer: other, ..later(&first, 4, EventKind::Completed, 0) };
    rig.feed(&[first, paid, forged, later(&first, 9, EventKind::RefundedInPart, 10_000)]).await;
    // An event of no kind, and bytes that are none.
    rig.log.append(ORDER_EVENTS_TYPE, of_kind(&paid, 0));
    rig.log.append(ORDER_EVENTS_TYPE, vec![1, 2, 3]);
    rig.consume().await;
    rig.feed(&bought(20, now_ms, 1)).await;
    assert_eq!(rig.balance(12).await[0], 2 * 999, "the others went on");
    assert_eq!(rig.count("parked_records").await, 4);
    let parked = rig.merchant("GET", "parked", None).await;
    let causes: Vec<_> = parked.expect(200)["items"].as_array().unwrap().iter().map(|item| &item["cause"]).collect();
    assert_eq!(causes.len(), 2, "what nobody can read is of no shop: {causes:?}");
    assert!(causes.iter().any(|cause| cause.as_str().unwrap().contains("more has gone back than was paid")));
    // Redelivered, it is parked once.
    rig.feed(&[forged]).await;
    assert_eq!(rig.balance(12).await[0], 2 * 999);
}

/// The bytes of an event, with this number as its kind.
fn of_kind(event: &OrderEvent, kind: u8) -> Vec<u8> {
    let mut bytes = bytes_of(&[*event]);
    let at = bytes.windows(2).position(|pair| pair == [0x18, event.kind.number()]).unwrap();
    bytes[at + 1] = kind;
    bytes
}

/// What a newer program tells is not put aside: it counts once this program is updated.
#[tokio::test]
async fn events_of_a_newer_program_wait_for_the_update() {
    let rig = Rig::start().await;
    let now_ms = rig.clock.now_ms();
    let [first, paid] = bought(20, now_ms, 0);
    rig.feed(&[first, paid]).await;
    for kind in [ORDER_EVENTS_TYPE, "flashsale.tomorrow.v1"] {
        rig.log.append(kind, of_kind(&paid, 99));
        let mut consumer = Consumer::new(rig.sql.clone(), CONSUMER, Topic::OrderEvents, PARTITION, rig.log.reader());
        for _ in 0..2 {
            let step = consumer.step(&mut rig.intake(), Duration::ZERO).await;
            assert!(matches!(step, Err(ConsumeError::Newer { offset: 2, .. })), "{step:?}");
        }
        assert_eq!((rig.balance(12).await[0], rig.count("parked_records").await), (999, 0));
    }
}

/// A sale pays nothing unless it is switched on, and from then on.
#[tokio::test]
async fn flash_sales_pay_nothing_unless_they_are_switched_on() {
    let rig = Rig::start().await;
    rig.switch(SALE, false).await;
    rig.pass(5_000);
    rig.feed(&bought(20, rig.clock.now_ms(), 0)).await;
    assert_eq!((rig.balance(12).await[0], rig.count("order_lines").await), (0, 0));
    rig.switch(SALE, true).await;
    rig.feed(&bought(20, rig.clock.now_ms(), 1)).await;
    assert_eq!(rig.balance(12).await[0], 0, "it holds from two seconds ahead");
    rig.pass(5_000);
    rig.feed(&bought(20, rig.clock.now_ms(), 2)).await;
    assert_eq!(rig.balance(12).await[0], 999);
}

/// What a refund took back before is not there to mature.
#[tokio::test]
async fn what_refunds_left_matures_and_no_more() {
    let rig = Rig::start().await;
    let now_ms = rig.clock.now_ms();
    let [first, paid] = bought(20, now_ms, 0);
    rig.feed(&[first, paid, later(&first, 4, EventKind::Completed, 0)]).await;
    rig.feed(&bought(20, now_ms, 1)).await;
    rig.feed(&[later(&first, 9, EventKind::RefundedInPart, 3_333)]).await;
    rig.pass(22 * super::rig::DAY_MS);
    rig.service.round().await.unwrap();
    assert_eq!(rig.balance(12).await, [999, 666, 0, 0, 0], "of the other order nothing");
    rig.sums_to_zero().await;
}

/// Received, and the days of the plan later, it can be withdrawn; a refund then makes a debt, which
/// the next earning pays.
#[tokio::test]
async fn payouts_mature_after_the_receipt_and_late_refunds_become_debts() {
    let rig = Rig::start().await;
    let [first, paid] = bought(20, rig.clock.now_ms(), 0);
    rig.feed(&[first, paid, later(&first, 4, EventKind::Completed, 0)]).await;
    rig.pass(22 * super::rig::DAY_MS - 1);
    rig.service.round().await.unwrap();
    assert_eq!(rig.balance(12).await, [999, 0, 0, 0, 0]);
    rig.pass(1);
    rig.service.round().await.unwrap();
    rig.service.round().await.unwrap();
    assert_eq!(rig.balance(12).await, [0, 999, 0, 0, 0]);
    rig.verify(12).await;
    rig.own("POST", "withdrawals", 12, Some(serde_json::json!({"amount": 999}))).await.expect(201);
    rig.feed(&[later(&first, 7, EventKind::Refunded, 0)]).await;
    assert_eq!(rig.balance(12).await, [0, 0, 999, 0, 999]);
    rig.feed(&bought(20, rig.clock.now_ms(), 1)).await;
    assert_eq!(rig.balance(12).await, [0, 0, 999, 0, 0]);
    rig.sums_to_zero().await;
}

/// A shop without commissions pays nothing for them: no record is read. The first plan finds the
/// orders that came while it was in force, those of before its publication too.
#[tokio::test]
async fn nothing_is_read_before_the_first_plan() {
    let rig = Rig::empty().await;
    rig.log.append(ORDER_EVENTS_TYPE, bytes_of(&bought(20, rig.clock.now_ms(), 0)));
    let looking = Dying::after(&rig, u64::MAX);
    let (sql, clock, metrics) = (looking.clone(), rig.clock.clone(), Arc::clone(&rig.metrics));
    let (intakes, stop) = (Intakes { sql, clock, random: SystemRandom::default(), metrics }, CancellationToken::new());
    let intake = tokio::spawn(intakes.run(rig.log.clone(), 1, stop.clone()));
    let position = async || {
        let rows = rig.sql.rows("SELECT log_offset FROM consumer_positions", vec![]).await.unwrap();
        rows.into_iter().next().map(|mut row| row.int().unwrap())
    };
    let until = async |holds: &mut dyn FnMut(Option<i64>) -> bool| {
        while !holds(position().await) {
            tokio::time::sleep(Duration::from_millis(20)).await
        }
    };
    // It has looked for a plan, found none, and looks again.
    tokio::time::timeout(PATIENCE, until(&mut |_| looking.looks() >= 2)).await.unwrap();
    assert_eq!(position().await, None, "its first step begins a position");
    rig.publish(PLAN).await.expect(201);
    tokio::time::timeout(PATIENCE, until(&mut |position| position == Some(1))).await.unwrap();
    stop.cancel();
    intake.await.unwrap();
}

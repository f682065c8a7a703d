//! Goal: after a night of orders, money and units add up to the last minor unit, whatever notices
//! did. Method: 70 % of the orders are paid, 20 % expire, 10 % are cancelled; a tenth of the paid
//! ones are refunded whole, a tenth in part. Every notice comes twice, one in a hundred is forged,
//! one in a hundred comes late. `LIFE_ORDERS` sets how many orders there are.

use std::time::Instant;

use domain::{event::EventKind, id::OrderId, order::Status};
use orders::simulator::NoticePlan;
use serde_json::json;

use super::rig::{Rig, TOTAL, WINDOW_MS};

/// What an order is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Paid,
    PaidLate,
    Refunded,
    RefundedInPart,
    Expired,
    Cancelled,
}

const PART: i64 = 1_000;

fn fate(number: u64) -> Fate {
    match number % 100 {
        0 => Fate::PaidLate,
        1..8 => Fate::Refunded,
        8..15 => Fate::RefundedInPart,
        15..70 => Fate::Paid,
        70..90 => Fate::Expired,
        _ => Fate::Cancelled,
    }
}

/// Every notice comes twice; of one payment in a hundred a forged one comes too, of another they
/// come when its order's time to pay is over.
fn plan(buyer: u64, fate: Fate) -> NoticePlan {
    let delay_ms = if fate == Fate::PaidLate { 2 * WINDOW_MS } else { 0 };
    NoticePlan { copies: 2, forged: u32::from(buyer % 100 == 1), delay_ms, ..NoticePlan::PLAIN }
}

#[tokio::test]
async fn a_night_of_orders_adds_up() {
    let count: u64 = std::env::var("LIFE_ORDERS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    let mut rig = Rig::start().await;
    let mut orders: Vec<(OrderId, u64, Fate)> = Vec::new();
    for buyers in (1..=count).collect::<Vec<_>>().chunks(500) {
        let bought = rig.buy(buyers.iter().copied()).await;
        orders.extend(bought.into_iter().zip(buyers).map(|(order, buyer)| (order, *buyer, fate(*buyer))));
        // Ids of one moment are few.
        rig.pass(1);
    }
    let began = Instant::now();
    for &(order, buyer, fate) in &orders {
        match fate {
            Fate::Expired => {}
            Fate::Cancelled => drop(rig.cancel(order, buyer).await.expect(200).clone()),
            _ => {
                let number = rig.pay(order, buyer).await.expect(200)["number"].as_str().unwrap().parse().unwrap();
                rig.bank.pay_with("7", &number, plan(buyer, fate)).unwrap();
            }
        }
        if buyer % 500 == 0 {
            rig.deliver().await;
        }
    }
    rig.deliver().await;
    rig.pass(WINDOW_MS + 60_000);
    assert_eq!(rig.expire().await, count_of(&orders, Fate::Expired));
    for _ in 0..1_000 {
        rig.work().await;
        rig.pass(20_000);
        rig.deliver().await;
        if count_where(&rig, &orders, Status::PendingPayment).await == 0 {
            break;
        }
    }
    for &(order, _, fate) in &orders {
        match fate {
            Fate::Refunded => drop(rig.refund(order, "r", None).await.expect(201).clone()),
            Fate::RefundedInPart => drop(rig.refund(order, "p", Some(PART)).await.expect(201).clone()),
            _ => {}
        }
    }
    for _ in 0..100_000 {
        rig.work().await;
        rig.deliver().await;
        if refunds_open(&rig).await == 0 {
            break;
        }
        rig.pass(1_000);
    }
    let seconds = began.elapsed().as_secs_f64();
    adds_up(&rig, &orders, seconds).await;
}

fn count_of(orders: &[(OrderId, u64, Fate)], of: Fate) -> u64 {
    orders.iter().filter(|(_, _, fate)| *fate == of).count() as u64
}

async fn count_where(rig: &Rig, orders: &[(OrderId, u64, Fate)], status: Status) -> u64 {
    let ids: Vec<OrderId> = orders.iter().map(|(order, ..)| *order).collect();
    let rows = rig.store.orders.find(&ids).await.unwrap();
    rows.values().filter(|row| row.status == status).count() as u64
}

async fn refunds_open(rig: &Rig) -> i64 {
    let mut open = 0;
    for shard in rig.shards() {
        let query = "SELECT COUNT(*) FROM refunds WHERE next_at IS NOT NULL";
        open += rig.store.orders.beside(shard, query, vec![]).await.unwrap()[0].int().unwrap();
    }
    open
}

async fn adds_up(rig: &Rig, orders: &[(OrderId, u64, Fate)], seconds: f64) {
    let (mut received, mut refunded, mut at_the_bank) = (0, 0, 0);
    for shard in rig.shards() {
        let sum = async |query: &str| {
            let rows = rig.store.orders.beside(shard, query, vec![]).await.unwrap();
            rows.into_iter().map(|mut row| row.int().unwrap()).sum::<i64>()
        };
        received += sum("SELECT amount FROM attempts WHERE state = 3").await;
        refunded += sum("SELECT amount FROM refunds WHERE state = 3").await;
    }
    let (mut paid, mut live) = (0, 0);
    for &(order, _, fate) in orders {
        let row = &rig.store.orders.find(&[order]).await.unwrap()[&order];
        let (status, keeps) = match fate {
            Fate::Paid | Fate::PaidLate => (Status::Paid, TOTAL),
            Fate::RefundedInPart => (Status::Paid, TOTAL - PART),
            Fate::Refunded => (Status::Refunded, 0),
            Fate::Expired => (Status::Expired, 0),
            Fate::Cancelled => (Status::Cancelled, 0),
        };
        assert_eq!(row.status, status, "{order} {fate:?}");
        paid += keeps;
        live += u64::from(matches!(status, Status::Paid)) * u64::from(row.quantity);
        let trade = rig.bank.trade("7", &format!("{order}_1").parse().unwrap());
        at_the_bank += trade.ok().filter(|trade| trade.paid_ms.is_some()).map_or(0, |trade| TOTAL - trade.refunded);
    }
    assert_eq!((received - refunded, at_the_bank), (paid, paid), "received, the bank's and what orders keep");
    let (releases, events) = rig.outbox().await;
    let given_back: u64 = releases.iter().map(|released| u64::from(released.quantity)).sum();
    let allotted = 3 * orders.len() as u64;
    assert_eq!(live + given_back, allotted, "each unit is sold or given back, once");
    let told = |kind| events.iter().filter(|event| event.kind == kind).count();
    let unpaid = count_of(orders, Fate::Expired) + count_of(orders, Fate::Cancelled);
    assert_eq!(told(EventKind::Paid) as u64 + unpaid, orders.len() as u64);
    println!(
        "{}",
        json!({
            "orders": orders.len(), "seconds": seconds, "paid": told(EventKind::Paid),
            "expired": count_of(orders, Fate::Expired), "cancelled": count_of(orders, Fate::Cancelled),
            "refunded": count_of(orders, Fate::Refunded), "money_received": received, "money_refunded": refunded,
            "money_difference": received - refunded - paid,
        })
    );
}

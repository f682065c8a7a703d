//! R13 and R6 as a buyer meets them. Goal: the same key gets its order at any time, and is told
//! what became of it. Method: a whole shop whose clock, publication and lane are moved by hand
//! after a purchase.

use domain::{
    id::{BatchId, BuyerId, Epoch, KeyHash, OrderId},
    order::Status,
    stock::{Gone, GoneWhy},
};

use crate::{
    orders::{READS_PER_BUYER_PER_S, Unseen},
    purchase::{Bought, Caller, Declined, PurchaseState},
    testing::{NOW_MS, Shop, buyer, offer_id, sale, tenant},
};

async fn bought(shop: &Shop) -> OrderId {
    let Bought { order, state, .. } = shop.buy(1, "k", 2).await.unwrap();
    assert_eq!(state, PurchaseState::Accepted);
    order
}

fn pause(shop: &Shop, version: u32, paused: bool) {
    let mut next = sale(1);
    (next.version, next.paused) = (version, paused);
    shop.directory.take_in(vec![next], NOW_MS);
}

fn release(shop: &Shop, order: OrderId, buyer: BuyerId) {
    let (batch, gone) =
        (BatchId::new(order.get()).unwrap(), Gone { order, buyer, why: GoneWhy::Released { retired: 0 } });
    shop.stock.lane(1, |lane, run| lane.settle(run, Epoch(1), &[batch], &[gone]));
}

async fn again(shop: &Shop) -> Result<(OrderId, PurchaseState), Declined> {
    shop.buy(1, "k", 2).await.map(|bought| (bought.order, bought.state))
}

#[tokio::test]
async fn r13_a_known_key_gets_its_order_whatever_window_and_pause_say() {
    let shop = Shop::new(10);
    let order = bought(&shop).await;
    let window = sale(1).window;
    for wall_ms in [window.opens_at_ms - 1, window.closes_at_ms, window.closes_at_ms + 3_600_000] {
        shop.clock.set_wall(wall_ms);
        assert_eq!(again(&shop).await, Ok((order, PurchaseState::Accepted)), "at {wall_ms}");
    }
    shop.clock.set_wall(NOW_MS);
    pause(&shop, 2, true);
    assert_eq!(again(&shop).await, Ok((order, PurchaseState::Accepted)));
    assert_eq!(shop.buy(1, "k", 1).await, Err(Declined::Mismatch), "another quantity is another purchase");
    assert_eq!(shop.buy(1, "another", 2).await, Err(Declined::Paused));
    assert_eq!(shop.buy(2, "k", 2).await, Err(Declined::Paused), "another buyer's key is another key");
    assert_eq!(shop.stock.calls().len(), 1, "none of these was a purchase");
}

/// R12: what only the lane has may still be lost.
#[tokio::test]
async fn r12_a_repeat_after_the_end_is_pending_until_its_record_is_acknowledged_or_settled() {
    let shop = Shop::new(10);
    shop.log.mode(crate::testing::LogMode::Lose);
    let order = shop.buy(1, "k", 2).await.unwrap().order;
    shop.clock.set_wall(sale(1).window.closes_at_ms);
    assert_eq!(again(&shop).await, Ok((order, PurchaseState::Pending)));
    let batch = BatchId::new(order.get()).unwrap();
    shop.stock.lane(1, |lane, run| lane.settle(run, Epoch(1), &[batch], &[]));
    assert_eq!(again(&shop).await, Ok((order, PurchaseState::Accepted)));
}

/// R6: the same order id, and what it is: neither "accepted", nor a new order.
#[tokio::test]
async fn r6_a_repeat_of_a_released_order_says_what_became_of_it() {
    for status in [Status::Cancelled, Status::Expired, Status::Refunded] {
        let shop = Shop::new(10);
        let order = bought(&shop).await;
        shop.rows.write(order, buyer(1), status);
        release(&shop, order, buyer(1));
        assert_eq!(again(&shop).await, Ok((order, PurchaseState::Over(status))), "while the sale is open");
        shop.clock.set_wall(sale(1).window.closes_at_ms);
        assert_eq!(again(&shop).await, Ok((order, PurchaseState::Over(status))), "after its end");
        *shop.rows.is_away.lock().unwrap() = true;
        assert_eq!(again(&shop).await, Err(Declined::LaneClosed), "without its row nobody knows: come again");
        assert_eq!(shop.stock.left(1), 10);
    }
}

/// A lane that does not answer: the rows tell what they know, and nobody is told "no" while a
/// record may be under way.
#[tokio::test]
async fn a_closed_lane_is_no_answer_and_its_rows_are_one() {
    let shop = Shop::new(10);
    let (order, key) = (bought(&shop).await, KeyHash::of(tenant(), buyer(1), offer_id(1), "k"));
    let closes_at_ms = sale(1).window.closes_at_ms;
    shop.clock.set_wall(closes_at_ms);
    shop.stock.restart();
    assert_eq!(again(&shop).await, Err(Declined::LaneClosed), "its row may be on its way");
    // The buyer's newest orders are others: more than a page of them.
    shop.rows.write_of_key(order, buyer(1), Status::PendingPayment, key);
    for more in 1..=250 {
        shop.rows.write(OrderId::new(order.get() + more).unwrap(), buyer(1), Status::Paid);
    }
    assert_eq!(again(&shop).await, Ok((order, PurchaseState::Accepted)));
    shop.rows.write_of_key(order, buyer(1), Status::Cancelled, key);
    assert_eq!(again(&shop).await, Ok((order, PurchaseState::Over(Status::Cancelled))));
    assert_eq!(shop.buy(1, "k", 1).await, Err(Declined::Mismatch));
    assert_eq!(shop.buy(2, "k", 2).await, Err(Declined::LaneClosed));
    shop.clock.set_wall(closes_at_ms + 30 * 24 * 3_600_000 - 1);
    assert_eq!(shop.buy(2, "k", 2).await, Err(Declined::LaneClosed), "nobody has said that all is decided");
}

/// R14: of a retired lane the rows are all there is, and a sale that is prolonged is asked at its
/// lane again.
#[tokio::test]
async fn r14_a_retired_lane_is_answered_from_its_rows() {
    let shop = Shop::new(10);
    let (order, key) = (bought(&shop).await, KeyHash::of(tenant(), buyer(1), offer_id(1), "k"));
    let closes_at_ms = sale(1).window.closes_at_ms;
    shop.clock.set_wall(closes_at_ms);
    shop.stock.restart();
    let lane = std::sync::Arc::clone(&shop.directory.now().offer(offer_id(1)).unwrap().1.lane);
    lane.note_retired(Some(closes_at_ms));
    let status =
        |order| shop.purchases.orders.status(Caller { tenant: tenant(), buyer: buyer(1) }, order, Some(offer_id(1)));
    assert_eq!(shop.buy(2, "k", 2).await, Err(Declined::Ended), "no row means no order");
    assert_eq!(status(order).await, Err(Unseen::NotFound));
    shop.rows.write_of_key(order, buyer(1), Status::PendingPayment, key);
    assert_eq!(again(&shop).await, Ok((order, PurchaseState::Accepted)), "the same key has its order");
    assert_eq!(status(order).await.unwrap().order, order);
    assert_eq!(shop.buy(1, "another", 2).await, Err(Declined::Ended));
    let mut prolonged = sale(1);
    (prolonged.version, prolonged.window.closes_at_ms) = (2, closes_at_ms + 1);
    shop.directory.take_in(vec![prolonged], closes_at_ms);
    shop.clock.set_wall(closes_at_ms + 1);
    assert_eq!(shop.buy(2, "k", 2).await, Err(Declined::LaneClosed), "its lane may have sold since");
}

/// Everybody reloads before the opening: that costs no question. Late ones are bounded as reads
/// are.
#[tokio::test]
async fn early_floods_ask_nobody_and_late_ones_are_bounded() {
    let shop = Shop::new(10);
    let mut other = sale(2);
    other.window.opens_at_ms = NOW_MS + 1;
    shop.directory.take_in(vec![other], NOW_MS);
    let token = shop.token(1);
    for _ in 0..1_000 {
        let early = crate::purchase::Purchase { offer: offer_id(2), ..crate::testing::purchase(&token, "k", 1) };
        assert_eq!(shop.purchases.buy(early).await, Err(Declined::NotStarted { opens_in_ms: 1 }));
    }
    assert_eq!(shop.stock.finds(), 0);
    shop.clock.set_wall(sale(1).window.closes_at_ms);
    let mut limited = 0;
    for _ in 0..1_000 {
        match shop.buy(1, "k", 1).await {
            Err(Declined::Ended) => {}
            Err(Declined::RateLimited(by)) => limited += u32::from(by.policy == "buyer_reads"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(limited, 1_000 - READS_PER_BUYER_PER_S);
    assert_eq!(shop.stock.finds(), READS_PER_BUYER_PER_S as usize);
}

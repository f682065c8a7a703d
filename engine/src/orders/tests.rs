//! Goal: a buyer sees an order from the promise on, and nobody else's ever. Method: promises made
//! through a whole shop, rows written by hand.

use domain::{
    id::{Epoch, TenantId},
    order::Status,
};

use super::*;
use crate::testing::{Fault, Shop, buyer, offer_id, tenant};

fn caller(n: u64) -> Caller {
    Caller { tenant: tenant(), buyer: buyer(n) }
}

async fn promised(shop: &Shop) -> OrderId {
    shop.buy(1, "k", 2).await.unwrap().order
}

async fn see(shop: &Shop, order: OrderId) -> Result<OrderState, Unseen> {
    shop.orders().status(caller(1), order, Some(offer_id(1))).await.map(|view| view.state)
}

#[tokio::test]
async fn an_order_is_pending_until_it_has_its_row() {
    let shop = Shop::new(10);
    let order = promised(&shop).await;
    let view = shop.orders().status(caller(1), order, Some(offer_id(1))).await.unwrap();
    assert_eq!((view.state, view.quantity, view.reserved_at_ms), (OrderState::Pending, 2, order.minted_at_ms()));
    assert_eq!((view.sku, view.unit_price), (None, None), "what a row will say is not guessed from today's sale");
    shop.rows.write(order, buyer(1), Status::PendingPayment);
    assert_eq!(see(&shop, order).await, Ok(OrderState::Row(Status::PendingPayment, None)));
    shop.stock.restart();
    assert_eq!(see(&shop, order).await, Ok(OrderState::Row(Status::PendingPayment, None)), "rows need no lane");
}

/// INV-7: an order of another buyer or tenant, and one that never was, get the same answer.
#[tokio::test]
async fn inv_7_nobody_sees_what_is_not_theirs() {
    let shop = Shop::new(10);
    let order = promised(&shop).await;
    let orders = shop.orders();
    let foreign = Caller { tenant: TenantId::new(9).unwrap(), buyer: buyer(1) };
    let same_slot = (2..).map(buyer).find(|other| Slot::of(*other) == order.slot()).unwrap();
    let neighbour = Caller { tenant: tenant(), buyer: same_slot };
    for stage in 0..2 {
        for stranger in [foreign, neighbour, caller(2)] {
            assert_eq!(
                orders.status(stranger, order, Some(offer_id(1))).await.unwrap_err(),
                Unseen::NotFound,
                "{stage}"
            );
            assert!(orders.page((stranger, None), None, 10).await.unwrap().orders.is_empty());
        }
        shop.rows.write(order, buyer(1), Status::Paid);
    }
    let never = OrderId::new(order.get() + 1).unwrap();
    assert_eq!(see(&shop, never).await, Err(Unseen::NotFound));
    assert_eq!(orders.status(caller(1), never, Some(offer_id(77))).await.unwrap_err(), Unseen::NotFound);
    assert_eq!(orders.status(caller(1), never, None).await.unwrap_err(), Unseen::NotFound);
}

/// A closed lane knows nothing: "come again", never "no such order".
#[tokio::test]
async fn a_closed_lane_or_a_missing_server_is_no_answer() {
    let shop = Shop::new(10);
    let order = promised(&shop).await;
    shop.stock.lane(1, |lane, run| lane.close(run, Epoch(2)));
    assert_eq!(see(&shop, order).await, Err(Unseen::Unavailable));
    shop.stock.fail(&[Fault::LoseCall]);
    assert_eq!(see(&shop, order).await, Err(Unseen::Unavailable));
    *shop.rows.is_away.lock().unwrap() = true;
    assert_eq!(see(&shop, order).await, Err(Unseen::Unavailable));
}

/// The row was written between the two looks: settled, or released and gone from the lane.
#[tokio::test]
async fn a_row_that_appears_between_the_looks_is_seen() {
    let shop = Shop::new(10);
    let order = promised(&shop).await;
    shop.rows.write(order, buyer(1), Status::PendingPayment);
    let batch = shop.stock.calls()[0].0;
    shop.stock.lane(1, |lane, run| lane.settle(run, Epoch(1), &[batch], &[]));
    *shop.rows.blind.lock().unwrap() = 1;
    assert_eq!(see(&shop, order).await, Ok(OrderState::Row(Status::PendingPayment, None)));
    shop.stock.open(1, 2, 10);
    *shop.rows.blind.lock().unwrap() = 1;
    assert_eq!(see(&shop, order).await, Ok(OrderState::Row(Status::PendingPayment, None)), "not in the lane any more");
    *shop.rows.blind.lock().unwrap() = 2;
    assert_eq!(see(&shop, order).await, Err(Unseen::NotFound));
}

#[tokio::test]
async fn a_page_is_newest_first_and_goes_on_from_its_cursor() {
    let shop = Shop::new(10);
    let ids: Vec<OrderId> = (1..=5).map(|id| OrderId::new(id).unwrap()).collect();
    ids.iter().for_each(|id| shop.rows.write(*id, buyer(1), Status::Paid));
    for (before, limit, expected, has_more) in [
        (None, 2, &[ids[4], ids[3]][..], true),
        (Some(ids[3]), 10, &[ids[2], ids[1], ids[0]], false),
        (Some(ids[3]), 3, &[ids[2], ids[1], ids[0]], false),
        (Some(ids[0]), 1, &[], false),
    ] {
        let page = shop.orders().page((caller(1), None), before, limit).await.unwrap();
        assert_eq!(page.orders.iter().map(|view| view.order).collect::<Vec<_>>(), expected);
        assert_eq!(page.has_more, has_more, "a full last page has no successor");
    }
}

#[tokio::test]
async fn too_many_readers_are_overload() {
    let shop = Shop::new(10);
    let reads = Reads { permits: Semaphore::new(0), ..Reads::new(&Ticks::of(&shop.clock)) };
    let orders = Orders::new(shop.rows.clone(), shop.stock.clone(), Arc::clone(&shop.directory), Arc::new(reads));
    assert_eq!(orders.page((caller(1), None), None, 1).await.unwrap_err(), Unseen::Overloaded);
}

/// One token cannot keep the databases busy, and takes nothing from other buyers.
#[tokio::test]
async fn a_buyer_reads_so_often_and_no_more() {
    let shop = Shop::new(10);
    let orders = shop.orders();
    for _ in 0..READS_PER_BUYER_PER_S {
        orders.page((caller(1), None), None, 1).await.unwrap();
    }
    let Err(Unseen::TooOften(limited)) = orders.page((caller(1), None), None, 1).await else { panic!("not limited") };
    assert_eq!((limited.policy, limited.per_s), ("buyer_reads", READS_PER_BUYER_PER_S));
    orders.page((caller(2), None), None, 1).await.unwrap();
    // INV-7: another shop's buyer of the same number is another buyer.
    let stranger = Caller { tenant: TenantId::new(9).unwrap(), buyer: buyer(1) };
    orders.page((stranger, None), None, 1).await.unwrap();
    shop.clock.advance(limited.retry_after);
    orders.page((caller(1), None), None, 1).await.unwrap();
}

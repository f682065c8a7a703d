//! The same key again, over HTTP.

use super::*;

/// R13 and R6: a repeat of a known key is 202 with its order, after the end too, and says what
/// became of it.
#[tokio::test]
async fn a_repeat_is_told_its_order_and_what_became_of_it() {
    let shop = Served::new(10);
    let bought = shop.buy(1, "k").await;
    let order: OrderId = bought.body["order_id"].as_str().unwrap().parse().unwrap();
    shop.clock.set_wall(testing::sale(1).window.closes_at_ms);
    let late = shop.buy(1, "k").await;
    assert_eq!((late.status, &late.body, &late.headers["location"]), (202, &bought.body, &bought.headers["location"]));
    assert_eq!(shop.buy(1, "another").await.code(), (409, "ended"));
    shop.rows.write(order, buyer(1), Status::Expired);
    let (batch, gone) = (
        domain::id::BatchId::new(order.get()).unwrap(),
        domain::stock::Gone { order, buyer: buyer(1), why: domain::stock::GoneWhy::Released { retired: 0 } },
    );
    shop.stock.lane(1, |lane, run| lane.settle(run, Epoch(1), &[batch], &[gone]));
    for wall_ms in [testing::sale(1).window.closes_at_ms, NOW_MS] {
        shop.clock.set_wall(wall_ms);
        let again = shop.buy(1, "k").await;
        let expected = json!({"order_id": order.to_string(), "status": "expired"});
        assert_eq!((again.status, again.body), (202, expected), "at {wall_ms}");
    }
}

//! Goal: at whatever write of an order's life the process dies, its order ends as it would have,
//! with one release and the money once. Method: each life is played again and again; in the n-th
//! play the process dies at its n-th write, before it is durable or after, until a play has no such
//! write any more. Who dies comes again with the same requests, and the work beside them goes on.

use std::pin::Pin;

use domain::{id::OrderId, order::Status};
use serde_json::json;

use super::{
    mortal::When,
    rig::{Rig, TOTAL, WINDOW_MS},
};

/// Above the time for which work is left alone that somebody took, and above every pace of refunds.
const LATER_MS: u64 = 62_000;
/// Above the time after which the provider is asked about what is silent.
const SILENT_MS: u64 = 61_000;
/// Looks at the work, at most, until an order stands as it should.
const LOOKS: u32 = 20;

/// What the shop pays of an order by a voucher.
const VOUCHER: i64 = 664;

type Playing<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A step of a life: asked again after a death.
type Deed = for<'a> fn(&'a Rig, Whose) -> Playing<'a>;

/// An order and its buyer.
type Whose = (OrderId, u64);

/// Its name, its steps, where the order ends, its releases, and what goes back of its payment.
type Life = (&'static str, &'static [Deed], Status, usize, Option<i64>);

const LIVES: [Life; 11] = [
    ("paid, sent, received", &[pay, at_the_bank, hear, ship, receive], Status::Completed, 0, Some(0)),
    ("paid and refunded", &[pay, at_the_bank, hear, refund, refunded], Status::Refunded, 1, Some(TOTAL)),
    ("cancelled", &[cancel], Status::Cancelled, 1, None),
    ("cancelled while its payment is open", &[pay, cancel, over], Status::Cancelled, 1, Some(0)),
    ("expired", &[pass_window, over], Status::Expired, 1, None),
    ("expired while its payment is open", &[pay, pass_window, over], Status::Expired, 1, Some(0)),
    (
        "addressed, sent, arrived, completed by the clock",
        &[address, pay, at_the_bank, hear, ship, arrive, complete],
        Status::Completed,
        0,
        Some(0),
    ),
    (
        "paid with a voucher and refunded",
        &[pay_with_voucher, at_the_bank, hear, refund, refunded],
        Status::Refunded,
        1,
        Some(TOTAL - VOUCHER),
    ),
    // The last ones, because from now on no carrier brings the offer's goods.
    ("picked up", &[be_picked_up, pay, at_the_bank, hear, pick_up], Status::Fulfilled, 0, Some(0)),
    ("redeemed", &[have_codes, pay, at_the_bank, hear, redeem], Status::Fulfilled, 0, Some(0)),
    (
        "redeemed and refunded",
        &[have_codes, pay, at_the_bank, hear, redeem, refund, refunded, withdrawn],
        Status::Refunded,
        0,
        Some(TOTAL),
    ),
];

fn pay(rig: &Rig, (order, buyer): Whose) -> Playing<'_> {
    Box::pin(async move {
        rig.pay(order, buyer).await.expect(200);
    })
}

fn at_the_bank(rig: &Rig, (order, _): Whose) -> Playing<'_> {
    Box::pin(async move { drop(rig.bank.pay(rig.till.account(), &format!("{order}_1").parse().unwrap()).unwrap()) })
}

/// A notice that died on its way is not sent again here: the provider is asked.
fn hear(rig: &Rig, (order, _): Whose) -> Playing<'_> {
    Box::pin(async move {
        rig.deliver().await;
        ends(rig, order, Status::Paid, SILENT_MS).await;
    })
}

fn ship(rig: &Rig, (order, _): Whose) -> Playing<'_> {
    Box::pin(async move {
        rig.ship(order, "SF1").await.expect(200);
    })
}

fn receive(rig: &Rig, (order, buyer): Whose) -> Playing<'_> {
    Box::pin(async move {
        rig.receive(order, 7, buyer).await.expect(200);
    })
}

fn refund(rig: &Rig, (order, _): Whose) -> Playing<'_> {
    Box::pin(async move {
        rig.refund(order, "a", None).await.expect(201);
    })
}

fn refunded(rig: &Rig, (order, _): Whose) -> Playing<'_> {
    Box::pin(async move {
        rig.work().await;
        rig.deliver().await;
        ends(rig, order, Status::Refunded, LATER_MS).await;
    })
}

fn cancel(rig: &Rig, (order, buyer): Whose) -> Playing<'_> {
    Box::pin(async move {
        let status = rig.cancel(order, buyer).await.status.as_u16();
        assert!([200, 202].contains(&status), "{status}");
    })
}

fn pass_window(rig: &Rig, _: Whose) -> Playing<'_> {
    Box::pin(async move { rig.pass(WINDOW_MS) })
}

fn over(rig: &Rig, (order, _): Whose) -> Playing<'_> {
    Box::pin(async move {
        for _ in 0..LOOKS {
            if [Status::Cancelled, Status::Expired].contains(&rig.status(order).await) {
                return;
            }
            rig.work().await;
            rig.expire().await;
            rig.pass(LATER_MS);
        }
        panic!("it is {:?}", rig.status(order).await);
    })
}

fn address(rig: &Rig, (order, buyer): Whose) -> Playing<'_> {
    Box::pin(async move {
        let (path, recipient) =
            (format!("/v1/orders/{order}/recipient"), json!({"name": "L", "phone": "123456", "address": "A"}));
        rig.put(&path, &rig.buyer_token(7, buyer), recipient).await.expect(200);
    })
}

fn arrive(rig: &Rig, (order, _): Whose) -> Playing<'_> {
    Box::pin(async move {
        rig.delivered(order, "staff-7").await.expect(200);
    })
}

fn complete(rig: &Rig, (order, _): Whose) -> Playing<'_> {
    Box::pin(async move {
        rig.pass(7 * 86_400_000);
        rig.tick().await;
        assert_eq!(rig.status(order).await, Status::Completed);
    })
}

fn pay_with_voucher(rig: &Rig, (order, buyer): Whose) -> Playing<'_> {
    Box::pin(async move {
        let voucher = rig.signed("staff-7", &rig.claims(order, "autumn", VOUCHER)).await;
        let paid = rig.pay_with(order, buyer, Some(&voucher)).await;
        assert_eq!(paid.expect(200)["amount"]["amount"], TOTAL - VOUCHER);
    })
}

fn be_picked_up(rig: &Rig, _: Whose) -> Playing<'_> {
    Box::pin(rig.goods_are("pickup"))
}

fn pick_up(rig: &Rig, (order, buyer): Whose) -> Playing<'_> {
    Box::pin(async move {
        // Whoever dies after it has given the goods: there is no code any more, and nothing to do.
        if rig.status(order).await == Status::Paid {
            let code = rig.pickup_code(order, buyer).await.expect(200)["code"].as_str().unwrap().to_owned();
            rig.pick_up(order, &code).await.expect(200);
        }
    })
}

fn have_codes(rig: &Rig, (order, _): Whose) -> Playing<'_> {
    Box::pin(async move {
        rig.goods_are("code").await;
        let codes: Vec<String> = (0..3).map(|number| format!("{order}-{number}")).collect();
        rig.import(&codes).await.expect(200);
    })
}

/// Between the assignment of codes and the event, too: it gets those that it was given, and no
/// other order's.
fn redeem(rig: &Rig, (order, buyer): Whose) -> Playing<'_> {
    Box::pin(async move {
        rig.tick().await;
        assert_eq!(rig.status(order).await, Status::Fulfilled);
        let own: Vec<String> = (0..3).map(|number| format!("{order}-{number}")).collect();
        assert_eq!(rig.codes(order, buyer).await, own);
    })
}

fn withdrawn(rig: &Rig, (order, buyer): Whose) -> Playing<'_> {
    Box::pin(async move {
        rig.tick().await;
        assert!(rig.codes(order, buyer).await.is_empty());
        let offer = rig.get("/v1/merchant/order-handovers/8", "staff-7").await;
        assert_eq!(offer.expect(200)["codes_left"], 0, "nobody else gets them");
    })
}

async fn ends(rig: &Rig, order: OrderId, status: Status, wait_ms: u64) {
    for _ in 0..LOOKS {
        if rig.status(order).await == status {
            return;
        }
        rig.pass(wait_ms);
        rig.work().await;
    }
    panic!("it is {:?}, not {status:?}", rig.status(order).await);
}

/// Plays a life in which the process dies once. `false`: it has no such write.
async fn play(rig: &mut Rig, (name, deeds, status, releases, back): Life, buyer: u64, fate: (u32, When)) -> bool {
    let order = rig.buy([buyer]).await[0];
    let before = rig.outbox().await.0.len();
    rig.fate.is(fate.0, fate.1);
    let mut has_died = false;
    for deed in deeds {
        let dies = tokio::select! {
            () = deed(rig, (order, buyer)) => false,
            () = rig.fate.met.notified() => true,
        };
        if dies {
            has_died = true;
            rig.fate.is_averted();
            rig.pass(LATER_MS);
            deed(rig, (order, buyer)).await;
        }
    }
    rig.fate.is_averted();
    let what = format!("{name}, dead at write {fate:?}");
    assert_eq!(rig.status(order).await, status, "{what}");
    assert_eq!(rig.outbox().await.0.len() - before, releases, "{what}: releases");
    if let Some(back) = back {
        assert_eq!(rig.given_back(order, 1), back, "{what}: what went back");
    }
    let timeline = rig.timeline(order).await;
    let once = timeline.iter().filter(|(_, did)| did == status.as_str()).count();
    assert_eq!(once, usize::from(status != Status::Expired || back.is_some()), "{what}: {timeline:?}");
    has_died
}

/// Every write of the life of an order, each with nothing durable and with nobody told.
#[tokio::test]
async fn a_process_that_dies_at_any_write_leaves_nothing_half_done() {
    let (mut rig, mut buyer) = (Rig::start().await, 0);
    for life in LIVES {
        let mut deaths = 0;
        for when in [When::Written, When::Durable] {
            for nth in 1.. {
                buyer += 1;
                if !play(&mut rig, life, buyer, (nth, when)).await {
                    break;
                }
                deaths += 1;
            }
        }
        assert!(deaths >= 2, "{}: {deaths} deaths", life.0);
    }
}

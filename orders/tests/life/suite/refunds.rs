//! Goal: money goes back once, and never more than came.

use domain::{event::EventKind, order::Status};
use orders::simulator::Fault;

use super::rig::{Rig, TOTAL};

/// Accepted is not done: the order is refunding until the bank says so; its units go back once.
#[tokio::test]
async fn a_full_refund_takes_the_order_and_its_units_with_it() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    rig.paid(order, 1).await;
    let made = rig.refund(order, "a", None).await;
    assert_eq!(made.expect(201)["number"], format!("{order}_r1"));
    assert_eq!(rig.refund(order, "a", None).await.expect(201)["number"], made.body["number"]);
    assert_eq!(rig.status(order).await, Status::Refunding);
    rig.work().await;
    rig.deliver().await;
    assert_eq!((rig.status(order).await, rig.given_back(order, 1)), (Status::Refunded, TOTAL));
    let (releases, events) = rig.outbox().await;
    assert_eq!(releases.iter().map(|release| release.became).collect::<Vec<_>>(), [Some(Status::Refunding)]);
    let mut kinds: Vec<_> = events.iter().map(|event| (event.sequence, event.kind)).collect();
    kinds.sort_unstable_by_key(|(sequence, _)| *sequence);
    assert_eq!(kinds, [(2, EventKind::Paid), (7, EventKind::Refunded)]);
    rig.refund(order, "b", Some(1)).await.refused(409, "conflict");
}

/// A partial one moves money alone; the one that completes them takes the order with it.
#[tokio::test]
async fn partial_refunds_move_money_until_all_of_it_is_back() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    rig.paid(order, 1).await;
    rig.refund(order, "a", Some(TOTAL / 3)).await.expect(201);
    let over = rig.refund(order, "b", Some(TOTAL)).await;
    assert_eq!(over.refused(409, "conflict")["current"]["refundable"]["amount"], TOTAL * 2 / 3);
    rig.work().await;
    rig.deliver().await;
    assert_eq!((rig.status(order).await, rig.given_back(order, 1)), (Status::Paid, TOTAL / 3));
    let (releases, events) = rig.outbox().await;
    assert_eq!(releases.len(), 0);
    let told =
        events.iter().max_by_key(|event| event.sequence).map(|event| (event.sequence, event.kind, event.refunded));
    assert_eq!(told, Some((9, EventKind::RefundedInPart, TOTAL / 3)), "services that follow hear of a part");
    rig.refund(order, "c", Some(TOTAL * 2 / 3)).await.expect(201);
    assert_eq!(rig.status(order).await, Status::Refunding);
    rig.pass(2_000);
    rig.work().await;
    rig.deliver().await;
    assert_eq!((rig.status(order).await, rig.given_back(order, 1)), (Status::Refunded, TOTAL));
}

#[tokio::test]
async fn a_key_stands_for_one_refund() {
    let mut rig = Rig::start().await;
    let orders = rig.buy([1, 2]).await;
    rig.paid(orders[0], 1).await;
    let (one, other) = tokio::join!(rig.refund(orders[0], "a", Some(5)), rig.refund(orders[0], "a", Some(5)));
    assert_eq!(one.expect(201)["number"], other.expect(201)["number"]);
    rig.refund(orders[0], "a", Some(6)).await.refused(422, "idempotency_mismatch");
    rig.refund(orders[0], "b", Some(0)).await.refused(400, "invalid_request");
    rig.refund(orders[1], "a", Some(5)).await.refused(409, "conflict");
    let path = format!("/v1/merchant/orders/{}/refunds", orders[0]);
    let body = || Some(serde_json::json!({"reason": "x"}));
    rig.post(&path, "staff-8", "k", body()).await.refused(404, "not_found");
    rig.post(&path, "weak-7", "k", body()).await.refused(403, "forbidden");
    rig.post_raw(&path, &[("authorization", "Bearer staff-7")], Some("{\"reason\": \"x\"}".into()))
        .await
        .refused(400, "invalid_request");
}

/// Whatever the answer was, the refund keeps its number, and the money goes once.
#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_with_the_same_number() {
    let mut rig = Rig::start().await;
    for (buyer, fault) in [(1, Fault::FailsBefore), (2, Fault::FailsAfter), (3, Fault::TooOften)] {
        let order = rig.buy([buyer]).await[0];
        rig.paid(order, buyer).await;
        rig.refund(order, "a", None).await.expect(201);
        rig.bank.fault(fault);
        for _ in 0..4 {
            rig.work().await;
            rig.pass(2_000);
        }
        assert_eq!((rig.status(order).await, rig.given_back(order, 1)), (Status::Refunded, TOTAL), "{fault:?}");
        rig.deliver().await;
    }
}

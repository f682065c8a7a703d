//! What both ports promise, rule by rule. Goal: any pair of adapters that passes may stand behind
//! engine and keeper. Method: each rule is a function of the ports alone, on a lane that is
//! missing; `every_rule` hands the whole list to the adapter's own macro.

use domain::{
    id::{Epoch, LaneId, PurchaseNumber},
    record::Batch,
    stock::{
        CloseAnswer, Gone, GoneWhy, LaneAnswer, LaneLoad, LaneMode, LaneOpening, LoadAnswer, ReserveAnswer,
        ReserveReply, ReserveRequest, RetireAnswer,
    },
};
use store::stock::{LaneKeeping, LaneStock, LoadAtOnce};

use super::sample::{batch, buyer, call, fresh, lane, offer, order, purchase, request, reservation};

/// Calls `$run!` with the names of all rules.
macro_rules! every_rule {
    ($run:ident) => {
        $run! {
            a_missing_lane_is_closed
            promises_are_journaled_and_found
            the_lowest_free_number_is_given
            the_limit_is_of_the_lane
            r3_a_closed_lane_refuses_and_its_journal_stands
            r3_close_is_refused_when_it_comes_late
            r4_a_load_opens_with_the_buyers_that_are_in_place
            r4_a_lane_is_loaded_once_and_under_its_marker
            r14_a_lane_is_retired_only_closed_under_its_marker
            r14_a_late_deletion_spares_a_reopened_lane
            r6_a_tombstone_answers_and_units_go_back_once
            units_go_back_unless_rejected_for_stock
            r9_an_allotment_is_followed_once
            r9_free_units_are_withheld_once
            r9_a_release_retires_units_once
            r12_a_repeat_is_settled_when_its_batch_is
            a_repeated_call_promises_nothing_twice
            a_claimed_batch_is_due_again_after_the_backoff
            another_epoch_is_closed
            the_engine_sees_units_left_without_a_purchase
        }
    };
}
pub(super) use every_rule;

const LANE: u64 = 7;

/// The lane of every rule.
pub(super) fn the_lane() -> LaneId {
    lane(LANE)
}

async fn open(keeping: &impl LaneKeeping, epoch: u64, load: &LaneLoad) {
    assert_eq!(keeping.close(the_lane(), Epoch(epoch)).await.unwrap(), CloseAnswer::Closed);
    assert_eq!(keeping.load(the_lane(), Epoch(epoch), load).await.unwrap(), LoadAnswer::Loaded);
}

/// The replies of an open lane.
async fn reserve(stock: &impl LaneStock, batch: u64, requests: &[ReserveRequest]) -> Vec<ReserveReply> {
    match stock.reserve(call(the_lane(), 1, batch), requests).await.unwrap() {
        LaneAnswer::Open(ReserveAnswer::Decided { replies, .. }) => replies,
        other => panic!("{other:?}"),
    }
}

const fn number(number: u8) -> ReserveReply {
    ReserveReply::Reserved(PurchaseNumber(number))
}

async fn left(keeping: &impl LaneKeeping) -> u64 {
    keeping.inspect(the_lane()).await.unwrap().offers[0].1
}

fn gone(number: u64, of: u64, why: GoneWhy) -> Gone {
    Gone { order: order(number), buyer: buyer(of), why }
}

async fn settle(keeping: &impl LaneKeeping, batches: &[u64], gone: &[Gone]) {
    let batches: Vec<_> = batches.iter().map(|&number| batch(number)).collect();
    let answer = keeping.settle(the_lane(), Epoch(1), &batches, gone).await.unwrap();
    assert_eq!(answer, LaneAnswer::Open(()));
}

pub(super) async fn a_missing_lane_is_closed(stock: &impl LaneStock, keeping: &impl LaneKeeping) {
    let closed = Epoch(0);
    let answer = stock.reserve(call(the_lane(), 1, 10), &[request(10, 1, 1, 1, 1)]).await.unwrap();
    assert_eq!(answer, LaneAnswer::Closed { epoch: closed });
    assert_eq!(stock.find(the_lane(), buyer(1)).await.unwrap(), LaneAnswer::Closed { epoch: closed });
    assert_eq!(stock.claim(the_lane(), 9_000, 9, 1).await.unwrap(), LaneAnswer::Closed { epoch: closed });
    assert_eq!(keeping.inspect(the_lane()).await.unwrap().mode, LaneMode::Missing);
    assert_eq!(keeping.load(the_lane(), Epoch(1), &fresh(1, &[1])).await.unwrap(), LoadAnswer::Refused);
}

pub(super) async fn promises_are_journaled_and_found(stock: &impl LaneStock, keeping: &impl LaneKeeping) {
    open(keeping, 1, &fresh(2, &[5, 1])).await;
    let asked: Vec<_> = (1..=200).map(|of| request(100 + of, of, 1 + of % 2, 1, 1)).collect();
    let replies = reserve(stock, 101, &asked).await;
    let promised: Vec<_> = asked.iter().zip(&replies).filter(|(_, reply)| **reply == number(1)).collect();
    assert_eq!(promised.len(), 6);
    assert_eq!(replies[199], ReserveReply::SoldOut { left: 0 });
    let journal = keeping.journal(the_lane()).await.unwrap();
    let entry = Batch::decode(journal[0].1.clone()).unwrap();
    let expected: Vec<_> = promised.iter().map(|(asked, _)| (PurchaseNumber(1), reservation(asked))).collect();
    assert_eq!((journal.len(), entry.id, entry.reservations), (1, batch(101), expected));
    let LaneAnswer::Open(found) = stock.find(the_lane(), buyer(1)).await.unwrap() else { panic!("closed") };
    assert_eq!((found[0].0.order, found[0].0.batch, found[0].1), (order(101), Some(batch(101)), false));
    assert_eq!(keeping.buyers(the_lane()).await.unwrap().len(), 6);
    let full = call(the_lane(), 1, 900);
    let full = stock.reserve(domain::stock::ReserveCall { journal_max: 1, ..full }, &asked[..1]).await.unwrap();
    assert!(matches!(full, LaneAnswer::Open(_)), "{full:?}");
}

pub(super) async fn the_lowest_free_number_is_given(stock: &impl LaneStock, keeping: &impl LaneKeeping) {
    let mut load = fresh(9, &[9]);
    load.purchases = vec![(buyer(1), purchase(1, 1, 1, Some(1), 1)), (buyer(1), purchase(2, 1, 1, Some(3), 2))];
    open(keeping, 1, &load).await;
    let asked = [request(10, 1, 1, 1, 3), request(11, 1, 1, 1, 4)];
    assert_eq!(reserve(stock, 10, &asked).await, [number(2), number(4)]);
    settle(keeping, &[], &[gone(1, 1, GoneWhy::Released { retired: 0 })]).await;
    assert_eq!(reserve(stock, 12, &[request(12, 1, 1, 1, 5)]).await, [number(1)]);
}

pub(super) async fn the_limit_is_of_the_lane(stock: &impl LaneStock, keeping: &impl LaneKeeping) {
    open(keeping, 1, &fresh(2, &[9, 9])).await;
    let asked = [request(10, 1, 1, 1, 1), request(11, 1, 2, 2, 2), request(12, 1, 2, 1, 3), request(13, 1, 1, 1, 4)];
    let limit = |held| ReserveReply::LimitReached { held };
    assert_eq!(reserve(stock, 10, &asked).await, [number(1), limit(1), number(2), limit(2)]);
}

pub(super) async fn r3_a_closed_lane_refuses_and_its_journal_stands(
    stock: &impl LaneStock,
    keeping: &impl LaneKeeping,
) {
    open(keeping, 1, &fresh(1, &[5])).await;
    reserve(stock, 10, &[request(10, 1, 1, 1, 1)]).await;
    assert_eq!(keeping.close(the_lane(), Epoch(2)).await.unwrap(), CloseAnswer::Closed);
    let before = keeping.journal(the_lane()).await.unwrap();
    for epoch in 0..4 {
        let answer = stock.reserve(call(the_lane(), epoch, 20), &[request(20, 2, 1, 1, 1)]).await.unwrap();
        assert_eq!(answer, LaneAnswer::Closed { epoch: Epoch(1) });
        let answer = keeping.settle(the_lane(), Epoch(epoch), &[batch(10)], &[]).await.unwrap();
        assert_eq!(answer, LaneAnswer::Closed { epoch: Epoch(1) });
    }
    assert_eq!(keeping.journal(the_lane()).await.unwrap(), before);
    assert_eq!(keeping.inspect(the_lane()).await.unwrap().mode, LaneMode::Closed { marker: Epoch(2) });
}

pub(super) async fn r3_close_is_refused_when_it_comes_late(_: &impl LaneStock, keeping: &impl LaneKeeping) {
    open(keeping, 3, &fresh(1, &[5])).await;
    for late in [2, 3] {
        let refused = CloseAnswer::RefusedOpen { epoch: Epoch(3) };
        assert_eq!(keeping.close(the_lane(), Epoch(late)).await.unwrap(), refused);
    }
    assert_eq!(keeping.close(the_lane(), Epoch(5)).await.unwrap(), CloseAnswer::Closed);
    let refused = CloseAnswer::RefusedMarker { marker: Epoch(5) };
    assert_eq!(keeping.close(the_lane(), Epoch(4)).await.unwrap(), refused);
    assert_eq!(keeping.close(the_lane(), Epoch(5)).await.unwrap(), CloseAnswer::Closed);
}

/// A load in steps: entries come in any order and replace those of the same buyers, and it opens
/// only with as many buyers as were new.
pub(super) async fn r4_a_load_opens_with_the_buyers_that_are_in_place(_: &impl LaneStock, keeping: &impl LaneKeeping) {
    let step = Epoch(2);
    let opening = |buyers| LaneOpening { buyers, limit_per_buyer: 1, offers: fresh(1, &[5]).offers };
    assert!(!keeping.clear(the_lane(), step).await.unwrap(), "a missing lane is not closed under a marker");
    keeping.close(the_lane(), step).await.unwrap();
    let live = |of: u64| (buyer(of), purchase(of, 1, 1, Some(1), 1));
    assert!(keeping.clear(the_lane(), step).await.unwrap());
    assert_eq!(keeping.fill(the_lane(), step, &[live(9)]).await.unwrap(), Some(1));
    assert!(keeping.clear(the_lane(), step).await.unwrap(), "it begins anew");
    assert_eq!(keeping.fill(the_lane(), step, &[live(3), live(4)]).await.unwrap(), Some(2));
    let released = (buyer(3), purchase(3, 1, 1, None, 1));
    assert_eq!(keeping.fill(the_lane(), step, &[live(1), released]).await.unwrap(), Some(1));
    for other in [1, 3] {
        assert!(!keeping.clear(the_lane(), Epoch(other)).await.unwrap());
        assert_eq!(keeping.fill(the_lane(), Epoch(other), &[live(7)]).await.unwrap(), None);
        assert_eq!(keeping.open(the_lane(), Epoch(other), &opening(3)).await.unwrap(), LoadAnswer::Refused);
    }
    assert_eq!(keeping.open(the_lane(), step, &opening(3)).await.unwrap(), LoadAnswer::Loaded);
    let held = [(buyer(1), vec![live(1).1]), (buyer(3), vec![released.1]), (buyer(4), vec![live(4).1])];
    assert_eq!(keeping.buyers(the_lane()).await.unwrap(), held);
    keeping.close(the_lane(), Epoch(5)).await.unwrap();
    assert!(keeping.clear(the_lane(), Epoch(5)).await.unwrap());
    assert_eq!(keeping.fill(the_lane(), Epoch(5), &[live(1)]).await.unwrap(), Some(1));
    assert_eq!(keeping.open(the_lane(), Epoch(5), &opening(2)).await.unwrap(), LoadAnswer::Refused, "a buyer is lost");
}

pub(super) async fn r4_a_lane_is_loaded_once_and_under_its_marker(stock: &impl LaneStock, keeping: &impl LaneKeeping) {
    keeping.close(the_lane(), Epoch(2)).await.unwrap();
    let mut load = fresh(1, &[5]);
    for other in [1, 3] {
        assert_eq!(keeping.load(the_lane(), Epoch(other), &load).await.unwrap(), LoadAnswer::Refused);
    }
    // More buyers than one step of a load takes.
    load.purchases = (1..=2_500).map(|of| (buyer(of), purchase(of, 1, 1, Some(1), 1))).collect();
    assert_eq!(keeping.load(the_lane(), Epoch(2), &load).await.unwrap(), LoadAnswer::Loaded);
    assert_eq!(keeping.load(the_lane(), Epoch(2), &fresh(1, &[99])).await.unwrap(), LoadAnswer::Refused);
    assert_eq!(left(keeping).await, 5);
    let buyers = load.purchases.iter().map(|&(buyer, purchase)| (buyer, vec![purchase]));
    assert_eq!(keeping.buyers(the_lane()).await.unwrap(), buyers.collect::<Vec<_>>());
    let answer = stock.reserve(call(the_lane(), 2, 9_000), &[request(9_000, 2_500, 1, 1, 1)]).await.unwrap();
    let repeat = ReserveReply::Repeat { order: order(2_500), batch: None, settled: true };
    let expected = ReserveAnswer::Decided { replies: vec![repeat], left: vec![(offer(1), 5)] };
    assert_eq!(answer, LaneAnswer::Open(expected));
}

/// Nothing of a retired lane is left, and it answers as one that never was.
pub(super) async fn r14_a_lane_is_retired_only_closed_under_its_marker(
    stock: &impl LaneStock,
    keeping: &impl LaneKeeping,
) {
    let retire = async |epoch| keeping.retire(the_lane(), Epoch(epoch)).await.unwrap();
    assert_eq!(retire(1).await, RetireAnswer::Gone, "missing");
    open(keeping, 1, &fresh(1, &[5])).await;
    reserve(stock, 10, &[request(10, 1, 1, 1, 1)]).await;
    assert_eq!(retire(1).await, RetireAnswer::Refused, "open");
    assert_eq!(keeping.close(the_lane(), Epoch(2)).await.unwrap(), CloseAnswer::Closed);
    assert_eq!((retire(1).await, retire(3).await), (RetireAnswer::Refused, RetireAnswer::Refused), "another marker");
    assert_eq!(keeping.journal(the_lane()).await.unwrap().len(), 1);
    assert_eq!((retire(2).await, retire(2).await), (RetireAnswer::Gone, RetireAnswer::Gone));
    let view = keeping.inspect(the_lane()).await.unwrap();
    assert_eq!((view.mode, view.journal_len, view.buyers_len), (LaneMode::Missing, 0, 0));
    a_missing_lane_is_closed(stock, keeping).await;
}

/// A keeper that sleeps between commit and deletion does not take away what another one reopened.
pub(super) async fn r14_a_late_deletion_spares_a_reopened_lane(stock: &impl LaneStock, keeping: &impl LaneKeeping) {
    assert_eq!(keeping.close(the_lane(), Epoch(2)).await.unwrap(), CloseAnswer::Closed);
    assert_eq!(keeping.retire(the_lane(), Epoch(2)).await.unwrap(), RetireAnswer::Gone);
    assert_eq!(keeping.close(the_lane(), Epoch(3)).await.unwrap(), CloseAnswer::Closed);
    assert_eq!(keeping.retire(the_lane(), Epoch(2)).await.unwrap(), RetireAnswer::Refused, "closed to be reopened");
    assert_eq!(keeping.load(the_lane(), Epoch(3), &fresh(1, &[5])).await.unwrap(), LoadAnswer::Loaded);
    assert_eq!(keeping.retire(the_lane(), Epoch(2)).await.unwrap(), RetireAnswer::Refused, "open");
    let answer = stock.reserve(call(the_lane(), 3, 10), &[request(10, 1, 1, 1, 1)]).await.unwrap();
    assert!(matches!(answer, LaneAnswer::Open(_)), "{answer:?}");
}

pub(super) async fn r6_a_tombstone_answers_and_units_go_back_once(stock: &impl LaneStock, keeping: &impl LaneKeeping) {
    open(keeping, 1, &fresh(2, &[5])).await;
    reserve(stock, 10, &[request(10, 1, 1, 2, 1)]).await;
    for _ in 0..2 {
        settle(keeping, &[10], &[gone(10, 1, GoneWhy::Released { retired: 0 })]).await;
        assert_eq!(left(keeping).await, 5);
    }
    let asked = [request(11, 1, 1, 2, 1), request(12, 1, 1, 2, 2)];
    assert_eq!(reserve(stock, 11, &asked).await, [ReserveReply::Released { order: order(10) }, number(1)]);
}

pub(super) async fn units_go_back_unless_rejected_for_stock(stock: &impl LaneStock, keeping: &impl LaneKeeping) {
    open(keeping, 1, &fresh(2, &[5])).await;
    reserve(stock, 10, &[request(10, 1, 1, 1, 1), request(11, 2, 1, 1, 1)]).await;
    for _ in 0..2 {
        let gone = [gone(10, 1, GoneWhy::Rejected), gone(11, 2, GoneWhy::RejectedForStock)];
        settle(keeping, &[10], &gone).await;
        assert_eq!(left(keeping).await, 4);
        assert_eq!(keeping.buyers(the_lane()).await.unwrap(), []);
    }
    // Neither left a tombstone.
    assert_eq!(reserve(stock, 12, &[request(12, 1, 1, 1, 1)]).await, [number(1)]);
}

pub(super) async fn r9_an_allotment_is_followed_once(_: &impl LaneStock, keeping: &impl LaneKeeping) {
    open(keeping, 1, &fresh(1, &[5])).await;
    for (allotment, changed_at, expected) in [(8, 10, 8), (8, 10, 8), (3, 9, 8), (20, i64::MAX, 20), (0, 11, 20)] {
        let answer = keeping.adjust(the_lane(), Epoch(1), offer(1), allotment, changed_at).await.unwrap();
        assert_eq!(answer, LaneAnswer::Open(()));
        assert_eq!(left(keeping).await, expected);
    }
}

pub(super) async fn r9_free_units_are_withheld_once(stock: &impl LaneStock, keeping: &impl LaneKeeping) {
    open(keeping, 1, &fresh(9, &[5])).await;
    reserve(stock, 10, &[request(10, 1, 1, 2, 1)]).await;
    for (after, units, expected) in [(0, 9, 3), (0, 9, 3), (7, 9, 0)] {
        let answer = keeping.withhold(the_lane(), Epoch(1), offer(1), after, units).await.unwrap();
        assert_eq!(answer, LaneAnswer::Open(expected));
        assert_eq!(left(keeping).await, 0);
    }
    keeping.adjust(the_lane(), Epoch(1), offer(1), 2, 1).await.unwrap();
    assert_eq!(left(keeping).await, 0);
    let answer = keeping.withhold(the_lane(), Epoch(1), offer(1), 0, 9).await.unwrap();
    assert_eq!(answer, LaneAnswer::Open(0), "it would follow a change that is not the last any more");
}

pub(super) async fn r9_a_release_retires_units_once(stock: &impl LaneStock, keeping: &impl LaneKeeping) {
    open(keeping, 1, &fresh(9, &[10, 3])).await;
    reserve(stock, 10, &[request(10, 1, 1, 4, 1), request(11, 2, 1, 6, 1), request(12, 1, 2, 3, 2)]).await;
    let offers = async || keeping.inspect(the_lane()).await.unwrap().offers;
    let released = |number, of, retired| gone(number, of, GoneWhy::Released { retired });
    for _ in 0..2 {
        // Both of one lane, one of each offer, and one whose entry is not there.
        settle(keeping, &[], &[released(10, 1, 3), released(12, 1, 3), released(99, 2, 3)]).await;
        assert_eq!(offers().await, [(offer(1), 1, 7), (offer(2), 0, 0)], "repeating retires nothing twice");
    }
    // The ledger's allotment after that release changes nothing, and an earlier one is not heard of
    // any more.
    keeping.adjust(the_lane(), Epoch(1), offer(1), 7, 4).await.unwrap();
    assert_eq!(offers().await[0], (offer(1), 1, 7));
    settle(keeping, &[], &[released(11, 2, 6)]).await;
    assert_eq!(offers().await[0], (offer(1), 1, 1));
    let sold_out = ReserveReply::SoldOut { left: 1 };
    let old = ReserveReply::Released { order: order(10) };
    assert_eq!(reserve(stock, 13, &[request(13, 1, 1, 4, 1), request(14, 3, 1, 2, 1)]).await, [old, sold_out]);
}

pub(super) async fn r12_a_repeat_is_settled_when_its_batch_is(stock: &impl LaneStock, keeping: &impl LaneKeeping) {
    open(keeping, 1, &fresh(1, &[5])).await;
    let repeat = |settled| ReserveReply::Repeat { order: order(10), batch: Some(batch(10)), settled };
    // A double click within one call, then one within another, then one after the row.
    let asked = [request(10, 1, 1, 1, 1), request(11, 1, 1, 1, 1)];
    assert_eq!(reserve(stock, 10, &asked).await, [number(1), repeat(false)]);
    assert_eq!(reserve(stock, 12, &[request(12, 1, 1, 1, 1)]).await, [repeat(false)]);
    settle(keeping, &[10], &[]).await;
    assert_eq!(reserve(stock, 13, &[request(13, 1, 1, 1, 1)]).await, [repeat(true)]);
}

pub(super) async fn a_repeated_call_promises_nothing_twice(stock: &impl LaneStock, keeping: &impl LaneKeeping) {
    open(keeping, 1, &fresh(1, &[1])).await;
    let asked = [request(10, 1, 1, 1, 1), request(11, 2, 1, 1, 1)];
    let sold_out = |left| ReserveReply::SoldOut { left };
    let repeat = |settled| ReserveReply::Repeat { order: order(10), batch: Some(batch(10)), settled };
    assert_eq!(reserve(stock, 10, &asked).await, [number(1), sold_out(0)]);
    let journal = keeping.journal(the_lane()).await.unwrap();
    // Meanwhile a unit is free: what was refused stays refused.
    keeping.adjust(the_lane(), Epoch(1), offer(1), 2, 1).await.unwrap();
    assert_eq!(reserve(stock, 10, &asked).await, [repeat(false), sold_out(1)]);
    assert_eq!(keeping.journal(the_lane()).await.unwrap(), journal);
    // The journal has no room: "full" would say that nothing was promised.
    let full = domain::stock::ReserveCall { journal_max: 1, ..call(the_lane(), 1, 10) };
    let LaneAnswer::Open(ReserveAnswer::Decided { replies, .. }) = stock.reserve(full, &asked).await.unwrap() else {
        panic!("not decided")
    };
    assert_eq!(replies, [repeat(false), sold_out(1)]);
    // A sweeper brought it into the log and it was settled: still the same call.
    settle(keeping, &[10], &[]).await;
    assert_eq!(reserve(stock, 10, &asked).await, [repeat(true), sold_out(1)]);
    assert_eq!(keeping.journal(the_lane()).await.unwrap(), []);
}

pub(super) async fn a_claimed_batch_is_due_again_after_the_backoff(stock: &impl LaneStock, keeping: &impl LaneKeeping) {
    open(keeping, 1, &fresh(1, &[5])).await;
    for number in [10, 11, 12] {
        reserve(stock, number, &[request(number, number, 1, 1, 1)]).await;
    }
    settle(keeping, &[12], &[]).await;
    // Due at 1500.
    for (now_ms, n, expected) in
        [(1_499, 9, &[][..]), (1_500, 1, &[10]), (1_500, 9, &[11]), (1_599, 9, &[]), (1_600, 9, &[10, 11])]
    {
        let LaneAnswer::Open(claimed) = stock.claim(the_lane(), now_ms, n, 100).await.unwrap() else {
            panic!("closed")
        };
        let ids: Vec<u64> = claimed.iter().map(|(batch, _)| batch.get()).collect();
        assert_eq!(ids, expected, "at {now_ms}");
    }
    assert_eq!(keeping.inspect(the_lane()).await.unwrap().oldest_due_ms, Some(1_700));
}

pub(super) async fn another_epoch_is_closed(stock: &impl LaneStock, keeping: &impl LaneKeeping) {
    open(keeping, 2, &fresh(1, &[5])).await;
    let closed = LaneAnswer::Closed { epoch: Epoch(2) };
    for other in [1, 3] {
        let answer = stock.reserve(call(the_lane(), other, 10), &[request(10, 1, 1, 1, 1)]).await.unwrap();
        assert_eq!(answer, LaneAnswer::Closed { epoch: Epoch(2) });
        let gone = [gone(1, 1, GoneWhy::Released { retired: 0 })];
        assert_eq!(keeping.settle(the_lane(), Epoch(other), &[], &gone).await.unwrap(), closed);
        assert_eq!(keeping.adjust(the_lane(), Epoch(other), offer(1), 9, 9).await.unwrap(), closed);
        let answer = keeping.withhold(the_lane(), Epoch(other), offer(1), 9, 9).await.unwrap();
        assert_eq!(answer, LaneAnswer::Closed { epoch: Epoch(2) });
    }
    assert_eq!(left(keeping).await, 5);
}

/// What a page of a sale shows at rest comes from here: open or not, under which epoch, and the
/// units left of each offer.
pub(super) async fn the_engine_sees_units_left_without_a_purchase(stock: &impl LaneStock, keeping: &impl LaneKeeping) {
    assert_eq!(stock.inspect(the_lane()).await.unwrap().mode, LaneMode::Missing);
    open(keeping, 1, &fresh(2, &[5, 1])).await;
    reserve(stock, 10, &[request(10, 1, 2, 1, 1)]).await;
    let view = stock.inspect(the_lane()).await.unwrap();
    assert_eq!((view.mode, &view), (LaneMode::Open { epoch: Epoch(1) }, &keeping.inspect(the_lane()).await.unwrap()));
    assert_eq!(view.offers.iter().map(|&(of, left, _)| (of, left)).collect::<Vec<_>>(), [(offer(1), 5), (offer(2), 0)]);
}

//! The rules of the lane, each by the shortest story that would break it. The scripts are held to
//! the same machine by `store`'s differential test, so a rule proved here holds in Redis.

use std::collections::BTreeMap;

use super::*;
use crate::{
    id::{KeyHash, LaneId, OrderId},
    record::BATCH_MAX,
    stock::OfferLoad,
};

mod retirement;

const RUN: RunId = RunId(1);
const RESTARTED: RunId = RunId(2);
const FIRST: Epoch = Epoch(1);
const PHONE: OfferId = offer(1);
const CASE: OfferId = offer(2);

const fn offer(n: u64) -> OfferId {
    match OfferId::new(n) {
        Ok(offer) => offer,
        Err(_) => panic!("an offer id from 1"),
    }
}

fn order(n: u64) -> OrderId {
    OrderId::new(n).unwrap()
}

fn buyer(n: u64) -> BuyerId {
    BuyerId::new(n).unwrap()
}

fn batch(n: u64) -> BatchId {
    BatchId::new(n).unwrap()
}

fn key(n: u8) -> KeyHash {
    KeyHash([n; 16])
}

/// Order `n` under key `n`.
fn wish(n: u8, who: u64, quantity: u32) -> ReserveRequest {
    let field = Bytes::from(vec![n; 3]);
    ReserveRequest { order: order(n.into()), buyer: buyer(who), offer: PHONE, quantity, key: key(n), field }
}

fn call(n: u64) -> ReserveCall {
    let lane = LaneId::new(7).unwrap();
    ReserveCall { lane, epoch: FIRST, batch: batch(n), now_ms: 1_000, sweep_after_ms: 5_000, journal_max: 8 }
}

fn load_of(limit_per_buyer: u32, units: &[(OfferId, u64)]) -> LaneLoad {
    let offers = units.iter().map(|&(offer, left)| OfferLoad { offer, left, allotment: left, changed_at: 0 });
    LaneLoad { limit_per_buyer, offers: offers.collect(), purchases: Vec::new() }
}

fn lane(limit_per_buyer: u32, units: u64) -> LaneMachine {
    let mut lane = LaneMachine::default();
    assert_eq!(lane.close(RUN, FIRST), CloseAnswer::Closed);
    assert_eq!(lane.load(RUN, FIRST, &load_of(limit_per_buyer, &[(PHONE, units), (CASE, 10)])), LoadAnswer::Loaded);
    lane
}

fn decided(answer: LaneAnswer<ReserveAnswer>) -> Vec<ReserveReply> {
    match answer {
        LaneAnswer::Open(ReserveAnswer::Decided { replies, .. }) => replies,
        other => panic!("not decided: {other:?}"),
    }
}

fn reserve(lane: &mut LaneMachine, id: u64, wishes: &[ReserveRequest]) -> Vec<ReserveReply> {
    decided(lane.reserve(RUN, call(id), wishes))
}

fn left(lane: &LaneMachine) -> u64 {
    lane.state().unwrap().offers[&PHONE].left
}

fn gone(n: u64, who: u64, why: GoneWhy) -> Gone {
    Gone { order: order(n), buyer: buyer(who), why }
}

fn number(n: u8) -> ReserveReply {
    ReserveReply::Reserved(PurchaseNumber(n))
}

const fn closed<T>(epoch: u64) -> LaneAnswer<T> {
    LaneAnswer::Closed { epoch: Epoch(epoch) }
}

/// A missing key is a closed lane, never a full one and never a sold-out one.
#[test]
fn a_missing_lane_is_closed() {
    let mut lane = LaneMachine::default();
    assert_eq!(lane.reserve(RUN, call(1), &[wish(1, 1, 1)]), closed(0));
    assert_eq!(lane.find(RUN, buyer(1)), closed(0));
    assert_eq!(lane.claim(RUN, 1, 1, 1), closed(0));
    assert_eq!(lane.settle(RUN, FIRST, &[], &[]), closed(0));
    assert_eq!(lane.adjust(RUN, FIRST, PHONE, 1, 1), closed(0));
    assert_eq!(lane.withhold(RUN, FIRST, PHONE, 0, 1), closed(0));
    assert_eq!(lane.inspect(RUN).mode, LaneMode::Missing);
    assert_eq!(lane.load(RUN, FIRST, &load_of(1, &[])), LoadAnswer::Refused, "nobody closed it");
}

/// Another run of the server closes a lane by itself, for every call, and tells which epoch it was
/// in.
#[test]
fn a_restart_closes_the_lane() {
    let mut lane = lane(1, 5);
    reserve(&mut lane, 1, &[wish(1, 1, 1)]);
    let before = lane.clone();
    assert_eq!(lane.reserve(RESTARTED, call(2), &[wish(2, 2, 1)]), closed(1));
    assert_eq!(lane.find(RESTARTED, buyer(1)), closed(1));
    assert_eq!(lane.claim(RESTARTED, u64::MAX, 9, 1), closed(1));
    assert_eq!(lane.settle(RESTARTED, FIRST, &[batch(1)], &[]), closed(1));
    assert_eq!(lane.withhold(RESTARTED, FIRST, PHONE, 0, 1), closed(1));
    assert_eq!(lane, before, "and nothing changed");
    assert_eq!(lane.inspect(RESTARTED).mode, LaneMode::Closed { marker: Epoch(0) });
}

#[test]
fn another_epoch_is_closed_to_reserve_and_settle_and_open_to_find() {
    let mut lane = lane(1, 5);
    let late = ReserveCall { epoch: Epoch(0), ..call(1) };
    assert_eq!(lane.reserve(RUN, late, &[wish(1, 1, 1)]), closed(1));
    assert_eq!(lane.settle(RUN, Epoch(2), &[], &[]), closed(1));
    assert_eq!(lane.find(RUN, buyer(1)), LaneAnswer::Open(Vec::new()));
}

/// INV-1: what is promised never passes what was loaded, and who comes too late hears how many are
/// left.
#[test]
fn inv_1_units_promised_never_pass_the_units_loaded() {
    let mut lane = lane(3, 5);
    let replies = reserve(&mut lane, 1, &[wish(1, 1, 3), wish(2, 2, 3), wish(3, 3, 2), wish(4, 4, 1)]);
    let sold_out = |left| ReserveReply::SoldOut { left };
    assert_eq!(replies, [number(1), sold_out(2), number(1), sold_out(0)]);
    assert_eq!(left(&lane), 0);
    let unknown = ReserveRequest { offer: offer(9), ..wish(5, 5, 1) };
    assert_eq!(reserve(&mut lane, 2, &[unknown]), [sold_out(0)], "an offer that is not here has nothing");
}

/// INV-2: requests of one buyer see each other, in one call and over calls, over all offers of the
/// lane.
#[test]
fn inv_2_live_units_never_pass_the_limit() {
    let mut lane = lane(3, 50);
    let case = |n, who, quantity| ReserveRequest { offer: CASE, ..wish(n, who, quantity) };
    let replies = reserve(&mut lane, 1, &[wish(1, 1, 2), case(2, 1, 2), case(3, 1, 1), wish(4, 2, 1)]);
    assert_eq!(replies, [number(1), ReserveReply::LimitReached { held: 2 }, number(2), number(1)]);
    assert_eq!(reserve(&mut lane, 2, &[wish(5, 1, 1)]), [ReserveReply::LimitReached { held: 3 }]);
}

/// The unique key (buyer, lane, number) holds as many live rows as the limit: a number is free
/// again with its purchase.
#[test]
fn the_lowest_free_number_is_given() {
    let mut lane = lane(3, 50);
    assert_eq!(
        reserve(&mut lane, 1, &[wish(1, 1, 1), wish(2, 1, 1), wish(3, 1, 1)]),
        [number(1), number(2), number(3)]
    );
    lane.settle(RUN, FIRST, &[], &[gone(2, 1, GoneWhy::Released { retired: 0 })]);
    assert_eq!(reserve(&mut lane, 2, &[wish(4, 1, 1)]), [number(2)]);
}

#[test]
fn the_same_key_finds_its_order_and_another_quantity_or_offer_is_a_mismatch() {
    let mut lane = lane(5, 50);
    reserve(&mut lane, 1, &[wish(1, 1, 2)]);
    let again = ReserveRequest { order: order(9), ..wish(1, 1, 2) };
    let repeat = ReserveReply::Repeat { order: order(1), batch: Some(batch(1)), settled: false };
    assert_eq!(reserve(&mut lane, 2, std::slice::from_ref(&again)), [repeat]);
    let more = ReserveRequest { quantity: 3, ..again.clone() };
    let other = ReserveRequest { offer: CASE, ..again.clone() };
    let mismatch = ReserveReply::Mismatch { order: order(1) };
    assert_eq!(reserve(&mut lane, 3, &[more, other]), [mismatch, mismatch]);
    let elsewhere = ReserveRequest { buyer: buyer(2), ..again };
    assert_eq!(reserve(&mut lane, 4, &[elsewhere]), [number(1)], "a key belongs to its buyer");
    assert_eq!(left(&lane), 46);
}

/// R12: "settled" is said only of a purchase whose batch has left the journal, or that came from
/// its row.
#[test]
fn r12_a_repeat_is_settled_only_when_its_batch_left_the_journal() {
    let mut lane = lane(5, 50);
    let twice = [wish(1, 1, 1), ReserveRequest { order: order(8), ..wish(1, 1, 1) }];
    let repeat = |settled| ReserveReply::Repeat { order: order(1), batch: Some(batch(1)), settled };
    assert_eq!(reserve(&mut lane, 1, &twice), [number(1), repeat(false)], "also within the call that promises it");
    assert_eq!(reserve(&mut lane, 2, &twice[1..]), [repeat(false)]);
    assert!(matches!(lane.find(RUN, buyer(1)), LaneAnswer::Open(found) if !found[0].1));
    lane.settle(RUN, FIRST, &[batch(1)], &[]);
    assert_eq!(reserve(&mut lane, 3, &twice[1..]), [repeat(true)]);
    assert!(matches!(lane.find(RUN, buyer(1)), LaneAnswer::Open(found) if found[0].1));
}

/// A lost answer is asked for again with the same batch: nothing is promised twice, and nothing
/// *more* either, because the journal entry may be in the log already. Not even when it has been
/// settled and units came back meanwhile.
#[test]
fn a_repeated_call_promises_nothing_twice_and_nothing_new() {
    for is_settled in [false, true] {
        let mut lane = lane(1, 1);
        let wishes = [wish(2, 2, 1), wish(1, 1, 1)];
        let sold_out = ReserveReply::SoldOut { left: 0 };
        assert_eq!(reserve(&mut lane, 2, &wishes), [number(1), sold_out]);
        if is_settled {
            lane.settle(RUN, FIRST, &[batch(2)], &[]);
        }
        lane.adjust(RUN, FIRST, PHONE, 5, 1);
        let before = lane.clone();
        let own = ReserveReply::Repeat { order: order(2), batch: Some(batch(2)), settled: is_settled };
        let refused = ReserveReply::SoldOut { left: 4 };
        assert_eq!(reserve(&mut lane, 2, &wishes), [own, refused]);
        assert_eq!(reserve(&mut lane, 2, &[wishes[1].clone(), wishes[0].clone()]), [refused, own], "in any order");
        assert_eq!(lane, before);
        assert_eq!(reserve(&mut lane, 3, &wishes[1..]), [number(1)], "a new call gets what is left");
    }
}

/// Redis, engine and log hold the same bytes.
#[test]
fn the_journal_holds_the_batch_of_what_was_accepted() {
    let mut lane = lane(1, 2);
    reserve(&mut lane, 1, &[wish(1, 1, 1), wish(2, 1, 1), wish(3, 2, 1)]);
    let head = Batch::head(call(1).lane, batch(1), FIRST);
    let fields = [[1_u8; 3], [3; 3]];
    let bytes = Batch::concatenate(&head, fields.iter().map(|field| &field[..]), &[1, 1]);
    assert_eq!(lane.journal(), [(batch(1), Bytes::from(bytes))]);
    assert_eq!(lane.due(), [(batch(1), 6_000)]);
    reserve(&mut lane, 2, &[wish(4, 1, 1)]);
    assert_eq!(lane.journal().len(), 1, "no entry without a promise");
}

#[test]
fn a_full_journal_promises_nothing() {
    let mut lane = lane(1, 50);
    let tight = |n| ReserveCall { journal_max: 2, ..call(n) };
    decided(lane.reserve(RUN, tight(1), &[wish(1, 1, 1)]));
    decided(lane.reserve(RUN, tight(2), &[wish(2, 2, 1)]));
    let before = lane.clone();
    assert_eq!(lane.reserve(RUN, tight(3), &[wish(3, 3, 1)]), LaneAnswer::Open(ReserveAnswer::JournalFull));
    assert_eq!(lane, before);
    // A repeated call, of which "full" would say that it had promised nothing, gets its replies.
    let repeated = decided(lane.reserve(RUN, tight(2), &[wish(2, 2, 1)]));
    assert!(matches!(repeated[..], [ReserveReply::Repeat { settled: false, .. }]), "{repeated:?}");
    assert_eq!(lane, before);
}

#[test]
fn claim_takes_the_oldest_due_batches_and_moves_them_on() {
    let mut lane = lane(1, 50);
    for n in [3, 1, 2] {
        let now_ms = if n == 3 { 0 } else { 1_000 };
        decided(lane.reserve(RUN, ReserveCall { now_ms, ..call(n) }, &[wish(u8::try_from(n).unwrap(), n, 1)]));
    }
    let mut claimed = |now, n| match lane.claim(RUN, now, n, 100) {
        LaneAnswer::Open(claimed) => claimed.into_iter().map(|(batch, _)| batch.get()).collect::<Vec<_>>(),
        LaneAnswer::Closed { .. } => panic!("closed"),
    };
    assert_eq!(claimed(4_999, 9), [0; 0]);
    assert_eq!(claimed(6_000, 2), [3, 1], "by time, then by id");
    assert_eq!(claimed(6_000, 9), [2], "the others' time has moved on");
    assert_eq!(claimed(6_100, 9), [1, 2, 3]);
    lane.settle(RUN, FIRST, &[batch(2)], &[]);
    assert_eq!(lane.due().len(), 2, "a settled batch is never due");
}

/// R6: a released purchase gives its units back once and leaves a tombstone; a late retry gets the
/// old order, not a new one.
#[test]
fn r6_a_released_purchase_leaves_a_tombstone() {
    let mut lane = lane(1, 5);
    reserve(&mut lane, 1, &[wish(1, 1, 1)]);
    for _ in 0..2 {
        lane.settle(RUN, FIRST, &[batch(1)], &[gone(1, 1, GoneWhy::Released { retired: 0 })]);
        assert_eq!(left(&lane), 5, "repeating gives nothing back twice");
    }
    let late = ReserveRequest { order: order(9), ..wish(1, 1, 1) };
    assert_eq!(reserve(&mut lane, 2, &[late]), [ReserveReply::Released { order: order(1) }]);
    assert_eq!(reserve(&mut lane, 3, &[wish(2, 1, 1)]), [number(1)], "another key may buy again");
}

#[test]
fn units_go_back_only_with_a_live_entry_and_never_for_a_stock_rejection() {
    let mut lane = lane(9, 9);
    reserve(&mut lane, 1, &[wish(1, 1, 2), wish(2, 2, 3)]);
    lane.settle(
        RUN,
        FIRST,
        &[],
        &[gone(7, 1, GoneWhy::Released { retired: 0 }), gone(1, 2, GoneWhy::Released { retired: 0 })],
    );
    assert_eq!(left(&lane), 4, "an order that is not there, or another buyer's, gives nothing");
    lane.settle(RUN, FIRST, &[], &[gone(1, 1, GoneWhy::Rejected), gone(2, 2, GoneWhy::RejectedForStock)]);
    assert_eq!(left(&lane), 6);
    assert_eq!(lane.buyers(), [], "rejections leave no tombstones");
    assert_eq!(lane.inspect(RUN).buyers_len, 0);
}

#[test]
fn too_many_tombstones_end_a_buyers_purchases() {
    let mut lane = lane(1, 500);
    for n in 0..=u8::try_from(TOMBSTONES_MAX).unwrap() {
        let expected = if usize::from(n) < TOMBSTONES_MAX { number(1) } else { ReserveReply::LimitReached { held: 0 } };
        assert_eq!(reserve(&mut lane, 1_000, &[wish(n + 1, 1, 1)]), [expected]);
        lane.settle(RUN, FIRST, &[batch(1_000)], &[gone(u64::from(n) + 1, 1, GoneWhy::Released { retired: 0 })]);
    }
    assert_eq!(left(&lane), 500);
}

/// R3: close is refused to who comes after a rebuild, and to who would go back behind another
/// keeper, also over a restart.
#[test]
fn r3_close_never_goes_back() {
    let mut lane = lane(1, 5);
    reserve(&mut lane, 1, &[wish(1, 1, 1)]);
    assert_eq!(lane.close(RUN, FIRST), CloseAnswer::RefusedOpen { epoch: FIRST });
    assert_eq!(lane.close(RUN, Epoch(3)), CloseAnswer::Closed);
    assert_eq!(lane.close(RUN, Epoch(2)), CloseAnswer::RefusedMarker { marker: Epoch(3) });
    assert_eq!(lane.close(RESTARTED, Epoch(2)), CloseAnswer::RefusedMarker { marker: Epoch(3) });
    assert_eq!(lane.close(RUN, Epoch(3)), CloseAnswer::Closed, "again");
    assert_eq!(lane.inspect(RUN).mode, LaneMode::Closed { marker: Epoch(3) });
    let state = lane.state().unwrap();
    assert_eq!((state.epoch, state.open), (FIRST, false), "the epoch is the old one until the load");
    assert_eq!(lane.reserve(RUN, call(2), &[wish(2, 2, 1)]), closed(1), "the journal cannot grow");
    assert_eq!(lane.settle(RUN, FIRST, &[batch(1)], &[]), closed(1), "nor shrink");
    assert_eq!((lane.journal().len(), lane.buyers().len()), (1, 1), "and can be drained");
}

#[test]
fn r3_a_lane_that_a_restart_closed_can_be_closed_at_its_own_epoch() {
    let mut lane = lane(1, 5);
    assert_eq!(lane.close(RESTARTED, FIRST), CloseAnswer::Closed);
    assert_eq!(lane.inspect(RESTARTED).mode, LaneMode::Closed { marker: FIRST });
}

/// R4: only the keeper of the marker loads, in the run it closed in, and once.
#[test]
fn r4_load_needs_the_marker_the_run_and_a_closed_lane() {
    let load = load_of(1, &[(PHONE, 3)]);
    let mut lane = lane(1, 5);
    reserve(&mut lane, 1, &[wish(1, 1, 1)]);
    assert_eq!(lane.load(RUN, FIRST, &load), LoadAnswer::Refused, "it is open");
    lane.close(RUN, Epoch(2));
    assert_eq!(lane.load(RUN, Epoch(1), &load), LoadAnswer::Refused, "another's marker");
    assert_eq!(lane.load(RUN, Epoch(3), &load), LoadAnswer::Refused, "another's marker");
    assert_eq!(lane.load(RESTARTED, Epoch(2), &load), LoadAnswer::Refused, "it may have lost what was in it");
    assert_eq!(lane.load(RUN, Epoch(2), &load), LoadAnswer::Loaded);
    assert_eq!((left(&lane), lane.journal(), lane.due(), lane.buyers()), (3, vec![], vec![], vec![]), "all replaced");
    assert_eq!(lane.inspect(RUN).mode, LaneMode::Open { epoch: Epoch(2) });
    assert_eq!(lane.load(RUN, Epoch(2), &load), LoadAnswer::Refused, "once");
}

/// R5 and R6 over a rebuild: loaded purchases count for limits, loaded tombstones answer late
/// retries.
#[test]
fn r6_a_rebuild_keeps_purchases_and_tombstones() {
    let purchase = |n: u64, number| Purchase {
        order: order(n),
        offer: PHONE,
        quantity: 1,
        number,
        key: key(u8::try_from(n).unwrap()),
        batch: None,
    };
    let purchases = vec![(buyer(1), purchase(1, None)), (buyer(1), purchase(2, Some(PurchaseNumber(1))))];
    let mut lane = LaneMachine::default();
    lane.close(RUN, FIRST);
    lane.load(RUN, FIRST, &LaneLoad { purchases, ..load_of(1, &[(PHONE, 3)]) });
    assert_eq!(lane.inspect(RUN).buyers_len, 1);
    let again = |n| ReserveRequest { order: order(9), ..wish(n, 1, 1) };
    let released = ReserveReply::Released { order: order(1) };
    let repeat = ReserveReply::Repeat { order: order(2), batch: None, settled: true };
    assert_eq!(
        reserve(&mut lane, 1, &[again(1), again(2), again(3)]),
        [released, repeat, ReserveReply::LimitReached { held: 1 }]
    );
}

/// R9: the ledger's allotment comes with the position of its change; an older or repeated message
/// changes nothing.
#[test]
fn r9_only_a_later_change_of_the_allotment_counts() {
    let mut lane = lane(9, 10);
    reserve(&mut lane, 1, &[wish(1, 1, 4)]);
    for (allotment, changed_at, expected) in [(15, 7, 11), (15, 7, 11), (10, 6, 11), (13, i64::MAX, 9)] {
        lane.adjust(RUN, FIRST, PHONE, allotment, changed_at);
        assert_eq!(left(&lane), expected, "allotment {allotment} at {changed_at}");
    }
    assert_eq!(lane.adjust(RUN, FIRST, offer(9), 5, 1), LaneAnswer::Open(()), "an offer that is not here");
}

/// R9: a reduction is first taken out of sale like an order of the house, only what is free; the
/// ledger's word then changes nothing but the known sum.
#[test]
fn r9_a_reduction_takes_only_what_is_free() {
    let mut lane = lane(9, 10);
    reserve(&mut lane, 1, &[wish(1, 1, 7)]);
    for _ in 0..2 {
        assert_eq!(lane.withhold(RUN, FIRST, PHONE, 0, 5), LaneAnswer::Open(3), "repeating answers the same");
        assert_eq!(left(&lane), 0);
    }
    lane.adjust(RUN, FIRST, PHONE, 7, 9);
    assert_eq!(left(&lane), 0);
    lane.settle(RUN, FIRST, &[], &[gone(1, 1, GoneWhy::Released { retired: 0 })]);
    assert_eq!(left(&lane), 7, "released units are the new allotment");
    assert_eq!(lane.withhold(RUN, FIRST, offer(9), 9, 5), LaneAnswer::Open(0), "an offer that is not here");
}

/// R9: a reduction names the change it follows; after another one it is answered nothing, and every
/// change empties the pool.
#[test]
fn r9_units_are_withheld_after_one_change_only() {
    let mut lane = lane(9, 10);
    assert_eq!(lane.withhold(RUN, FIRST, PHONE, 0, 4), LaneAnswer::Open(4));
    assert_eq!(lane.withhold(RUN, FIRST, PHONE, 0, 6), LaneAnswer::Open(6), "the pool grows to the larger wish");
    assert_eq!(lane.withhold(RUN, FIRST, PHONE, 0, 1), LaneAnswer::Open(1), "and does not shrink");
    assert_eq!(left(&lane), 4);
    lane.adjust(RUN, FIRST, PHONE, 20, 1);
    assert_eq!(left(&lane), 20, "the change that was decided first gives them back");
    assert_eq!(lane.withhold(RUN, FIRST, PHONE, 0, 4), LaneAnswer::Open(0), "made for an allotment that is gone");
    assert_eq!(lane.withhold(RUN, FIRST, PHONE, 1, 4), LaneAnswer::Open(4));
}

/// R9: while the allotment is above its target, a release lowers the known allotment by what it
/// retires, once, with its entry; the ledger's word on it changes nothing then.
#[test]
fn r9_a_release_retires_units_once_and_with_its_entry_only() {
    let mut lane = lane(9, 10);
    reserve(&mut lane, 1, &[wish(1, 1, 4), wish(2, 2, 6)]);
    let known = |lane: &LaneMachine| lane.inspect(RUN).offers[0];
    for _ in 0..2 {
        lane.settle(RUN, FIRST, &[batch(1)], &[gone(1, 1, GoneWhy::Released { retired: 3 })]);
        assert_eq!(known(&lane), (PHONE, 1, 7), "one of four goes back, and repeating does nothing");
    }
    lane.settle(RUN, FIRST, &[], &[gone(9, 2, GoneWhy::Released { retired: 3 })]);
    assert_eq!(known(&lane), (PHONE, 1, 7), "an order that is not there");
    lane.adjust(RUN, FIRST, PHONE, 7, 4);
    assert_eq!(known(&lane), (PHONE, 1, 7));
    lane.settle(RUN, FIRST, &[], &[gone(2, 2, GoneWhy::Released { retired: 9 })]);
    assert_eq!(known(&lane), (PHONE, 1, 1), "never more than its quantity");
    let late = ReserveRequest { order: order(9), ..wish(1, 1, 4) };
    assert_eq!(reserve(&mut lane, 2, &[late]), [ReserveReply::Released { order: order(1) }], "R6: a tombstone stays");
}

/// Seeded walk: whatever comes, units are neither made nor lost (INV-1), and no buyer passes the
/// limit or holds a number twice (INV-2).
#[test]
fn inv_1_and_2_hold_on_random_walks() {
    for seed in 0..300 {
        let mut chance = Chance(seed);
        let (mut lane, limit) = (lane(3, 20), 3);
        let mut orders: BTreeMap<u64, u64> = BTreeMap::new();
        for step in 1..120_u64 {
            let (who, n) = (chance.below(4) + 1, u8::try_from(chance.below(40) + 1).unwrap());
            match chance.below(4) {
                0 => {
                    let why = [GoneWhy::Released { retired: 0 }, GoneWhy::Rejected][usize::from(chance.below(2) == 0)];
                    lane.settle(RUN, FIRST, &[batch(chance.below(step) + 1)], &[gone(n.into(), who, why)]);
                }
                _ => {
                    let wishes: Vec<_> = (0..=chance.below(3))
                        .map(|_| wish(n, who, u32::try_from(chance.below(3) + 1).unwrap()))
                        .collect();
                    assert!(wishes.len() <= BATCH_MAX);
                    lane.reserve(RUN, ReserveCall { journal_max: 1_000, ..call(step) }, &wishes);
                }
            }
            orders.clear();
            for (buyer, purchases) in lane.buyers() {
                let live: Vec<_> = purchases.iter().filter(|p| p.number.is_some()).collect();
                let held = live.iter().map(|p| u64::from(p.quantity)).sum();
                let mut numbers: Vec<_> = live.iter().map(|p| p.number).collect();
                numbers.sort_unstable();
                numbers.dedup();
                assert!(held <= limit && numbers.len() == live.len(), "seed {seed}, step {step}, buyer {buyer}");
                orders.insert(buyer.get(), held);
            }
            assert_eq!(left(&lane) + orders.values().sum::<u64>(), 20, "seed {seed}, step {step}");
        }
    }
}

/// The generator splitmix64: a walk is its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).checked_rem(n).unwrap()
    }
}

//! R9: the published allotment is a target. An allotment above it falls as units come back, and
//! what falls is not sold again.

use super::*;

/// The lane of [`lanes`] with offer 10 wholly sold: orders 100 to 104 of buyers 50 to 54, two units
/// of each, all of them cancelled since.
fn sold_out() -> (Lanes, Rows) {
    let (mut lanes, mut rows) = (lanes(2), Rows::default());
    lanes.get_mut(&id(1)).unwrap().offers.get_mut(&id(10)).unwrap().allotment = 10;
    let wishes: Vec<Wish> = (0..5).map(|n| (100 + n, 50 + n, 10, 2, 1)).collect();
    carry_out(&lanes, &mut rows, vec![batch(3, 3, &wishes)]).apply(&mut lanes);
    (100..105).for_each(|order| rows.cancel(order));
    (lanes, rows)
}

/// The release of one of these orders.
fn returned(offset: u64, order: u64, buyer: u64) -> Placed {
    let mut placed = release(offset, order, buyer);
    let Record::Released(released) = &mut placed.record else { unreachable!() };
    released.quantity = 2;
    placed
}

fn targeted(offset: u64, sale_version: u32, target: u64, withheld: i64, after: u64) -> Placed {
    let after = if after == 0 { 0 } else { at(after) };
    let change = AllotmentChange {
        lane: id(1),
        offer: id(10),
        sale_version,
        delta: -withheld,
        target: Some(target),
        epoch: Epoch(3),
        after,
    };
    placed(offset, Record::AllotmentChanged(change))
}

fn at(offset: u64) -> i64 {
    Position { generation: GENERATION, offset, index: 0 }.pack().unwrap()
}

fn numbers(lanes: &Lanes) -> (u64, u64, u64) {
    let offer = &lanes[&id(1)].offers[&id(10)];
    (offer.allotment, offer.target, offer.sold)
}

fn retired(decided: &Decided) -> Vec<u32> {
    let units = |(_, gone): &(LaneId, Gone)| match gone.why {
        GoneWhy::Released { retired } => retired,
        _ => panic!("{gone:?} is no release"),
    };
    decided.gone.iter().map(units).collect()
}

/// Ten of ten sold, published 5: nothing is free, so the target waits for units to come back.
#[test]
fn r9_a_release_above_the_target_lowers_the_allotment_and_gives_nothing_back() {
    let (mut lanes, mut rows) = sold_out();
    carry_out(&lanes, &mut rows, vec![targeted(4, 2, 5, 0, 0)]).apply(&mut lanes);
    assert_eq!(numbers(&lanes), (10, 5, 10));
    let first = carry_out(&lanes, &mut rows, vec![returned(5, 100, 50), returned(6, 100, 50), returned(7, 101, 51)]);
    assert_eq!(retired(&first), [2, 0, 2], "a release that is no release retires nothing");
    assert_eq!(first.movements[0].units, [(id(10), -2)], "a movement tells what is sold");
    first.apply(&mut lanes);
    assert_eq!(numbers(&lanes), (6, 5, 6));
    let last = carry_out(&lanes, &mut rows, vec![returned(8, 102, 52), returned(9, 103, 53)]);
    assert_eq!(retired(&last), [1, 0], "the rest is for sale");
    last.apply(&mut lanes);
    assert_eq!(numbers(&lanes), (5, 5, 2));
}

/// The same releases in one span, in spans of one, and again after a crash: the same units each
/// time.
#[test]
fn r9_what_a_release_retires_does_not_depend_on_how_the_log_is_cut_or_repeated() {
    let (mut lanes, mut rows) = sold_out();
    carry_out(&lanes, &mut rows, vec![targeted(4, 2, 7, 0, 0)]).apply(&mut lanes);
    let log = [returned(5, 100, 50), returned(6, 101, 51), returned(7, 102, 52)];
    let together = carry_out(&lanes, &mut rows, log.to_vec());
    assert_eq!(retired(&together), [2, 1, 0]);
    let replay = carry_out(&lanes, &mut rows, log.to_vec());
    assert_eq!((&replay.gone, &replay.retired), (&together.gone, &together.retired));
    let mut apart = Vec::new();
    for record in log {
        let one = carry_out(&lanes, &mut rows, vec![record]);
        one.apply(&mut lanes);
        apart.extend(one.gone);
    }
    assert_eq!(apart, together.gone);
    assert_eq!(numbers(&lanes), (7, 7, 4));
}

/// The allotment falls by what was withheld and by no more; the target holds, whatever the
/// difference was when it was asked for.
#[test]
fn r9_a_change_moves_the_allotment_towards_its_target_and_not_beyond() {
    let case = |allotment, sold, target, withheld| {
        let mut lanes = lanes(1);
        let offer = lanes.get_mut(&id(1)).unwrap().offers.get_mut(&id(10)).unwrap();
        (offer.allotment, offer.sold) = (allotment, sold);
        decide(&lanes, &[targeted(4, 2, target, withheld, 0)], &Known::default()).apply(&mut lanes);
        numbers(&lanes).0
    };
    assert_eq!(case(10, 4, 5, 5), 5);
    assert_eq!(case(10, 8, 5, 2), 8, "only what was free");
    assert_eq!(case(10, 10, 5, 0), 10);
    assert_eq!(case(7, 7, 5, 3), 7, "releases took units meanwhile: never below what is sold");
    assert_eq!(case(6, 2, 5, 3), 5, "never below the target: the rest of what was withheld is for sale");
    assert_eq!(case(5, 5, 9, -7), 9, "an increase by its target, not by a difference of then");
    assert_eq!(case(5, 5, 5, 0), 5);
}

/// Units withheld under another epoch are on sale again, but the target holds.
#[test]
fn r9_a_reduction_of_another_epoch_sets_its_target_and_takes_nothing() {
    let (mut lanes, _) = sold_out();
    sell(&mut lanes, 10, 0);
    let mut change = targeted(4, 2, 5, 3, 0);
    let Record::AllotmentChanged(of_epoch_2) = &mut change.record else { unreachable!() };
    of_epoch_2.epoch = Epoch(2);
    lanes.get_mut(&id(1)).unwrap().offers.get_mut(&id(10)).unwrap().sold = 4;
    decide(&lanes, &[change], &Known::default()).apply(&mut lanes);
    assert_eq!(numbers(&lanes), (10, 5, 4));
}

/// Units that became free above the target are asked for again by the same version; each change
/// holds once, after the one it follows.
#[test]
fn r9_a_version_may_ask_again_and_each_change_holds_once() {
    let (mut lanes, mut rows) = sold_out();
    carry_out(&lanes, &mut rows, vec![targeted(4, 2, 5, 0, 0)]).apply(&mut lanes);
    lanes.get_mut(&id(1)).unwrap().offers.get_mut(&id(10)).unwrap().sold = 8;
    for (offset, version, withheld, after, expected) in
        [(5, 2, 2, 0, 10), (6, 1, 2, 4, 10), (7, 2, 2, 4, 8), (7, 2, 2, 4, 8), (8, 2, 0, 7, 8)]
    {
        decide(&lanes, &[targeted(offset, version, 5, withheld, after)], &Known::default()).apply(&mut lanes);
        assert_eq!(numbers(&lanes), (expected, 5, 8), "at {offset}");
    }
}

/// A rebuilt lane starts without units that a reduction waits for, also when the log was lost
/// between a release's row and its commit.
#[test]
fn r9_an_epoch_begins_with_no_unsold_unit_above_the_target() {
    for (allotment, sold, target, expected) in [(10, 7, 5, 7), (10, 2, 5, 5), (10, 10, 5, 10), (10, 3, 10, 10)] {
        let mut lanes = lanes(1);
        let offer = lanes.get_mut(&id(1)).unwrap().offers.get_mut(&id(10)).unwrap();
        (offer.allotment, offer.sold, offer.target) = (allotment, sold, target);
        let decided = decide(&lanes, &[opened(4, 1, 4)], &Known::default());
        assert!(decided.gone.is_empty() && decided.sold.is_empty());
        decided.apply(&mut lanes);
        assert_eq!(numbers(&lanes), (expected, target, sold));
        assert!(decide(&lanes, &[opened(4, 1, 4)], &Known::default()).retired.is_empty(), "once");
    }
}

#[test]
fn r9_a_change_without_a_target_holds_once_per_version_of_the_sale() {
    let mut lanes = lanes(1);
    let decided = decide(&lanes, &[change(4, 2, 3, 0)], &Known::default());
    let at = Position { generation: GENERATION, offset: 4, index: 0 }.pack().unwrap();
    let expected = AllotmentMove { lane: id(1), offer: id(10), delta: 3, target: 8, sale_version: 2, changed_at: at };
    assert_eq!(decided.allotments, [expected]);
    decided.apply(&mut lanes);
    let expected = OfferLedger { allotment: 8, target: 8, sold: 0, sale_version: 2, changed_at: at };
    assert_eq!(lanes[&id(1)].offers[&id(10)], expected);
    for version in [1, 2] {
        assert_eq!(decide(&lanes, &[change(5, version, 3, 0)], &Known::default()).allotments, []);
    }
}

/// Its units were withheld in a lane that is gone: they are on sale again.
#[test]
fn r9_a_reduction_of_another_epoch_is_void_and_an_increase_is_not() {
    let lanes = lanes(1);
    let allotments = |delta, epoch| decide(&lanes, &[change(4, 2, delta, epoch)], &Known::default()).allotments;
    assert_eq!(allotments(-1, 2), []);
    assert_eq!(allotments(-1, 3).len(), 1);
    assert_eq!(allotments(1, 2).len(), 1);
}

#[test]
fn r9_a_reduction_never_goes_below_what_is_sold() {
    let mut lanes = lanes(1);
    sell(&mut lanes, 10, 3);
    let allotments = |delta| decide(&lanes, &[change(4, 2, delta, 3)], &Known::default()).allotments.len();
    assert_eq!([-2, -3, -6, i64::MIN].map(allotments), [1, 0, 0, 0]);
}

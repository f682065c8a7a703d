//! R16: a lane's limit per buyer changes at one place of the log.

use super::*;
use crate::record::LimitChange;

fn limited(offset: u64, limit: u32, epoch: u64, after: u64) -> Placed {
    let after = if after == 0 { 0 } else { at(after) };
    placed(offset, Record::LimitChanged(LimitChange { lane: id(1), limit, epoch: Epoch(epoch), after }))
}

fn at(offset: u64) -> i64 {
    Position { generation: GENERATION, offset, index: 0 }.pack().unwrap()
}

/// Whoever holds more than the new limit keeps it, and buys no more until he holds less.
#[test]
fn r16_reservations_before_a_change_are_judged_by_the_old_limit_and_those_after_it_by_the_new_one() {
    let (mut lanes, mut rows) = (lanes(1), Rows::default());
    let limit = refused(Reason::Limit);
    let log = [
        (batch(4, 3, &[(100, 50, 10, 1, 1), (101, 50, 10, 1, 2)]), vec![ACCEPTED, limit]),
        (limited(5, 3, 0, 0), vec![]),
        (batch(6, 3, &[(102, 50, 10, 2, 2), (103, 50, 10, 1, 3)]), vec![ACCEPTED, limit]),
        (limited(7, 2, 3, 5), vec![]),
        (batch(8, 3, &[(104, 50, 10, 1, 4), (105, 51, 10, 1, 1)]), vec![limit, ACCEPTED]),
    ];
    for (record, expected) in log {
        assert_eq!(ends_span(&record.record), expected.is_empty());
        let decided = carry_out(&lanes, &mut rows, vec![record]);
        assert_eq!(decisions(&decided).concat(), expected);
        decided.apply(&mut lanes);
    }
    assert_eq!((lanes[&id(1)].limit_per_buyer, lanes[&id(1)].limit_changed_at), (2, at(7)));
}

/// Under another epoch the lane was loaded with the ledger's limit and has promised by it. The same
/// limit is asked for to give back what was lowered in the lane alone.
#[test]
fn r16_a_lower_limit_of_another_epoch_is_void_and_a_higher_one_is_not() {
    let lanes = lanes(2);
    let limits = |limit, epoch| decide(&lanes, &[limited(4, limit, epoch, 0)], &Known::default()).limits;
    assert_eq!((limits(1, 2), limits(1, 4)), (vec![], vec![]));
    for (limit, epoch) in [(1, 3), (2, 3), (2, 2), (3, 3), (3, 2)] {
        assert_eq!(limits(limit, epoch), [LimitMove { lane: id(1), limit, changed_at: at(4) }]);
    }
}

/// Two keepers ask, records come twice: of those that follow the same change the first counts.
#[test]
fn r16_each_change_holds_once_after_the_one_it_follows() {
    let mut lanes = lanes(2);
    for (offset, limit, after, expected) in [(4, 5, 0, 5), (5, 1, 0, 5), (6, 5, 0, 5), (7, 1, 4, 1), (8, 1, 4, 1)] {
        decide(&lanes, &[limited(offset, limit, 3, after)], &Known::default()).apply(&mut lanes);
        assert_eq!(lanes[&id(1)].limit_per_buyer, expected, "at {offset}");
    }
    assert_eq!(lanes[&id(1)].limit_changed_at, at(7));
    let of_no_lane = Record::LimitChanged(LimitChange { lane: id(9), limit: 1, epoch: Epoch(0), after: 0 });
    assert_eq!(decide(&lanes, &[placed(9, of_no_lane)], &Known::default()).undecidable.len(), 1);
}

/// A buyer may hold another purchase number since the limit was higher: the unique key of the rows
/// does not catch a second purchase.
#[test]
fn r16_rows_of_a_lane_whose_limit_fell_to_one_are_read() {
    let mut lanes = lanes(1);
    let span = [batch(4, 3, &[(100, 50, 10, 1, 1)])];
    assert!(!must_read(&lanes, &span));
    lanes.get_mut(&id(1)).unwrap().limit_changed_at = at(2);
    assert!(must_read(&lanes, &span));
}

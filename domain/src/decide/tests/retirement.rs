//! R14: a lane whose sale is over is retired by a record; the next epoch opens it again.

use super::*;

fn retired(offset: u64, epoch: u64) -> Placed {
    placed(offset, Record::LaneRetired { lane: id(1), epoch: Epoch(epoch) })
}

fn apply(lanes: &mut Lanes, record: Placed) -> Decided {
    let decided = decide(lanes, &[record], &Known::default());
    decided.apply(lanes);
    decided
}

#[test]
fn r14_a_retired_lane_promises_nothing_until_a_later_epoch_opens_it() {
    let mut lanes = lanes(1);
    assert_eq!(apply(&mut lanes, retired(4, 3)).retired_lanes, [], "not above the ledger's");
    assert_eq!(apply(&mut lanes, retired(5, 4)).retired_lanes, [(id(1), Epoch(4))]);
    assert_eq!((lanes[&id(1)].epoch, lanes[&id(1)].is_retired), (Epoch(4), true));
    assert_eq!(apply(&mut lanes, retired(5, 4)).retired_lanes, [], "only the first commit deletes");
    assert_eq!(
        apply(&mut lanes, opened(6, 1, 4)).epochs,
        [],
        "of two keepers' records under one epoch the first counts"
    );
    for epoch in [3, 4] {
        let late = [batch(7, epoch, &[(100, 50, 10, 1, 1)])];
        assert!(must_read(&lanes, &late));
        let decided = decide(&lanes, &late, &Known::default());
        assert_eq!(decided.rows[0].reason, Some(Reason::Superseded), "a late record of epoch {epoch}");
    }
    assert_eq!(apply(&mut lanes, opened(8, 1, 5)).epochs, [(id(1), Epoch(5))]);
    assert!(!lanes[&id(1)].is_retired);
    let decided = decide(&lanes, &[batch(9, 5, &[(101, 50, 10, 1, 1)])], &Known::default());
    assert_eq!(decided.accepted, 1);
}

/// Releases are decided and counted as ever, and what a reduction waits for leaves the allotment
/// with the epoch.
#[test]
fn r14_orders_of_a_retired_lane_are_released_and_its_reductions_are_done() {
    let (mut lanes, mut rows) = (lanes(1), Rows::default());
    carry_out(&lanes, &mut rows, vec![batch(3, 3, &[(100, 50, 10, 1, 1)])]).apply(&mut lanes);
    lanes.get_mut(&id(1)).unwrap().offers.get_mut(&id(10)).unwrap().target = 2;
    let decided = apply(&mut lanes, retired(4, 4));
    assert_eq!(decided.retired, BTreeMap::from([((id(1), id(10)), 3)]));
    rows.cancel(100);
    let decided = carry_out(&lanes, &mut rows, vec![release(5, 100, 50)]);
    decided.apply(&mut lanes);
    let numbers = lanes[&id(1)].offers[&id(10)];
    assert_eq!((numbers.sold, numbers.allotment), (0, 2));
    assert_eq!(decided.gone.len(), 1, "its settlement meets a closed lane");
}

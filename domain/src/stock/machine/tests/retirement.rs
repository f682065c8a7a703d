//! R14: what is left of a lane that is retired, and who may let it go.

use super::*;

#[test]
fn r14_a_lane_is_let_go_of_only_closed_under_its_marker_in_its_run() {
    let mut lane = lane(1, 5);
    reserve(&mut lane, 1, &[wish(1, 1, 1)]);
    let open = lane.clone();
    assert!(lane.retire(RUN, FIRST).is_none(), "open");
    assert_eq!(lane.close(RUN, Epoch(2)), CloseAnswer::Closed);
    for (run, epoch) in [(RUN, FIRST), (RUN, Epoch(3)), (RESTARTED, Epoch(2))] {
        assert!(lane.retire(run, epoch).is_none(), "another marker or run");
    }
    let before = lane.retire(RUN, Epoch(2)).unwrap();
    assert_eq!((before.journal(), before.buyers()), (open.journal(), open.buyers()));
    assert_eq!(lane, LaneMachine::default());
    assert!(lane.retire(RUN, Epoch(2)).is_some(), "it is gone already");
    let closed = lane.reserve(RUN, call(2), &[wish(2, 2, 1)]);
    assert_eq!(closed, LaneAnswer::Closed { epoch: Epoch(0) }, "missing is closed");
}

/// A keeper that sleeps between commit and deletion must not take away what another one has
/// reopened since.
#[test]
fn r14_a_late_deletion_spares_a_reopened_lane() {
    let mut lane = lane(1, 5);
    lane.close(RUN, Epoch(2));
    assert!(lane.retire(RUN, Epoch(2)).is_some());
    assert_eq!(lane.close(RUN, Epoch(3)), CloseAnswer::Closed);
    assert!(lane.retire(RUN, Epoch(2)).is_none(), "closed to be reopened");
    assert_eq!(lane.load(RUN, Epoch(3), &load_of(1, &[(PHONE, 5)])), LoadAnswer::Loaded);
    assert!(lane.retire(RUN, Epoch(2)).is_none() && lane.retire(RUN, Epoch(3)).is_none(), "open");
}

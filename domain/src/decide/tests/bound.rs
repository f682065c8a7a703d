//! R5: from where on a lane's rows are looked for.

use super::*;

const BEFORE_MS: u64 = 10_000;
const NOW_MS: u64 = 1_767_225_600_000;

/// An order below the bound moves it, once in a span and by the lowest; others cost nothing. A lane
/// whose bound is not known gets none.
#[test]
fn r5_an_older_order_lowers_the_bound_of_a_lanes_rows() {
    let mut lanes = lanes(9);
    let span = [batch(4, 3, &[(100, 50, 10, 1, 1), (90, 51, 10, 1, 1)]), batch(5, 3, &[(95, 52, 10, 1, 1)])];
    let first = |lanes: &Lanes| decide(lanes, &span, &Known::default()).first_orders;
    assert!(first(&lanes).is_empty(), "an older program opened it");
    assert_eq!(lanes[&id(1)].rows_from(), 0);
    lanes.get_mut(&id(1)).unwrap().first_order = Some(id(90));
    assert!(first(&lanes).is_empty());
    lanes.get_mut(&id(1)).unwrap().first_order = Some(id(98));
    let decided = decide(&lanes, &span, &Known::default());
    assert_eq!(decided.first_orders, BTreeMap::from([(id(1), id(90))]));
    decided.apply(&mut lanes);
    assert_eq!(lanes[&id(1)].rows_from(), 90);
    // Superseded, it has a row too.
    let late = decide(&lanes, &[batch(6, 2, &[(80, 53, 10, 1, 1)])], &Known::default());
    assert_eq!(late.first_orders, BTreeMap::from([(id(1), id(80))]));
}

/// The first opening bounds the rows a moment before, by the database's clock: no window of a sale
/// has a part in it.
#[test]
fn r5_the_first_opening_bounds_a_lanes_rows() {
    let mut lane = lanes(1).remove(&id(1)).unwrap();
    assert!(!lane.was_never_open());
    lane.epoch = Epoch(0);
    assert!(lane.was_never_open());
    lane.first_order = LaneLedger::first_order_at(NOW_MS);
    assert!(!lane.was_never_open(), "a lost log left rows");
    assert_eq!(lane.rows_from(), OrderId::floor_at(NOW_MS - BEFORE_MS));
    assert_eq!(LaneLedger::first_order_at(0), Some(id(1)));
}

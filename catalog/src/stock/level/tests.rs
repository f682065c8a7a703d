//! Levels by themselves: what each act does, and what holds after any walk of them.

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_000;

fn spot(bin: i64, batch: i64) -> Spot {
    Spot { bin, batch }
}

fn receive(batch: i64, units: i64, expires_at: Option<i64>) -> Act {
    Act::In { spot: spot(0, batch), units, expires_at }
}

/// Three units that expire late, two that expire soon, one expired, four of no batch.
fn level() -> Level {
    let mut level = Level::default();
    for act in [receive(1, 3, Some(9_000)), receive(2, 2, Some(2_000)), receive(3, 1, Some(NOW)), receive(0, 4, None)] {
        level.apply(act, NOW).unwrap();
    }
    level
}

#[test]
fn what_expires_first_is_shown_and_shipped_first_and_what_is_expired_never() {
    let mut level = level();
    let batches: Vec<i64> = level.positions().iter().map(|position| position.spot.batch).collect();
    assert_eq!((batches, level.expired(NOW), level.available(NOW)), (vec![3, 2, 1], 1, 9));
    level.apply(Act::Promise { allotted: 0, unshipped: 9 }, NOW).unwrap();
    let steps = level.apply(Act::Ship { spot: None, units: 6 }, NOW).unwrap();
    let shipped: Vec<_> = steps.iter().map(|step| (step.spot.batch, step.change.on_hand)).collect();
    assert_eq!(shipped, [(2, -2), (1, -3), (0, -1)]);
    assert_eq!(level.apply(Act::Ship { spot: Some(spot(0, 3)), units: 1 }, NOW), Err(Shortage::Expired));
    assert_eq!(level.apply(Act::Ship { spot: None, units: 4 }, NOW), Err(Shortage::NotUnshipped(3)));
    assert_eq!((level.units.on_hand, level.units.unshipped, level.available(NOW)), (4, 3, 0));
}

#[test]
fn what_is_promised_or_expired_is_not_taken_and_a_refusal_changes_nothing() {
    let mut level = level();
    level.apply(Act::Promise { allotted: 7, unshipped: 0 }, NOW).unwrap();
    let before = level.clone();
    let refusals = [
        (Act::Promise { allotted: 3, unshipped: 0 }, Shortage::NotAvailable(2)),
        (Act::Promise { allotted: -8, unshipped: 8 }, Shortage::NotAllotted(7)),
        (Act::Out { spot: Spot::NONE, units: 3 }, Shortage::NotAvailable(2)),
        (Act::Out { spot: Spot::NONE, units: 5 }, Shortage::NotThere(4)),
        (Act::Out { spot: spot(0, 2), units: 3 }, Shortage::NotThere(2)),
        (Act::Set { on_hand: 6, is_feed: false }, Shortage::NotAvailable(2)),
        (Act::Set { on_hand: UNITS_MAX + 1, is_feed: true }, Shortage::TooManyUnits),
    ];
    for (act, shortage) in refusals {
        assert_eq!(level.apply(act, NOW), Err(shortage), "{act:?}");
        assert_eq!(level, before, "{act:?}");
    }
    level.apply(Act::Out { spot: spot(0, 3), units: 1 }, NOW).expect("expired units are written off");
}

#[test]
fn a_feed_is_believed_below_what_is_promised_and_nothing_more_is_promised() {
    let mut level = level();
    level.apply(Act::Promise { allotted: 7, unshipped: 0 }, NOW).unwrap();
    level.apply(Act::Set { on_hand: 5, is_feed: true }, NOW).unwrap();
    assert_eq!((level.units.on_hand, level.is_short()), (5, true));
    assert_eq!(level.apply(Act::Promise { allotted: 1, unshipped: 0 }, NOW), Err(Shortage::NotAvailable(0)));
    level.apply(receive(0, 1, None), NOW).expect("more is always taken in");
    level.apply(Act::Promise { allotted: -2, unshipped: 0 }, NOW).expect("less may be promised");
    assert!(!level.is_short());
}

#[test]
fn a_level_is_low_below_its_threshold_alone() {
    let mut level = level();
    assert!(!level.is_low(NOW));
    level.threshold = Some(9);
    assert!(!level.is_low(NOW), "9 are available");
    level.apply(Act::Promise { allotted: 1, unshipped: 0 }, NOW).unwrap();
    assert!(level.is_low(NOW));
}

#[test]
fn units_move_between_bins_with_their_batch() {
    let mut level = level();
    let act = Act::Move { from: spot(0, 2), to: spot(7, 2), units: 2, expires_at: Some(2_000) };
    let steps = level.apply(act, NOW).unwrap();
    assert_eq!(steps.iter().map(|step| step.change.on_hand).collect::<Vec<_>>(), [-2, 2]);
    assert_eq!((level.at(spot(0, 2)), level.at(spot(7, 2)), level.available(NOW)), (0, 2, 9));
}

#[test]
fn a_level_has_so_many_positions_and_no_more() {
    let mut level = Level::default();
    for bin in 1..=i64::try_from(POSITIONS_MAX).unwrap() {
        level.apply(Act::In { spot: spot(bin, 0), units: 1, expires_at: None }, NOW).unwrap();
    }
    let more = Act::In { spot: spot(999, 0), units: 1, expires_at: None };
    assert_eq!(level.apply(more, NOW), Err(Shortage::TooManyPositions));
    level.apply(Act::In { spot: spot(1, 0), units: 1, expires_at: None }, NOW).unwrap();
    level.apply(Act::Out { spot: spot(2, 0), units: 1 }, NOW).unwrap();
    level.apply(more, NOW).expect("a position without units is none");
}

fn act() -> impl Strategy<Value = Act> {
    let spots = (0..3_i64, 0..3_i64).prop_map(|(bin, batch)| spot(bin, batch));
    let expiry = |spot: Spot| (spot.batch > 0).then_some(spot.batch * 900);
    let units = 1..30_i64;
    prop_oneof![
        (spots.clone(), units.clone()).prop_map(move |(spot, units)| Act::In { spot, units, expires_at: expiry(spot) }),
        (spots.clone(), units.clone()).prop_map(|(spot, units)| Act::Out { spot, units }),
        (spots.clone(), 0..3_i64, units.clone()).prop_map(move |(from, bin, units)| {
            let to = Spot { bin, ..from };
            Act::Move { from, to, units, expires_at: expiry(to) }
        }),
        (proptest::option::of(spots), units.clone()).prop_map(|(spot, units)| Act::Ship { spot, units }),
        (0..90_i64, any::<bool>()).prop_map(|(on_hand, is_feed)| Act::Set { on_hand, is_feed }),
        (-20..30_i64).prop_map(|allotted| Act::Promise { allotted, unshipped: 0 }),
        units.prop_map(|units| Act::Promise { allotted: -units, unshipped: units }),
    ]
}

proptest! {
    /// The sum of the movements is the level, each says what was there after it, and nothing but a
    /// feed brings what is available below zero.
    #[test]
    fn after_any_walk_the_movements_add_up_to_the_level(acts in proptest::collection::vec(act(), 1..60)) {
        let (mut level, mut sum) = (Level::default(), Units::default());
        for act in acts {
            let before = level.clone();
            let Ok(steps) = level.apply(act, NOW) else {
                prop_assert_eq!(&level, &before);
                continue;
            };
            for step in steps {
                sum = sum.plus(step.change);
                prop_assert_eq!(step.after, sum);
            }
            let Units { on_hand, allotted, unshipped } = level.units;
            prop_assert_eq!(level.units, sum);
            prop_assert!(on_hand >= 0 && allotted >= 0 && unshipped >= 0);
            prop_assert!(level.placed() <= on_hand && level.positions().iter().all(|position| position.units > 0));
            let is_feed = matches!(act, Act::Set { is_feed: true, .. });
            let lost = level.available(NOW) < before.available(NOW);
            prop_assert!(is_feed || !lost || level.available(NOW) >= 0);
        }
    }
}

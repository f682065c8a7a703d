//! Scenarios are data: these tests say what the data must add up to.

use super::*;

fn size(scenario: &Scenario, units: Option<u64>, buyers: Option<u32>) -> Result<Size, WrongSize> {
    scenario.size(SizeOptions { units, buyers, lanes: 1, ..SizeOptions::default() })
}

#[test]
fn defaults_are_those_the_readme_promises() {
    let of = |scenario| size(scenario, None, None).map(|size| (size.units, size.buyers, size.first_buyers));
    assert_eq!(of(&SELLOUT), Ok((100_000, 300_000, 0)));
    assert_eq!(of(&ORDERS), Ok((800_000, 400_000, 0)));
    assert_eq!(of(&SOLDOUT), Ok((1_000, 400_000, 0)));
    assert_eq!(of(&STEADY), Ok((4_200_000, 4_000_000, 200_000)));
    assert_eq!(of(&WARMED), Ok((2_800_000, 400_000, 1_000_000)));
    assert_eq!(of(&CURVE), Ok((14_200_000, 2_000_000, 200_000)));
    assert_eq!(of(&RETRY_STORM), Ok((50_000, 100_000, 0)));
    assert_eq!(of(&LIFE), Ok((140_000, 200_000, 0)));
}

/// Of all orders 70 % are paid, 20 % expire and 10 % are cancelled, and what comes back is what the
/// second part's buyers find.
#[test]
fn the_fates_of_a_life_add_up() {
    let share = |part: &Part, is: fn(&Fate) -> bool| {
        let all: u32 = part.fates.iter().map(|(_, weight)| weight).sum();
        let some: u32 = part.fates.iter().filter(|(fate, _)| is(fate)).map(|(_, weight)| weight).sum();
        let Who::Share(percent) = part.who else { panic!("{:?}", part.who) };
        u32::from(percent) * some / all
    };
    let of_both = |is| LIFE.parts.iter().map(|part| share(part, is)).sum::<u32>();
    assert_eq!(of_both(|fate| *fate == Fate::Pays), 70);
    assert_eq!(of_both(|fate| matches!(fate, Fate::Cancels | Fate::CancelsOpen)), 10);
    assert_eq!(of_both(|fate| *fate == Fate::Hoards), 5);
    assert_eq!(share(&LIFE.parts[0], |fate| *fate != Fate::Pays), 30);
    assert!(LIFE.is_paid() && !ORDERS.is_paid());
    for (units, buyers) in [(None, Some(150)), (Some(100), Some(200))] {
        assert!(size(&LIFE, units, buyers).is_err(), "{units:?} {buyers:?}");
    }
    assert!(LIFE.size(SizeOptions { lanes: 2, ..SizeOptions::default() }).is_err());
}

#[test]
fn a_size_that_belies_the_name_is_refused() {
    assert!(size(&SELLOUT, Some(300_000), None).is_err());
    assert!(size(&ORDERS, Some(399_999), None).is_err());
    assert!(size(&WARMED, Some(1_399_999), None).is_err(), "the first buyers need units too");
    assert!(size(&CURVE, None, Some(20_000_000)).is_err(), "seven steps of so many");
    let message = size(&ORDERS, Some(10), Some(11)).unwrap_err().to_string();
    assert!(message.contains("orders") && message.contains("at least as many"), "{message}");
    let first = SizeOptions { first_buyers: Some(5), lanes: 1, ..SizeOptions::default() };
    assert!(ORDERS.size(first).is_err(), "nothing that is said goes unheard");
    assert_eq!(WARMED.size(first).map(|size| size.first_buyers), Ok(5));
}

#[test]
fn five_million_buyers_are_a_size() {
    assert_eq!(size(&ORDERS, None, Some(5_000_000)).map(|size| size.units), Ok(10_000_000));
    assert_eq!(size(&ORDERS, None, Some(90_000_000)).map(|size| size.units), Ok(ALLOTMENT_MAX));
}

#[test]
fn names_are_found_and_distinct() {
    for scenario in ALL {
        assert_eq!(Scenario::named(scenario.name), Some(scenario));
    }
    assert_eq!(Scenario::named("no-such"), None);
}

#[test]
fn what_is_measured_comes_last_and_shares_follow_a_closed_part() {
    for scenario in ALL {
        let (before, measured) = scenario.parts.split_at(scenario.first_measured());
        assert!(!measured.is_empty() && measured.iter().all(|part| part.measured), "{}", scenario.name);
        let takes_share = measured.iter().any(|part| part.pace.takes_what_its_time_needs());
        assert!(!takes_share || before.iter().any(|part| part.pace == Pace::Closed), "{}", scenario.name);
    }
}

/// R13: only a lane that is sold out refuses who has bought nothing, so each lane must have said
/// it.
#[test]
fn soldout_has_a_buyer_for_each_unit_and_one_more_for_each_lane() {
    let [selling, load] = SOLDOUT.parts else { panic!("two parts") };
    let size = SOLDOUT.size(SizeOptions { lanes: 4, ..SizeOptions::default() }).unwrap();
    assert_eq!((selling.buyers(size, 4, None, 600), selling.measured), (1_004, false));
    assert_eq!(load.buyers(size, 4, None, 120), 400_000);
}

#[test]
fn a_share_is_of_what_was_sustained_unless_a_rate_is_asked_for() {
    let sustained = Some(40_000.0);
    assert_eq!(Pace::Share(70).rate(None, sustained), Some(28_000.0));
    assert_eq!(Pace::Share(70).rate(Some(5_000.0), sustained), Some(5_000.0));
    assert_eq!(Pace::Step(20).rate(None, sustained), Some(8_000.0));
    assert_eq!(Pace::Step(20).rate(Some(5_000.0), sustained), Some(1_000.0));
    assert_eq!(Pace::Closed.rate(Some(5_000.0), sustained), None);
    assert_eq!(Pace::Asked.rate(None, sustained), None);
    assert_eq!(Pace::Share(70).rate(None, None), None);
}

#[test]
fn an_open_part_takes_the_buyers_that_its_time_needs() {
    let size = size(&STEADY, None, None).unwrap();
    let steady = &STEADY.parts[1];
    assert_eq!(steady.buyers(size, 1, Some(28_000.0), 10), 280_000);
    assert_eq!(steady.buyers(size, 1, Some(10_000_000.0), 10), 4_000_000, "never more than have units");
    // `orders --rate` sends what it is asked for, and reports what time did not reach.
    assert_eq!(ORDERS.parts[0].buyers(size, 1, Some(1.0), 10), 4_000_000);
}

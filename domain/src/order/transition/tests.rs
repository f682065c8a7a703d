//! Goal: no way through the table gives units back twice, moves money that is not there, leaves a
//! final state, or tells its events out of order. Method: random walks over the transitions, and
//! each line by itself.

use proptest::prelude::*;

use super::*;

/// What an order has come to.
#[derive(Debug, Default)]
struct Walk {
    status: Option<Status>,
    units: u32,
    given_back: u32,
    charged: u32,
    refunded: u32,
    sequence: u8,
}

impl Walk {
    /// Goes through a transition whose `from` is its state.
    fn go(&mut self, transition: Transition) {
        self.status = Some(transition.to());
        assert!(transition.sequence() > self.sequence, "{transition:?} after {self:?}");
        self.sequence = transition.sequence();
        match transition.units() {
            Units::Taken => self.units += 1,
            Units::Kept => {}
            Units::GivenBack => {
                self.given_back += 1;
                // The release is decided later, and before the next transition of this order.
                self.sequence += 1;
            }
        }
        match transition.money() {
            MoneyMove::None => {}
            MoneyMove::Charge => self.charged += 1,
            MoneyMove::Refund => self.refunded += 1,
        }
        assert!(self.given_back <= self.units && self.units <= 1, "{self:?}");
        assert!(self.refunded <= self.charged && self.charged <= 1, "{self:?}");
    }
}

proptest! {
    #[test]
    fn a_walk_keeps_units_money_and_the_order_of_its_events(picks in prop::collection::vec(any::<prop::sample::Index>(), 1..8)) {
        let mut walk = Walk::default();
        for pick in picks {
            let ways: Vec<Transition> = Transition::all().filter(|way| way.from() == walk.status).collect();
            if ways.is_empty() {
                break;
            }
            walk.go(ways[pick.index(ways.len())]);
        }
        let held = walk.status.is_some_and(|status| matches!(status, Status::Cancelled | Status::Expired));
        prop_assert!(!held || walk.given_back == 1, "{walk:?}");
        prop_assert!((walk.status == Some(Status::Refunded)) == (walk.refunded == 1), "{walk:?}");
    }
}

#[test]
fn four_states_are_final_and_each_state_is_reached() {
    let leaves = |status| Transition::all().any(|way| way.from() == Some(status));
    let is_final: Vec<Status> = Status::ALL.into_iter().filter(|status| !leaves(*status)).collect();
    assert_eq!(is_final, [Status::Cancelled, Status::Expired, Status::Rejected, Status::Refunded]);
    assert!(Status::ALL.iter().all(|status| Transition::all().any(|way| way.to() == *status)));
    assert!(Transition::all().all(|way| !way.by().is_empty()));
}

#[test]
fn a_pair_of_states_names_its_transition_or_none() {
    for from in Status::ALL {
        for to in Status::ALL {
            let named = Transition::between(from, to);
            assert!(named.is_none_or(|way| (way.from(), way.to()) == (Some(from), to)));
        }
    }
    assert_eq!(Transition::between(Status::PendingPayment, Status::Cancelled), Some(Transition::Cancel));
    assert_eq!(Transition::between(Status::Paid, Status::Cancelled), None);
    assert_eq!(Transition::between(Status::Cancelled, Status::PendingPayment), None);
}

/// R8: a row that lost such a mark takes it from the release, and the release has an event before
/// it.
#[test]
fn what_gives_units_back_is_what_a_release_may_say() {
    for way in Transition::all().filter(|way| way.units() == Units::GivenBack) {
        assert_eq!(way.from().unwrap().released(Some(way.to())), Some(way.to()), "{way:?}");
        assert_eq!(way.to().given_back_by(), Some(way));
    }
    for status in Status::ALL {
        assert_eq!(status.given_back_by().is_some(), status.gives_back(), "{status:?}");
    }
}

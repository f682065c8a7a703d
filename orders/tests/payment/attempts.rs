//! The states of an attempt, and its window.

use orders::payment::attempt::{AFTER_EXPIRY_MS, AttemptState, Change, Happened, change, window};
use orders::payment::{Closed, Doubt, Failed, Next, ProviderKind, Reason};
use proptest::prelude::*;

use AttemptState as S;
use Happened as H;

fn refused(reason: Reason) -> Failed {
    Failed::Refused { reason, code: String::new() }
}

#[test]
fn the_stored_number_of_a_state_is_its_own_for_ever() {
    let stored: Vec<_> = S::ALL.iter().map(|state| (state.stored(), state.as_str())).collect();
    let expected = [(1, "created"), (2, "open"), (3, "paid"), (4, "closing"), (5, "closed"), (6, "unknown")];
    assert_eq!(stored, expected);
    assert!(S::ALL.iter().all(|state| S::from_stored(state.stored()) == Some(*state)));
    assert_eq!(S::from_stored(7), None);
}

#[test]
fn money_is_taken_in_every_state_and_only_after_the_end_it_is_late() {
    for from in S::ALL {
        let expected = (from != S::Paid).then_some(Change { to: S::Paid, is_late: from == S::Closed });
        assert_eq!(change(from, H::Paid), expected, "{from:?}");
    }
}

#[test]
fn what_is_paid_stays_paid_and_what_is_closed_is_never_open_again() {
    for happened in H::ALL {
        assert_eq!(change(S::Paid, happened), None, "{happened:?}");
        if happened != H::Paid {
            assert_eq!(change(S::Closed, happened), None, "{happened:?}");
        }
    }
}

/// A doubt, a wish of ours and an absence that may end are no reasons to let units go.
#[test]
fn units_go_back_by_the_word_of_the_provider_alone() {
    let words = [H::Closed, H::Refused, H::AbsentForGood];
    for from in S::ALL {
        for happened in H::ALL {
            let lets_go = change(from, happened).is_some_and(|change| change.to.lets_go());
            assert!(!lets_go || words.contains(&happened), "{from:?} {happened:?}");
        }
    }
}

#[test]
fn a_failure_never_asks_for_a_new_number() {
    let doubts = [Doubt::NoAnswer, Doubt::ProviderFault, Doubt::BadSignature, Doubt::Unreadable];
    for doubt in doubts {
        assert_eq!(Failed::Unknown(doubt).next(), Next::Query);
        assert_eq!(H::of_failure(&Failed::Unknown(doubt), true), Some(H::Doubt));
    }
    assert_eq!(Failed::NotTaken(String::new()).next(), Next::Repeat);
    assert_eq!(H::of_failure(&Failed::NotTaken(String::new()), true), None);
    for reason in [Reason::Paid, Reason::Closed, Reason::NumberUsed] {
        assert_eq!(H::of_failure(&refused(reason), true), Some(H::Doubt), "queried: {reason:?}");
    }
    assert_eq!(H::of_failure(&refused(Reason::Invalid), false), Some(H::Refused));
    assert_eq!(H::of_failure(&refused(Reason::TooOften), false), None);
}

/// Alipay has no trade before its page is opened: only after `time_expire` it never will.
#[test]
fn absent_is_for_good_only_after_the_attempts_end() {
    assert_eq!(H::of_close(Closed::Absent, false), H::Absent);
    assert_eq!(H::of_close(Closed::Absent, true), H::AbsentForGood);
    assert_eq!(H::of_close(Closed::Closed, false), H::Closed);
    assert_eq!(H::of_failure(&refused(Reason::Absent), false), Some(H::Absent));
    assert_eq!(H::of_failure(&refused(Reason::Absent), true), Some(H::AbsentForGood));
    assert_eq!(change(S::Closing, H::Absent).unwrap().to, S::Closing);
    assert_eq!(change(S::Closing, H::AbsentForGood).unwrap().to, S::Closed);
}

#[test]
fn an_unknown_attempt_that_the_provider_does_not_have_is_sent_again_under_its_number() {
    assert_eq!(change(S::Created, H::Doubt).unwrap().to, S::Unknown);
    assert_eq!(change(S::Unknown, H::Absent).unwrap().to, S::Created);
    assert_eq!(change(S::Unknown, H::Waiting).unwrap().to, S::Open);
}

#[test]
fn our_window_ends_after_the_attempts_own() {
    let (now, pay_by) = (1_000_500, 1_900_700);
    let both = window(ProviderKind::Wechat, now, pay_by).unwrap();
    assert_eq!(both.expires_ms, 1_885_000, "whole seconds, rounded down");
    assert_eq!(both.close_from_ms, 1_885_000 + AFTER_EXPIRY_MS);
    assert_eq!(window(ProviderKind::Wechat, now, now + 60_000), None, "too little is left");
    assert!(window(ProviderKind::Simulated, now, now + 60_000).is_some());
    assert_eq!(window(ProviderKind::Alipay, now, 3), None);
}

proptest! {
    #[test]
    fn a_window_always_fits_between_now_and_pay_by(now in 0_u64..1 << 50, left in 0_u64..1 << 33, at in 0_usize..3) {
        if let Some(both) = window(ProviderKind::ALL[at], now, now + left) {
            prop_assert!(both.expires_ms > now && both.expires_ms % 1_000 == 0);
            prop_assert!(both.expires_ms < both.close_from_ms && both.close_from_ms <= now + left);
        }
    }

    /// Whatever is said in whatever order: once the provider said paid, the attempt is paid.
    #[test]
    fn no_order_of_events_loses_a_payment(events in prop::collection::vec(0_usize..8, 0..20)) {
        let mut state = S::Created;
        let mut was_paid = false;
        for happened in events.into_iter().map(|at| H::ALL[at]) {
            was_paid |= happened == H::Paid;
            if let Some(change) = change(state, happened) {
                state = change.to;
            }
            prop_assert_eq!(state == S::Paid, was_paid);
        }
    }
}

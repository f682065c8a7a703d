//! The pace of refunds.

use std::collections::HashMap;

use orders::payment::pacer::{Pace, Progress, RefundPacer, TooManyRefunds, Turn};
use orders::payment::{Doubt, Failed, Number, ProviderKind, Reason, Refund, RefundState};

use super::rig::number;

fn pacer() -> (Pace, RefundPacer) {
    let pace = Pace::of(ProviderKind::Wechat).unwrap();
    (pace, RefundPacer::new(pace))
}

fn told(refund: &Number, state: RefundState) -> Result<Refund, Failed> {
    Ok(Refund { refund_number: refund.clone(), provider_number: None, state, amount: None })
}

#[test]
fn every_provider_has_a_pace() {
    assert!(ProviderKind::ALL.iter().all(|kind| Pace::of(*kind).is_some()));
}

#[test]
fn one_payment_has_one_request_a_minute_and_fifty_refunds() {
    let (pace, mut pacer) = pacer();
    for at in 0..50 {
        pacer.add(&number("order_1"), &number(&format!("refund_{at}")), 0).unwrap();
    }
    assert_eq!(pace.per_order_max, 50);
    let refused: Result<(), TooManyRefunds> = pacer.add(&number("order_1"), &number("refund_50"), 0);
    assert!(refused.is_err());
    pacer.add(&number("order_1"), &number("refund_0"), 0).unwrap();
    assert!(matches!(pacer.turn(0), Some(Turn::Ask(_))));
    assert_eq!(pacer.turn(59_999), None, "the next of this payment");
    assert!(matches!(pacer.turn(60_000), Some(Turn::Ask(_))));
}

#[test]
fn a_process_that_starts_keeps_the_pace_of_the_one_before() {
    let (_, mut pacer) = pacer();
    pacer.resume(&number("order_1"), 49, 30_000);
    pacer.add(&number("order_1"), &number("refund_1"), 40_000).unwrap();
    assert!(pacer.add(&number("order_1"), &number("refund_2"), 40_000).is_err());
    assert_eq!(pacer.turn(89_999), None);
    assert_eq!(pacer.turn(90_000), Some(Turn::Ask(number("refund_1"))));
}

#[test]
fn a_refund_that_is_refused_for_its_pace_is_asked_again_with_its_number() {
    let (_, mut pacer) = pacer();
    let refund = number("refund_1");
    pacer.add(&number("order_1"), &refund, 0).unwrap();
    for minute in 0..5 {
        assert_eq!(pacer.turn(minute * 60_000), Some(Turn::Ask(refund.clone())));
        let refused = Failed::Refused { reason: Reason::TooOften, code: String::new() };
        pacer.answered(&refund, &Err(refused));
    }
    assert_eq!(pacer.turn(300_000), Some(Turn::Ask(refund.clone())));
    // No report at all, for the process died: the turn comes again.
    assert_eq!(pacer.turn(360_000), Some(Turn::Ask(refund)));
}

#[test]
fn accepted_is_not_done_and_an_unknown_outcome_is_queried() {
    let (pace, mut pacer) = pacer();
    let refund = number("refund_1");
    pacer.add(&number("order_1"), &refund, 0).unwrap();
    pacer.turn(0).unwrap();
    pacer.answered(&refund, &Err(Failed::Unknown(Doubt::BadSignature)));
    assert_eq!(pacer.progress(), Progress { accepted: 1, ..Progress::default() });
    let mut now = pacer.next_ms().unwrap();
    assert_eq!(pacer.turn(now), Some(Turn::Query(refund.clone())));
    // The provider never had it: sent again, under its number.
    pacer.answered(&refund, &Err(Failed::Refused { reason: Reason::Absent, code: String::new() }));
    now = pacer.next_ms().unwrap() + pace.order_gap_ms;
    assert_eq!(pacer.turn(now), Some(Turn::Ask(refund.clone())));
    pacer.answered(&refund, &told(&refund, RefundState::Accepted));
    assert_eq!(pacer.progress().done, 0);
    now += pace.order_gap_ms;
    assert_eq!(pacer.turn(now), Some(Turn::Query(refund.clone())));
    pacer.answered(&refund, &told(&refund, RefundState::Done));
    assert_eq!((pacer.next_ms(), pacer.progress().done), (None, 1));
    pacer.answered(&refund, &told(&refund, RefundState::Accepted));
    assert_eq!(pacer.progress().done, 1, "an old answer changes nothing");
}

#[test]
fn a_refund_that_needs_a_person_is_not_asked_for_ever() {
    let (_, mut pacer) = pacer();
    for (at, answer) in [
        told(&number("refund_0"), RefundState::Abnormal),
        told(&number("refund_1"), RefundState::Closed),
        Err(Failed::Refused { reason: Reason::Invalid, code: String::new() }),
        Err(Failed::Refused { reason: Reason::Closed, code: String::new() }),
    ]
    .iter()
    .enumerate()
    {
        let refund = number(&format!("refund_{at}"));
        pacer.add(&number(&format!("order_{at}")), &refund, 0).unwrap();
        pacer.answered(&refund, answer);
    }
    assert_eq!((pacer.progress().failed, pacer.next_ms()), (4, None));
    // The provider works at it after all: looked at again.
    pacer.answered(&number("refund_0"), &told(&number("refund_0"), RefundState::Accepted));
    assert_eq!(pacer.progress().accepted, 1);
    assert!(pacer.next_ms().is_some());
}

/// Every twentieth answer is lost, every third refund is accepted first: all end, none twice.
#[test]
fn cancelling_20_000_paid_orders_finishes_within_the_accounts_pace() {
    const ORDERS: usize = 20_000;
    let (pace, mut pacer) = pacer();
    for at in 0..ORDERS {
        pacer.add(&number(&format!("order_{at}")), &number(&format!("refund_{at}")), 0).unwrap();
    }
    let mut at_provider: HashMap<Number, u32> = HashMap::new();
    let (mut now, mut requests, mut done) = (0, 0_u64, 0);
    while let Some(next) = pacer.next_ms() {
        now = next.max(now);
        let Some(turn) = pacer.turn(now) else { continue };
        requests += 1;
        let (Turn::Ask(refund) | Turn::Query(refund)) = &turn;
        let answer = match turn {
            Turn::Ask(_) => {
                *at_provider.entry(refund.clone()).or_default() += 1;
                match requests % 20 {
                    0 => Err(Failed::Unknown(Doubt::NoAnswer)),
                    rest if rest % 3 == 0 => told(refund, RefundState::Accepted),
                    _ => told(refund, RefundState::Done),
                }
            }
            Turn::Query(_) => told(refund, RefundState::Done),
        };
        pacer.answered(refund, &answer);
        // Now and then: counting reads all of them.
        if requests.is_multiple_of(5_000) {
            let progress = pacer.progress();
            assert_eq!(progress.waiting + progress.accepted + progress.done + progress.failed, ORDERS);
            assert!(progress.done >= done, "progress does not go back");
            done = progress.done;
        }
    }
    assert_eq!(pacer.progress(), Progress { done: ORDERS, ..Progress::default() });
    assert!(at_provider.values().all(|times| *times == 1), "asked once each");
    assert!(requests * 1_000 <= (now + 1_000) * pace.account_per_s, "{requests} requests within {now} ms");
    assert!(now < 600_000, "within ten minutes: {now} ms");
}

//! What a verified notice does.

use domain::money::Money;
use kit::metrics::Registry;
use orders::payment::attempt::{AttemptState, Change};
use orders::payment::notice::{Effect, Misfit, NoticeMetrics, Ours, effect, effect_of_payment, reply};
use orders::payment::{Event, Forged, Notice, Payment, PaymentState, ProviderKind, RefundState};

use super::rig::{cny, number, tenant};

fn ours(state: AttemptState) -> Ours {
    let (provider, number) = (ProviderKind::Wechat, number("order_1"));
    Ours { tenant: tenant(7), provider, number, amount: cny(8_888), state }
}

fn payment(state: PaymentState, amount: Option<Money>) -> Notice {
    let (number, provider_number) = (number("order_1"), Some("4200".to_owned()));
    let event = Event::Payment(Payment { number, provider_number, state, amount, paid_ms: Some(1), payer: None });
    Notice { provider: ProviderKind::Wechat, id: "n1".to_owned(), tenant: tenant(7), event }
}

fn refund(amount: Option<Money>, refunded_in_all: Option<Money>) -> Notice {
    let (number, refund_number, state) = (number("order_1"), Some(number("refund_1")), RefundState::Done);
    let event = Event::Refund { number, refund_number, state, amount, refunded_in_all };
    Notice { event, ..payment(PaymentState::Paid, None) }
}

fn paid() -> Notice {
    payment(PaymentState::Paid, Some(cny(8_888)))
}

#[test]
fn a_payment_is_applied_once_and_a_replay_is_harmless() {
    let open = ours(AttemptState::Open);
    let applied = Effect::Attempt(Change { to: AttemptState::Paid, is_late: false });
    assert_eq!(effect(&paid(), false, Some(&open)), applied);
    assert_eq!(effect(&paid(), true, Some(&open)), Effect::Nothing, "its id was seen");
    // Another notice of the same payment, such as the answer to a query made into one.
    assert_eq!(effect(&paid(), false, Some(&ours(AttemptState::Paid))), Effect::Nothing);
}

#[test]
fn a_payment_after_the_end_is_taken_as_late() {
    let late = Effect::Attempt(Change { to: AttemptState::Paid, is_late: true });
    assert_eq!(effect(&paid(), false, Some(&ours(AttemptState::Closed))), late);
}

#[test]
fn another_amount_or_currency_or_none_changes_nothing_and_is_shown_to_a_person() {
    let open = ours(AttemptState::Open);
    let usd = Money { amount: 8_888, currency: "USD".parse().unwrap() };
    for (amount, misfit) in [
        (Some(cny(8_887)), Misfit::Amount),
        (Some(cny(8_889)), Misfit::Amount),
        (Some(usd), Misfit::Currency),
        (None, Misfit::Amount),
    ] {
        let effect = effect(&payment(PaymentState::Paid, amount), false, Some(&open));
        assert_eq!(effect, Effect::Misfit(misfit));
    }
    assert_ne!(effect(&payment(PaymentState::Closed, None), false, Some(&open)), Effect::Misfit(Misfit::Amount));
}

/// A query is the notice that did not come.
#[test]
fn the_answer_to_a_query_is_held_against_the_same_amount() {
    let open = ours(AttemptState::Unknown);
    let queried = |state, amount| {
        let Event::Payment(payment) = payment(state, amount).event else { panic!("no payment") };
        effect_of_payment(&payment, &open)
    };
    let change = |to| Effect::Attempt(Change { to, is_late: false });
    assert_eq!(queried(PaymentState::Paid, Some(cny(8_888))), change(AttemptState::Paid));
    assert_eq!(queried(PaymentState::Paid, Some(cny(1))), Effect::Misfit(Misfit::Amount));
    assert_eq!(queried(PaymentState::Waiting, None), change(AttemptState::Open));
    assert_eq!(queried(PaymentState::Closed, None), change(AttemptState::Closed));
}

#[test]
fn a_notice_reaches_no_other_tenant_provider_or_order() {
    let open = ours(AttemptState::Open);
    let absent = Effect::Misfit(Misfit::NoAttempt);
    let others = [
        Ours { tenant: tenant(8), ..open.clone() },
        Ours { provider: ProviderKind::Alipay, ..open.clone() },
        Ours { number: number("order_2"), ..open },
    ];
    for other in others {
        assert_eq!(effect(&paid(), false, Some(&other)), absent, "{other:?}");
    }
    assert_eq!(effect(&paid(), false, None), absent);
}

#[test]
fn a_refund_is_told_from_a_payment_and_never_larger_than_it() {
    let open = ours(AttemptState::Paid);
    let done = Effect::Refund { refund_number: Some(number("refund_1")), state: RefundState::Done };
    assert_eq!(effect(&refund(Some(cny(1)), None), false, Some(&open)), done);
    assert_eq!(effect(&refund(None, Some(cny(8_888))), false, Some(&open)), done);
    for amount in [cny(8_889), cny(0), cny(-1)] {
        let too_large = Effect::Misfit(Misfit::RefundTooLarge);
        assert_eq!(effect(&refund(Some(amount), None), false, Some(&open)), too_large);
        assert_eq!(effect(&refund(None, Some(amount)), false, Some(&open)), too_large);
    }
    let usd = Money { amount: 1, currency: "USD".parse().unwrap() };
    assert_eq!(effect(&refund(Some(usd), None), false, Some(&open)), Effect::Misfit(Misfit::Currency));
}

#[test]
fn notices_are_counted_by_what_they_came_to_and_forged_ones_are_never_taken() {
    let registry = Registry::new().unwrap();
    let metrics = NoticeMetrics::register(&registry).unwrap();
    metrics.count(ProviderKind::Wechat, Err(Forged::WrongSignature));
    metrics.count(ProviderKind::Wechat, Err(Forged::Probe));
    metrics.count(ProviderKind::Alipay, Ok(&Effect::Nothing));
    metrics.count(ProviderKind::Simulated, Ok(&Effect::Attempt(Change { to: AttemptState::Paid, is_late: true })));
    let shown = registry.render().unwrap();
    for line in [
        "flashsale_payment_notices_total{provider=\"wechat\",outcome=\"forged\"} 1",
        "flashsale_payment_notices_total{provider=\"wechat\",outcome=\"probe\"} 1",
        "flashsale_payment_notices_total{provider=\"alipay\",outcome=\"nothing\"} 1",
        "flashsale_payment_notices_total{provider=\"simulated\",outcome=\"late\"} 1",
        "flashsale_payment_notices_total{provider=\"alipay\",outcome=\"forged\"} 0",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    assert_eq!((reply(ProviderKind::Alipay, true).body, reply(ProviderKind::Alipay, false).body), ("success", "fail"));
    assert!(reply(ProviderKind::Wechat, true).status.is_success());
    assert!(reply(ProviderKind::Wechat, false).status.is_client_error());
}

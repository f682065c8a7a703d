//! The adapter of Alipay against Alipay's side of the interface.

use std::time::Duration;

use kit::client::Ask;
use kit::http::{Uri, header};
use orders::payment::{
    Closed, Doubt, Event, Failed, Forged, Method, Opened, PaymentState, Provider as _, Reason, RefundState,
};
use orders::simulator::{Fault, NoticePlan};

use super::rig::{APP, NOW_MS, Rig, Sent, charge, cny, number, refund, tenant};

fn is_refused(failed: &Failed, expected: Reason) -> bool {
    matches!(failed, Failed::Refused { reason, .. } if *reason == expected)
}

/// What a browser does with the page that an attempt gives.
async fn open_page(rig: &Rig, text: &str, amount: i64, method: Method) -> String {
    let opened = rig.alipay.create(&charge(text, amount, method)).await.unwrap();
    let Opened::Page(url) = opened else { panic!("{opened:?}") };
    let uri: Uri = url.parse().unwrap();
    assert_eq!(uri.host(), Some("openapi.alipay.com"));
    let answer = rig.client.exchange(&Ask::get(uri.path_and_query().unwrap().as_str())).await.unwrap();
    assert_eq!(answer.status, 303, "{:?}", answer.body);
    answer.headers[header::LOCATION].to_str().unwrap().to_owned()
}

async fn paid(rig: &Rig, text: &str, amount: i64) {
    rig.alipay.create(&charge(text, amount, Method::AlipayPrecreate)).await.unwrap();
    rig.bank.pay(APP, &number(text)).unwrap();
}

#[tokio::test]
async fn a_browser_carries_the_signed_request_to_the_cashier_and_pays() {
    let rig = Rig::start();
    for (text, method) in [("order_1", Method::AlipayWap), ("order_2", Method::AlipayPage)] {
        let page = open_page(&rig, text, 8_888, method).await;
        let shown = rig.client.exchange(&Ask::get(&page)).await.unwrap();
        assert!(String::from_utf8_lossy(&shown.body).contains("88.88 CNY"));
        rig.client.exchange(&Ask::post(format!("{page}/pay"))).await.unwrap();
        let payment = rig.alipay.query(&number(text)).await.unwrap();
        assert_eq!((payment.state, payment.amount), (PaymentState::Paid, Some(cny(8_888))));
        assert_eq!(payment.paid_ms, Some(NOW_MS));
    }
}

/// Nothing is at Alipay before the page is opened: what is absent may still come.
#[tokio::test]
async fn an_attempt_whose_page_was_never_opened_is_absent_and_not_closed() {
    let rig = Rig::start();
    rig.alipay.create(&charge("order_1", 8_888, Method::AlipayWap)).await.unwrap();
    assert!(is_refused(&rig.alipay.query(&number("order_1")).await.unwrap_err(), Reason::Absent));
    assert_eq!(rig.alipay.close(&number("order_1")).await, Ok(Closed::Absent));
    open_page(&rig, "order_1", 8_888, Method::AlipayWap).await;
    assert_eq!(rig.alipay.query(&number("order_1")).await.unwrap().state, PaymentState::Waiting);
    assert_eq!(rig.alipay.close(&number("order_1")).await, Ok(Closed::Closed));
    assert_eq!(rig.alipay.query(&number("order_1")).await.unwrap().state, PaymentState::Closed);
}

#[tokio::test]
async fn a_page_that_somebody_changed_is_not_taken() {
    let rig = Rig::start();
    let Opened::Page(url) = rig.alipay.create(&charge("order_1", 8_888, Method::AlipayWap)).await.unwrap() else {
        panic!("no page")
    };
    let cheaper = url.replace("88.88", "00.01");
    assert_ne!(url, cheaper);
    let uri: Uri = cheaper.parse().unwrap();
    let answer = rig.client.exchange(&Ask::get(uri.path_and_query().unwrap().as_str())).await.unwrap();
    assert!(String::from_utf8_lossy(&answer.body).contains("isv.invalid-signature"));
}

#[tokio::test]
async fn an_answer_that_nobody_can_vouch_for_is_unknown_and_the_number_stays() {
    let rig = Rig::start();
    for (at, (fault, doubt)) in [
        (Fault::FailsBefore, Doubt::ProviderFault),
        (Fault::FailsAfter, Doubt::ProviderFault),
        (Fault::Silent(Duration::from_secs(60)), Doubt::NoAnswer),
        (Fault::WrongSignature, Doubt::BadSignature),
        (Fault::NotSigned, Doubt::BadSignature),
    ]
    .into_iter()
    .enumerate()
    {
        let charge = charge(&format!("order_{at}"), 8_888, Method::AlipayPrecreate);
        rig.bank.fault(fault);
        assert_eq!(rig.alipay.create(&charge).await, Err(Failed::Unknown(doubt)), "{fault:?}");
        assert_eq!(rig.alipay.query(&charge.number).await.is_ok(), fault != Fault::FailsBefore, "{fault:?}");
        assert!(matches!(rig.alipay.create(&charge).await, Ok(Opened::Code(_))), "{fault:?}");
    }
    rig.bank.fault(Fault::TooOften);
    let failed = rig.alipay.query(&number("order_1")).await.unwrap_err();
    assert!(is_refused(&failed, Reason::TooOften));
}

#[tokio::test]
async fn refunds_are_repeated_with_their_number_and_queried() {
    let rig = Rig::start();
    paid(&rig, "order_1", 8_888).await;
    let first = refund("order_1", "refund_1", 888, 8_888);
    assert!(is_refused(&rig.alipay.query_refund(&first).await.unwrap_err(), Reason::Absent));
    rig.bank.fault(Fault::FailsAfter);
    assert_eq!(rig.alipay.refund(&first).await, Err(Failed::Unknown(Doubt::ProviderFault)));
    assert_eq!(rig.alipay.query_refund(&first).await.unwrap().state, RefundState::Done);
    assert_eq!(rig.alipay.refund(&first).await.unwrap().state, RefundState::Accepted, "a repetition moves nothing");
    assert_eq!(rig.bank.trade(APP, &number("order_1")).unwrap().refunded, 888);
    let rest = refund("order_1", "refund_2", 8_000, 8_888);
    assert_eq!(rig.alipay.refund(&rest).await.unwrap().state, RefundState::Done);
    // All back: Alipay calls it closed, and it was paid.
    assert_eq!(rig.alipay.query(&number("order_1")).await.unwrap().state, PaymentState::Paid);
    let late = rig.alipay.close(&number("order_1")).await.unwrap_err();
    assert!(is_refused(&late, Reason::Paid));
}

#[tokio::test]
async fn refund_notices_are_told_from_payments() {
    let rig = Rig::start();
    paid(&rig, "order_1", 8_888).await;
    let notice = rig.alipay.verify(rig.notice().received()).unwrap();
    assert_eq!(notice.tenant, tenant(7));
    let Event::Payment(payment) = notice.event else { panic!("no payment") };
    assert_eq!((payment.amount, payment.paid_ms), (Some(cny(8_888)), Some(NOW_MS)));
    for (text, amount, in_all) in [("refund_1", 888, 888), ("refund_2", 8_000, 8_888)] {
        rig.alipay.refund(&refund("order_1", text, amount, 8_888)).await.unwrap();
        let event = rig.alipay.verify(rig.notice().received()).unwrap().event;
        let (refund_number, refunded_in_all) = (Some(number(text)), Some(cny(in_all)));
        let (number, state, amount) = (number("order_1"), RefundState::Done, None);
        assert_eq!(event, Event::Refund { number, refund_number, state, amount, refunded_in_all });
    }
}

/// One bit of a form may spell the same character otherwise, and then says the same.
#[tokio::test]
async fn every_flipped_byte_of_a_notice_is_refused_or_says_the_same() {
    let rig = Rig::start();
    paid(&rig, "order_1", 8_888).await;
    let sent = rig.notice();
    let right = rig.alipay.verify(sent.received()).unwrap();
    let mut refused = 0;
    for at in 0..sent.body.len() {
        match rig.alipay.verify(sent.flipped(at).received()) {
            Ok(notice) => assert_eq!(notice, right, "byte {at}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused * 10 > sent.body.len() * 9, "{refused} of {}", sent.body.len());
}

fn spelled(sent: &Sent, change: impl Fn(String) -> String) -> Sent {
    let body = change(String::from_utf8(sent.body.to_vec()).unwrap()).into();
    Sent { body, ..sent.clone() }
}

#[tokio::test]
async fn a_notice_is_signed_by_rsa2_of_its_own_app_with_each_name_once() {
    let rig = Rig::start();
    paid(&rig, "order_1", 8_888).await;
    let sent = rig.notice();
    let refusal = |sent: &Sent| rig.alipay.verify(sent.received()).unwrap_err();
    let twice = spelled(&sent, |body| format!("{body}&total_amount=0.01"));
    assert_eq!(refusal(&twice), Forged::NotSigned);
    assert_eq!(refusal(&spelled(&sent, |body| body.replace("RSA2", "RSA"))), Forged::NotSigned);
    assert_eq!(refusal(&spelled(&sent, |body| body.replace(APP, "2021000000000002"))), Forged::UnknownKey);
    assert_eq!(refusal(&spelled(&sent, |body| body.replace("charset=utf-8", "charset=GBK"))), Forged::WrongSignature);
    assert_eq!(refusal(&spelled(&sent, |_| "%ff=%ff&sign=1".to_owned())), Forged::NotSigned);
    assert_eq!(refusal(&spelled(&sent, |_| String::new())), Forged::NotSigned);
    // Parameters without a value are no part of what is signed.
    assert!(rig.alipay.verify(spelled(&sent, |body| format!("{body}&empty=")).received()).is_ok());
}

#[tokio::test]
async fn forged_notices_are_refused_and_copies_have_one_id() {
    let rig = Rig::start();
    rig.bank.plan(NoticePlan { copies: 2, forged: 1, ..NoticePlan::default() });
    paid(&rig, "order_1", 8_888).await;
    let verified: Vec<_> = rig.notices().iter().map(|sent| rig.alipay.verify(sent.received())).collect();
    let [Ok(first), Ok(second), Err(Forged::WrongSignature)] = &verified[..] else { panic!("{verified:?}") };
    assert_eq!(first.id, second.id);
}

#[tokio::test]
async fn only_yuan_and_ways_of_alipay_are_taken() {
    let rig = Rig::start();
    let mut dollars = charge("order_1", 1, Method::AlipayWap);
    dollars.amount.currency = "USD".parse().unwrap();
    assert!(matches!(rig.alipay.create(&dollars).await, Err(Failed::NotTaken(_))));
    let wrong = charge("order_1", 1, Method::WechatNative);
    assert!(matches!(rig.alipay.create(&wrong).await, Err(Failed::NotTaken(_))));
}

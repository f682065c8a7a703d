//! The adapter of WeChat Pay against WeChat's side of the interface.

use std::time::Duration;

use orders::payment::pacer::Pace;
use orders::payment::sharing::{GiveBack, RATIO_PPM_DEFAULT, Share, SharingOrder, before_refund};
use orders::payment::wechat::shipping::{ALARM_AFTER_MS, Parcel, Shipping, UPLOAD_WITHIN_MS, Urgency, upload, urgency};
use orders::payment::{
    Closed, Doubt, Failed, Method, Opened, PaymentState, Provider as _, ProviderKind, Reason, RefundState,
};
use orders::simulator::{Fault, NoticePlan};

use super::rig::{MERCHANT, NOW_MS, Rig, charge, cny, number, public, refund};

fn jsapi() -> Method {
    Method::WechatJsapi { openid: "o1".to_owned() }
}

fn is_refused(failed: &Failed, expected: Reason) -> bool {
    matches!(failed, Failed::Refused { reason, .. } if *reason == expected)
}

#[tokio::test]
async fn a_page_in_wechat_gets_parameters_that_the_merchant_signed() {
    let rig = Rig::start();
    let opened = rig.wechat.create(&charge("order_1", 8_888, jsapi())).await.unwrap();
    let Opened::Jsapi(parameters) = opened else { panic!("{opened:?}") };
    assert!(parameters.package.starts_with("prepay_id=wx"));
    let text =
        format!("{}\n{}\n{}\n{}\n", parameters.app_id, parameters.time_stamp, parameters.nonce_str, parameters.package);
    assert!(public(0).verifies(text.as_bytes(), &parameters.pay_sign));
    let json = serde_json::to_value(&parameters).unwrap();
    for name in ["appId", "timeStamp", "nonceStr", "package", "signType", "paySign"] {
        assert!(json[name].is_string(), "{name}");
    }
    assert_eq!(json["signType"], "RSA");
}

#[tokio::test]
async fn other_ways_to_pay_give_a_page_or_a_code() {
    let rig = Rig::start();
    let h5 = Method::WechatH5 { client_address: "203.0.113.7".to_owned() };
    let opened = rig.wechat.create(&charge("order_1", 1, h5)).await.unwrap();
    assert!(matches!(opened, Opened::Page(url) if url.contains("/simulated/cashier/")));
    let opened = rig.wechat.create(&charge("order_2", 1, Method::WechatNative)).await.unwrap();
    assert!(matches!(opened, Opened::Code(code) if code.starts_with("weixin://")));
    let wrong = rig.wechat.create(&charge("order_3", 1, Method::AlipayWap)).await.unwrap_err();
    assert!(matches!(wrong, Failed::NotTaken(_)));
}

#[tokio::test]
async fn an_attempt_is_opened_queried_paid_and_not_closed_any_more() {
    let rig = Rig::start();
    let absent = rig.wechat.query(&number("order_1")).await.unwrap_err();
    assert!(is_refused(&absent, Reason::Absent));
    rig.wechat.create(&charge("order_1", 8_888, jsapi())).await.unwrap();
    let waiting = rig.wechat.query(&number("order_1")).await.unwrap();
    assert_eq!((waiting.state, waiting.amount, waiting.provider_number), (PaymentState::Waiting, None, None));
    rig.bank.pay(MERCHANT, &number("order_1")).unwrap();
    let paid = rig.wechat.query(&number("order_1")).await.unwrap();
    assert_eq!((paid.state, paid.amount, paid.paid_ms), (PaymentState::Paid, Some(cny(8_888)), Some(NOW_MS)));
    let late = rig.wechat.close(&number("order_1")).await.unwrap_err();
    assert!(is_refused(&late, Reason::Paid));
    let again = rig.wechat.create(&charge("order_1", 8_888, jsapi())).await.unwrap_err();
    assert!(is_refused(&again, Reason::Paid));
}

/// `time_expire` ends the paying, not the order: it is closed by a call.
#[tokio::test]
async fn an_attempt_that_is_over_waits_until_it_is_closed() {
    let rig = Rig::start();
    rig.wechat.create(&charge("order_1", 8_888, jsapi())).await.unwrap();
    rig.clock.advance(Duration::from_secs(601));
    assert!(rig.bank.pay(MERCHANT, &number("order_1")).is_err());
    assert_eq!(rig.wechat.query(&number("order_1")).await.unwrap().state, PaymentState::Waiting);
    for _ in 0..2 {
        assert_eq!(rig.wechat.close(&number("order_1")).await, Ok(Closed::Closed));
    }
    assert_eq!(rig.wechat.query(&number("order_1")).await.unwrap().state, PaymentState::Closed);
    assert_eq!(rig.wechat.close(&number("order_2")).await, Ok(Closed::Absent));
}

/// Whatever goes wrong: unknown, or nothing taken; and the same number is the same attempt.
#[tokio::test]
async fn an_answer_that_nobody_can_vouch_for_is_unknown_and_the_number_stays() {
    let rig = Rig::start();
    for (at, (fault, failed, was_carried_out)) in [
        (Fault::FailsBefore, Failed::Unknown(Doubt::ProviderFault), false),
        (Fault::FailsAfter, Failed::Unknown(Doubt::ProviderFault), true),
        (Fault::Silent(Duration::from_secs(60)), Failed::Unknown(Doubt::NoAnswer), true),
        (Fault::WrongSignature, Failed::Unknown(Doubt::BadSignature), true),
        (Fault::NotSigned, Failed::Unknown(Doubt::BadSignature), true),
    ]
    .into_iter()
    .enumerate()
    {
        let charge = charge(&format!("order_{at}"), 8_888, jsapi());
        rig.bank.fault(fault);
        assert_eq!(rig.wechat.create(&charge).await, Err(failed), "{fault:?}");
        let known = rig.wechat.query(&charge.number).await;
        assert_eq!(known.is_ok(), was_carried_out, "{fault:?}");
        let before = rig.bank.trade(MERCHANT, &charge.number).ok();
        rig.wechat.create(&charge).await.unwrap();
        let after = rig.bank.trade(MERCHANT, &charge.number).unwrap();
        assert!(before.is_none_or(|before| before == after), "one trade, {fault:?}");
    }
    rig.bank.fault(Fault::Slow(Duration::from_millis(1)));
    rig.wechat.create(&charge("order_8", 8_888, jsapi())).await.unwrap();
    rig.bank.fault(Fault::TooOften);
    let failed = rig.wechat.create(&charge("order_9", 8_888, jsapi())).await.unwrap_err();
    assert!(is_refused(&failed, Reason::TooOften));
}

#[tokio::test]
async fn a_number_with_another_amount_is_refused() {
    let rig = Rig::start();
    rig.wechat.create(&charge("order_1", 8_888, jsapi())).await.unwrap();
    let failed = rig.wechat.create(&charge("order_1", 8_887, jsapi())).await.unwrap_err();
    assert!(is_refused(&failed, Reason::NumberUsed));
}

#[tokio::test]
async fn a_server_that_is_not_there_took_nothing() {
    let unused = kit::http::bind("127.0.0.1:0".parse().unwrap(), false).unwrap().local_addr().unwrap();
    let client = kit::client::Client::new(&unused.to_string(), kit::client::ClientLimits::default()).unwrap();
    let account = super::rig::wechat_account(7, MERCHANT);
    let ring = std::sync::Arc::new(super::rig::wechat_ring(&account));
    let (clock, random) = (kit::clock::ManualClock::new(NOW_MS), kit::random::SeededRandom::new(2));
    let away = orders::payment::wechat::Wechat::new(account, ring, client, clock, random);
    assert!(matches!(away.query(&number("order_1")).await, Err(Failed::NotTaken(_))));
}

#[tokio::test]
async fn refunds_in_parts_and_in_full_accepted_first_and_done_later() {
    let rig = Rig::start();
    rig.bank.plan(NoticePlan { refund_takes_ms: 5_000, ..NoticePlan::default() });
    rig.wechat.create(&charge("order_1", 3_000, jsapi())).await.unwrap();
    rig.bank.pay(MERCHANT, &number("order_1")).unwrap();
    let first = refund("order_1", "refund_1", 1_000, 3_000);
    assert_eq!(rig.wechat.refund(&first).await.unwrap().state, RefundState::Accepted);
    assert_eq!(rig.wechat.query_refund(&first).await.unwrap().state, RefundState::Accepted);
    let second = refund("order_1", "refund_2", 2_000, 3_000);
    let failed = rig.wechat.refund(&second).await.unwrap_err();
    assert!(is_refused(&failed, Reason::TooOften), "one a minute");
    rig.clock.advance(Duration::from_millis(Pace::of(ProviderKind::Wechat).unwrap().order_gap_ms));
    assert_eq!(rig.wechat.query_refund(&first).await.unwrap().state, RefundState::Done);
    // The same number again is the same refund, not another one.
    assert_eq!(rig.wechat.refund(&first).await.unwrap().state, RefundState::Done);
    rig.wechat.refund(&second).await.unwrap();
    assert_eq!(rig.bank.trade(MERCHANT, &number("order_1")).unwrap().refunded, 3_000);
    assert_eq!(rig.wechat.query(&number("order_1")).await.unwrap().state, PaymentState::Paid, "it was paid");
    rig.clock.advance(Duration::from_secs(60));
    let too_much = rig.wechat.refund(&refund("order_1", "refund_3", 1, 3_000)).await.unwrap_err();
    assert!(is_refused(&too_much, Reason::Invalid));
    let absent = rig.wechat.query_refund(&refund("order_1", "refund_4", 1, 3_000)).await.unwrap_err();
    assert!(is_refused(&absent, Reason::Absent));
}

/// An answer about another amount than was asked contradicts the request.
#[tokio::test]
async fn a_refund_that_is_told_with_another_amount_is_unknown() {
    let rig = Rig::start();
    rig.wechat.create(&charge("order_1", 3_000, jsapi())).await.unwrap();
    rig.bank.pay(MERCHANT, &number("order_1")).unwrap();
    rig.wechat.refund(&refund("order_1", "refund_1", 1_000, 3_000)).await.unwrap();
    let other = rig.wechat.query_refund(&refund("order_1", "refund_1", 999, 3_000)).await;
    assert_eq!(other, Err(Failed::Unknown(Doubt::Unreadable)));
}

#[tokio::test]
async fn a_payment_is_shared_and_shares_come_back_before_its_refund() {
    let rig = Rig::start();
    let mut shared = charge("order_1", 10_000, jsapi());
    shared.is_shared = true;
    rig.wechat.create(&shared).await.unwrap();
    rig.bank.pay(MERCHANT, &number("order_1")).unwrap();
    let provider_number = rig.wechat.query(&number("order_1")).await.unwrap().provider_number.unwrap();
    let shares = vec![Share { receiver: "1900000002".to_owned(), amount: 3_000 }];
    let mut order = SharingOrder {
        sharing_number: number("share_1"),
        provider_number: provider_number.clone(),
        shares: shares.clone(),
        is_last: false,
    };
    assert_eq!(rig.wechat.share(&order).await, Ok(RefundState::Accepted));
    assert_eq!(rig.wechat.share(&order).await, Ok(RefundState::Done), "the same number says where it stands");
    order.sharing_number = number("share_2");
    assert!(rig.wechat.share(&order).await.is_err(), "above the cap");
    assert_eq!(rig.wechat.unfreeze(&number("share_3"), &provider_number).await, Ok(RefundState::Done));
    let whole = refund("order_1", "refund_1", 10_000, 10_000);
    assert!(is_refused(&rig.wechat.refund(&whole).await.unwrap_err(), Reason::NoFunds));
    let back: Vec<GiveBack> = before_refund(10_000, 0, 10_000, RATIO_PPM_DEFAULT, &shares);
    for part in &back {
        let given = rig.wechat.give_back(&number("share_1"), &number("back_11"), part).await;
        assert_eq!(given, Ok(RefundState::Done));
    }
    assert_eq!(rig.wechat.refund(&whole).await.unwrap().state, RefundState::Done);
}

#[tokio::test]
async fn a_sharing_that_a_receiver_did_not_take_is_shown_to_a_person() {
    let rig = Rig::start();
    let mut shared = charge("order_1", 10_000, jsapi());
    shared.is_shared = true;
    rig.wechat.create(&shared).await.unwrap();
    rig.bank.pay(MERCHANT, &number("order_1")).unwrap();
    let provider_number = rig.wechat.query(&number("order_1")).await.unwrap().provider_number.unwrap();
    let shares = vec![Share { receiver: "closed".to_owned(), amount: 1 }];
    let order = SharingOrder { sharing_number: number("share_1"), provider_number, shares, is_last: true };
    assert_eq!(rig.wechat.share(&order).await, Ok(RefundState::Accepted));
    assert_eq!(rig.wechat.share(&order).await, Ok(RefundState::Abnormal));
}

#[tokio::test]
async fn a_payment_that_was_not_opened_for_sharing_is_not_shared() {
    let rig = Rig::start();
    rig.wechat.create(&charge("order_1", 10_000, jsapi())).await.unwrap();
    rig.bank.pay(MERCHANT, &number("order_1")).unwrap();
    let provider_number = rig.wechat.query(&number("order_1")).await.unwrap().provider_number.unwrap();
    let shares = vec![Share { receiver: "1900000002".to_owned(), amount: 1 }];
    let order = SharingOrder { sharing_number: number("share_1"), provider_number, shares, is_last: true };
    assert!(is_refused(&rig.wechat.share(&order).await.unwrap_err(), Reason::Invalid));
}

#[tokio::test]
async fn shipping_is_uploaded_within_its_time() {
    let rig = Rig::start();
    rig.wechat.create(&charge("order_1", 10_000, jsapi())).await.unwrap();
    rig.bank.pay(MERCHANT, &number("order_1")).unwrap();
    let (carrier, tracking) = ("SF".to_owned(), "SF1234567890".to_owned());
    let shipping = Shipping {
        merchant: MERCHANT.to_owned(),
        number: number("order_1"),
        openid: "o1".to_owned(),
        description: "shoes".to_owned(),
        parcel: Parcel::Express { carrier, tracking, masked_phone: Some("138****1234".to_owned()) },
        at_ms: NOW_MS,
    };
    upload(&rig.client, "simulated", &shipping).await.unwrap();
    upload(&rig.client, "simulated", &Shipping { parcel: Parcel::Pickup, ..shipping.clone() }).await.unwrap();
    assert!(matches!(upload(&rig.client, "", &shipping).await, Err(Failed::NotTaken(_))), "a new token");
    rig.bank.fault(Fault::FailsAfter);
    assert_eq!(upload(&rig.client, "simulated", &shipping).await, Err(Failed::Unknown(Doubt::ProviderFault)));
    rig.bank.fault(Fault::TooOften);
    assert!(is_refused(&upload(&rig.client, "simulated", &shipping).await.unwrap_err(), Reason::TooOften));
    assert_eq!(urgency(NOW_MS, NOW_MS), Urgency::Calm);
    assert_eq!(urgency(NOW_MS, NOW_MS + ALARM_AFTER_MS), Urgency::Alarm);
    assert_eq!(urgency(NOW_MS, NOW_MS + UPLOAD_WITHIN_MS), Urgency::Late);
}

//! Notices of WeChat Pay: the signature over the raw bytes before anything.

use std::sync::Arc;

use kit::http::{HeaderName, HeaderValue};
use orders::payment::keys::{Certificate, KeyError};
use orders::payment::wechat::Ring;
use orders::payment::{Event, Forged, Method, Notice, PaymentState, Provider as _, RefundState};
use orders::simulator::NoticePlan;

use super::rig::{
    MERCHANT, NOW_MS, PUBLIC_KEY_ID, Rig, SERIAL, Sent, charge, cny, number, public, tenant, wechat_account,
    wechat_ring,
};

async fn paid(rig: &Rig, text: &str) {
    rig.wechat.create(&charge(text, 8_888, Method::WechatNative)).await.unwrap();
    rig.bank.pay(MERCHANT, &number(text)).unwrap();
}

fn with(sent: &Sent, name: &'static str, value: &str) -> Sent {
    let mut sent = sent.clone();
    sent.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    sent
}

fn header(sent: &Sent, name: &str) -> String {
    sent.headers[name].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_notice_tells_the_tenant_the_amount_and_its_own_id() {
    let rig = Rig::start();
    paid(&rig, "order_1").await;
    let Notice { tenant: whose, event: Event::Payment(payment), id, .. } =
        rig.wechat.verify(rig.notice().received()).unwrap()
    else {
        panic!("no payment")
    };
    assert_eq!((whose, id.is_empty()), (tenant(7), false));
    assert_eq!((payment.state, payment.amount), (PaymentState::Paid, Some(cny(8_888))));
    assert_eq!((payment.number, payment.paid_ms), (number("order_1"), Some(NOW_MS)));
}

#[tokio::test]
async fn every_flipped_byte_of_a_notice_is_refused() {
    let rig = Rig::start();
    paid(&rig, "order_1").await;
    let sent = rig.notice();
    for at in 0..sent.body.len() {
        let refused = rig.wechat.verify(sent.flipped(at).received());
        assert_eq!(refused, Err(Forged::WrongSignature), "byte {at} of the body");
    }
    for name in ["wechatpay-timestamp", "wechatpay-nonce", "wechatpay-signature", "wechatpay-serial"] {
        let value = header(&sent, name);
        for at in 0..value.len() {
            let mut other = value.clone().into_bytes();
            other[at] ^= 1;
            let other = with(&sent, name, std::str::from_utf8(&other).unwrap());
            assert!(rig.wechat.verify(other.received()).is_err(), "byte {at} of {name}");
        }
        let mut without = sent.clone();
        without.headers.remove(name);
        assert_eq!(rig.wechat.verify(without.received()), Err(Forged::NotSigned), "without {name}");
        let mut twice = sent.clone();
        twice.headers.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
        assert_eq!(rig.wechat.verify(twice.received()), Err(Forged::NotSigned), "{name} twice");
    }
}

#[tokio::test]
async fn a_probe_is_told_from_a_forgery_and_an_old_signature_is_refused() {
    let rig = Rig::start();
    paid(&rig, "order_1").await;
    let sent = rig.notice();
    let probe = format!("WECHATPAY/SIGNTEST/{}", header(&sent, "wechatpay-signature"));
    assert_eq!(rig.wechat.verify(with(&sent, "wechatpay-signature", &probe).received()), Err(Forged::Probe));
    for now_ms in [NOW_MS + 301_000, NOW_MS - 301_000] {
        assert_eq!(rig.wechat.verify(Sent { now_ms, ..sent.clone() }.received()), Err(Forged::Stale));
    }
    assert!(rig.wechat.verify(Sent { now_ms: NOW_MS + 299_000, ..sent }.received()).is_ok());
}

/// During a switch WeChat signs by the old certificate or by the new public key.
#[tokio::test]
async fn platform_certificate_and_public_key_are_believed_side_by_side() {
    let rig = Rig::start();
    for (key, serial) in [(0, SERIAL), (1, PUBLIC_KEY_ID)] {
        rig.bank.plan(NoticePlan { key, ..NoticePlan::default() });
        paid(&rig, &format!("order_{key}")).await;
        let sent = rig.notice();
        assert_eq!(header(&sent, "wechatpay-serial"), serial);
        assert!(rig.wechat.verify(sent.received()).is_ok(), "{serial}");
    }
}

#[tokio::test]
async fn the_serial_number_finds_the_tenant_and_is_one_accounts_alone() {
    let (ours, other) = (wechat_account(7, MERCHANT), wechat_account(8, "1900000008"));
    let mut ring = wechat_ring(&ours);
    let taken = ring.add_public_key(&other, SERIAL, public(1)).unwrap_err();
    assert_eq!(taken, KeyError::SerialTaken(SERIAL.to_owned()));
    // Its own account may replace it, as when a file is given again.
    ring.add_public_key(&ours, SERIAL, public(1)).unwrap();
    let certificate = Certificate::from_pem(include_str!("openssl_certificate.pem")).unwrap();
    ring.add_certificate(&other, certificate).unwrap();

    let rig = Rig::start();
    paid(&rig, "order_1").await;
    let sent = rig.notice();
    assert_eq!(ring.verify(sent.received()).unwrap().tenant, tenant(7));
    assert_eq!(Ring::default().verify(sent.received()), Err(Forged::UnknownKey));
    // Signed with a key of tenant 8, and about tenant 7's merchant: not to be read.
    let mut crossed = Ring::default();
    crossed.add_public_key(&other, SERIAL, public(1)).unwrap();
    crossed.add_public_key(&other, PUBLIC_KEY_ID, public(2)).unwrap();
    assert_eq!(crossed.verify(sent.received()), Err(Forged::Unreadable));
    assert_eq!(Arc::strong_count(&other), 4, "one of the test, one of each key");
}

#[tokio::test]
async fn a_refund_notice_says_which_refund_is_done() {
    let rig = Rig::start();
    paid(&rig, "order_1").await;
    rig.notice();
    rig.bank.plan(NoticePlan { refund_takes_ms: 1, ..NoticePlan::default() });
    rig.wechat.refund(&super::rig::refund("order_1", "refund_1", 1_000, 8_888)).await.unwrap();
    assert!(rig.notices().is_empty(), "accepted is not done");
    rig.clock.advance(std::time::Duration::from_millis(1));
    let event = rig.wechat.verify(rig.notice().received()).unwrap().event;
    let (refund_number, amount) = (Some(number("refund_1")), Some(cny(1_000)));
    let (number, state, refunded_in_all) = (number("order_1"), RefundState::Done, None);
    assert_eq!(event, Event::Refund { number, refund_number, state, amount, refunded_in_all });
}

#[tokio::test]
async fn notices_that_come_twice_have_one_id_and_forged_ones_are_refused() {
    let rig = Rig::start();
    rig.bank.plan(NoticePlan { copies: 2, forged: 1, ..NoticePlan::default() });
    paid(&rig, "order_1").await;
    let verified: Vec<_> = rig.notices().iter().map(|sent| rig.wechat.verify(sent.received())).collect();
    let [Ok(first), Ok(second), Err(forged)] = &verified[..] else { panic!("{verified:?}") };
    assert_eq!((first, *forged), (second, Forged::WrongSignature));
}

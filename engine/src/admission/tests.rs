//! Goal: each test of admission refuses for its own reason, in the documented order, and takes
//! nothing from those behind it. Method: one shop whose limits are small, and buyers that fail
//! exactly one test.

use domain::{
    id::{Epoch, TenantId},
    money::Money,
    sale::{PAYMENT_WINDOW_S_DEFAULT, Sale, SubjectKind},
};
use kit::token::{BuyerClaims, TokenError};

use super::*;
use crate::hint::HINT_MS_MAX;
use crate::testing::{BUYER_RATE, NOW_MS, Shop, buyer, offer_id, purchase, sale, tenant};

fn why(result: Result<Admitted, Declined>) -> Declined {
    result.err().expect("declined")
}

fn publish(shop: &Shop, change: impl FnOnce(&mut Sale)) {
    let known = shop.directory.now().sale(sale(1).id).map_or(1, |known| known.sale.version);
    let mut next = Sale { version: known + 1, ..sale(1) };
    change(&mut next);
    shop.directory.take_in(vec![next], NOW_MS);
}

#[tokio::test]
async fn no_token_a_forged_and_an_expired_one() {
    let shop = Shop::new(1);
    let nobody = Purchase { token: None, ..purchase("", "k", 1) };
    assert_eq!(why(shop.admission.admit(nobody)), Declined::NoToken);
    assert_eq!(why(shop.admission.admit(purchase("a.b.c", "k", 1))), Declined::Token(TokenError::Malformed));
    let token = shop.token(1);
    assert!(shop.admission.admit(purchase(&token, "k", 1)).is_ok());
    shop.clock.set_wall(NOW_MS + 2 * 86_400_000);
    assert_eq!(why(shop.admission.admit(purchase(&token, "k", 1))), Declined::Token(TokenError::Expired));
}

#[tokio::test]
async fn inv_7_a_foreign_offer_and_none_get_the_same_answer() {
    let shop = Shop::new(1);
    let stranger = shop.token_of(TenantId::new(9).unwrap(), 1);
    assert_eq!(why(shop.admission.admit(purchase(&stranger, "k", 1))), Declined::UnknownOffer);
    let token = shop.token(1);
    let nothing = Purchase { offer: offer_id(77), ..purchase(&token, "k", 1) };
    assert_eq!(why(shop.admission.admit(nothing)), Declined::UnknownOffer);
}

#[tokio::test]
async fn the_window_is_judged_by_the_servers_clock() {
    let shop = Shop::new(1);
    let token = shop.token(1);
    let at = |now_ms| {
        shop.clock.set_wall(now_ms);
        shop.admission.admit(purchase(&token, "k", 1)).err()
    };
    let window = sale(1).window;
    assert_eq!(at(window.opens_at_ms - 250), Some(Declined::NotStarted { opens_in_ms: 250 }));
    assert_eq!(at(window.opens_at_ms), None);
    assert_eq!(at(window.closes_at_ms - 1), None);
    assert_eq!(at(window.closes_at_ms), Some(Declined::Ended));
    publish(&shop, |sale| sale.paused = true);
    assert_eq!(at(NOW_MS), Some(Declined::Paused));
}

/// Whom a limit counts, and whether a sale is for members: the token says it, nobody is asked.
#[tokio::test]
async fn a_subject_of_another_kind_and_a_stranger_among_members_are_refused() {
    let shop = Shop::new(1);
    let claims = |by, member| BuyerClaims { by, member, ..BuyerClaims::new(tenant().number(), 1, NOW_MS + 60_000) };
    let of = |by, member| shop.signed(&claims(by, member));
    let refused = |by, member| shop.admission.admit(purchase(&of(by, member), "k", 1)).err();
    let wrong = |counted| Some(Declined::WrongSubject { counted });
    let [account, phone, id_hash] = SubjectKind::ALL;
    assert_eq!(refused(account, false), None);
    assert_eq!((refused(phone, true), refused(id_hash, true)), (wrong(account), wrong(account)));
    publish(&shop, |sale| (sale.limit_by, sale.members_only) = (phone, true));
    assert_eq!((refused(account, true), refused(id_hash, true)), (wrong(phone), wrong(phone)));
    assert_eq!(refused(phone, false), Some(Declined::MembersOnly));
    assert_eq!(refused(phone, true), None);
    assert_eq!(shop.stock.calls().len(), 0, "no lane was asked");
}

/// A lane or an offer is stopped by itself; the others of the sale go on.
#[tokio::test]
async fn a_paused_lane_or_offer_sells_nothing_by_itself() {
    let shop = Shop::new(1);
    let token = shop.token(1);
    let refused = || shop.admission.admit(purchase(&token, "k", 1)).err();
    publish(&shop, |sale| sale.lanes[0].offers[0].paused = true);
    assert_eq!(refused(), Some(Declined::Paused));
    publish(&shop, |sale| sale.lanes[0].paused = true);
    assert_eq!(refused(), Some(Declined::Paused));
    publish(&shop, |_| ());
    assert_eq!(refused(), None);
}

/// Before its moment a sale is like one that does not exist.
#[tokio::test]
async fn a_sale_that_is_not_to_be_seen_yet_is_unknown() {
    let shop = Shop::new(1);
    let token = shop.token(1);
    let refused = || shop.admission.admit(purchase(&token, "k", 1)).err();
    publish(&shop, |sale| sale.visible_from_ms = NOW_MS + 1);
    assert_eq!(refused(), Some(Declined::UnknownOffer));
    shop.clock.set_wall(NOW_MS + 1);
    assert_eq!(refused(), None);
}

/// A buyer who saw another price buys nothing, and no bucket loses a token by it.
#[tokio::test]
async fn another_price_than_expected_is_told_and_takes_nothing() {
    let shop = Shop::new(1);
    let token = shop.token(1);
    let price = sale(1).lanes[0].offers[0].price;
    let other = Money { amount: price.amount + 1, ..price };
    let refused = |expected| {
        let asked = Purchase { expected_price: Some(expected), ..purchase(&token, "k", 1) };
        shop.admission.admit(asked).err()
    };
    for _ in 0..2 * BUYER_RATE {
        assert_eq!(refused(other), Some(Declined::PriceChanged { price }));
    }
    assert_eq!(refused(price), None);
    publish(&shop, |sale| sale.lanes[0].offers[0].price = other);
    assert_eq!((refused(price), refused(other)), (Some(Declined::PriceChanged { price: other }), None));
}

/// A buyer has as long to pay as the sale said at admission, or the deployment where it says
/// nothing.
#[tokio::test]
async fn the_time_to_pay_is_frozen_at_admission() {
    let shop = Shop::new(1);
    let token = shop.token(1);
    let frozen = || {
        let admitted = shop.admission.admit(purchase(&token, "k", 1)).expect("admitted");
        let (reservation, ..) = admitted.freeze(OrderId::new(99).unwrap());
        (reservation.pay_within_s, reservation.pay_by_ms())
    };
    assert_eq!(frozen(), (PAYMENT_WINDOW_S_DEFAULT, Some(NOW_MS + 900_000)));
    publish(&shop, |sale| sale.orders.payment_window_s = 120);
    assert_eq!(frozen(), (120, Some(NOW_MS + 120_000)));
}

/// A trace goes into the log only where the caller says that it is recorded.
#[tokio::test]
async fn a_recorded_trace_is_frozen_at_admission_and_no_other() {
    let shop = Shop::new(1);
    let token = shop.token(1);
    let frozen = async || {
        let admitted = shop.admission.admit(purchase(&token, "k", 1)).expect("admitted");
        admitted.freeze(OrderId::new(99).unwrap()).0.trace
    };
    let recorded = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    assert_eq!(frozen().await, None);
    assert_eq!(TraceContext::generate().within(frozen()).await, None);
    assert_eq!(recorded.within(frozen()).await, Some(recorded.trace_id().into()));
}

/// R13: a repeat gets its order, at whatever price and whether its offer is stopped by now.
#[tokio::test]
async fn r13_a_repeat_passes_price_and_pause_of_its_offer() {
    let shop = Shop::new(1);
    let order = shop.buy(1, "k", 1).await.unwrap().order;
    publish(&shop, |sale| sale.lanes[0].offers[0].paused = true);
    assert_eq!(shop.buy(1, "k", 1).await.map(|bought| bought.order), Ok(order));
}

/// R13: what was bought as a member is found by its key, though the buyer is none any more.
#[tokio::test]
async fn r13_a_member_of_yesterday_finds_his_order() {
    let shop = Shop::new(1);
    let order = shop.buy(1, "k", 1).await.unwrap().order;
    publish(&shop, |sale| sale.members_only = true);
    assert_eq!(shop.buy(1, "k", 1).await.map(|bought| bought.order), Ok(order));
    assert_eq!(shop.buy(1, "another", 1).await, Err(Declined::MembersOnly));
}

/// The hint repeats the lane's own refusal of a key, and refuses no other (R13).
#[tokio::test]
async fn the_sold_out_hint_refuses_only_what_the_lane_refused() {
    let shop = Shop::new(1);
    assert!(shop.buy(1, "first", 1).await.is_ok());
    assert_eq!(shop.buy(2, "k", 1).await, Err(Declined::SoldOut));
    let calls = shop.stock.calls().len();
    assert_eq!(shop.buy(2, "k", 1).await, Err(Declined::SoldOut));
    assert_eq!(shop.stock.calls().len(), calls, "no call: the lane said so a moment ago");
    assert_eq!(shop.buy(2, "another", 1).await, Err(Declined::SoldOut));
    assert_eq!(shop.stock.calls().len(), calls + 1, "of another key only the lane knows");
    assert!(shop.buy(1, "first", 1).await.is_ok(), "a repeat gets its order, sold out or not");
    shop.clock.advance(std::time::Duration::from_millis(HINT_MS_MAX + 1));
    let calls = shop.stock.calls().len();
    assert_eq!(shop.buy(2, "k", 1).await, Err(Declined::SoldOut));
    assert_eq!(shop.stock.calls().len(), calls + 1, "the hint was too old");
    shop.directory.now().offer(offer_id(1)).unwrap().1.lane.follow(Epoch(2));
    assert!(shop.admission.admit(purchase(&shop.token(2), "k", 1)).is_ok(), "another epoch, another stock");
}

/// R13, INV-5: who was refused with a second key still gets the order of the first. (Found by the
/// differential test, seed 9.)
#[tokio::test]
async fn r13_a_refused_key_hides_no_order_of_another_key() {
    let shop = Shop::new(1);
    let order = shop.buy(1, "first", 1).await.unwrap().order;
    assert_eq!(shop.buy(1, "second", 1).await, Err(Declined::SoldOut));
    assert_eq!(shop.buy(1, "first", 1).await.map(|bought| bought.order), Ok(order));
}

#[tokio::test]
async fn a_buyer_out_of_tokens_takes_none_of_the_offers() {
    let shop = Shop::new(1);
    publish(&shop, |sale| sale.lanes[0].offers[0].rate_per_s = BUYER_RATE + 1);
    let token = shop.token(1);
    for _ in 0..BUYER_RATE {
        drop(shop.admission.admit(purchase(&token, "k", 1)).expect("admitted"));
    }
    for _ in 0..100 {
        let Declined::RateLimited(limited) = why(shop.admission.admit(purchase(&token, "k", 1))) else {
            panic!("not limited")
        };
        assert_eq!((limited.policy, limited.per_s), ("buyer", BUYER_RATE));
    }
    assert!(shop.admission.admit(purchase(&shop.token(2), "k", 1)).is_ok(), "the offer still had one");
    let Declined::RateLimited(limited) = why(shop.admission.admit(purchase(&shop.token(3), "k", 1))) else {
        panic!("not limited")
    };
    assert_eq!(limited.policy, "offer");
}

#[tokio::test]
async fn who_gets_no_permit_takes_no_token() {
    let shop = Shop::bounded(1, 1, 1, 10);
    publish(&shop, |sale| (sale.buyer_rate_per_s, sale.lanes[0].offers[0].rate_per_s) = (1, 2));
    let held = shop.admission.admit(purchase(&shop.token(1), "k", 1)).expect("admitted");
    assert_eq!(shop.metrics.permits_in_use.get(), 1);
    for _ in 0..10 {
        assert_eq!(why(shop.admission.admit(purchase(&shop.token(2), "k", 1))), Declined::Overloaded);
    }
    drop(held);
    assert_eq!(shop.metrics.permits_in_use.get(), 0, "the permit came back");
    assert!(shop.admission.admit(purchase(&shop.token(2), "k", 1)).is_ok(), "buyer's and offer's tokens are all there");
}

#[tokio::test]
async fn one_tenants_share_leaves_permits_for_others() {
    let shop = Shop::bounded(1, 2, 1, 10);
    let mut other = sale(2);
    other.tenant = TenantId::new(9).unwrap();
    shop.directory.take_in(vec![other], NOW_MS);
    let _held = shop.admission.admit(purchase(&shop.token(1), "k", 1)).expect("admitted");
    assert_eq!(why(shop.admission.admit(purchase(&shop.token(2), "k", 1))), Declined::Overloaded);
    let theirs = shop.token_of(TenantId::new(9).unwrap(), 1);
    assert!(shop.admission.admit(Purchase { offer: offer_id(2), ..purchase(&theirs, "k", 1) }).is_ok());
}

#[tokio::test]
async fn what_is_frozen_is_what_was_admitted() {
    let shop = Shop::new(1);
    let admitted = shop.admission.admit(purchase(&shop.token(5), "k", 2)).expect("admitted");
    assert_eq!(shop.metrics.permits_in_use.get(), 1);
    let order = OrderId::new(99).unwrap();
    let (reservation, offered, _permit) = admitted.freeze(order);
    assert_eq!(reservation.key, KeyHash::of(tenant(), buyer(5), offer_id(1), "k"));
    assert_eq!((reservation.order, reservation.quantity, reservation.reserved_at_ms), (order, 2, NOW_MS));
    assert_eq!((reservation.unit_price, reservation.sku), (offered.price, offered.sku));
    assert_eq!(reservation.context, "{\"a\":1}");
}

/// Fault 15: 200 buyers at their limit, each with another key each time, as often as a buyer may;
/// the offer admits 200 a second. What the lane refuses them, or repeats to them, costs the offer's
/// bucket nothing.
#[tokio::test]
async fn buyers_at_their_limit_leave_the_offers_tokens_to_others() {
    const HOSTILE: u64 = 200;
    let shop = Shop::new(100_000);
    publish(&shop, |sale| sale.lanes[0].offers[0].rate_per_s = 200);
    for buyer in 1..=HOSTILE {
        shop.buy(buyer, "k", 2).await.unwrap();
    }
    shop.clock.advance(std::time::Duration::from_secs(1));
    let (mut honest, mut promised) = (0, 0);
    for step in 0..300_u64 {
        shop.clock.advance(std::time::Duration::from_millis(10));
        for turn in 0..20 {
            let buyer = 1 + (step * 20 + turn) % HOSTILE;
            let answer = match turn % 3 {
                0 => shop.buy(buyer, &format!("{step}-{turn}"), 1).await.map(drop),
                1 => shop.buy(buyer, "k", 1).await.map(drop),
                _ => shop.buy(buyer, "k", 2).await.map(drop),
            };
            let expected = [Err(Declined::LimitReached), Err(Declined::Mismatch), Ok(())];
            assert_eq!(answer, expected[usize::try_from(turn % 3).unwrap()]);
        }
        for _ in 0..2 {
            honest += 1;
            promised += u64::from(shop.buy(1_000 + honest, "k", 1).await.is_ok());
        }
    }
    assert_eq!(honest, 600, "as many as the offer admits");
    assert!(promised >= honest * 95 / 100, "{promised} of {honest} honest purchases");
}

/// What a promise or a sold-out answer took stays taken: the rate holds.
#[tokio::test]
async fn a_promise_keeps_its_token() {
    let shop = Shop::new(3);
    publish(&shop, |sale| sale.lanes[0].offers[0].rate_per_s = 4);
    for buyer in 1..=4 {
        let expected = if buyer <= 3 { Ok(()) } else { Err(Declined::SoldOut) };
        assert_eq!(shop.buy(buyer, "k", 1).await.map(drop), expected);
    }
    let Err(Declined::RateLimited(limited)) = shop.buy(5, "k", 1).await else { panic!("not limited") };
    assert_eq!(limited.policy, "offer");
}

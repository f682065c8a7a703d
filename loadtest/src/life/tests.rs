//! Fates are dealt out to the unit, and each kind of disagreement is found.

use domain::{
    id::{BuyerId, KeyHash, LaneId, OfferId, OrderId},
    order::Status,
};

use super::*;
use crate::{audit::RowEvidence, scenario::LIFE};

#[test]
fn fates_are_dealt_out_by_their_weights_and_one_payment_in_a_hundred_has_a_forgery() {
    let fates = Fates(LIFE.parts[0].fates);
    let all: Vec<Fate> = (0..7_000).map(|place| fates.of(place)).collect();
    for (fate, weight) in fates.0 {
        assert_eq!(all.iter().filter(|of| *of == fate).count(), 100 * *weight as usize, "{fate:?}");
    }
    assert!(
        (0..7_000).filter(|place| all[*place as usize] == Fate::Pays).map(|place| fates.before(place)).eq(0..4_000)
    );
    assert_eq!((0..7_000).filter(|place| fates.is_forged(*place)).count(), 40);
    assert_ne!(all[..20], [all[0]; 20], "they come among each other");
}

fn row(number: u64, status: Status) -> RowEvidence {
    RowEvidence {
        order: OrderId::new(1_000 + number).unwrap(),
        buyer: BuyerId::new(1 + number).unwrap(),
        lane: LaneId::new(1).unwrap(),
        offer: OfferId::new(1).unwrap(),
        quantity: 1,
        key: KeyHash([7; 16]),
        live: status == Status::Paid,
        rejected: false,
        position: 1,
        status,
        total: 100,
    }
}

const FATES: [Fate; 4] = [Fate::Pays, Fate::PaysLate, Fate::Hoards, Fate::CancelsOpen];

/// One of each fate, a payment that came late and went back.
fn sound() -> ([RowEvidence; 4], Accounts) {
    let statuses = [Status::Paid, Status::Expired, Status::Expired, Status::Cancelled];
    let books = Books { paid: 2, received: 200, refunds: 1, refunded: 100, waiting: 0, outbox: 0 };
    let bank = Statement { paid: 2, received: 200, refunds: 1, refunded: 100 };
    let notices = [("forged".to_owned(), 1), ("applied".to_owned(), 2)].into();
    let accounts = Accounts { books, bank, notices, forged: 1, left: 0, is_whole: true };
    (std::array::from_fn(|number| row(number as u64, statuses[number])), accounts)
}

fn judged(rows: &[RowEvidence], accounts: &Accounts) -> Judgement {
    let fate = |buyer: BuyerId| FATES.get(buyer.get() as usize - 1).copied();
    judge(rows, fate, &FATES, accounts)
}

#[test]
fn a_sound_life_has_no_damage_and_a_reinstated_order_is_sound_too() {
    let (mut rows, mut accounts) = sound();
    let judgement = judged(&rows, &accounts);
    assert_eq!(judgement.damage, [""; 0]);
    let Judgement { paid, expired, cancelled, refunded, money_difference, late_refunded, .. } = judgement;
    assert_eq!((paid, expired, cancelled, refunded, money_difference, late_refunded), (1, 2, 1, 1, 0, 1));
    // Units and limit allowed it: the late payment pays its order.
    rows[1] = row(1, Status::Paid);
    (accounts.books.refunds, accounts.books.refunded) = (0, 0);
    (accounts.bank.refunds, accounts.bank.refunded) = (0, 0);
    let judgement = judged(&rows, &accounts);
    assert_eq!((judgement.damage, judgement.late_reinstated), (vec![], 1));
}

#[test]
fn each_disagreement_is_found() {
    let harms: [fn(&mut [RowEvidence; 4], &mut Accounts); 11] = [
        |rows, _| rows[0] = row(0, Status::Expired),
        |rows, _| rows[2] = row(2, Status::Paid),
        |rows, _| rows[3] = row(3, Status::PendingPayment),
        |rows, _| rows[3].buyer = BuyerId::new(3).unwrap(),
        |_, accounts| accounts.bank.received += 100,
        |_, accounts| accounts.books.refunded -= 1,
        |_, accounts| accounts.books.waiting = 1,
        |_, accounts| accounts.books.outbox = 1,
        |_, accounts| accounts.left = 1,
        |_, accounts| accounts.notices.clear(),
        |_, accounts| {
            (accounts.books.refunds, accounts.bank.refunds) = (0, 0);
            (accounts.books.refunded, accounts.bank.refunded) = (0, 0);
        },
    ];
    for (number, harm) in harms.into_iter().enumerate() {
        let (mut rows, mut accounts) = sound();
        harm(&mut rows, &mut accounts);
        assert_ne!(judged(&rows, &accounts).damage, [""; 0], "harm {number}");
    }
}

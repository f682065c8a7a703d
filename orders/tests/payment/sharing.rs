//! Shares as sums.

use orders::payment::sharing::{
    FROZEN_MS_MAX, GiveBack, RATIO_PPM_DEFAULT, Share, SharingError, before_refund, cap, remainder, settle_by_ms,
};
use proptest::prelude::*;

fn shares(amounts: &[i64]) -> Vec<Share> {
    amounts.iter().enumerate().map(|(at, amount)| Share { receiver: format!("r{at}"), amount: *amount }).collect()
}

#[test]
fn shares_are_capped_by_the_accounts_ratio_and_the_rest_is_the_shops() {
    assert_eq!(cap(9_999, RATIO_PPM_DEFAULT), 2_999, "rounded down");
    assert_eq!(remainder(10_000, RATIO_PPM_DEFAULT, &shares(&[1_000, 2_000])), Ok(7_000));
    assert_eq!(
        remainder(10_000, RATIO_PPM_DEFAULT, &shares(&[1_000, 2_001])),
        Err(SharingError::AboveCap { cap: 3_000 })
    );
    assert_eq!(remainder(10_000, RATIO_PPM_DEFAULT, &shares(&[0])), Err(SharingError::Nothing));
    assert_eq!(remainder(10_000, RATIO_PPM_DEFAULT, &[]), Ok(10_000));
    assert_eq!(remainder(10_000, RATIO_PPM_DEFAULT, &shares(&[1; 51])), Err(SharingError::TooMany));
    assert!(remainder(i64::MAX, 1_000_000, &shares(&[i64::MAX, 1])).is_err());
}

#[test]
fn shares_are_settled_before_the_freeze_ends() {
    assert!(settle_by_ms(1_000) < 1_000 + FROZEN_MS_MAX && settle_by_ms(1_000) > 1_000);
}

#[test]
fn shares_are_given_back_before_a_refund_the_last_first() {
    let given = shares(&[1_000, 2_000]);
    let back = |receiver: &str, amount| GiveBack { receiver: receiver.to_owned(), amount };
    let whole = before_refund(10_000, 0, 10_000, RATIO_PPM_DEFAULT, &given);
    assert_eq!(whole, [back("r1", 2_000), back("r0", 1_000)]);
    assert_eq!(before_refund(10_000, 0, 5_000, RATIO_PPM_DEFAULT, &given), [back("r1", 1_500)]);
    assert_eq!(before_refund(10_000, 5_000, 5_000, RATIO_PPM_DEFAULT, &shares(&[1_000, 500])).len(), 2);
    assert!(before_refund(10_000, 0, 1_000, RATIO_PPM_DEFAULT, &shares(&[100])).is_empty());
}

proptest! {
    #[test]
    fn what_receivers_keep_is_within_the_cap_of_what_stays_paid(
        paid in 1_i64..1 << 50, ratio in 0_u32..=1_000_000, part in 0_i64..=100, split in 0_i64..=100,
    ) {
        let total = cap(paid, ratio);
        prop_assert!((0..=paid).contains(&total));
        let first = total / 100 * split;
        let given: Vec<_> = shares(&[first, total - first]).into_iter().filter(|share| share.amount > 0).collect();
        prop_assert_eq!(remainder(paid, ratio, &given), Ok(paid - total));
        let refund = paid / 100 * part;
        let back = before_refund(paid, 0, refund, ratio, &given);
        let kept = total - back.iter().map(|back| back.amount).sum::<i64>();
        prop_assert!(kept >= 0 && kept <= cap(paid - refund, ratio));
        prop_assert!(back.iter().all(|back| back.amount > 0));
        // The shop has what it refunds.
        prop_assert!(paid - kept >= refund);
    }
}

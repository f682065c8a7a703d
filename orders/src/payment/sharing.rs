//! Shares of a payment for others than the shop (profit sharing), as sums: pure.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::float_arithmetic)]

use super::Number;

/// The most of a payment that may be shared unless the account says otherwise, in parts per million
/// (30 %) (D).
pub const RATIO_PPM_DEFAULT: u32 = 300_000;
/// How long money is frozen for sharing (D). What is not shared by then is the shop's.
pub const FROZEN_MS_MAX: u64 = 30 * 86_400_000;
/// Before the end of the freeze: time to try again.
pub const FROZEN_MARGIN_MS: u64 = 2 * 86_400_000;

/// Most receivers of one request (D).
pub const RECEIVERS_MAX: usize = 50;

/// A share of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The receiver's id at the provider.
    pub receiver: String,
    /// In minor units, above nothing.
    pub amount: i64,
}

/// Shares that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SharingError {
    /// More receivers than one request takes.
    #[error("at most {RECEIVERS_MAX} receivers in one request: use several, the last with the rest")]
    TooMany,
    /// A share of nothing, or of less.
    #[error("each share is at least one minor unit")]
    Nothing,
    /// The total is above the cap.
    #[error("shares come to more than {cap} minor units, the account's part of the payment")]
    AboveCap {
        /// What may be shared in all.
        cap: i64,
    },
}

/// What of a payment may be shared in all: rounded down, in the payer's favour.
#[must_use]
pub fn cap(paid: i64, ratio_ppm: u32) -> i64 {
    let part = i128::from(paid.max(0)).saturating_mul(i128::from(ratio_ppm)).checked_div(1_000_000);
    part.and_then(|part| i64::try_from(part).ok()).unwrap_or(paid).min(paid.max(0))
}

/// What stays with the shop after these shares, to be unfrozen with the last of them.
///
/// # Errors
///
/// [`SharingError`].
pub fn remainder(paid: i64, ratio_ppm: u32, shares: &[Share]) -> Result<i64, SharingError> {
    let cap = cap(paid, ratio_ppm);
    if shares.len() > RECEIVERS_MAX {
        return Err(SharingError::TooMany);
    }
    let mut total: i64 = 0;
    for share in shares {
        if share.amount < 1 {
            return Err(SharingError::Nothing);
        }
        total = total.checked_add(share.amount).filter(|total| *total <= cap).ok_or(SharingError::AboveCap { cap })?;
    }
    paid.checked_sub(total).ok_or(SharingError::AboveCap { cap })
}

/// When the shares of a payment are to be settled at the latest: shared, or unfrozen.
#[must_use]
pub fn settle_by_ms(paid_ms: u64) -> u64 {
    paid_ms.saturating_add(FROZEN_MS_MAX).saturating_sub(FROZEN_MARGIN_MS)
}

/// What is given back by a receiver before a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiveBack {
    /// The receiver's id at the provider.
    pub receiver: String,
    /// In minor units.
    pub amount: i64,
}

/// What the receivers give back before a payment of `paid`, of which `refunded` has gone back, is
/// refunded by `refund` more: so much that what they keep is within the cap of what stays paid. The
/// last to be given is the first to give back.
#[must_use]
pub fn before_refund(paid: i64, refunded: i64, refund: i64, ratio_ppm: u32, shares: &[Share]) -> Vec<GiveBack> {
    let stays = paid.saturating_sub(refunded).saturating_sub(refund).max(0);
    let held: i64 = shares.iter().fold(0, |total, share| total.saturating_add(share.amount));
    let mut due = held.saturating_sub(cap(stays, ratio_ppm)).max(0);
    let mut back = Vec::new();
    for share in shares.iter().rev() {
        let amount = share.amount.min(due);
        if amount > 0 {
            due = due.saturating_sub(amount);
            back.push(GiveBack { receiver: share.receiver.clone(), amount });
        }
    }
    back
}

/// A request to share, under a number of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharingOrder {
    /// The same on every repetition.
    pub sharing_number: Number,
    /// The provider's number of the payment.
    pub provider_number: String,
    /// To whom, how much.
    pub shares: Vec<Share>,
    /// Whether the rest is the shop's now.
    pub is_last: bool,
}

//! Amounts as providers write them, `88.88`, to minor units and back. Exact, or refused.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::float_arithmetic)]

use domain::money::{AMOUNT_MAX, Money};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount is digits with at most {decimals} behind the point, such as 88.88, and at most 2^53 - 1 units")]
pub struct InvalidAmount {
    decimals: u8,
}

/// An amount in units of `10^-decimals`: `parse("88.8", 2)` is 8880. A sign `-` may stand before
/// it.
///
/// # Errors
///
/// For any other spelling: a plus, blanks, an exponent, digits that would be lost, too much money.
pub fn parse(text: &str, decimals: u8) -> Result<i64, InvalidAmount> {
    exact(text, decimals).ok_or(InvalidAmount { decimals })
}

fn exact(text: &str, decimals: u8) -> Option<i64> {
    let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(whole) || !are_digits(part) {
        return None;
    }
    let places = usize::from(decimals);
    // Digits behind the last place are taken where they say nothing: `0.05940` by 4 places.
    let (kept, lost) = part.split_at(part.len().min(places));
    if lost.bytes().any(|byte| byte != b'0') {
        return None;
    }
    let value: i64 = format!("{whole}{kept:0<places$}").parse().ok()?;
    let fits = value <= AMOUNT_MAX;
    fits.then_some(if is_negative { value.checked_neg()? } else { value })
}

/// The inverse of [`parse`], with all places: `write(8880, 2)` is `88.80`.
#[must_use]
pub fn write(amount: i64, decimals: u8) -> String {
    let places = usize::from(decimals);
    let sign = if amount < 0 { "-" } else { "" };
    // At least one digit stands before the point.
    let digits = format!("{:0>width$}", amount.unsigned_abs(), width = places.saturating_add(1));
    let (whole, part) = digits.split_at(digits.len().saturating_sub(places));
    if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

/// Money between two of our own programs, as JSON.
#[derive(Serialize, Deserialize)]
struct Written {
    amount: i64,
    currency: String,
}

impl From<Money> for Written {
    fn from(money: Money) -> Self {
        Self { amount: money.amount, currency: money.currency.as_str().to_owned() }
    }
}

impl Written {
    fn read<E: serde::de::Error>(self) -> Result<Money, E> {
        Ok(Money { amount: self.amount, currency: self.currency.parse().map_err(E::custom)? })
    }
}

/// For `#[serde(with)]`.
pub(super) fn serialize<S: Serializer>(money: &Money, serializer: S) -> Result<S::Ok, S::Error> {
    Written::from(*money).serialize(serializer)
}

/// For `#[serde(with)]`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
    Written::deserialize(deserializer)?.read()
}

/// The same of money that may be absent.
pub(super) mod optional {
    use super::*;

    pub(in crate::payment) fn serialize<S: Serializer>(money: &Option<Money>, to: S) -> Result<S::Ok, S::Error> {
        money.map(Written::from).serialize(to)
    }

    pub(in crate::payment) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Money>, D::Error> {
        Option::<Written>::deserialize(from)?.map(Written::read).transpose()
    }
}

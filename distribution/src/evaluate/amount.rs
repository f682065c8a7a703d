//! Arithmetic on amounts: 128 bits between, rounded down, remainders given to the largest.
#![deny(clippy::as_conversions, clippy::float_arithmetic)]

use domain::money::AMOUNT_MAX;

use super::{EvaluateError, Frozen};
use crate::plan::{ONE, Value};

/// `base · ppm / 1,000,000`, rounded down; `None` beyond 64 bits.
pub fn part(base: i64, ppm: i64) -> Option<i64> {
    i64::try_from((i128::from(base) * i128::from(ppm)).div_euclid(i128::from(ONE))).ok()
}

/// Divides a total by weights: rounded down, and the rest one unit each to the largest remainders,
/// of equal ones to the first. The shares sum to the total when any weight is positive.
pub fn divide(total: i64, weights: &[i64]) -> Vec<i64> {
    let all: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
    if all <= 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: i64| i128::from(total) * i128::from(weight);
    let mut shares: Vec<i64> =
        weights.iter().map(|weight| i64::try_from(exact(*weight).div_euclid(all)).unwrap_or(0)).collect();
    let mut rest = i128::from(total) - shares.iter().map(|share| i128::from(*share)).sum::<i128>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(exact(weights[*i]).rem_euclid(all)));
    for i in order {
        if rest > 0 {
            shares[i] += 1;
            rest -= 1;
        }
    }
    shares
}

impl Frozen {
    /// What a value comes to. Once all money is back, fixed amounts are zero too.
    pub(super) fn amount(&self, rule: &str, value: Value, base: i64) -> Result<i64, EvaluateError> {
        let gone = self.net > 0 && self.left() == 0;
        let amount = match value {
            Value::Ppm(ppm) => part(base, ppm),
            Value::Each(_) | Value::Fixed(_) if gone => Some(0),
            Value::Each(amount) => amount.checked_mul(self.quantity - self.returned),
            Value::Fixed(amount) => Some(amount),
        };
        amount.filter(|amount| *amount <= AMOUNT_MAX).ok_or_else(|| EvaluateError::Overflow(rule.to_owned()))
    }
}

//! Money in minor units. No floats, no silent overflow.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::float_arithmetic)]

mod iso4217;

use std::{fmt, str::FromStr};

/// The largest amount that every reader of JSON reads exactly, 2^53 - 1: a browser's numbers are
/// doubles.
pub const AMOUNT_MAX: i64 = (1 << 53) - 1;

/// Three capital letters, as rows and records store them. Whether ISO 4217 knows them says
/// [`Currency::decimals`]; a sale is refused with a code that it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

/// A text that is no currency code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a currency is three capital letters, such as CNY")]
pub struct InvalidCurrency;

impl FromStr for Currency {
    type Err = InvalidCurrency;
    fn from_str(text: &str) -> Result<Self, InvalidCurrency> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(InvalidCurrency),
        }
    }
}

impl Currency {
    /// The three letters of ISO 4217.
    pub fn as_str(&self) -> &str {
        // Always ASCII by construction.
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// Decimal places of its minor unit by ISO 4217: 2 of CNY, 0 of JPY, 3 of KWD. `None` for a
    /// code that is not active there, or that has no minor unit, such as gold.
    pub fn decimals(&self) -> Option<u8> {
        iso4217::decimals(self.as_str())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount in minor units (fen, cents) of one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    /// In minor units, such as cents.
    pub amount: i64,
    /// The currency that the minor units are of.
    pub currency: Currency,
}

impl Money {
    /// Price times quantity; `None` on overflow.
    pub fn times(self, quantity: u32) -> Option<Self> {
        self.amount.checked_mul(i64::from(quantity)).map(|amount| Self { amount, ..self })
    }
}

/// As people read it: `199.00 CNY`, `100 JPY`, `1.250 KWD`. Of a currency whose minor unit is not
/// known the bare number, and that it counts minor units.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(decimals) = self.currency.decimals().map(usize::from) else {
            return write!(f, "{} {} (minor units)", self.amount, self.currency);
        };
        if decimals == 0 {
            return write!(f, "{} {}", self.amount, self.currency);
        }
        let sign = if self.amount < 0 { "-" } else { "" };
        // At least one digit stands before the point.
        let digits = format!("{:0>width$}", self.amount.unsigned_abs(), width = decimals.saturating_add(1));
        let (whole, part) = digits.split_at(digits.len().saturating_sub(decimals));
        write!(f, "{sign}{whole}.{part} {}", self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(amount: i64, currency: &str) -> Money {
        Money { amount, currency: currency.parse().unwrap() }
    }

    #[test]
    fn times_refuses_to_overflow() {
        let price = money(19_900, "CNY");
        assert_eq!(price.times(3).unwrap().amount, 59_700);
        assert_eq!(Money { amount: i64::MAX, ..price }.times(2), None);
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        for bad in ["", "cny", "CN", "CNYY", "C1Y", "元"] {
            assert!(bad.parse::<Currency>().is_err(), "{bad:?}");
        }
    }

    /// Money is shown in the minor unit of its own currency, whatever its size and sign.
    #[test]
    fn money_is_shown_by_the_minor_unit_of_its_currency() {
        let shown = [
            (19_900, "CNY", "199.00 CNY"),
            (5, "USD", "0.05 USD"),
            (0, "EUR", "0.00 EUR"),
            (-1_050, "EUR", "-10.50 EUR"),
            (100, "JPY", "100 JPY"),
            (-7, "KRW", "-7 KRW"),
            (1_250, "KWD", "1.250 KWD"),
            (12_345, "CLF", "1.2345 CLF"),
            (i64::MIN, "CNY", "-92233720368547758.08 CNY"),
            (100, "ZZZ", "100 ZZZ (minor units)"),
        ];
        for (amount, currency, expected) in shown {
            assert_eq!(money(amount, currency).to_string(), expected);
        }
    }
}

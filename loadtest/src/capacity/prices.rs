//! What machines cost, by a file of whoever pays: the program knows no prices.

use serde::{Deserialize, Serialize};

/// A file of prices, with every key explained.
pub const EXAMPLE: &str = include_str!("prices.toml");

/// Prices in minor units of one currency.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Three capital letters.
    pub currency: String,
    /// For how many hours the machines are kept.
    pub hours: u64,
    /// A machine for an hour, of the cores and the memory that the plan was asked for.
    pub machine_hour: u64,
    /// A GiB that leaves towards buyers.
    pub traffic_gib: u64,
}

/// What the plan costs, in minor units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// The prices' currency.
    pub currency: String,
    /// For so many hours.
    pub hours: u64,
    /// All machines, for all hours.
    pub machines: u128,
    /// What leaves towards buyers, at the peak for all hours: no sale takes more.
    pub traffic_at_most: u128,
}

impl Prices {
    /// Reads a file of prices.
    ///
    /// # Errors
    /// Every member that is wrong, a line each; the first one alone where the text is no TOML.
    pub fn parse(text: &str) -> Result<Self, String> {
        let prices: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let is_currency =
            prices.currency.len() == 3 && prices.currency.bytes().all(|letter| letter.is_ascii_uppercase());
        let ranges = [
            ("hours", prices.hours, 1, 8_784),
            ("machine_hour", prices.machine_hour, 1, 1_000_000_000),
            ("traffic_gib", prices.traffic_gib, 0, 1_000_000_000),
        ];
        let mut flaws: Vec<String> = ranges
            .iter()
            .filter(|(_, value, low, high)| !(low..=high).contains(&value))
            .map(|(key, value, low, high)| format!("{key} = {value}: give {low} to {high}"))
            .collect();
        if !is_currency {
            flaws.push(format!("currency = \"{}\": give three capital letters, such as CNY", prices.currency));
        }
        if flaws.is_empty() { Ok(prices) } else { Err(flaws.join("\n")) }
    }

    /// What so many machines cost, and so many bytes a second towards buyers.
    pub(super) fn of(&self, machines: u64, bytes_per_s: u64) -> Cost {
        let hours = u128::from(self.hours);
        let gib = (u128::from(bytes_per_s) * hours * 3_600).div_ceil(1 << 30);
        Cost {
            currency: self.currency.clone(),
            hours: self.hours,
            machines: u128::from(machines) * hours * u128::from(self.machine_hour),
            traffic_at_most: gib * u128::from(self.traffic_gib),
        }
    }
}

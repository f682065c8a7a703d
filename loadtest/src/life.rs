//! The life of orders: what buyers do once they have bought, as data; how each does it, over the
//! real routes and at the simulated bank; and whether money, rows and units agree afterwards.

mod buyer;
mod judge;
#[cfg(test)]
mod tests;

pub(crate) use buyer::{Shop, Told, pay_late, visit};
pub(crate) use judge::{Accounts, Statement, judge};
pub use judge::{Books, Judgement};

/// Seconds in which a buyer has to pay: the least that a sale may have.
pub const PAY_WITHIN_S: u32 = 60;
/// A forged notice goes with one of so many payments.
pub const FORGED_EVERY: u32 = 100;
/// Prime to every sum of weights: buyers of one fate come among those of the others.
const STRIDE: u64 = 37;

/// What a buyer does once he has bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// Opens a payment, and pays.
    Pays,
    /// Opens a payment, lets its time pass, and pays then.
    PaysLate,
    /// Buys only to hold: never asks how to pay.
    Hoards,
    /// Forgets to pay.
    Lapses,
    /// Opens a payment, and forgets to pay.
    LapsesOpen,
    /// Cancels.
    Cancels,
    /// Opens a payment, and cancels.
    CancelsOpen,
}

impl Fate {
    /// In words, for reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pays => "pays",
            Self::PaysLate => "pays late",
            Self::Hoards => "hoards",
            Self::Lapses => "forgets to pay",
            Self::LapsesOpen => "opens a payment and forgets it",
            Self::Cancels => "cancels",
            Self::CancelsOpen => "opens a payment and cancels",
        }
    }

    const fn opens(self) -> bool {
        matches!(self, Self::Pays | Self::PaysLate | Self::LapsesOpen | Self::CancelsOpen)
    }

    const fn cancels(self) -> bool {
        matches!(self, Self::Cancels | Self::CancelsOpen)
    }
}

/// Who does what: the buyers of a part in their order, dealt out by weights.
#[derive(Debug, Clone, Copy)]
pub struct Fates(pub &'static [(Fate, u32)]);

impl Fates {
    fn sum(self) -> u64 {
        self.0.iter().map(|(_, weight)| u64::from(*weight)).sum::<u64>().max(1)
    }

    /// What the buyer at this place of the part does.
    pub fn of(self, place: u32) -> Fate {
        let mut slot = u64::from(place) * STRIDE % self.sum();
        for (fate, weight) in self.0 {
            match slot.checked_sub(u64::from(*weight)) {
                Some(rest) => slot = rest,
                None => return *fate,
            }
        }
        Fate::Hoards
    }

    /// Whether a forged notice goes with the payment of the buyer at this place.
    pub fn is_forged(self, place: u32) -> bool {
        self.of(place) == Fate::Pays && self.before(place).is_multiple_of(u64::from(FORGED_EVERY))
    }

    /// How many before this place pay.
    fn before(self, place: u32) -> u64 {
        let (sum, place) = (self.sum(), u64::from(place));
        let weight = self.0.iter().find(|(fate, _)| *fate == Fate::Pays).map_or(0, |(_, weight)| u64::from(*weight));
        let first = place / sum * sum;
        let here = (first..place).filter(|place| self.of(*place as u32) == Fate::Pays).count();
        place / sum * weight + here as u64
    }
}

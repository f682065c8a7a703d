//! What must always hold: the invariants by their ids, so that tests, metrics and documents name
//! them from one source. It checks nothing; the audit that compares the stores at rest is the load
//! test's.

use std::fmt;

/// An invariant of the flash sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// No offer is oversold.
    Inv1,
    /// No buyer passes the limit.
    Inv2,
    /// No order is lost, none doubled.
    Inv3,
    /// No unit leaks.
    Inv4,
    /// One key, one order.
    Inv5,
    /// Commissions sum exactly.
    Inv6,
    /// Tenants are apart.
    Inv7,
}

impl Invariant {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [Self::Inv1, Self::Inv2, Self::Inv3, Self::Inv4, Self::Inv5, Self::Inv6, Self::Inv7];

    /// Its stable name, as documents, alerts and test failures write it.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Inv1 => "INV-1",
            Self::Inv2 => "INV-2",
            Self::Inv3 => "INV-3",
            Self::Inv4 => "INV-4",
            Self::Inv5 => "INV-5",
            Self::Inv6 => "INV-6",
            Self::Inv7 => "INV-7",
        }
    }

    /// What holds, in one sentence.
    pub const fn statement(self) -> &'static str {
        match self {
            Self::Inv1 => "Per offer, units in live orders never pass the allotment, at any moment, in the database.",
            Self::Inv2 => "Per buyer and lane, live units never pass the limit.",
            Self::Inv3 => {
                "An accepted order gets exactly one row, eventually, and never two; it is rejected only if Redis lost this very \
                 reservation, or the log and Redis together."
            }
            Self::Inv4 => {
                "At rest (log drained, journal empty) allotment minus units left, units sold and live units are the same, and \
                 buyers' entries are the live rows."
            }
            Self::Inv5 => {
                "The same buyer, offer and idempotency key give the same order id, unless Redis lost the reservation undecided; \
                 two accepted orders for one key never exist."
            }
            Self::Inv6 => {
                "The parts of a commission sum exactly, each posting stands once, and the ledger sums to zero."
            }
            Self::Inv7 => "No read and no write crosses a tenant.",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id(), self.statement())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Documents and alerts find an invariant by its id: ids count from 1 without a gap, and each
    /// says one sentence.
    #[test]
    fn every_invariant_has_its_number_and_one_sentence() {
        for (number, invariant) in (1..).zip(Invariant::ALL) {
            assert_eq!(invariant.id(), format!("INV-{number}"));
            let statement = invariant.statement();
            assert!(statement.ends_with('.') && !statement.trim_end_matches('.').contains(". "), "{statement}");
        }
    }
}

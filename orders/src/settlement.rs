//! A provider's bill beside our payments and refunds: pure. Each difference is listed, and the
//! totals add up to them.

/// Lines of text in the two encodings that bills come in.
mod text;

/// The trade bill of WeChat Pay.
pub mod wechat;

/// The trade bill of Alipay.
pub mod alipay;

use std::collections::BTreeMap;

/// What moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// From a buyer to the shop.
    Payment,
    /// Back.
    Refund,
}

/// One movement of money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which way.
    pub kind: Kind,
    /// Our number: of the attempt, or of the refund.
    pub number: String,
    /// The provider's number of the payment; empty where we have none.
    pub provider_number: String,
    /// In minor units, above nothing whichever way.
    pub amount: i64,
}

/// A bill.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bill {
    /// Its lines.
    pub entries: Vec<Entry>,
    /// What the provider keeps of them, in hundred-thousandths of the currency's unit: WeChat
    /// writes fees with five places. What is given back is negative.
    pub fees_e5: i64,
}

/// A bill that cannot be taken: the whole of it, because totals of a part say nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BillError {
    /// There is no such column.
    #[error("the bill has no column {0}: import a trade bill, all kinds of trades, as it was downloaded")]
    NoColumn(&'static str),
    /// A line has fewer or more fields than the head.
    #[error("line {0} has other fields than the first line")]
    Fields(usize),
    /// A field is no amount.
    #[error("line {0}: {1} is no amount")]
    Amount(usize, &'static str),
    /// A word that says which way the money went is not known.
    #[error("line {0}: the kind of trade is not known")]
    Kind(usize),
    /// The bill ends before its totals.
    #[error("the bill has no totals at its end: download it again")]
    CutOff,
    /// The lines do not come to the totals that the bill itself states.
    #[error("the bill states {stated} for {of}, and its lines come to {counted}: download it again")]
    Totals {
        /// Of what.
        of: &'static str,
        /// By the bill.
        stated: i64,
        /// By its lines.
        counted: i64,
    },
    /// More than a number can hold.
    #[error("the amounts of the bill come to more than can be counted")]
    TooLarge,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Difference {
    /// The bill has it, and we do not.
    MissingHere {
        /// By the bill.
        theirs: i64,
    },
    /// We have it, and the bill does not.
    MissingThere {
        /// By us.
        ours: i64,
    },
    /// Both have it, with other amounts. The bill's is the sum where it lists it twice.
    AmountDiffers {
        /// By us.
        ours: i64,
        /// By the bill.
        theirs: i64,
    },
}

impl Difference {
    /// What the bill has more than we, in minor units.
    fn excess(self) -> i128 {
        match self {
            Self::MissingHere { theirs } => theirs.into(),
            Self::MissingThere { ours } => -i128::from(ours),
            Self::AmountDiffers { ours, theirs } => i128::from(theirs) - i128::from(ours),
        }
    }
}

/// A difference, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Which way.
    pub kind: Kind,
    /// Our number.
    pub number: String,
    /// The provider's, where one side has it.
    pub provider_number: String,
    /// What differs.
    pub difference: Difference,
}

/// Sums of one side, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Payments.
    pub received: i128,
    /// Refunds.
    pub refunded: i128,
}

/// A bill and our books, compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// By us.
    pub ours: Totals,
    /// By the bill.
    pub theirs: Totals,
    /// One by one: payments first, by our numbers.
    pub differences: Vec<Listed>,
}

impl Report {
    /// What the provider has more than we, received less refunded: nothing when all agrees.
    #[must_use]
    pub const fn difference(&self) -> i128 {
        (self.theirs.received - self.theirs.refunded) - (self.ours.received - self.ours.refunded)
    }

    /// Whether the listed differences explain the totals, as they must.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        let listed = |kind: Kind| -> i128 {
            self.differences.iter().filter(|listed| listed.kind == kind).map(|listed| listed.difference.excess()).sum()
        };
        self.theirs.received - self.ours.received == listed(Kind::Payment)
            && self.theirs.refunded - self.ours.refunded == listed(Kind::Refund)
    }
}

/// What both sides say of one number.
#[derive(Default)]
struct Sides<'a> {
    ours: Option<i64>,
    theirs: Option<i64>,
    provider_number: &'a str,
}

/// Compares a bill with what we booked for the same account and day.
///
/// # Errors
///
/// [`BillError::TooLarge`] where the entries of one number come to too much.
pub fn compare(ours: &[Entry], bill: &[Entry]) -> Result<Report, BillError> {
    let mut sides: BTreeMap<(Kind, &str), Sides<'_>> = BTreeMap::new();
    let mut totals = [Totals::default(); 2];
    for (side, entries) in [ours, bill].into_iter().enumerate() {
        for entry in entries {
            let both = sides.entry((entry.kind, entry.number.as_str())).or_default();
            let sum = if side == 0 { &mut both.ours } else { &mut both.theirs };
            *sum = Some(sum.unwrap_or(0).checked_add(entry.amount).ok_or(BillError::TooLarge)?);
            if !entry.provider_number.is_empty() {
                both.provider_number = &entry.provider_number;
            }
            match entry.kind {
                Kind::Payment => totals[side].received += i128::from(entry.amount),
                Kind::Refund => totals[side].refunded += i128::from(entry.amount),
            }
        }
    }
    let differences = sides.iter().filter_map(|((kind, number), both)| {
        let difference = match (both.ours, both.theirs) {
            (Some(ours), Some(theirs)) if ours != theirs => Difference::AmountDiffers { ours, theirs },
            (Some(ours), None) => Difference::MissingThere { ours },
            (None, Some(theirs)) => Difference::MissingHere { theirs },
            _ => return None,
        };
        let (number, provider_number) = ((*number).to_owned(), both.provider_number.to_owned());
        Some(Listed { kind: *kind, number, provider_number, difference })
    });
    Ok(Report { ours: totals[0], theirs: totals[1], differences: differences.collect() })
}

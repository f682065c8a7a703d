//! Double entry over the money of commissions. An entry sums to zero or does not come to be; a key
//! is posted once; balances are the fold of entries; closed days hang together by hashes.

mod chain;
mod written;

use std::collections::{BTreeMap, BTreeSet};

pub use chain::{Closed, close_day, day_bytes, verify_days};

use crate::evaluate::Key;

/// Where money stands. Credits are positive: what is owed to people, debits negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// The merchant's cost of commissions.
    Expense,
    /// Earned, may still be taken back.
    Pending(u64),
    /// Can be withdrawn.
    Available(u64),
    /// Reserved for a withdrawal.
    Withdrawing(u64),
    /// Out to the person.
    Paid(u64),
    /// What the person owes after a late refund: never positive.
    Receivable(u64),
    /// Fees of channels.
    Fee,
    /// Tax withheld.
    Tax,
    /// What no one gets.
    Breakage,
    /// Collected for a pool and not yet divided.
    Pool,
}

/// Who caused an entry, once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A payout, or its change by an event.
    Payout(Key),
    /// A payout matured.
    Mature(Key),
    /// A step of a withdrawal: its id and the step.
    Withdrawal(u64, Step),
    /// A correction by a person with a reason, by its id.
    Adjustment(u64),
    /// The closing of a pool's period, by its id.
    Closing(u64),
}

/// Steps of a withdrawal that move money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Available to withdrawing.
    Reserve,
    /// Withdrawing to paid, fee and tax.
    Pay,
    /// Withdrawing back to available.
    Return,
}

/// Lines that sum to zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    cause: Cause,
    lines: Vec<(Account, i64)>,
}

/// Why an entry is not posted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The lines do not sum to zero.
    #[error("the lines sum to {0}: an entry takes from one account what it gives to another")]
    Sum(i128),
    /// A balance leaves its range.
    #[error("the balance of {0:?} does not fit 64 bits: refuse the event where it comes in")]
    Overflow(Account),
    /// An account would go below what it may.
    #[error("{account:?} has {has}, the entry takes {takes}: ask for at most the balance")]
    Short {
        /// Which.
        account: Account,
        /// Balance, minor units.
        has: i64,
        /// Wanted, minor units.
        takes: i64,
    },
}

impl Entry {
    /// An entry; lines of one account are joined, zeros dropped.
    ///
    /// # Errors
    /// [`LedgerError::Sum`], and [`LedgerError::Overflow`] of a joined line.
    pub fn new(cause: Cause, lines: &[(Account, i64)]) -> Result<Self, LedgerError> {
        let sum: i128 = lines.iter().map(|(_, amount)| i128::from(*amount)).sum();
        if sum != 0 {
            return Err(LedgerError::Sum(sum));
        }
        let mut joined: BTreeMap<Account, i64> = BTreeMap::new();
        for (account, amount) in lines {
            let line = joined.entry(*account).or_default();
            *line = line.checked_add(*amount).ok_or(LedgerError::Overflow(*account))?;
        }
        Ok(Self { cause, lines: joined.into_iter().filter(|(_, amount)| *amount != 0).collect() })
    }

    /// Who caused it.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Its lines by account, minor units.
    pub fn lines(&self) -> &[(Account, i64)] {
        &self.lines
    }
}

/// Balances and the causes posted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    balances: BTreeMap<Account, i64>,
    posted: BTreeSet<Cause>,
}

impl Ledger {
    /// A ledger that goes on from these balances; who keeps them knows which causes are posted.
    pub fn from_balances(balances: BTreeMap<Account, i64>) -> Self {
        Self { balances, posted: BTreeSet::new() }
    }

    /// The balance, minor units.
    pub fn balance(&self, account: Account) -> i64 {
        self.balances.get(&account).copied().unwrap_or(0)
    }

    /// All balances.
    pub fn balances(&self) -> &BTreeMap<Account, i64> {
        &self.balances
    }

    /// Whether a cause is posted.
    pub fn has(&self, cause: &Cause) -> bool {
        self.posted.contains(cause)
    }

    /// Posts an entry; `false` when its cause is posted already.
    ///
    /// # Errors
    /// [`LedgerError::Short`] and [`LedgerError::Overflow`]; nothing has changed then.
    pub fn post(&mut self, entry: &Entry) -> Result<bool, LedgerError> {
        if self.has(&entry.cause) {
            return Ok(false);
        }
        let mut changed = Vec::with_capacity(entry.lines.len());
        for (account, amount) in &entry.lines {
            let has = self.balance(*account);
            let next = has.checked_add(*amount).ok_or(LedgerError::Overflow(*account))?;
            let held = match account {
                Account::Pending(_) | Account::Available(_) | Account::Withdrawing(_) | Account::Pool => next < 0,
                Account::Receivable(_) => next > 0,
                _ => false,
            };
            if held {
                return Err(LedgerError::Short { account: *account, has, takes: amount.saturating_neg() });
            }
            changed.push((*account, next));
        }
        self.balances.extend(changed);
        self.posted.insert(entry.cause.clone());
        Ok(true)
    }

    /// A payout, or its change by a refund. What is earned first pays what the person owes; what is
    /// taken back comes from pending, then available, and the rest becomes a receivable.
    ///
    /// # Errors
    /// As [`Entry::new`].
    pub fn payout(&self, key: Key, delta: i64) -> Result<Entry, LedgerError> {
        let mut lines = vec![(Account::Expense, delta.checked_neg().ok_or(LedgerError::Overflow(Account::Expense))?)];
        match key.to.beneficiary {
            None => lines.push((Account::Breakage, delta)),
            Some(id) if delta >= 0 => {
                let owed = self.balance(Account::Receivable(id)).saturating_neg().clamp(0, delta);
                lines.push((Account::Receivable(id), owed));
                lines.push((Account::Pending(id), delta - owed));
            }
            Some(id) => {
                let mut rest = delta.saturating_neg();
                for account in [Account::Pending(id), Account::Available(id)] {
                    let taken = self.balance(account).clamp(0, rest);
                    lines.push((account, -taken));
                    rest -= taken;
                }
                lines.push((Account::Receivable(id), -rest));
            }
        }
        Entry::new(Cause::Payout(key), &lines)
    }

    /// Up to `amount` of what is pending becomes available: less when refunds took it back.
    ///
    /// # Errors
    /// As [`Entry::new`].
    pub fn mature(&self, key: Key, person: u64, amount: i64) -> Result<Entry, LedgerError> {
        let moved = self.balance(Account::Pending(person)).clamp(0, amount.max(0));
        Entry::new(Cause::Mature(key), &[(Account::Pending(person), -moved), (Account::Available(person), moved)])
    }

    /// A person of the shop gives so much, or takes it where it is negative. What is given first
    /// pays what the person owes; what is taken comes from available, then pending, and the rest is
    /// owed.
    ///
    /// # Errors
    /// As [`Entry::new`].
    pub fn adjust(&self, id: u64, person: u64, amount: i64) -> Result<Entry, LedgerError> {
        let expense = amount.checked_neg().ok_or(LedgerError::Overflow(Account::Expense))?;
        let owed = self.balance(Account::Receivable(person)).saturating_neg().clamp(0, amount.max(0));
        let mut rest = amount - owed;
        let mut lines = vec![(Account::Expense, expense), (Account::Receivable(person), owed)];
        for account in [Account::Available(person), Account::Pending(person)] {
            let taken = self.balance(account).clamp(0, expense.max(0));
            let moved = rest.max(-taken);
            lines.push((account, moved));
            rest -= moved;
        }
        lines.push((Account::Receivable(person), rest));
        Entry::new(Cause::Adjustment(id), &lines)
    }

    /// A withdrawal's money is set aside; [`Ledger::post`] refuses more than is available.
    ///
    /// # Errors
    /// As [`Entry::new`].
    pub fn reserve(withdrawal: u64, person: u64, amount: i64) -> Result<Entry, LedgerError> {
        let lines = [(Account::Available(person), amount.saturating_neg()), (Account::Withdrawing(person), amount)];
        Entry::new(Cause::Withdrawal(withdrawal, Step::Reserve), &lines)
    }

    /// It went out: to the person, the channel and the tax office.
    ///
    /// # Errors
    /// As [`Entry::new`].
    pub fn pay(withdrawal: u64, person: u64, amount: i64, fee: i64, tax: i64) -> Result<Entry, LedgerError> {
        let out = amount.saturating_sub(fee).saturating_sub(tax);
        let lines = [
            (Account::Withdrawing(person), amount.saturating_neg()),
            (Account::Paid(person), out),
            (Account::Fee, fee),
            (Account::Tax, tax),
        ];
        Entry::new(Cause::Withdrawal(withdrawal, Step::Pay), &lines)
    }

    /// It failed for good: the money is available again, less what the person owes.
    ///
    /// # Errors
    /// As [`Entry::new`].
    pub fn give_back(&self, withdrawal: u64, person: u64, amount: i64) -> Result<Entry, LedgerError> {
        let owed = self.balance(Account::Receivable(person)).saturating_neg().clamp(0, amount.max(0));
        let lines = [
            (Account::Withdrawing(person), amount.saturating_neg()),
            (Account::Receivable(person), owed),
            (Account::Available(person), amount - owed),
        ];
        Entry::new(Cause::Withdrawal(withdrawal, Step::Return), &lines)
    }
}

//! An entry as its row, and back: the bytes of a stored entry are those of the one that was posted.

use store::sql::{Row, SqlError, Value, stored};

use super::{DAY_MS, owner_of};
use crate::{
    evaluate::{Key, To},
    ledger::{Account, Cause, Entry, Step},
};

/// The columns after the tenant.
pub(crate) const COLUMNS: &str = "subject, kind, sequence, rule_name, person, plan_name, plan_version, day_number, \
                                  at_ms, expense, pending, available, withdrawing, paid, receivable, fee, tax, \
                                  breakage, pool";

/// The columns after these that [`Note`] reads.
pub(crate) const NOTES: &str = "\
    (SELECT a.reason FROM adjustments a WHERE entries.kind = 4 AND a.tenant = entries.tenant AND a.adjustment = \
    entries.subject), (SELECT a.asked_by FROM adjustments a WHERE entries.kind = 4 AND a.tenant = entries.tenant AND \
    a.adjustment = entries.subject), (SELECT a.approved FROM adjustments a WHERE entries.kind = 4 AND a.tenant = \
    entries.tenant AND a.adjustment = entries.subject)";

/// Of an adjustment: why it was made, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Note {
    pub(crate) reason: Option<String>,
    /// Who asked for it, then who else approved it: `user:7`.
    pub(crate) by: Vec<String>,
}

impl Note {
    /// Reads [`NOTES`].
    pub(crate) fn read(row: &mut Row) -> Result<Self, SqlError> {
        let (reason, asked_by, approved) = (row.text_or_null()?, row.text_or_null()?, row.text_or_null()?);
        let mut by: Vec<String> = asked_by.into_iter().collect();
        let approved = approved.unwrap_or_default();
        for user in approved.split_whitespace().map(|user| format!("user:{user}")) {
            if !by.contains(&user) {
                by.push(user);
            }
        }
        Ok(Self { reason, by })
    }
}

/// What an entry is about, as its row tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Payout = 1,
    Mature = 2,
    Withdrawal = 3,
    Adjustment = 4,
    Closing = 5,
}

impl Kind {
    pub(crate) const fn stored(self) -> i64 {
        self as i64
    }

    pub(crate) fn read(number: i64) -> Option<Self> {
        [Self::Payout, Self::Mature, Self::Withdrawal, Self::Adjustment, Self::Closing]
            .into_iter()
            .find(|kind| kind.stored() == number)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Payout => "payout",
            Self::Mature => "mature",
            Self::Withdrawal => "withdrawal",
            Self::Adjustment => "adjustment",
            Self::Closing => "closing",
        }
    }
}

const STEPS: [Step; 3] = [Step::Reserve, Step::Pay, Step::Return];

/// An entry with what its row needs beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Posted {
    pub(crate) entry: Entry,
    pub(crate) kind: Kind,
    pub(crate) at_ms: u64,
}

impl Posted {
    pub(crate) fn of(entry: Entry) -> Self {
        let kind = match entry.cause() {
            Cause::Payout(_) => Kind::Payout,
            Cause::Mature(_) => Kind::Mature,
            Cause::Withdrawal(..) => Kind::Withdrawal,
            Cause::Adjustment(_) => Kind::Adjustment,
            Cause::Closing(_) => Kind::Closing,
        };
        Self { entry, kind, at_ms: 0 }
    }

    /// Whose accounts it moves.
    pub(crate) fn owner(&self) -> Option<u64> {
        owner_of(self.entry.cause(), &self.entry)
    }

    /// Its subject: an order, or the number of what caused it.
    pub(crate) fn subject(&self) -> u64 {
        match self.entry.cause() {
            Cause::Payout(key) | Cause::Mature(key) => key.line,
            Cause::Withdrawal(id, _) | Cause::Adjustment(id) | Cause::Closing(id) => *id,
        }
    }

    /// Sequence, rule, plan and its version.
    pub(crate) fn details(&self) -> (u64, &str, &str, u32) {
        match self.entry.cause() {
            Cause::Payout(key) | Cause::Mature(key) => (key.sequence, &key.to.rule, &key.plan, key.version),
            Cause::Withdrawal(_, step) => (*step as u64, "", "", 0),
            Cause::Adjustment(_) | Cause::Closing(_) => (0, "", "", 0),
        }
    }

    /// Its place among the entries of a day, as the query of the next page takes it.
    pub(crate) fn place(&self) -> Result<Vec<Value>, SqlError> {
        let (sequence, rule, ..) = self.details();
        let (subject, kind) = (Value::from(stored(self.subject())?), Value::from(self.kind.stored()));
        let (sequence, rule) = (Value::from(stored(sequence)?), Value::from(rule));
        let person = stored(self.owner().unwrap_or(0))?.into();
        let twice = |value: Value| [value.clone(), value];
        let mut place: Vec<Value> = [subject, kind, sequence, rule].into_iter().flat_map(twice).collect();
        place.push(person);
        Ok(place)
    }

    pub(super) fn push(&self, now_ms: u64, values: &mut Vec<Value>) -> Result<(), SqlError> {
        let (sequence, rule, plan, version) = self.details();
        values.extend([
            stored(self.subject())?.into(),
            self.kind.stored().into(),
            stored(sequence)?.into(),
            rule.into(),
            stored(self.owner().unwrap_or(0))?.into(),
            plan.into(),
            version.into(),
            stored(now_ms / DAY_MS)?.into(),
            stored(now_ms)?.into(),
        ]);
        values.extend(self.amounts().map(Value::from));
        Ok(())
    }

    /// What it moves, by account in the order of their columns.
    pub(crate) fn amounts(&self) -> [i64; 10] {
        let mut accounts = [0_i64; 10];
        for (account, amount) in self.entry.lines() {
            accounts[place(*account)] += amount;
        }
        accounts
    }

    /// Reads [`COLUMNS`].
    pub(crate) fn read(row: &mut Row) -> Result<Self, SqlError> {
        let subject = row.number()?;
        let kind = row.int_as("kind of entry", Kind::read)?;
        let (sequence, rule, person): (u64, _, u64) = (row.number()?, row.text()?, row.number()?);
        let (plan, version, _day, at_ms) = (row.text()?, row.number()?, row.int()?, row.number()?);
        let beneficiary = (person != 0).then_some(person);
        let key = || Key { plan, version, line: subject, sequence, to: To { rule, beneficiary } };
        let cause = match kind {
            Kind::Payout => Cause::Payout(key()),
            Kind::Mature => Cause::Mature(key()),
            Kind::Withdrawal => {
                let step = usize::try_from(sequence).ok().and_then(|at| STEPS.get(at)).copied();
                let unknown = || SqlError::Broken(format!("{sequence} is no step of a withdrawal").into());
                Cause::Withdrawal(subject, step.ok_or_else(unknown)?)
            }
            Kind::Adjustment => Cause::Adjustment(subject),
            Kind::Closing => Cause::Closing(subject),
        };
        let mut lines = Vec::with_capacity(10);
        for account in accounts(person) {
            lines.push((account, row.int()?));
        }
        let entry = Entry::new(cause, &lines).map_err(|error| SqlError::Broken(error.to_string().into()))?;
        Ok(Self { entry, kind, at_ms })
    }
}

/// The accounts in the order of their columns.
fn accounts(person: u64) -> [Account; 10] {
    use Account as A;
    [
        A::Expense,
        A::Pending(person),
        A::Available(person),
        A::Withdrawing(person),
        A::Paid(person),
        A::Receivable(person),
        A::Fee,
        A::Tax,
        A::Breakage,
        A::Pool,
    ]
}

fn place(account: Account) -> usize {
    match account {
        Account::Expense => 0,
        Account::Pending(_) => 1,
        Account::Available(_) => 2,
        Account::Withdrawing(_) => 3,
        Account::Paid(_) => 4,
        Account::Receivable(_) => 5,
        Account::Fee => 6,
        Account::Tax => 7,
        Account::Breakage => 8,
        Account::Pool => 9,
    }
}

//! The ledger as it is kept: what one transaction posts. Balances of people are sums of parts; a
//! payout adds a part and waits for nobody, whoever takes locks the person's row first. So nothing
//! is taken twice, and a distributor of whom thousands of payouts come each second is no hot row.

mod row;

use std::collections::{BTreeMap, BTreeSet};

use domain::id::TenantId;
use store::sql::{Fixed, Insert, Lock, Row, SqlError, Tx, Value, stored};

use crate::{
    evaluate::{Key, To},
    ledger::{Account, Cause, Entry, Ledger, LedgerError},
};

pub(crate) use row::{COLUMNS, Kind, NOTES, Note, Posted};

/// Milliseconds of a day of the ledger, in UTC.
pub(crate) const DAY_MS: u64 = 86_400_000;
/// Parts of a balance from which on they are folded into one.
const PARTS_MAX: usize = 64;
/// What all accounts of somebody hold together at most: half of the range, so that transactions
/// which do not see each other stay within all of it.
const BALANCE_MAX: i128 = 1 << 62;

/// A person of a tenant.
pub(crate) type Owner = (TenantId, u64);

/// What a person's accounts hold, minor units. `receivable` is what the person owes: at most zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Balance {
    /// Earned, may still be taken back.
    pub(crate) pending: i64,
    /// Can be withdrawn.
    pub(crate) available: i64,
    /// Reserved for withdrawals.
    pub(crate) withdrawing: i64,
    /// Paid out.
    pub(crate) paid: i64,
    /// Owed after late refunds.
    pub(crate) receivable: i64,
}

impl Balance {
    fn read(row: &mut Row) -> Result<Self, SqlError> {
        let (pending, available, withdrawing) = (row.int()?, row.int()?, row.int()?);
        Ok(Self { pending, available, withdrawing, paid: row.int()?, receivable: row.int()? })
    }

    fn accounts(&mut self, person: u64) -> [(Account, &mut i64); 5] {
        [
            (Account::Pending(person), &mut self.pending),
            (Account::Available(person), &mut self.available),
            (Account::Withdrawing(person), &mut self.withdrawing),
            (Account::Paid(person), &mut self.paid),
            (Account::Receivable(person), &mut self.receivable),
        ]
    }

    fn add(&mut self, other: Self) -> Result<(), SqlError> {
        let mut other = other;
        for ((_, sum), (account, more)) in self.accounts(0).into_iter().zip(other.accounts(0)) {
            *sum = sum.checked_add(*more).ok_or_else(|| broken(&LedgerError::Overflow(account)))?;
        }
        Ok(())
    }

    /// All of it, whichever side it stands on.
    fn values_abs(&self) -> i128 {
        let all = [self.pending, self.available, self.withdrawing, self.paid, self.receivable];
        all.iter().map(|amount| i128::from(*amount).abs()).sum()
    }

    fn values(&self) -> [Value; 5] {
        [self.pending, self.available, self.withdrawing, self.paid, self.receivable].map(Value::from)
    }
}

/// The statements, whose texts are made once.
#[derive(Debug)]
pub(crate) struct Texts {
    lock: Fixed,
    parts: Fixed,
    drop_parts: Fixed,
    insert_parts: Insert,
    insert_entries: Insert,
}

impl Default for Texts {
    fn default() -> Self {
        let parts = "tenant, person, part, pending, available, withdrawing, paid, receivable";
        let marks = ["?"; 20].join(", ");
        Self {
            lock: Fixed::new("SELECT person FROM people WHERE tenant = ? AND person IN ([?,]) ORDER BY person"),
            parts: Fixed::new(
                "SELECT person, part, pending, available, withdrawing, paid, receivable FROM sub_accounts \
                 WHERE tenant = ? AND person IN ([?,])",
            ),
            drop_parts: Fixed::new("DELETE FROM sub_accounts WHERE tenant = ? AND person = ? AND part IN ([?,])"),
            insert_parts: Insert::new(format!("INSERT INTO sub_accounts ({parts}) VALUES [(?, ?, ?, ?, ?, ?, ?, ?),]")),
            insert_entries: Insert::new(format!("INSERT INTO entries (tenant, {COLUMNS}) VALUES [({marks}),]")),
        }
    }
}

type Parts = BTreeMap<Owner, Vec<i64>>;

impl Texts {
    /// Balances of all of them, and of which parts each is the sum.
    async fn read_parts<T: Tx>(
        &self,
        tx: &mut T,
        owners: &BTreeSet<Owner>,
    ) -> Result<(BTreeMap<Owner, Balance>, Parts), SqlError> {
        let mut balances: BTreeMap<Owner, Balance> = owners.iter().map(|owner| (*owner, Balance::default())).collect();
        let mut parts = Parts::new();
        for (tenant, persons) in by_tenant(owners) {
            for (query, persons) in self.parts.padded(&persons) {
                for mut row in tx.rows(query, params(tenant, persons)?).await? {
                    let owner = (tenant, row.number()?);
                    parts.entry(owner).or_default().push(row.int()?);
                    balances.entry(owner).or_default().add(Balance::read(&mut row)?)?;
                }
            }
        }
        Ok((balances, parts))
    }
}

/// What a transaction posts: the balances that it goes on from, and what it adds to them.
#[derive(Debug)]
pub(crate) struct Book<'a> {
    texts: &'a Texts,
    ledgers: BTreeMap<TenantId, Ledger>,
    before: BTreeMap<Owner, Balance>,
    posted: Vec<(TenantId, Posted)>,
    /// People whose balances have many parts, and who are locked.
    to_fold: Vec<(Owner, Vec<i64>)>,
}

fn broken(error: &LedgerError) -> SqlError {
    SqlError::Broken(error.to_string().into())
}

impl<'a> Book<'a> {
    /// Reads the balances of these people. `takers`: those of them from whom something may be
    /// taken; their rows stay locked until the transaction ends, in the order of tenant and number.
    /// So do those of people who owe something, since a payout pays that first, and of people whose
    /// balance has many parts.
    pub(crate) async fn open<T: Tx>(
        texts: &'a Texts,
        tx: &mut T,
        people: &BTreeSet<Owner>,
        mut takers: BTreeSet<Owner>,
    ) -> Result<Self, SqlError> {
        let all: BTreeSet<Owner> = people.union(&takers).copied().collect();
        let mut locked = BTreeSet::new();
        loop {
            let to_lock: BTreeSet<Owner> = takers.difference(&locked).copied().collect();
            for (tenant, persons) in by_tenant(&to_lock) {
                for (query, persons) in texts.lock.padded(&persons) {
                    tx.lock_rows(query, params(tenant, persons)?, Lock::Wait).await?;
                }
            }
            locked.extend(to_lock);
            let (before, parts) = texts.read_parts(tx, &all).await?;
            let is_many = |owner: &Owner| parts.get(owner).is_some_and(|parts| parts.len() >= PARTS_MAX);
            let needs = before.iter().filter(|(owner, balance)| balance.receivable < 0 || is_many(owner));
            takers.extend(needs.map(|(owner, _)| *owner));
            if takers.is_subset(&locked) {
                let to_fold = parts.into_iter().filter(|(_, parts)| parts.len() >= PARTS_MAX).collect();
                return Ok(Self::on(texts, before, to_fold));
            }
        }
    }

    fn on(texts: &'a Texts, before: BTreeMap<Owner, Balance>, to_fold: Vec<(Owner, Vec<i64>)>) -> Self {
        let mut balances: BTreeMap<TenantId, BTreeMap<Account, i64>> = BTreeMap::new();
        for ((tenant, person), balance) in &before {
            let mut balance = *balance;
            let accounts = balance.accounts(*person).map(|(account, amount)| (account, *amount));
            balances.entry(*tenant).or_default().extend(accounts);
        }
        let ledgers = balances.into_iter().map(|(tenant, balances)| (tenant, Ledger::from_balances(balances)));
        Self { texts, ledgers: ledgers.collect(), before, posted: Vec::new(), to_fold }
    }

    /// What a person has, as far as this transaction knows.
    pub(crate) fn balance(&self, owner: Owner) -> Balance {
        let mut balance = self.before.get(&owner).copied().unwrap_or_default();
        if let Some(ledger) = self.ledgers.get(&owner.0) {
            for (account, amount) in balance.accounts(owner.1) {
                *amount = ledger.balance(account);
            }
        }
        balance
    }

    /// Whether all balances stay in their range when a line posts this, whichever accounts it
    /// moves.
    pub(crate) fn fits(&self, tenant: TenantId, deltas: &BTreeMap<To, i64>) -> bool {
        let Some(ledger) = self.ledgers.get(&tenant) else { return true };
        let size = |amount: i64| i128::from(amount).abs();
        let most = BALANCE_MAX - deltas.values().map(|delta| size(*delta)).sum::<i128>();
        let is_within = |person: Option<u64>| {
            let of = person.map(|person| self.balance((tenant, person)).values_abs());
            of.unwrap_or_else(|| size(ledger.balance(Account::Breakage))) <= most
        };
        size(ledger.balance(Account::Expense)) <= most && deltas.keys().all(|to| is_within(to.beneficiary))
    }

    /// A payout, or its change by a refund.
    pub(crate) fn payout(&mut self, tenant: TenantId, key: Key, delta: i64) -> Result<(), LedgerError> {
        let entry = self.ledgers.entry(tenant).or_default().payout(key, delta)?;
        self.post(tenant, entry).map(drop)
    }

    /// So much of what is pending becomes available, or what refunds left of it.
    pub(crate) fn mature(&mut self, tenant: TenantId, key: Key, person: u64, amount: i64) -> Result<(), LedgerError> {
        let entry = self.ledgers.entry(tenant).or_default().mature(key, person, amount)?;
        self.post(tenant, entry).map(drop)
    }

    /// A withdrawal's money comes back.
    pub(crate) fn give_back(&mut self, owner: Owner, withdrawal: u64, amount: i64) -> Result<(), LedgerError> {
        let entry = self.ledgers.entry(owner.0).or_default().give_back(withdrawal, owner.1, amount)?;
        self.post(owner.0, entry).map(drop)
    }

    /// A correction by the shop.
    pub(crate) fn adjust(&mut self, owner: Owner, number: u64, amount: i64) -> Result<(), LedgerError> {
        let entry = self.ledgers.entry(owner.0).or_default().adjust(number, owner.1, amount)?;
        self.post(owner.0, entry).map(drop)
    }

    /// Posts an entry.
    pub(crate) fn post(&mut self, tenant: TenantId, entry: Entry) -> Result<bool, LedgerError> {
        let is_new = self.ledgers.entry(tenant).or_default().post(&entry)?;
        // An entry that moves nothing tells nothing.
        if is_new && !entry.lines().is_empty() {
            self.posted.push((tenant, Posted::of(entry)));
        }
        Ok(is_new)
    }

    /// Writes what was posted. `part`: a number that no part of these people has had.
    pub(crate) async fn write<T: Tx>(self, tx: &mut T, now_ms: u64, part: i64) -> Result<(), SqlError> {
        let mut entries = Vec::with_capacity(self.posted.len() * 20);
        let mut touched = BTreeSet::new();
        for (tenant, posted) in &self.posted {
            entries.push(Value::from(tenant.stored()));
            posted.push(now_ms, &mut entries)?;
            touched.extend(posted.owner().map(|person| (*tenant, person)));
        }
        tx.insert(&self.texts.insert_entries, entries).await?;
        let mut added = Vec::with_capacity(touched.len() * 8);
        let folded: BTreeMap<Owner, &Vec<i64>> = self.to_fold.iter().map(|(owner, parts)| (*owner, parts)).collect();
        for owner in touched.iter().chain(folded.keys()).copied().collect::<BTreeSet<_>>() {
            let mut after = self.balance(owner);
            let mut before = match folded.contains_key(&owner) {
                // The parts go, and the whole balance is the new one.
                true => Balance::default(),
                false => self.before.get(&owner).copied().unwrap_or_default(),
            };
            for ((_, after), (_, before)) in after.accounts(owner.1).into_iter().zip(before.accounts(owner.1)) {
                *after -= *before;
            }
            added.extend([Value::from(owner.0.stored()), stored(owner.1)?.into(), part.into()]);
            added.extend(after.values());
        }
        for ((tenant, person), parts) in folded {
            for (delete, parts) in self.texts.drop_parts.padded(parts) {
                let mut values = vec![Value::from(tenant.stored()), stored(person)?.into()];
                values.extend(parts.into_iter().map(Value::from));
                tx.exec(delete, values).await?;
            }
        }
        tx.insert(&self.texts.insert_parts, added).await
    }
}

/// The balance of one person, to show.
pub(crate) async fn balance_of<S: store::sql::Sql>(
    texts: &Texts,
    sql: &S,
    (tenant, person): Owner,
) -> Result<Balance, SqlError> {
    let mut sum = Balance::default();
    for (query, persons) in texts.parts.padded(&[person]) {
        for mut row in sql.rows(query, params(tenant, persons)?).await? {
            let (_person, _part) = (row.int()?, row.int()?);
            sum.add(Balance::read(&mut row)?)?;
        }
    }
    Ok(sum)
}

fn by_tenant(owners: &BTreeSet<Owner>) -> BTreeMap<TenantId, Vec<u64>> {
    let mut by: BTreeMap<TenantId, Vec<u64>> = BTreeMap::new();
    for (tenant, person) in owners {
        by.entry(*tenant).or_default().push(*person);
    }
    by
}

fn params(tenant: TenantId, persons: Vec<u64>) -> Result<Vec<Value>, SqlError> {
    let mut params = vec![Value::from(tenant.stored())];
    for person in persons {
        params.push(stored(person)?.into());
    }
    Ok(params)
}

/// Who owns the accounts of an entry.
pub(crate) fn owner_of(cause: &Cause, entry: &Entry) -> Option<u64> {
    let of_line = entry.lines().iter().find_map(|(account, _)| match account {
        Account::Pending(id)
        | Account::Available(id)
        | Account::Withdrawing(id)
        | Account::Paid(id)
        | Account::Receivable(id) => Some(*id),
        _ => None,
    });
    match cause {
        Cause::Payout(key) | Cause::Mature(key) => key.to.beneficiary.or(of_line),
        _ => of_line,
    }
}

//! Withdrawals: money is reserved when it is asked for, goes out once, and comes back when it
//! cannot. Each step is one transaction with the withdrawal's row locked, then the person's; the
//! channel is asked between two of them, under a number that the first one stored.

use std::collections::BTreeSet;

use domain::id::{BuyerId, TenantId};
use store::sql::{Lock, Row, Sql, SqlError, Tx, Value, stored};

use crate::{
    book::{Book, DAY_MS, Texts},
    ledger::{Ledger, LedgerError},
    payouts::{Bill, BillState, Payouts},
    people::{self, State as PersonState},
    settle::{Happens, Refused as RuleRefused, Rules, State, Withdrawal},
    stops::{self, Switch},
};

/// How long until the channel is asked again.
const AGAIN_MS: u64 = 2_000;
/// Bills of one round.
const BATCH: u32 = 50;
/// In the rules an owner's number: approvers are users of the shop, owners are buyers.
const OWNER: u64 = u64::MAX;

pub(crate) const COLUMNS: &str =
    "tenant, withdrawal, person, amount, state, needs, approved, asked_at, next_at, version";
const INSERT: &str = "INSERT INTO withdrawals (tenant, withdrawal, person, amount, state, needs, approved, asked_at, \
                      next_at, version) VALUES (?, ?, ?, ?, 'asked', ?, '', ?, NULL, 1)";
const TODAY: &str =
    "SELECT amount FROM withdrawals WHERE tenant = ? AND person = ? AND asked_at >= ? AND state <> 'failed'";
const SAVE: &str = "UPDATE withdrawals SET state = ?, approved = ?, next_at = ?, version = version + 1 \
                    WHERE tenant = ? AND withdrawal = ?";
const AWAY: &str = "UPDATE withdrawals SET next_at = ? WHERE tenant = ? AND withdrawal = ?";
const DUE: &str = "SELECT tenant, withdrawal FROM withdrawals WHERE next_at <= ? ORDER BY next_at LIMIT ?";

const STATES: [(State, &str); 7] = [
    (State::Asked, "asked"),
    (State::Approved, "approved"),
    (State::Sent, "sent"),
    (State::Waiting, "waiting"),
    (State::Closing, "closing"),
    (State::Paid, "paid"),
    (State::Failed, "failed"),
];

/// The word of a state.
pub(crate) fn word(state: State) -> &'static str {
    STATES.iter().find(|(known, _)| *known == state).map_or("unknown", |(_, word)| word)
}

/// A withdrawal as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) tenant: TenantId,
    pub(crate) number: u64,
    pub(crate) person: BuyerId,
    pub(crate) rules: Withdrawal,
    pub(crate) asked_ms: u64,
    pub(crate) version: u64,
}

/// Why a step is refused; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WithdrawRefused {
    /// By the rules.
    #[error(transparent)]
    Rule(#[from] RuleRefused),
    /// By the balance.
    #[error("{has} minor units are available: ask for at most that")]
    Short { has: i64 },
    /// The person may not.
    #[error("withdrawals need a distributor who is active or has left: ask the shop")]
    NotOpen,
    /// The shop holds the person's payouts.
    #[error("the shop holds this person's payouts: release the hold first, or ask the shop")]
    Held,
    /// The shop's switch is off.
    #[error("the shop has stopped withdrawals: the balance stays as it is, come back later")]
    Stopped,
    /// No such withdrawal, or none of this tenant.
    #[error("there is no such withdrawal")]
    NotFound,
    /// The database.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

impl From<LedgerError> for WithdrawRefused {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Short { has, .. } => Self::Short { has },
            other => Self::Sql(SqlError::Broken(other.to_string().into())),
        }
    }
}

pub(crate) fn read(mut row: Row) -> Result<Stored, SqlError> {
    let (tenant, number, person) = (row.id(TenantId::new)?, row.number()?, row.id(BuyerId::new)?);
    let amount = row.int()?;
    let state = row.text_as("state of a withdrawal", |text| {
        STATES.iter().find(|(_, word)| *word == text).map(|(state, _)| *state)
    })?;
    let (needs, approved) = (row.number()?, row.text()?);
    let approved = approved.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>();
    let approved = approved.map_err(|error| SqlError::Broken(format!("an approval is no user: {error}").into()))?;
    let (asked_ms, _next, version) = (row.number()?, row.int_or_null()?, row.number()?);
    let rules = Withdrawal { person: OWNER, amount, state, needs, approved };
    Ok(Stored { tenant, number, person, rules, asked_ms, version })
}

/// Asks for money: it is reserved. `number`: of the new withdrawal, which none has had.
pub(crate) async fn ask<T: Tx>(
    tx: &mut T,
    rules: &Rules,
    (tenant, person): (TenantId, BuyerId),
    (number, amount, part): (u64, i64, i64),
    now_ms: u64,
) -> Result<Stored, WithdrawRefused> {
    let Some(locked) = people::lock(tx, (tenant, person)).await? else { return Err(WithdrawRefused::NotOpen) };
    if !matches!(locked.standing.state, PersonState::Active | PersonState::Left) {
        return Err(WithdrawRefused::NotOpen);
    }
    must_go_on(tx, (tenant, person)).await?;
    let day = stored(now_ms / DAY_MS * DAY_MS)?;
    let mut today: i64 = 0;
    for mut row in tx.rows(TODAY, vec![tenant.stored().into(), person.stored().into(), day.into()]).await? {
        today = today.saturating_add(row.int()?);
    }
    let made = Withdrawal::ask(rules, OWNER, amount, today, locked.standing.kyc)?;
    let texts = Texts::default();
    let takers = BTreeSet::from([(tenant, person.get())]);
    let mut book = Book::open(&texts, tx, &BTreeSet::new(), takers).await?;
    book.post(tenant, Ledger::reserve(number, person.get(), amount)?)?;
    book.write(tx, now_ms, part).await?;
    let row = vec![
        tenant.stored().into(),
        stored(number)?.into(),
        person.stored().into(),
        amount.into(),
        i64::try_from(made.needs).unwrap_or(i64::MAX).into(),
        stored(now_ms)?.into(),
    ];
    tx.exec(INSERT, row).await?;
    Ok(Stored { tenant, number, person, rules: made, asked_ms: now_ms, version: 1 })
}

/// Whether nothing stops the withdrawals of a locked person.
async fn must_go_on<T: Tx>(tx: &mut T, owner: (TenantId, BuyerId)) -> Result<(), WithdrawRefused> {
    if stops::is_held(tx, owner).await? {
        return Err(WithdrawRefused::Held);
    }
    if Switch::of(tx, owner.0).await?.withdrawing { Ok(()) } else { Err(WithdrawRefused::Stopped) }
}

/// A withdrawal, locked.
pub(crate) async fn lock<T: Tx>(tx: &mut T, tenant: TenantId, number: u64) -> Result<Stored, WithdrawRefused> {
    let query = format!("SELECT {COLUMNS} FROM withdrawals WHERE tenant = ? AND withdrawal = ?");
    let Ok(stored_number) = stored(number) else { return Err(WithdrawRefused::NotFound) };
    let rows = tx.lock_rows(&query, vec![tenant.stored().into(), stored_number.into()], Lock::Wait).await?;
    let row = rows.into_iter().next().ok_or(WithdrawRefused::NotFound)?;
    Ok(read(row)?)
}

/// Takes a locked withdrawal a step further, with what that moves.
pub(crate) async fn step<T: Tx>(
    tx: &mut T,
    held: &mut Stored,
    happens: Happens,
    (now_ms, part): (u64, i64),
) -> Result<(), WithdrawRefused> {
    if matches!(happens, Happens::Approve(_)) {
        let owner = (held.tenant, held.person);
        people::lock(tx, owner).await?;
        must_go_on(tx, owner).await?;
    }
    let before = held.rules.state;
    held.rules.step(happens)?;
    let after = held.rules.state;
    let owner = (held.tenant, held.person.get());
    if after != before && matches!(after, State::Paid | State::Failed) {
        let texts = Texts::default();
        let mut book = Book::open(&texts, tx, &BTreeSet::new(), BTreeSet::from([owner])).await?;
        match after {
            State::Paid => {
                let entry = Ledger::pay(held.number, owner.1, held.rules.amount, 0, 0)?;
                book.post(held.tenant, entry)?;
            }
            _ => book.give_back(owner, held.number, held.rules.amount)?,
        }
        book.write(tx, now_ms, part).await?;
    }
    let next_at = match after {
        State::Approved => Value::from(stored(now_ms)?),
        State::Sent | State::Waiting | State::Closing => stored(now_ms + AGAIN_MS)?.into(),
        State::Asked | State::Paid | State::Failed => Value::Null,
    };
    let approved: Vec<String> = held.rules.approved.iter().map(u64::to_string).collect();
    let params = vec![
        word(after).into(),
        (&*approved.join(" ")).into(),
        next_at,
        held.tenant.stored().into(),
        stored(held.number)?.into(),
    ];
    tx.exec(SAVE, params).await?;
    held.version += 1;
    Ok(())
}

/// Sends bills whose time has come, and asks about those that are out. How many.
pub(crate) async fn pay_out<S: Sql>(
    sql: &S,
    payouts: &impl Payouts,
    now_ms: u64,
    part: impl Fn() -> Result<i64, SqlError>,
) -> Result<usize, WithdrawRefused> {
    let due = sql.rows(DUE, vec![stored(now_ms)?.into(), BATCH.into()]).await?;
    let count = due.len();
    for mut row in due {
        let (tenant, number) = (row.id(TenantId::new)?, row.number()?);
        // Before the channel hears of it, it stands that it may have.
        let mut tx = sql.begin().await?;
        let mut held = lock(&mut tx, tenant, number).await?;
        if held.rules.state == State::Approved {
            let owner = (tenant, held.person);
            people::lock(&mut tx, owner).await?;
            if let Some(until) = stops::of_withdrawal(&mut tx, owner).await? {
                tx.exec(AWAY, vec![until.into(), tenant.stored().into(), stored(number)?.into()]).await?;
                tx.commit().await?;
                continue;
            }
        }
        let is_out = matches!(held.rules.state, State::Approved | State::Sent);
        if is_out {
            step(&mut tx, &mut held, Happens::Send, (now_ms, part()?)).await?;
        } else if !matches!(held.rules.state, State::Waiting | State::Closing) {
            tx.rollback().await;
            continue;
        }
        tx.commit().await?;
        let bill = Bill { tenant, number: format!("w{number}"), person: held.person.get(), amount: held.rules.amount };
        let happens = match payouts.send(&bill).await {
            Ok(BillState::Paid) => Happens::Paid,
            Ok(BillState::Failed) => Happens::Failed,
            Ok(BillState::Waiting) => Happens::Wait,
            Err(error) => {
                tracing::warn!(withdrawal = number, %error, "a bill is asked about again");
                continue;
            }
        };
        let mut tx = sql.begin().await?;
        let mut held = lock(&mut tx, tenant, number).await?;
        // Another process may have heard the same.
        match step(&mut tx, &mut held, happens, (now_ms, part()?)).await {
            Ok(()) => tx.commit().await?,
            Err(WithdrawRefused::Rule(_)) => tx.rollback().await,
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

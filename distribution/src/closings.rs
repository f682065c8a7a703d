//! Closings of a month: what the rules on `period_closed` pay, of what the month's lines came to.
//! A person looks at the shares, then confirms what was seen; a confirmed month is never opened
//! again.
//!
//! | what if | then |
//! |---|---|
//! | the process dies amid a confirmation | it is undone; the month is as it was previewed |
//! | the answer is lost, or it is confirmed twice | the row has these shares: the same answer |
//! | two confirm at once | the row is locked: the second finds it confirmed |
//! | a line or refund comes after the preview | the shares differ, and nothing is posted |

use std::collections::{BTreeMap, BTreeSet};

use domain::id::TenantId;
use kit::digest::sha256;
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Row, SqlError, Tx, Value, stored};

use crate::{
    aggregates::{self, MONTH},
    book::{Book, DAY_MS, Texts},
    evaluate::{EvaluateError, Frozen, Key, Note, Person, To, evaluate},
    people::{State, flag},
    plan::{Measure, On, Operator, Plan, Weight, Window},
    published::{self, InForce},
};

/// People that a closing pays, at most: all of it is one transaction.
pub(crate) const PEOPLE_MAX: usize = 10_000;

const FIND: &str = "SELECT number, outcome, confirmed_at, confirmed_by FROM closings WHERE tenant = ? AND period = ?";
const INSERT: &str = "INSERT INTO closings (tenant, period, number, outcome, previewed_at) VALUES (?, ?, ?, '', ?)";
const SEEN: &str = "UPDATE closings SET outcome = ?, previewed_at = ? WHERE tenant = ? AND period = ?";
const DONE: &str = "UPDATE closings SET confirmed_at = ?, confirmed_by = ? WHERE tenant = ? AND period = ?";
const PLAN: &str = "SELECT document FROM plans WHERE tenant = ? AND from_ms < ? ORDER BY version DESC LIMIT 1";
const SELLERS: &str = "SELECT a.person, a.sales, a.orders, s.rank_name, s.kyc, s.state FROM aggregates a \
                       LEFT JOIN standings s ON s.tenant = a.tenant AND s.person = a.person AND s.from_ms < ? \
                       AND s.to_ms >= ? WHERE a.tenant = ? AND a.window_kind = ? AND a.period = ? AND a.sales > 0 \
                       ORDER BY a.person LIMIT ?";
const ACTIVE: &str = "SELECT person, rank_name, kyc FROM standings WHERE tenant = ? AND from_ms < ? AND to_ms >= ? \
                      AND state = 'active' ORDER BY person LIMIT ?";
const RECEIPT: &str = "INSERT INTO receipts (order_id, tenant, received_at, matures_at, due_at) VALUES (?, ?, ?, ?, ?)";

/// What a month comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) plan: String,
    pub(crate) version: u32,
    /// Net of the month's lines, less what has gone back.
    pub(crate) net: i64,
    pub(crate) shares: Vec<Share>,
    pub(crate) trace: Vec<Note>,
}

/// What one rule pays one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    pub(crate) rule: String,
    /// Without one it is breakage.
    pub(crate) person: Option<u64>,
    /// Minor units.
    pub(crate) amount: i64,
}

/// A month of a shop, as it was seen or confirmed.
#[derive(Debug, Clone)]
pub(crate) struct Closing {
    pub(crate) period: u32,
    pub(crate) number: u64,
    /// Missing only while nobody has looked.
    pub(crate) outcome: Option<Outcome>,
    /// When and by whom.
    pub(crate) confirmed: Option<(u64, String)>,
}

/// Why a month is not looked at or closed; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CloseRefused {
    /// Not six digits of a month since 1970.
    #[error("a period is a month, such as 202611")]
    NoMonth,
    /// Goods may still come back.
    #[error("this month is closed from {0} on, when its goods cannot be returned any more")]
    Early(String),
    /// No plan, or none with rules on `period_closed`.
    #[error("no rule of the plan that was in force at the end of this month pays on period_closed")]
    NoRule,
    /// More people than one transaction takes.
    #[error("more than {PEOPLE_MAX} people would be paid: let the rule pay fewer")]
    TooMany,
    /// A balance would leave its range.
    #[error("the balance of somebody does not fit 64 bits with it: lower the rates")]
    TooMuch,
    /// It was not looked at.
    #[error("look at the preview first, and confirm what it shows")]
    NotSeen,
    /// It comes to something else by now.
    #[error("the shares have changed since the preview: look at a new preview")]
    Changed,
    /// Confirmed with other shares.
    #[error("the month is confirmed, and is never opened again: adjust with a reason")]
    Confirmed,
    /// An amount leaves its range.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The database.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

/// A month: its first moment, and the first one after it. Epoch milliseconds.
pub(crate) fn bounds(period: u32) -> Option<(u64, u64)> {
    let (year, month) = (i64::from(period / 100), i64::from(period % 100));
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    // Days before the first of a month: years begin in March, so that a leap day is their last.
    let days = |year: i64, month: i64| {
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 - 719_468
    };
    let next = if month == 12 { days(year + 1, 1) } else { days(year, month + 1) };
    let ms = |days: i64| u64::try_from(days).ok().map(|days| days * DAY_MS);
    Some((ms(days(year, month))?, ms(next)?))
}

/// The rules of a plan that a closing runs: pools, or walks of each seller.
fn only(plan: &Plan, wanted: fn(&Operator) -> bool) -> Plan {
    let mut plan = plan.clone();
    plan.rules.retain(|rule| rule.on == On::PeriodClosed && wanted(&rule.pay));
    plan
}

/// What a month comes to now.
pub(crate) async fn look<T: Tx>(
    tx: &mut T,
    tenant: TenantId,
    (period, number): (u32, u64),
    now_ms: u64,
) -> Result<Outcome, CloseRefused> {
    let (from, end) = bounds(period).ok_or(CloseRefused::NoMonth)?;
    let document = tx.rows(PLAN, vec![tenant.stored().into(), stored(end)?.into()]).await?.into_iter().next();
    let mut document = document.ok_or(CloseRefused::NoRule)?;
    let plan = published::document(&mut document)?;
    let pools = only(&plan, |pay| matches!(pay, Operator::Pool(_)));
    let walks = only(&plan, |pay| matches!(pay, Operator::Walk(_)));
    if pools.rules.is_empty() && walks.rules.is_empty() {
        return Err(CloseRefused::NoRule);
    }
    let opens = end + u64::from(plan.settle.days) * DAY_MS;
    if now_ms < opens {
        return Err(CloseRefused::Early(kit::clock::rfc3339(opens)));
    }
    let net = aggregates::of_shop(tx, tenant, from).await?;
    let aggs = InForce::of(plan.clone()).aggs;
    let sellers = sellers(tx, tenant, (period, end), |person, sales, orders| {
        for agg in aggs.iter().filter(|agg| agg.window == Window::Month) {
            let figure = if agg.measure == Measure::Sales { sales } else { orders };
            person.figures.insert(agg.to_string(), figure);
        }
        person.points = sales;
    })
    .await?;
    let mut outcome =
        Outcome { plan: plan.name.clone(), version: plan.version, net, shares: Vec::new(), trace: Vec::new() };
    let mut frozen = Frozen::line(number, net);
    (frozen.on, frozen.source) = (On::PeriodClosed, Person::default());
    let is_equal = |pay: &Operator| matches!(pay, Operator::Pool(pool) if pool.weight == Weight::Equal);
    if !pools.rules.is_empty() {
        frozen.members = sellers.iter().filter(|person| person.flags.contains("active")).cloned().collect();
        let ranked = only(&pools, |pay| !matches!(pay, Operator::Pool(pool) if pool.weight == Weight::Equal));
        outcome.add(&ranked, &frozen)?;
        let equal = only(&pools, is_equal);
        if !equal.rules.is_empty() {
            frozen.members = active(tx, tenant, end).await?;
            outcome.add(&equal, &frozen)?;
        }
    }
    if !walks.rules.is_empty() {
        for seller in sellers {
            frozen.net = seller.points;
            (frozen.source, frozen.members) = (seller, Vec::new());
            outcome.add(&walks, &frozen)?;
        }
    }
    if outcome.shares.len() > PEOPLE_MAX {
        return Err(CloseRefused::TooMany);
    }
    Ok(outcome)
}

impl Outcome {
    fn add(&mut self, plan: &Plan, frozen: &Frozen) -> Result<(), EvaluateError> {
        let found = evaluate(plan, frozen)?;
        let mut sums: BTreeMap<(String, Option<u64>), i64> = BTreeMap::new();
        for share in self.shares.drain(..) {
            *sums.entry((share.rule, share.person)).or_default() += share.amount;
        }
        for (To { rule, beneficiary }, amount) in found.sums() {
            *sums.entry((rule, beneficiary)).or_default() += amount;
        }
        self.shares = sums.into_iter().map(|((rule, person), amount)| Share { rule, person, amount }).collect();
        self.trace.extend(found.trace);
        Ok(())
    }
}

/// Who sold something in a month, as they stood at its end.
async fn sellers<T: Tx>(
    tx: &mut T,
    tenant: TenantId,
    (period, end): (u32, u64),
    fill: impl Fn(&mut Person, i64, i64),
) -> Result<Vec<Person>, CloseRefused> {
    let at = Value::from(stored(end)?);
    let most = i64::try_from(PEOPLE_MAX).unwrap_or(i64::MAX) + 1;
    let params = vec![at.clone(), at, tenant.stored().into(), MONTH.into(), period.into(), most.into()];
    let mut found = Vec::new();
    for mut row in tx.rows(SELLERS, params).await? {
        let mut person = Person::new(row.number()?);
        fill(&mut person, row.int()?, row.int()?);
        person.rank = row.text_or_null()?;
        let (kyc, state) = (row.int_or_null()?, row.text_or_null()?);
        flag(&mut person, state.as_deref() == Some(State::Active.as_str()), kyc == Some(1));
        found.push(person);
    }
    if found.len() > PEOPLE_MAX { Err(CloseRefused::TooMany) } else { Ok(found) }
}

/// All who were active at the end of a month.
async fn active<T: Tx>(tx: &mut T, tenant: TenantId, end: u64) -> Result<Vec<Person>, CloseRefused> {
    let at = Value::from(stored(end)?);
    let most = i64::try_from(PEOPLE_MAX).unwrap_or(i64::MAX) + 1;
    let mut found = Vec::new();
    for mut row in tx.rows(ACTIVE, vec![tenant.stored().into(), at.clone(), at, most.into()]).await? {
        let mut person = Person::new(row.number()?);
        person.rank = row.text_or_null()?;
        let kyc = row.int()? == 1;
        flag(&mut person, true, kyc);
        found.push(person);
    }
    if found.len() > PEOPLE_MAX { Err(CloseRefused::TooMany) } else { Ok(found) }
}

/// The month's row, locked; a new one has `number`.
async fn lock<T: Tx>(
    tx: &mut T,
    tenant: TenantId,
    (period, number): (u32, u64),
    now_ms: u64,
) -> Result<Option<Closing>, CloseRefused> {
    let row = vec![tenant.stored().into(), period.into(), stored(number)?.into(), stored(now_ms)?.into()];
    tx.insert_absent(INSERT, row).await?;
    let found = tx.lock_rows(FIND, vec![tenant.stored().into(), period.into()], Lock::Wait).await?;
    found.into_iter().next().map(|row| read(row, period)).transpose().map_err(CloseRefused::Sql)
}

fn read(mut row: Row, period: u32) -> Result<Closing, SqlError> {
    let (number, text): (u64, String) = (row.number()?, row.text()?);
    let outcome = match &*text {
        "" => None,
        text => Some(serde_json::from_str(text).map_err(|error| SqlError::Broken(error.to_string().into()))?),
    };
    let confirmed = row.time_or_null()?.zip(row.text_or_null()?);
    Ok(Closing { period, number, outcome, confirmed })
}

/// A month as it was seen last, if it was.
pub(crate) async fn find<T: Tx>(tx: &mut T, tenant: TenantId, period: u32) -> Result<Option<Closing>, SqlError> {
    let found = tx.rows(FIND, vec![tenant.stored().into(), period.into()]).await?;
    found.into_iter().next().map(|row| read(row, period)).transpose()
}

/// Shows what a month comes to, as often as wanted before it is confirmed; then what was confirmed.
pub(crate) async fn preview<T: Tx>(
    tx: &mut T,
    tenant: TenantId,
    (period, number): (u32, u64),
    now_ms: u64,
) -> Result<Closing, CloseRefused> {
    bounds(period).ok_or(CloseRefused::NoMonth)?;
    let mut closing = lock(tx, tenant, (period, number), now_ms).await?.ok_or(CloseRefused::NotSeen)?;
    if closing.confirmed.is_none() {
        let outcome = look(tx, tenant, (period, closing.number), now_ms).await?;
        let text = serde_json::to_string(&outcome).map_err(|error| SqlError::Broken(error.to_string().into()))?;
        let row = vec![(&*text).into(), stored(now_ms)?.into(), tenant.stored().into(), period.into()];
        tx.exec(SEEN, row).await?;
        closing.outcome = Some(outcome);
    }
    Ok(closing)
}

/// Confirms what was seen, and posts it: it can be withdrawn from now on. `seen`: of which preview.
pub(crate) async fn confirm<T: Tx>(
    tx: &mut T,
    tenant: TenantId,
    (period, seen): (u32, &str),
    (who, now_ms, part): (&str, u64, i64),
) -> Result<Closing, CloseRefused> {
    let rows = tx.lock_rows(FIND, vec![tenant.stored().into(), period.into()], Lock::Wait).await?;
    let mut closing = rows.into_iter().next().map(|row| read(row, period)).transpose()?.ok_or(CloseRefused::NotSeen)?;
    let outcome = closing.outcome.clone().ok_or(CloseRefused::NotSeen)?;
    if closing.confirmed.is_some() {
        return if outcome.seen() == seen { Ok(closing) } else { Err(CloseRefused::Confirmed) };
    }
    if outcome.seen() != seen || look(tx, tenant, (period, closing.number), now_ms).await? != outcome {
        return Err(CloseRefused::Changed);
    }
    let people = outcome.shares.iter().filter_map(|share| Some((tenant, share.person?))).collect();
    let texts = Texts::default();
    let mut book = Book::open(&texts, tx, &people, BTreeSet::new()).await?;
    let of = |share: &Share| To { rule: share.rule.clone(), beneficiary: share.person };
    let deltas: BTreeMap<To, i64> = outcome.shares.iter().map(|share| (of(share), share.amount)).collect();
    if !book.fits(tenant, &deltas) {
        return Err(CloseRefused::TooMuch);
    }
    for (to, amount) in deltas {
        let key = Key { plan: outcome.plan.clone(), version: outcome.version, line: closing.number, sequence: 0, to };
        book.payout(tenant, key, amount).map_err(|error| SqlError::Broken(error.to_string().into()))?;
    }
    book.write(tx, now_ms, part).await?;
    let at = Value::from(stored(now_ms)?);
    // The goods cannot be returned any more: it matures at once.
    let receipt = vec![stored(closing.number)?.into(), tenant.stored().into(), at.clone(), at.clone(), at.clone()];
    tx.exec(RECEIPT, receipt).await?;
    tx.exec(DONE, vec![at, who.into(), tenant.stored().into(), period.into()]).await?;
    closing.confirmed = Some((now_ms, who.to_owned()));
    Ok(closing)
}

impl Outcome {
    /// What names these shares: who confirms says which ones were seen.
    pub(crate) fn seen(&self) -> String {
        let mut text = format!("{} {} {}", self.plan, self.version, self.net);
        for Share { rule, person, amount } in &self.shares {
            text += &format!("\n{rule} {} {amount}", person.unwrap_or(0));
        }
        sha256(text.as_bytes()).iter().take(16).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_and_ends_by_the_calendar() {
        let day = |period| bounds(period).map(|(from, end)| (from / DAY_MS, (end - from) / DAY_MS));
        assert_eq!(day(197_001), Some((0, 31)));
        assert_eq!(bounds(202_611).map(|(from, _)| from + 10 * DAY_MS), Some(1_794_355_200_000));
        assert_eq!(
            [202_612, 202_802, 210_002, 200_002].map(|period| day(period).map(|(_, days)| days)),
            [31, 29, 28, 29].map(Some)
        );
        assert_eq!([0, 202_600, 202_613, 196_912].map(bounds), [None; 4]);
    }
}

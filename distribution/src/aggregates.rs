//! What the own customers of people bought, by window: tiers and conditions look at it. A line
//! counts for who stood above its buyer when it was ordered, from its payment on; what goes back is
//! taken off again. Whoever adds to a row locks it, so that the sum of a tier's payouts is that of
//! the whole volume, whichever partitions the lines came by.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::TenantId;
use kit::clock::rfc3339;
use store::sql::{Fixed, Lock, SqlError, Tx, Value, stored};

use crate::{
    book::DAY_MS,
    evaluate::Person,
    plan::{Agg, Cond, Fold, Measure, Operator, Over, Plan, Rate, Test, Window},
};

const INSERT: &str = "INSERT INTO aggregates (tenant, window_kind, period, person, sales, orders) \
                      VALUES (?, ?, ?, ?, 0, 0)";
const UPDATE: &str = "UPDATE aggregates SET sales = ?, orders = ? \
                      WHERE tenant = ? AND window_kind = ? AND period = ? AND person = ?";

/// The aggregates that a plan looks at, each with its rule.
pub(crate) fn of(plan: &Plan) -> Vec<(&str, Agg)> {
    let mut found = Vec::new();
    for rule in &plan.rules {
        let mut conds: Vec<&Cond> = rule.when.iter().collect();
        if let Operator::Walk(walk) = &rule.pay {
            conds.extend(walk.filter.iter().chain(&walk.count_if));
            match &walk.rate {
                Rate::Tier(tier) => found.push((&*rule.name, tier.by)),
                Rate::When(when) => conds.extend(&when.test),
                _ => {}
            }
        }
        found.extend(conds.into_iter().filter_map(|cond| match cond.test {
            Test::AtLeast(test) => Some((&*rule.name, test.agg)),
            _ => None,
        }));
    }
    found
}

/// Whether it is collected here.
pub(crate) fn is_collected(agg: &Agg) -> bool {
    let what = (agg.fold, agg.measure);
    agg.over == Over::Own && matches!(what, (Fold::Sum, Measure::Sales) | (Fold::Count, Measure::Orders))
}

/// A row: whose, and of which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    tenant: TenantId,
    window: i64,
    period: i64,
    person: u64,
}

impl Slot {
    /// Of a person, at the moment of an order.
    pub(crate) fn of(tenant: TenantId, person: u64, window: Window, at_ms: u64) -> Self {
        let (window, period) = match window {
            Window::Day => (1, i64::try_from(at_ms / DAY_MS).unwrap_or(i64::MAX)),
            Window::Month => (2, month(at_ms)),
            Window::Total => (3, 0),
        };
        Self { tenant, window, period, person }
    }

    fn key(self) -> Result<[Value; 4], SqlError> {
        Ok([self.tenant.stored().into(), self.window.into(), self.period.into(), stored(self.person)?.into()])
    }
}

/// Such as 202611, in UTC.
fn month(at_ms: u64) -> i64 {
    rfc3339(at_ms).chars().take(7).filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}

/// The query of rows, whose text is made once.
#[derive(Debug)]
pub(crate) struct AggregateTexts(Fixed);

impl Default for AggregateTexts {
    fn default() -> Self {
        Self(Fixed::new(
            "SELECT person, sales, orders FROM aggregates WHERE tenant = ? AND window_kind = ? AND period = ? \
             AND person IN ([?,]) ORDER BY person",
        ))
    }
}

/// What a transaction knows of some rows, and adds to them.
#[derive(Debug, Default)]
pub(crate) struct Aggregates {
    held: BTreeMap<Slot, (i64, i64)>,
    changed: BTreeSet<Slot>,
}

impl Aggregates {
    /// Reads `looked`, and locks `added` until the transaction ends: lock these before people.
    pub(crate) async fn open<T: Tx>(
        texts: &AggregateTexts,
        tx: &mut T,
        added: &BTreeSet<Slot>,
        looked: &BTreeSet<Slot>,
    ) -> Result<Self, SqlError> {
        let mut this = Self::default();
        this.read(texts, tx, added, true).await?;
        let absent: BTreeSet<Slot> = added.iter().filter(|slot| !this.held.contains_key(slot)).copied().collect();
        for slot in &absent {
            // Where another transaction makes the same row, this waits for it.
            tx.insert_absent(INSERT, slot.key()?.to_vec()).await?;
        }
        this.read(texts, tx, &absent, true).await?;
        this.read(texts, tx, &looked.difference(added).copied().collect(), false).await?;
        Ok(this)
    }

    async fn read<T: Tx>(
        &mut self,
        texts: &AggregateTexts,
        tx: &mut T,
        slots: &BTreeSet<Slot>,
        locks: bool,
    ) -> Result<(), SqlError> {
        let mut by_time: BTreeMap<(TenantId, i64, i64), Vec<u64>> = BTreeMap::new();
        for slot in slots {
            by_time.entry((slot.tenant, slot.window, slot.period)).or_default().push(slot.person);
        }
        for ((tenant, window, period), persons) in by_time {
            for (query, persons) in texts.0.padded(&persons) {
                let mut params = vec![Value::from(tenant.stored()), window.into(), period.into()];
                for person in persons {
                    params.push(stored(person)?.into());
                }
                let rows = match locks {
                    true => tx.lock_rows(query, params, Lock::Wait).await?,
                    false => tx.rows(query, params).await?,
                };
                for mut row in rows {
                    let slot = Slot { tenant, window, period, person: row.number()? };
                    self.held.insert(slot, (row.int()?, row.int()?));
                }
            }
        }
        Ok(())
    }

    /// Adds to a row that was locked.
    pub(crate) fn add(&mut self, slot: Slot, (sales, orders): (i64, i64)) -> Result<(), SqlError> {
        let held = self.held.entry(slot).or_default();
        let beyond = || SqlError::Broken("the sales of a person do not fit 64 bits".into());
        *held = held.0.checked_add(sales).zip(held.1.checked_add(orders)).ok_or_else(beyond)?;
        self.changed.insert(slot);
        Ok(())
    }

    /// Writes what a person's aggregates come to into what is frozen of them.
    pub(crate) fn freeze(&self, person: &mut Person, aggs: &BTreeSet<Agg>, (tenant, at_ms): (TenantId, u64)) {
        for agg in aggs {
            let held = self.held.get(&Slot::of(tenant, person.id, agg.window, at_ms)).copied().unwrap_or_default();
            let figure = if agg.measure == Measure::Sales { held.0 } else { held.1 };
            person.figures.insert(agg.to_string(), figure);
        }
    }

    /// Writes what was added.
    pub(crate) async fn write<T: Tx>(self, tx: &mut T) -> Result<(), SqlError> {
        for slot in self.changed {
            let (sales, orders) = self.held.get(&slot).copied().unwrap_or_default();
            let mut params = vec![sales.into(), orders.into()];
            params.extend(slot.key()?);
            tx.exec(UPDATE, params).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_the_calendars() {
        assert_eq!(month(1_794_355_200_000), 202_611);
        assert_eq!(month(1_794_355_200_000 + 20 * DAY_MS - 1), 202_611);
        assert_eq!(month(1_794_355_200_000 + 20 * DAY_MS), 202_612);
    }
}

//! What the own customers of people and their teams bought, by window: tiers and conditions look
//! at it. A line counts for who stood above its buyer when it was ordered, from its payment on;
//! what goes back is taken off again. Whoever adds to somebody's own sales locks the row, so that
//! the sum of a tier's payouts is that of the whole volume, whichever partitions the lines came
//! by. A team's figure is a sum of parts, one for each partition: nobody waits for the person at
//! its top.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::TenantId;
use kit::clock::rfc3339;
use store::sql::{Fixed, Lock, SqlError, Tx, Value, stored};

use crate::{
    book::DAY_MS,
    evaluate::Person,
    people::DEPTH_MAX,
    plan::{Agg, Cond, Fold, Measure, Operator, Over, Plan, Rate, Test, Window},
};

/// The kind of window that is a month.
pub(crate) const MONTH: i64 = 2;

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
    Scope::of(agg.over).is_some() && matches!(what, (Fold::Sum, Measure::Sales) | (Fold::Count, Measure::Orders))
}

/// Whose lines a row counts: by how far the person stands above the buyer, 0 being who referred
/// the buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Of the own customers.
    Own,
    /// Of the customers of those whom the person brought.
    Direct,
    /// Of the own customers, and of those of so many levels below; 0 for all.
    Below(u8),
}

impl Scope {
    /// `None` where it is not collected.
    pub(crate) fn of(over: Over) -> Option<Self> {
        match over {
            Over::Own => Some(Self::Own),
            Over::Direct => Some(Self::Direct),
            Over::Subtree(levels) => Some(Self::Below(levels)),
            Over::Leg => None,
        }
    }

    fn covers(self, level: usize) -> bool {
        match self {
            Self::Own => level == 0,
            Self::Direct => level == 1,
            Self::Below(0) => true,
            Self::Below(levels) => level <= usize::from(levels),
        }
    }

    /// Levels above a buyer that it takes people from.
    pub(crate) fn levels(self) -> u8 {
        match self {
            Self::Own => 1,
            Self::Direct => 2,
            Self::Below(0) => DEPTH_MAX,
            Self::Below(levels) => levels.saturating_add(1).min(DEPTH_MAX),
        }
    }

    fn stored(self) -> i64 {
        match self {
            Self::Own => -1,
            Self::Direct => 256,
            Self::Below(levels) => levels.into(),
        }
    }
}

/// A window and a moment in it, as rows name them: the kind of window, and which one of its kind.
pub(crate) fn period(window: Window, at_ms: u64) -> (i64, i64) {
    match window {
        Window::Day => (1, i64::try_from(at_ms / DAY_MS).unwrap_or(i64::MAX)),
        Window::Month => (MONTH, month(at_ms)),
        Window::Total => (3, 0),
    }
}

/// Such as 202611, in UTC.
fn month(at_ms: u64) -> i64 {
    rfc3339(at_ms).chars().take(7).filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}

/// A row: whose lines, and of which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    scope: Scope,
    tenant: TenantId,
    window: i64,
    period: i64,
    person: u64,
}

impl Slot {
    /// Of a person, at the moment of an order.
    pub(crate) fn of(tenant: TenantId, person: u64, (window, scope): (Window, Scope), at_ms: u64) -> Self {
        let (window, period) = period(window, at_ms);
        Self { scope, tenant, window, period, person }
    }

    /// Those that a line counts for: its tenant, who stands above the buyer from who referred the
    /// buyer on, and the moment of the order.
    pub(crate) fn of_line(
        tenant: TenantId,
        above: impl Iterator<Item = u64>,
        collected: &BTreeSet<(Window, Scope)>,
        at_ms: u64,
    ) -> BTreeSet<Self> {
        let of = |(level, person)| {
            let covering = collected.iter().filter(move |(_, scope)| scope.covers(level));
            covering.map(move |what| Self::of(tenant, person, *what, at_ms))
        };
        above.enumerate().flat_map(of).collect()
    }

    /// Those that an evaluation takes from somebody.
    pub(crate) fn looked_at(tenant: TenantId, person: u64, aggs: &BTreeSet<Agg>, at_ms: u64) -> BTreeSet<Self> {
        let scopes = aggs.iter().filter_map(|agg| Some((agg.window, Scope::of(agg.over)?)));
        scopes.map(|what| Self::of(tenant, person, what, at_ms)).collect()
    }

    /// Of the whole shop in a month.
    pub(crate) fn of_shop(tenant: TenantId, at_ms: u64) -> Self {
        Self::of(tenant, 0, (Window::Month, Scope::Below(0)), at_ms)
    }

    fn key(self) -> Result<[Value; 4], SqlError> {
        Ok([self.tenant.stored().into(), self.window.into(), self.period.into(), stored(self.person)?.into()])
    }
}

/// The queries of rows, whose texts are made once.
#[derive(Debug)]
pub(crate) struct AggregateTexts {
    own: Fixed,
    teams: Fixed,
}

impl Default for AggregateTexts {
    fn default() -> Self {
        let of = "WHERE tenant = ? AND window_kind = ? AND period = ?";
        Self {
            own: Fixed::new(format!(
                "SELECT person, sales, orders FROM aggregates {of} AND person IN ([?,]) ORDER BY person"
            )),
            teams: Fixed::new(format!(
                "SELECT person, sales, orders, part FROM team_parts {of} AND scope = ? AND person IN ([?,])"
            )),
        }
    }
}

/// Sales, and number of orders.
type Sum = (i64, i64);

fn plus(sum: Sum, more: Sum) -> Option<Sum> {
    sum.0.checked_add(more.0).zip(sum.1.checked_add(more.1))
}

/// What a transaction knows of some rows, and adds to them.
#[derive(Debug, Default)]
pub(crate) struct Aggregates {
    held: BTreeMap<Slot, Sum>,
    /// Of teams: what this partition has counted.
    parts: BTreeMap<Slot, Sum>,
    changed: BTreeSet<Slot>,
    part: u32,
}

impl Aggregates {
    /// Reads `looked`, and `added`, of which the own sales of people stay locked until the
    /// transaction ends: lock these before people. Of teams each partition has its own part, whose
    /// consumer is the only one that writes it.
    pub(crate) async fn open<T: Tx>(
        texts: &AggregateTexts,
        tx: &mut T,
        (part, added): (u32, &BTreeSet<Slot>),
        looked: &BTreeSet<Slot>,
    ) -> Result<Self, SqlError> {
        let mut this = Self { part, ..Self::default() };
        let own: BTreeSet<Slot> = added.iter().filter(|slot| slot.scope == Scope::Own).copied().collect();
        this.read(texts, tx, &own, true).await?;
        let absent: BTreeSet<Slot> = own.iter().filter(|slot| !this.held.contains_key(slot)).copied().collect();
        for slot in &absent {
            // Where another transaction makes the same row, this waits for it.
            tx.insert_absent(INSERT, slot.key()?.to_vec()).await?;
        }
        this.read(texts, tx, &absent, true).await?;
        let rest = looked.union(added).filter(|slot| !own.contains(slot)).copied().collect();
        this.read(texts, tx, &rest, false).await?;
        Ok(this)
    }

    async fn read<T: Tx>(
        &mut self,
        texts: &AggregateTexts,
        tx: &mut T,
        slots: &BTreeSet<Slot>,
        locks: bool,
    ) -> Result<(), SqlError> {
        let mut by_time: BTreeMap<Slot, Vec<u64>> = BTreeMap::new();
        for slot in slots {
            by_time.entry(Slot { person: 0, ..*slot }).or_default().push(slot.person);
        }
        for (of, persons) in by_time {
            let is_own = of.scope == Scope::Own;
            for (query, persons) in if is_own { &texts.own } else { &texts.teams }.padded(&persons) {
                let mut params = vec![Value::from(of.tenant.stored()), of.window.into(), of.period.into()];
                if !is_own {
                    params.push(of.scope.stored().into());
                }
                for person in persons {
                    params.push(stored(person)?.into());
                }
                let rows = match locks {
                    true => tx.lock_rows(query, params, Lock::Wait).await?,
                    false => tx.rows(query, params).await?,
                };
                for mut row in rows {
                    let (slot, sum) = (Slot { person: row.number()?, ..of }, (row.int()?, row.int()?));
                    let held = self.held.entry(slot).or_default();
                    // Each part was counted by who saw it with the others; together they are money.
                    *held = (held.0.saturating_add(sum.0), held.1.saturating_add(sum.1));
                    if !is_own && row.int()? == i64::from(self.part) {
                        self.parts.insert(slot, sum);
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds to rows that were opened for it; `false`: a sum would leave its range, and nothing was
    /// added.
    pub(crate) fn add(&mut self, slots: &BTreeSet<Slot>, more: Sum) -> bool {
        let sum = |of: &BTreeMap<Slot, Sum>, slot: &Slot| plus(of.get(slot).copied().unwrap_or_default(), more);
        let sums = slots.iter().map(|slot| Some((*slot, sum(&self.held, slot)?, sum(&self.parts, slot)?)));
        let Some(sums) = sums.collect::<Option<Vec<_>>>() else { return false };
        for (slot, held, part) in sums {
            self.held.insert(slot, held);
            self.parts.insert(slot, part);
            self.changed.insert(slot);
        }
        true
    }

    /// Writes what a person's aggregates come to into what is frozen of them.
    pub(crate) fn freeze(&self, person: &mut Person, aggs: &BTreeSet<Agg>, (tenant, at_ms): (TenantId, u64)) {
        for agg in aggs {
            let Some(scope) = Scope::of(agg.over) else { continue };
            let slot = Slot::of(tenant, person.id, (agg.window, scope), at_ms);
            let held = self.held.get(&slot).copied().unwrap_or_default();
            let figure = if agg.measure == Measure::Sales { held.0 } else { held.1 };
            person.figures.insert(agg.to_string(), figure);
        }
    }

    /// Writes what was added.
    pub(crate) async fn write<T: Tx>(self, tx: &mut T) -> Result<(), SqlError> {
        const KEY: [&str; 6] = ["tenant", "window_kind", "period", "person", "scope", "part"];
        for slot in self.changed {
            let of = |sums: &BTreeMap<Slot, Sum>| sums.get(&slot).copied().unwrap_or_default();
            if slot.scope == Scope::Own {
                let (sales, orders) = of(&self.held);
                let mut params = vec![sales.into(), orders.into()];
                params.extend(slot.key()?);
                tx.exec(UPDATE, params).await?;
            } else {
                let (sales, orders) = of(&self.parts);
                let mut values = slot.key()?.to_vec();
                values.extend([slot.scope.stored().into(), self.part.into(), sales.into(), orders.into()]);
                tx.upsert("team_parts", &KEY, &["sales", "orders"], values).await?;
            }
        }
        Ok(())
    }
}

/// Net sales of a shop in a month, as far as plans with closings counted them.
pub(crate) async fn of_shop<T: Tx>(tx: &mut T, tenant: TenantId, at_ms: u64) -> Result<i64, SqlError> {
    let slot = Slot::of_shop(tenant, at_ms);
    let known =
        Aggregates::open(&AggregateTexts::default(), tx, (0, &BTreeSet::new()), &BTreeSet::from([slot])).await?;
    Ok(known.held.get(&slot).map_or(0, |sum| sum.0))
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

    #[test]
    fn a_team_is_the_person_and_the_levels_below() {
        let levels = |scope: Scope| (0..4).filter(|level| scope.covers(*level)).collect::<Vec<_>>();
        let scopes = [Scope::Own, Scope::Direct, Scope::Below(0), Scope::Below(1), Scope::Below(2)];
        assert_eq!(scopes.map(levels), [vec![0], vec![1], vec![0, 1, 2, 3], vec![0, 1], vec![0, 1, 2]]);
        assert_eq!(scopes.map(Scope::levels), [1, 2, DEPTH_MAX, 2, 3]);
        assert_eq!(Scope::of(Over::Leg), None);
    }

    #[test]
    fn a_sum_that_leaves_its_range_adds_nothing_to_any_row() {
        let tenant = TenantId::new(7).unwrap();
        let slot = |person| Slot::of(tenant, person, (Window::Total, Scope::Own), 1);
        let mut known = Aggregates { held: BTreeMap::from([(slot(2), (i64::MAX - 5, 0))]), ..Aggregates::default() };
        let both = BTreeSet::from([slot(1), slot(2)]);
        assert!(!known.add(&both, (6, 1)));
        assert_eq!((known.held.len(), known.changed.len()), (1, 0));
        assert!(known.add(&both, (5, 1)));
        assert_eq!((known.held[&slot(1)], known.held[&slot(2)]), ((5, 1), (i64::MAX, 1)));
    }
}

//! What rules with a limit over a time have paid: rows of a person, or of all, that whoever pays
//! locks first. So two partitions at once do not pass a limit together. A row grows by what is paid
//! and shrinks by what refunds take back, in the transaction that posts it; its window is that of
//! the moment of the order.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::TenantId;
use store::sql::{Fixed, Lock, SqlError, Tx, Value, stored};

use crate::{
    aggregates::period,
    evaluate::To,
    plan::{Per, Plan, Window},
};

const INSERT: &str = "INSERT INTO limit_uses (tenant, window_kind, period, rule_name, person, paid) \
                      VALUES (?, ?, ?, ?, ?, 0)";
const UPDATE: &str = "UPDATE limit_uses SET paid = ? \
                      WHERE tenant = ? AND window_kind = ? AND period = ? AND rule_name = ? AND person = ?";

/// A limit over a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limited {
    /// The rule; empty for the plan's own.
    rule: String,
    window: Window,
    /// For each person, or for all together.
    by_person: bool,
}

impl Limited {
    /// Those of a plan.
    pub(crate) fn of(plan: &Plan) -> Vec<Self> {
        let rules = plan.rules.iter().map(|rule| (&*rule.name, rule.limit));
        let all = rules.chain([("", plan.limit)]);
        let over_time = all.filter_map(|(rule, limit)| {
            let limit = limit?;
            Some(Self { rule: rule.to_owned(), window: limit.window?, by_person: limit.per == Per::User })
        });
        over_time.collect()
    }

    fn counts(&self, to: &To) -> bool {
        to.beneficiary.is_some() && (self.rule.is_empty() || self.rule == to.rule)
    }

    fn person(&self, to: &To) -> u64 {
        to.beneficiary.filter(|_| self.by_person).unwrap_or(0)
    }

    fn row(&self, tenant: TenantId, person: u64, at_ms: u64) -> Use {
        let (window, period) = period(self.window, at_ms);
        Use { tenant, window, period, rule: self.rule.clone(), person }
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    tenant: TenantId,
    window: i64,
    period: i64,
    rule: String,
    /// 0 for all together.
    person: u64,
}

impl Use {
    /// Those that payouts to these people at the moment of an order may change.
    pub(crate) fn of(limits: &[Limited], tenant: TenantId, people: &BTreeSet<u64>, at_ms: u64) -> BTreeSet<Self> {
        let of = |limited: &Limited| match limited.by_person {
            true => people.iter().map(|person| limited.row(tenant, *person, at_ms)).collect::<Vec<_>>(),
            false => vec![limited.row(tenant, 0, at_ms)],
        };
        limits.iter().flat_map(of).collect()
    }

    fn key(&self) -> Result<[Value; 5], SqlError> {
        let person = stored(self.person)?.into();
        Ok([self.tenant.stored().into(), self.window.into(), self.period.into(), (&*self.rule).into(), person])
    }
}

/// The query of rows, whose text is made once.
#[derive(Debug)]
pub(crate) struct LimitTexts(Fixed);

impl Default for LimitTexts {
    fn default() -> Self {
        Self(Fixed::new(
            "SELECT person, paid FROM limit_uses WHERE tenant = ? AND window_kind = ? AND period = ? \
             AND rule_name = ? AND person IN ([?,]) ORDER BY person",
        ))
    }
}

/// What a transaction knows of some rows, and adds to them.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    held: BTreeMap<Use, i64>,
    changed: BTreeSet<Use>,
}

impl Limits {
    /// Locks these rows until the transaction ends: after aggregates, before people.
    pub(crate) async fn open<T: Tx>(texts: &LimitTexts, tx: &mut T, uses: &BTreeSet<Use>) -> Result<Self, SqlError> {
        let mut this = Self::default();
        this.lock(texts, tx, uses.iter()).await?;
        let absent: Vec<&Use> = uses.iter().filter(|row| !this.held.contains_key(row)).collect();
        for row in &absent {
            // Where another transaction makes the same row, this waits for it.
            tx.insert_absent(INSERT, row.key()?.to_vec()).await?;
        }
        this.lock(texts, tx, absent.into_iter()).await?;
        Ok(this)
    }

    async fn lock<'u, T: Tx>(
        &mut self,
        texts: &LimitTexts,
        tx: &mut T,
        uses: impl Iterator<Item = &'u Use>,
    ) -> Result<(), SqlError> {
        let mut by_limit: BTreeMap<Use, Vec<u64>> = BTreeMap::new();
        for row in uses {
            by_limit.entry(Use { person: 0, ..row.clone() }).or_default().push(row.person);
        }
        for (of, persons) in by_limit {
            for (query, persons) in texts.0.padded(&persons) {
                let [tenant, window, period, rule, _] = of.key()?;
                let mut params = vec![tenant, window, period, rule];
                for person in persons {
                    params.push(stored(person)?.into());
                }
                for mut row in tx.lock_rows(query, params, Lock::Wait).await? {
                    self.held.insert(Use { person: row.number()?, ..of.clone() }, row.int()?);
                }
            }
        }
        Ok(())
    }

    /// What these limits have let through before, as an evaluation takes it: by rule and person.
    pub(crate) fn used(
        &self,
        limits: &[Limited],
        tenant: TenantId,
        people: &BTreeSet<u64>,
        at_ms: u64,
    ) -> BTreeMap<(String, u64), i64> {
        let uses = Use::of(limits, tenant, people, at_ms);
        let paid = |row: &Use| self.held.get(row).copied().filter(|paid| *paid != 0);
        uses.into_iter().filter_map(|row| Some(((row.rule.clone(), row.person), paid(&row)?))).collect()
    }

    /// Adds what is posted of a line, or taken back.
    pub(crate) fn add(&mut self, limits: &[Limited], (tenant, at_ms): (TenantId, u64), deltas: &BTreeMap<To, i64>) {
        for limited in limits {
            for (to, delta) in deltas.iter().filter(|(to, _)| limited.counts(to)) {
                let row = limited.row(tenant, limited.person(to), at_ms);
                let paid = self.held.entry(row.clone()).or_default();
                // A limit is an amount of money, and what is paid stays below it.
                *paid = paid.saturating_add(*delta);
                self.changed.insert(row);
            }
        }
    }

    /// Writes what was added.
    pub(crate) async fn write<T: Tx>(self, tx: &mut T) -> Result<(), SqlError> {
        for row in self.changed {
            let mut params = vec![self.held.get(&row).copied().unwrap_or_default().into()];
            params.extend(row.key()?);
            tx.exec(UPDATE, params).await?;
        }
        Ok(())
    }
}

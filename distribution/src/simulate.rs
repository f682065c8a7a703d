//! What a plan would have paid on past orders, beside what today's plan pays on them: the evaluator
//! over what these orders froze. Nothing is written, and no transaction is opened, so that the
//! intake is not kept waiting. Where a plan looks higher up than the one that an order froze, the
//! history of the relations says who stood there.

mod picture;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::id::{OrderId, TenantId};
use store::sql::{Sql, SqlError, stored};

use crate::{
    evaluate::{Frozen, evaluate},
    intake::TOUCH_DAYS,
    people::{Above, PathTexts, paths_seen},
    plan::{Plan, Relation},
    published::{InForce, document},
};

pub(crate) use picture::picture;

/// Orders of one simulation, at most.
const LINES_MAX: usize = 20_000;
/// Orders read at once.
const PAGE: u32 = 200;

const PLANS: &str = "SELECT version, from_ms, document FROM plans WHERE tenant = ? ORDER BY version";
/// Orders in the order of their numbers, which is that of their time.
const LINES: &str = "SELECT e.order_id, e.plan_version, e.frozen, (\
                     SELECT MAX(r.refunded) FROM evaluations r WHERE r.order_id = e.order_id) FROM evaluations e \
                     WHERE e.tenant = ? AND e.order_id > ? AND e.order_id < ? AND e.frozen <> '' \
                     ORDER BY e.order_id LIMIT ?";

/// What one plan pays on all lines, minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Side {
    /// With breakage.
    pub(crate) cost: i64,
    /// Of it what no one gets.
    pub(crate) breakage: i64,
}

/// What somebody gets, minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Share {
    pub(crate) today: i64,
    pub(crate) then: i64,
}

/// The line that costs the greatest part of its net.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dearest {
    pub(crate) order: u64,
    /// Net after refunds, minor units.
    pub(crate) net: i64,
    pub(crate) cost: i64,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    /// Orders that were evaluated.
    pub(crate) lines: usize,
    /// Orders that did not freeze what one of the plans looks at.
    pub(crate) left_out: usize,
    /// Their net after refunds, minor units; of those that were evaluated.
    pub(crate) net: i64,
    pub(crate) today: Side,
    pub(crate) then: Side,
    pub(crate) people: BTreeMap<u64, Share>,
    pub(crate) dearest: Option<Dearest>,
    /// Version of today's plan.
    pub(crate) version: Option<u32>,
    /// The order at which it ended, where there were more than a simulation takes.
    pub(crate) ended_at: Option<OrderId>,
}

/// A stored line.
struct Line {
    order: OrderId,
    version: u32,
    frozen: Frozen,
}

/// The plans that are held against each other, and those that the lines froze.
struct Plans {
    then: InForce,
    today: Option<Arc<InForce>>,
    frozen: BTreeMap<u32, Arc<InForce>>,
    /// Both plans' climbs, the deeper one of each relation.
    climbs: BTreeMap<Relation, u8>,
}

impl Plans {
    async fn read<S: Sql>(sql: &S, tenant: TenantId, plan: Plan, now_ms: u64) -> Result<(Self, Option<u32>), SqlError> {
        let (mut frozen, mut last) = (BTreeMap::new(), None);
        for mut row in sql.rows(PLANS, vec![tenant.stored().into()]).await? {
            let (version, from_ms): (u32, u64) = (row.number()?, row.number()?);
            frozen.insert(version, Arc::new(InForce::of(document(&mut row)?)));
            if from_ms <= now_ms {
                last = Some(version);
            }
        }
        let today = last.and_then(|version| frozen.get(&version)).map(Arc::clone);
        let then = InForce::of(plan);
        let mut climbs = then.climbs.clone();
        for (relation, depth) in today.iter().flat_map(|plan| &plan.climbs) {
            climbs.entry(*relation).and_modify(|most| *most = (*most).max(*depth)).or_insert(*depth);
        }
        Ok((Self { then, today, frozen, climbs }, last))
    }

    fn sides(&self) -> impl Iterator<Item = &InForce> {
        self.today.as_deref().into_iter().chain([&self.then])
    }

    /// The relations that a line must be climbed again for; `None` where it did not freeze the
    /// aggregates that are looked at, which are not history.
    fn lacks(&self, version: u32) -> Option<Vec<Relation>> {
        let frozen = self.frozen.get(&version)?;
        let lacks = |relation: &Relation, depth: u8| frozen.climbs.get(relation).is_none_or(|most| *most < depth);
        let again: Vec<Relation> =
            self.climbs.iter().filter(|(relation, depth)| lacks(relation, **depth)).map(|(one, _)| *one).collect();
        let aggs: BTreeSet<_> = self.sides().flat_map(|plan| &plan.aggs).collect();
        let has_all = aggs.iter().all(|agg| frozen.aggs.contains(*agg));
        (has_all && (again.is_empty() || aggs.is_empty())).then_some(again)
    }
}

/// Evaluates a plan on the orders of a time, from `since_ms` to before `until_ms`.
///
/// # Errors
/// [`SqlError`]; nothing has changed.
pub(crate) async fn simulate<S: Sql>(
    sql: &S,
    (tenant, plan): (TenantId, Plan),
    (since_ms, until_ms): (u64, u64),
    now_ms: u64,
) -> Result<Outcome, SqlError> {
    let (plans, version) = Plans::read(sql, tenant, plan, now_ms).await?;
    let texts = PathTexts::default();
    let mut outcome = Outcome { version, ..Outcome::default() };
    let end = stored(OrderId::floor_at(until_ms))?;
    let mut after = stored(OrderId::floor_at(since_ms).saturating_sub(1))?;
    loop {
        let params = vec![tenant.stored().into(), after.into(), end.into(), PAGE.into()];
        let rows = sql.rows(LINES, params).await?;
        let is_last = rows.len() < PAGE as usize;
        let mut lines = Vec::with_capacity(rows.len());
        for mut row in rows {
            let (order, version, frozen) = (row.id(OrderId::new)?, row.number()?, row.text()?);
            let frozen: Result<Frozen, _> = serde_json::from_str(&frozen);
            let mut frozen =
                frozen.map_err(|error| SqlError::Broken(format!("order {order} froze: {error}").into()))?;
            frozen.refunded = row.int()?;
            frozen.returned = InForce::returned(&frozen);
            after = order.stored();
            lines.push(Line { order, version, frozen });
        }
        climb(sql, &texts, &plans, &mut lines).await?;
        for line in &lines {
            outcome.add(&plans, line)?;
        }
        if is_last {
            return Ok(outcome);
        }
        if outcome.lines + outcome.left_out >= LINES_MAX {
            outcome.ended_at = lines.last().map(|line| line.order);
            return Ok(outcome);
        }
    }
}

/// Puts the whole path into lines that froze less of it than the plans look at.
async fn climb<S: Sql>(sql: &S, texts: &PathTexts, plans: &Plans, lines: &mut [Line]) -> Result<(), SqlError> {
    let mut again: BTreeMap<Relation, Vec<OrderId>> = BTreeMap::new();
    for line in &*lines {
        for relation in plans.lacks(line.version).unwrap_or_default() {
            again.entry(relation).or_default().push(line.order);
        }
    }
    for (relation, orders) in again {
        let depth = plans.climbs.get(&relation).copied().unwrap_or(0);
        let mut found = paths_seen(texts, sql, &orders, (relation, depth, TOUCH_DAYS)).await?;
        for line in &mut *lines {
            if let Some(Above { path, .. }) = found.remove(&line.order) {
                line.frozen.paths.insert(relation, path);
            }
        }
    }
    Ok(())
}

impl Outcome {
    fn add(&mut self, plans: &Plans, line: &Line) -> Result<(), SqlError> {
        if plans.lacks(line.version).is_none() {
            self.left_out += 1;
            return Ok(());
        }
        let beyond = || SqlError::Broken("the sums of a simulation do not fit 64 bits".into());
        let left = line.frozen.net - line.frozen.refunded;
        self.lines += 1;
        self.net = self.net.checked_add(left).ok_or_else(beyond)?;
        if let Some(today) = &plans.today {
            let (side, of) = pays(today, &line.frozen)?;
            self.today = self.today.and(side).ok_or_else(beyond)?;
            for (person, amount) in of {
                self.people.entry(person).or_default().today += amount;
            }
        }
        let (side, of) = pays(&plans.then, &line.frozen)?;
        self.then = self.then.and(side).ok_or_else(beyond)?;
        for (person, amount) in of {
            self.people.entry(person).or_default().then += amount;
        }
        let part = |dearest: &Dearest, of: i64| i128::from(dearest.cost) * i128::from(of);
        let dearest = Dearest { order: line.order.get(), net: left, cost: side.cost };
        if side.cost > 0 && self.dearest.is_none_or(|most| part(&dearest, most.net) > part(&most, left)) {
            self.dearest = Some(dearest);
        }
        Ok(())
    }
}

impl Side {
    fn and(self, more: Self) -> Option<Self> {
        let (cost, breakage) = (self.cost.checked_add(more.cost)?, self.breakage.checked_add(more.breakage)?);
        Some(Self { cost, breakage })
    }
}

/// What a plan pays on a line, and to whom.
fn pays(plan: &InForce, frozen: &Frozen) -> Result<(Side, BTreeMap<u64, i64>), SqlError> {
    let mut frozen = frozen.clone();
    // As far up as this plan looks.
    for (relation, path) in &mut frozen.paths {
        path.truncate(plan.climbs.get(relation).copied().unwrap_or(0).into());
    }
    let outcome = evaluate(&plan.plan, &frozen).map_err(|error| SqlError::Broken(error.to_string().into()))?;
    let (mut side, mut people) = (Side::default(), BTreeMap::new());
    for (to, amount) in outcome.sums() {
        side.cost += amount;
        match to.beneficiary {
            Some(person) => *people.entry(person).or_insert(0) += amount,
            None => side.breakage += amount,
        }
    }
    Ok((side, people))
}

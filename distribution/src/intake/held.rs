//! What lines froze: read from who stood above the buyer where a line is paid now, and from its
//! evaluation where it was paid earlier.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::id::{OrderId, TenantId};
use kit::{clock::Clock, random::Random};
use store::sql::{SqlError, Tx, Value};

use super::{Intake, order::Known};
use crate::{
    aggregates::{Aggregates, Slot},
    evaluate::{Frozen, Person, To},
    limits::{Limits, Use},
    people::{Above, paths},
    plan::{On, Relation},
    published::InForce,
};

/// Sequence of the event of a payment, which all freezes stand under.
pub(super) const PAID: u8 = 2;
/// How long a touch counts, days.
pub(crate) const TOUCH_DAYS: u64 = 30;

/// The plan of each order.
pub(super) type PlansOf = BTreeMap<OrderId, (TenantId, Arc<InForce>)>;

/// A line whose payouts are known.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) tenant: TenantId,
    pub(super) plan: Arc<InForce>,
    pub(super) frozen: Frozen,
    pub(super) accrued: BTreeMap<To, i64>,
    /// What of it is counted as gone back, once an event of the span has told.
    pub(super) gone_back: Option<i64>,
}

impl Held {
    fn at_ms(&self) -> u64 {
        OrderId::new(self.frozen.line).map_or(0, OrderId::minted_at_ms)
    }

    /// Whose payouts it may change.
    pub(super) fn payees(&self) -> BTreeSet<u64> {
        let source = Some(&self.frozen.source).filter(|_| self.plan.pays_source);
        let people = self.frozen.paths.values().flatten().chain(source).map(|person| person.id);
        people.chain(self.accrued.keys().filter_map(|to| to.beneficiary)).collect()
    }

    /// Rows of aggregates that the line counts in.
    pub(super) fn counts_in(&self) -> BTreeSet<Slot> {
        if self.plan.collected.is_empty() {
            return BTreeSet::new();
        }
        let path = self.frozen.paths.get(&Relation::Referral).map(Vec::as_slice).unwrap_or_default();
        let above = path.iter().map(|person| person.id).chain(self.frozen.team.iter().copied());
        let mut slots = Slot::of_line(self.tenant, above, &self.plan.collected, self.at_ms());
        slots.extend(self.plan.closes.then(|| Slot::of_shop(self.tenant, self.at_ms())));
        slots
    }

    /// Rows of aggregates that its evaluation looks at.
    pub(super) fn looks_at(&self) -> BTreeSet<Slot> {
        let people = self.frozen.paths.values().flatten().chain([&self.frozen.source]);
        let of = |person: &Person| {
            let person = person.id;
            Slot::looked_at(self.tenant, person, &self.plan.aggs, self.at_ms())
        };
        people.flat_map(of).collect()
    }

    /// Rows of limits that its payouts are counted in.
    pub(super) fn uses(&self) -> BTreeSet<Use> {
        match self.plan.limits.is_empty() {
            true => BTreeSet::new(),
            false => Use::of(&self.plan.limits, self.tenant, &self.payees(), self.at_ms()),
        }
    }

    /// Freezes what its people have sold and been paid up to now, the line included in what was
    /// sold.
    pub(super) fn freeze(&mut self, aggregates: &Aggregates, limits: &Limits) {
        let at = (self.tenant, self.at_ms());
        if !self.plan.limits.is_empty() {
            self.frozen.used = limits.used(&self.plan.limits, at.0, &self.payees(), at.1);
        }
        let frozen = &mut self.frozen;
        for person in frozen.paths.values_mut().flatten().chain([&mut frozen.source]) {
            aggregates.freeze(person, &self.plan.aggs, at);
        }
    }

    /// Counts in its limits what is posted.
    pub(super) fn count(&self, limits: &mut Limits, deltas: &BTreeMap<To, i64>) {
        limits.add(&self.plan.limits, (self.tenant, self.at_ms()), deltas);
    }
}

impl<C: Clock, R: Random> Intake<C, R> {
    /// What the orders that are paid now freeze: the plan of the moment of the order, who stood
    /// above the buyer then, and what these people were.
    pub(super) async fn freeze<T: Tx>(
        &self,
        tx: &mut T,
        paid: &[OrderId],
        plans: &PlansOf,
        known: &BTreeMap<OrderId, Known>,
    ) -> Result<BTreeMap<OrderId, Held>, SqlError> {
        let mut climbs: BTreeMap<Relation, (u8, Vec<OrderId>)> = BTreeMap::new();
        for order in paid {
            let Some((_, plan)) = plans.get(order) else { continue };
            for relation in plan.climbs.keys() {
                let climb = climbs.entry(*relation).or_default();
                climb.0 = climb.0.max(plan.climb(*relation));
                climb.1.push(*order);
            }
        }
        let mut found: BTreeMap<Relation, BTreeMap<OrderId, Above>> = BTreeMap::new();
        for (relation, (depth, orders)) in climbs {
            found.insert(relation, paths(&self.texts.paths, tx, &orders, (relation, depth, TOUCH_DAYS)).await?);
        }
        let mut held = BTreeMap::new();
        for order in paid {
            let (Some((tenant, plan)), Some(line)) = (plans.get(order), known.get(order).and_then(|known| known.line))
            else {
                continue;
            };
            let mut frozen = Frozen::line(order.get(), line.net);
            frozen.on = On::Matured;
            frozen.sequence = PAID.into();
            frozen.source = Person::new(line.buyer);
            frozen.quantity = line.quantity.into();
            for (relation, depth) in &plan.climbs {
                let above = found.get_mut(relation).and_then(|orders| orders.remove(order)).unwrap_or_default();
                frozen.source = above.source.unwrap_or(frozen.source);
                let mut path = above.path;
                if *relation == Relation::Referral {
                    let counted = path.iter().take(plan.levels.into()).skip((*depth).into());
                    frozen.team = counted.map(|person| person.id).collect();
                }
                path.truncate((*depth).into());
                frozen.paths.insert(*relation, path);
            }
            let (tenant, plan) = (*tenant, Arc::clone(plan));
            held.insert(*order, Held { tenant, plan, frozen, accrued: BTreeMap::new(), gone_back: None });
        }
        Ok(held)
    }

    /// Reads what orders froze earlier, and what has accrued of them. Those whose row does not
    /// read, and why.
    pub(super) async fn load_held<T: Tx>(
        &self,
        tx: &mut T,
        orders: &[OrderId],
        plans: &PlansOf,
        held: &mut BTreeMap<OrderId, Held>,
    ) -> Result<BTreeMap<OrderId, String>, SqlError> {
        let mut damaged = BTreeMap::new();
        let ids: Vec<i64> = orders.iter().map(|order| order.stored()).collect();
        for (query, ids) in self.texts.frozen.padded(&ids) {
            for mut row in tx.rows(query, ids.into_iter().map(Value::from).collect()).await? {
                let order = row.id(OrderId::new)?;
                let Some((tenant, plan)) = plans.get(&order) else { continue };
                match serde_json::from_str(&row.text()?) {
                    Ok(frozen) => {
                        let (tenant, plan) = (*tenant, Arc::clone(plan));
                        held.insert(order, Held { tenant, plan, frozen, accrued: BTreeMap::new(), gone_back: None });
                    }
                    Err(error) => drop(damaged.insert(order, format!("what its payment froze does not read: {error}"))),
                }
            }
        }
        let mut by_tenant: BTreeMap<TenantId, Vec<i64>> = BTreeMap::new();
        for order in orders {
            if let Some((tenant, _)) = plans.get(order) {
                by_tenant.entry(*tenant).or_default().push(order.stored());
            }
        }
        for (tenant, orders) in by_tenant {
            for (query, orders) in self.texts.accrued.padded(&orders) {
                let mut params = vec![Value::from(tenant.stored())];
                params.extend(orders.into_iter().map(Value::from));
                for mut row in tx.rows(query, params).await? {
                    let (order, rule, person) = (row.id(OrderId::new)?, row.text()?, row.number::<u64>()?);
                    let to = To { rule, beneficiary: (person != 0).then_some(person) };
                    let amount = row.int()?;
                    if let Some(held) = held.get_mut(&order) {
                        // What is paid out is what is charged.
                        *held.accrued.entry(to).or_default() -= amount;
                    }
                }
            }
        }
        Ok(damaged)
    }
}

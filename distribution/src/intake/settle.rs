//! Freezes, evaluates and posts what a span of events came to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::id::{OrderId, TenantId};
use kit::{clock::Clock, random::Random};
use store::sql::{SqlError, Tx, Value, stored};

use super::{Changes, Intake, Refunded, order::Known};
use crate::{
    aggregates::{Aggregates, Slot},
    book::{Book, DAY_MS, Owner},
    evaluate::{Frozen, Key, Outcome, Person, To, evaluate},
    people::{Above, paths},
    plan::{On, Relation, Window},
    published::InForce,
};

/// Sequence of the event of a payment, which all freezes stand under.
const PAID: u8 = 2;
/// How long a touch counts, days.
pub(crate) const TOUCH_DAYS: u64 = 30;

/// A line whose payouts are known.
#[derive(Debug)]
struct Held {
    tenant: TenantId,
    plan: Arc<InForce>,
    frozen: Frozen,
    accrued: BTreeMap<To, i64>,
}

impl Held {
    fn at_ms(&self) -> u64 {
        OrderId::new(self.frozen.line).map_or(0, OrderId::minted_at_ms)
    }

    /// Whose customer the buyer was.
    fn seller(&self) -> Option<u64> {
        self.frozen.paths.get(&Relation::Referral)?.first().map(|person| person.id)
    }

    fn people(&self) -> impl Iterator<Item = &Person> {
        self.frozen.paths.values().flatten().chain([&self.frozen.source])
    }

    fn slots(&self, people: impl Iterator<Item = u64>) -> BTreeSet<Slot> {
        let windows: BTreeSet<Window> = self.plan.aggs.iter().map(|agg| agg.window).collect();
        let of = |person| windows.iter().map(move |window| (person, *window));
        people.flat_map(of).map(|(person, window)| Slot::of(self.tenant, person, window, self.at_ms())).collect()
    }

    /// Counts sales and orders for whose customer the buyer was.
    fn count(&self, aggregates: &mut Aggregates, more: (i64, i64)) -> Result<(), SqlError> {
        self.slots(self.seller().into_iter()).into_iter().try_for_each(|slot| aggregates.add(slot, more))
    }

    fn freeze_aggregates(&mut self, aggregates: &Aggregates) {
        let at = (self.tenant, self.at_ms());
        let frozen = &mut self.frozen;
        for person in frozen.paths.values_mut().flatten().chain([&mut frozen.source]) {
            aggregates.freeze(person, &self.plan.aggs, at);
        }
    }
}

/// What is to be posted.
#[derive(Debug, Default)]
struct Postings {
    deltas: Vec<(TenantId, Key, i64)>,
    evaluations: Vec<Value>,
}

impl<C: Clock, R: Random> Intake<C, R> {
    pub(super) async fn settle<T: Tx>(
        &mut self,
        tx: &mut T,
        span: &Changes,
        versions: &BTreeMap<OrderId, u32>,
        known: &BTreeMap<OrderId, Known>,
        now_ms: u64,
    ) -> Result<(), SqlError> {
        tx.insert(&self.texts.insert_lines, span.lines.clone()).await?;
        let mut plans = BTreeMap::new();
        let touched = span.paid.iter().chain(&span.received).chain(span.refunds.iter().map(|refund| &refund.order));
        for order in touched {
            let (Some(Known { line: Some(line), plan, .. }), Some(in_force)) = (known.get(order), versions.get(order))
            else {
                continue;
            };
            let tenant = tenant_of(line.tenant)?;
            // What the payment froze, whatever is in force now.
            let plan = self.plans.get(tx, tenant, plan.unwrap_or(*in_force)).await?;
            plans.insert(*order, (tenant, plan));
        }
        let mut held = self.freeze(tx, &span.paid, &plans, known).await?;
        let later: Vec<OrderId> =
            span.refunds.iter().map(|refund| refund.order).filter(|order| !held.contains_key(order)).collect();
        self.load_held(tx, &later, &plans, &mut held).await?;
        let mut aggregates = self.aggregates(tx, &held).await?;
        let mut postings = Postings::default();
        for order in &span.paid {
            let Some(held) = held.get_mut(order) else { continue };
            held.count(&mut aggregates, (held.frozen.net, 1))?;
            held.freeze_aggregates(&aggregates);
            postings.evaluate(held, PAID, now_ms)?;
        }
        for Refunded { order, sequence, all, more } in &span.refunds {
            let Some(held) = held.get_mut(order) else { continue };
            held.frozen.refunded = *all;
            held.frozen.returned = InForce::returned(&held.frozen);
            held.count(&mut aggregates, (-more, -i64::from(*all == held.frozen.net)))?;
            postings.evaluate(held, *sequence, now_ms)?;
        }
        aggregates.write(tx).await?;
        let mut receipts = Vec::with_capacity(span.received.len() * 5);
        for order in &span.received {
            let Some((tenant, plan)) = plans.get(order) else { continue };
            let matures = stored(now_ms + u64::from(plan.plan.settle.days) * DAY_MS)?;
            receipts.extend([order.stored().into(), tenant.stored().into(), stored(now_ms)?.into()]);
            receipts.extend([Value::from(matures), matures.into()]);
        }
        tx.insert(&self.texts.insert_receipts, receipts).await?;
        self.post(tx, postings, now_ms).await
    }

    /// The aggregates that the plans of these lines look at.
    async fn aggregates<T: Tx>(&self, tx: &mut T, held: &BTreeMap<OrderId, Held>) -> Result<Aggregates, SqlError> {
        let (mut added, mut looked) = (BTreeSet::new(), BTreeSet::new());
        for line in held.values() {
            added.extend(line.slots(line.seller().into_iter()));
            looked.extend(line.slots(line.people().map(|person| person.id)));
        }
        if added.is_empty() && looked.is_empty() {
            return Ok(Aggregates::default());
        }
        Aggregates::open(&self.texts.aggregates, tx, &added, &looked).await
    }

    async fn post<T: Tx>(&self, tx: &mut T, postings: Postings, now_ms: u64) -> Result<(), SqlError> {
        tx.insert(&self.texts.insert_evaluations, postings.evaluations).await?;
        if postings.deltas.is_empty() {
            return Ok(());
        }
        let mut people: BTreeSet<Owner> = BTreeSet::new();
        let mut takers: BTreeSet<Owner> = BTreeSet::new();
        for (tenant, key, delta) in &postings.deltas {
            if let Some(person) = key.to.beneficiary {
                people.insert((*tenant, person));
                if *delta < 0 {
                    takers.insert((*tenant, person));
                }
            }
        }
        let mut book = Book::open(&self.texts.book, tx, &people, takers).await?;
        for (tenant, key, delta) in postings.deltas {
            book.payout(tenant, key, delta).map_err(|error| SqlError::Broken(error.to_string().into()))?;
        }
        book.write(tx, now_ms, self.part()?).await
    }

    /// What the orders that are paid now freeze: the plan of the moment of the order, who stood
    /// above the buyer then, and what these people were.
    async fn freeze<T: Tx>(
        &self,
        tx: &mut T,
        paid: &[OrderId],
        plans: &BTreeMap<OrderId, (TenantId, Arc<InForce>)>,
        known: &BTreeMap<OrderId, Known>,
    ) -> Result<BTreeMap<OrderId, Held>, SqlError> {
        let mut climbs: BTreeMap<Relation, (u8, Vec<OrderId>)> = BTreeMap::new();
        for order in paid {
            for (relation, depth) in plans.get(order).into_iter().flat_map(|(_, plan)| &plan.climbs) {
                let climb = climbs.entry(*relation).or_default();
                climb.0 = climb.0.max(*depth);
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
                let path: Vec<Person> = above.path.into_iter().take(usize::from(*depth)).collect();
                frozen.paths.insert(*relation, path);
            }
            let (tenant, plan) = (*tenant, Arc::clone(plan));
            held.insert(*order, Held { tenant, plan, frozen, accrued: BTreeMap::new() });
        }
        Ok(held)
    }

    /// Reads what orders froze earlier, and what has accrued of them.
    async fn load_held<T: Tx>(
        &self,
        tx: &mut T,
        orders: &[OrderId],
        plans: &BTreeMap<OrderId, (TenantId, Arc<InForce>)>,
        held: &mut BTreeMap<OrderId, Held>,
    ) -> Result<(), SqlError> {
        let ids: Vec<i64> = orders.iter().map(|order| order.stored()).collect();
        for (query, ids) in self.texts.frozen.padded(&ids) {
            for mut row in tx.rows(query, ids.into_iter().map(Value::from).collect()).await? {
                let order = row.id(OrderId::new)?;
                let Some((tenant, plan)) = plans.get(&order) else { continue };
                let frozen = serde_json::from_str(&row.text()?);
                let frozen =
                    frozen.map_err(|error| SqlError::Broken(format!("order {order} froze: {error}").into()))?;
                let (tenant, plan) = (*tenant, Arc::clone(plan));
                held.insert(order, Held { tenant, plan, frozen, accrued: BTreeMap::new() });
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
        Ok(())
    }
}

impl Postings {
    fn evaluate(&mut self, held: &mut Held, sequence: u8, now_ms: u64) -> Result<(), SqlError> {
        let plan = &held.plan.plan;
        // The range of each amount was looked at when the line came in.
        let outcome = evaluate(plan, &held.frozen).map_err(|error| SqlError::Broken(error.to_string().into()))?;
        let deltas = outcome.against(&held.accrued);
        self.row(held, sequence, &outcome, now_ms)?;
        for (to, delta) in deltas {
            *held.accrued.entry(to.clone()).or_default() += delta;
            let (plan, version, line) = (plan.name.clone(), plan.version, held.frozen.line);
            self.deltas.push((held.tenant, Key { plan, version, line, sequence: sequence.into(), to }, delta));
        }
        Ok(())
    }

    fn row(&mut self, held: &Held, sequence: u8, outcome: &Outcome, now_ms: u64) -> Result<(), SqlError> {
        let json = |text: serde_json::Result<String>| {
            text.map_err(|error| SqlError::Broken(format!("a trace is not written: {error}").into()))
        };
        let frozen = if sequence == PAID { json(serde_json::to_string(&held.frozen))? } else { String::new() };
        self.evaluations.extend([
            stored(held.frozen.line)?.into(),
            sequence.into(),
            held.tenant.stored().into(),
            held.plan.plan.version.into(),
            held.frozen.refunded.into(),
            stored(now_ms)?.into(),
            (&*frozen).into(),
            (&*json(serde_json::to_string(&outcome.trace))?).into(),
        ]);
        Ok(())
    }
}

fn tenant_of(number: u64) -> Result<TenantId, SqlError> {
    TenantId::new(number).map_err(|error| SqlError::Broken(error.to_string().into()))
}

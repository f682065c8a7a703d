//! Freezes, evaluates and posts what a span of events came to, each event whole or not at all: one
//! whose amounts do not fit is set aside with its cause, and the others go on.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    event::OrderEvent,
    id::{OrderId, PartitionId, TenantId},
};
use kit::{clock::Clock, random::Random};
use store::{
    consumer::Aside,
    sql::{SqlError, Tx, Value, stored},
};

use super::{
    Changes, Due, Intake, What,
    held::{Held, PAID, PlansOf},
    load::Texts,
    order::Known,
};
use crate::{
    aggregates::Aggregates,
    book::{Book, DAY_MS, Owner},
    evaluate::{Key, Outcome, evaluate},
    limits::Limits,
    published::InForce,
};

/// Why an event is not posted.
enum Unfit {
    /// Its own fault: set aside.
    Event(String),
    /// The database.
    Sql(SqlError),
}

impl From<SqlError> for Unfit {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

fn unfit(cause: impl ToString) -> Unfit {
    Unfit::Event(cause.to_string())
}

/// What the events of a span are held against and add to. Opened in this order, which is that of
/// its locks.
struct Books<'a> {
    aggregates: Aggregates,
    limits: Limits,
    book: Book<'a>,
    evaluations: Vec<Value>,
    now_ms: u64,
}

impl<C: Clock, R: Random> Intake<C, R> {
    /// Posts a span. What is set aside goes to `parked`, and what waits for it, to the span's own.
    pub(super) async fn settle<T: Tx>(
        &mut self,
        tx: &mut T,
        span: &mut Changes,
        (versions, known): (&BTreeMap<OrderId, u32>, &BTreeMap<OrderId, Known>),
        (partition, now_ms): (PartitionId, u64),
        parked: &mut Vec<Aside>,
    ) -> Result<(), SqlError> {
        tx.insert(&self.texts.insert_lines, std::mem::take(&mut span.lines)).await?;
        let plans = self.plans_of(tx, &span.due, versions, known).await?;
        let of = |what: fn(&What) -> bool| {
            let due = span.due.iter().filter(move |due| what(&due.what));
            due.map(|due| due.event.order).collect::<BTreeSet<_>>()
        };
        let paid: Vec<OrderId> = of(|what| matches!(what, What::Pay)).into_iter().collect();
        let mut held = self.freeze(tx, &paid, &plans, known).await?;
        let refunded = of(|what| matches!(what, What::Refund { .. }));
        let earlier: Vec<OrderId> = refunded.iter().filter(|order| !held.contains_key(order)).copied().collect();
        let damaged = self.load_held(tx, &earlier, &plans, &mut held).await?;
        let mut books = Books::open(&self.texts, tx, &held, (&refunded, partition), now_ms).await?;
        let (mut unpaid, mut receipts) = (BTreeSet::new(), Vec::new());
        let (first, then): (Vec<Due>, Vec<Due>) =
            std::mem::take(&mut span.due).into_iter().partition(|due| due.what == What::Pay);
        for due in first.into_iter().chain(then) {
            let order = due.event.order;
            let done = match (due.what, held.get_mut(&order)) {
                // Its payment is not posted: the event waits, as any that comes before it.
                _ if unpaid.contains(&order) => {
                    span.wait(&due.event, due.place, now_ms)?;
                    continue;
                }
                (What::Receive, _) => {
                    receipts.extend(receipt(order, &plans, now_ms)?);
                    continue;
                }
                (_, Some(held)) => books.post(held, &due.event, due.what),
                (_, None) => damaged.get(&order).map_or(Ok(()), |cause| Err(unfit(cause))),
            };
            match done {
                Ok(()) => span.settled += 1,
                Err(Unfit::Sql(error)) => return Err(error),
                Err(Unfit::Event(cause)) => {
                    unpaid.extend((due.what == What::Pay).then_some(order));
                    parked.push(due.aside(cause));
                }
            }
        }
        tx.insert(&self.texts.insert_receipts, receipts).await?;
        books.write(&self.texts, tx, self.part()?).await
    }

    async fn plans_of<T: Tx>(
        &mut self,
        tx: &mut T,
        due: &[Due],
        versions: &BTreeMap<OrderId, u32>,
        known: &BTreeMap<OrderId, Known>,
    ) -> Result<PlansOf, SqlError> {
        let mut plans = BTreeMap::new();
        for order in due.iter().map(|due| due.event.order) {
            let (Some(Known { line: Some(line), plan, .. }), Some(in_force)) =
                (known.get(&order), versions.get(&order))
            else {
                continue;
            };
            let tenant = TenantId::new(line.tenant).map_err(|error| SqlError::Broken(error.to_string().into()))?;
            // What the payment froze, whatever is in force now.
            let plan = self.plans.get(tx, tenant, plan.unwrap_or(*in_force)).await?;
            plans.insert(order, (tenant, plan));
        }
        Ok(plans)
    }
}

/// The row of a receipt; none where no plan is known.
fn receipt(order: OrderId, plans: &PlansOf, now_ms: u64) -> Result<Vec<Value>, SqlError> {
    let Some((tenant, plan)) = plans.get(&order) else { return Ok(Vec::new()) };
    let matures = Value::from(stored(now_ms + u64::from(plan.plan.settle.days) * DAY_MS)?);
    Ok(vec![order.stored().into(), tenant.stored().into(), stored(now_ms)?.into(), matures.clone(), matures])
}

impl<'a> Books<'a> {
    async fn open<T: Tx>(
        texts: &'a Texts,
        tx: &mut T,
        held: &BTreeMap<OrderId, Held>,
        (refunded, partition): (&BTreeSet<OrderId>, PartitionId),
        now_ms: u64,
    ) -> Result<Self, SqlError> {
        let (mut added, mut looked, mut uses) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (mut people, mut takers): (BTreeSet<Owner>, BTreeSet<Owner>) = (BTreeSet::new(), BTreeSet::new());
        for (order, line) in held {
            added.extend(line.counts_in());
            looked.extend(line.looks_at());
            uses.extend(line.uses());
            let payees = line.payees().into_iter().map(|person| (line.tenant, person));
            if refunded.contains(order) { takers.extend(payees) } else { people.extend(payees) }
        }
        let aggregates = Aggregates::open(&texts.aggregates, tx, (partition.0, &added), &looked).await?;
        let limits = Limits::open(&texts.limits, tx, &uses).await?;
        let book = Book::open(&texts.book, tx, &people, takers).await?;
        Ok(Self { aggregates, limits, book, evaluations: Vec::new(), now_ms })
    }

    /// Posts an event of a line; after an error nothing of it is there.
    fn post(&mut self, held: &mut Held, event: &OrderEvent, what: What) -> Result<(), Unfit> {
        let mut counted = (held.frozen.net, 1);
        if let What::Refund { all, before } = what {
            // An earlier event of the span may have been set aside: then this one tells of it too.
            let before = *held.gone_back.get_or_insert(before);
            held.frozen.refunded = all;
            held.frozen.returned = InForce::returned(&held.frozen);
            // An order counts until all of it is back.
            let is_back = |refunded| i64::from(refunded == held.frozen.net);
            counted = (before - all, is_back(before) - is_back(all));
        }
        let rows = held.counts_in();
        if !self.aggregates.add(&rows, counted) {
            return Err(unfit("the sales of who stands above do not fit 64 bits with it"));
        }
        let sequence = if what == What::Pay { PAID } else { event.sequence };
        if let Err(error) = self.evaluate(held, sequence) {
            // What was added can be taken off again.
            self.aggregates.add(&rows, (-counted.0, -counted.1));
            return Err(error);
        }
        if let What::Refund { all, .. } = what {
            held.gone_back = Some(all);
        }
        Ok(())
    }

    fn evaluate(&mut self, held: &mut Held, sequence: u8) -> Result<(), Unfit> {
        if sequence == PAID {
            held.freeze(&self.aggregates, &self.limits);
        }
        let outcome = evaluate(&held.plan.plan, &held.frozen).map_err(unfit)?;
        let deltas = outcome.against(&held.accrued);
        if !self.book.fits(held.tenant, &deltas) {
            return Err(unfit("the balance of a payee does not fit 64 bits with it"));
        }
        self.row(held, sequence, &outcome)?;
        held.count(&mut self.limits, &deltas);
        for (to, delta) in deltas {
            *held.accrued.entry(to.clone()).or_default() += delta;
            let (plan, version, line) = (held.plan.plan.name.clone(), held.plan.plan.version, held.frozen.line);
            let key = Key { plan, version, line, sequence: sequence.into(), to };
            // It fits: another error is a fault of this program.
            let posted = self.book.payout(held.tenant, key, delta);
            posted.map_err(|error| SqlError::Broken(error.to_string().into()))?;
        }
        Ok(())
    }

    fn row(&mut self, held: &Held, sequence: u8, outcome: &Outcome) -> Result<(), SqlError> {
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
            stored(self.now_ms)?.into(),
            (&*frozen).into(),
            (&*json(serde_json::to_string(&outcome.trace))?).into(),
        ]);
        Ok(())
    }

    async fn write<T: Tx>(self, texts: &Texts, tx: &mut T, part: i64) -> Result<(), SqlError> {
        self.aggregates.write(tx).await?;
        self.limits.write(tx).await?;
        tx.insert(&texts.insert_evaluations, self.evaluations).await?;
        self.book.write(tx, self.now_ms, part).await
    }
}

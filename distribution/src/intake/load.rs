//! What a span reads of its orders, and its rows that no posting needs.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::{
    event::{OrderEvent, decode_events},
    id::{OrderId, TenantId},
    record::{ORDER_EVENTS_TYPE, RecordError},
};
use store::{
    consumer::Aside,
    sql::{Fixed, Insert, Row, SqlError, Tx, Value},
};

use super::{
    Changes, Item,
    order::{Facts, Known},
};
use crate::{aggregates::AggregateTexts, book, limits::LimitTexts, people::PathTexts, published::Times};

pub(super) const WAITING_COLUMNS: usize = 5;
const DONE_WAITING: &str = "DELETE FROM waiting_events WHERE order_id = ? AND sequence = ?";
const WAIT: &str = "INSERT INTO waiting_events (order_id, sequence, tenant, payload, since_ms) VALUES (?, ?, ?, ?, ?)";

/// The statements of the intake, whose texts are made once.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) switches: Fixed,
    pub(super) book: book::Texts,
    pub(super) paths: PathTexts,
    pub(super) aggregates: AggregateTexts,
    pub(super) limits: LimitTexts,
    pub(super) frozen: Fixed,
    pub(super) accrued: Fixed,
    pub(super) insert_lines: Insert,
    pub(super) insert_evaluations: Insert,
    pub(super) insert_receipts: Insert,
    lines: Fixed,
    evaluations: Fixed,
    receipts: Fixed,
    waiting: Fixed,
}

impl Default for Texts {
    fn default() -> Self {
        let of_orders = |columns: &str, table: &str| {
            Fixed::new(format!("SELECT order_id, {columns} FROM {table} WHERE order_id IN ([?,])"))
        };
        Self {
            switches: Times::switches(),
            book: book::Texts::default(),
            paths: PathTexts::default(),
            aggregates: AggregateTexts::default(),
            limits: LimitTexts::default(),
            frozen: Fixed::new("SELECT order_id, frozen FROM evaluations WHERE order_id IN ([?,]) AND frozen <> ''"),
            accrued: Fixed::new(
                "SELECT subject, rule_name, person, expense FROM entries \
                 WHERE tenant = ? AND subject IN ([?,]) AND kind = 1",
            ),
            insert_lines: Insert::new(
                "INSERT INTO order_lines (order_id, tenant, buyer, sale, offer, sku, quantity, net, currency, \
                 ordered_at) VALUES [(?, ?, ?, ?, ?, ?, ?, ?, ?, ?),]",
            ),
            insert_evaluations: Insert::new(
                "INSERT INTO evaluations (order_id, sequence, tenant, plan_version, refunded, at_ms, frozen, trace) \
                 VALUES [(?, ?, ?, ?, ?, ?, ?, ?),]",
            ),
            insert_receipts: Insert::new(
                "INSERT INTO receipts (order_id, tenant, received_at, matures_at, due_at) VALUES [(?, ?, ?, ?, ?),]",
            ),
            lines: of_orders("tenant, buyer, sale, offer, quantity, net", "order_lines"),
            evaluations: of_orders("plan_version, refunded", "evaluations"),
            receipts: of_orders("received_at", "receipts"),
            waiting: of_orders("sequence, tenant, payload", "waiting_events"),
        }
    }
}

impl Texts {
    /// What is known of the orders of these events; events that wait for them join, and all of them
    /// come in the order of their sequence. A row of one that waits and does not read is set aside.
    pub(super) async fn known<T: Tx>(
        &self,
        tx: &mut T,
        items: &mut Vec<Item>,
        (span, parked): (&mut Changes, &mut Vec<Aside>),
    ) -> Result<BTreeMap<OrderId, Known>, SqlError> {
        let mut orders: Vec<i64> = items.iter().map(|item| item.event.order.stored()).collect();
        orders.sort_unstable();
        orders.dedup();
        let mut known: BTreeMap<OrderId, Known> = BTreeMap::new();
        for mut row in read(tx, &self.lines, &orders).await? {
            let order = row.id(OrderId::new)?;
            let (tenant, buyer, sale) = (row.number()?, row.number()?, row.number()?);
            let facts = Facts { tenant, buyer, sale, offer: row.number()?, quantity: row.number()?, net: row.int()? };
            known.entry(order).or_default().line = Some(facts);
        }
        for mut row in read(tx, &self.evaluations, &orders).await? {
            let known = known.entry(row.id(OrderId::new)?).or_default();
            known.plan = Some(row.number()?);
            known.refunded = known.refunded.max(row.int()?);
        }
        for mut row in read(tx, &self.receipts, &orders).await? {
            known.entry(row.id(OrderId::new)?).or_default().is_received = true;
        }
        for row in read(tx, &self.waiting, &orders).await? {
            let waited = Waited::read(row)?;
            match waited.event() {
                Ok(event) => items.push(Item { event, place: None }),
                // It goes on waiting, for the update.
                Err(Some(error)) if error.is_newer() => {}
                Err(error) => {
                    span.done_waiting.push((waited.order, waited.sequence));
                    parked.push(waited.aside(error.as_ref()));
                }
            }
        }
        // One that waited goes before the same event that comes again.
        items.sort_by_key(|item| (item.event.order, item.event.sequence, item.place.is_some()));
        Ok(known)
    }

    /// Writes what waits, and what waits no more.
    pub(super) async fn write_rest<T: Tx>(&self, tx: &mut T, span: &Changes) -> Result<(), SqlError> {
        for wait in span.waits.chunks(WAITING_COLUMNS) {
            // It may wait already.
            tx.insert_absent(WAIT, wait.to_vec()).await?;
        }
        for (order, sequence) in &span.done_waiting {
            tx.exec(DONE_WAITING, vec![order.stored().into(), (*sequence).into()]).await?;
        }
        Ok(())
    }
}

/// A row of an event that waits.
struct Waited {
    order: OrderId,
    sequence: u8,
    tenant: Option<TenantId>,
    payload: Bytes,
}

impl Waited {
    fn read(mut row: Row) -> Result<Self, SqlError> {
        let (order, sequence) = (row.id(OrderId::new)?, row.number()?);
        let tenant = u64::try_from(row.int()?).ok().and_then(|tenant| TenantId::new(tenant).ok());
        Ok(Self { order, sequence, tenant, payload: row.bytes()? })
    }

    /// The event, or why there is none: no error where it is another one than its key says.
    fn event(&self) -> Result<OrderEvent, Option<RecordError>> {
        let events = decode_events(ORDER_EVENTS_TYPE, self.payload.clone()).map_err(Some)?;
        let mut same = events.into_iter().filter(|event| (event.order, event.sequence) == (self.order, self.sequence));
        same.next().ok_or(None)
    }

    fn aside(self, error: Option<&RecordError>) -> Aside {
        let why = error.map_or_else(|| "it is another one".to_owned(), ToString::to_string);
        let cause = format!("its row among the events that wait does not read: {why}");
        let (offset, item) = (self.order.get(), self.sequence.into());
        let order = self.tenant.map(|tenant| (tenant, self.order));
        Aside { offset, item, order, cause, kind: ORDER_EVENTS_TYPE.to_owned(), payload: self.payload }
    }
}

async fn read<T: Tx>(tx: &mut T, text: &Fixed, orders: &[i64]) -> Result<Vec<Row>, SqlError> {
    let mut rows = Vec::new();
    for (query, orders) in text.padded(orders) {
        rows.extend(tx.rows(query, orders.into_iter().map(Value::from).collect()).await?);
    }
    Ok(rows)
}

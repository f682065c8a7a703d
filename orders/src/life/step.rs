//! A step of an order: one transaction of its shard, with the row locked before anything beside it
//! is read. Dropped, it is rolled back.

use domain::{
    event::{EventKind, OrderEvent, part_refund_sequence},
    id::{BuyerId, OrderId, PartitionId, RecordId, TenantId},
    order::{OrderRow, Status, Transition, Units},
    record::{ORDER_EVENTS_TYPE, RELEASED_TYPE, Record, Released, Topic},
};
use kit::random::Random as _;
use store::{
    orders::OutboxRow,
    sql::{Sql, SqlError, Tx as _, Value, stored},
};

use super::{ports::Kinds, refused::Refused, service::Life};

/// Under the row's lock: two entries of an order never take one number.
const TELL: &str = "INSERT INTO timeline (order_id, entry, happened_at, who, what, number, amount, why) \
                    SELECT ?, COALESCE(MAX(entry), 0) + 1, ?, ?, ?, ?, ?, ? FROM timeline WHERE order_id = ?";
const WAS_TOLD: &str = "SELECT entry FROM timeline WHERE order_id = ? AND what = ? LIMIT 1";
const PARCEL: &str = "SELECT entry FROM timeline WHERE order_id = ? AND number = ? AND why = ? LIMIT 1";

/// Below the milliseconds of an event's record id, which have 41 bits until 2039.
const EVENT_RANDOM_BITS: u32 = 22;

/// A step under way.
pub(super) struct Step<S: Sql> {
    /// Its transaction.
    pub(super) tx: S::Tx,
    /// The row, as it is within the transaction.
    pub(super) row: OrderRow,
    /// Of its lane.
    pub(super) partition: PartitionId,
    /// When it is made, epoch milliseconds.
    pub(super) now_ms: u64,
}

/// A line of an order's timeline. No personal data.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told<'a> {
    /// `buyer`, `user:7`, `key:7`, `operator`, `clock`, or a provider.
    pub(super) who: &'a str,
    /// What was done.
    pub(super) what: &'a str,
    /// Ours or the provider's.
    pub(super) number: Option<&'a str>,
    /// In minor units.
    pub(super) amount: Option<i64>,
    /// In words.
    pub(super) why: Option<&'a str>,
}

impl<K: Kinds> Life<K> {
    /// Begins a step; `None`: there is no such order.
    pub(super) async fn begin(&self, order: OrderId) -> Result<Option<Step<K::Sql>>, Refused> {
        // Asked before anything is locked: afterwards it is remembered.
        let Some(row) = self.orders().find(&[order]).await?.remove(&order) else { return Ok(None) };
        let partition = self.partition(&row).await?;
        let mut tx = self.orders().begin(order).await?;
        let row = self.orders().lock(&mut tx, order).await?;
        Ok(row.map(|row| Step { tx, row, partition, now_ms: self.now_ms() }))
    }

    /// Tells that a refund is done that moves no state: so much has gone back of the order up to
    /// now, in minor units. Nobody is told of what goes back of money that did not pay it.
    pub(super) async fn tell_part_refund(
        &self,
        step: &mut Step<K::Sql>,
        refund: u32,
        refunded: i64,
    ) -> Result<(), Refused> {
        let Some(sequence) = part_refund_sequence(refund).filter(|_| refunded > 0) else { return Ok(()) };
        let event = OrderEvent { refunded, ..event_of(&step.row, sequence, EventKind::RefundedInPart) };
        let mut payload = Vec::new();
        event.append(&mut payload);
        let out = OutboxRow {
            id: self.event_id(step.now_ms)?,
            order: step.row.order,
            lane: step.row.lane,
            partition: step.partition,
            kind: ORDER_EVENTS_TYPE.into(),
            topic: Topic::OrderEvents.name().into(),
            payload: payload.into(),
        };
        Ok(self.orders().put_out(&mut step.tx, &out).await?)
    }

    /// The id of a record. Those of events rise with time, because the relay takes an order's
    /// events in the order of their ids; releases, of which many are made in a millisecond, are all
    /// random.
    pub(super) fn record_id(&self, transition: Transition, now_ms: u64) -> Result<RecordId, Refused> {
        if transition.units() != Units::GivenBack {
            return self.event_id(now_ms);
        }
        loop {
            // The number 0 is no id.
            if let Ok(id) = RecordId::new(u64::from_le_bytes(self.ports().random.bytes::<8>()?) >> 1) {
                return Ok(id);
            }
        }
    }

    fn event_id(&self, now_ms: u64) -> Result<RecordId, Refused> {
        loop {
            let random = u64::from_le_bytes(self.ports().random.bytes::<8>()?);
            let number = ((now_ms << EVENT_RANDOM_BITS) | (random >> (64 - EVENT_RANDOM_BITS))) & (u64::MAX >> 1);
            if let Ok(id) = RecordId::new(number) {
                return Ok(id);
            }
        }
    }

    /// The outbox rows of these orders, for a transition of all of them.
    pub(super) async fn outbox_rows(
        &self,
        rows: &[OrderRow],
        transition: Transition,
    ) -> Result<Vec<OutboxRow>, Refused> {
        let (mut out, now_ms) = (Vec::with_capacity(rows.len()), self.now_ms());
        for row in rows {
            match self.partition(row).await {
                Ok(partition) => out.push(outbox_row(row, partition, transition, self.record_id(transition, now_ms)?)),
                Err(error @ Refused::NoLane(_)) => tracing::error!(%error, "an order cannot be released"),
                Err(error) => return Err(error),
            }
        }
        Ok(out)
    }
}

/// What a transition puts into the log: a release, from whose decision the events follow, or the
/// event itself.
pub(super) fn outbox_row(row: &OrderRow, partition: PartitionId, transition: Transition, id: RecordId) -> OutboxRow {
    let OrderRow { lane, order, buyer, offer, quantity, key, .. } = *row;
    let (kind, topic, payload) = if transition.units() == Units::GivenBack {
        let released = Released { lane, order, buyer, offer, quantity, key, became: Some(transition.to()) };
        (RELEASED_TYPE, Topic::Orders, Record::Released(released).encode())
    } else {
        let (sequence, kind) = (transition.sequence(), transition.event());
        let event = event_of(row, sequence, kind);
        let mut payload = Vec::new();
        event.append(&mut payload);
        (ORDER_EVENTS_TYPE, Topic::OrderEvents, payload)
    };
    OutboxRow { id, order, lane, partition, kind: kind.into(), topic: topic.name().into(), payload: payload.into() }
}

fn event_of(row: &OrderRow, sequence: u8, kind: EventKind) -> OrderEvent {
    let OrderRow { tenant, order, buyer, sale, offer, quantity, .. } = *row;
    let (purchased, reason, refunded) = (None, None, 0);
    OrderEvent { order, sequence, kind, tenant, sale, offer, buyer, quantity, purchased, reason, refunded }
}

impl<S: Sql> Step<S> {
    /// Writes a line of the timeline.
    pub(super) async fn tell(&mut self, told: Told<'_>) -> Result<(), SqlError> {
        let order = Value::from(self.row.order.stored());
        let params = vec![
            order.clone(),
            stored(self.now_ms)?.into(),
            told.who.into(),
            told.what.into(),
            Value::text_or_null(told.number),
            told.amount.into(),
            Value::text_or_null(told.why),
            order,
        ];
        self.tx.exec(TELL, params).await.map(drop)
    }

    /// Whether its timeline has this parcel.
    pub(super) async fn has_parcel(&mut self, number: &str, carrier: &str) -> Result<bool, SqlError> {
        let params = vec![self.row.order.stored().into(), number.into(), carrier.into()];
        Ok(!self.tx.rows(PARCEL, params).await?.is_empty())
    }

    /// This step, if its order is of this buyer; another's is absent.
    pub(super) fn of(self, tenant: TenantId, buyer: BuyerId) -> Result<Self, Refused> {
        if (self.row.tenant, self.row.buyer) == (tenant, buyer) { Ok(self) } else { Err(Refused::not_found()) }
    }

    /// The same of a merchant.
    pub(super) fn of_shop(self, tenant: TenantId) -> Result<Self, Refused> {
        if self.row.tenant == tenant { Ok(self) } else { Err(Refused::not_found()) }
    }

    /// Whether its timeline says that this was done.
    pub(super) async fn was_told(&mut self, what: &str) -> Result<bool, SqlError> {
        Ok(!self.tx.rows(WAS_TOLD, vec![self.row.order.stored().into(), what.into()]).await?.is_empty())
    }

    /// Makes it durable.
    pub(super) async fn commit(self) -> Result<OrderRow, SqlError> {
        self.tx.commit().await.map(|()| self.row)
    }

    /// Whether nothing was paid for it, and it still can be.
    pub(super) fn is_unpaid(&self) -> bool {
        self.row.status == Status::PendingPayment
    }
}

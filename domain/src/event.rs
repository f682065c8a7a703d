//! Events of orders, for other services: what a decided record of the topic `orders` makes known on
//! the topic `order-events`. They follow from the record and its decision alone, so that a record
//! that is decided again after a crash tells the same in the same bytes. Nothing is appended here.

use bytes::Bytes;
use prost::encoding::{WireType, encode_key};

use crate::{
    decide::{Lanes, Movement, Placed},
    id::{BuyerId, OfferId, OrderId, SaleId, SkuId, TenantId},
    money::Money,
    order::{Decision, Reason, Status, Transition},
    record::{
        BATCH_MAX, Batch, Flawed, ORDER_EVENTS_TYPE, Record, RecordError, Released, Reservation, checked,
        field::{bytes, number},
        quantity, tenant_id,
    },
};

pub use crate::order::event_kind::EventKind;

/// The generated protobuf messages; nothing outside this module speaks them.
#[allow(missing_docs, unreachable_pub, dead_code, reason = "generated; the schema file is their documentation")]
mod wire {
    include!(concat!(env!("OUT_DIR"), "/flashsale.events.v1.rs"));
}

/// What the first event of an order tells of its purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purchased {
    /// What was bought.
    pub sku: SkuId,
    /// Version of the sale at admission.
    pub sale_version: u32,
    /// Price of one unit at admission.
    pub unit_price: Money,
    /// Epoch milliseconds, by the engine's clock.
    pub reserved_at_ms: u64,
}

/// An event. Order and sequence name it: a consumer that saw both before has seen the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderEvent {
    /// The order.
    pub order: OrderId,
    /// Counted within the order, from 1; numbers rise and may leave gaps.
    pub sequence: u8,
    /// What happened.
    pub kind: EventKind,
    /// Whose shop.
    pub tenant: TenantId,
    /// The sale.
    pub sale: SaleId,
    /// The offer.
    pub offer: OfferId,
    /// Who bought.
    pub buyer: BuyerId,
    /// Units.
    pub quantity: u32,
    /// With [`EventKind::Created`] and [`EventKind::Rejected`] only.
    pub purchased: Option<Purchased>,
    /// With [`EventKind::Rejected`] only.
    pub reason: Option<Reason>,
    /// With [`EventKind::RefundedInPart`] only, and zero otherwise: all that has gone back of the
    /// order up to then, minor units.
    pub refunded: i64,
}

/// Bytes of an event with its tag and length, at most: five ids of ten bytes each are half of them.
pub const EVENT_BYTES_MAX: usize = 112;
/// Sequences up to here are of the table of transitions.
const PART_SEQUENCE: u8 = 8;
/// Tag of `events` in `OrderEvents`.
const EVENTS: u32 = 1;
/// The length of an event takes one byte.
const _: () = assert!(EVENT_BYTES_MAX < 0x80);

/// The record that tells what became of the orders of a decided record; `None` when that decided
/// nothing new of any order. `given_back`: what the row of a release's order is then, if the
/// release counts.
pub fn events_of(placed: &Placed, movement: &Movement, given_back: Option<Status>, lanes: &Lanes) -> Option<Bytes> {
    let mut out = Vec::new();
    match &placed.record {
        Record::Batch(batch) => of_batch(batch, &movement.decisions, &mut out),
        Record::Released(released) => of_release(released, given_back?, lanes, &mut out)?,
        Record::EpochOpened { .. }
        | Record::LaneRetired { .. }
        | Record::AllotmentChanged(_)
        | Record::LimitChanged(_)
        | Record::Genesis(_) => {}
    }
    (!out.is_empty()).then(|| out.into())
}

fn of_batch(batch: &Batch, decisions: &[u8], out: &mut Vec<u8>) {
    out.reserve_exact(decisions.len() * EVENT_BYTES_MAX);
    for ((_, reservation), &packed) in batch.reservations.iter().zip(decisions) {
        let (transition, reason) = match Decision::unpack(packed) {
            Some(Decision::Accepted) => (Transition::Accept, None),
            Some(Decision::Rejected(reason)) => (Transition::Reject, Some(reason)),
            // Told where it was decided first.
            Some(Decision::Duplicate) | None => continue,
        };
        first_event(reservation, transition, reason).append(out);
    }
}

fn first_event(reservation: &Reservation, transition: Transition, reason: Option<Reason>) -> OrderEvent {
    let Reservation { tenant, sale, sale_version, offer, sku, order, buyer, quantity, .. } = *reservation;
    let Reservation { unit_price, reserved_at_ms, .. } = *reservation;
    OrderEvent {
        order,
        sequence: transition.sequence(),
        kind: transition.event(),
        tenant,
        sale,
        offer,
        buyer,
        quantity,
        purchased: Some(Purchased { sku, sale_version, unit_price, reserved_at_ms }),
        reason,
        refunded: 0,
    }
}

/// What gave the units back is told here too, and not when it happened: only the writer of the
/// partition knows that the order's first event is in the topic.
fn of_release(released: &Released, status: Status, lanes: &Lanes, out: &mut Vec<u8>) -> Option<()> {
    let (way, lane) = (status.given_back_by()?, lanes.get(&released.lane)?);
    let Released { order, buyer, offer, quantity, .. } = *released;
    let event = OrderEvent {
        order,
        sequence: way.sequence(),
        kind: way.event(),
        tenant: lane.tenant,
        sale: lane.sale,
        offer,
        buyer,
        quantity,
        purchased: None,
        reason: None,
        refunded: 0,
    };
    event.append(out);
    OrderEvent { sequence: way.sequence() + 1, kind: EventKind::Released, ..event }.append(out);
    Some(())
}

impl OrderEvent {
    /// Appends this event as one `events` field.
    pub fn append(&self, out: &mut Vec<u8>) {
        encode_key(EVENTS, WireType::LengthDelimited, out);
        let length_at = out.len();
        out.push(0);
        number(1, self.order.get(), out);
        number(2, self.sequence.into(), out);
        number(3, self.kind.number().into(), out);
        number(4, self.tenant.number().into(), out);
        number(5, self.sale.get(), out);
        number(6, self.offer.get(), out);
        number(7, self.buyer.get(), out);
        number(8, self.quantity.into(), out);
        if let Some(purchased) = &self.purchased {
            number(9, purchased.sku.get(), out);
            number(10, purchased.sale_version.into(), out);
            number(11, purchased.unit_price.amount.cast_unsigned(), out);
            bytes(12, purchased.unit_price.currency.as_str().as_bytes(), out);
            number(13, purchased.reserved_at_ms, out);
        }
        number(14, self.reason.map_or(0, Reason::stored).into(), out);
        number(15, self.refunded.cast_unsigned(), out);
        // Below 128, whatever the values are.
        out[length_at] = u8::try_from(out.len() - length_at - 1).unwrap_or(u8::MAX);
    }

    fn from_wire(w: wire::OrderEvent) -> Result<Self, Flawed> {
        let kind = EventKind::ALL.into_iter().find(|kind| i32::from(kind.number()) == w.kind);
        let kind = kind.ok_or_else(|| unknown(w.kind, format!("event kind {}", w.kind)))?;
        let is_first = matches!(kind, EventKind::Created | EventKind::Rejected);
        let reason = u8::try_from(w.reason).ok().and_then(Reason::from_stored);
        if reason.is_none() && kind == EventKind::Rejected {
            return Err(unknown(w.reason, format!("reason {}", w.reason)));
        }
        if reason.is_some() != (kind == EventKind::Rejected) {
            return Err(Flawed::Damaged(format!("reason {} of an event {kind:?}", w.reason)));
        }
        if (w.refunded != 0) != (kind == EventKind::RefundedInPart) || w.refunded < 0 {
            return Err(Flawed::Damaged(format!("{} refunded in an event {kind:?}", w.refunded)));
        }
        let purchased = || {
            Ok::<_, Flawed>(Purchased {
                sku: SkuId::new(w.sku)?,
                sale_version: w.sale_version,
                unit_price: Money { amount: w.unit_price, currency: w.currency.parse()? },
                reserved_at_ms: w.reserved_at_ms,
            })
        };
        Ok(Self {
            order: OrderId::new(w.order_id)?,
            sequence: u8::try_from(w.sequence).map_err(|_| Flawed::Damaged(format!("sequence {}", w.sequence)))?,
            kind,
            tenant: tenant_id(w.tenant)?,
            sale: SaleId::new(w.sale)?,
            offer: OfferId::new(w.offer)?,
            buyer: BuyerId::new(w.buyer)?,
            quantity: quantity(w.quantity)?,
            purchased: is_first.then(purchased).transpose()?,
            reason,
            refunded: w.refunded,
        })
    }
}

/// A number that is not in a list: a newer program has it there, if it fits the list at all.
fn unknown(number: impl TryInto<u8>, what: String) -> Flawed {
    if matches!(number.try_into(), Ok(1..)) { Flawed::Newer(what) } else { Flawed::Damaged(what) }
}

/// The sequence of [`EventKind::RefundedInPart`]: above those of the table by the number of the
/// refund among its order's; `None` beyond 247, which no provider allows.
pub fn part_refund_sequence(refund: u32) -> Option<u8> {
    u8::try_from(refund).ok()?.checked_add(PART_SEQUENCE)
}

/// Reads a record of the topic `order-events`.
///
/// # Errors
/// [`RecordError::is_newer`] for a type, a kind of event or a reason that this program does not
/// know: stop there until it is updated. [`RecordError::Malformed`] for damage.
pub fn decode_events(kind: &str, payload: Bytes) -> Result<Vec<OrderEvent>, RecordError> {
    if kind != ORDER_EVENTS_TYPE {
        return Err(RecordError::UnknownType(kind.into()));
    }
    checked(ORDER_EVENTS_TYPE, payload, |w: wire::OrderEvents| {
        if w.events.len() > BATCH_MAX {
            return Err(Flawed::Damaged(format!("{} events", w.events.len())));
        }
        w.events.into_iter().map(OrderEvent::from_wire).collect()
    })
}

#[cfg(test)]
mod tests;

//! The records of the log: domain types, their protobuf bytes, and the checks that a record read
//! back must pass.

mod check;
pub(crate) mod field;
mod kind;
mod sale;

use std::num::NonZeroU128;

use bytes::Bytes;
use prost::Message;

use crate::{
    id::{
        BatchId, BuyerId, Epoch, Generation, ID_MAX, InvalidId, KeyHash, LaneId, OfferId, OrderId, PartitionId,
        PurchaseNumber, SaleId, SkuId, TenantId,
    },
    money::{InvalidCurrency, Money},
    order::Status,
    sale::LIMIT_MAX,
};

use kind::{ALLOTMENT_TYPE, EPOCH_TYPE, GENESIS_TYPE, LIMIT_TYPE, RETIRED_TYPE};
pub use kind::{BATCH_TYPE, COUNTS_TYPE, ORDER_EVENTS_TYPE, RELEASED_TYPE, SALE_TYPE, Topic, registered};
pub use sale::{decode_sale, encode_sale};

/// The generated protobuf messages; nothing outside this module speaks them.
#[allow(missing_docs, unreachable_pub, reason = "generated; the schema file is their documentation")]
mod wire {
    include!(concat!(env!("OUT_DIR"), "/flashsale.v1.rs"));
}

/// Reservations in one Lua call, journal entry and record, at most.
pub const BATCH_MAX: usize = 256;
/// Bytes of an order's context.
pub const CONTEXT_MAX: usize = 256;
/// Version of the reservation's schema.
pub const RESERVATION_SCHEMA: u32 = 1;

/// One promise of Redis, with everything the order row needs, frozen at admission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Whose shop.
    pub tenant: TenantId,
    /// The sale.
    pub sale: SaleId,
    /// Its version at admission.
    pub sale_version: u32,
    /// The offer.
    pub offer: OfferId,
    /// What is sold.
    pub sku: SkuId,
    /// The order this becomes.
    pub order: OrderId,
    /// Who buys.
    pub buyer: BuyerId,
    /// Units, 1 to [`LIMIT_MAX`].
    pub quantity: u32,
    /// Price of one unit.
    pub unit_price: Money,
    /// Hash of the idempotency key.
    pub key: KeyHash,
    /// Epoch milliseconds, by the engine's clock.
    pub reserved_at_ms: u64,
    /// At most [`CONTEXT_MAX`] bytes, opaque.
    pub context: Bytes,
    /// Seconds that its buyer has to pay, from the reservation on; 0 in records of older programs:
    /// nobody said.
    pub pay_within_s: u32,
    /// The trace that its purchase belongs to, where the caller said that the trace is recorded
    /// (W3C Trace Context, the flag `sampled`). Decides nothing.
    pub trace: Option<NonZeroU128>,
}

impl Reservation {
    /// When its order is to be paid at the latest, in epoch milliseconds; `None` where nobody said.
    pub fn pay_by_ms(&self) -> Option<u64> {
        (self.pay_within_s > 0).then(|| pay_by_ms(self.reserved_at_ms, self.pay_within_s))
    }
}

/// When an order that was reserved at this moment is to be paid at the latest, in epoch
/// milliseconds; no later than a database holds.
pub fn pay_by_ms(reserved_at_ms: u64, within_s: u32) -> u64 {
    reserved_at_ms.saturating_add(u64::from(within_s) * 1_000).min(ID_MAX)
}

/// The accepted reservations of one Lua call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Whose order this is.
    pub lane: LaneId,
    /// Key of the journal entry.
    pub id: BatchId,
    /// Epoch under which Redis promised.
    pub epoch: Epoch,
    /// At most [`BATCH_MAX`], each with the number that Redis minted.
    pub reservations: Vec<(PurchaseNumber, Reservation)>,
}

/// An order whose units go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// The order's lane.
    pub lane: LaneId,
    /// The order.
    pub order: OrderId,
    /// Its buyer.
    pub buyer: BuyerId,
    /// Its offer.
    pub offer: OfferId,
    /// Its units.
    pub quantity: u32,
    /// Its key, for the tombstone (R6).
    pub key: KeyHash,
    /// What its row became, one that [gives back](Status::gives_back): a database that loses the
    /// mark takes it from here (R8). `None` in records of older programs.
    pub became: Option<Status>,
}

/// A change of an offer's allotment towards what a version of the sale published (R9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllotmentChange {
    /// The offer's lane.
    pub lane: LaneId,
    /// The offer.
    pub offer: OfferId,
    /// The version of the sale that asked for it.
    pub sale_version: u32,
    /// Units, negative for a reduction: then those that were withheld for it. A program that knows
    /// no targets applies this alone.
    pub delta: i64,
    /// Units that the version wants the offer to have; `None` in records of older programs: what
    /// `delta` makes of the allotment.
    pub target: Option<u64>,
    /// For a reduction: the epoch under which its units were withheld in Redis. Under another one
    /// it is void.
    pub epoch: Epoch,
    /// Packed position of the change it follows; 0 for the first.
    pub after: i64,
}

/// A change of a lane's limit per buyer (R16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitChange {
    /// The lane.
    pub lane: LaneId,
    /// Live units one buyer may hold from here on, 1 to [`LIMIT_MAX`].
    pub limit: u32,
    /// For a lower limit: the epoch under which the lane holds to it already. Under another one it
    /// is void.
    pub epoch: Epoch,
    /// Packed position of the change it follows; 0 for the first.
    pub after: i64,
}

/// The first record of a generation of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Genesis {
    /// The partition.
    pub partition: PartitionId,
    /// Counted from 1.
    pub generation: Generation,
    /// Random: tells a recreated log from the old one.
    pub log_id: u64,
}

/// A record of the topic `orders`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Promises.
    Batch(Batch),
    /// A release.
    Released(Released),
    /// A lane enters an epoch.
    EpochOpened {
        /// The lane.
        lane: LaneId,
        /// From here on.
        epoch: Epoch,
    },
    /// A lane whose sale is over is retired (R14).
    LaneRetired {
        /// The lane.
        lane: LaneId,
        /// The epoch it ends under.
        epoch: Epoch,
    },
    /// A stock delta.
    AllotmentChanged(AllotmentChange),
    /// Another limit per buyer.
    LimitChanged(LimitChange),
    /// A generation begins.
    Genesis(Genesis),
}

/// Why bytes of the log are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A newer writer wrote it: the partition stops until this program is updated.
    #[error("unknown record type {0:?}: update this program before it goes on")]
    UnknownType(String),
    /// A known type with a value that only a newer writer has, in a list that grows.
    #[error("{what} in a {kind} record: update this program before it goes on")]
    UnknownValue {
        /// Its type.
        kind: &'static str,
        /// Which value.
        what: String,
    },
    /// Damaged or forged bytes: for the dead letters.
    #[error("malformed {kind} record: {why}")]
    Malformed {
        /// Its type.
        kind: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl RecordError {
    /// Whether a newer program wrote it, so that this one waits there until it is updated. All else
    /// is damaged and stays so: it is parked. A record without a type is damaged.
    pub fn is_newer(&self) -> bool {
        match self {
            Self::UnknownType(kind) => !kind.is_empty(),
            Self::UnknownValue { .. } => true,
            Self::Malformed { .. } => false,
        }
    }
}

impl Record {
    /// Its `ce_type`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Batch(_) => BATCH_TYPE,
            Self::Released(_) => RELEASED_TYPE,
            Self::EpochOpened { .. } => EPOCH_TYPE,
            Self::LaneRetired { .. } => RETIRED_TYPE,
            Self::AllotmentChanged(_) => ALLOTMENT_TYPE,
            Self::LimitChanged(_) => LIMIT_TYPE,
            Self::Genesis(_) => GENESIS_TYPE,
        }
    }

    /// The lane it belongs to; none for a genesis.
    pub const fn lane(&self) -> Option<LaneId> {
        match self {
            Self::Batch(batch) => Some(batch.lane),
            Self::Released(released) => Some(released.lane),
            Self::EpochOpened { lane, .. } | Self::LaneRetired { lane, .. } => Some(*lane),
            Self::AllotmentChanged(change) => Some(change.lane),
            Self::LimitChanged(change) => Some(change.lane),
            Self::Genesis(_) => None,
        }
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Batch(batch) => batch.encode(),
            Self::Released(r) => wire::Released {
                lane: r.lane.get(),
                order_id: r.order.get(),
                buyer: r.buyer.get(),
                offer: r.offer.get(),
                quantity: r.quantity,
                key_hash: Bytes::copy_from_slice(&r.key.0),
                status: r.became.map(|status| status.stored().into()),
            }
            .encode_to_vec(),
            Self::EpochOpened { lane, epoch } => wire::EpochOpened { lane: lane.get(), epoch: epoch.0 }.encode_to_vec(),
            Self::LaneRetired { lane, epoch } => wire::LaneRetired { lane: lane.get(), epoch: epoch.0 }.encode_to_vec(),
            Self::AllotmentChanged(c) => wire::AllotmentChanged {
                lane: c.lane.get(),
                offer: c.offer.get(),
                sale_version: c.sale_version,
                delta: c.delta,
                epoch: c.epoch.0,
                after: c.after,
                target: c.target,
            }
            .encode_to_vec(),
            Self::LimitChanged(c) => {
                wire::LimitChanged { lane: c.lane.get(), limit: c.limit, epoch: c.epoch.0, after: c.after }
                    .encode_to_vec()
            }
            Self::Genesis(g) => {
                wire::Genesis { partition: g.partition.0, generation: g.generation.0.into(), log_id: g.log_id }
                    .encode_to_vec()
            }
        }
    }

    /// Reads a record and checks its shape. Who decides it reads it with [`Record::read`].
    ///
    /// # Errors
    /// [`RecordError::UnknownType`] stops a partition, [`RecordError::Malformed`] is parked.
    pub fn decode(kind: &str, payload: Bytes) -> Result<Self, RecordError> {
        match kind {
            BATCH_TYPE => checked(BATCH_TYPE, payload, Batch::from_wire).map(Self::Batch),
            RELEASED_TYPE => checked(RELEASED_TYPE, payload, Released::from_wire).map(Self::Released),
            EPOCH_TYPE => checked(EPOCH_TYPE, payload, |w: wire::EpochOpened| {
                Ok(Self::EpochOpened { lane: LaneId::new(w.lane)?, epoch: Epoch(w.epoch) })
            }),
            RETIRED_TYPE => checked(RETIRED_TYPE, payload, |w: wire::LaneRetired| {
                Ok(Self::LaneRetired { lane: LaneId::new(w.lane)?, epoch: Epoch(w.epoch) })
            }),
            ALLOTMENT_TYPE => checked(ALLOTMENT_TYPE, payload, |w: wire::AllotmentChanged| {
                Ok(Self::AllotmentChanged(AllotmentChange {
                    lane: LaneId::new(w.lane)?,
                    offer: OfferId::new(w.offer)?,
                    sale_version: w.sale_version,
                    delta: w.delta,
                    epoch: Epoch(w.epoch),
                    after: w.after,
                    target: w.target,
                }))
            }),
            LIMIT_TYPE => checked(LIMIT_TYPE, payload, |w: wire::LimitChanged| {
                let (lane, epoch) = (LaneId::new(w.lane)?, Epoch(w.epoch));
                Ok(Self::LimitChanged(LimitChange { lane, limit: w.limit, epoch, after: w.after }))
            }),
            GENESIS_TYPE => checked(GENESIS_TYPE, payload, |w: wire::Genesis| {
                let generation =
                    u16::try_from(w.generation).map_err(|_| Flawed::Damaged("generation out of range".into()))?;
                let (partition, generation) = (PartitionId(w.partition), Generation(generation));
                Ok(Self::Genesis(Genesis { partition, generation, log_id: w.log_id }))
            }),
            unknown => Err(RecordError::UnknownType(unknown.into())),
        }
    }
}

/// What is wrong inside a well-formed protobuf message.
pub(crate) enum Flawed {
    /// No program of ours writes this.
    Damaged(String),
    /// A newer program does.
    Newer(String),
}

impl From<InvalidId> for Flawed {
    fn from(error: InvalidId) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<InvalidCurrency> for Flawed {
    fn from(error: InvalidCurrency) -> Self {
        Self::Damaged(error.to_string())
    }
}

pub(crate) fn checked<W: Message + Default, T>(
    kind: &'static str,
    payload: Bytes,
    take: impl FnOnce(W) -> Result<T, Flawed>,
) -> Result<T, RecordError> {
    let message = W::decode(payload).map_err(|e| RecordError::Malformed { kind, why: e.to_string() })?;
    take(message).map_err(|flawed| match flawed {
        Flawed::Damaged(why) => RecordError::Malformed { kind, why },
        Flawed::Newer(what) => RecordError::UnknownValue { kind, what },
    })
}

fn key_hash(bytes: &[u8]) -> Result<KeyHash, Flawed> {
    <[u8; 16]>::try_from(bytes).map(KeyHash).map_err(|_| Flawed::Damaged("a key hash has 16 bytes".into()))
}

pub(crate) fn tenant_id(tenant: u32) -> Result<TenantId, InvalidId> {
    TenantId::new(tenant.into())
}

pub(crate) fn quantity(units: u32) -> Result<u32, Flawed> {
    if (1..=LIMIT_MAX).contains(&units) { Ok(units) } else { Err(Flawed::Damaged(format!("quantity {units}"))) }
}

impl Released {
    fn from_wire(w: wire::Released) -> Result<Self, Flawed> {
        Ok(Self {
            lane: LaneId::new(w.lane)?,
            order: OrderId::new(w.order_id)?,
            buyer: BuyerId::new(w.buyer)?,
            offer: OfferId::new(w.offer)?,
            quantity: quantity(w.quantity)?,
            key: key_hash(&w.key_hash)?,
            became: w.status.map(became).transpose()?,
        })
    }
}

/// A record that says of its order what gives nothing back is no release.
fn became(stored: u32) -> Result<Status, Flawed> {
    let status = u8::try_from(stored).ok().and_then(Status::from_stored).filter(|status| status.gives_back());
    status.ok_or_else(|| Flawed::Damaged(format!("status {stored}, which gives nothing back")))
}

impl Reservation {
    fn from_wire(w: wire::Reservation) -> Result<Self, Flawed> {
        if w.context.len() > CONTEXT_MAX {
            return Err(Flawed::Damaged(format!("context of {} bytes", w.context.len())));
        }
        Ok(Self {
            tenant: tenant_id(w.tenant)?,
            sale: SaleId::new(w.sale)?,
            sale_version: w.sale_version,
            offer: OfferId::new(w.offer)?,
            sku: SkuId::new(w.sku)?,
            order: OrderId::new(w.order_id)?,
            buyer: BuyerId::new(w.buyer)?,
            quantity: quantity(w.quantity)?,
            unit_price: Money { amount: w.unit_price, currency: w.currency.parse()? },
            key: key_hash(&w.key_hash)?,
            reserved_at_ms: w.reserved_at_ms,
            context: w.context,
            pay_within_s: w.pay_within_s,
            // Of another length: as if it were not there. Nothing is decided by it.
            trace: <[u8; 16]>::try_from(&w.trace[..]).ok().map(u128::from_be_bytes).and_then(NonZeroU128::new),
        })
    }
}

impl Batch {
    /// The bytes before the reservations. Redis and engine both begin a batch with them.
    pub fn head(lane: LaneId, id: BatchId, epoch: Epoch) -> Vec<u8> {
        wire::Batch { lane: lane.get(), batch_id: id.get(), epoch: epoch.0, ..wire::Batch::default() }.encode_to_vec()
    }

    /// The same bytes that Redis journals: head, the accepted reservation fields, the numbers.
    pub fn concatenate<'a>(head: &[u8], fields: impl Iterator<Item = &'a [u8]>, numbers: &[u8]) -> Vec<u8> {
        let mut out = head.to_vec();
        fields.for_each(|field| out.extend_from_slice(field));
        let tail = wire::Batch { numbers: Bytes::copy_from_slice(numbers), ..wire::Batch::default() };
        tail.encode_raw(&mut out);
        out
    }

    /// Reads a journal entry or record.
    ///
    /// # Errors
    /// [`RecordError::Malformed`].
    pub fn decode(payload: Bytes) -> Result<Self, RecordError> {
        checked(BATCH_TYPE, payload, Self::from_wire)
    }

    fn encode(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        self.reservations.iter().for_each(|(_, reservation)| reservation.append_field(&mut fields));
        let numbers: Vec<u8> = self.reservations.iter().map(|(number, _)| number.0).collect();
        Self::concatenate(&Self::head(self.lane, self.id, self.epoch), std::iter::once(&fields[..]), &numbers)
    }

    fn from_wire(w: wire::Batch) -> Result<Self, Flawed> {
        if w.numbers.len() != w.reservations.len() || !(1..=BATCH_MAX).contains(&w.numbers.len()) {
            return Err(Flawed::Damaged(format!("{} reservations, {} numbers", w.reservations.len(), w.numbers.len())));
        }
        let reservations = w.numbers.iter().zip(w.reservations).map(|(&number, reservation)| {
            if number == 0 || u32::from(number) > LIMIT_MAX {
                return Err(Flawed::Damaged(format!("purchase number {number}")));
            }
            Ok((PurchaseNumber(number), Reservation::from_wire(reservation)?))
        });
        Ok(Self {
            lane: LaneId::new(w.lane)?,
            id: BatchId::new(w.batch_id)?,
            epoch: Epoch(w.epoch),
            reservations: reservations.collect::<Result<_, _>>()?,
        })
    }
}

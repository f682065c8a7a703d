//! Records that no program of ours writes, and some that it might: damaged bytes, values out of all
//! bounds, contradictions.

use bytes::Bytes;
use domain::{
    id::{BuyerId, Epoch, Generation, ID_MAX, KeyHash, OrderId, PartitionId, PurchaseNumber, RecordId, Slot},
    money::Money,
    order::Status,
    record::{AllotmentChange, Batch, Genesis, LimitChange, Record, Released, Reservation},
};
use store::log::Envelope;

use super::rig::{LANES, Promise, SALE, TENANT, id, offer_of};

const KINDS: [&str; 6] = [
    "flashsale.batch.v1",
    "flashsale.released.v1",
    "flashsale.epoch.v1",
    "flashsale.allotment.v1",
    "flashsale.limit.v1",
    "flashsale.genesis.v1",
];

/// Draws from a seed.
pub(crate) struct Forger {
    bits: u64,
    minted: u64,
}

impl Forger {
    pub(crate) fn new(seed: u64) -> Self {
        Self { bits: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d, minted: 0 }
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.bits = self.bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.bits >> 33) % end
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn fresh<T: TryFrom<u64>>(&mut self) -> T
    where
        T::Error: std::fmt::Debug,
    {
        self.minted += 1;
        id(ID_MAX / 2 + self.minted)
    }

    /// A record; `known`: orders whose records stand before it.
    pub(crate) fn record(&mut self, known: &[Promise]) -> Envelope {
        let record = self.contradicting(known);
        let (mut kind, mut payload) = (record.kind(), record.encode());
        match self.below(6) {
            0 => payload = (0..self.below(60)).map(|_| u8::try_from(self.below(256)).unwrap()).collect(),
            1 if !payload.is_empty() => {
                let at = usize::try_from(self.below(payload.len() as u64)).unwrap();
                payload[at] = u8::try_from(self.below(256)).unwrap();
            }
            2 => payload.truncate(usize::try_from(self.below(payload.len() as u64 + 1)).unwrap()),
            3 => kind = self.pick(&KINDS),
            _ => {}
        }
        // A damaged byte may make a false word about the sound lane: of it only damage is wanted.
        let sound = Record::read(kind, payload.clone().into()).ok().and_then(|record| record.lane());
        if sound.is_some_and(|lane| lane.get() == LANES[1]) {
            payload = vec![0xff];
        }
        Envelope { id: self.fresh::<RecordId>(), kind, payload: payload.into() }
    }

    fn contradicting(&mut self, known: &[Promise]) -> Record {
        let lane = id(self.pick(&[LANES[0], LANES[0], LANES[0], 5999]));
        let epoch = Epoch(self.pick(&[0, 1, 1, 2, 3, 9, Epoch::MAX.0, ID_MAX, u64::MAX]));
        match self.below(10) {
            0..=3 => {
                let reservations = (0..self.below(4) + 1).map(|_| self.reservation(known)).collect();
                Record::Batch(Batch { lane, id: self.fresh(), epoch, reservations })
            }
            4 => self.released(known),
            5 => Record::EpochOpened { lane, epoch },
            6 => Record::LaneRetired { lane, epoch },
            7 => Record::AllotmentChanged(AllotmentChange {
                lane,
                offer: id(self.pick(&[offer_of(LANES[0]), offer_of(LANES[0]) + 100, offer_of(LANES[1]), 99])),
                sale_version: self.pick(&[0, 1, 2, 3, 4, u32::MAX]),
                delta: self.pick(&[-3, 5, 100, i64::MIN, i64::MAX, -5_000, 100_000_000]),
                target: self.pick(&[None, Some(0), Some(3), Some(5_000), Some(6_000), Some(u64::MAX)]),
                epoch,
                after: self.pick(&[0, 0, 0, -1, 77, i64::MAX]),
            }),
            8 => Record::LimitChanged(LimitChange {
                lane,
                limit: self.pick(&[0, 1, 2, 100, 101, u32::MAX]),
                epoch,
                after: self.pick(&[0, 0, 0, -1, 77, i64::MAX]),
            }),
            _ => Record::Genesis(Genesis {
                partition: PartitionId(self.pick(&[0, 1, u32::MAX])),
                generation: Generation(self.pick(&[0, 1, 2, 4096, u16::MAX])),
                log_id: self.below(9),
            }),
        }
    }

    fn reservation(&mut self, known: &[Promise]) -> (PurchaseNumber, Reservation) {
        self.minted += 1;
        let buyer: BuyerId = id(self.pick(&[1, 2, 3, 4, 5, 39, ID_MAX]));
        let slot = if self.below(6) == 0 { Slot::of(id(self.below(99) + 1)) } else { Slot::of(buyer) };
        let mut order = OrderId::compose(1_900_000_000_000 + self.minted, slot, 200, 0).unwrap();
        if let (0, Some(promise)) = (self.below(5), known.last()) {
            order = promise.order;
        }
        let mut key = [0xaa; 16];
        key[..8].copy_from_slice(&self.minted.to_be_bytes());
        let reservation = Reservation {
            tenant: id(self.pick(&[TENANT, TENANT, TENANT, 8, u64::from(u32::MAX)])),
            sale: id(self.pick(&[SALE, SALE, SALE, SALE, 1002])),
            sale_version: self.pick(&[1, 1, u32::MAX]),
            offer: id(self.pick(&[offer_of(LANES[0]), offer_of(LANES[0]) + 100, offer_of(LANES[1]), 99, ID_MAX])),
            sku: id(self.pick(&[77, ID_MAX])),
            order,
            buyer,
            quantity: self.pick(&[1, 1, 1, 2, 100, 70_000]),
            unit_price: Money { amount: self.pick(&[1, 1, 1, 1, 0, -1, i64::MAX]), currency: "CNY".parse().unwrap() },
            key: KeyHash(key),
            reserved_at_ms: self.pick(&[1, 1, 1, 1, 1, u64::MAX]),
            context: Bytes::from(vec![0; self.pick(&[0, 0, 0, 256, 257])]),
            pay_within_s: 0,
            trace: None,
        };
        (PurchaseNumber(self.pick(&[1, 1, 1, 2, 3, 0, 100, 255])), reservation)
    }

    fn released(&mut self, known: &[Promise]) -> Record {
        let of = known.last().filter(|_| self.below(4) > 0).map(|promise| promise.reservation.clone());
        let lane = known.last().map_or(LANES[0], |promise| promise.lane);
        let r = of.unwrap_or_else(|| self.reservation(known).1);
        Record::Released(Released {
            lane: id(if self.below(3) == 0 { 5999 } else { lane }),
            order: r.order,
            buyer: r.buyer,
            offer: r.offer,
            quantity: self.pick(&[r.quantity, 1, 2, 100]),
            key: r.key,
            became: self.pick(&[
                None,
                Some(Status::Cancelled),
                Some(Status::Expired),
                Some(Status::Refunded),
                Some(Status::Paid),
            ]),
        })
    }
}

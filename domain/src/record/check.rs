//! What every record of ours keeps beyond its shape: values that no engine and no writer of ours
//! ever produces, and that a database could not hold or a decision could not bear. Pure and cheap:
//! a few comparisons a reservation, nothing is allocated for a sound one.

use bytes::Bytes;

use super::{AllotmentChange, Batch, LimitChange, Record, RecordError, Reservation};
use crate::{
    id::{BatchId, Epoch, ID_MAX, LaneId, Slot},
    sale::{ALLOTMENT_MAX, LIMIT_MAX, PAYMENT_WINDOW_S},
};

impl Record {
    /// [`Record::decode`], then the check that a record must pass before it is decided.
    ///
    /// # Errors
    /// As [`Record::decode`]; [`RecordError::Malformed`] too for values that no program of ours
    /// produces. One such value condemns the whole record: engines take every value of a batch from
    /// their own types, so the record is damaged or forged, and nothing else in it is worth more.
    pub fn read(kind: &str, payload: Bytes) -> Result<Self, RecordError> {
        let record = Self::decode(kind, payload)?;
        match record.flaw() {
            None => Ok(record),
            Some(why) => Err(RecordError::Malformed { kind: record.kind(), why }),
        }
    }

    /// What no record of ours holds; `None` for a sound one.
    pub fn flaw(&self) -> Option<String> {
        match self {
            Self::Batch(batch) => {
                let flawed = |(index, (_, reservation)): (usize, &(_, Reservation))| {
                    reservation.flaw().map(|why| format!("reservation {index}: {why}"))
                };
                epoch_flaw(batch.epoch).or_else(|| batch.reservations.iter().enumerate().find_map(flawed))
            }
            Self::EpochOpened { epoch, .. } | Self::LaneRetired { epoch, .. } => epoch_flaw(*epoch),
            Self::AllotmentChanged(change) => change.flaw(),
            Self::LimitChanged(change) => change.flaw(),
            Self::Released(_) | Self::Genesis(_) => None,
        }
    }
}

fn epoch_flaw(epoch: Epoch) -> Option<String> {
    (epoch > Epoch::MAX).then(|| format!("epoch {epoch} is beyond the last one"))
}

impl Reservation {
    fn flaw(&self) -> Option<String> {
        if self.order.slot() != Slot::of(self.buyer) {
            // Its row would stand in another table than its buyer's other rows, and the limit would
            // not hold.
            return Some(format!("order {} has another slot than its buyer {}", self.order, self.buyer));
        }
        if self.unit_price.amount < 0 || self.unit_price.times(self.quantity).is_none() {
            return Some(format!("{} units at a price of {}", self.quantity, self.unit_price.amount));
        }
        if self.pay_within_s > *PAYMENT_WINDOW_S.end() {
            return Some(format!("{} s to pay", self.pay_within_s));
        }
        (self.reserved_at_ms > ID_MAX).then(|| format!("reserved at {} ms", self.reserved_at_ms))
    }
}

impl AllotmentChange {
    fn flaw(&self) -> Option<String> {
        let target = self.target.unwrap_or(0);
        let fits = self.delta.unsigned_abs().max(target) <= ALLOTMENT_MAX && self.after >= 0;
        let strange = || format!("a change by {} to {target} units after position {}", self.delta, self.after);
        epoch_flaw(self.epoch).or_else(|| (!fits).then(strange))
    }
}

impl LimitChange {
    fn flaw(&self) -> Option<String> {
        let fits = (1..=LIMIT_MAX).contains(&self.limit) && self.after >= 0;
        let strange = || format!("a limit of {} after position {}", self.limit, self.after);
        epoch_flaw(self.epoch).or_else(|| (!fits).then(strange))
    }
}

impl Batch {
    /// Lane and batch that stand in the head, also where what follows is damaged; `None` when the
    /// head is.
    pub fn named(payload: &[u8]) -> Option<(LaneId, BatchId)> {
        use prost::encoding::{WireType, decode_key, decode_varint};
        let mut rest = payload;
        let mut number = |wanted: u32| match decode_key(&mut rest) {
            Ok((tag, WireType::Varint)) if tag == wanted => decode_varint(&mut rest).ok(),
            _ => None,
        };
        let (lane, batch) = (number(2)?, number(3)?);
        Some((LaneId::new(lane).ok()?, BatchId::new(batch).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{BuyerId, KeyHash, OfferId, OrderId, PurchaseNumber, SaleId, SkuId, TenantId},
        money::Money,
        order::Status,
        record::{ALLOTMENT_TYPE, BATCH_TYPE, EPOCH_TYPE, LIMIT_TYPE, RELEASED_TYPE, Released},
    };

    fn reservation(buyer: u64) -> Reservation {
        let buyer = BuyerId::new(buyer).unwrap();
        Reservation {
            tenant: TenantId::new(1).unwrap(),
            sale: SaleId::new(2).unwrap(),
            sale_version: u32::MAX,
            offer: OfferId::new(3).unwrap(),
            sku: SkuId::new(ID_MAX).unwrap(),
            order: OrderId::compose(1_800_000_000_000, Slot::of(buyer), 255, 31).unwrap(),
            buyer,
            quantity: 100,
            unit_price: Money { amount: 0, currency: "CNY".parse().unwrap() },
            key: KeyHash([0xff; 16]),
            reserved_at_ms: ID_MAX,
            context: Bytes::new(),
            pay_within_s: *PAYMENT_WINDOW_S.end(),
            trace: None,
        }
    }

    fn batch(epoch: u64, reservations: Vec<Reservation>) -> Record {
        let reservations = reservations.into_iter().map(|reservation| (PurchaseNumber(1), reservation)).collect();
        let id = BatchId::new(7).unwrap();
        Record::Batch(Batch { lane: LaneId::new(9).unwrap(), id, epoch: Epoch(epoch), reservations })
    }

    fn read(record: &Record) -> Result<Record, RecordError> {
        Record::read(record.kind(), record.encode().into())
    }

    /// Each bound by itself, on both sides: what a program of ours writes is sound up to the last
    /// value.
    #[test]
    fn values_that_no_program_of_ours_produces_condemn_the_record() {
        type Harm = fn(&mut Reservation);
        let sound = batch(Epoch::MAX.0, vec![reservation(1), reservation(2)]);
        assert_eq!(read(&sound).unwrap(), sound);
        let harms: [(&str, Harm); 5] = [
            ("another slot", |r| r.order = OrderId::new(r.order.get() ^ 1 << 13).unwrap()),
            ("price of -1", |r| r.unit_price.amount = -1),
            ("100 units at", |r| r.unit_price.amount = i64::MAX),
            ("reserved at", |r| r.reserved_at_ms = ID_MAX + 1),
            ("2592001 s to pay", |r| r.pay_within_s += 1),
        ];
        for (word, harm) in harms {
            let mut harmed = reservation(2);
            harm(&mut harmed);
            let told = read(&batch(1, vec![reservation(1), harmed])).unwrap_err().to_string();
            assert!(told.contains("reservation 1: ") && told.contains(word), "{told}");
        }
        let change = |delta, target, after, epoch| {
            let (lane, offer) = (LaneId::new(9).unwrap(), OfferId::new(3).unwrap());
            let change = AllotmentChange { lane, offer, sale_version: 1, delta, target, epoch: Epoch(epoch), after };
            read(&Record::AllotmentChanged(change))
        };
        let most = ALLOTMENT_MAX.cast_signed();
        assert!(change(most, Some(ALLOTMENT_MAX), i64::MAX, Epoch::MAX.0).is_ok() && change(-most, None, 0, 0).is_ok());
        let wrong = [
            (most + 1, None, 0, 0),
            (i64::MIN, None, 0, 0),
            (1, Some(ALLOTMENT_MAX + 1), 0, 0),
            (1, Some(u64::MAX), 0, 0),
            (1, None, -1, 0),
            (1, None, 0, u64::MAX),
        ];
        for (delta, target, after, epoch) in wrong {
            assert!(change(delta, target, after, epoch).unwrap_err().to_string().contains(ALLOTMENT_TYPE));
        }
        let limited = |limit, after, epoch| {
            let change = LimitChange { lane: LaneId::new(9).unwrap(), limit, epoch: Epoch(epoch), after };
            read(&Record::LimitChanged(change))
        };
        assert!(limited(LIMIT_MAX, i64::MAX, Epoch::MAX.0).is_ok() && limited(1, 0, 0).is_ok());
        for (limit, after, epoch) in [(0, 0, 0), (LIMIT_MAX + 1, 0, 0), (1, -1, 0), (1, 0, u64::MAX)] {
            assert!(limited(limit, after, epoch).unwrap_err().to_string().contains(LIMIT_TYPE));
        }
        let opened = |epoch| read(&Record::EpochOpened { lane: LaneId::new(9).unwrap(), epoch: Epoch(epoch) });
        assert!(opened(Epoch::MAX.0).is_ok());
        assert!(opened(Epoch::MAX.0 + 1).unwrap_err().to_string().contains(EPOCH_TYPE));
        assert!(read(&batch(u64::MAX, vec![reservation(1)])).unwrap_err().to_string().contains(BATCH_TYPE));
    }

    /// The time to pay that a record may hold is one that a database holds.
    #[test]
    fn the_time_to_pay_ends_where_a_database_ends() {
        let last = Reservation { reserved_at_ms: 1_000, pay_within_s: 900, ..reservation(1) };
        assert_eq!((last.pay_by_ms(), reservation(1).pay_by_ms()), (Some(901_000), Some(ID_MAX)));
        assert_eq!(Reservation { pay_within_s: 0, ..last }.pay_by_ms(), None, "an older program's record says nothing");
    }

    /// R8: a status that gives nothing back, or that no program knows, condemns the release.
    #[test]
    fn r8_a_release_says_what_gives_back() {
        let (lane, offer, order) = (LaneId::new(9).unwrap(), OfferId::new(3).unwrap(), OrderId::new(7).unwrap());
        let (buyer, key) = (BuyerId::new(1).unwrap(), KeyHash([1; 16]));
        let released = |became| Record::Released(Released { lane, order, buyer, offer, quantity: 1, key, became });
        let sound = released(Some(Status::Refunded)).encode();
        assert_eq!(sound.last(), Some(&Status::Refunded.stored()), "the status stands last");
        for stored in 0..=u8::MAX {
            let bytes = [&sound[..sound.len() - 1], &[stored & 0x7f]].concat();
            let status = Status::from_stored(stored & 0x7f).filter(|status| status.gives_back());
            let read = Record::read(RELEASED_TYPE, bytes.into());
            match status {
                Some(status) => assert_eq!(read, Ok(released(Some(status)))),
                None => assert!(read.unwrap_err().to_string().contains("gives nothing back"), "{stored}"),
            }
        }
        assert_eq!(read(&released(None)), Ok(released(None)), "an older program's record");
    }

    #[test]
    fn a_damaged_batch_still_names_its_lane_and_itself() {
        let bytes = batch(1, vec![reservation(1)]).encode();
        let named = Some((LaneId::new(9).unwrap(), BatchId::new(7).unwrap()));
        for length in 8..bytes.len() {
            assert_eq!(Batch::named(&bytes[..length]), named, "cut at {length}");
        }
        for damaged in [&[][..], &[0x10], &[0x10, 9], &[0x10, 0, 0x18, 7], &[0xff; 40], &bytes[2..]] {
            assert_eq!(Batch::named(damaged), None, "{damaged:?}");
        }
    }
}

//! A reservation's bytes, written once per order on the hot path: as prost would write them (a test
//! compares), but without the owned copy of the message that prost wants first, which took five
//! allocations.

use prost::encoding::{WireType, encode_key, encode_varint};

use super::{RESERVATION_SCHEMA, Reservation};

/// Tag of `reservations` in a batch.
const RESERVATIONS: u32 = 1;
/// Bytes of a field without its context and its trace: more never come, fewer mostly.
const FIELD_BYTES: usize = 144;
/// Bytes of its trace, if it has one, with tag and length.
const TRACE_BYTES: usize = 19;
/// Bytes of its tag and of the shortest length.
const FRAME_BYTES: usize = 2;

impl Reservation {
    /// Appends this reservation as one `reservations` field of a [`Batch`](super::Batch): what a
    /// request carries to Redis, so that the script only concatenates.
    pub fn append_field(&self, out: &mut Vec<u8>) {
        out.reserve(FIELD_BYTES + self.context.len() + self.trace.map_or(0, |_| TRACE_BYTES));
        encode_key(RESERVATIONS, WireType::LengthDelimited, out);
        // The length stands before what it counts, and takes a byte or two: room is left for one.
        let length_at = out.len();
        out.push(0);
        self.append_message(out);
        let length = out.len() - length_at - 1;
        match u8::try_from(length) {
            Ok(short @ ..0x80) => out[length_at] = short,
            _ => {
                let mut long = Vec::with_capacity(FRAME_BYTES);
                encode_varint(length as u64, &mut long);
                out.splice(length_at..=length_at, long);
            }
        }
    }

    fn append_message(&self, out: &mut Vec<u8>) {
        number(1, RESERVATION_SCHEMA.into(), out);
        number(2, self.tenant.number().into(), out);
        number(3, self.sale.get(), out);
        number(4, self.sale_version.into(), out);
        number(5, self.offer.get(), out);
        number(6, self.sku.get(), out);
        number(7, self.order.get(), out);
        number(8, self.buyer.get(), out);
        number(9, self.quantity.into(), out);
        number(10, self.unit_price.amount.cast_unsigned(), out);
        bytes(11, self.unit_price.currency.as_str().as_bytes(), out);
        bytes(12, &self.key.0, out);
        number(13, self.reserved_at_ms, out);
        bytes(14, &self.context, out);
        number(15, self.pay_within_s.into(), out);
        if let Some(trace) = self.trace {
            bytes(16, &trace.get().to_be_bytes(), out);
        }
    }
}

/// A field that is its default is left out, as proto3 wants.
pub(crate) fn number(tag: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        encode_key(tag, WireType::Varint, out);
        encode_varint(value, out);
    }
}

pub(crate) fn bytes(tag: u32, value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        encode_key(tag, WireType::LengthDelimited, out);
        encode_varint(value.len() as u64, out);
        out.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU128;

    use ::bytes::Bytes;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::{
        id::{BuyerId, KeyHash, OfferId, OrderId, SaleId, SkuId, TenantId},
        money::Money,
        record::{CONTEXT_MAX, wire},
    };

    const ID_MAX: u64 = i64::MAX as u64;

    fn as_prost_writes(reservation: &Reservation) -> Vec<u8> {
        let message = wire::Reservation {
            schema: RESERVATION_SCHEMA,
            tenant: reservation.tenant.number(),
            sale: reservation.sale.get(),
            sale_version: reservation.sale_version,
            offer: reservation.offer.get(),
            sku: reservation.sku.get(),
            order_id: reservation.order.get(),
            buyer: reservation.buyer.get(),
            quantity: reservation.quantity,
            unit_price: reservation.unit_price.amount,
            currency: reservation.unit_price.currency.to_string(),
            key_hash: Bytes::copy_from_slice(&reservation.key.0),
            reserved_at_ms: reservation.reserved_at_ms,
            context: reservation.context.clone(),
            pay_within_s: reservation.pay_within_s,
            trace: reservation.trace.map_or(Bytes::new(), |trace| Bytes::copy_from_slice(&trace.get().to_be_bytes())),
        };
        wire::Batch { reservations: vec![message], ..wire::Batch::default() }.encode_to_vec()
    }

    proptest! {
        #[test]
        fn a_field_is_what_prost_writes(
            ids in [1..=ID_MAX, 1..=ID_MAX, 1..=ID_MAX, 1..=ID_MAX, 1..=ID_MAX],
            tenant in 1..=u64::from(u32::MAX),
            sale_version: u32,
            quantity: u32,
            amount: i64,
            key: [u8; 16],
            reserved_at_ms: u64,
            context in proptest::collection::vec(any::<u8>(), 0..=CONTEXT_MAX),
            pay_within_s: u32,
            trace: u128,
            is_traced: bool,
        ) {
            let reservation = Reservation {
                tenant: TenantId::new(tenant).unwrap(),
                sale: SaleId::new(ids[0]).unwrap(),
                sale_version,
                offer: OfferId::new(ids[1]).unwrap(),
                sku: SkuId::new(ids[2]).unwrap(),
                order: OrderId::new(ids[3]).unwrap(),
                buyer: BuyerId::new(ids[4]).unwrap(),
                quantity,
                unit_price: Money { amount, currency: "CNY".parse().unwrap() },
                key: KeyHash(key),
                reserved_at_ms,
                context: context.into(),
                pay_within_s,
                trace: NonZeroU128::new(trace).filter(|_| is_traced),
            };
            let mut field = b"before".to_vec();
            reservation.append_field(&mut field);
            prop_assert_eq!(&field[6..], &as_prost_writes(&reservation)[..]);
            let trace = reservation.trace.map_or(0, |_| TRACE_BYTES);
            prop_assert!(field.len() - 6 <= FIELD_BYTES + reservation.context.len() + trace);
        }
    }
}

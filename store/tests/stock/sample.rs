//! Ids, requests and loads for the tests.

use bytes::Bytes;
use domain::{
    id::{BatchId, BuyerId, Epoch, KeyHash, LaneId, OfferId, OrderId, PurchaseNumber, SaleId, SkuId, TenantId},
    money::Money,
    record::Reservation,
    stock::{LaneLoad, OfferLoad, Purchase, ReserveCall, ReserveRequest},
};

pub(super) fn offer(number: u64) -> OfferId {
    OfferId::new(number).unwrap()
}

pub(super) fn buyer(number: u64) -> BuyerId {
    BuyerId::new(number).unwrap()
}

pub(super) fn order(number: u64) -> OrderId {
    OrderId::new(number).unwrap()
}

pub(super) fn batch(number: u64) -> BatchId {
    BatchId::new(number).unwrap()
}

pub(super) fn lane(number: u64) -> LaneId {
    LaneId::new(number).unwrap()
}

pub(super) fn key(byte: u8) -> KeyHash {
    KeyHash([byte; 16])
}

/// What becomes of a request.
pub(super) fn reservation(request: &ReserveRequest) -> Reservation {
    Reservation {
        tenant: TenantId::new(1).unwrap(),
        sale: SaleId::new(5).unwrap(),
        sale_version: 2,
        offer: request.offer,
        sku: SkuId::new(77).unwrap(),
        order: request.order,
        buyer: request.buyer,
        quantity: request.quantity,
        unit_price: Money { amount: 1999, currency: "EUR".parse().unwrap() },
        key: request.key,
        reserved_at_ms: 1_767_225_600_000,
        context: Bytes::from_static(b"context"),
        pay_within_s: 0,
        trace: None,
    }
}

/// A request with its real field.
pub(super) fn request(order_number: u64, of: u64, what: u64, quantity: u32, key_byte: u8) -> ReserveRequest {
    let mut request = ReserveRequest {
        order: order(order_number),
        buyer: buyer(of),
        offer: offer(what),
        quantity,
        key: key(key_byte),
        field: Bytes::new(),
    };
    let mut field = Vec::new();
    reservation(&request).append_field(&mut field);
    request.field = field.into();
    request
}

pub(super) fn call(lane: LaneId, epoch: u64, batch_number: u64) -> ReserveCall {
    ReserveCall {
        lane,
        epoch: Epoch(epoch),
        batch: batch(batch_number),
        now_ms: 1_000,
        sweep_after_ms: 500,
        journal_max: 4096,
    }
}

/// Offers 1, 2, ... with these units, allotted and left; no buyers.
pub(super) fn fresh(limit_per_buyer: u32, units: &[u64]) -> LaneLoad {
    let offers = (1..).zip(units).map(|(number, &units)| OfferLoad {
        offer: offer(number),
        left: units,
        allotment: units,
        changed_at: 0,
    });
    LaneLoad { limit_per_buyer, offers: offers.collect(), purchases: Vec::new() }
}

pub(super) fn purchase(order_number: u64, what: u64, quantity: u32, number: Option<u8>, key_byte: u8) -> Purchase {
    Purchase {
        order: order(order_number),
        offer: offer(what),
        quantity,
        number: number.map(PurchaseNumber),
        key: key(key_byte),
        batch: None,
    }
}

//! The row of a decided reservation.

use crate::{
    id::{LaneId, Position, PurchaseNumber},
    order::{Decision, OrderRow, Status},
    record::Reservation,
};

impl OrderRow {
    /// The row of a decided reservation; `None` for a duplicate, which has its row already.
    pub fn decided(
        lane: LaneId,
        number: PurchaseNumber,
        reservation: &Reservation,
        position: Position,
        decision: Decision,
    ) -> Option<Self> {
        let (status, reason, number) = match decision {
            Decision::Accepted => (Status::PendingPayment, None, Some(number)),
            Decision::Rejected(reason) => (Status::Rejected, Some(reason), None),
            Decision::Duplicate => return None,
        };
        Some(Self {
            order: reservation.order,
            tenant: reservation.tenant,
            buyer: reservation.buyer,
            lane,
            number,
            sale: reservation.sale,
            sale_version: reservation.sale_version,
            offer: reservation.offer,
            sku: reservation.sku,
            quantity: reservation.quantity,
            unit_price: reservation.unit_price,
            key: reservation.key,
            status,
            reason,
            position,
            released: None,
            reserved_at_ms: reservation.reserved_at_ms,
            context: reservation.context.clone(),
            pay_by_ms: reservation.pay_by_ms(),
        })
    }
}

//! What an event means for an order of which so much is known. Pure: no event counts twice, and
//! none is lost by coming early.

use domain::event::{EventKind, OrderEvent, Purchased};

/// What is known of an order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Known {
    /// Its purchase, once its first event came.
    pub(crate) line: Option<Facts>,
    /// The plan version that its payment froze.
    pub(crate) plan: Option<u32>,
    /// The buyer has the goods.
    pub(crate) is_received: bool,
    /// Taken back up to now, minor units.
    pub(crate) refunded: i64,
}

/// A purchase: one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) tenant: u64,
    pub(crate) buyer: u64,
    pub(crate) sale: u64,
    pub(crate) offer: u64,
    pub(crate) quantity: u32,
    /// Price of all units, minor units.
    pub(crate) net: i64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A new line.
    Line(Facts, Purchased),
    /// It is paid: freeze and evaluate.
    Pay,
    /// The goods are there: its payouts mature in time.
    Receive,
    /// So much of it has gone back, all refunds together.
    Refund(i64),
    /// Known already, or of no interest.
    Nothing,
    /// What comes before it has not come: it waits.
    Wait,
    /// It cannot be: parked with this cause.
    Contradicts(&'static str),
}

/// Whether commissions depend on such an event at all.
pub(crate) const fn matters(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Fulfilled | EventKind::Refunding | EventKind::Released)
}

pub(crate) fn next(known: &Known, event: &OrderEvent) -> Step {
    use EventKind as K;
    let Some(line) = known.line else {
        return match event.kind {
            K::Created => first(event),
            // Nothing was paid of it, and nothing is.
            K::Rejected | K::Cancelled | K::Expired => Step::Nothing,
            _ => Step::Wait,
        };
    };
    if (line.tenant, line.buyer, line.sale, line.offer, line.quantity) != parties(event) {
        return Step::Contradicts("it names other people or things than the order's first event");
    }
    let is_paid = known.plan.is_some();
    match event.kind {
        K::Created => match first(event) {
            Step::Line(again, _) if again != line => Step::Contradicts("the order was created twice, differently"),
            Step::Contradicts(cause) => Step::Contradicts(cause),
            _ => Step::Nothing,
        },
        K::Rejected => Step::Contradicts("the order was created, and is rejected now"),
        K::Cancelled | K::Expired if is_paid => Step::Contradicts("the order is paid, and is called off unpaid now"),
        K::Paid if !is_paid => Step::Pay,
        K::Completed | K::Refunded | K::RefundedInPart if !is_paid => Step::Wait,
        K::Completed if !known.is_received => Step::Receive,
        K::Refunded if known.refunded < line.net => Step::Refund(line.net),
        K::RefundedInPart if event.refunded > line.net => Step::Contradicts("more has gone back than was paid"),
        // An older one that comes late says less than is known.
        K::RefundedInPart if event.refunded > known.refunded => Step::Refund(event.refunded),
        _ => Step::Nothing,
    }
}

fn parties(event: &OrderEvent) -> (u64, u64, u64, u64, u32) {
    (event.tenant.get(), event.buyer.get(), event.sale.get(), event.offer.get(), event.quantity)
}

fn first(event: &OrderEvent) -> Step {
    let Some(purchased) = event.purchased else { return Step::Contradicts("a first event without its purchase") };
    let net = purchased.unit_price.amount.checked_mul(event.quantity.into());
    let Some(net) = net.filter(|net| (0..=domain::money::AMOUNT_MAX).contains(net)) else {
        return Step::Contradicts("its amount leaves the range of money");
    };
    let (tenant, buyer, sale, offer, quantity) = parties(event);
    Step::Line(Facts { tenant, buyer, sale, offer, quantity, net }, purchased)
}

#[cfg(test)]
mod tests {
    use domain::{
        id::{BuyerId, OfferId, OrderId, SaleId, SkuId, TenantId},
        money::Money,
    };

    use super::*;

    fn event(sequence: u8, kind: EventKind, refunded: i64) -> OrderEvent {
        let unit_price = Money { amount: 3_333, currency: "CNY".parse().unwrap() };
        let purchased = Purchased { sku: SkuId::new(5).unwrap(), sale_version: 1, unit_price, reserved_at_ms: 1 };
        OrderEvent {
            order: OrderId::new(1).unwrap(),
            sequence,
            kind,
            tenant: TenantId::new(7).unwrap(),
            sale: SaleId::new(6).unwrap(),
            offer: OfferId::new(8).unwrap(),
            buyer: BuyerId::new(9).unwrap(),
            quantity: 3,
            purchased: (kind == EventKind::Created).then_some(purchased),
            reason: None,
            refunded,
        }
    }

    fn paid(refunded: i64) -> Known {
        let line = Facts { tenant: 7, buyer: 9, sale: 6, offer: 8, quantity: 3, net: 9_999 };
        Known { line: Some(line), plan: Some(1), is_received: false, refunded }
    }

    #[test]
    fn what_comes_early_waits_and_what_comes_again_is_nothing() {
        use EventKind as K;
        let unknown = Known::default();
        let created = Known { plan: None, ..paid(0) };
        assert!(matches!(next(&unknown, &event(1, K::Created, 0)), Step::Line(facts, _) if facts.net == 9_999));
        for early in [event(2, K::Paid, 0), event(4, K::Completed, 0), event(9, K::RefundedInPart, 5)] {
            assert_eq!(next(&unknown, &early), Step::Wait);
        }
        assert_eq!(next(&created, &event(2, K::Paid, 0)), Step::Pay);
        assert_eq!(next(&created, &event(7, K::Refunded, 0)), Step::Wait);
        assert_eq!(next(&paid(0), &event(1, K::Created, 0)), Step::Nothing);
        assert_eq!(next(&paid(0), &event(2, K::Paid, 0)), Step::Nothing);
        assert_eq!(next(&paid(0), &event(4, K::Completed, 0)), Step::Receive);
        assert_eq!(next(&Known { is_received: true, ..paid(0) }, &event(4, K::Completed, 0)), Step::Nothing);
    }

    #[test]
    fn refunds_are_cumulative_so_that_an_older_one_that_comes_late_changes_nothing() {
        use EventKind as K;
        assert_eq!(next(&paid(0), &event(9, K::RefundedInPart, 3_333)), Step::Refund(3_333));
        assert_eq!(next(&paid(6_666), &event(9, K::RefundedInPart, 3_333)), Step::Nothing);
        assert_eq!(next(&paid(6_666), &event(7, K::Refunded, 0)), Step::Refund(9_999));
        assert_eq!(next(&paid(9_999), &event(7, K::Refunded, 0)), Step::Nothing);
    }

    #[test]
    fn what_cannot_be_is_parked() {
        use EventKind as K;
        let other = OrderEvent { buyer: BuyerId::new(10).unwrap(), ..event(2, K::Paid, 0) };
        let huge = Money { amount: i64::MAX, currency: "CNY".parse().unwrap() };
        let mut unfit = event(1, K::Created, 0);
        unfit.purchased = unfit.purchased.map(|purchased| Purchased { unit_price: huge, ..purchased });
        let cases = [
            (paid(0), other),
            (paid(0), event(1, K::Rejected, 0)),
            (paid(0), event(2, K::Cancelled, 0)),
            (paid(0), event(9, K::RefundedInPart, 10_000)),
            (Known::default(), unfit),
        ];
        for (known, event) in cases {
            assert!(matches!(next(&known, &event), Step::Contradicts(_)), "{event:?}");
        }
    }
}

//! Goal: each decision of an order is told once, by the record that made it, in the same bytes
//! whenever it is decided. Method: decide spans and read what they tell; the bytes against prost's.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::{
    decide::{Decided, Known, LaneLedger, OfferLedger, decide},
    id::{BatchId, Epoch, Generation, ID_MAX, KeyHash, LaneId, PurchaseNumber, RecordId, Slot},
    sale::LIMIT_MAX,
};

fn id<T: TryFrom<u64>>(number: u64) -> T
where
    T::Error: std::fmt::Debug,
{
    T::try_from(number).unwrap()
}

fn lanes() -> Lanes {
    let offer = OfferLedger { allotment: 2, target: 2, sold: 0, sale_version: 1, changed_at: 0 };
    let lane = LaneLedger {
        tenant: id(3),
        sale: id(77),
        epoch: Epoch(4),
        is_retired: false,
        limit_per_buyer: 1,
        limit_changed_at: 0,
        first_order: None,
        offers: [(id(900), offer)].into(),
    };
    [(id::<LaneId>(9), lane)].into()
}

fn reservation(buyer: u64) -> Reservation {
    Reservation {
        tenant: id(3),
        sale: id(77),
        sale_version: 2,
        offer: id(900),
        sku: id(81),
        order: OrderId::compose(1_800_000_000_000 + buyer, Slot::of(id(buyer)), 1, 0).unwrap(),
        buyer: id(buyer),
        quantity: 1,
        unit_price: Money { amount: 19_900, currency: "CNY".parse().unwrap() },
        key: KeyHash([1; 16]),
        reserved_at_ms: 1_800_000_000_000,
        context: Bytes::new(),
        pay_within_s: 0,
        trace: None,
    }
}

fn placed(offset: u64, record: Record) -> Placed {
    Placed { generation: Generation(1), offset, id: id::<RecordId>(offset + 1), record }
}

fn batch(offset: u64, epoch: u64, buyers: &[u64]) -> Placed {
    let reservations = buyers.iter().map(|&buyer| (PurchaseNumber(1), reservation(buyer))).collect();
    let batch = Batch { lane: id(9), id: id::<BatchId>(offset + 1), epoch: Epoch(epoch), reservations };
    placed(offset, Record::Batch(batch))
}

fn released(offset: u64, buyer: u64) -> Placed {
    let Reservation { order, offer, key, .. } = reservation(buyer);
    let (lane, buyer, became) = (id(9), id(buyer), Some(Status::Cancelled));
    placed(offset, Record::Released(Released { lane, order, buyer, offer, quantity: 1, key, became }))
}

/// What a span tells, record by record.
fn told(span: &[Placed], decided: &Decided) -> Vec<Vec<OrderEvent>> {
    let told = span.iter().zip(&decided.movements).map(|(placed, movement)| {
        let given_back = decided.given_back.iter().find(|(offset, _)| *offset == placed.offset);
        let bytes = events_of(placed, movement, given_back.map(|(_, status)| *status), &lanes());
        bytes.map_or(Vec::new(), |bytes| decode_events(ORDER_EVENTS_TYPE, bytes).unwrap())
    });
    told.collect()
}

fn heads(events: &[Vec<OrderEvent>]) -> Vec<Vec<(u64, u8, EventKind)>> {
    let head = |event: &OrderEvent| (event.buyer.get(), event.sequence, event.kind);
    events.iter().map(|events| events.iter().map(head).collect()).collect()
}

/// Accepted, rejected, sold out; a batch that comes twice tells nothing more; a replay tells the
/// same again.
#[test]
fn a_batch_tells_each_of_its_orders_once_and_a_replay_the_same() {
    use EventKind::{Created, Rejected};
    let span = [batch(0, 4, &[1]), batch(1, 3, &[2]), batch(2, 4, &[1, 3, 4])];
    let decided = decide(&lanes(), &span, &Known::default());
    let first = told(&span, &decided);
    let expected = [vec![(1, 1, Created)], vec![(2, 1, Rejected)], vec![(3, 1, Created), (4, 1, Rejected)]];
    assert_eq!(heads(&first), expected);
    assert_eq!((first[1][0].reason, first[2][1].reason), (Some(Reason::Superseded), Some(Reason::Stock)));
    assert_eq!(first[0][0].purchased.unwrap().unit_price.amount, 19_900);

    let rows = decided.rows.into_iter().map(|row| (row.order, row)).collect();
    let again = decide(&lanes(), &span, &Known { rows, ..Known::default() });
    assert_eq!(told(&span, &again), first);
}

/// A release tells what gave the units back and that they are back, in this order; a repeated one
/// tells nothing.
#[test]
fn a_release_tells_what_its_row_is_and_that_its_units_are_back() {
    use EventKind::{Cancelled, Expired, Released};
    let bought = [batch(0, 4, &[1, 2])];
    let decided = decide(&lanes(), &bought, &Known::default());
    let mut rows: std::collections::HashMap<_, _> = decided.rows.into_iter().map(|row| (row.order, row)).collect();
    // Its row stands, whatever the release says (R8).
    rows.get_mut(&reservation(2).order).unwrap().status = Status::Expired;
    let mut lanes = lanes();
    lanes.get_mut(&id(9)).unwrap().offers.get_mut(&id(900)).unwrap().sold = 2;

    let span = [released(1, 1), released(2, 2), released(3, 1)];
    let known = Known { rows, ..Known::default() };
    let first = told(&span, &decide(&lanes, &span, &known));
    let expected = [vec![(1, 2, Cancelled), (1, 3, Released)], vec![(2, 2, Expired), (2, 3, Released)], vec![]];
    assert_eq!(heads(&first), expected);
    assert_eq!((first[0][0].tenant, first[0][0].sale), (id(3), id(77)), "a release does not say whose it is");
}

proptest! {
    #[test]
    fn an_event_is_what_prost_writes_and_reads_back(
        ids in prop::array::uniform5(1..=ID_MAX),
        tenant in 1..=u64::from(u32::MAX),
        (sequence, quantity, sale_version) in (1..=u8::MAX, 1..=LIMIT_MAX, any::<u32>()),
        (amount, reserved_at_ms) in (0..=i64::MAX, any::<u64>()),
        kind in prop::sample::select(&EventKind::ALL[..]),
    ) {
        let unit_price = Money { amount, currency: "CNY".parse().unwrap() };
        let purchased = Purchased { sku: id(ids[4]), sale_version, unit_price, reserved_at_ms };
        let is_first = matches!(kind, EventKind::Created | EventKind::Rejected);
        let event = OrderEvent {
            order: id(ids[0]),
            sequence,
            kind,
            tenant: id(tenant),
            sale: id(ids[1]),
            offer: id(ids[2]),
            buyer: id(ids[3]),
            quantity,
            purchased: is_first.then_some(purchased),
            reason: (kind == EventKind::Rejected).then_some(Reason::Foreign),
            refunded: if kind == EventKind::RefundedInPart { amount.max(1) } else { 0 },
        };
        let mut bytes = Vec::new();
        event.append(&mut bytes);
        prop_assert!(bytes.len() <= EVENT_BYTES_MAX, "{}", bytes.len());
        let message = wire::OrderEvents::decode(&bytes[..]).unwrap();
        prop_assert_eq!(&message.encode_to_vec(), &bytes);
        prop_assert_eq!(decode_events(ORDER_EVENTS_TYPE, bytes.into()).unwrap(), [event]);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(decode_events(ORDER_EVENTS_TYPE, bytes.into()));
    }
}

/// What waits for an update, and what is parked: a type, a kind or a reason that has no name yet is
/// of a newer program; numbers that no list holds, and a record without a type, are damage.
#[test]
fn a_newer_program_is_told_from_damage() {
    let told = |kind: u8, reason: u8| {
        let event = wire::OrderEvent {
            order_id: 1,
            sequence: 1,
            kind: kind.into(),
            tenant: 1,
            sale: 1,
            offer: 1,
            buyer: 1,
            quantity: 1,
            sku: 1,
            currency: "CNY".into(),
            reason: reason.into(),
            ..Default::default()
        };
        let bytes = wire::OrderEvents { events: vec![event] }.encode_to_vec();
        decode_events(ORDER_EVENTS_TYPE, bytes.into())
    };
    let (created, rejected) = (EventKind::Created.number(), EventKind::Rejected.number());
    assert!(told(created, 0).is_ok() && told(rejected, Reason::Stock.stored()).is_ok());
    for (kind, reason) in [(99, 0), (u8::MAX, 0), (rejected, 99)] {
        assert!(told(kind, reason).unwrap_err().is_newer(), "{kind} {reason}");
    }
    for (kind, reason) in [(0, 0), (rejected, 0), (created, 1)] {
        assert!(!told(kind, reason).unwrap_err().is_newer(), "{kind} {reason}");
    }
    let of_type = |kind| decode_events(kind, Bytes::from_static(&[0xff])).unwrap_err();
    assert!(of_type("flashsale.tomorrow.v1").is_newer());
    assert!(!of_type(ORDER_EVENTS_TYPE).is_newer() && !of_type("").is_newer());
}

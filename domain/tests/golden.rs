//! The bytes of every record, version 1, as they stand in logs that were written long ago: each
//! must read back as the same value and be written as the same bytes, for ever. A new version gets
//! new files; these never change. Then what a reader must bear: fields of a newer writer, unknown
//! types, damage.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it saw"
)]

use std::num::NonZeroU128;

use bytes::Bytes;
use domain::{
    counts::{Counts, EngineCounts, OfferCounts, Step, decode_counts},
    event::{EventKind, OrderEvent, Purchased, decode_events},
    id::{BatchId, Epoch, Generation, KeyHash, PartitionId, PurchaseNumber},
    money::Money,
    order::{Reason, Status},
    record::{
        AllotmentChange, BATCH_MAX, BATCH_TYPE, Batch, CONTEXT_MAX, COUNTS_TYPE, Genesis, LimitChange,
        ORDER_EVENTS_TYPE, RELEASED_TYPE, Record, RecordError, Released, Reservation, decode_sale, encode_sale,
    },
    sale::{Fulfilment, LIMIT_MAX, Lane, Offer, OrderTerms, Sale, SubjectKind, Window},
};
use proptest::prelude::*;

const EPOCH_TYPE: &str = "flashsale.epoch.v1";
const ALLOTMENT_TYPE: &str = "flashsale.allotment.v1";
const RETIRED_TYPE: &str = "flashsale.retired.v1";
const GENESIS_TYPE: &str = "flashsale.genesis.v1";
const LIMIT_TYPE: &str = "flashsale.limit.v1";
const TYPES: [&str; 7] =
    [BATCH_TYPE, RELEASED_TYPE, EPOCH_TYPE, RETIRED_TYPE, ALLOTMENT_TYPE, LIMIT_TYPE, GENESIS_TYPE];

/// The largest id: a varint of nine bytes.
const LAST: u64 = i64::MAX as u64;

fn id<T: TryFrom<u64>>(number: u64) -> T
where
    T::Error: std::fmt::Debug,
{
    T::try_from(number).unwrap()
}

fn money(amount: i64) -> Money {
    Money { amount, currency: "CNY".parse().unwrap() }
}

fn reservation(order: u64, context: &'static [u8]) -> Reservation {
    Reservation {
        tenant: id(3),
        sale: id(77),
        sale_version: 2,
        offer: id(900),
        sku: id(81),
        order: id(order),
        buyer: id(123_456_789),
        quantity: 2,
        unit_price: money(19_900),
        key: KeyHash(*b"0123456789abcdef"),
        reserved_at_ms: 1_763_700_000_000,
        context: Bytes::from_static(context),
        pay_within_s: 0,
        trace: None,
    }
}

fn batch() -> Batch {
    let last = Reservation { buyer: id(LAST), quantity: LIMIT_MAX, unit_price: money(0), ..reservation(LAST, b"") };
    Batch {
        lane: id(9),
        id: id(1_000_001),
        epoch: Epoch(4),
        reservations: vec![
            (PurchaseNumber(1), reservation(1_000_001, br#"{"address":42}"#)),
            (PurchaseNumber(100), last),
        ],
    }
}

fn released() -> Released {
    let key = KeyHash(*b"0123456789abcdef");
    Released {
        lane: id(9),
        order: id(1_000_001),
        buyer: id(123_456_789),
        offer: id(900),
        quantity: 2,
        key,
        became: None,
    }
}

fn records() -> Vec<(&'static str, &'static str, Record)> {
    let change = |delta, epoch, target| AllotmentChange {
        lane: id(9),
        offer: id(900),
        sale_version: 3,
        delta,
        target,
        epoch: Epoch(epoch),
        after: 0,
    };
    let limit = |limit, epoch, after| LimitChange { lane: id(9), limit, epoch: Epoch(epoch), after };
    let genesis = Genesis { partition: PartitionId(11), generation: Generation(4095), log_id: LAST };
    vec![
        ("batch.v1", BATCH_TYPE, Record::Batch(batch())),
        ("released.v1", RELEASED_TYPE, Record::Released(released())),
        (
            "released-cancelled.v1",
            RELEASED_TYPE,
            Record::Released(Released { became: Some(Status::Cancelled), ..released() }),
        ),
        ("epoch.v1", EPOCH_TYPE, Record::EpochOpened { lane: id(9), epoch: Epoch(5) }),
        ("retired.v1", RETIRED_TYPE, Record::LaneRetired { lane: id(9), epoch: Epoch(Epoch::MAX.0) }),
        ("allotment-less.v1", ALLOTMENT_TYPE, Record::AllotmentChanged(change(-300, 5, None))),
        ("allotment-more.v1", ALLOTMENT_TYPE, Record::AllotmentChanged(change(100_000_000, 0, None))),
        ("allotment-target.v1", ALLOTMENT_TYPE, Record::AllotmentChanged(change(-300, 5, Some(700)))),
        ("limit-more.v1", LIMIT_TYPE, Record::LimitChanged(limit(3, 0, 0))),
        ("limit-less.v1", LIMIT_TYPE, Record::LimitChanged(limit(2, 5, 1 << 40))),
        ("genesis.v1", GENESIS_TYPE, Record::Genesis(genesis)),
    ]
}

fn sale() -> Sale {
    let offer = |number, title: &str| Offer {
        paused: false,
        id: id(number),
        sku: id(number + 1000),
        title: title.into(),
        price: money(19_900),
        allotment: 100_000,
        rate_per_s: 5_000,
    };
    let lane = |number, partition, offers| Lane {
        paused: false,
        id: id(number),
        partition: PartitionId(partition),
        limit_per_buyer: 2,
        offers,
    };
    Sale {
        id: id(77),
        tenant: id(3),
        version: 2,
        title: "双十一 Flash".into(),
        window: Window { opens_at_ms: 1_763_700_000_000, closes_at_ms: 1_763_703_600_000 },
        paused: true,
        buyer_rate_per_s: 5,
        shard_map_version: 1,
        limit_by: SubjectKind::Account,
        members_only: false,
        visible_from_ms: 0,
        orders: domain::sale::OrderTerms::default(),
        lanes: vec![lane(9, 11, vec![offer(900, "red"), offer(901, "blue")]), lane(10, 0, vec![offer(902, "green")])],
    }
}

/// The stored bytes; hex in lines of 32 bytes, so that a change shows where it is.
fn golden(name: &str) -> Bytes {
    let path = format!("{}/tests/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    bytes.chunks(32).map(line).collect()
}

fn malformed<T: std::fmt::Debug>(decoded: Result<T, RecordError>) -> bool {
    matches!(decoded, Err(RecordError::Malformed { .. }))
}

#[test]
fn every_record_of_version_1_reads_and_writes_as_ever() {
    for (name, kind, record) in records() {
        assert_eq!(record.kind(), kind, "the type is part of the format");
        assert_eq!(hex(&record.encode()), hex(&golden(name)), "{name}: written");
        assert_eq!(Record::decode(kind, golden(name)).unwrap(), record, "{name}: read");
    }
}

#[test]
fn a_sale_of_version_1_reads_and_writes_as_ever() {
    assert_eq!(hex(&encode_sale(&sale())), hex(&golden("sale.v1")), "written");
    assert_eq!(decode_sale(golden("sale.v1")).unwrap(), sale(), "read");
}

/// A sale that says whom it counts and to whom it sells; one of an older program means accounts,
/// and everybody.
#[test]
fn a_sale_for_members_by_phone_reads_and_writes_as_ever() {
    for (name, limit_by) in [("sale-members.v1", SubjectKind::Phone), ("sale-id-hash.v1", SubjectKind::IdHash)] {
        let members_only = limit_by == SubjectKind::Phone;
        let sale = Sale { limit_by, members_only, ..sale() };
        assert_eq!(hex(&encode_sale(&sale)), hex(&golden(name)), "{name}: written");
        assert_eq!(decode_sale(golden(name)).unwrap(), sale, "{name}: read");
    }
    let of_a_newer_program = [&golden("sale.v1")[..], &[11 << 3, 3]].concat();
    assert!(malformed(decode_sale(of_a_newer_program.into())), "a kind that this program cannot count");
}

/// A sale that stops a lane and an offer by themselves, may be seen from a moment on and says what
/// holds for its orders.
#[test]
fn a_sale_with_terms_reads_and_writes_as_ever() {
    let orders = OrderTerms { payment_window_s: 1_800, fulfilment: Fulfilment::Code, after_sale_days: 7 };
    let mut sale = Sale { visible_from_ms: 1_763_690_000_000, orders, ..sale() };
    (sale.lanes[1].paused, sale.lanes[0].offers[1].paused) = (true, true);
    assert_eq!(hex(&encode_sale(&sale)), hex(&golden("sale-terms.v1")), "written");
    assert_eq!(decode_sale(golden("sale-terms.v1")).unwrap(), sale, "read");
    let of_a_newer_program = [&golden("sale.v1")[..], &[15 << 3, 3]].concat();
    assert!(malformed(decode_sale(of_a_newer_program.into())), "a fulfilment that this program does not know");
}

/// A reservation that says how long its buyer has to pay; one of an older program says nothing.
#[test]
fn a_batch_with_times_to_pay_reads_and_writes_as_ever() {
    let mut batch = batch();
    assert!(batch.reservations.iter().all(|(_, reservation)| reservation.pay_by_ms().is_none()));
    for ((_, reservation), pay_within_s) in batch.reservations.iter_mut().zip([900, 2_592_000]) {
        reservation.pay_within_s = pay_within_s;
    }
    assert_eq!(batch.reservations[0].1.pay_by_ms(), Some(1_763_700_900_000));
    let record = Record::Batch(batch);
    assert_eq!(hex(&record.encode()), hex(&golden("batch-pay-within.v1")), "written");
    assert_eq!(Record::decode(BATCH_TYPE, golden("batch-pay-within.v1")).unwrap(), record, "read");
}

/// A reservation that names its caller's trace, between one that does not and the end; a trace of
/// another length, or of zeros, is none.
#[test]
fn a_batch_with_a_trace_reads_and_writes_as_ever() {
    let mut batch = batch();
    assert!(batch.reservations.iter().all(|(_, reservation)| reservation.trace.is_none()));
    batch.reservations[0].1.trace = NonZeroU128::new(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
    let record = Record::Batch(batch.clone());
    assert_eq!(hex(&record.encode()), hex(&golden("batch-traced.v1")), "written");
    assert_eq!(Record::decode(BATCH_TYPE, golden("batch-traced.v1")).unwrap(), record, "read");
    batch.reservations[0].1.trace = None;
    let bytes = golden("batch-traced.v1").to_vec();
    let at = bytes.windows(3).position(|field| field == [0x82, 0x01, 0x10]).unwrap();
    let mut zeros = bytes;
    zeros[at + 3..at + 19].fill(0);
    assert_eq!(Record::decode(BATCH_TYPE, zeros.into()).unwrap(), Record::Batch(batch));
}

/// What a batch and what a release tell on the topic `order-events`.
fn events() -> [(&'static str, Vec<OrderEvent>); 3] {
    let purchased = |sku, sale_version, unit_price| Purchased {
        sku: id(sku),
        sale_version,
        unit_price,
        reserved_at_ms: 1_763_700_000_000,
    };
    let created = OrderEvent {
        order: id(1_000_001),
        sequence: 1,
        kind: EventKind::Created,
        tenant: id(3),
        sale: id(77),
        offer: id(900),
        buyer: id(123_456_789),
        quantity: 2,
        purchased: Some(purchased(81, 2, money(19_900))),
        reason: None,
        refunded: 0,
    };
    let rejected = OrderEvent {
        order: id(LAST),
        kind: EventKind::Rejected,
        tenant: id(u32::MAX.into()),
        sale: id(LAST),
        offer: id(LAST),
        buyer: id(LAST),
        quantity: LIMIT_MAX,
        purchased: Some(purchased(LAST, u32::MAX, Money { amount: 0, currency: "JPY".parse().unwrap() })),
        reason: Some(Reason::Stock),
        ..created
    };
    let cancelled = OrderEvent { sequence: 2, kind: EventKind::Cancelled, purchased: None, ..created };
    let released = OrderEvent { sequence: 3, kind: EventKind::Released, ..cancelled };
    let part = OrderEvent { sequence: 9, kind: EventKind::RefundedInPart, refunded: 6_633, ..cancelled };
    [
        ("order-events-decided.v1", vec![created, rejected]),
        ("order-events-released.v1", vec![cancelled, released]),
        ("order-events-part-refund.v1", vec![part]),
    ]
}

#[test]
fn events_of_orders_of_version_1_read_and_write_as_ever() {
    for (name, events) in events() {
        let mut bytes = Vec::new();
        events.iter().for_each(|event| event.append(&mut bytes));
        assert_eq!(hex(&bytes), hex(&golden(name)), "{name}: written");
        assert_eq!(decode_events(ORDER_EVENTS_TYPE, golden(name)).unwrap(), events, "{name}: read");
    }
    assert_eq!(ORDER_EVENTS_TYPE, "flashsale.order-events.v1", "the type is part of the format");
}

#[test]
fn counts_of_version_1_read_and_write_as_ever() {
    let steps = [(Step::Arrived, 5), (Step::Admitted, 4), (Step::Reserved, 3), (Step::ReservedUnits, 6)];
    let mut few = Counts::of_step(Step::SoldOut, 1);
    steps.into_iter().for_each(|(step, times)| few.add(step, times));
    let most = Counts::of([u32::MAX.into(); Step::OF_ENGINE]);
    let offers = vec![
        OfferCounts { tenant: id(3), sale: id(77), offer: id(900), counts: few },
        OfferCounts { tenant: id(u32::MAX.into()), sale: id(LAST), offer: id(LAST), counts: most },
    ];
    let record = EngineCounts { engine: LAST, sequence: 7, second: 1_763_700_000, offers };
    assert_eq!(hex(&record.encode()), hex(&golden("counts.v1")), "written");
    assert_eq!(decode_counts(COUNTS_TYPE, golden("counts.v1")).unwrap(), record, "read");
    assert_eq!(COUNTS_TYPE, "flashsale.counts.v1", "the type is part of the format");
}

/// Redis journals what it concatenates; the engine appends what it encodes. R7: the sweeper's
/// record must be the same bytes.
#[test]
fn what_redis_concatenates_is_what_the_engine_encodes() {
    let batch = batch();
    let fields: Vec<Vec<u8>> = batch
        .reservations
        .iter()
        .map(|(_, reservation)| {
            let mut field = Vec::new();
            reservation.append_field(&mut field);
            field
        })
        .collect();
    let numbers: Vec<u8> = batch.reservations.iter().map(|(number, _)| number.0).collect();
    let head = Batch::head(batch.lane, batch.id, batch.epoch);
    let concatenated = Batch::concatenate(&head, fields.iter().map(Vec::as_slice), &numbers);
    assert_eq!(hex(&concatenated), hex(&Record::Batch(batch.clone()).encode()));
    assert_eq!(Batch::decode(concatenated.into()).unwrap(), batch);
}

/// A newer writer of the same type may add fields; this reader goes on without them.
#[test]
fn unknown_fields_do_not_break_reading() {
    // Field 200: a varint, a fixed 64-bit number, and three bytes.
    let newer: [&[u8]; 3] =
        [&[0xc0, 0x0c, 0x05], &[0xc1, 0x0c, 1, 2, 3, 4, 5, 6, 7, 8], &[0xc2, 0x0c, 3, b'n', b'e', b'w']];
    for addition in newer {
        for (name, kind, record) in records() {
            let bytes = [&golden(name), addition].concat();
            assert_eq!(Record::decode(kind, bytes.into()).unwrap(), record, "{name}");
        }
        let bytes = [&golden("sale.v1"), addition].concat();
        assert_eq!(decode_sale(bytes.into()).unwrap(), sale());
        assert_eq!(Batch::decode(with_reservation_field(addition)).unwrap(), batch());
    }
}

/// The golden batch with one more field in each of its reservations.
fn with_reservation_field(addition: &[u8]) -> Bytes {
    let batch = batch();
    let mut bytes = Batch::head(batch.lane, batch.id, batch.epoch);
    for (_, reservation) in &batch.reservations {
        let mut field = Vec::new();
        reservation.append_field(&mut field);
        // Tag 1, a length of one or two bytes, the message.
        let message = &field[if field[1] < 0x80 { 2 } else { 3 }..];
        let length = message.len() + addition.len();
        bytes.push(0x0a);
        if length < 0x80 {
            bytes.push(length as u8);
        } else {
            bytes.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
        }
        bytes.extend_from_slice(message);
        bytes.extend_from_slice(addition);
    }
    let numbers: Vec<u8> = batch.reservations.iter().map(|(number, _)| number.0).collect();
    Batch::concatenate(&bytes, std::iter::empty(), &numbers).into()
}

/// It must stop a partition, and not be parked: so it is told apart from damage, whatever the bytes
/// are.
#[test]
fn an_unknown_type_is_told_apart_from_damage() {
    for kind in ["flashsale.batch.v2", "flashsale.close.v1", "", "FLASHSALE.BATCH.V1", "flashsale.sale.v1"] {
        for bytes in [golden("batch.v1"), Bytes::new(), Bytes::from_static(b"\xff\xff")] {
            assert_eq!(Record::decode(kind, bytes), Err(RecordError::UnknownType(kind.into())), "{kind:?}");
        }
    }
}

#[test]
fn a_record_cut_short_is_malformed() {
    for (name, kind, _) in records() {
        let bytes = golden(name);
        for length in 0..bytes.len() {
            let cut = Record::decode(kind, bytes.slice(..length));
            // Protobuf omits zeros, so a cut between fields may drop one whose absence means zero:
            // valid, but another value.
            let may_be_zero = matches!(kind, EPOCH_TYPE | RETIRED_TYPE | ALLOTMENT_TYPE | LIMIT_TYPE | GENESIS_TYPE);
            // An older program's release ends before the status.
            let is_older = cut == Ok(Record::Released(released()));
            assert!(
                malformed(cut.clone()) || may_be_zero && cut.is_ok() || is_older,
                "{name} cut at {length}: {cut:?}"
            );
        }
    }
}

/// Shape is not enough: each bound that the writer's tables and the decision rely on.
#[test]
fn a_batch_out_of_bounds_is_malformed() {
    type Harm = fn(&mut Batch);
    let harms: [(&str, Harm); 8] = [
        ("no reservation", |b| b.reservations.clear()),
        ("more than a batch holds", |b| b.reservations = vec![b.reservations[0].clone(); BATCH_MAX + 1]),
        ("number 0", |b| b.reservations[0].0 = PurchaseNumber(0)),
        ("a number beyond the highest limit", |b| b.reservations[1].0 = PurchaseNumber(101)),
        ("no unit", |b| b.reservations[0].1.quantity = 0),
        ("more units than the highest limit", |b| b.reservations[0].1.quantity = LIMIT_MAX + 1),
        ("a long context", |b| b.reservations[0].1.context = vec![b'x'; CONTEXT_MAX + 1].into()),
        ("too long by one number", |b| b.id = id(LAST)),
    ];
    for (name, harm) in harms {
        let mut batch = batch();
        harm(&mut batch);
        let mut bytes = Record::Batch(batch).encode();
        if name.ends_with("number") {
            bytes.extend([0x2a, 3, 1, 1, 1]);
        }
        assert!(malformed(Batch::decode(bytes.into())), "{name}");
    }
    let mut full = batch();
    full.reservations = vec![full.reservations[0].clone(); BATCH_MAX];
    assert_eq!(Batch::decode(Record::Batch(full.clone()).encode().into()).unwrap(), full, "a full batch is sound");
}

/// Ids are stored as signed numbers: 0 and everything beyond 63 bits is no id, wherever it stands.
#[test]
fn an_id_out_of_range_is_malformed() {
    let beyond = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    for (name, kind, _) in records().into_iter().filter(|(_, kind, _)| *kind != GENESIS_TYPE) {
        // The last field of a number wins. Field 1 is the lane; in a batch it is field 2.
        let tag = if kind == BATCH_TYPE { 0x10 } else { 0x08 };
        for value in [&[0][..], &beyond] {
            let bytes = [&golden(name), &[tag][..], value].concat();
            assert!(malformed(Record::decode(kind, bytes.into())), "{name}");
        }
    }
    let generation = [&golden("genesis.v1"), &[0x10, 0x80, 0x80, 0x04][..]].concat();
    assert!(malformed(Record::decode(GENESIS_TYPE, generation.into())), "a generation of 17 bits");
}

fn any_reservation() -> impl Strategy<Value = Reservation> {
    let ids = prop::array::uniform6(1..=LAST);
    let context = prop::collection::vec(any::<u8>(), 0..=CONTEXT_MAX);
    (ids, 1..=u32::MAX, any::<u32>(), 1..=LIMIT_MAX, any::<i64>(), any::<[u8; 16]>(), any::<u64>(), context).prop_map(
        |([sale, offer, sku, order, buyer, _], tenant, sale_version, quantity, amount, key, at, context)| Reservation {
            tenant: id(tenant.into()),
            sale: id(sale),
            sale_version,
            offer: id(offer),
            sku: id(sku),
            order: id(order),
            buyer: id(buyer),
            quantity,
            unit_price: money(amount),
            key: KeyHash(key),
            reserved_at_ms: at,
            context: context.into(),
            pay_within_s: sale_version / 2,
            trace: sale_version.is_multiple_of(3).then_some(NonZeroU128::MAX),
        },
    )
}

proptest! {
    #[test]
    fn random_bytes_never_panic(kind in prop::sample::select(&TYPES[..]), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let decoded = Record::decode(kind, bytes.clone().into());
        prop_assert!(malformed(decoded.clone()) || decoded.is_ok());
        let sale = decode_sale(bytes.into());
        prop_assert!(malformed(sale.clone()) || sale.is_ok());
    }

    /// One damaged byte: malformed, or another sound value that is written and read back as itself.
    #[test]
    fn a_damaged_record_is_malformed_or_sound(which in 0..7_usize, at in any::<prop::sample::Index>(), byte: u8) {
        let (name, kind, _) = records().swap_remove(which);
        let mut bytes = golden(name).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        match Record::decode(kind, bytes.into()) {
            Ok(record) => prop_assert_eq!(Record::decode(kind, record.encode().into()).unwrap(), record),
            Err(error) => prop_assert!(malformed::<()>(Err(error))),
        }
    }

    #[test]
    fn a_damaged_sale_is_malformed_or_sound(at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = golden("sale.v1").to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        match decode_sale(bytes.into()) {
            Ok(sale) => prop_assert_eq!(decode_sale(encode_sale(&sale).into()).unwrap(), sale),
            Err(error) => prop_assert!(malformed::<()>(Err(error))),
        }
    }

    #[test]
    fn every_batch_reads_back(
        reservations in prop::collection::vec((1..=100_u8, any_reservation()), 1..8), batch in 1..=LAST, epoch: u64,
    ) {
        let reservations = reservations.into_iter().map(|(number, r)| (PurchaseNumber(number), r)).collect();
        let batch = Batch { lane: id(9), id: id::<BatchId>(batch), epoch: Epoch(epoch), reservations };
        prop_assert_eq!(Batch::decode(Record::Batch(batch.clone()).encode().into()).unwrap(), batch);
    }
}

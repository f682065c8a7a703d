//! What the pure parts cost: the lane machine's reserve, a batch's bytes, and decide. Everything in
//! memory; figures are per reservation.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a benchmark: what fails ends it")]

use std::{
    collections::{BTreeMap, HashMap},
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use domain::{
    decide::{Known, LaneLedger, Lanes, Live, OfferLedger, Placed, decide, must_read},
    id::{
        BatchId, BuyerId, Epoch, Generation, KeyHash, LaneId, OfferId, OrderId, PurchaseNumber, RecordId, SaleId,
        SkuId, TenantId,
    },
    money::Money,
    record::{BATCH_MAX, BATCH_TYPE, Batch, Record, Reservation},
    stock::{
        Gone, GoneWhy, LaneAnswer, LaneLoad, LaneMachine, OfferLoad, Purchase, ReserveAnswer, ReserveCall,
        ReserveRequest, RunId,
    },
};

const RUN: RunId = RunId(1);
const EPOCH: Epoch = Epoch(1);
/// Buyers who hold units before the measured call.
const BUYERS_BEFORE: u64 = 4_096;
/// Buyers of a large lane.
const MANY: u64 = 1_000_000;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(30)
        .configure_from_args();
    reserve(&mut criterion);
    many(&mut criterion);
    bytes(&mut criterion);
    spans(&mut criterion);
    criterion.final_summary();
}

fn lane() -> LaneId {
    LaneId::new(7).unwrap()
}

fn offer() -> OfferId {
    OfferId::new(42).unwrap()
}

/// The first purchase of buyer `n`.
fn reservation(n: u64) -> Reservation {
    Reservation {
        tenant: TenantId::new(1).unwrap(),
        sale: SaleId::new(5).unwrap(),
        sale_version: 1,
        offer: offer(),
        sku: SkuId::new(77).unwrap(),
        order: OrderId::new(1_000_000 + n).unwrap(),
        buyer: BuyerId::new(n).unwrap(),
        quantity: 1,
        unit_price: Money { amount: 9_900, currency: "CNY".parse().unwrap() },
        key: KeyHash((u128::from(n) << 64 | u128::from(n)).to_be_bytes()),
        reserved_at_ms: 1_800_000_000_000,
        context: Bytes::new(),
        pay_within_s: 0,
        trace: None,
    }
}

fn request(n: u64) -> ReserveRequest {
    let reservation = reservation(n);
    let mut field = Vec::new();
    reservation.append_field(&mut field);
    ReserveRequest {
        order: reservation.order,
        buyer: reservation.buyer,
        offer: reservation.offer,
        quantity: reservation.quantity,
        key: reservation.key,
        field: field.into(),
    }
}

fn requests(from: u64, count: usize) -> Vec<ReserveRequest> {
    (from..).take(count).map(request).collect()
}

fn call(batch: u64) -> ReserveCall {
    ReserveCall {
        lane: lane(),
        epoch: EPOCH,
        batch: BatchId::new(batch).unwrap(),
        now_ms: 1_000,
        sweep_after_ms: 5_000,
        journal_max: 50_000,
    }
}

/// An open lane with units for [`BUYERS_BEFORE`] buyers and `free` more, the first of which are
/// sold.
fn machine(free: u64) -> LaneMachine {
    let mut machine = LaneMachine::default();
    machine.close(RUN, EPOCH);
    let units = BUYERS_BEFORE + free;
    let offers = vec![OfferLoad { offer: offer(), left: units, allotment: units, changed_at: 0 }];
    machine.load(RUN, EPOCH, &LaneLoad { limit_per_buyer: 1, offers, purchases: vec![] });
    let before = requests(1, BUYERS_BEFORE as usize);
    for (batch, some) in (1..).zip(before.chunks(BATCH_MAX)) {
        machine.reserve(RUN, call(batch), some);
    }
    machine
}

fn reserve(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lane_reserve");
    for size in [1, 16, 64, 256] {
        group.throughput(Throughput::Elements(size as u64));
        let fresh = requests(1_000_000, size);
        let repeats = requests(1, size);
        let (open, sold_out) = (machine(100_000), machine(0));
        // The machine as it was, and the same for every call: a promise changes it.
        let cases = [("accepted", &open, &fresh), ("sold_out", &sold_out, &fresh), ("repeat", &open, &repeats)];
        for (name, machine, asked) in cases {
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter_batched_ref(
                    || machine.clone(),
                    |machine| match machine.reserve(RUN, call(9_999), asked) {
                        LaneAnswer::Open(ReserveAnswer::Decided { replies, .. }) => replies,
                        closed => panic!("{closed:?}"),
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

/// A number of its own for each of the first 2^32, without an order that could be seen: buyers do
/// not come by their ids.
const fn scattered(n: u64) -> u64 {
    1 + n.wrapping_mul(2_654_435_761) % (1 << 32)
}

/// A lane of [`MANY`] buyers with one purchase each: a call of 32 new ones, and its load.
fn many(criterion: &mut Criterion) {
    let purchase = |n: u64| {
        let Reservation { order, offer, quantity, buyer, key, .. } = reservation(scattered(n));
        (buyer, Purchase { order, offer, quantity, number: Some(PurchaseNumber(1)), key, batch: None })
    };
    let mut purchases: Vec<_> = (0..MANY).map(purchase).collect();
    purchases.sort_unstable_by_key(|(buyer, _)| *buyer);
    let offers = vec![OfferLoad { offer: offer(), left: u64::from(u32::MAX), allotment: u64::MAX, changed_at: 0 }];
    let load = LaneLoad { limit_per_buyer: 1, offers, purchases };
    let mut group = criterion.benchmark_group("lane_of_a_million");
    group.throughput(Throughput::Elements(MANY));
    group.bench_function("load", |bencher| {
        let closed = || {
            let mut machine = LaneMachine::default();
            machine.close(RUN, EPOCH);
            machine
        };
        bencher.iter_batched_ref(closed, |machine| machine.load(RUN, EPOCH, &load), BatchSize::PerIteration);
    });
    let mut machine = LaneMachine::default();
    machine.close(RUN, EPOCH);
    machine.load(RUN, EPOCH, &load);
    drop(load);
    group.throughput(Throughput::Elements(32));
    // One lane for all calls, which take away what they brought: what stays is that no call finds
    // its buyers where the last one left them.
    let mut next = MANY;
    group.bench_function("accepted/32", |bencher| {
        bencher.iter_custom(|calls| {
            let mut taken = Duration::ZERO;
            for _ in 0..calls {
                let asked: Vec<_> = (next..).take(32).map(|n| request(scattered(n))).collect();
                let batch = BatchId::new(next).unwrap();
                let call = ReserveCall { batch, ..call(1) };
                let started = Instant::now();
                black_box(machine.reserve(RUN, call, &asked));
                taken += started.elapsed();
                let gone =
                    |asked: &ReserveRequest| Gone { order: asked.order, buyer: asked.buyer, why: GoneWhy::Rejected };
                machine.settle(RUN, EPOCH, &[batch], &asked.iter().map(gone).collect::<Vec<_>>());
                next += 32;
            }
            taken
        });
    });
    group.finish();
}

/// The reservations of buyers `from` and on, as one batch.
fn batch(from: u64, count: usize) -> Batch {
    let reservations = (from..).take(count).map(|n| (PurchaseNumber(1), reservation(n)));
    Batch { lane: lane(), id: BatchId::new(from).unwrap(), epoch: EPOCH, reservations: reservations.collect() }
}

fn bytes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch");
    for size in [1, 16, 64, 256] {
        group.throughput(Throughput::Elements(size as u64));
        let record = Record::Batch(batch(1, size));
        let payload = Bytes::from(record.encode());
        let fields: Vec<Bytes> = requests(1, size).into_iter().map(|request| request.field).collect();
        let numbers = vec![1; size];
        group.bench_function(BenchmarkId::new("fields", size), |bencher| {
            let Record::Batch(batch) = &record else { return };
            bencher.iter(|| {
                let fields = batch.reservations.iter().map(|(_, reservation)| {
                    let mut field = Vec::new();
                    reservation.append_field(&mut field);
                    field.len()
                });
                fields.sum::<usize>()
            });
        });
        group.bench_function(BenchmarkId::new("concatenate", size), |bencher| {
            let head = Batch::head(lane(), BatchId::new(1).unwrap(), EPOCH);
            bencher.iter(|| Batch::concatenate(&head, fields.iter().map(|field| &field[..]), &numbers));
        });
        group.bench_function(BenchmarkId::new("decode", size), |bencher| {
            bencher.iter(|| Record::decode(BATCH_TYPE, black_box(payload.clone())).unwrap());
        });
    }
    group.finish();
}

/// Records of full batches, `size` reservations together.
fn span(size: usize) -> Vec<Placed> {
    let records = (0..size).step_by(BATCH_MAX).map(|from| {
        let from = from as u64;
        let record = Record::Batch(batch(from + 1, BATCH_MAX.min(size)));
        Placed { generation: Generation(1), offset: from, id: RecordId::new(from + 1).unwrap(), record }
    });
    records.collect()
}

/// The ledger of the lane, all units unsold.
fn lanes(limit_per_buyer: u32) -> Lanes {
    let numbers = OfferLedger { allotment: 1_000_000, target: 1_000_000, sold: 0, sale_version: 1, changed_at: 0 };
    let offers = BTreeMap::from([(offer(), numbers)]);
    let (tenant, sale) = (TenantId::new(1).unwrap(), SaleId::new(5).unwrap());
    let (epoch, first_order) = (EPOCH, None);
    let ledger = LaneLedger {
        tenant,
        sale,
        epoch,
        is_retired: false,
        limit_per_buyer,
        limit_changed_at: 0,
        first_order,
        offers,
    };
    Lanes::from([(lane(), ledger)])
}

/// The rows of a span, as they are found when it is decided again.
fn known(lanes: &Lanes, span: &[Placed]) -> Known {
    let rows = decide(lanes, span, &Known::default()).rows;
    let live = |row: &domain::order::OrderRow| Live { units: row.quantity, numbers: row.number.into_iter().collect() };
    Known {
        live: rows.iter().map(|row| ((row.lane, row.buyer), live(row))).collect(),
        rows: rows.into_iter().map(|row| (row.order, row)).collect::<HashMap<_, _>>(),
        ..Known::default()
    }
}

fn spans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    let lanes = lanes(1);
    for size in [256, 512, 1024, 2048, 4096] {
        group.throughput(Throughput::Elements(size as u64));
        let span = span(size);
        assert!(!must_read(&lanes, &span), "the fast way");
        group.bench_function(BenchmarkId::new("must_read", size), |bencher| {
            bencher.iter(|| must_read(&lanes, &span));
        });
        // Fresh: nothing is known of the orders. Replay: every row stands already, at this very
        // position.
        for (name, known) in [("fresh", Known::default()), ("replay", known(&lanes, &span))] {
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter_with_large_drop(|| decide(&lanes, &span, &known));
            });
        }
    }
    group.finish();
}

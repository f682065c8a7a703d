//! What a purchase costs an engine before and around the lane's call, per request: its parts by
//! themselves, on the machine's clock; and whole requests through the front, over connections in
//! memory and in-memory lanes, log and rows.
//!
//! The cases of the group `front` differ by one step each, so that a step's cost is the difference
//! of two of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a benchmark: what fails ends it")]

#[allow(dead_code, unreachable_pub, reason = "shared with the tests, each of which uses a part")]
#[path = "../src/testing.rs"]
mod testing;

#[path = "admission/front.rs"]
mod front;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use domain::{
    id::{BuyerId, Slot},
    sale::PAYMENT_WINDOW_S_DEFAULT,
};
use engine::{
    admission::{Admission, TokenSeed, Tokens},
    limits::{Bucket, BuyerBuckets, Permits, Ticks},
    mint::Mint,
    purchase::{Purchase, Quantity},
    sales::{Directory, TenantLimits},
};
use kit::{
    clock::{Clock, SystemClock},
    problem::{Code, PreparedProblem, Problem},
    token::{BuyerClaims, Tenants, TokenKey, TokenSigner, TokenVerifier},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Above every number of tokens that the memory of tokens holds, so that going round finds none of
/// them there.
const STRANGERS: u64 = 1 << 17;
/// Buyers whose tokens stay remembered.
const REGULARS: u64 = 1 << 10;
/// A rate that no bucket runs out of.
const RATE: u32 = u32::MAX;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(30)
        .configure_from_args();
    tokens(&mut criterion);
    buckets(&mut criterion);
    admission(&mut criterion);
    refusal(&mut criterion);
    front::requests(&mut criterion);
    criterion.final_summary();
}

fn key() -> TokenKey {
    TokenKey::new("k", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY", Tenants::All).unwrap()
}

fn verifier() -> TokenVerifier {
    TokenVerifier::new(vec![key()]).unwrap()
}

/// Tokens of buyers 1, 2, ...
fn signed(buyers: u64, now_ms: u64) -> Vec<String> {
    let signer = TokenSigner::new(key());
    let token = |buyer| signer.sign(&BuyerClaims::new(1, buyer, now_ms + 86_400_000), now_ms).unwrap();
    (1..=buyers).map(token).collect()
}

fn tokens(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("token");
    group.throughput(Throughput::Elements(1));
    let now_ms = SystemClock::new().now_ms();
    for (name, buyers) in [("first_sight", STRANGERS), ("seen_before", REGULARS)] {
        let tokens = Tokens::new(verifier(), TokenSeed(1, 2));
        let signed = signed(buyers, now_ms);
        let mut turn = signed.iter().cycle();
        group.bench_function(name, |bencher| bencher.iter(|| tokens.verify(turn.next().unwrap(), now_ms).unwrap()));
    }
    group.finish();
}

fn buckets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bucket");
    group.throughput(Throughput::Elements(1));
    let ticks = Ticks::of(&SystemClock::new());
    let offer = Bucket::new("offer", RATE, 1, &ticks);
    group.bench_function("offer", |bencher| bencher.iter(|| offer.take().unwrap()));
    let buyers = BuyerBuckets::new("buyer", RATE, &ticks);
    let mut turn = (1..=STRANGERS).cycle().map(|buyer| BuyerId::new(buyer).unwrap());
    group.bench_function("buyer", |bencher| bencher.iter(|| buyers.take(turn.next().unwrap()).unwrap()));
    group.finish();
}

/// A gate on the machine's clock, one sale open.
fn gate(clock: SystemClock) -> Admission<SystemClock> {
    let permits = Permits::new(u32::MAX, testing::metrics().permits_in_use.clone());
    let limits = TenantLimits { rate_per_s: RATE, permits_max: u32::MAX, pay_within_s: PAYMENT_WINDOW_S_DEFAULT };
    let directory = Arc::new(Directory::new(Ticks::of(&clock), permits, limits));
    let (mut sale, now_ms) = (testing::sale(1), clock.now_ms());
    (sale.window.opens_at_ms, sale.window.closes_at_ms) = (now_ms - 1_000, now_ms + 86_400_000);
    (sale.buyer_rate_per_s, sale.lanes[0].offers[0].rate_per_s) = (RATE, RATE);
    directory.take_in(vec![sale], now_ms);
    Admission::new(clock, verifier(), TokenSeed(1, 2), directory)
}

fn purchase(token: &str) -> Purchase<'_> {
    let (offer, quantity) = (testing::offer_id(1), Quantity::new(1).unwrap());
    let key = "0f8fad5b-d9cb-469f-a165-70867728950e";
    Purchase { token: Some(token), offer, quantity, key, expected_price: None, context: Bytes::new() }
}

fn admission(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("admission");
    group.throughput(Throughput::Elements(1));
    let clock = SystemClock::new();
    for (name, buyers) in [("token_first_sight", STRANGERS), ("token_seen_before", REGULARS)] {
        let (gate, signed) = (gate(clock), signed(buyers, clock.now_ms()));
        let mut turn = signed.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| gate.admit(purchase(turn.next().unwrap())).unwrap_or_else(|why| panic!("{why:?}")).buyer());
        });
    }
    let (gate, signed) = (gate(clock), signed(REGULARS, clock.now_ms()));
    let (mint, mut turn) = (Mint::default(), signed.iter().cycle());
    mint.lend(testing::WORKER, u64::MAX >> 8, u64::MAX);
    group.bench_function("mint_and_freeze", |bencher| {
        bencher.iter_batched(
            || gate.admit(purchase(turn.next().unwrap())).unwrap_or_else(|why| panic!("{why:?}")),
            |admitted| {
                let order = mint.mint(Slot::of(admitted.buyer()), admitted.moment()).unwrap();
                let (reservation, _offered, _permit) = admitted.freeze(order);
                let mut field = Vec::new();
                reservation.append_field(&mut field);
                field
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn refusal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("answer");
    group.throughput(Throughput::Elements(1));
    let problem = Problem::new(Code::SoldOut, "fewer units are left than asked for");
    let prepared = PreparedProblem::new(&problem);
    group.bench_function("prepared_refusal", |bencher| bencher.iter(|| prepared.response()));
    group.bench_function("rendered_refusal", |bencher| bencher.iter(|| problem.to_response()));
    group.finish();
}

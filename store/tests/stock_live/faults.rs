//! What goes wrong. Goal: a fault leaves nothing half done and is never answered "no". Method:
//! scripts sent with garbage beside the adapter; servers of the test's own, filled, killed and made
//! to forget.

use std::time::{Duration, Instant};

use domain::{
    id::Epoch,
    stock::{CloseAnswer, Gone, GoneWhy, LaneAnswer, LaneLoad, LaneMode, LoadAnswer, ReserveAnswer, ReserveReply},
};
use redis::{Value, aio::MultiplexedConnection};
use store::{
    figures::{Calls, PoolUse},
    stock::{
        LaneKeeping, LaneStock, LoadAtOnce, StockError,
        redis::{CONNECTION_WAIT, RedisKeeping, RedisSettings, RedisStock},
    },
};

use super::{
    sample::{batch, buyer, call, fresh, lane, order, purchase, request},
    server::OwnRedis,
    support::{PATIENCE, connect, delete, dumps, keys, raw, settings, url},
};

const LANE: u64 = 7;

/// A script, the keys that it looks at (their places among state, buyers, journal and due), and
/// arguments that it takes.
struct Case {
    source: String,
    looks_at: &'static [usize],
    arguments: Vec<Vec<u8>>,
}

const ALL: &[usize] = &[0, 1, 2, 3];

fn case(body: &str, looks_at: &'static [usize], arguments: &[&[u8]]) -> Case {
    let source = [include_str!("../../src/stock/lua/prelude.lua"), body].concat();
    Case { source, looks_at, arguments: arguments.iter().map(|argument| argument.to_vec()).collect() }
}

const fn id(number: u8) -> [u8; 8] {
    [0, 0, 0, 0, 0, 0, 0, number]
}

const PLACE: &[u8] = b"0000000000000000009";

/// Each script, with arguments under which it writes if the lane is open under epoch 1.
fn cases() -> Vec<Case> {
    let wish = [&id(3)[..], &[0, 0, 5, 1, 1], &[9; 16], &id(1), &id(99), &id(99)].concat();
    let gone = [&id(10)[..], &id(10), b"R\x01"].concat();
    let reserve: &[&[u8]] = &[b"1", &id(99), b"5000", b"100", b"head", &id(1), &wish, b"field"];
    vec![
        case(include_str!("../../src/stock/lua/reserve.lua"), ALL, reserve),
        case(include_str!("../../src/stock/lua/settle.lua"), ALL, &[b"1", &id(10), &gone]),
        case(include_str!("../../src/stock/lua/claim.lua"), ALL, &[b"9000", b"9", b"50"]),
        case(include_str!("../../src/stock/lua/find.lua"), ALL, &[&id(10)]),
        // It sets aside what is of another type: `damage` tests that.
        case(include_str!("../../src/stock/lua/close.lua"), &[], &[b"2"]),
        case(include_str!("../../src/stock/lua/adjust.lua"), ALL, &[b"1", &id(1), b"50", PLACE]),
        case(include_str!("../../src/stock/lua/withhold.lua"), ALL, &[b"1", &id(1), b"0000000000000000000", b"2"]),
        case(include_str!("../../src/stock/lua/inspect.lua"), ALL, &[]),
    ]
}

fn load_step(arguments: &[&[u8]]) -> Case {
    case(include_str!("../../src/stock/lua/load.lua"), ALL, arguments)
}

/// The steps of a load, for a lane that is closed under the marker 2.
fn load_cases() -> Vec<Case> {
    let entry = [7; 42];
    vec![
        load_step(&[b"clear", b"2"]),
        load_step(&[b"buyers", b"2", &id(1), &entry, &id(2), &entry]),
        load_step(&[b"open", b"2", b"1", b"5", &id(1), b"1", b"1", PLACE, &id(2), b"1", b"1", PLACE]),
    ]
}

async fn evaluate(
    raw: &mut MultiplexedConnection,
    case: &Case,
    keys: &[String; 4],
) -> Result<Value, redis::RedisError> {
    let mut eval = redis::cmd("EVAL");
    eval.arg(&case.source).arg(keys.len()).arg(keys);
    case.arguments.iter().for_each(|argument| {
        eval.arg(argument);
    });
    eval.query_async(raw).await
}

async fn open(keeping: &RedisKeeping) {
    keeping.close(lane(LANE), Epoch(1)).await.unwrap();
    keeping.load(lane(LANE), Epoch(1), &fresh(2, &[10])).await.unwrap();
}

async fn reserve_one(stock: &RedisStock, number: u64) -> Result<LaneAnswer<ReserveAnswer>, StockError> {
    stock.reserve(call(lane(LANE), 1, number), &[request(number, number, 1, 1, 1)]).await
}

fn is_reserved(answer: &LaneAnswer<ReserveAnswer>) -> bool {
    matches!(answer, LaneAnswer::Open(ReserveAnswer::Decided { replies, .. }) if matches!(replies[..], [ReserveReply::Reserved(_)]))
}

/// Every argument replaced by garbage, left out, or followed by more.
fn garbled(arguments: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    let garbage: [&[u8]; 9] = [b"", b"x", b"nan", b"inf", b"-1", b"1.5", b"0x10", &[0; 300], b"99999999999999999999"];
    let mut all = Vec::new();
    for place in 0..arguments.len() {
        for garbage in garbage {
            let mut garbled = arguments.to_vec();
            garbled[place] = garbage.to_vec();
            all.push(garbled);
        }
        all.push([&arguments[..place], &arguments[place + 1..]].concat());
    }
    all.push([arguments, &[b"1".to_vec()]].concat());
    all
}

/// Garbled arguments: an error leaves every key as it was. (Some garbage is a name like any other,
/// and may do its work whole.)
async fn garbled_calls_leave_nothing_half_written(settings: &RedisSettings, cases: Vec<Case>, marker: Option<u64>) {
    let mut raw = raw(&settings.url).await;
    let (stock, keeping) = connect(settings).await;
    let keys = keys(settings, lane(LANE));
    for case in cases {
        let mut refused = 0;
        for arguments in garbled(&case.arguments) {
            delete(&mut raw, &keys).await;
            open(&keeping).await;
            assert!(is_reserved(&reserve_one(&stock, 10).await.unwrap()));
            if let Some(marker) = marker {
                keeping.close(lane(LANE), Epoch(marker)).await.unwrap();
            }
            let before = dumps(&mut raw, &keys).await;
            let garbled = Case { arguments, source: case.source.clone(), looks_at: case.looks_at };
            if evaluate(&mut raw, &garbled, &keys).await.is_err() {
                refused += 1;
                assert_eq!(dumps(&mut raw, &keys).await, before, "{:?}", garbled.arguments);
            }
            // Whatever it did, what stands there can be read.
            keeping.inspect(lane(LANE)).await.unwrap();
        }
        assert!(refused > 0);
    }
    delete(&mut raw, &keys).await;
}

#[tokio::test]
async fn garbled_calls_of_an_open_lane_leave_nothing_half_written() {
    Box::pin(garbled_calls_leave_nothing_half_written(&settings(&url()), cases(), None)).await;
}

#[tokio::test]
async fn garbled_steps_of_a_load_leave_nothing_half_written() {
    Box::pin(garbled_calls_leave_nothing_half_written(&settings(&url()), load_cases(), Some(2))).await;
}

#[tokio::test]
async fn a_key_of_another_type_leaves_nothing_half_written() {
    let settings = settings(&url());
    let mut raw = raw(&settings.url).await;
    let (stock, keeping) = connect(&settings).await;
    let keys = keys(&settings, lane(LANE));
    for case in cases() {
        for &place in case.looks_at {
            delete(&mut raw, &keys).await;
            open(&keeping).await;
            assert!(is_reserved(&reserve_one(&stock, 10).await.unwrap()));
            let written = evaluate(&mut raw, &case, &keys).await;
            assert!(written.is_ok(), "{written:?}");
            delete(&mut raw, &keys).await;
            open(&keeping).await;
            assert!(is_reserved(&reserve_one(&stock, 10).await.unwrap()));
            redis::cmd("SET").arg(&keys[place]).arg("text").exec_async(&mut raw).await.unwrap();
            let before = dumps(&mut raw, &keys).await;
            evaluate(&mut raw, &case, &keys).await.expect_err("a key of another type");
            assert_eq!(dumps(&mut raw, &keys).await, before);
        }
    }
    let error = reserve_one(&stock, 20).await;
    delete(&mut raw, &keys).await;
    assert!(matches!(error, Err(StockError::Broken(_))), "{error:?}");
}

/// "A missing key is a closed lane, never a full one", whichever of its keys it is.
#[tokio::test]
async fn a_lost_key_closes_the_lane() {
    let settings = settings(&url());
    let mut raw = raw(&settings.url).await;
    let (stock, keeping) = connect(&settings).await;
    let keys = keys(&settings, lane(LANE));
    for place in 0..keys.len() {
        for is_empty in [true, false] {
            delete(&mut raw, &keys).await;
            open(&keeping).await;
            assert!(is_empty || is_reserved(&reserve_one(&stock, 10).await.unwrap()));
            redis::cmd("DEL").arg(&keys[place]).exec_async(&mut raw).await.unwrap();
            let closed = if place == 0 { Epoch(0) } else { Epoch(1) };
            assert_eq!(reserve_one(&stock, 11).await.unwrap(), LaneAnswer::Closed { epoch: closed }, "{place}");
            let found = stock.find(lane(LANE), buyer(10)).await.unwrap();
            assert_eq!(found, LaneAnswer::Closed { epoch: closed }, "{place}");
            let mode = keeping.inspect(lane(LANE)).await.unwrap().mode;
            let expected = if place == 0 { LaneMode::Missing } else { LaneMode::Closed { marker: Epoch(0) } };
            assert_eq!(mode, expected);
            assert_eq!(keeping.close(lane(LANE), Epoch(1)).await.unwrap(), CloseAnswer::Closed, "and can be rebuilt");
            assert_eq!(keeping.load(lane(LANE), Epoch(1), &fresh(2, &[10])).await.unwrap(), LoadAnswer::Loaded);
            assert!(is_reserved(&reserve_one(&stock, 12).await.unwrap()));
        }
    }
    delete(&mut raw, &keys).await;
}

/// R4: two loads of one epoch, which the ledger's winner alone starts, could open a lane without
/// some of its buyers.
#[tokio::test]
async fn a_load_that_lost_its_buyers_to_another_opens_nothing() {
    let settings = settings(&url());
    let mut raw = raw(&settings.url).await;
    let (_, keeping) = connect(&settings).await;
    let keys = keys(&settings, lane(LANE));
    keeping.close(lane(LANE), Epoch(2)).await.unwrap();
    let entry = [7; 42];
    let (clear, buyers) = (load_step(&[b"clear", b"2"]), load_step(&[b"buyers", b"2", &id(1), &entry, &id(2), &entry]));
    let open = load_step(&[b"open", b"2", b"2", b"5", &id(1), b"1", b"1", PLACE]);
    for step in [&clear, &buyers, &clear] {
        evaluate(&mut raw, step, &keys).await.unwrap();
    }
    assert_eq!(evaluate(&mut raw, &open, &keys).await.unwrap(), Value::Array(vec![Value::Int(0)]));
    for step in [&buyers, &open] {
        evaluate(&mut raw, step, &keys).await.unwrap();
    }
    assert_eq!(keeping.inspect(lane(LANE)).await.unwrap().mode, LaneMode::Open { epoch: Epoch(2) });
    delete(&mut raw, &keys).await;
}

/// More than one call carries.
#[tokio::test]
async fn large_loads_and_settlements_go_in_pieces() {
    const MANY: u64 = 2_500;
    let settings = settings(&url());
    let (_, keeping) = connect(&settings).await;
    let bought = |n| (buyer(n), purchase(n, 1, 1, Some(1), 1));
    let load = LaneLoad { purchases: (1..=MANY).map(bought).collect(), ..fresh(2, &[10]) };
    keeping.close(lane(LANE), Epoch(1)).await.unwrap();
    assert_eq!(keeping.load(lane(LANE), Epoch(1), &load).await.unwrap(), LoadAnswer::Loaded);
    let buyers = load.purchases.iter().map(|&(buyer, purchase)| (buyer, vec![purchase]));
    assert_eq!(keeping.buyers(lane(LANE)).await.unwrap(), buyers.collect::<Vec<_>>());
    let batches: Vec<_> = (1..=MANY).map(batch).collect();
    let gone = |n| Gone { order: order(n), buyer: buyer(n), why: GoneWhy::Rejected };
    let gone: Vec<_> = (1..=MANY).map(gone).collect();
    assert_eq!(keeping.settle(lane(LANE), Epoch(1), &batches, &gone).await.unwrap(), LaneAnswer::Open(()));
    let view = keeping.inspect(lane(LANE)).await.unwrap();
    assert_eq!((view.buyers_len, view.offers[0].1), (0, 10 + MANY));
    delete(&mut raw(&settings.url).await, &keys(&settings, lane(LANE))).await;
}

#[tokio::test]
async fn a_full_memory_refuses_promises_whole_and_lets_the_keeper_go_on() {
    let server = OwnRedis::start(&["--maxmemory-policy", "noeviction"]).await;
    let (mut raw, settings) = (server.raw().await, settings(&server.url()));
    let (stock, keeping) = connect(&settings).await;
    open(&keeping).await;
    assert!(is_reserved(&reserve_one(&stock, 10).await.unwrap()));
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1kb").exec_async(&mut raw).await.unwrap();
    let keys = keys(&settings, lane(LANE));
    let before = dumps(&mut raw, &keys).await;
    let error = reserve_one(&stock, 11).await;
    // Nothing was promised, and only an operator can mend it.
    assert!(matches!(error, Err(StockError::Broken(_))), "{error:?}");
    assert_eq!(dumps(&mut raw, &keys).await, before);
    assert_eq!(stock.calls()(), Calls { answered: 1, broken: 1, ..Calls::default() });
    assert_eq!(keeping.pool(), PoolUse { in_use: 0, idle: 1, waiting: 0, max: 2 });
    // A call without batches: its first write is the tombstone.
    let gone = [Gone { order: order(10), buyer: buyer(10), why: GoneWhy::Released { retired: 0 } }];
    assert_eq!(keeping.settle(lane(LANE), Epoch(1), &[], &gone).await.unwrap(), LaneAnswer::Open(()));
    assert_eq!(keeping.settle(lane(LANE), Epoch(1), &[batch(10)], &[]).await.unwrap(), LaneAnswer::Open(()));
    assert_eq!(keeping.inspect(lane(LANE)).await.unwrap().offers[0].1, 10);
    keeping.close(lane(LANE), Epoch(2)).await.unwrap();
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("0").exec_async(&mut raw).await.unwrap();
    assert_eq!(keeping.inspect(lane(LANE)).await.unwrap().mode, LaneMode::Closed { marker: Epoch(2) });
}

#[tokio::test]
async fn a_server_that_forgot_its_scripts_gets_them_again() {
    let server = OwnRedis::start(&[]).await;
    let mut raw = server.raw().await;
    let (stock, keeping) = connect(&settings(&server.url())).await;
    open(&keeping).await;
    for number in 10..13 {
        redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut raw).await.unwrap();
        assert!(is_reserved(&reserve_one(&stock, number).await.unwrap()));
        redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut raw).await.unwrap();
        assert_eq!(keeping.inspect(lane(LANE)).await.unwrap().buyers_len, number - 9);
    }
}

#[tokio::test]
async fn a_restart_closes_the_lane_and_the_connections_heal() {
    let mut server = OwnRedis::start(&[]).await;
    let settings = RedisSettings { connections: 3, ..settings(&server.url()) };
    let (stock, keeping) = connect(&settings).await;
    open(&keeping).await;
    for number in 10..13 {
        assert!(is_reserved(&reserve_one(&stock, number).await.unwrap()));
    }
    let journal = keeping.journal(lane(LANE)).await.unwrap();
    server.start_again().await;
    // Each connection learns of it by an error; what it then answers is "closed".
    let answer = heal(|| reserve_one(&stock, 20)).await;
    assert_eq!(answer, LaneAnswer::Closed { epoch: Epoch(1) });
    let view = heal(|| keeping.inspect(lane(LANE))).await;
    assert_eq!((view.mode, view.journal_len), (LaneMode::Closed { marker: Epoch(0) }, 3));
    assert_eq!(heal(|| keeping.journal(lane(LANE))).await, journal);
    // Its own epoch may be closed and loaded again, and nothing of before is needed.
    keeping.close(lane(LANE), Epoch(2)).await.unwrap();
    keeping.load(lane(LANE), Epoch(2), &fresh(2, &[10])).await.unwrap();
    for number in 30..33 {
        let answer = heal(|| stock.reserve(call(lane(LANE), 2, number), &[])).await;
        assert!(matches!(answer, LaneAnswer::Open(_)));
        let wish = [request(number, number, 1, 1, 1)];
        assert!(is_reserved(&heal(|| stock.reserve(call(lane(LANE), 2, number), &wish)).await));
    }
}

#[tokio::test]
async fn a_dead_server_is_sent_nothing() {
    let mut server = OwnRedis::start(&[]).await;
    let second = Duration::from_secs(1);
    let settings = RedisSettings {
        connect_timeout: second,
        response_timeout: second,
        keeper_timeout: second,
        ..settings(&server.url())
    };
    let (stock, keeping) = connect(&settings).await;
    open(&keeping).await;
    assert!(is_reserved(&reserve_one(&stock, 9).await.unwrap()));
    server.kill();
    let started = Instant::now();
    // The calls that find the broken connections may have been sent, for all anybody knows.
    assert!(matches!(reserve_one(&stock, 10).await, Err(StockError::Unknown(_) | StockError::Unsent(_))));
    let before = stock.calls()();
    for _ in 0..3 {
        assert!(matches!(reserve_one(&stock, 10).await, Err(StockError::Unsent(_))));
        assert!(keeping.inspect(lane(LANE)).await.is_err_and(|error| error.is_retryable()));
        assert!(keeping.journal(lane(LANE)).await.is_err_and(|error| error.is_retryable()));
    }
    assert_eq!(stock.calls()(), Calls { unsent: before.unsent + 3, ..before });
    // Each within its timeouts.
    assert!(started.elapsed() < 18 * second, "{:?}", started.elapsed());
    server.start_again().await;
    assert_eq!(heal(|| reserve_one(&stock, 11)).await, LaneAnswer::Closed { epoch: Epoch(1) });
    let view = heal(|| keeping.inspect(lane(LANE))).await;
    assert_eq!(view.mode, LaneMode::Closed { marker: Epoch(0) });
}

#[tokio::test]
async fn a_server_that_hangs_answers_unknown_in_time() {
    let server = OwnRedis::start(&[]).await;
    let mut raw = server.raw().await;
    let settings = RedisSettings { response_timeout: Duration::from_secs(1), ..settings(&server.url()) };
    let (stock, keeping) = connect(&settings).await;
    open(&keeping).await;
    let answer = heal(|| reserve_one(&stock, 10)).await;
    assert!(matches!(answer, LaneAnswer::Open(ReserveAnswer::Decided { .. })), "{answer:?}");
    redis::cmd("CLIENT").arg("PAUSE").arg(600_000).arg("WRITE").exec_async(&mut raw).await.unwrap();
    let started = Instant::now();
    assert!(matches!(reserve_one(&stock, 11).await, Err(StockError::Unknown(_))));
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    redis::cmd("CLIENT").arg("UNPAUSE").exec_async(&mut raw).await.unwrap();
    // It happened later, or went with its connection; either way a repetition of the same call
    // promises nothing twice.
    let answer = heal(|| reserve_one(&stock, 11)).await;
    assert!(matches!(answer, LaneAnswer::Open(ReserveAnswer::Decided { .. })), "{answer:?}");
    assert_eq!(keeping.inspect(lane(LANE)).await.unwrap().offers[0].1, 10 - 2);
}

/// A server that takes connections and never speaks, as one that is stopped or behind a dead way:
/// nothing is sent to it.
#[tokio::test]
async fn a_server_that_never_speaks_is_sent_nothing() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = settings(&format!("redis://{}", silent.local_addr().unwrap()));
    let stock = RedisStock::connect(&settings).await.unwrap();
    let started = Instant::now();
    for asked in 1..=10 {
        assert!(matches!(reserve_one(&stock, 10).await, Err(StockError::Unsent(_))));
        assert_eq!(stock.calls()(), Calls { unsent: asked, ..Calls::default() });
    }
    // One waits for the connection; the others know that it takes long.
    assert!(started.elapsed() < 3 * CONNECTION_WAIT, "{:?}", started.elapsed());
}

/// The first answer of a connection that comes back; before it there may be errors, which say
/// "unknown" and nothing else.
async fn heal<T, F: Future<Output = Result<T, StockError>>>(ask: impl Fn() -> F) -> T {
    let started = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(StockError::Unknown(error) | StockError::Unsent(error)) => {
                assert!(started.elapsed() < PATIENCE, "{error}");
                // An error may come without a pause, and the next attempt is another task.
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

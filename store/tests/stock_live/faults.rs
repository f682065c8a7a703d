//! What goes wrong. Goal: a fault leaves nothing half done and is never answered "no". Method: scripts sent with garbage beside the
//! adapter; servers of the test's own, filled, killed and made to forget.

use std::time::{Duration, Instant};

use domain::{
    id::Epoch,
    stock::{Gone, GoneWhy, LaneAnswer, LaneMode, ReserveAnswer, ReserveReply},
};
use redis::{Value, aio::MultiplexedConnection};
use store::stock::{
    LaneKeeping, LaneStock, StockError,
    redis::{RedisKeeping, RedisSettings, RedisStock},
};

use super::{
    server::OwnRedis,
    support::{batch, buyer, call, connect, delete, dumps, fresh, keys, lane, order, raw, request, settings, url},
};

const LANE: u64 = 7;

/// A script, the places of its keys among state, buyers, journal and due, and arguments that it takes.
struct Case {
    source: String,
    keys: &'static [usize],
    arguments: Vec<Vec<u8>>,
}

fn case(body: &str, keys: &'static [usize], arguments: &[&[u8]]) -> Case {
    let source = [include_str!("../../src/stock/lua/prelude.lua"), body].concat();
    Case { source, keys, arguments: arguments.iter().map(|argument| argument.to_vec()).collect() }
}

const ID: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 1];

/// Each script, with arguments under which it writes if the lane is open under epoch 1.
fn cases() -> Vec<Case> {
    let fixed = [&[0, 0, 0, 0, 0, 0, 0, 99, 1, 1][..], &[9; 16]].concat();
    let reserve: &[&[u8]] =
        &[b"1", &[0, 0, 0, 0, 0, 0, 0, 99], b"5000", b"100", b"head", b"1", ID, b"3", &fixed, b"field"];
    let place: &[u8] = b"0000000000000000009";
    vec![
        case(include_str!("../../src/stock/lua/reserve.lua"), &[0, 1, 2, 3], reserve),
        case(
            include_str!("../../src/stock/lua/settle.lua"),
            &[0, 1, 2, 3],
            &[b"1", b"1", &[0, 0, 0, 0, 0, 0, 0, 10], b"1", &[0, 0, 0, 0, 0, 0, 0, 10], b"R"],
        ),
        case(include_str!("../../src/stock/lua/claim.lua"), &[0, 2, 3], &[b"9000", b"9", b"50"]),
        case(include_str!("../../src/stock/lua/find.lua"), &[0, 1, 2], &[b"10"]),
        case(include_str!("../../src/stock/lua/close.lua"), &[0], &[b"2"]),
        case(include_str!("../../src/stock/lua/adjust.lua"), &[0], &[b"1", ID, b"50", place]),
        case(include_str!("../../src/stock/lua/withhold.lua"), &[0], &[b"1", ID, b"4", b"2"]),
        case(include_str!("../../src/stock/lua/inspect.lua"), &[0, 1, 2, 3], &[]),
    ]
}

/// The steps of a load, for a lane that is closed under the marker 2.
fn load_cases() -> Vec<Case> {
    let body = include_str!("../../src/stock/lua/load.lua");
    let entry = [7; 42];
    let place: &[u8] = b"0000000000000000009";
    vec![
        case(body, &[0, 1, 2, 3], &[b"clear", b"2"]),
        case(body, &[0, 1, 2, 3], &[b"buyers", b"2", b"1", &entry, b"2", &entry]),
        case(
            body,
            &[0, 1, 2, 3],
            &[b"open", b"2", b"5", ID, b"1", b"1", place, &[0, 0, 0, 0, 0, 0, 0, 2], b"1", b"1", place],
        ),
    ]
}

async fn evaluate(
    raw: &mut MultiplexedConnection,
    case: &Case,
    keys: &[String; 4],
) -> Result<Value, redis::RedisError> {
    let mut eval = redis::cmd("EVAL");
    eval.arg(&case.source).arg(case.keys.len());
    case.keys.iter().for_each(|&key| {
        eval.arg(&keys[key]);
    });
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

/// Garbled arguments: an error leaves every key as it was. (Some garbage is a name like any other, and may do its work whole.)
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
            let garbled = Case { arguments, source: case.source.clone(), keys: case.keys };
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
        for &place in case.keys {
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
    assert!(matches!(error, Err(StockError::Unknown(_))), "{error:?}");
    assert_eq!(dumps(&mut raw, &keys).await, before);
    // A call without batches: its first write is the tombstone.
    let gone = [Gone { order: order(10), buyer: buyer(10), why: GoneWhy::Released }];
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
async fn a_dead_server_answers_unknown_in_time() {
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
    server.kill();
    let started = Instant::now();
    for _ in 0..3 {
        assert!(matches!(reserve_one(&stock, 10).await, Err(StockError::Unknown(_))));
        assert!(matches!(keeping.inspect(lane(LANE)).await, Err(StockError::Unknown(_))));
        assert!(matches!(keeping.journal(lane(LANE)).await, Err(StockError::Unknown(_))));
    }
    // Nine calls, each within its timeouts.
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
    let settings = RedisSettings { response_timeout: Duration::from_millis(200), ..settings(&server.url()) };
    let (stock, keeping) = connect(&settings).await;
    open(&keeping).await;
    assert!(is_reserved(&reserve_one(&stock, 10).await.unwrap()));
    redis::cmd("CLIENT").arg("PAUSE").arg(600_000).arg("WRITE").exec_async(&mut raw).await.unwrap();
    let started = Instant::now();
    assert!(matches!(reserve_one(&stock, 11).await, Err(StockError::Unknown(_))));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    redis::cmd("CLIENT").arg("UNPAUSE").exec_async(&mut raw).await.unwrap();
    // It did happen, later; a repetition of the same call promises nothing twice.
    let answer = heal(|| reserve_one(&stock, 11)).await;
    let expected = ReserveReply::Repeat { order: order(11), batch: Some(batch(11)), settled: false };
    assert!(
        matches!(&answer, LaneAnswer::Open(ReserveAnswer::Decided { replies, .. }) if replies[..] == [expected]),
        "{answer:?}"
    );
}

/// The first answer of a connection that comes back; before it there may be errors, which say "unknown" and nothing else.
async fn heal<T, F: Future<Output = Result<T, StockError>>>(ask: impl Fn() -> F) -> T {
    let started = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(StockError::Unknown(error)) => assert!(started.elapsed() < Duration::from_secs(20), "{error}"),
            Err(error) => panic!("{error}"),
        }
    }
}

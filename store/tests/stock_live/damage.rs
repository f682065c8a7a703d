//! Goal: whatever stands in the keys of one lane, it is closed, and can be rebuilt without a hand
//! on the server. Method: keys and fields are spoilt beside the adapter, one after the other; every
//! call must answer "closed" or an error, never "no", and a rebuild must open the lane.

use domain::{
    id::Epoch,
    stock::{CloseAnswer, Gone, GoneWhy, LaneAnswer, LaneMode, LoadAnswer, ReserveAnswer, ReserveReply},
};
use redis::aio::MultiplexedConnection;
use store::stock::{
    LaneKeeping, LaneStock, LoadAtOnce, StockError,
    redis::{RedisKeeping, RedisStock},
};

use super::{
    sample::{batch, buyer, call, fresh, lane, offer, order, request},
    support::{connect, delete, keys, raw, settings, url},
};

const LANE: u64 = 7;

fn is_reserved(answer: &LaneAnswer<ReserveAnswer>) -> bool {
    matches!(answer, LaneAnswer::Open(ReserveAnswer::Decided { replies, .. }) if matches!(replies[..], [ReserveReply::Reserved(_)]))
}

async fn reserve(stock: &RedisStock, epoch: u64, number: u64) -> Result<LaneAnswer<ReserveAnswer>, StockError> {
    stock.reserve(call(lane(LANE), epoch, number), &[request(number, number, 1, 1, 1)]).await
}

/// R3, R4, as the keeper does it.
async fn rebuild(keeping: &RedisKeeping, epoch: u64) {
    assert_eq!(keeping.close(lane(LANE), Epoch(epoch)).await.unwrap(), CloseAnswer::Closed);
    keeping.journal(lane(LANE)).await.unwrap();
    assert_eq!(keeping.load(lane(LANE), Epoch(epoch), &fresh(2, &[10])).await.unwrap(), LoadAnswer::Loaded);
    assert_eq!(keeping.inspect(lane(LANE)).await.unwrap().mode, LaneMode::Open { epoch: Epoch(epoch) });
}

/// Every call of both ports: none says "no", and none goes on as if nothing were wrong.
async fn is_never_a_no(stock: &RedisStock, keeping: &RedisKeeping, what: &str) {
    let gone = [Gone { order: order(10), buyer: buyer(10), why: GoneWhy::Released { retired: 1 } }];
    let reserved = reserve(stock, 1, 10).await;
    assert!(matches!(reserved, Ok(LaneAnswer::Closed { .. }) | Err(StockError::Broken(_))), "{what}: {reserved:?}");
    let settled = keeping.settle(lane(LANE), Epoch(1), &[batch(10)], &gone).await;
    assert!(matches!(settled, Ok(LaneAnswer::Closed { .. }) | Err(StockError::Broken(_))), "{what}: {settled:?}");
    let found = stock.find(lane(LANE), buyer(10)).await;
    assert!(matches!(found, Ok(LaneAnswer::Closed { .. }) | Err(StockError::Broken(_))), "{what}: {found:?}");
}

#[tokio::test]
async fn a_lane_with_a_key_of_another_type_is_rebuilt_by_itself() {
    let settings = settings(&url());
    let mut raw = raw(&settings.url).await;
    let (stock, keeping) = connect(&settings).await;
    let keys = keys(&settings, lane(LANE));
    for (place, key) in keys.iter().enumerate() {
        delete(&mut raw, &keys).await;
        rebuild(&keeping, 1).await;
        assert!(is_reserved(&reserve(&stock, 1, 10).await.unwrap()));
        redis::cmd("SET").arg(key).arg("oops").exec_async(&mut raw).await.unwrap();
        is_never_a_no(&stock, &keeping, key).await;
        for call in [stock.claim(lane(LANE), 1, 1, 1).await.map(drop), keeping.journal(lane(LANE)).await.map(drop)] {
            assert!(call.is_ok() || matches!(call, Err(StockError::Broken(_))), "{call:?}");
        }
        rebuild(&keeping, 2).await;
        assert!(is_reserved(&reserve(&stock, 2, 11).await.unwrap()), "{place}");
        let kept: String = redis::cmd("GET").arg(format!("{key}:damaged")).query_async(&mut raw).await.unwrap();
        let ttl: i64 = redis::cmd("TTL").arg(format!("{key}:damaged")).query_async(&mut raw).await.unwrap();
        assert!(kept == "oops" && (1..=604_800).contains(&ttl), "{kept}, {ttl} s");
        redis::cmd("DEL").arg(format!("{key}:damaged")).exec_async(&mut raw).await.unwrap();
    }
    delete(&mut raw, &keys).await;
}

async fn set(raw: &mut MultiplexedConnection, key: &str, field: &[u8], value: &[u8]) {
    redis::cmd("HSET").arg(key).arg(field).arg(value).exec_async(raw).await.unwrap();
}

/// A field that nothing of ours writes closes its lane at the first call that meets it, for
/// everybody: the keeper sees a closed lane.
#[tokio::test]
async fn a_lane_with_a_nonsensical_field_closes_itself() {
    let settings = settings(&url());
    let mut raw = raw(&settings.url).await;
    let (stock, keeping) = connect(&settings).await;
    let keys = keys(&settings, lane(LANE));
    let units = |kind: u8| [&[kind], &offer(1).get().to_be_bytes()[..]].concat();
    let entry_of = buyer(10).get().to_be_bytes();
    let long = vec![7; 42 * 300 + 1];
    let garbage: [(usize, Vec<u8>, &[u8]); 6] = [
        (1, entry_of.to_vec(), b"oops"),
        (1, entry_of.to_vec(), &long),
        (0, units(b'u'), b"many"),
        (0, units(b'u'), b"-1"),
        (0, units(b'u'), b"99999999999999999999"),
        (0, b"l".to_vec(), b""),
    ];
    for (place, field, value) in garbage {
        delete(&mut raw, &keys).await;
        rebuild(&keeping, 1).await;
        set(&mut raw, &keys[place], &field, value).await;
        let what = format!("{field:?} in {}", keys[place]);
        assert_eq!(reserve(&stock, 1, 10).await.unwrap(), LaneAnswer::Closed { epoch: Epoch(1) }, "{what}");
        is_never_a_no(&stock, &keeping, &what).await;
        rebuild(&keeping, 2).await;
        assert!(is_reserved(&reserve(&stock, 2, 10).await.unwrap()), "{what}");
    }
    // A state without an epoch or marker that can be read.
    for field in [b"e", b"m"] {
        delete(&mut raw, &keys).await;
        rebuild(&keeping, 1).await;
        set(&mut raw, &keys[0], field, b"oops").await;
        if field == b"e" {
            assert_eq!(reserve(&stock, 1, 10).await.unwrap(), LaneAnswer::Closed { epoch: Epoch(0) });
        }
        rebuild(&keeping, 2).await;
    }
    delete(&mut raw, &keys).await;
    delete(&mut raw, &keys.map(|key| format!("{key}:damaged"))).await;
}

/// An entry under a name that no batch has promised nothing: sweep and rebuild pass it over.
#[tokio::test]
async fn an_entry_that_is_no_batch_holds_up_neither_sweep_nor_rebuild() {
    let settings = settings(&url());
    let mut raw = raw(&settings.url).await;
    let (stock, keeping) = connect(&settings).await;
    let keys = keys(&settings, lane(LANE));
    rebuild(&keeping, 1).await;
    assert!(is_reserved(&reserve(&stock, 1, 10).await.unwrap()));
    for name in [&b"oops"[..], &[0xff; 8]] {
        set(&mut raw, &keys[2], name, b"oops").await;
        redis::cmd("ZADD").arg(&keys[3]).arg(0).arg(name).exec_async(&mut raw).await.unwrap();
    }
    let LaneAnswer::Open(claimed) = stock.claim(lane(LANE), u64::from(u32::MAX) * 1_000, 16, 1).await.unwrap() else {
        panic!("it is open")
    };
    let journal = keeping.journal(lane(LANE)).await.unwrap();
    assert_eq!((claimed.len(), journal.len()), (1, 1));
    assert_eq!((claimed[0].0, journal[0].0), (batch(10), batch(10)));
    rebuild(&keeping, 2).await;
    assert_eq!(keeping.inspect(lane(LANE)).await.unwrap().journal_len, 0);
    delete(&mut raw, &keys).await;
}

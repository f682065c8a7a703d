//! Goal: what is asked of a running server over its second port is done there, and told. Method:
//! the control pages on a port of their own, over a real folder, with a clock that makes each
//! request end after its first batch.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use domain::{
    id::{Epoch, Generation, KeyHash, PartitionId, Position, PurchaseNumber, Slot},
    money::Money,
    order::{OrderRow, Status},
    shard::ShardId,
    stock::RunId,
};
use kit::{
    admin::{self, Hosts, Readiness},
    clock::SystemClock,
    metrics::Registry,
};
use order_writer::stalls::Stalls;
use store::{
    ledger::{LaneRow, OfferRow},
    orders::{Progress, ShardWrite, Written},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{client, config::Config, control::Control, folder::ServerNote};

const PARTITION: PartitionId = PartitionId(0);
/// More than one batch in each of the two files.
const ORDERS: u64 = 2_500;

/// 2026-01-01, when the orders are minted.
const MINTED_MS: u64 = 1_767_225_600_000;

/// Its monotonic time leaps at each look.
#[derive(Clone)]
struct Leaping(SystemClock, Arc<AtomicU64>);

impl Clock for Leaping {
    fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.1.fetch_add(10, Relaxed))
    }
}

fn id<T: TryFrom<u64>>(number: u64) -> T
where
    T::Error: std::fmt::Debug,
{
    T::try_from(number).unwrap()
}

fn lane() -> LaneRow {
    LaneRow {
        lane: id(5001),
        tenant: id(7),
        sale: id(1001),
        partition: PARTITION,
        epoch: Epoch(1),
        limit_per_buyer: 1,
        limit_changed_at: 0,
        first_order: None,
        is_retired: false,
        offers: vec![OfferRow { sold: ORDERS, ..OfferRow::first(id(9001), ORDERS, 1) }],
    }
}

/// An unpaid order of long ago.
fn row(number: u64) -> OrderRow {
    let (buyer, minted_ms) = (id(number), MINTED_MS + number);
    OrderRow {
        order: OrderId::compose(minted_ms, Slot::of(buyer), 1, 0).unwrap(),
        tenant: id(7),
        buyer,
        lane: id(5001),
        number: Some(PurchaseNumber(1)),
        sale: id(1001),
        sale_version: 1,
        offer: id(9001),
        sku: id(1),
        quantity: 1,
        unit_price: Money { amount: 100, currency: "CNY".parse().unwrap() },
        key: KeyHash([1; 16]),
        status: Status::PendingPayment,
        reason: None,
        position: Position { generation: Generation(1), offset: number, index: 0 },
        released: None,
        reserved_at_ms: minted_ms,
        context: bytes::Bytes::new(),
        pay_by_ms: None,
    }
}

async fn sell<C: Clock>(deployment: &Deployment<C>) {
    let (orders, rows): (_, Vec<OrderRow>) = (&deployment.databases.orders, (1..=ORDERS).map(row).collect());
    assert!(deployment.databases.ledger.add_lane(&lane(), MINTED_MS).await.unwrap());
    for shard in (0..orders.map().shards()).map(ShardId) {
        let expected = Progress { generation: Generation(1), offset: 0, record: None };
        orders.begin_progress(shard, PARTITION, expected).await.unwrap();
        let here = |row: &&OrderRow| orders.map().home_of_order(row.order).shard == shard;
        let rows = rows.iter().filter(here).cloned().collect();
        let write = ShardWrite { partition: PARTITION, expected, next: expected, rows, released: vec![] };
        assert_eq!(orders.write(shard, write).await.unwrap(), Written::Done);
    }
}

/// Fault 30: a running server expires in several requests, so that none of them is given up, and
/// the command adds up what they did.
#[tokio::test]
async fn an_expiry_is_asked_for_until_nothing_is_left() {
    let (folder, key) = (tempfile::tempdir().unwrap(), "key");
    let clock = Leaping(SystemClock::new(), Arc::default());
    let deployment = Deployment::open(folder.path(), &Config::default(), RunId(1), clock.clone()).await.unwrap();
    sell(&deployment).await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let note = ServerNote { pid: 1, listen: address, admin: address };
    let (registry, readiness, stop) = (Registry::new().unwrap(), Readiness::new(), CancellationToken::new());
    let control = Control::new(deployment.clone(), Stalls::new(readiness.clone()), key);
    let pages = admin::serve_with(listener, Hosts::default(), registry, readiness, control, stop.clone());
    let pages = tokio::spawn(pages);

    let before = clock.1.load(Relaxed);
    let told = client::wish(&note, key, &Wish::Expire(Some(Duration::from_secs(60)))).await.unwrap().unwrap();
    assert!(told.starts_with("2500 of 2500 overdue orders were expired; their units"), "{told}");
    assert!(clock.1.load(Relaxed) - before > 40, "it took several requests");
    let told = client::wish(&note, key, &Wish::Expire(Some(Duration::from_secs(60)))).await.unwrap().unwrap();
    assert!(told.starts_with("0 of 0 overdue orders were expired"), "{told}");
    let refused = client::wish(&note, key, &Wish::Cancel(row(1).order)).await.unwrap().unwrap_err();
    assert!(refused.contains("is expired"), "{refused}");
    stop.cancel();
    pages.await.unwrap().unwrap();
    deployment.databases.close().await;
}

#[test]
fn a_wish_finds_its_page() {
    let order = OrderId::new(77).unwrap();
    for wish in [Wish::Cancel(order), Wish::Expire(Some(Duration::from_secs(900))), Wish::Expire(None)] {
        let path = wish.path();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        assert_eq!(Wish::of(&parts), Some(wish));
    }
    for other in [&["orders", "x", "cancel"][..], &["orders", "0", "cancel"], &["orders"], &["lanes", "1", "buyers"]] {
        assert_eq!(Wish::of(other), None);
    }
}

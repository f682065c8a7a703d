//! Unpaid orders that stand in the rows alone, and an expiry of them that is ended, killed and
//! resumed: on both kinds of databases.

use std::{
    collections::BTreeSet,
    ops::{ControlFlow, Range},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use domain::{
    id::{
        BuyerId, Generation, KeyHash, LaneId, OfferId, OrderId, PartitionId, Position, PurchaseNumber, SaleId, SkuId,
        Slot, TenantId,
    },
    money::Money,
    order::{Decision, OrderRow, Status, Transition},
    record::Reservation,
    shard::ShardId,
};
use kit::clock::{Clock, SystemClock};
use order_writer::desk::{self, DeskError};
use store::{
    orders::{Marked, Orders, Progress, ShardWrite, Written},
    shards::Store,
    sql::Sql,
};
use tokio::sync::Notify;

/// No worker works on it.
const ELSEWHERE: PartitionId = PartitionId(9);
/// How old the orders are.
const AGE: Duration = Duration::from_secs(600);

/// Writes an unpaid order of each of these buyers, past every worker.
pub(crate) async fn unpaid<S: Sql>(
    orders: &Orders<S>,
    (lane, offer): (LaneId, OfferId),
    buyers: Range<u64>,
) -> Vec<OrderRow> {
    let minted_at_ms = SystemClock::new().now_ms() - u64::try_from(AGE.as_millis()).unwrap();
    let mut rows = Vec::new();
    for (index, number) in buyers.enumerate() {
        let buyer = BuyerId::new(number).unwrap();
        let reservation = Reservation {
            tenant: TenantId::new(7).unwrap(),
            sale: SaleId::new(1001).unwrap(),
            sale_version: 1,
            offer,
            sku: SkuId::new(77).unwrap(),
            order: OrderId::compose(minted_at_ms + index as u64 / 32, Slot::of(buyer), 2, (index % 32) as u8).unwrap(),
            buyer,
            quantity: 1,
            unit_price: Money { amount: 19_900, currency: "CNY".parse().unwrap() },
            key: KeyHash([3; 16]),
            reserved_at_ms: minted_at_ms,
            context: Bytes::new(),
            // Every second one of an hour that is not over yet.
            pay_within_s: [60, 3_600][index % 2],
            trace: None,
        };
        let at = Position { generation: Generation(1), offset: 1 + index as u64 / 256, index: (index % 256) as u8 };
        rows.extend(OrderRow::decided(lane, PurchaseNumber(1), &reservation, at, Decision::Accepted));
    }
    let start = Progress { generation: Generation(1), offset: 0, record: None };
    for shard in (0..orders.map().shards()).map(ShardId) {
        orders.begin_progress(shard, ELSEWHERE, start).await.unwrap();
        let expected = orders.progress(ELSEWHERE).await.unwrap()[usize::from(shard.0)].unwrap();
        let here = |row: &&OrderRow| orders.map().home_of_order(row.order).shard == shard;
        let write = ShardWrite {
            partition: ELSEWHERE,
            expected,
            next: Progress { offset: expected.offset + 1, ..expected },
            rows: rows.iter().filter(here).cloned().collect(),
            released: vec![],
        };
        assert_eq!(orders.write(shard, write).await.unwrap(), Written::Done);
    }
    rows
}

/// Fault 30: an expiry that is ended between two batches or killed in one of them goes on when it
/// is asked for again; what is expired has its outbox row, whatever is told. Nobody relays
/// meanwhile.
pub(crate) async fn an_expiry_goes_on_where_it_was_ended<S: Sql>(store: &Store<S>, of: (LaneId, OfferId)) {
    const COUNT: usize = 6_000;
    let rows = unpaid(&store.orders, of, 100_000..100_000 + COUNT as u64).await;
    let marked = store.orders.mark(rows[7].order, Transition::Pay, None).await.unwrap();
    assert_eq!(marked, Marked::Done);
    let (orders, ledger) = (store.orders.clone(), store.ledger.clone());
    let expire = async |watch: &mut (dyn FnMut(&desk::Expiry) -> ControlFlow<()> + Send)| {
        desk::expire(&orders, &ledger, Some(AGE / 2), watch).await
    };

    // Their time to pay is over for every second one, but for none of those by age alone.
    let due = rows.iter().step_by(2).map(|row| row.order).collect::<BTreeSet<_>>();
    let past = desk::expire(&orders, &ledger, None, |_| ControlFlow::Continue(())).await.unwrap();
    assert_eq!((past.expired as usize, past.kept), (due.len(), 0));
    let found = store.orders.find(&rows.iter().map(|row| row.order).collect::<Vec<_>>()).await.unwrap();
    assert!(found.values().all(|row| (row.status == Status::Expired) == due.contains(&row.order)));

    let ended = expire(&mut |_| ControlFlow::Break(())).await.unwrap();
    assert!(ended.is_ended && ended.expired > 0 && (ended.expired as usize) < COUNT - 1, "{ended:?}");
    assert_eq!(expired(store, &rows).await, past.expired + ended.expired, "what is told is what is there");

    let begun = Arc::new(Notify::new());
    let (told, orders_of_task, ledger_of_task) = (begun.clone(), store.orders.clone(), store.ledger.clone());
    let killed = tokio::spawn(async move {
        let watch = |_: &desk::Expiry| {
            told.notify_one();
            ControlFlow::Continue(())
        };
        desk::expire(&orders_of_task, &ledger_of_task, Some(AGE / 2), watch).await
    });
    begun.notified().await;
    killed.abort();
    let killed = killed.await;
    assert!(
        killed
            .as_ref()
            .map_or_else(|error| error.is_cancelled(), |done| matches!(done, Ok(_) | Err(DeskError::Sql(_))))
    );
    expired(store, &rows).await;

    let mut told = 0;
    let rest = expire(&mut |done: &desk::Expiry| {
        told = done.seen();
        ControlFlow::Continue(())
    })
    .await
    .unwrap();
    assert_eq!((rest.is_ended, rest.without_lane, told), (false, 0, rest.seen()));
    assert_eq!(expired(store, &rows).await as usize, COUNT - 1);
    let found = store.orders.find(&[rows[7].order]).await.unwrap();
    assert_eq!(found[&rows[7].order].status, Status::Paid);
    let again = expire(&mut |_| ControlFlow::Continue(())).await.unwrap();
    assert_eq!(again, desk::Expiry::default(), "nothing is left");
}

/// How many of these are expired: exactly those that have an outbox row. A batch that was under way
/// when its caller was killed may still end: what is compared is of a moment before or after it.
async fn expired<S: Sql>(store: &Store<S>, rows: &[OrderRow]) -> u64 {
    let ids: Vec<OrderId> = rows.iter().map(|row| row.order).collect();
    let read = async || -> BTreeSet<OrderId> {
        let found = store.orders.find(&ids).await.unwrap();
        found.values().filter(|row| row.status == Status::Expired).map(|row| row.order).collect()
    };
    let mut expired = read().await;
    loop {
        let mut releases = BTreeSet::new();
        for shard in (0..store.orders.map().shards()).map(ShardId) {
            releases.extend(store.orders.outbox(shard, 100_000).await.unwrap().into_iter().map(|row| row.order));
        }
        let before = std::mem::replace(&mut expired, read().await);
        if before == expired {
            let differ: Vec<_> = expired.symmetric_difference(&releases).take(5).collect();
            assert!(differ.is_empty(), "expired without an outbox row, or the reverse: {differ:?}, ...");
            return expired.len() as u64;
        }
    }
}

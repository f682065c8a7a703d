//! Goal: rows, releases and progress move together or not at all (R1, R2), and reads find what was
//! written.

use std::collections::HashMap;

use domain::{
    id::{BuyerId, LaneId, OrderId, PartitionId, SaleId, TenantId},
    order::{OrderRow, Status, Transition},
    shard::ShardId,
};
use store::orders::{LanePurchase, Listed, Marked, SCAN_LANES_MAX, ShardWrite, Written};

use super::support::{
    Adapter, Deployment, MINTED_AT_MS, PARTITION, at, deployment, lane, later, progress, rejected, release, row, write,
};

const MAPS: [(u16, u16); 2] = [(2, 4), (1, 1)];

/// The rejected ones with their nulls among the others.
pub(crate) async fn what_is_written_is_found<A: Adapter>(adapter: A) {
    for (shards, tables) in MAPS {
        let d = deployment(&adapter, shards, tables).await;
        let mut rows: Vec<OrderRow> = (1..=700).map(row).collect();
        rows.extend((701..=750).map(rejected));
        let written = write(&d.orders, 1, &rows, &[]).await;
        assert!(written.iter().all(|w| *w == Written::Done));
        let ids: Vec<OrderId> = rows.iter().map(|row| row.order).chain([row(9_999).order]).collect();
        let found = d.orders.find(&ids).await.unwrap();
        assert_eq!(found.len(), rows.len());
        assert!(rows.iter().all(|row| found[&row.order] == *row));
        assert!(d.orders.find(&[]).await.unwrap().is_empty());
        let progress_of_shards = d.orders.progress(PARTITION).await.unwrap();
        assert_eq!(progress_of_shards, vec![Some(progress(1, 1)); usize::from(shards)]);
        assert_eq!(d.orders.progress(PartitionId(4)).await.unwrap(), vec![None; usize::from(shards)]);
    }
}

/// A taken order id and a taken (buyer, lane, number) both undo the whole transaction, its progress
/// too.
pub(crate) async fn a_taken_key_leaves_nothing<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 2).await;
    let first = row(1);
    assert_eq!(write(&d.orders, 1, std::slice::from_ref(&first), &[]).await, [Written::Done]);
    let same_id = OrderRow { number: None, ..first.clone() };
    let same_number = later(&first, 1, 1);
    for taken in [same_id, same_number] {
        let before: Vec<OrderRow> = (2..=600).map(row).collect();
        let rows = [&before[..], &[taken]].concat();
        assert_eq!(write(&d.orders, 2, &rows, &[release(first.order, 2, None)]).await, [Written::KeyTaken]);
        assert_eq!(d.orders.progress(PARTITION).await.unwrap(), [Some(progress(1, 1))]);
        let orders = d.space.orders(0);
        assert_eq!(d.space.count(&orders, "orders_0").await + d.space.count(&orders, "orders_1").await, 1);
        assert_eq!(d.orders.find(&[first.order]).await.unwrap()[&first.order].released, None);
    }
    // The next number, and no number at all, are free.
    let rows = [later(&first, 1, 2), OrderRow { number: None, ..later(&first, 2, 1) }];
    assert_eq!(write(&d.orders, 2, &rows, &[]).await, [Written::Done]);
}

/// R2: the progress must be as expected in all three parts; a zombie of an older generation is one
/// that is not.
pub(crate) async fn a_zombie_of_an_older_generation_cannot_write<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let shard = ShardId(0);
    d.orders.begin_progress(shard, PARTITION, progress(1, 5)).await.unwrap();
    d.orders.begin_progress(shard, PARTITION, progress(9, 9)).await.unwrap();
    assert_eq!(d.orders.progress(PARTITION).await.unwrap(), [Some(progress(1, 5))], "begun once");
    assert!(d.orders.move_progress(shard, PARTITION, progress(1, 5), progress(2, 5)).await.unwrap());
    assert!(!d.orders.move_progress(shard, PARTITION, progress(1, 5), progress(3, 5)).await.unwrap());
    let other_record = store::orders::Progress { record: progress(2, 6).record, ..progress(2, 5) };
    for expected in [progress(1, 5), progress(2, 4), progress(3, 5), other_record] {
        let write =
            ShardWrite { partition: PARTITION, expected, next: progress(2, 6), rows: vec![row(1)], released: vec![] };
        assert_eq!(d.orders.write(shard, write).await.unwrap(), Written::Fenced);
    }
    assert_eq!(d.space.count(&d.space.orders(0), "orders_0").await, 0);
    let write = ShardWrite {
        partition: PARTITION,
        expected: progress(2, 5),
        next: progress(2, 6),
        rows: vec![row(1)],
        released: vec![],
    };
    assert_eq!(d.orders.write(shard, write).await.unwrap(), Written::Done);
}

pub(crate) async fn a_row_of_another_shard_is_refused<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 2, 1).await;
    let row = row(1);
    let other = ShardId(1 - d.orders.map().home_of_order(row.order).shard.0);
    let (expected, next) = (progress(1, 0), progress(1, 1));
    let write = ShardWrite { partition: PARTITION, expected, next, rows: vec![row], released: vec![] };
    assert!(d.orders.write(other, write).await.unwrap_err().to_string().contains("does not live in shard"));
}

/// R1: the first release of an order counts, alone or before another in the same batch; a rejected
/// order has none.
pub(crate) async fn a_release_is_set_once<A: Adapter>(adapter: A) {
    for (shards, tables) in MAPS {
        let d = deployment(&adapter, shards, tables).await;
        let rows: Vec<OrderRow> = (1..=40).map(row).chain((41..=50).map(rejected)).collect();
        let all = |offset: u64| rows.iter().map(move |row| release(row.order, offset, None)).collect::<Vec<_>>();
        // In the same transaction as the rows, and the same order twice in it.
        let released = [all(1), all(2), vec![release(row(99).order, 1, None)]].concat();
        assert!(write(&d.orders, 1, &rows, &released).await.iter().all(|w| *w == Written::Done));
        assert!(write(&d.orders, 2, &[], &all(3)).await.iter().all(|w| *w == Written::Done));
        let ids: Vec<OrderId> = rows.iter().map(|row| row.order).collect();
        let found = d.orders.find(&ids).await.unwrap();
        for row in &rows {
            let expected = match row.status {
                Status::Rejected => row.clone(),
                _ => OrderRow { released: Some(at(1, 0)), number: None, ..row.clone() },
            };
            assert_eq!(found[&row.order], expected);
        }
    }
}

/// R8: with its release a row takes the mark that its database lost; one that stands, or a payment,
/// is not overwritten. What a release of an older program does not say changes nothing.
pub(crate) async fn r8_a_release_brings_the_mark_that_was_lost<A: Adapter>(adapter: A) {
    use Status::{Cancelled, Completed, Expired, Fulfilled, Paid, PendingPayment, Refunded, Refunding, Rejected};
    let all = [PendingPayment, Paid, Fulfilled, Completed, Cancelled, Expired, Refunding, Refunded, Rejected];
    let marks = [None, Some(Cancelled), Some(Expired), Some(Refunding), Some(Refunded)];
    for (shards, tables) in MAPS {
        let d = deployment(&adapter, shards, tables).await;
        let (mut rows, mut releases) = (Vec::new(), Vec::new());
        for (n, (status, became)) in (1..).zip(all.into_iter().flat_map(|status| marks.map(|mark| (status, mark)))) {
            let is_rejected = status == Rejected;
            rows.push(if is_rejected { rejected(n) } else { OrderRow { status, ..row(n) } });
            releases.push(release(row(n).order, 1, became));
            // A second release of the same order comes too late, whatever it says.
            releases.push(release(row(n).order, 2, Some(Expired)));
        }
        assert!(write(&d.orders, 1, &rows, &releases).await.iter().all(|w| *w == Written::Done));
        let found = d.orders.find(&rows.iter().map(|row| row.order).collect::<Vec<_>>()).await.unwrap();
        for (row, release) in rows.iter().zip(releases.iter().step_by(2)) {
            let expected = match row.status {
                Rejected => row.clone(),
                status => {
                    let status = status.released(release.became).unwrap_or(status);
                    OrderRow { status, released: Some(release.at), number: None, ..row.clone() }
                }
            };
            assert_eq!(found[&row.order], expected, "{:?} became {:?}", row.status, release.became);
        }
        let orders: Vec<OrderId> = rows.iter().map(|row| row.order).chain([row(9_999).order]).collect();
        let decided = found.values().filter_map(|row| Some((row.order, row.released?)));
        assert_eq!(d.orders.releases_of(&orders).await.unwrap(), decided.collect::<HashMap<_, _>>());
    }
}

/// Units of the live purchases, by buyer.
async fn live_units<A: Adapter>(d: &Deployment<A>, lane: LaneId, buyers: &[BuyerId]) -> HashMap<BuyerId, u32> {
    let purchases = d.orders.live_purchases(lane, buyers).await.unwrap();
    purchases.into_iter().map(|(buyer, of)| (buyer, of.iter().map(|(_, units)| units).sum())).collect()
}

pub(crate) async fn live_purchases_count_until_the_release<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 2, 4).await;
    let buyers: Vec<BuyerId> = (1..=600).map(|n| BuyerId::new(n).unwrap()).collect();
    let mut rows: Vec<OrderRow> = (1..=3).map(row).collect();
    rows.push(later(&rows[0], 1, 2));
    rows.push(OrderRow { lane: lane(78), ..later(&rows[1], 1, 1) });
    rows.push(rejected(4));
    let gone = release(rows[2].order, 1, None);
    let _ = write(&d.orders, 1, &rows, &[gone]).await;
    let live = live_units(&d, lane(77), &[&buyers[..], &buyers[..2]].concat()).await;
    assert_eq!(live.len(), 2);
    assert_eq!((live[&buyers[0]], live[&buyers[1]]), (4, 2));
    assert_eq!(live_units(&d, lane(78), &buyers[1..2]).await[&buyers[1]], 2);
    // R5: whatever the status.
    assert_eq!(d.orders.mark(rows[0].order, Transition::Cancel, None).await.unwrap(), Marked::Done);
    assert_eq!(live_units(&d, lane(77), &buyers[..1]).await[&buyers[0]], 4);
}

pub(crate) async fn a_buyers_orders_come_newest_first_in_pages<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 2, 4).await;
    let first = row(1);
    let mut rows: Vec<OrderRow> = (1..=5).map(|n| later(&first, n, n as u8)).collect();
    let of_other_shop = OrderRow { tenant: TenantId::new(9).unwrap(), ..later(&first, 9, 9) };
    let _ = write(&d.orders, 1, &[&rows[..], &[of_other_shop, row(2)]].concat(), &[]).await;
    rows.reverse();
    let page = |before| d.orders.of_buyer(first.tenant, first.buyer, before, 3);
    assert_eq!(page(None).await.unwrap(), rows[..3]);
    assert_eq!(page(Some(rows[2].order)).await.unwrap(), rows[3..]);
    assert_eq!(page(Some(rows[4].order)).await.unwrap(), []);
    assert_eq!(d.orders.mark(rows[1].order, Transition::Cancel, None).await.unwrap(), Marked::Done);
    let gone = release(rows[0].order, 20, Some(Status::Cancelled));
    assert_eq!(d.orders.mark(rows[0].order, Transition::Cancel, None).await.unwrap(), Marked::Done);
    let _ = write(&d.orders, 2, &[], &[gone]).await;
    let live = async |sale| {
        let live = d.orders.live_of_buyer((first.tenant, first.buyer, sale), None, 3).await.unwrap();
        live.iter().map(|row| row.order).collect::<Vec<_>>()
    };
    let newest: Vec<OrderId> = rows[1..4].iter().map(|row| row.order).collect();
    assert_eq!(live(first.sale).await, newest, "a cancelled order takes units until it is released");
    assert_eq!(live(SaleId::new(99).unwrap()).await, []);
}

/// Every row of a table once, by id, between two bounds, with what lists are found by.
pub(crate) async fn a_walk_reads_each_row_once<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 2, 2).await;
    let rows: Vec<OrderRow> = (1..=30).map(|n| if n % 5 == 0 { rejected(n) } else { row(n) }).collect();
    let _ = write(&d.orders, 1, &rows, &[]).await;
    let (mut read, last) = (Vec::new(), rows[29].order.get());
    for home in d.orders.map().all() {
        let mut after = rows[0].order.get();
        loop {
            let page = d.orders.listed(home, (after, last), 4).await.unwrap();
            read.extend(page.iter().copied());
            let Some(next) = page.last().filter(|_| page.len() == 4) else { break };
            after = next.order.get();
        }
    }
    read.sort_unstable_by_key(|listed| listed.order);
    let listed = |row: &OrderRow| Listed { order: row.order, tenant: row.tenant, sale: row.sale, offer: row.offer };
    assert_eq!(read, rows[1..29].iter().map(listed).collect::<Vec<_>>());
}

/// The orders that a load reads of these lanes, in pages of four.
async fn purchases<A: Adapter>(d: &Deployment<A>, lanes: &[LaneId], from: u64) -> Vec<OrderId> {
    let mut found = Vec::new();
    for (home, lanes) in
        d.orders.map().all().flat_map(|home| lanes.chunks(SCAN_LANES_MAX).map(move |some| (home, some)))
    {
        let mut next = from;
        loop {
            let page = d.orders.purchases(home, lanes, next, 4).await.unwrap();
            for LanePurchase { lane, buyer, purchase } in &page {
                let row = d.orders.find(&[purchase.order]).await.unwrap().remove(&purchase.order).unwrap();
                assert_eq!((row.lane, row.buyer, row.offer), (*lane, *buyer, purchase.offer));
                assert_eq!((row.quantity, row.number, row.key), (purchase.quantity, purchase.number, purchase.key));
            }
            found.extend(page.iter().map(|found| found.purchase.order));
            let Some(last) = page.last().filter(|_| page.len() == 4) else { break };
            next = last.purchase.order.get() + 1;
        }
    }
    found.sort_unstable();
    found
}

/// R5: every row of these lanes from that moment on, in order, each once, however small the pages.
pub(crate) async fn a_scan_finds_the_rows_of_its_lanes<A: Adapter>(adapter: A) {
    for (shards, tables) in MAPS {
        let d = deployment(&adapter, shards, tables).await;
        let one = |n| if n % 5 == 0 { rejected(n) } else { row(n) };
        let rows: Vec<OrderRow> = (1..=60).map(|n| OrderRow { lane: lane(70 + n % 3), ..one(n) }).collect();
        let _ = write(&d.orders, 1, &rows, &[]).await;
        let from = OrderId::floor_at(MINTED_AT_MS + 11);
        let many: Vec<LaneId> = (1..=1_500).map(lane).filter(|l| *l != lane(71)).collect();
        for lanes in [vec![lane(70), lane(72)], many, vec![]] {
            let mut found = Vec::new();
            for home in d.orders.map().all() {
                let mut after = None;
                loop {
                    let page = d.orders.scan(home, &lanes, from, after, 4).await.unwrap();
                    assert!(page.is_sorted_by_key(|row| row.order));
                    after = page.last().map(|row| row.order);
                    let last = page.len() < 4;
                    found.extend(page);
                    if last {
                        break;
                    }
                }
            }
            let purchases = purchases(&d, &lanes, from).await;
            found.sort_unstable_by_key(|row| row.order);
            let wanted = |row: &&OrderRow| row.order.get() >= from && lanes.contains(&row.lane);
            assert_eq!(found, rows.iter().filter(wanted).cloned().collect::<Vec<_>>());
            let taken = rows.iter().filter(wanted).filter(|row| row.status != Status::Rejected).map(|row| row.order);
            assert_eq!(purchases, taken.collect::<Vec<_>>(), "what was rejected never took units");
        }
    }
}

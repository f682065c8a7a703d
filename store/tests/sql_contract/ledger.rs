//! Goal: position, sold units, allotments, epochs and movements move together, for one writer only
//! (R4, R10).

use domain::{
    decide::{AllotmentMove, LimitMove, Movement},
    id::{Epoch, Generation, OfferId, OrderId, RecordId, SaleId, TenantId},
};
use store::{
    ledger::{Committed, LaneRow, Ledger, LedgerCommit, OfferRow, PartitionRow},
    sql::{Sql, SqlError},
};

use super::support::{Adapter, PARTITION, deployment, lane, offer};

fn partition(generation: u16, offset: u64) -> PartitionRow {
    PartitionRow {
        partition: PARTITION,
        generation: Generation(generation),
        log_id: u64::MAX - u64::from(generation),
        offset,
        record: RecordId::new(100 + offset).ok(),
    }
}

/// Lane `n` with offers `10 n` and `10 n + 1`, of 100 units each.
fn lane_row(n: u64) -> LaneRow {
    let offer = |id| OfferRow::first(offer(id), 100, 1);
    LaneRow {
        lane: lane(n),
        tenant: TenantId::new(5).unwrap(),
        sale: SaleId::new(6).unwrap(),
        partition: PARTITION,
        epoch: Epoch(0),
        is_retired: false,
        limit_per_buyer: 2,
        limit_changed_at: 0,
        first_order: None,
        offers: vec![offer(10 * n), offer(10 * n + 1)],
    }
}

fn commit(expected: u64, next: u64, sold: &[(u64, i64)]) -> LedgerCommit {
    LedgerCommit {
        partition: PARTITION,
        generation: Generation(1),
        expected_offset: expected,
        next_offset: next,
        next_record: RecordId::new(100 + next).ok(),
        sold: sold.iter().map(|&(id, units)| (offer(id), units)).collect(),
        epochs: vec![],
        retired_lanes: vec![],
        first_orders: vec![],
        allotments: vec![],
        limits: vec![],
        retired: vec![],
        movements: vec![],
    }
}

async fn sold<S: Sql>(ledger: &Ledger<S>) -> Vec<(u64, u64)> {
    let lanes = ledger.lanes(PARTITION).await.unwrap();
    lanes.iter().flat_map(|lane| &lane.offers).map(|offer| (offer.offer.get(), offer.sold)).collect()
}

pub(crate) async fn lanes_are_added_once<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    assert!(d.ledger.add_lane(&lane_row(1), 1).await.unwrap());
    assert!(d.ledger.add_lane(&LaneRow { offers: vec![], ..lane_row(2) }, 1).await.unwrap());
    let changed = LaneRow { epoch: Epoch(9), limit_per_buyer: 50, offers: lane_row(3).offers, ..lane_row(1) };
    assert!(!d.ledger.add_lane(&changed, 1).await.unwrap(), "there already, nothing changes");
    let taken = LaneRow { offers: lane_row(1).offers, ..lane_row(4) };
    assert!(matches!(d.ledger.add_lane(&taken, 1).await, Err(SqlError::KeyTaken(_))), "an offer of another lane");
    let expected = [lane_row(1), LaneRow { offers: vec![], ..lane_row(2) }];
    assert_eq!(d.ledger.lanes(PARTITION).await.unwrap(), expected);
    assert_eq!(d.ledger.all_lanes().await.unwrap(), expected);
    assert_eq!(d.ledger.lane(lane(1)).await.unwrap(), Some(lane_row(1)));
    assert_eq!(d.ledger.lane(lane(4)).await.unwrap(), None);
}

pub(crate) async fn a_commit_moves_everything_or_nothing<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    assert_eq!(d.ledger.partition(PARTITION).await.unwrap(), None);
    assert!(d.ledger.begin_partition(&partition(1, 0)).await.unwrap());
    assert!(!d.ledger.begin_partition(&partition(2, 7)).await.unwrap());
    assert_eq!(d.ledger.partition(PARTITION).await.unwrap(), Some(partition(1, 0)));
    for n in 1..=2 {
        d.ledger.add_lane(&lane_row(n), 1).await.unwrap();
    }
    let movements: Vec<Movement> = (1..=700_u64)
        .map(|n| Movement {
            offset: n,
            lane: (n > 1).then(|| lane(1)),
            units: (0..n % 3).map(|o| (offer(10 + o), if n % 2 == 0 { -3 } else { 5 })).collect(),
            decisions: vec![1; (n % 257) as usize],
        })
        .collect();
    let good = LedgerCommit {
        epochs: vec![(lane(2), Epoch(3)), (lane(1), Epoch(4))],
        limits: vec![LimitMove { lane: lane(1), limit: 7, changed_at: 1 << 40 }],
        movements: movements.clone(),
        ..commit(0, 700, &[(21, 100), (10, 60), (11, 7), (10, -10), (20, 0)])
    };
    // Another generation, another offset: fenced.
    let older = LedgerCommit { generation: Generation(2), ..good.clone() };
    assert_eq!(d.ledger.commit(&older).await.unwrap(), Committed::Fenced);
    assert_eq!(d.ledger.commit(&LedgerCommit { expected_offset: 1, ..good.clone() }).await.unwrap(), Committed::Fenced);
    assert_eq!(d.space.count(&d.space.ledger(), "movements").await, 0);

    assert_eq!(d.ledger.commit(&good).await.unwrap(), Committed::Done);
    assert_eq!(d.ledger.commit(&good).await.unwrap(), Committed::Fenced, "repeated");
    assert_eq!(sold(&d.ledger).await, [(10, 50), (11, 7), (20, 0), (21, 100)]);
    let epochs: Vec<_> = d.ledger.all_lanes().await.unwrap().iter().map(|lane| lane.epoch).collect();
    assert_eq!(epochs, [Epoch(4), Epoch(3)]);
    let lanes = d.ledger.all_lanes().await.unwrap();
    let limits: Vec<_> = lanes.iter().map(|lane| (lane.limit_per_buyer, lane.limit_changed_at)).collect();
    assert_eq!(limits, [(7, 1 << 40), (2, 0)], "R16");
    let absent = LimitMove { lane: lane(9), limit: 1, changed_at: 2 << 40 };
    let lost = d.ledger.commit(&LedgerCommit { limits: vec![absent], ..commit(700, 701, &[]) }).await;
    assert!(matches!(lost, Err(SqlError::Broken(_))), "{lost:?}");
    assert_eq!(d.ledger.partition(PARTITION).await.unwrap(), Some(partition(1, 700)));
    assert_eq!(d.ledger.movements(PARTITION, Generation(1), 0, 700).await.unwrap(), movements);
    assert_eq!(d.ledger.movements(PARTITION, Generation(1), 6, 8).await.unwrap(), movements[5..8]);
    assert_eq!(d.ledger.movements(PARTITION, Generation(2), 0, 700).await.unwrap(), []);
}

/// What the ledger asserts of itself: a batch that breaks it is refused whole.
pub(crate) async fn sold_stays_between_none_and_the_allotment<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    d.ledger.begin_partition(&partition(1, 0)).await.unwrap();
    d.ledger.add_lane(&lane_row(1), 1).await.unwrap();
    let delta = |delta| {
        vec![AllotmentMove { lane: lane(5), offer: offer(10), delta, target: 7, sale_version: 2, changed_at: 9 }]
    };
    let bad = [
        commit(0, 1, &[(11, 5), (10, -1)]),
        commit(0, 1, &[(11, 5), (10, 101)]),
        commit(0, 1, &[(11, 5), (99, 1)]),
        LedgerCommit { allotments: delta(-101), ..commit(0, 1, &[(11, 5)]) },
        LedgerCommit { allotments: delta(-40), ..commit(0, 1, &[(11, 5), (10, 61)]) },
        LedgerCommit { epochs: vec![(lane(9), Epoch(1))], ..commit(0, 1, &[(11, 5)]) },
    ];
    for bad in bad {
        let refused = d.ledger.commit(&bad).await;
        assert!(matches!(refused, Err(SqlError::Broken(_))), "{refused:?}");
        assert_eq!(sold(&d.ledger).await, [(10, 0), (11, 0)]);
        assert_eq!(d.ledger.partition(PARTITION).await.unwrap(), Some(partition(1, 0)));
    }
    // Both change at once: only what they become is asked.
    let good = LedgerCommit { allotments: delta(50), ..commit(0, 1, &[(10, 150)]) };
    assert_eq!(d.ledger.commit(&good).await.unwrap(), Committed::Done);
    let back = LedgerCommit { epochs: vec![(lane(1), Epoch(5))], ..commit(1, 2, &[]) };
    assert_eq!(d.ledger.commit(&back).await.unwrap(), Committed::Done);
    let back = LedgerCommit { epochs: vec![(lane(1), Epoch(4))], ..commit(2, 3, &[]) };
    assert!(matches!(d.ledger.commit(&back).await, Err(SqlError::Broken(_))), "an epoch goes back");
    let expected =
        OfferRow { allotment: 150, target: 7, sold: 150, sale_version: 2, changed_at: 9, ..lane_row(1).offers[0] };
    assert_eq!(d.ledger.lane(lane(1)).await.unwrap().unwrap().offers[0], expected);
}

/// R9: units that a release returns and the allotment falls by move in one statement, and only what
/// both become is asked.
pub(crate) async fn an_allotment_falls_with_what_is_released<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    d.ledger.begin_partition(&partition(1, 0)).await.unwrap();
    d.ledger.add_lane(&lane_row(1), 1).await.unwrap();
    let retired = |units| vec![(offer(10), units)];
    assert_eq!(d.ledger.commit(&commit(0, 1, &[(10, 100), (11, 50)])).await.unwrap(), Committed::Done);
    for bad in [
        LedgerCommit { retired: retired(1), ..commit(1, 2, &[(11, 1)]) },
        LedgerCommit { retired: retired(4), ..commit(1, 2, &[(10, -3)]) },
        LedgerCommit { retired: vec![(offer(99), 1)], ..commit(1, 2, &[(10, -3)]) },
    ] {
        assert!(matches!(d.ledger.commit(&bad).await, Err(SqlError::Broken(_))), "{bad:?}");
    }
    let good = LedgerCommit { retired: retired(3), ..commit(1, 2, &[(10, -5), (11, -1)]) };
    assert_eq!(d.ledger.commit(&good).await.unwrap(), Committed::Done);
    let fresh = lane_row(1).offers;
    let expected = [OfferRow { allotment: 97, sold: 95, ..fresh[0] }, OfferRow { sold: 49, ..fresh[1] }];
    assert_eq!(d.ledger.lane(lane(1)).await.unwrap().unwrap().offers, expected, "the target and its change stay");
    let unsold = LedgerCommit { retired: retired(2), ..commit(2, 3, &[]) };
    assert_eq!(d.ledger.commit(&unsold).await.unwrap(), Committed::Done);
    assert_eq!(d.ledger.lane(lane(1)).await.unwrap().unwrap().offers[0].allotment, 95);
}

/// A program that knows no targets writes none: then the allotment is what the sale wants, until a
/// change says otherwise.
pub(crate) async fn a_row_without_a_target_wants_its_allotment<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    d.ledger.begin_partition(&partition(1, 0)).await.unwrap();
    let empty = LaneRow { offers: vec![], ..lane_row(1) };
    d.ledger.add_lane(&empty, 1).await.unwrap();
    let hand = d.space.hand(&d.space.ledger());
    let older =
        "INSERT INTO offers (offer, lane, allotment, sold, sale_version, changed_at) VALUES (10, 1, 70, 0, 1, 0)";
    hand.exec(older, vec![]).await.unwrap();
    hand.close().await;
    let offers = async || d.ledger.lane(lane(1)).await.unwrap().unwrap().offers;
    let expected = OfferRow { allotment: 70, target: 70, ..lane_row(1).offers[0] };
    assert_eq!(offers().await, [expected]);
    let retired = LedgerCommit { retired: vec![(offer(10), 1)], ..commit(0, 1, &[]) };
    assert_eq!(d.ledger.commit(&retired).await.unwrap(), Committed::Done);
    assert_eq!(offers().await, [OfferRow { allotment: 69, target: 69, ..expected }]);
}

/// R5: the lower bound of a lane's orders only falls, by commits and by a new generation; fenced,
/// nothing moves.
pub(crate) async fn r5_the_first_order_of_a_lane_only_falls<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    d.ledger.begin_partition(&partition(1, 0)).await.unwrap();
    for n in 1..=2 {
        d.ledger.add_lane(&lane_row(n), 1).await.unwrap();
    }
    let order = |n| OrderId::new(n).unwrap();
    let known = async || {
        let lanes = d.ledger.lanes(PARTITION).await.unwrap();
        lanes.iter().map(|lane| lane.first_order.map_or(0, OrderId::get)).collect::<Vec<_>>()
    };
    assert_eq!(known().await, [0, 0]);
    let with = |at, first_orders: &[(u64, u64)]| LedgerCommit {
        first_orders: first_orders.iter().map(|&(n, first)| (lane(n), order(first))).collect(),
        ..commit(at, at + 1, &[])
    };
    assert_eq!(d.ledger.commit(&with(0, &[(2, 70), (2, 60)])).await.unwrap(), Committed::Done);
    assert_eq!(known().await, [0, 60]);
    assert_eq!(d.ledger.commit(&with(0, &[(2, 10)])).await.unwrap(), Committed::Fenced);
    assert_eq!(d.ledger.commit(&with(1, &[(1, 90), (2, 65)])).await.unwrap(), Committed::Done);
    assert_eq!(known().await, [90, 60]);
    let derived = [(lane(1), order(80)), (lane(2), order(61))];
    let again = d.ledger.restart(&partition(1, 2), &partition(2, 2), &[], &derived).await.unwrap();
    assert_eq!((again, known().await), (Committed::Done, vec![80, 60]));
}

/// Method: two writers commit the same next step at the same time, many times over.
pub(crate) async fn of_two_committers_exactly_one_wins<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    d.ledger.begin_partition(&partition(1, 0)).await.unwrap();
    d.ledger.add_lane(&lane_row(1), 1).await.unwrap();
    for step in 0..30 {
        let committer = || {
            let (ledger, commit) = (d.ledger.clone(), commit(step, step + 1, &[(10, 1), (11, 2)]));
            tokio::spawn(async move { ledger.commit(&commit).await.unwrap() })
        };
        let (a, b) = tokio::join!(committer(), committer());
        assert_ne!(a.unwrap(), b.unwrap());
    }
    assert_eq!(sold(&d.ledger).await, [(10, 30), (11, 60)]);
}

/// R10: a new generation begins from the old row as it is, with the sold units that were derived.
pub(crate) async fn a_generation_begins_once<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    d.ledger.begin_partition(&partition(1, 8)).await.unwrap();
    d.ledger.add_lane(&lane_row(1), 1).await.unwrap();
    let derived = [(offer(11), 40), (offer(10), 30)];
    let stale = PartitionRow { log_id: 1, ..partition(1, 8) };
    assert_eq!(d.ledger.restart(&stale, &partition(2, 5), &derived, &[]).await.unwrap(), Committed::Fenced);
    assert_eq!(d.ledger.restart(&partition(1, 8), &partition(2, 5), &derived, &[]).await.unwrap(), Committed::Done);
    assert_eq!(d.ledger.restart(&partition(1, 8), &partition(2, 5), &derived, &[]).await.unwrap(), Committed::Fenced);
    assert_eq!(d.ledger.partition(PARTITION).await.unwrap(), Some(partition(2, 5)));
    assert_eq!(sold(&d.ledger).await, [(10, 30), (11, 40)]);
    let missing = d.ledger.restart(&partition(2, 5), &partition(3, 5), &[(offer(99), 1)], &[]).await;
    assert!(matches!(missing, Err(SqlError::Broken(_))));
    assert_eq!(d.ledger.partition(PARTITION).await.unwrap(), Some(partition(2, 5)));
}

/// R14: the flag moves with the epoch, and a later epoch takes it back, also when an older program
/// moves it.
pub(crate) async fn a_lane_is_retired_by_its_epoch_until_the_next<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    d.ledger.begin_partition(&partition(1, 0)).await.unwrap();
    for n in 1..=3 {
        d.ledger.add_lane(&lane_row(n), 1).await.unwrap();
    }
    let all = [lane(1), lane(2), lane(3)];
    let epochs = |offset, epochs: &[(u64, u64)], retired: &[(u64, u64)]| {
        let of = |moved: &[(u64, u64)]| moved.iter().map(|&(n, epoch)| (lane(n), Epoch(epoch))).collect::<Vec<_>>();
        LedgerCommit { epochs: of(epochs), retired_lanes: of(retired), ..commit(offset, offset + 1, &[]) }
    };
    let opened = epochs(0, &[(1, 1), (2, 1), (3, 1)], &[]);
    assert_eq!(d.ledger.commit(&opened).await.unwrap(), Committed::Done);
    assert_eq!(d.ledger.living_lanes(&[lane(9), lane(1), lane(2), lane(3)]).await.unwrap(), all, "lane 9 is not here");
    let retired = epochs(1, &[(3, 2)], &[(1, 2), (2, 4)]);
    assert_eq!(d.ledger.commit(&retired).await.unwrap(), Committed::Done);
    assert_eq!(d.ledger.commit(&retired).await.unwrap(), Committed::Fenced, "repeated");
    assert_eq!(d.ledger.living_lanes(&all).await.unwrap(), all[2..]);
    let seen: Vec<_> = d.ledger.lanes(PARTITION).await.unwrap().iter().map(|l| (l.epoch, l.is_retired)).collect();
    assert_eq!(seen, [(Epoch(2), true), (Epoch(4), true), (Epoch(2), false)]);
    let back = d.ledger.commit(&epochs(2, &[], &[(2, 3)])).await;
    assert!(matches!(back, Err(SqlError::Broken(_))), "an epoch goes back");
    assert_eq!(d.ledger.commit(&epochs(2, &[(1, 3)], &[])).await.unwrap(), Committed::Done);
    assert_eq!(d.ledger.living_lanes(&all).await.unwrap(), [lane(1), lane(3)], "lane 1 is reopened");
    assert!(!d.ledger.lane(lane(1)).await.unwrap().unwrap().is_retired);
}

/// Offers are found by number, among those of one tenant.
pub(crate) async fn offers_of_a_tenant_are_found_in_one_go<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let rows = [lane_row(1), lane_row(2)];
    for row in &rows {
        assert!(d.ledger.add_lane(row, 1).await.unwrap());
    }
    let expected: Vec<OfferRow> = rows.iter().flat_map(|row| row.offers.clone()).collect();
    let mut asked: Vec<OfferId> = expected.iter().map(|row| row.offer).collect();
    asked.extend([asked[0], OfferId::new(OfferId::MAX).unwrap()]);
    let mut found = d.ledger.offers(rows[0].tenant, &asked).await.unwrap();
    found.sort_by_key(|row| row.offer);
    assert_eq!(found, expected, "once each, and none that is not there");
    assert_eq!(d.ledger.offers(rows[0].tenant, &[]).await.unwrap(), []);
    let other = TenantId::new(rows[0].tenant.get() + 1).unwrap();
    assert_eq!(d.ledger.offers(other, &asked).await.unwrap(), []);
}

/// That a lane is to be rebuilt outlives the writer that found out, and is of the lane's own
/// partition.
pub(crate) async fn a_distrusted_lane_is_remembered_until_it_is_trusted<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    for n in 1..=3 {
        assert!(d.ledger.add_lane(&lane_row(n), 1).await.unwrap());
    }
    for n in [3, 1, 3] {
        d.ledger.distrust(lane(n)).await.unwrap();
    }
    assert_eq!(d.ledger.distrusted(PARTITION).await.unwrap(), [lane(1), lane(3)]);
    let other = domain::id::PartitionId(PARTITION.0 + 1);
    assert_eq!(d.ledger.distrusted(other).await.unwrap(), []);
    for _ in 0..2 {
        d.ledger.trust(lane(3)).await.unwrap();
    }
    assert_eq!(d.ledger.distrusted(PARTITION).await.unwrap(), [lane(1)]);
}

//! Units that orders give back after their sale was settled. Goal: each returns to the warehouse
//! once, whoever dies between the decision and the movement, and none returns twice. Method: a
//! ledger whose records are decided by the test; what counts it, and the round that moves stock,
//! are ended and started again as processes would be.

use std::{sync::Arc, time::Duration};

use catalog::{funnel::count, sales::keep};
use domain::{
    decide::Movement,
    id::{Generation, LaneId, OfferId, PartitionId, RecordId},
};
use store::{
    ledger::{Committed, Ledger, LedgerCommit, PartitionRow},
    sql::Sql as _,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    funnel::Told,
    rig::{BEGIN_MS, Rig},
    sales::{made, published, state, step, stocked},
    stock::Shop,
};
use crate::place::Db;

const PATIENCE: Duration = Duration::from_secs(60);
/// Past the end of the sale.
const OVER_MS: u64 = BEGIN_MS + 21 * 3_600_000;

/// A published sale of 60 kettles, and its ledger.
struct Late<'a> {
    rig: &'a Rig,
    shop: Shop<'a>,
    ledger: Ledger<Db>,
    sale: String,
    kettles: OfferId,
    lane: (LaneId, PartitionId),
    offset: u64,
}

impl<'a> Late<'a> {
    async fn open(rig: &'a Rig) -> Self {
        let shop = stocked(rig).await;
        let sale = made(&shop, "winter", 60).await;
        step(&shop, &sale, "publish").await.expect(200);
        let record = published(rig, &sale).await.unwrap();
        let lane = &record.lanes[0];
        let (partition, kettles) = (lane.partition, lane.offers[0].id);
        let ledger = rig.place().ledger().await;
        let row = PartitionRow { partition, generation: Generation(1), log_id: 1, offset: 0, record: None };
        assert!(ledger.begin_partition(&row).await.unwrap());
        rig.add_lanes(&record).await;
        Self { rig, shop, ledger, sale, kettles, lane: (lane.id, partition), offset: 0 }
    }

    /// The ledger decides a record: so many kettles are sold, or given back.
    async fn decide(&mut self, change: i64) {
        let units = vec![(self.kettles, change)];
        let movement =
            Movement { offset: self.offset, lane: Some(self.lane.0), units: units.clone(), decisions: vec![1] };
        let commit = LedgerCommit {
            limits: vec![],
            partition: self.lane.1,
            generation: Generation(1),
            expected_offset: self.offset,
            next_offset: self.offset + 1,
            next_record: RecordId::new(self.offset + 1).ok(),
            sold: units,
            epochs: vec![],
            retired_lanes: vec![],
            first_orders: vec![],
            allotments: vec![],
            retired: vec![],
            movements: vec![movement],
        };
        assert_eq!(self.ledger.commit(&commit).await.unwrap(), Committed::Done);
        self.offset += 1;
    }

    /// The sale is over, its lane is retired, and a round has settled it.
    async fn settle(&self) {
        self.rig.clock.set_wall(OVER_MS);
        let retire = "UPDATE lanes SET retired_epoch = epoch WHERE lane = ?";
        let db = self.rig.place().ledger_db().await;
        assert_eq!(db.exec(retire, vec![self.lane.0.stored().into()]).await.unwrap(), 1);
        keep(&self.rig.catalog).await.unwrap();
        assert_eq!(state(&self.shop, &self.sale).await, "settled");
    }

    /// A process that counts what the ledger decides.
    fn count(&self) -> JoinHandle<()> {
        let tokens = (CancellationToken::new(), CancellationToken::new());
        tokio::spawn(count(Arc::clone(&self.rig.catalog), Told::default().reader(), tokens))
    }

    /// Waits until so many records are counted.
    async fn counted(&self, offset: u64) {
        let db = self.rig.place().open().await;
        let query = "SELECT log_offset FROM funnel_movements WHERE partition_id = ?";
        let counting = async {
            loop {
                let at = db.rows(query, vec![self.lane.1.0.into()]).await.unwrap().pop();
                if at.is_some_and(|mut at| at.number::<u64>().unwrap() >= offset) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, counting).await.unwrap();
    }

    /// Two rounds; the second finds nothing to do.
    async fn kettles(&self) -> [i64; 4] {
        keep(&self.rig.catalog).await.unwrap();
        let figures = self.shop.figures(1).await;
        keep(&self.rig.catalog).await.unwrap();
        assert_eq!(self.shop.figures(1).await, figures);
        figures
    }

    async fn kinds(&self) -> Vec<String> {
        let moves = self.shop.all("/v1/stock/movements?sku=KETTLE").await;
        moves.iter().map(|step| step["kind"].as_str().unwrap().to_owned()).collect()
    }
}

/// Each death is between two of: the release is decided, the sale is marked, the stock is moved.
#[tokio::test(flavor = "multi_thread")]
async fn units_given_back_after_the_settlement_return_once_whoever_dies() {
    let rig = Rig::with_tenants(&[7]).await;
    let mut late = Late::open(&rig).await;
    late.decide(50).await;
    late.settle().await;
    let counting = late.count();
    late.counted(1).await;
    assert_eq!(late.kettles().await, [100, 0, 50, 50]);
    late.decide(-3).await;
    late.counted(2).await;
    // Dead after the mark; another moves the stock.
    counting.abort();
    assert_eq!(late.kettles().await, [100, 0, 47, 53]);
    // Dead before the mark: nobody counts.
    late.decide(-2).await;
    late.decide(-1).await;
    assert_eq!(late.kettles().await, [100, 0, 47, 53]);
    let counting = late.count();
    late.counted(4).await;
    assert_eq!(late.kettles().await, [100, 0, 44, 56]);
    counting.abort();
    assert_eq!(late.kinds().await, ["release", "release", "accept", "give_back", "allocate", "receive"]);
}

/// A release that is decided before the settlement is no part of what was accepted, also when it is
/// counted after it.
#[tokio::test(flavor = "multi_thread")]
async fn units_given_back_before_the_settlement_do_not_return_twice() {
    let rig = Rig::with_tenants(&[7]).await;
    let mut late = Late::open(&rig).await;
    late.decide(50).await;
    late.decide(-3).await;
    late.settle().await;
    assert_eq!(late.kettles().await, [100, 0, 47, 53]);
    let counting = late.count();
    late.counted(2).await;
    assert_eq!(late.kettles().await, [100, 0, 47, 53]);
    counting.abort();
    assert_eq!(late.kinds().await, ["accept", "give_back", "allocate", "receive"]);
}

/// What the merchant has sent by a movement is not in the warehouse: it comes back by a return.
#[tokio::test(flavor = "multi_thread")]
async fn units_that_were_shipped_do_not_return_by_themselves() {
    let rig = Rig::with_tenants(&[7]).await;
    let mut late = Late::open(&rig).await;
    late.decide(50).await;
    late.settle().await;
    let ship = serde_json::json!({ "kind": "ship", "sku": "KETTLE", "units": 49 });
    late.shop.moves(&[ship]).await.expect(200);
    late.decide(-3).await;
    let counting = late.count();
    late.counted(2).await;
    assert_eq!(late.kettles().await, [51, 0, 0, 51]);
    late.decide(-1).await;
    late.counted(3).await;
    assert_eq!(late.kettles().await, [51, 0, 0, 51], "the rest of the sale is not held up");
    counting.abort();
}

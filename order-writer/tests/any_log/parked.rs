//! Records that were set aside, and operators who look at them, set one aside, or append one again.

use bytes::Bytes;
use domain::{
    id::{OrderId, PartitionId, RecordId},
    order::Status,
};
use order_writer::parked::{ParkedCommand, ParkedError, Stores};
use store::{
    log::{Envelope, sqlite::SqliteSource},
    stock::LaneKeeping,
};

use super::rig::{LANES, PARTITION, Rig, id, until};

const LIST: ParkedCommand = ParkedCommand::List { from: 0, limit: 50, json: false };
const SHARDS: [&str; 2] = ["shop_orders_00.db", "shop_orders_01.db"];

async fn ask(rig: &Rig, command: ParkedCommand) -> Result<String, ParkedError> {
    let source = SqliteSource::new(&rig.log);
    let stores = Stores {
        ledger: &rig.store.ledger,
        dead: &rig.log,
        source: &source,
        log: &rig.log,
        stock: &rig.keeping,
        partitions: 1,
    };
    stores.carry_out(command).await
}

async fn refused(rig: &Rig, command: ParkedCommand) -> String {
    match ask(rig, command).await {
        Err(ParkedError::Refused(why)) => why,
        other => panic!("{command:?}: {other:?}"),
    }
}

async fn is_paid_for(rig: &Rig, order: OrderId) -> bool {
    rig.row(order).await.is_some_and(|row| row.status == Status::PendingPayment)
}

/// Fault 29: a record of unknown type stops its partition until an operator sets it aside: seen in
/// the list, without a restart, and for ever. Nothing else can be set aside.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_unknown_type_is_set_aside_by_an_operator() {
    let mut rig = Rig::open().await;
    let before = rig.buy(LANES[0], 1, false).await;
    until("it is decided", || async { is_paid_for(&rig, before[0].order).await }).await;
    let unknown = Envelope { id: id::<RecordId>(8), kind: "flashsale.tomorrow.v9", payload: Bytes::from_static(&[1]) };
    let at = rig.high().await;
    rig.append(unknown).await;
    let behind = rig.buy(LANES[0], 2, false).await;
    until("the partition waits", || async { rig.halts().contains("newer_record") }).await;
    let told = ask(&rig, LIST).await.unwrap();
    let waits = format!("partition 0 waits at offset {at}: type flashsale.tomorrow.v9, record 8, 1 bytes");
    assert!(told.starts_with(&waits) && told.lines().count() == 1, "{told}");

    let skip = |partition, offset| ParkedCommand::Skip { partition: PartitionId(partition), offset, json: false };
    assert!(refused(&rig, skip(0, at - 1)).await.contains("is decided"), "a record that stands before it");
    assert!(refused(&rig, skip(0, at + 1)).await.contains("known type"), "a sound record behind it");
    assert!(refused(&rig, skip(0, at + 9)).await.contains("has no record"));
    assert!(refused(&rig, skip(7, at)).await.contains("no partition 7"));
    assert!(refused(&rig, ParkedCommand::Replay { number: 1, json: false }).await.contains("no parked record"));
    assert_eq!(rig.row(behind[0].order).await, None);

    assert!(ask(&rig, skip(0, at)).await.unwrap().contains("is set aside"));
    assert!(ask(&rig, skip(0, at)).await.unwrap().contains("was set aside before"));
    until("what stands behind it is decided", || async { is_paid_for(&rig, behind[0].order).await }).await;
    until("it is in the dead letters", || async { rig.parked().len() == 1 }).await;
    let told = ask(&rig, LIST).await.unwrap();
    assert!(told.contains("set aside by an operator") && !told.contains("waits"), "{told}");
    let told = ask(&rig, ParkedCommand::List { from: 0, limit: 1, json: true }).await.unwrap();
    assert!(told.contains(r#""type":"flashsale.tomorrow.v9""#) && told.contains(r#""waiting":[]"#), "{told}");
    assert!(refused(&rig, ParkedCommand::Replay { number: 1, json: false }).await.contains("park it again"));

    // Its rows are lost: they are written again past the record that was set aside.
    rig.stop().await;
    for shard in SHARDS {
        rig.sql(shard, "DELETE FROM orders_0");
        rig.sql(shard, "UPDATE progress SET log_offset = 0, record_id = 0");
    }
    rig.restart().await;
    rig.until_rest().await;
    assert!(is_paid_for(&rig, before[0].order).await && is_paid_for(&rig, behind[0].order).await);
    assert_eq!((rig.parked().len(), rig.halts().as_str()), (1, ""));
    super::audit::all(&rig, 0).await;
    rig.close().await;
}

/// Fault 29: a parked batch is appended again when the store can take it. Its units were on sale
/// again, so its lane is rebuilt; what has a row stays as it is, however often it is appended.
#[tokio::test(flavor = "multi_thread")]
async fn a_parked_batch_is_appended_again_and_counts_once() {
    let mut rig = Rig::open().await;
    for shard in SHARDS {
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON orders_0 WHEN NEW.sku = 666 BEGIN SELECT RAISE(ABORT, 'no 666'); END";
        rig.sql(shard, refuse);
    }
    let (sound, mut unfit) = (rig.reservation(LANES[0], id(1)), rig.reservation(LANES[0], id(2)));
    unfit.sku = id(666);
    let wishes = [&sound, &unfit].map(|reservation| {
        let mut field = Vec::new();
        reservation.append_field(&mut field);
        (reservation.clone(), Bytes::from(field))
    });
    let (_, envelope) = rig.promise(LANES[0], wishes.to_vec()).await.unwrap();
    rig.append(envelope).await;
    rig.until_rest().await;
    assert_eq!(rig.row(unfit.order).await, None);
    for shard in SHARDS {
        rig.sql(shard, "DROP TRIGGER refuse");
    }
    for _ in 0..2 {
        let told = ask(&rig, ParkedCommand::Replay { number: 1, json: false }).await.unwrap();
        assert!(told.contains("appended again at offset") && told.contains("lane 5001 was closed"), "{told}");
        until("it is decided", || async { rig.row(unfit.order).await.is_some() }).await;
        rig.until_rest().await;
    }
    let entries = rig.keeping.buyers(id(LANES[0])).await.unwrap();
    let sold = rig.store.ledger.lane(id(LANES[0])).await.unwrap().unwrap().offers[0].sold;
    assert_eq!(entries.len() as u64, sold, "the sound one once, and the other one unless its lane was rebuilt first");
    assert!(is_paid_for(&rig, sound.order).await);
    super::audit::all(&rig, 0).await;
    assert_eq!(rig.store.ledger.partition(PARTITION).await.unwrap().unwrap().offset, rig.high().await);
    rig.close().await;
}

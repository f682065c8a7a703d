//! A toy consumer of `order-events`: it keeps each event that it has not seen in a database of its
//! own, is killed now and then, and must end with what the order rows say.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    event::{EventKind, OrderEvent, decode_events},
    id::{LaneId, PartitionId},
    order::{OrderRow, Status},
    record::{RecordError, Topic},
};
use kit::clock::{Clock, SystemClock};
use store::{
    consumer::{Aside, Consumer, Handler},
    log::{OrderLogSource, PartitionReader},
    shards::{CONSUMERS_TABLE, PARKED_TABLE, Store, open_own},
    sql::{
        Sql, SqlError, Tx, Value,
        sqlite::{Settings, Sqlite, SqliteServer},
    },
};

const NAME: &str = "toy";
const RECEIVED: &str = "CREATE TABLE received (order_id BIGINT NOT NULL, sequence BIGINT NOT NULL, kind BIGINT NOT NULL, \
                    highest_before BIGINT NOT NULL, PRIMARY KEY (order_id, sequence))";
const HIGHEST: &str = "SELECT COALESCE(MAX(sequence), 0) FROM received WHERE order_id = ?";
const KEEP: &str = "INSERT INTO received (order_id, sequence, kind, highest_before) VALUES (?, ?, ?, ?)";
/// Long enough for a slow machine; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const WAIT: Duration = Duration::from_millis(200);
/// A step in so many is killed.
const KILLED_EACH: u32 = 4;

/// Keeps an event by its name, once.
struct Keeping {
    again: u64,
}

impl<S: Sql> Handler<S> for Keeping {
    type Read = Vec<OrderEvent>;

    fn read(kind: &str, payload: Bytes) -> Result<Vec<OrderEvent>, RecordError> {
        decode_events(kind, payload)
    }

    async fn handle(
        &mut self,
        tx: &mut S::Tx,
        _: PartitionId,
        records: Vec<(u64, Vec<OrderEvent>)>,
        _: &mut Vec<Aside>,
    ) -> Result<(), SqlError> {
        for event in records.into_iter().flat_map(|(_, events)| events) {
            let order = event.order.stored();
            let rows = tx.rows(HIGHEST, vec![order.into()]).await?;
            let highest = rows.into_iter().next().unwrap().int()?;
            let values = [order, event.sequence.into(), event.kind.number().into(), highest];
            if !tx.insert_absent(KEEP, values.map(Value::from).to_vec()).await? {
                self.again += 1;
            }
        }
        Ok(())
    }
}

async fn database(folder: &Path) -> Sqlite {
    let now_ms = Arc::new(|| SystemClock::new().now_ms());
    let server = SqliteServer::new(folder.to_owned(), now_ms, Settings::default()).unwrap();
    let schema = [("001-consumers", CONSUMERS_TABLE), ("002-parked", PARKED_TABLE), ("003-received", RECEIVED)];
    open_own(&server, NAME, &schema).await.unwrap()
}

/// Consumes a partition to its end as it stands now; every few steps the consumer is killed in the
/// middle, and another one goes on.
async fn consume<O: OrderLogSource>(database: &Sqlite, source: &O, partition: PartitionId, handler: &mut Keeping) {
    let consumer =
        || Consumer::new(database.clone(), NAME, Topic::OrderEvents, partition, source.reader(partition).unwrap());
    let high = source.reader(partition).unwrap().watermarks().await.unwrap().high;
    let position = "SELECT log_offset FROM consumer_positions WHERE partition_id = ?";
    let (mut at_work, mut steps) = (consumer(), 0_u32);
    loop {
        let rows = database.rows(position, vec![partition.0.into()]).await.unwrap();
        let next: Option<u64> = rows.into_iter().next().map(|mut row| row.number().unwrap());
        if next.is_some_and(|next| next >= high) {
            return;
        }
        steps += 1;
        if steps.is_multiple_of(KILLED_EACH) {
            let killed = tokio::time::timeout(Duration::from_micros(300), at_work.step(handler, WAIT));
            drop(killed.await);
            at_work = consumer();
        } else {
            at_work.step(handler, WAIT).await.unwrap();
        }
    }
}

fn expected(row: &OrderRow) -> Vec<i64> {
    let kinds: &[EventKind] = match (row.status, row.released) {
        (Status::Rejected, _) => &[EventKind::Rejected],
        (Status::Cancelled, Some(_)) => &[EventKind::Created, EventKind::Cancelled, EventKind::Released],
        (Status::Expired, Some(_)) => &[EventKind::Created, EventKind::Expired, EventKind::Released],
        _ => &[EventKind::Created],
    };
    kinds.iter().map(|kind| kind.number().into()).collect()
}

/// How many orders are accepted and unpaid, rejected, cancelled, and expired, as the rows have it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) unpaid: u64,
    pub(crate) rejected: u64,
    pub(crate) cancelled: u64,
    pub(crate) expired: u64,
    /// Events that came again.
    pub(crate) again: u64,
}

/// Consumes the topic and compares what it received with every row. Nothing may be under way.
pub(crate) async fn receives_every_order<S: Sql, O: OrderLogSource>(
    databases: &Store<S>,
    source: &O,
    partitions: u32,
) -> Counts {
    let folder = tempfile::tempdir().unwrap();
    let database = database(folder.path()).await;
    let mut handler = Keeping { again: 0 };
    for partition in (0..partitions).map(PartitionId) {
        let consumed = consume(&database, source, partition, &mut handler);
        assert!(tokio::time::timeout(PATIENCE, consumed).await.is_ok(), "partition {partition} is consumed in time");
    }
    let lanes = databases.ledger.all_lanes().await.unwrap();
    let lanes: Vec<LaneId> = lanes.iter().map(|lane| lane.lane).collect();
    let mut counts = Counts::default();
    for home in databases.orders.map().all() {
        for row in databases.orders.scan(home, &lanes, 0, None, 1_000_000).await.unwrap() {
            let events = "SELECT sequence, kind, highest_before FROM received WHERE order_id = ? ORDER BY sequence";
            let received = database.rows(events, vec![row.order.stored().into()]).await.unwrap();
            let (mut kinds, mut before) = (Vec::new(), 0);
            for mut event in received {
                let (sequence, kind, highest_before) =
                    (event.int().unwrap(), event.int().unwrap(), event.int().unwrap());
                assert_eq!(highest_before, before, "each event first came after those before it: {row:?}");
                before = sequence;
                kinds.push(kind);
            }
            assert_eq!(kinds, expected(&row), "{row:?}");
            let counted = match row.status {
                Status::Rejected => &mut counts.rejected,
                Status::Cancelled => &mut counts.cancelled,
                Status::Expired => &mut counts.expired,
                _ => &mut counts.unpaid,
            };
            *counted += 1;
        }
    }
    counts.again = handler.again;
    database.close().await;
    counts
}

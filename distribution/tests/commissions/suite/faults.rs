//! Goal: whatever statement of a span the process dies at, nothing of the span is there, and the
//! next process does all of it. Method: the consumer on a database whose transaction fails at its
//! n-th statement, for every n; at last the one whose commit's answer is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use distribution::intake::CONSUMER;
use domain::{event::EventKind, record::ORDER_EVENTS_TYPE, record::Topic};
use kit::clock::Clock as _;
use store::{
    consumer::{Consumer, Handler},
    figures::DatabaseFigures,
    sql::{Insert, Lock, Migration, Newer, Row, Sql, SqlError, Tx, Value},
};

use super::{
    aggregates::{of_a_month, tiers},
    rig::{PARTITION, Rig, bought, bytes_of, later},
};
use crate::place::Db;

/// Statements until the process dies.
#[derive(Clone)]
pub(crate) struct Dying {
    db: Db,
    left: Arc<AtomicU64>,
    /// The commit is done, and nobody hears of it.
    loses_commit: bool,
    /// Queries outside of transactions.
    looks: Arc<AtomicU64>,
}

impl Dying {
    /// The rig's database, in which so many statements of transactions are done.
    pub(crate) fn after(rig: &Rig, statements: u64) -> Self {
        let (left, looks) = (Arc::new(AtomicU64::new(statements)), Arc::default());
        Self { db: rig.sql.clone(), left, loses_commit: false, looks }
    }

    /// Queries outside of transactions so far, answered ones.
    pub(crate) fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }
}

pub(crate) struct DyingTx {
    tx: <Db as Sql>::Tx,
    left: Arc<AtomicU64>,
    loses_commit: bool,
}

fn died() -> SqlError {
    SqlError::Unreachable("the process died here".into())
}

impl DyingTx {
    fn count(&self) -> Result<(), SqlError> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| died())
    }
}

impl Sql for Dying {
    type Tx = DyingTx;
    const NOW_MS: &'static str = Db::NOW_MS;
    const NEWER: Newer = Db::NEWER;

    async fn rows(&self, query: &str, params: Vec<Value>) -> Result<Vec<Row>, SqlError> {
        let rows = self.db.rows(query, params).await;
        self.looks.fetch_add(1, Ordering::Relaxed);
        rows
    }

    async fn exec(&self, change: &str, params: Vec<Value>) -> Result<u64, SqlError> {
        self.db.exec(change, params).await
    }

    async fn insert_absent(&self, insert: &str, params: Vec<Value>) -> Result<bool, SqlError> {
        self.db.insert_absent(insert, params).await
    }

    async fn begin(&self) -> Result<DyingTx, SqlError> {
        let (tx, left) = (self.db.begin().await?, Arc::clone(&self.left));
        Ok(DyingTx { tx, left, loses_commit: self.loses_commit })
    }

    async fn migrate(&self, migrations: &[Migration]) -> Result<usize, SqlError> {
        self.db.migrate(migrations).await
    }

    fn figures(&self) -> DatabaseFigures {
        self.db.figures()
    }

    async fn close(&self) {
        self.db.close().await;
    }
}

impl Tx for DyingTx {
    async fn rows(&mut self, query: &str, params: Vec<Value>) -> Result<Vec<Row>, SqlError> {
        self.count()?;
        self.tx.rows(query, params).await
    }

    async fn exec(&mut self, change: &str, params: Vec<Value>) -> Result<u64, SqlError> {
        self.count()?;
        self.tx.exec(change, params).await
    }

    async fn insert(&mut self, insert: &Insert, values: Vec<Value>) -> Result<(), SqlError> {
        self.count()?;
        self.tx.insert(insert, values).await
    }

    async fn insert_absent(&mut self, insert: &str, params: Vec<Value>) -> Result<bool, SqlError> {
        self.count()?;
        self.tx.insert_absent(insert, params).await
    }

    async fn upsert(&mut self, table: &str, key: &[&str], set: &[&str], values: Vec<Value>) -> Result<(), SqlError> {
        self.count()?;
        self.tx.upsert(table, key, set, values).await
    }

    async fn lock_rows(&mut self, query: &str, params: Vec<Value>, lock: Lock) -> Result<Vec<Row>, SqlError> {
        self.count()?;
        self.tx.lock_rows(query, params, lock).await
    }

    async fn commit(self) -> Result<(), SqlError> {
        self.count()?;
        self.tx.commit().await?;
        if self.loses_commit { Err(died()) } else { Ok(()) }
    }

    async fn rollback(self) {
        self.tx.rollback().await;
    }
}

const TABLES: [&str; 9] = [
    "order_lines",
    "evaluations",
    "entries",
    "sub_accounts",
    "receipts",
    "waiting_events",
    "aggregates",
    "team_parts",
    "limit_uses",
];

/// 1 and 2 % by the team, and 10 % up to 15.00.
const TEAMS_AND_LIMIT: &str = r#"plan "two" v2 profile INTL budget 12% {
  base net_paid where not tag(flash_sale)
  rule team: on matured walk(referral, slots 1, rate tier(sum(sales, subtree 0, month), [0.00 → 1%, 150.00 → 2%], slab))
  rule capped: on matured walk(referral, slots 1, rate 10%) limit 15.00 per user month breakage
  settle cash after receipt+22d, channel transfer, clawback full
}"#;

/// One step of the consumer on such a database; whether it heard that it is done.
async fn step(rig: &Rig, statements: u64, loses_commit: bool) -> bool {
    let db = Dying { loses_commit, ..Dying::after(rig, statements) };
    let mut consumer = Consumer::new(db, CONSUMER, Topic::OrderEvents, PARTITION, rig.log.reader());
    let mut intake = rig.intake();
    fn of_dying(handler: &mut impl Handler<Dying>) -> &mut impl Handler<Dying> {
        handler
    }
    consumer.step(of_dying(&mut intake), Duration::ZERO).await.is_ok()
}

async fn rows(rig: &Rig) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in TABLES {
        counts.push(rig.count(table).await);
    }
    counts
}

#[tokio::test]
async fn a_process_that_dies_at_any_statement_changes_nothing_and_the_next_does_all() {
    dies_at_each_statement(Rig::start().await, 666 + 999).await;
}

/// The same where the lines add to the sales of a month.
#[tokio::test]
async fn a_process_that_dies_at_any_statement_adds_to_no_sales_and_the_next_adds_once() {
    let paid = of_a_month(6_666) + of_a_month(19_998) - of_a_month(9_999);
    let rig = dies_at_each_statement(tiers().await, paid).await;
    let sales = rig.sql.rows("SELECT sales, orders FROM aggregates", vec![]).await.unwrap();
    let sales: Vec<_> = sales.into_iter().map(|mut row| (row.int().unwrap(), row.int().unwrap())).collect();
    assert_eq!(sales, [(6_666 + 9_999, 2)]);
}

/// The same where the lines add to the figures of teams and to what a limit has let through.
#[tokio::test]
async fn a_process_that_dies_at_any_statement_adds_to_no_team_and_limit_and_the_next_adds_once() {
    let rig = Rig::start().await;
    rig.publish(TEAMS_AND_LIMIT).await.expect(201);
    rig.pass(5_000);
    // 1 % of what is left of the first line and 2 % of the second; 6.66 and what 15.00 left then.
    let rig = dies_at_each_statement(rig, 66 + 199 + 666 + 501).await;
    let team = "SELECT CAST(SUM(sales) AS SIGNED) FROM team_parts WHERE person = 12";
    assert_eq!(rig.sql_int(team).await, 6_666 + 9_999);
    assert_eq!(rig.sql_int("SELECT paid FROM limit_uses WHERE person = 12").await, 666 + 501);
}

async fn dies_at_each_statement(rig: Rig, paid_in_the_end: i64) -> Rig {
    let now_ms = rig.clock.now_ms();
    let [first, paid] = bought(20, now_ms, 0);
    let [other, other_paid] = bought(20, now_ms, 1);
    let early = later(&other, 4, EventKind::Completed, 0);
    rig.feed(&[other, early]).await;
    let before = rows(&rig).await;
    rig.log.append(
        ORDER_EVENTS_TYPE,
        bytes_of(&[
            first,
            paid,
            later(&first, 4, EventKind::Completed, 0),
            later(&first, 9, EventKind::RefundedInPart, 3_333),
            other_paid,
        ]),
    );
    rig.log.append(ORDER_EVENTS_TYPE, vec![1]);
    let mut statements = 0;
    while !step(&rig, statements, false).await {
        assert_eq!((rows(&rig).await, rig.count("parked_records").await), (before.clone(), 0), "after {statements}");
        statements += 1;
        assert!(statements < 100, "a span of a few orders takes a few statements");
    }
    assert!(statements > 10, "{statements} statements were died at");
    assert_eq!(rig.balance(12).await[0], paid_in_the_end);
    assert_eq!(rows(&rig).await[5], 0, "what waited waits no more");
    assert_eq!(rig.count("parked_records").await, 1);
    rig.sums_to_zero().await;
    rig
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_counts_once() {
    let rig = Rig::start().await;
    rig.log.append(ORDER_EVENTS_TYPE, bytes_of(&bought(20, rig.clock.now_ms(), 0)));
    assert!(!step(&rig, 100, true).await, "nobody heard of it");
    assert!(step(&rig, 100, false).await);
    assert_eq!(rig.balance(12).await[0], 999);
    rig.sums_to_zero().await;
}

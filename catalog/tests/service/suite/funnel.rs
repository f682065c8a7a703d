//! How sales sell. Goal: whatever comes twice, late, or from two at once, and whoever dies in
//! between, each count counts once, and at rest the figures of an offer and the ledger agree to the
//! unit. Method: a topic in memory; a ledger whose records are decided by the test; what counts
//! them is ended and started again as a process would be.

mod streams;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use catalog::{EXAMPLE, file, funnel::count, house::put_in_order, publish::plan, sales::adopt};
use domain::{
    counts::{Counts, EngineCounts, OfferCounts, Step},
    decide::Movement,
    id::{Generation, OfferId, PartitionId, RecordId, TenantId},
    record::COUNTS_TYPE,
    sale::Sale,
};
use kit::http::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use store::{
    ledger::{Committed, Ledger, LedgerCommit, PartitionRow},
    log::{Entry, PartitionReader, ReadError, Watermarks},
    sql::Sql as _,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::rig::{BEGIN_MS, Rig};
use crate::place::Db;

/// The only partition of the ledger here.
const PARTITION: PartitionId = PartitionId(2);
const BEGIN_S: u64 = BEGIN_MS / 1_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// The topic `counts`, as a list.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<Vec<(String, Bytes)>>>);

impl Told {
    fn tell(&self, record: &EngineCounts) {
        self.append(COUNTS_TYPE, record.encode().into());
    }

    fn append(&self, kind: &str, payload: Bytes) {
        self.0.lock().unwrap().push((kind.to_owned(), payload));
    }

    pub(super) fn reader(&self) -> Reader {
        Reader { told: self.clone(), next: 0 }
    }
}

pub(super) struct Reader {
    told: Told,
    next: u64,
}

impl PartitionReader for Reader {
    async fn watermarks(&mut self) -> Result<Watermarks, ReadError> {
        Ok(Watermarks { low: 0, high: self.told.0.lock().unwrap().len() as u64 })
    }

    async fn entry_at(&mut self, _offset: u64) -> Result<Option<Entry>, ReadError> {
        Ok(None)
    }

    async fn seek(&mut self, offset: u64) -> Result<(), ReadError> {
        self.next = offset;
        Ok(())
    }

    /// A few at once, so that many steps are needed.
    async fn read(&mut self, _: usize, _: usize, _: Duration) -> Result<Vec<Entry>, ReadError> {
        let from = usize::try_from(self.next).unwrap();
        let records: Vec<_> = self.told.0.lock().unwrap().iter().skip(from).take(3).cloned().collect();
        if records.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let entries = records.into_iter().zip(self.next..).map(|((kind, payload), offset)| Entry {
            offset,
            id: RecordId::new(offset + 1).ok(),
            kind,
            payload,
        });
        let entries: Vec<_> = entries.collect();
        self.next += entries.len() as u64;
        Ok(entries)
    }
}

/// A published sale of a tenant, its ledger, and what counts it.
struct Market {
    rig: Rig,
    told: Told,
    ledger: Ledger<Db>,
    sale: Sale,
    key: String,
    offset: u64,
    generation: Generation,
    stop: CancellationToken,
    counting: Vec<JoinHandle<()>>,
}

impl Market {
    async fn open() -> Self {
        let rig = Rig::start().await;
        let tenant = rig.tenant("kettles").await;
        let key = rig.key_of(&tenant, &["read_sales"]).await;
        let sale = plan(&file::parse(EXAMPLE).unwrap(), &[], 4, BEGIN_MS).unwrap();
        let mut sale = Sale { tenant: TenantId::new(tenant.parse().unwrap()).unwrap(), ..sale };
        sale.lanes.iter_mut().for_each(|lane| lane.partition = PARTITION);
        let ledger = rig.place().ledger().await;
        let published = ledger.publications().publish(&sale, None).await.unwrap();
        assert_eq!(format!("{published:?}"), "Done");
        adopt(&rig.catalog).await.unwrap();
        let row = PartitionRow { partition: PARTITION, generation: Generation(1), log_id: 1, offset: 0, record: None };
        assert!(ledger.begin_partition(&row).await.unwrap());
        rig.add_lanes(&sale).await;
        let (told, stop) = (Told::default(), CancellationToken::new());
        let generation = Generation(1);
        Self { rig, told, ledger, sale, key, offset: 0, generation, stop, counting: Vec::new() }
    }

    fn offers(&self) -> Vec<OfferId> {
        self.sale.offers().map(|(_, offer)| offer.id).collect()
    }

    /// Starts what counts, as one more process.
    fn start(&mut self) {
        let tokens = (self.stop.clone(), CancellationToken::new());
        let counting = count(Arc::clone(&self.rig.catalog), self.told.reader(), tokens);
        self.counting.push(tokio::spawn(counting));
    }

    /// Ends it, wherever it is.
    fn kill(&mut self) {
        self.counting.drain(..).for_each(|counting| counting.abort());
    }

    /// What an engine saw: so many arrived and were reserved, of one unit each.
    fn engine(&self, engine: u64, sequence: u64, second: u64, offer: OfferId, times: u64) -> EngineCounts {
        let mut counts = Counts::default();
        for step in [Step::Arrived, Step::Reserved, Step::ReservedUnits, Step::SoldOut] {
            counts.add(step, times);
        }
        counts.add(Step::Arrived, times);
        let offers = vec![OfferCounts { tenant: self.sale.tenant, sale: self.sale.id, offer, counts }];
        EngineCounts { engine, sequence, second: BEGIN_S + second, offers }
    }

    /// The ledger decides a record of the only lane.
    async fn decide(&mut self, units: &[(OfferId, i64)]) {
        let movement = Movement {
            offset: self.offset,
            lane: Some(self.sale.lanes[0].id),
            units: units.to_vec(),
            decisions: vec![1],
        };
        let commit = LedgerCommit {
            limits: Vec::new(),
            partition: PARTITION,
            generation: self.generation,
            expected_offset: self.offset,
            next_offset: self.offset + 1,
            next_record: RecordId::new(self.offset + 1).ok(),
            sold: units.to_vec(),
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

    /// Units sold, by the ledger.
    async fn sold(&self) -> BTreeMap<String, u64> {
        let lanes = self.ledger.lanes(PARTITION).await.unwrap();
        let offers = lanes.iter().flat_map(|lane| &lane.offers);
        offers.filter(|offer| offer.sold > 0).map(|offer| (offer.offer.to_string(), offer.sold)).collect()
    }

    fn path(&self) -> String {
        format!("/v1/merchant/sales/{}/funnel", self.sale.id)
    }

    async fn funnel(&self, query: &str) -> Value {
        self.rig.get(&format!("{}{query}", self.path())).token(&self.key).send().await.expect(200)
    }

    /// A figure of all offers, by number, where it is not 0.
    async fn totals(&self, figure: impl Fn(&Value) -> u64) -> BTreeMap<String, u64> {
        let funnel = self.funnel("").await;
        let offers = funnel["offers"].as_array().unwrap().iter();
        let figures = offers.map(|offer| (offer["offer"].as_str().unwrap().to_owned(), figure(&offer["totals"])));
        figures.filter(|(_, figure)| *figure > 0).collect()
    }

    /// Waits until this is so.
    async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let so = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, so).await.is_ok(), "{what}: {}", self.funnel("").await);
    }

    async fn until_live_is(&self, expected: &BTreeMap<String, u64>) {
        self.until("live units", async || self.totals(live).await == *expected).await;
    }
}

fn of(name: &'static str) -> impl Fn(&Value) -> u64 {
    move |figures| figures[name].as_u64().unwrap()
}

fn live(figures: &Value) -> u64 {
    of("accepted_units")(figures) - of("released_units")(figures)
}

/// An engine tells a record again when it was not acknowledged, two processes read the topic at
/// once, and both die in between: each record counts once.
#[tokio::test]
async fn each_record_of_an_engine_counts_once() {
    let mut market = Market::open().await;
    let offers = market.offers();
    market.start();
    market.start();
    let mut expected = 0;
    for sequence in 1..=12 {
        for engine in [7, 8] {
            let record = market.engine(engine, sequence, sequence / 2, offers[0], 10);
            market.told.tell(&record);
            // Told again, and once more after the next ones.
            market.told.tell(&record);
            if sequence > 2 {
                market.told.tell(&market.engine(engine, sequence - 2, 0, offers[0], 10));
            }
            expected += 10;
        }
        if sequence % 4 == 0 {
            market.kill();
            market.start();
            market.start();
        }
    }
    let reserved =
        async |expected| market.totals(of("reserved")).await == BTreeMap::from([(offers[0].to_string(), expected)]);
    market.until("all is counted", async || reserved(expected).await).await;
    // Nothing comes after it: what is told next is the last.
    market.told.tell(&market.engine(9, 1, 0, offers[1], 1));
    let second = offers[1].to_string();
    market.until("the last one", async || market.totals(of("reserved")).await.contains_key(&second)).await;
    let time = "from=2026-11-11T00:00:00Z&to=2026-11-11T00:01:00Z";
    let funnel = market.funnel(&format!("?step=1s&{time}&offer={}", offers[0])).await;
    let offer = &funnel["offers"][0];
    assert_eq!(offer["totals"]["reserved_units"], expected);
    assert_eq!(offer["totals"]["arrived"], 2 * expected);
    assert_eq!(offer["totals"]["refused"], json!({ "sold_out": expected }));
    let series = offer["series"].as_array().unwrap();
    assert_eq!(series.iter().map(|point| point["reserved"].as_u64().unwrap()).sum::<u64>(), expected);
    assert_eq!(series.len(), 7, "{series:?}");
    assert_eq!(series[1]["at"], "2026-11-11T00:00:01.000Z");
    let minutes = market.funnel(&format!("?step=1m&offer={}", offers[0])).await;
    assert_eq!(minutes["offers"][0]["series"][0]["reserved"], expected, "{minutes}");
}

/// Purchases and releases in any order, with what counts them killed and started again: at rest
/// accepted less released units are the ledger's units sold.
#[tokio::test]
async fn at_rest_the_funnel_and_the_ledger_agree_to_the_unit() {
    let mut market = Market::open().await;
    let offers = market.offers();
    let mut random = StdRng::seed_from_u64(14);
    let (mut accepted, mut released) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
    let mut live = vec![0_i64; offers.len()];
    for round in 0..60 {
        let at = random.random_range(0..offers.len());
        let gives_back = live[at] > 0 && random.random_bool(0.4);
        let units = if gives_back { -random.random_range(1..=live[at]) } else { random.random_range(1..=9) };
        live[at] += units;
        let counted = if gives_back { &mut released } else { &mut accepted };
        *counted.entry(offers[at].to_string()).or_default() += units.unsigned_abs();
        market.decide(&[(offers[at], units)]).await;
        if round % 20 == 10 {
            // A record that decides nothing of an offer.
            market.decide(&[]).await;
            market.start();
            market.start();
            // Dead at a moment that the seed draws.
            tokio::time::sleep(Duration::from_millis(random.random_range(0..30))).await;
            market.kill();
        }
    }
    market.start();
    let sold = market.sold().await;
    market.until_live_is(&sold).await;
    assert_eq!(market.totals(of("accepted_units")).await, accepted);
    assert_eq!(market.totals(of("released_units")).await, released);
}

/// Movements that are gone, and a log that begins a new generation: the figures follow the units
/// sold.
#[tokio::test]
async fn where_movements_do_not_tell_all_the_figures_follow_the_ledger() {
    let mut market = Market::open().await;
    let offers = market.offers();
    market.decide(&[(offers[0], 5)]).await;
    market.decide(&[(offers[0], -2), (offers[1], 4)]).await;
    // They were deleted before anybody counted them.
    let deleted = market.ledger.delete_movements(PARTITION, Generation(1), market.offset, 100).await.unwrap();
    assert_eq!(deleted, 2);
    market.start();
    let sold = market.sold().await;
    market.until_live_is(&sold).await;
    market.decide(&[(offers[0], 1)]).await;
    let sold = market.sold().await;
    market.until_live_is(&sold).await;
    // The log lost records: what is sold is derived from the rows.
    let from = market.ledger.partition(PARTITION).await.unwrap().unwrap();
    let to = PartitionRow { generation: Generation(2), log_id: 2, offset: 1, record: RecordId::new(77).ok(), ..from };
    let rows = [(offers[0], 9), (offers[1], 1)];
    assert_eq!(market.ledger.restart(&from, &to, &rows, &[]).await.unwrap(), Committed::Done);
    (market.generation, market.offset) = (Generation(2), 1);
    market.until_live_is(&BTreeMap::from([(offers[0].to_string(), 9), (offers[1].to_string(), 1)])).await;
    market.decide(&[(offers[1], 3)]).await;
    market.until_live_is(&BTreeMap::from([(offers[0].to_string(), 9), (offers[1].to_string(), 4)])).await;
}

/// The other records of its partition count all the same: the units sold tell what it held.
#[tokio::test]
async fn a_movement_that_cannot_be_read_is_passed_by_the_units_sold() {
    let mut market = Market::open().await;
    let offers = market.offers();
    market.decide(&[(offers[0], 5)]).await;
    market.decide(&[(offers[1], 4)]).await;
    let damaged = "UPDATE movements SET units = ? WHERE partition_id = ? AND log_offset = 0";
    let params = vec![Bytes::from_static(&[1, 2]).into(), PARTITION.0.into()];
    assert_eq!(market.rig.place().ledger_db().await.exec(damaged, params).await.unwrap(), 1);
    market.start();
    let sold = market.sold().await;
    market.until_live_is(&sold).await;
    market.decide(&[(offers[0], 1)]).await;
    let sold = market.sold().await;
    market.until_live_is(&sold).await;
}

/// Damage is parked; counts of another tenant's sale are left out (INV-7).
#[tokio::test]
async fn damage_and_counts_of_another_tenants_sale_are_left_out() {
    let mut market = Market::open().await;
    let offer = market.offers()[0];
    market.told.tell(&market.engine(7, 1, 0, offer, 1));
    market.told.append(COUNTS_TYPE, Bytes::from_static(b"\xff\xff"));
    let mut foreign = market.engine(8, 1, 0, offer, 100);
    foreign.offers[0].tenant = TenantId::new(999).unwrap();
    market.told.tell(&foreign);
    market.told.tell(&market.engine(7, 2, 0, offer, 1));
    market.start();
    let expected = BTreeMap::from([(offer.to_string(), 2)]);
    market.until("what is sound is counted", async || market.totals(of("reserved")).await == expected).await;
    let parked = "SELECT log_offset FROM parked_records WHERE consumer = 'funnel' AND topic = 'counts'";
    let parked = market.rig.place().open().await.rows(parked, vec![]).await.unwrap();
    let offsets: Vec<_> = parked.into_iter().map(|mut row| row.int().unwrap()).collect();
    assert_eq!(offsets, [1]);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let market = Market::open().await;
    let path = market.path();
    for (query, field) in [
        ("?step=5s", "step"),
        ("?from=yesterday", "from"),
        ("?from=1969-12-31T00:00:00Z", "from"),
        ("?from=2026-11-11T00:00:00Z&to=2026-11-10T00:00:00Z", "from"),
        ("?from=2026-11-10T00:00:00Z", "from"),
        ("?offer=0", "offer"),
        ("?offer=x", "offer"),
    ] {
        let refused = market.rig.get(&format!("{path}{query}")).token(&market.key).send().await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.wrong_fields(), [field], "{query}");
    }
    assert_eq!(market.funnel("").await["offers"], json!([]), "nothing is counted yet");
    let other = market.rig.tenant("pots").await;
    let other = market.rig.key_of(&other, &["read_sales"]).await;
    let lacking = market.rig.key_of(&market.sale.tenant.to_string(), &["read_stock", "write_sales"]).await;
    for path in [path.clone(), format!("{path}/stream")] {
        market.rig.get(&path).token(&other).send().await.refused(404, "not_found");
        market.rig.get(&path).token(&lacking).send().await.refused(403, "forbidden");
        market.rig.get(&format!("{path}?limt=1")).token(&market.key).send().await.refused(400, "invalid_request");
    }
    let stream = market.rig.get(&format!("{path}/stream")).token(&market.key).header("last-event-id", "x");
    stream.send().await.refused(400, "invalid_request");
    market.rig.get("/v1/merchant/sales/0/funnel").token(&market.key).send().await.refused(404, "not_found");
}

/// Seconds go after a day; minutes and totals stay.
#[tokio::test]
async fn seconds_are_kept_for_a_day_and_minutes_for_ever() {
    let mut market = Market::open().await;
    let offer = market.offers()[0];
    market.told.tell(&market.engine(7, 1, 0, offer, 3));
    market.told.tell(&market.engine(7, 2, 90, offer, 4));
    market.start();
    let expected = BTreeMap::from([(offer.to_string(), 7)]);
    market.until("all is counted", async || market.totals(of("reserved")).await == expected).await;
    market.kill();
    let points = async |step: &str| {
        let query = format!("?step={step}&from=2026-11-11T00:00:00Z&to=2026-11-11T00:10:00Z");
        let funnel = market.funnel(&query).await;
        let series = funnel["offers"][0]["series"].as_array().unwrap().clone();
        series.iter().map(|point| point["reserved"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    put_in_order(&market.rig.catalog).await;
    assert_eq!((points("1s").await, points("1m").await), (vec![3, 4], vec![3, 4]));
    market.rig.clock.advance(Duration::from_secs(24 * 3_600 + 30));
    put_in_order(&market.rig.catalog).await;
    assert_eq!((points("1s").await, points("1m").await), (vec![4], vec![3, 4]), "the young second stays");
    market.rig.clock.advance(Duration::from_hours(72));
    put_in_order(&market.rig.catalog).await;
    assert_eq!((points("1s").await, points("1m").await), (vec![], vec![3, 4]));
    assert_eq!(market.totals(of("reserved")).await, expected);
    let engines = market.rig.db.rows("SELECT engine FROM funnel_engines", vec![]).await.unwrap();
    assert!(engines.is_empty());
}

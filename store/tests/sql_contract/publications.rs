//! Goal: of any number of publishers one is first, the others are told what it was, and what is
//! published reaches the topic as the newest. Method: sales of two lanes over both adapters, a
//! topic that obeys, and one that does not.

use std::sync::{Arc, Mutex};

use domain::{
    adopt::Place,
    id::{Epoch, PartitionId, SaleId, SkuId, TenantId},
    money::Money,
    sale::{Lane, Offer, Sale, SubjectKind, Window},
};
use store::{
    ledger::LaneRow,
    log::{SalesPublisher, Unacknowledged},
    publications::{Changed, Published},
    shards::{self, OpenError},
    sql::{Migration, Newer, Server, Sql},
};

use super::support::{Adapter, Deployment, Space, SqlOf, deployment, lane, offer};

/// One lane an entry, with its offers.
fn sale(id: u64, version: u32, lanes: &[(u64, &[u64])]) -> Sale {
    let price = Money { amount: 100, currency: "CNY".parse().unwrap() };
    let lanes = lanes.iter().map(|&(id, offers)| Lane {
        paused: false,
        id: lane(id),
        partition: PartitionId(0),
        limit_per_buyer: 2,
        offers: offers
            .iter()
            .map(|&id| Offer {
                paused: false,
                id: offer(id),
                sku: SkuId::new(1).unwrap(),
                title: "x".into(),
                price,
                allotment: 5,
                rate_per_s: 9,
            })
            .collect(),
    });
    Sale {
        id: SaleId::new(id).unwrap(),
        tenant: TenantId::new(7).unwrap(),
        version,
        title: "s".into(),
        window: Window { opens_at_ms: 1, closes_at_ms: 2 },
        paused: false,
        buyer_rate_per_s: 1,
        shard_map_version: 1,
        limit_by: SubjectKind::Account,
        members_only: false,
        visible_from_ms: 0,
        orders: domain::sale::OrderTerms::default(),
        lanes: lanes.collect(),
    }
}

#[derive(Default)]
struct Topic {
    appended: Mutex<Vec<Sale>>,
    is_away: bool,
}

impl SalesPublisher for Topic {
    async fn publish(&self, sale: &Sale) -> Result<(), Unacknowledged> {
        if self.is_away {
            return Err(Unacknowledged("away on purpose".into()));
        }
        self.appended.lock().unwrap().push(sale.clone());
        Ok(())
    }
}

async fn publish<A: Adapter>(d: &Deployment<A>, sale: &Sale, expected: Option<u32>) -> Result<(), Vec<String>> {
    match d.ledger.publications().publish(sale, expected).await.unwrap() {
        Published::Done => Ok(()),
        Published::Lost(contradictions) => Err(contradictions.iter().map(ToString::to_string).collect()),
    }
}

async fn found<A: Adapter>(d: &Deployment<A>, id: u64) -> Option<Sale> {
    d.ledger.publications().find(SaleId::new(id).unwrap()).await.unwrap()
}

pub(crate) async fn a_version_is_published_once_and_in_turn<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let (first, second) = (sale(1, 1, &[(11, &[111])]), sale(1, 2, &[(11, &[111]), (12, &[112])]));
    assert_eq!(publish(&d, &second, Some(1)).await.unwrap_err(), ["the sale is not published any more"]);
    assert_eq!(publish(&d, &first, None).await, Ok(()));
    assert_eq!(publish(&d, &first, None).await, Ok(()), "the same again");
    assert_eq!(publish(&d, &second, Some(1)).await, Ok(()));
    let other = Sale { title: "other".into(), ..second.clone() };
    for expected in [None, Some(1)] {
        assert_eq!(publish(&d, &other, expected).await.unwrap_err(), ["version 2 was published meanwhile"]);
    }
    assert_eq!(d.ledger.publications().all().await.unwrap(), [second]);
}

pub(crate) async fn an_id_has_one_owner<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    assert_eq!(publish(&d, &sale(2, 1, &[(22, &[300]), (23, &[301])]), None).await, Ok(()));
    let thief = sale(3, 1, &[(33, &[300, 302]), (23, &[303])]);
    let lost = publish(&d, &thief, None).await.unwrap_err();
    assert_eq!(lost, ["300 is an offer of sale 2", "23 is a lane of sale 2"]);
    assert_eq!(found(&d, 3).await, None);
    // Nothing of the loser is claimed.
    assert_eq!(publish(&d, &sale(4, 1, &[(33, &[302, 303])]), None).await, Ok(()));
    let moved = publish(&d, &sale(2, 2, &[(22, &[300, 301]), (23, &[])]), Some(1)).await.unwrap_err();
    assert_eq!(moved, ["301 is published in lane 23 and stays there"]);
}

/// Each of many publishers of one offer, and of one version: exactly one is first, the others hear
/// what it was.
pub(crate) async fn of_publishers_at_once_one_is_first<A: Adapter>(adapter: A) {
    let d = Arc::new(deployment(&adapter, 1, 1).await);
    let start = |sale: Sale, expected| {
        let d = Arc::clone(&d);
        tokio::spawn(async move { (sale.clone(), publish(&d, &sale, expected).await) })
    };
    let mut winners = Vec::new();
    let thieves: Vec<_> = (1..=8).map(|n| start(sale(n, 1, &[(10 + n, &[300])]), None)).collect();
    for thief in thieves {
        let (sale, outcome) = thief.await.unwrap();
        match outcome {
            Ok(()) => winners.push(sale),
            Err(lost) => assert!(lost.len() == 1 && lost[0].starts_with("300 is an offer of sale "), "{lost:?}"),
        }
    }
    let [winner] = &winners[..] else { panic!("{winners:?}") };
    let edit = |n: u64| Sale { version: 2, title: format!("edit {n}"), ..winner.clone() };
    let edits: Vec<_> = (0..8).map(|n| start(edit(n), Some(1))).collect();
    let mut told = Vec::new();
    for edit in edits {
        let (sale, outcome) = edit.await.unwrap();
        match outcome {
            Ok(()) => told.push(sale),
            Err(lost) => assert_eq!(lost, ["version 2 was published meanwhile"]),
        }
    }
    assert_eq!(told.len(), 1);
    assert_eq!(d.ledger.publications().all().await.unwrap(), told);
}

pub(crate) async fn a_publication_reaches_the_topic_when_it_is_back<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let (publications, topic) = (d.ledger.publications(), Topic::default());
    let newest = sale(1, 2, &[(11, &[111])]);
    assert_eq!(publish(&d, &sale(1, 1, &[(11, &[111])]), None).await, Ok(()));
    assert!(publications.feed(&Topic { is_away: true, ..Topic::default() }).await.is_err());
    assert_eq!(publish(&d, &newest, Some(1)).await, Ok(()));
    assert_eq!(publications.feed(&topic).await.unwrap(), 1);
    assert_eq!(publications.feed(&topic).await.unwrap(), 0);
    publications.announce(&newest).await.unwrap();
    assert_eq!(publications.feed(&topic).await.unwrap(), 1);
    assert_eq!(*topic.appended.lock().unwrap(), [newest.clone(), newest]);
}

/// A topic whose first record arrives after that of a newer version that was published meanwhile.
struct Late<A: Adapter> {
    deployment: Arc<Deployment<A>>,
    newer: Sale,
    appended: Mutex<Vec<u32>>,
}

impl<A: Adapter> SalesPublisher for Late<A> {
    async fn publish(&self, sale: &Sale) -> Result<(), Unacknowledged> {
        if sale.version < self.newer.version {
            let topic = Topic::default();
            let publications = self.deployment.ledger.publications();
            assert_eq!(publications.publish(&self.newer, Some(sale.version)).await.unwrap(), Published::Done);
            publications.feed(&topic).await.unwrap();
            let appended: Vec<u32> = topic.appended.lock().unwrap().iter().map(|sale| sale.version).collect();
            self.appended.lock().unwrap().extend(appended);
        }
        self.appended.lock().unwrap().push(sale.version);
        Ok(())
    }
}

pub(crate) async fn a_late_record_is_followed_by_the_newest<A: Adapter>(adapter: A) {
    let d = Arc::new(deployment(&adapter, 1, 1).await);
    assert_eq!(publish(&d, &sale(1, 1, &[(11, &[111])]), None).await, Ok(()));
    let late = Late { deployment: Arc::clone(&d), newer: sale(1, 2, &[(11, &[111])]), appended: Mutex::default() };
    assert_eq!(d.ledger.publications().feed(&late).await.unwrap(), 2);
    assert_eq!(*late.appended.lock().unwrap(), [2, 1, 2]);
}

fn lane_row(sale: &Sale, at: usize) -> LaneRow {
    LaneRow { offers: vec![], ..LaneRow::first(sale, &sale.lanes[at]) }
}

/// What an older program published past the database: taken in, unless somebody has it. The rest is
/// parked and told once.
pub(crate) async fn what_came_by_the_topic_is_adopted<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let publications = d.ledger.publications();
    let sound = sale(1, 4, &[(11, &[111])]);
    for _ in 0..2 {
        let adopted = publications.adopt(&sound).await.unwrap();
        assert_eq!((adopted.sale, adopted.contradictions), (sound.clone(), vec![]));
    }
    let thief = sale(2, 7, &[(22, &[111, 222])]);
    let adopted = publications.adopt(&thief).await.unwrap();
    assert_eq!(adopted.contradictions[0].place, Place::Offer(offer(111)));
    assert_eq!(adopted.sale, sale(2, 8, &[(22, &[222])]));
    assert_eq!(publications.adopt(&thief).await.unwrap().sale, adopted.sale);
    assert_eq!(publications.parked().await.unwrap(), 1);
    let topic = Topic::default();
    publications.feed(&topic).await.unwrap();
    assert_eq!(*topic.appended.lock().unwrap(), [adopted.sale], "what remains is news, what was sound is not");
    // Of two versions with one number the one that is known stays.
    let other = Sale { title: "other".into(), ..sound.clone() };
    assert_eq!(publications.adopt(&other).await.unwrap().sale, Sale { version: 5, ..sound });
    assert_eq!(publications.adopt(&other).await.unwrap().contradictions, []);
}

/// Who follows what is published reads what was written lately, and no row beside it.
pub(crate) async fn what_was_written_from_a_moment_on_is_told<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let publications = d.ledger.publications();
    let versions = async |from_ms| publications.changed_since(from_ms).await.unwrap().versions;
    let [one, two, three] = [1, 2, 3].map(|id| SaleId::new(id).unwrap());
    assert_eq!(publications.changed_since(0).await.unwrap(), Changed::default());
    for id in [1, 2] {
        assert_eq!(publish(&d, &sale(id, 1, &[(id + 10, &[id + 100])]), None).await, Ok(()));
    }
    publications.adopt(&sale(3, 4, &[(13, &[103])])).await.unwrap();
    let mut all = versions(0).await;
    all.sort();
    assert_eq!(all, [(one, 1), (two, 1), (three, 4)]);
    // Long ago, and by a program that says no moment.
    let hand = d.space.hand(&d.space.ledger());
    let set = async |when: &str| hand.exec(&format!("UPDATE sales SET changed_at = {when}"), vec![]).await.unwrap();
    set("1000").await;
    let now_ms = d.ledger.now_ms().await.unwrap();
    assert_eq!(publish(&d, &sale(2, 2, &[(12, &[102])]), Some(1)).await, Ok(()));
    let changed = publications.changed_since(1_001).await.unwrap();
    assert_eq!(changed.versions, [(two, 2)]);
    assert!(changed.last_ms.unwrap().abs_diff(now_ms) < 60_000, "{changed:?} at {now_ms}");
    set("NULL").await;
    assert_eq!(versions(0).await, []);
    hand.close().await;
}

/// The ledger's schema of the first program.
const FIRST: &str = include_str!("../../migrations/ledger/001.sql");

/// A database that the first program made: its lanes and offers keep their owners, and nothing of
/// it is lost.
pub(crate) async fn an_older_programs_database_is_upgraded<A: Adapter>(adapter: A) {
    let space = Space::new(&adapter);
    let server = adapter.server();
    server.create(&space.ledger()).await.unwrap();
    let first = server.open(&space.ledger());
    let code: Vec<&str> = FIRST.lines().filter(|line| !line.starts_with("--")).collect();
    let statements: Vec<String> =
        code.join("\n").split(";\n").map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect();
    let migration = Migration { name: "001".into(), statements };
    assert_eq!(first.migrate(std::slice::from_ref(&migration)).await.unwrap(), 1);
    first.exec("INSERT INTO lanes VALUES (11, 7, 1, 0, 3, 2, 5)", vec![]).await.unwrap();
    first.exec("INSERT INTO offers VALUES (111, 11, 10, 4, 2, 9)", vec![]).await.unwrap();
    let look = shards::look_ledger(&server, &space.name).await.map(drop);
    assert!(matches!(look, Err(OpenError::Older { .. })), "{look:?}");
    let store = space.open(1, 1).await.unwrap();
    let rows = store.ledger.all_lanes().await.unwrap();
    assert_eq!((rows[0].lane, rows[0].epoch, rows[0].offers[0].sold), (lane(11), Epoch(3), 4));
    assert_eq!(space.count(&space.ledger(), "sale_lanes WHERE lane = 11 AND sale = 1").await, 1);
    assert_eq!(space.count(&space.ledger(), "sale_offers WHERE offer = 111 AND sale = 1 AND lane = 11").await, 1);
    let publications = store.ledger.publications();
    let thief = publications.publish(&sale(2, 1, &[(22, &[111])]), None).await.unwrap();
    let Published::Lost(lost) = thief else { panic!("{thief:?}") };
    assert_eq!(lost[0].to_string(), "111 is an offer of sale 1");
    let adopted = publications.adopt(&sale(1, 2, &[(11, &[111])])).await.unwrap();
    assert_eq!(adopted.contradictions, []);
    // The older program beside it, or after it.
    let beside = first.migrate(&[migration]).await;
    match <SqlOf<A> as Sql>::NEWER {
        Newer::Refused => assert!(beside.unwrap_err().to_string().contains("made by a newer program")),
        Newer::RefusedWhenContracted => assert_eq!(beside, Ok(0)),
    }
}

/// What older programs wrote into the ledger belongs to whom it has it for, also without a claim.
pub(crate) async fn the_ledgers_rows_are_owners<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let owner = sale(1, 1, &[(11, &[])]);
    assert!(d.ledger.add_lane(&lane_row(&owner, 0), 1).await.unwrap());
    let lost = publish(&d, &sale(2, 1, &[(11, &[222])]), None).await.unwrap_err();
    assert_eq!(lost, ["11 is a lane of sale 1"]);
    let mut moved = sale(1, 1, &[(11, &[111])]);
    (moved.lanes[0].partition, moved.lanes[0].limit_per_buyer) = (PartitionId(1), 3);
    let lost = publish(&d, &moved, None).await.unwrap_err();
    assert_eq!(lost, ["lane 11 is published on partition 0 and stays there"], "the limit changes by a record (R16)");
    assert_eq!(publish(&d, &sale(1, 1, &[(11, &[111])]), None).await, Ok(()));
}

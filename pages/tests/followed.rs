//! Goal: a service that keeps no directory of its own answers the pages of what the topic tells,
//! as the engine does (whose tests hold the rules of pages). Method: the routes served over a topic
//! and lanes in memory.

#![allow(clippy::unwrap_used, reason = "all of this is a test, its helpers too")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::{
    id::{BatchId, BuyerId, Epoch, LaneId, OfferId, PartitionId, SaleId, SkuId, TenantId},
    money::Money,
    sale::{Lane, Offer, Sale, SubjectKind, Window},
    stock::{LaneAnswer, LaneMode, LaneView, Purchase, ReserveAnswer, ReserveCall, ReserveRequest},
};
use kit::{
    clock::ManualClock,
    http::{Bytes, Limits, RequestMetrics, Router, Table, bind, serve},
    metrics::{IntGauge, Registry},
};
use pages::{checker::Checker, http::Reads, metrics::Metrics, sales::Followed, shared::Pages};
use serde_json::{Value, json};
use store::{
    log::{ReadError, SalesFollower},
    stock::{LaneStock, StockError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_util::sync::{CancellationToken, DropGuard};

const NOW_MS: u64 = 1_800_000_000_000;

/// Lanes that are open and have as many units left as is said.
#[derive(Clone, Default)]
struct Lanes {
    left: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
}

impl LaneStock for Lanes {
    async fn reserve(
        &self,
        _call: ReserveCall,
        _requests: &[ReserveRequest],
    ) -> Result<LaneAnswer<ReserveAnswer>, StockError> {
        Err(StockError::Broken("nobody buys from pages".into()))
    }

    async fn find(&self, _lane: LaneId, _buyer: BuyerId) -> Result<LaneAnswer<Vec<(Purchase, bool)>>, StockError> {
        Err(StockError::Broken("nobody asks pages for orders".into()))
    }

    async fn claim(
        &self,
        _lane: LaneId,
        _now_ms: u64,
        _n: u32,
        _backoff_ms: u64,
    ) -> Result<LaneAnswer<Vec<(BatchId, Bytes)>>, StockError> {
        Err(StockError::Broken("pages sweep nothing".into()))
    }

    async fn inspect(&self, lane: LaneId) -> Result<LaneView, StockError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let left = self.left.load(Ordering::Relaxed);
        let offers = vec![(OfferId::new(lane.get()).unwrap(), left, 100)];
        Ok(LaneView {
            mode: LaneMode::Open { epoch: Epoch(1) },
            limit_per_buyer: 1,
            offers,
            journal_len: 0,
            oldest_due_ms: None,
            buyers_len: 0,
        })
    }
}

/// A topic that a test fills; an empty record is its end.
struct Topic(mpsc::UnboundedReceiver<Vec<Sale>>);

impl SalesFollower for Topic {
    async fn next(&mut self) -> Result<Vec<Sale>, ReadError> {
        match self.0.recv().await {
            Some(sales) => Ok(sales),
            None => std::future::pending().await,
        }
    }
}

/// A sale of tenant 7, whose offer and lane have its number.
fn sale(id: u64, version: u32, title: &str) -> Sale {
    let offer = Offer {
        paused: false,
        id: OfferId::new(id).unwrap(),
        sku: SkuId::new(1).unwrap(),
        title: "kettle".into(),
        price: Money { amount: 9_900, currency: "CNY".parse().unwrap() },
        allotment: 100,
        rate_per_s: 1,
    };
    let lane = Lane {
        paused: false,
        id: LaneId::new(id).unwrap(),
        partition: PartitionId(0),
        limit_per_buyer: 1,
        offers: vec![offer],
    };
    Sale {
        id: SaleId::new(id).unwrap(),
        tenant: TenantId::new(7).unwrap(),
        version,
        title: title.into(),
        window: Window { opens_at_ms: NOW_MS - 1_000, closes_at_ms: NOW_MS + 1_000_000 },
        paused: false,
        buyer_rate_per_s: 1,
        shard_map_version: 1,
        limit_by: SubjectKind::Account,
        members_only: false,
        visible_from_ms: 0,
        orders: domain::sale::OrderTerms::default(),
        lanes: vec![lane],
    }
}

struct Served {
    address: SocketAddr,
    topic: mpsc::UnboundedSender<Vec<Sale>>,
    lanes: Lanes,
    clock: ManualClock,
    _stop: DropGuard,
}

impl Served {
    fn new() -> Self {
        let (topic, follower) = mpsc::unbounded_channel();
        let (sales, clock, lanes) = (Arc::<Followed>::default(), ManualClock::new(NOW_MS), Lanes::default());
        lanes.left.store(50, Ordering::Relaxed);
        // So that time before the start differs from no time at all.
        clock.advance(std::time::Duration::from_secs(1));
        clock.set_wall(NOW_MS);
        tokio::spawn(Arc::clone(&sales).follow(Topic(follower)));
        let (pages, registry) = (Pages::new(1), Registry::new().unwrap());
        let metrics = Arc::new(Metrics::register(&registry).unwrap());
        let checker = Checker::new(Arc::clone(&pages), Arc::clone(&sales), lanes.clone(), clock.clone(), metrics);
        tokio::spawn(checker.run());
        let reads = Reads::new(sales, pages, clock.clone(), IntGauge::new("purchases", "None.").unwrap());
        let table = Arc::new(Table::of::<Reads<Followed, ManualClock>>().unwrap());
        let requests = Arc::new(RequestMetrics::register(&registry, table.names()).unwrap());
        let listener = bind(([127, 0, 0, 1], 0).into(), false).unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let router = Router::new(reads, table, clock.clone(), requests);
        tokio::spawn(serve(listener, router, Limits::default(), stop.clone()));
        Self { address, topic, lanes, clock, _stop: stop.drop_guard() }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    /// Asks until the answer has this status and, where it is asked for, this title.
    async fn until(&self, path: &str, status: u16, title: Option<&str>) -> Value {
        loop {
            let (now, body) = self.get(path).await;
            if now == status && title.is_none_or(|title| body["title"] == title) {
                return body;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Before the topic is read nothing is said of what exists; then what it tells is shown, the newest
/// version of each sale.
#[tokio::test]
async fn what_the_topic_tells_is_shown() {
    let shop = Served::new();
    for path in ["/v1/sales/1", "/v1/sales?tenant=7"] {
        let (status, problem) = shop.get(path).await;
        assert_eq!((status, &problem["code"]), (503, &json!("temporarily_unavailable")), "{path}");
    }
    shop.topic.send(vec![sale(1, 1, "first"), sale(2, 5, "second")]).unwrap();
    shop.topic.send(vec![]).unwrap();
    shop.until("/v1/sales/9", 404, None).await;
    let (status, page) = shop.get("/v1/sales/1").await;
    assert_eq!((status, &page["offers"][0]["stock"], &page["state"]), (200, &json!("available"), &json!("open")));
    let (_, list) = shop.get("/v1/sales?tenant=7").await;
    let ids = list["sales"].as_array().unwrap().iter().map(|sale| sale["sale_id"].as_str().unwrap());
    assert_eq!(ids.collect::<Vec<_>>(), ["1", "2"]);
    shop.topic.send(vec![sale(1, 2, "newer"), sale(2, 4, "older")]).unwrap();
    let newer = shop.until("/v1/sales/1", 200, Some("newer")).await;
    assert_eq!(newer["offers"][0]["stock"], "available", "what is known of its stock lives on");
    assert_eq!(shop.get("/v1/sales/2").await.1["title"], "second", "an older version is passed over");
    assert_eq!(shop.get("/v1/sales?tenant=7").await.1["sales"][0]["title"], "newer");
    assert_eq!(shop.lanes.asked.load(Ordering::Relaxed), 2, "each lane once, by page and list together");
    shop.lanes.left.store(0, Ordering::Relaxed);
    shop.clock.advance(std::time::Duration::from_secs(5));
    assert_eq!(shop.get("/v1/sales/1").await.1["offers"][0]["stock"], "sold_out");
}

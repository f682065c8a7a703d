//! Our parts over the stores of a deployment, in this process: an engine of two front threads
//! without its HTTP, and an order-writer. They are composed as the services compose them, and can
//! be dropped and made anew.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use domain::id::{LaneId, PartitionId, WorkerNumber};
use engine::{
    admission::{Admission, TokenSeed},
    append::{Acknowledged, Appender},
    buy::Purchases,
    limits::{Permits, Ticks},
    metrics::Metrics as EngineMetrics,
    mint::Mint,
    orders::{Orders, Reads},
    reserve::{Lanes, Reserver},
    sales::{self, Directory, TenantLimits},
};
use kit::{
    admin::Readiness,
    clock::{Clock, SystemClock},
    metrics::Registry,
    token::{Tenants, TokenKey, TokenSigner, TokenVerifier},
};
use order_writer::{
    failpoint::Failpoint,
    metrics::Metrics as WriterMetrics,
    ports::{Pace, Ports, Shared},
    rhythm::Busy,
    service,
    stalls::Stalls,
};
use store::{
    log::{DeadLetters, Membership, OrderLog, OrderLogSource, SalesFollower, SalesPublisher, Topics},
    orders::Orders as Rows,
    shards::Store,
    sql::Sql,
    stock::{LaneKeeping, LaneStock},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::notes::{Listened, Notes};

/// Partitions of every deployment here.
pub(crate) const PARTITIONS: u32 = 4;
/// More than any wait here may take: after a restart of its servers a wave rebuilds two hundred
/// lanes, on a machine that may have much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);
/// Pause between two looks at ledger and outboxes.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Outbox rows of a shard, more than there can be.
const OUTBOX_MAX: u32 = 100_000;
const JOURNAL_MAX: u32 = 50_000;
const PERMITS: u32 = 100_000;
const FRONTS: usize = 2;
const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";

/// The kinds of stores a deployment has, and how parts come to them.
pub(crate) trait Stores: Clone + Send + Sync + 'static {
    type Sql: Sql;
    type Stock: LaneStock;
    type Keeping: LaneKeeping;
    type Log: OrderLog + Topics + DeadLetters + SalesPublisher;
    type Source: OrderLogSource;
    type Member: Membership;
    type Follower: SalesFollower;

    fn databases(&self) -> &Store<Self::Sql>;
    fn stock(&self) -> Self::Stock;
    fn keeping(&self) -> Self::Keeping;
    fn log(&self) -> &Self::Log;
    fn source(&self) -> Self::Source;
    fn member(&self) -> Self::Member;
    fn follower(&self) -> Self::Follower;
}

/// The engine's clock: the machine's, some time ahead. What an engine remembers for half a second
/// is forgotten when a script says so.
#[derive(Clone)]
pub(crate) struct SkipClock {
    system: SystemClock,
    ahead_ms: Arc<AtomicU64>,
}

impl SkipClock {
    pub(crate) fn skip(&self, ms: u64) {
        self.ahead_ms.fetch_add(ms, SeqCst);
    }
}

impl Clock for SkipClock {
    fn now_ms(&self) -> u64 {
        self.system.now_ms()
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic() + Duration::from_millis(self.ahead_ms.load(SeqCst))
    }
}

/// The writer's ports.
pub(crate) struct WriterPorts<S>(std::marker::PhantomData<S>);

impl<S> Clone for WriterPorts<S> {
    fn clone(&self) -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<S: Stores> Ports for WriterPorts<S> {
    type Sql = S::Sql;
    type Stock = Listened<S::Keeping>;
    type Log = Listened<S::Log>;
    type Source = S::Source;
    type Clock = SystemClock;
}

/// How far a deployment is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) number: u64,
    /// Next offset to be decided, by partition.
    pub(crate) decided: Vec<u64>,
    /// Lanes with a release that the ledger has not passed.
    pub(crate) releasing: HashSet<LaneId>,
    /// Lanes that are to be rebuilt: what was released there may have been left out of them.
    pub(crate) distrusted: HashSet<LaneId>,
}

type Front<S> =
    Purchases<Listened<<S as Stores>::Stock>, Listened<<S as Stores>::Log>, Rows<<S as Stores>::Sql>, SkipClock>;

type OrdersOf<S> = Orders<Listened<<S as Stores>::Stock>, Rows<<S as Stores>::Sql>>;

/// Our parts at work.
pub(crate) struct Parts<S: Stores> {
    pub(crate) stores: S,
    pub(crate) notes: Arc<Notes>,
    pub(crate) clock: SkipClock,
    pub(crate) fronts: Vec<Front<S>>,
    pub(crate) orders: Arc<OrdersOf<S>>,
    pub(crate) log: Listened<S::Log>,
    pub(crate) keeping: S::Keeping,
    pub(crate) seen: watch::Receiver<Seen>,
    pub(crate) signer: TokenSigner,
    shared: Arc<Shared<WriterPorts<S>>>,
    writer: JoinHandle<()>,
    writer_stop: CancellationToken,
    helpers: Vec<JoinHandle<()>>,
}

impl<S: Stores> Parts<S> {
    /// Begins with nothing in memory. `worker` must be another number at each start: it goes into
    /// order ids.
    pub(crate) async fn start(stores: S, notes: &Arc<Notes>, worker: WorkerNumber) -> Self {
        let mut helpers = Vec::new();
        let (shared, writer, writer_stop) = start_writer(&stores, notes, &mut helpers).await;
        let (sender, seen) = watch::channel(Seen::default());
        helpers.push(tokio::spawn(keep_looking(stores.databases().clone(), sender)));

        let clock = SkipClock { system: SystemClock::new(), ahead_ms: Arc::default() };
        // So that no moment is the first: some words say "none yet" by a zero.
        clock.skip(1_000);
        let metrics = Arc::new(EngineMetrics::register(&Registry::new().unwrap()).unwrap());
        let permits = Permits::new(PERMITS, metrics.permits_in_use.clone());
        let limits = TenantLimits { rate_per_s: domain::sale::RATE_MAX, permits_max: PERMITS, pay_within_s: 900 };
        let directory = Arc::new(Directory::new(Ticks::of(&clock), permits, limits));
        follow_sales(&stores, &directory, &mut helpers).await;
        let key = TokenKey::new("k", SECRET, Tenants::All).unwrap();
        let verifier = TokenVerifier::new(vec![key.clone()]).unwrap();
        let admission = Arc::new(Admission::new(clock.clone(), verifier, TokenSeed(1, 2), Arc::clone(&directory)));
        let mint = Arc::new(Mint::default());
        mint.lend(worker, u64::MAX >> 8, u64::MAX);
        let log = Listened::new(stores.log().clone(), notes);
        let appender = Appender::new(log.clone(), clock.clone(), Arc::<Acknowledged>::default(), Arc::clone(&metrics));
        let appender = Arc::new(appender);
        let reads = Arc::new(Reads::new(&Ticks::of(&clock)));
        let rows = stores.databases().orders.clone();
        let orders = Arc::new(Orders::new(rows, Listened::new(stores.stock(), notes), directory, reads));
        let fronts = (0..FRONTS).map(|_| {
            let reserver = Reserver {
                stock: Listened::new(stores.stock(), notes),
                appender: Arc::clone(&appender),
                mint: Arc::clone(&mint),
                refused: Arc::clone(admission.refused()),
                clock: clock.clone(),
                metrics: Arc::clone(&metrics),
                journal_max: JOURNAL_MAX,
            };
            let lanes = Lanes::new(reserver, Handle::current());
            let (admission, metrics) = (Arc::clone(&admission), Arc::clone(&metrics));
            Purchases { admission, lanes, orders: Arc::clone(&orders), clock: clock.clone(), metrics }
        });
        let fronts = fronts.collect();
        let (notes, keeping, signer) = (Arc::clone(notes), stores.keeping(), TokenSigner::new(key));
        Self { stores, notes, clock, fronts, orders, log, keeping, seen, signer, shared, writer, writer_stop, helpers }
    }

    /// Ends them: after the work at hand, or wherever they are. Whoever bought before has an
    /// answer.
    pub(crate) async fn stop(self, abruptly: bool) {
        for front in &self.fronts {
            front.lanes.tasks().close();
            front.lanes.tasks().wait().await;
        }
        if abruptly {
            self.writer.abort();
        } else {
            self.writer_stop.cancel();
        }
        // Cancelled when it was aborted, which is no news.
        drop(self.writer.await);
        for helper in self.helpers {
            helper.abort();
            drop(helper.await);
        }
        // Tasks that were aborted let go of the stores a moment later.
        let shared = Arc::downgrade(&self.shared);
        drop(self.shared);
        let gone = timeout(PATIENCE, async {
            while shared.strong_count() > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        });
        assert!(gone.await.is_ok(), "the writer's tasks end");
    }
}

/// Starts the order-writer on all partitions.
async fn start_writer<S: Stores>(
    stores: &S,
    notes: &Arc<Notes>,
    helpers: &mut Vec<JoinHandle<()>>,
) -> (Arc<Shared<WriterPorts<S>>>, JoinHandle<()>, CancellationToken) {
    let (sales_sender, sales) = watch::channel(Default::default());
    let (read_sender, mut read) = watch::channel(false);
    let metrics = Arc::new(WriterMetrics::register(&Registry::new().unwrap()).unwrap());
    let following = (stores.follower(), stores.databases().ledger.clone(), Arc::clone(&metrics));
    helpers.push(tokio::spawn(service::follow_sales(following, sales_sender, read_sender)));
    assert!(timeout(PATIENCE, read.wait_for(|read| *read)).await.is_ok(), "the sales are read");
    let shared = Arc::new(Shared::<WriterPorts<S>> {
        orders: stores.databases().orders.clone(),
        ledger: stores.databases().ledger.clone(),
        stock: Listened::new(stores.keeping(), notes),
        log: Listened::new(stores.log().clone(), notes),
        source: stores.source(),
        clock: SystemClock::new(),
        sales,
        decided: Mutex::new(BTreeMap::new()),
        stalls: Stalls::default(),
        metrics,
        failpoint: Failpoint::none(),
        busy: Busy::default(),
        pace: Pace {
            look_every: Duration::from_millis(100),
            gather: Duration::from_millis(5),
            retry_max: Duration::from_millis(50),
            ..Pace::default()
        },
    });
    let (stop, member) = (CancellationToken::new(), stores.member());
    let work = service::run(Arc::clone(&shared), member, Readiness::new(), stop.clone());
    let writer = tokio::spawn(async move { work.await.unwrap() });
    (shared, writer, stop)
}

/// Follows the sales and waits until those that are published are known.
async fn follow_sales<S: Stores>(stores: &S, directory: &Arc<Directory>, helpers: &mut Vec<JoinHandle<()>>) {
    let (read, clock) = (Arc::new(Notify::new()), SystemClock::new());
    let (at_end, directory) = (Arc::clone(&read), Arc::clone(directory));
    let follower = stores.follower();
    helpers.push(tokio::spawn(async move {
        sales::follow(follower, directory, || clock.now_ms(), || at_end.notify_one()).await;
    }));
    assert!(timeout(PATIENCE, read.notified()).await.is_ok(), "the sales are read");
}

/// Looks at ledger and outboxes again and again, once for all seeds. A database that is away is
/// asked again.
async fn keep_looking<Q: Sql>(databases: Store<Q>, seen: watch::Sender<Seen>) {
    for number in 1.. {
        sleep(LOOK_EVERY).await;
        let Some(look) = look(&databases).await else { continue };
        seen.send_replace(Seen { number, ..look });
    }
}

async fn look<Q: Sql>(databases: &Store<Q>) -> Option<Seen> {
    let mut look = Seen::default();
    for partition in (0..PARTITIONS).map(PartitionId) {
        let row = databases.ledger.partition(partition).await.ok()?;
        look.decided.push(row.map_or(0, |row| row.offset));
    }
    for shard in (0..databases.orders.map().shards()).map(domain::shard::ShardId) {
        let outbox = databases.orders.outbox(shard, OUTBOX_MAX).await.ok()?;
        look.releasing.extend(outbox.into_iter().map(|row| row.lane));
    }
    // After the outboxes: that a lane is to be rebuilt stands in the ledger before a settlement is
    // left out, and so before the ledger passes the release.
    for partition in (0..PARTITIONS).map(PartitionId) {
        look.distrusted.extend(databases.ledger.distrusted(partition).await.ok()?);
    }
    Some(look)
}

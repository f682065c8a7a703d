//! The service: follows the sales, joins the group of writers, runs one worker per partition that it is given, and drains.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use domain::id::{PartitionId, SaleId};
use domain::sale::Sale;
use kit::admin::Readiness;
use kit::clock::Clock;
use store::log::{Membership, MembershipEvent, ReadError, SalesFollower};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    consume::work,
    ports::{Ports, Sales, Shared},
    relay::relay,
};

/// How often the group is told how far the partitions are decided.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How long leaving the group may take; other members wait for the session's end otherwise.
const LEAVE_DEADLINE: Duration = Duration::from_secs(3);
/// Pause before the sales are asked for again after a fault.
const FOLLOW_AGAIN: Duration = Duration::from_secs(1);

/// Keeps the newest version of every published sale, for ever. `told` becomes true when the topic was read to its end.
pub async fn follow_sales(mut follower: impl SalesFollower, sales: watch::Sender<Sales>, told: watch::Sender<bool>) {
    loop {
        match follower.next().await {
            Ok(news) if news.is_empty() => told.send_replace(true),
            Ok(news) => sales.send_if_modified(|sales| {
                let sales: &mut BTreeMap<SaleId, Sale> = Arc::make_mut(sales);
                let newer = news.into_iter().filter(|sale| is_newer(sales, sale)).collect::<Vec<_>>();
                let changed = !newer.is_empty();
                newer.into_iter().for_each(|sale| keep_newest(sales, sale));
                changed
            }),
            Err(error) => {
                tracing::warn!(%error, "the sales cannot be read now");
                tokio::time::sleep(FOLLOW_AGAIN).await;
                false
            }
        };
    }
}

fn is_newer(sales: &BTreeMap<SaleId, Sale>, sale: &Sale) -> bool {
    sales.get(&sale.id).is_none_or(|known| known.version < sale.version)
}

/// Several versions of a sale may come at once, in order.
fn keep_newest(sales: &mut BTreeMap<SaleId, Sale>, sale: Sale) {
    if is_newer(sales, &sale) {
        sales.insert(sale.id, sale);
    }
}

/// A member that nobody invited: it works on every partition, whoever else does. For crash tests, which want two writers at odds.
pub struct Contender {
    partitions: Option<Vec<PartitionId>>,
}

impl Contender {
    /// For all partitions of the log.
    pub fn new(partitions: u32) -> Self {
        Self { partitions: Some((0..partitions).map(PartitionId).collect()) }
    }
}

impl Membership for Contender {
    async fn next(&mut self) -> Result<MembershipEvent, ReadError> {
        match self.partitions.take() {
            Some(partitions) => Ok(MembershipEvent::Assigned(partitions)),
            None => std::future::pending().await,
        }
    }

    fn report(&self, _partition: PartitionId, _next_offset: u64) {}

    async fn leave(self, _deadline: Duration) {}
}

/// Works on a partition until cancelled, whatever a worker comes to: a fault of this program in one partition must not leave it without
/// a worker, nor stop the others.
async fn worked<P: Ports>(shared: Arc<Shared<P>>, id: PartitionId, stop: CancellationToken) {
    while let Err(panic) = tokio::spawn(work(shared.clone(), id, stop.clone())).await {
        shared.metrics.halted("panicked");
        shared.stalls.failed(id, format!("its worker panicked, report this: {panic}"));
        tracing::error!(partition = %id, %panic, "a worker panicked: report this; it begins anew");
        again(&stop, shared.pace.retry_max).await;
    }
}

/// The same for the relay.
async fn relayed<P: Ports>(shared: Arc<Shared<P>>, stop: CancellationToken) {
    while let Err(panic) = tokio::spawn(relay(shared.clone(), stop.clone())).await {
        tracing::error!(%panic, "the relay panicked: report this; it begins anew");
        again(&stop, shared.pace.retry_max).await;
    }
}

async fn again(stop: &CancellationToken, pause: Duration) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = stop.cancelled() => {}
    }
}

/// Runs workers for the partitions that the group gives to this process, until cancelled; then every worker finishes its span.
///
/// # Errors
/// [`ReadError`] when the group cannot be followed any more.
pub async fn run<P: Ports>(
    shared: Arc<Shared<P>>,
    mut membership: impl Membership,
    readiness: Readiness,
    cancel: CancellationToken,
) -> Result<(), ReadError> {
    let mut workers: BTreeMap<PartitionId, CancellationToken> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(relayed(shared.clone(), cancel.child_token()));
    readiness.ready();
    let mut reports = tokio::time::interval(REPORT_EVERY);
    let outcome = loop {
        let event = tokio::select! {
            event = membership.next() => event,
            () = cancel.cancelled() => break Ok(()),
            _ = reports.tick() => {
                shared.take_decided().into_iter().for_each(|(id, next_offset)| membership.report(id, next_offset));
                shared.stalls.look(shared.clock.monotonic(), &shared.metrics);
                continue;
            }
        };
        match event {
            Ok(MembershipEvent::Assigned(partitions)) => {
                for id in partitions.into_iter().filter(|id| !workers.contains_key(id)).collect::<Vec<_>>() {
                    let stop = cancel.child_token();
                    workers.insert(id, stop.clone());
                    tasks.spawn(worked(shared.clone(), id, stop));
                }
            }
            Ok(MembershipEvent::Revoked(partitions)) => {
                for id in partitions {
                    if let Some(stop) = workers.remove(&id) {
                        stop.cancel();
                        shared.metrics.forget(id);
                    }
                }
            }
            Err(error) => break Err(error),
        }
        while tasks.try_join_next().is_some() {}
    };
    readiness.not_ready("draining");
    cancel.cancel();
    while let Some(ended) = tasks.join_next().await {
        tracing::debug!(?ended, "worker ended");
    }
    membership.leave(LEAVE_DEADLINE).await;
    outcome
}

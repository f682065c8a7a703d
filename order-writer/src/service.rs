//! The service: follows the sales, joins the group of writers, runs one worker per partition that
//! it is given, and drains.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use domain::{
    id::{PartitionId, SaleId},
    sale::Sale,
};
use kit::{admin::Readiness, clock::Clock};
use store::{
    ledger::Ledger,
    log::{Membership, MembershipEvent, ReadError, SalesFollower},
    sql::{Sql, SqlError},
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    consume::work,
    metrics::Metrics,
    ports::{Ports, Sales, Shared},
    relay::relay,
};

/// How often it is reported to the group how far the partitions are decided.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How long leaving the group may take; other members wait for the session's end otherwise.
const LEAVE_DEADLINE: Duration = Duration::from_secs(3);
/// Pause before the sales are asked for again after a fault.
const FOLLOW_AGAIN: Duration = Duration::from_secs(1);

/// Keeps the newest version of every published sale, for ever: the database says which that is, the
/// topic that there is news. `are_read` becomes true when both were read to their end. A topic that
/// lost its records gets what the database has.
pub async fn follow_sales<S: Sql>(
    (mut follower, ledger, metrics): (impl SalesFollower, Ledger<S>, Arc<Metrics>),
    sales: watch::Sender<Sales>,
    are_read: watch::Sender<bool>,
) {
    let mut taken = TakenIn { ledger, metrics, sales, delivered: BTreeMap::new() };
    let mut is_read = false;
    loop {
        match follower.next().await {
            Ok(news) => {
                let is_end = news.is_empty();
                is_read |= is_end;
                while let Err(error) = taken.take_in(&news, is_read).await {
                    tracing::warn!(%error, "the published sales cannot be looked up now");
                    tokio::time::sleep(FOLLOW_AGAIN).await;
                }
                if is_end {
                    are_read.send_replace(true);
                }
            }
            Err(error @ ReadError::OutOfRange { .. }) => {
                tracing::error!(%error, "the topic of the sales lost records: what it lacks is announced again");
                (taken.delivered, is_read) = (BTreeMap::new(), false);
            }
            Err(error) => {
                tracing::warn!(%error, "the sales cannot be read now");
                tokio::time::sleep(FOLLOW_AGAIN).await;
            }
        }
    }
}

/// What a follower of the sales has taken in.
struct TakenIn<S> {
    ledger: Ledger<S>,
    metrics: Arc<Metrics>,
    sales: watch::Sender<Sales>,
    /// The version that the topic holds last, by sale.
    delivered: BTreeMap<SaleId, u32>,
}

impl<S: Sql> TakenIn<S> {
    /// Takes news in; repeating it is harmless. Without news, at the topic's end, everything that
    /// the database has. `is_current`: the topic was read to its end before, so that what it lacks
    /// now it lacks indeed.
    async fn take_in(&mut self, news: &[Sale], is_current: bool) -> Result<(), SqlError> {
        let publications = self.ledger.publications().clone();
        for sale in news {
            self.delivered.insert(sale.id, sale.version);
            if !self.knows(sale) {
                let adoption = publications.adopt(sale).await?;
                keep(&self.sales, vec![adoption.sale]);
            }
        }
        if news.is_empty() {
            keep(&self.sales, publications.all().await?);
        }
        if is_current {
            for sale in self.undelivered(news) {
                publications.announce(&sale).await?;
            }
        }
        self.metrics.sales_parked.set(publications.parked().await?.cast_signed());
        Ok(())
    }
}

impl<S> TakenIn<S> {
    fn knows(&self, sale: &Sale) -> bool {
        self.sales.borrow().get(&sale.id).is_some_and(|known| known.version > sale.version || known == sale)
    }

    /// Of the sales in these news, without news of all, those whose version the topic lacks: a late
    /// record of an older version came after the newer one, or the topic lost its records.
    fn undelivered(&self, news: &[Sale]) -> Vec<Sale> {
        let is_asked = |id| news.is_empty() || news.iter().any(|sale| sale.id == id);
        let lacks = |sale: &Sale| self.delivered.get(&sale.id).is_none_or(|&version| version < sale.version);
        let sales = self.sales.borrow();
        sales.values().filter(|sale| is_asked(sale.id) && lacks(sale)).cloned().collect()
    }
}

fn keep(sales: &watch::Sender<Sales>, newest: Vec<Sale>) {
    sales.send_if_modified(|sales| {
        let mut changed = false;
        for sale in newest {
            if sale.is_news_to(sales.get(&sale.id)) {
                Arc::make_mut(sales).insert(sale.id, sale);
                changed = true;
            }
        }
        changed
    });
}

/// Works on a partition until cancelled, whatever a worker comes to: a fault of this program in one
/// partition must not leave it without a worker, nor stop the others.
async fn worked<P: Ports>(shared: Arc<Shared<P>>, id: PartitionId, stop: CancellationToken) {
    while let Err(panic) = bound(work(shared.clone(), id, stop.clone())).await {
        shared.metrics.halted("panicked");
        shared.stalls.failed(id, format!("its worker panicked, report this: {panic}"));
        tracing::error!(partition = %id, %panic, "a worker panicked: report this; it begins anew");
        again(&stop, shared.pace.retry_max).await;
    }
}

/// The same for the relay.
async fn relayed<P: Ports>(shared: Arc<Shared<P>>, stop: CancellationToken) {
    while let Err(panic) = bound(relay(shared.clone(), stop.clone())).await {
        tracing::error!(%panic, "the relay panicked: report this; it begins anew");
        again(&stop, shared.pace.retry_max).await;
    }
}

/// A task of its own, so that its panic ends nobody else; it ends with the one that waits for it.
fn bound(work: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(work))
}

async fn again(stop: &CancellationToken, pause: Duration) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = stop.cancelled() => {}
    }
}

/// Runs workers for the partitions that the group gives to this process, until cancelled; then
/// every worker finishes its span.
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

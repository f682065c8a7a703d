//! The service of commissions within this process, on the buyers' port: a consumer of the events of
//! orders for each partition, and the work beside the requests. Its channel of payouts is simulated
//! and moves no money.

use std::sync::Arc;

use distribution::{
    intake::{self, CONSUMER, Intake},
    metrics::Metrics,
    payouts::SimulatedPayouts,
    service::{Distribution, Kinds, Ports, Staff, work},
    share::ShareKey,
};
use domain::{id::PartitionId, record::Topic};
use kit::{
    access::Actor,
    api::{Api as _, Served},
    clock::SystemClock,
    http::{HeaderMap, Method},
    metrics::Registry,
    problem::Problem,
    random::SystemRandom,
    token::TokenVerifier,
};
use store::{
    consumer::Consumer,
    log::{OrderLogSource as _, sqlite::SqliteSource},
    sql::sqlite::Sqlite,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::merchants::Service;
use crate::{deployment::Deployment, folder::Folder};

/// The merchants' people, as their service in this process knows them.
pub(super) struct People(Arc<Service>);

impl Staff for People {
    async fn actor(&self, token: &str, method: &Method, headers: &HeaderMap) -> Result<Actor, Box<Problem>> {
        self.0.actor(token, method, headers).await
    }
}

/// The kinds of this deployment.
pub(super) struct Here;

impl Kinds for Here {
    type Sql = Sqlite;
    type Clock = SystemClock;
    type Random = SystemRandom;
    type Staff = People;
    type Payouts = SimulatedPayouts;
}

/// The service and its background work.
pub(super) struct Commissions {
    service: Arc<Distribution<Here>>,
    stop: CancellationToken,
    work: JoinSet<()>,
}

impl Commissions {
    /// Starts the background work.
    pub(super) fn start(
        deployment: &Deployment<SystemClock>,
        folder: &Folder,
        people: Arc<Service>,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::register(registry)?);
        let (sql, clock) = (deployment.distribution.clone(), deployment.clock);
        let ports = Ports {
            sql: sql.clone(),
            clock,
            random: SystemRandom::default(),
            staff: People(people),
            payouts: SimulatedPayouts::default(),
            buyers: TokenVerifier::new(vec![folder.token_key()?])?,
            share: ShareKey::derive(folder.control_key()?.as_bytes()),
        };
        let service = Arc::new(Distribution::new(ports, Arc::clone(&metrics))?);
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let source = SqliteSource::of(&deployment.log, Topic::OrderEvents);
        for partition in (0..deployment.partitions).map(PartitionId) {
            let reader = source.reader(partition)?;
            let consumer = Consumer::new(sql.clone(), CONSUMER, Topic::OrderEvents, partition, reader);
            let handler = Intake::new(clock, SystemRandom::default(), Arc::clone(&metrics));
            let (stop, sql) = (stop.clone(), sql.clone());
            tasks.spawn(async move {
                // Dropped, it undoes what is under way: the next start reads its position.
                stop.run_until_cancelled(Box::pin(intake::run(sql, consumer, handler))).await;
            });
        }
        tasks.spawn(work(Arc::clone(&service), stop.clone()));
        Ok(Self { service, stop, work: tasks })
    }

    /// Its routes.
    pub(super) fn served(&self) -> Served<Distribution<Here>> {
        Served(Arc::clone(&self.service))
    }

    /// Ends the background work, in order.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.work.join_next().await.is_some() {}
    }
}

//! The service of commissions within this process, on the buyers' port: a consumer of the events of
//! orders for each partition, and the work beside the requests. Its channel of payouts is simulated
//! and moves no money.

use std::sync::Arc;

use distribution::{
    intake::Intakes,
    metrics::Metrics,
    payouts::SimulatedPayouts,
    service::{Distribution, Kinds, Ports, Staff, work},
    share::ShareKey,
};
use domain::record::Topic;
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
use store::{log::sqlite::SqliteSource, sql::sqlite::Sqlite};
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
        let intakes = Intakes { sql, clock, random: SystemRandom::default(), metrics };
        tasks.spawn(intakes.run(source, deployment.partitions, stop.clone()));
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

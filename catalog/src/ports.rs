//! What the service takes from outside: its database, the time, randomness, where sales are
//! published, and what the order service knows.

use std::{pin::Pin, sync::Arc};

use domain::{id::LaneId, stock::LaneView};
use kit::{access::Actor, clock::Clock, http::HeaderMap, problem::Problem, random::Random};
use serde_json::Value as Json;
use store::{
    ledger::Ledger,
    log::SalesPublisher,
    sql::Sql,
    stock::{LaneStock, StockError},
};

/// What a port of one object answers in the end.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The lanes, to be looked at and never changed.
pub trait LaneViews: Send + Sync {
    /// A lane as its stock server has it.
    fn view(&self, lane: LaneId) -> Answering<'_, Result<LaneView, StockError>>;
}

impl<S: LaneStock> LaneViews for S {
    fn view(&self, lane: LaneId) -> Answering<'_, Result<LaneView, StockError>> {
        Box::pin(self.inspect(lane))
    }
}

/// Who asks for orders, and by what he proves it to another service.
#[derive(Debug, Clone)]
pub struct Asker {
    /// As this service knows him.
    pub actor: Actor,
    /// His token or key, and for whom the operator acts, as they came.
    pub proof: HeaderMap,
}

/// The order service, to be looked at and never changed. An answer MUST come within seconds, or be
/// that none came.
pub trait OrderService: Send + Sync {
    /// What `GET /v1/merchant/orders` answers with this query: orders of the asker's tenant alone.
    /// It MUST refuse as the route refuses, with the names of its parameters.
    fn orders<'a>(&'a self, asker: &'a Asker, query: &'a str) -> Answering<'a, Result<Json, Box<Problem>>>;

    /// Whether a provider takes payments for a tenant. The error says why nobody can tell.
    fn has_account(&self, tenant: u32) -> Answering<'_, Result<bool, String>>;
}

/// Where sales are published: decided in the ledger's database, and told on the topic `sales`.
#[derive(Debug)]
pub struct Selling<S, T> {
    /// What is published, and what of it is sold.
    pub ledger: Ledger<S>,
    /// The topic.
    pub topic: T,
    /// Partitions of the order log.
    pub partitions: u32,
}

/// The kinds of them in a deployment. Nothing else differs between deployments.
pub trait Ports: Clone + Send + Sync + 'static {
    /// The database.
    type Sql: Sql;
    /// The time.
    type Clock: Clock;
    /// Randomness: keys, salts, secrets.
    type Random: Random;
    /// The topic of sales.
    type Topic: SalesPublisher;

    /// The database that this service owns.
    fn sql(&self) -> &Self::Sql;

    /// The time.
    fn clock(&self) -> &Self::Clock;

    /// Randomness.
    fn random(&self) -> &Self::Random;

    /// Where sales are published.
    fn selling(&self) -> &Selling<Self::Sql, Self::Topic>;
}

/// Ports made of their parts.
#[derive(Debug)]
pub struct Given<S, C, R, T> {
    /// The database.
    pub sql: S,
    /// The time.
    pub clock: C,
    /// Randomness.
    pub random: R,
    /// Where sales are published.
    pub selling: Arc<Selling<S, T>>,
}

impl<S: Clone, C: Clone, R: Clone, T> Clone for Given<S, C, R, T> {
    fn clone(&self) -> Self {
        let Self { sql, clock, random, selling } = self;
        Self { sql: sql.clone(), clock: clock.clone(), random: random.clone(), selling: Arc::clone(selling) }
    }
}

impl<S: Sql, C: Clock, R: Random, T: SalesPublisher> Ports for Given<S, C, R, T> {
    type Sql = S;
    type Clock = C;
    type Random = R;
    type Topic = T;

    fn sql(&self) -> &S {
        &self.sql
    }

    fn clock(&self) -> &C {
        &self.clock
    }

    fn random(&self) -> &R {
        &self.random
    }

    fn selling(&self) -> &Selling<S, T> {
        &self.selling
    }
}

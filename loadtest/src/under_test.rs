//! The deployment under test: how each one is started, given the sale, observed, and measured in
//! CPU time. Beside the adapters in `backends` and `baseline` the only place that tells one from
//! the other.

mod embedded;
#[cfg(feature = "production")]
mod production;

use std::{future::Future, net::SocketAddr, path::Path};

use domain::id::TenantId;
use kit::{clock::SystemClock, token::TokenSigner};
use store::sql::Sql;

use crate::{
    backends::{Backends, LaneWitness},
    baseline::Baselines,
    environment::Environment,
    error::RunError,
    fault::Fault,
    progress::Progress,
    sale::LoadSale,
    services::Publisher,
    spec::RunSpec,
};

/// What a deployment is started with.
pub(crate) struct StartContext<'a> {
    pub(crate) spec: &'a RunSpec,
    pub(crate) sale: &'a LoadSale,
    pub(crate) environment: &'a mut Environment,
    /// Builds the programs, when cargo runs us.
    pub(crate) cargo: Option<&'a Path>,
    pub(crate) clock: SystemClock,
    pub(crate) progress: &'a mut Progress,
}

/// A deployment that runs and knows the sale.
pub(crate) struct Started<S, W> {
    pub(crate) backends: Backends<S, W>,
    /// Publishes further sales.
    pub(crate) publisher: Publisher,
    /// Signs as its engine expects.
    pub(crate) signer: TokenSigner,
    /// Where orders are paid, in a run in which they are.
    pub(crate) cashier: Option<Cashier>,
}

/// Where orders are paid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cashier {
    /// The simulated bank, its cashier and its statement.
    pub(crate) bank: SocketAddr,
    /// The metrics of the order service.
    pub(crate) admin: SocketAddr,
}

/// A deployment, as a run needs it.
pub(crate) trait UnderTest {
    /// Its database.
    type Sql: Sql;
    /// Who sees its lanes and its log.
    type Witness: LaneWitness;

    /// How many of [`PROCESSES`](crate::timeline::PROCESSES) it has in such a run, the first ones.
    fn processes(spec: &RunSpec) -> usize;

    /// The tenant that is paid in play money, where that is not for the run to say.
    fn paid_tenant(&self) -> Option<TenantId>;

    /// Partitions over which the sale's lanes are to be spread; `None`: its catalog knows.
    fn partitions(&self) -> Option<u32>;

    /// Starts its services on the environment, unless they run already, and publishes the sale.
    fn start(
        &self,
        context: StartContext<'_>,
    ) -> impl Future<Output = Result<Started<Self::Sql, Self::Witness>, RunError>>;

    /// Has one of its servers fail, and returns when it is back. Dropped amid it, the server is
    /// brought back all the same.
    fn fail(&self, fault: Fault) -> impl Future<Output = Result<(), RunError>>;

    /// Bytes that the stock's server holds; `None` where it is no server, or does not answer.
    fn stock_memory(&self) -> impl Future<Output = Option<u64>>;

    /// What an operator does when ended lanes are gone and nobody buys: a restart's figure rests on
    /// it.
    fn calm(&self) -> impl Future<Output = Result<(), RunError>>;

    /// The yardsticks it has, not measured yet.
    fn yardsticks(&self) -> Baselines;

    /// Raw reservations a second without the engine, or why there is no rate; `None` where there is
    /// no such yardstick.
    fn raw_reservations(&self, clock: SystemClock) -> impl Future<Output = Option<Result<f64, String>>>;
}

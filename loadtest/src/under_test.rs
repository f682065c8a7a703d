//! What is under test: how each deployment is started, told of the sale, looked at and paid for in
//! CPU time. Beside the adapters in `backends` and `baseline` the only place that knows one from
//! the other.

mod embedded;
#[cfg(feature = "production")]
mod production;

use std::{future::Future, path::Path};

use kit::{clock::SystemClock, token::TokenSigner};
use store::sql::Sql;

use crate::{
    args::{Deployment, Order},
    backends::{Backends, LaneWitness},
    baseline::Baselines,
    fault::Fault,
    progress::Progress,
    run::{RunError, Stage},
    sale::LoadSale,
    services::Publisher,
};

pub use embedded::Embedded;
#[cfg(feature = "production")]
pub use production::Production;

/// One of the deployments, with what it must be told.
#[derive(Debug)]
pub enum Place {
    /// Redis, Kafka and MySQL.
    #[cfg(feature = "production")]
    Production(Production),
    /// One process and one data folder.
    Embedded(Embedded),
}

impl Place {
    /// Which it is.
    pub const fn deployment(&self) -> Deployment {
        match self {
            #[cfg(feature = "production")]
            Self::Production(_) => Deployment::Production,
            Self::Embedded(_) => Deployment::Embedded,
        }
    }
}

/// What is at hand when a deployment is raised.
pub(crate) struct Scene<'a> {
    pub(crate) order: &'a Order,
    pub(crate) sale: &'a LoadSale,
    pub(crate) stage: &'a mut Stage,
    /// Builds the programs, when cargo runs us.
    pub(crate) cargo: Option<&'a Path>,
    pub(crate) clock: SystemClock,
    pub(crate) progress: &'a mut Progress,
}

/// A deployment that runs and knows the sale.
pub(crate) struct Raised<S, W> {
    pub(crate) backends: Backends<S, W>,
    /// Publishes further sales.
    pub(crate) publisher: Publisher,
    /// Signs as its engine expects.
    pub(crate) signer: TokenSigner,
}

/// A deployment, as a run needs it.
pub(crate) trait UnderTest {
    /// Its database.
    type Sql: Sql;
    /// Who sees its lanes and its log.
    type Witness: LaneWitness;

    /// How many of [`PROCESSES`](crate::timeline::PROCESSES) it has, the first ones.
    const PROCESSES: usize;

    /// Partitions over which the sale's lanes are to be spread; `None`: its catalog knows.
    fn partitions(&self) -> Option<u32>;

    /// Starts its services on the stage, unless they run already, and publishes the sale.
    fn raise(&self, scene: Scene<'_>) -> impl Future<Output = Result<Raised<Self::Sql, Self::Witness>, RunError>>;

    /// Has one of its servers fail, and returns when it is back. Dropped amid it, the server is
    /// brought back all the same.
    fn fail(&self, fault: Fault) -> impl Future<Output = Result<(), RunError>>;

    /// Bytes that the stock's server holds; `None` where it is no server, or does not tell.
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

//! What the service takes from outside: its database, the time, randomness.

use kit::{clock::Clock, random::Random};
use store::sql::Sql;

/// The kinds of them in a deployment. Nothing else differs between deployments.
pub trait Ports: Clone + Send + Sync + 'static {
    /// The database.
    type Sql: Sql;
    /// The time.
    type Clock: Clock;
    /// Randomness: keys, salts, secrets.
    type Random: Random;

    /// The database that this service owns.
    fn sql(&self) -> &Self::Sql;

    /// The time.
    fn clock(&self) -> &Self::Clock;

    /// Randomness.
    fn random(&self) -> &Self::Random;
}

/// Ports made of their parts.
#[derive(Debug, Clone)]
pub struct Given<S, C, R> {
    /// The database.
    pub sql: S,
    /// The time.
    pub clock: C,
    /// Randomness.
    pub random: R,
}

impl<S: Sql, C: Clock, R: Random> Ports for Given<S, C, R> {
    type Sql = S;
    type Clock = C;
    type Random = R;

    fn sql(&self) -> &S {
        &self.sql
    }

    fn clock(&self) -> &C {
        &self.clock
    }

    fn random(&self) -> &R {
        &self.random
    }
}

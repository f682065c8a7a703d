//! The service: what its handlers share, and its routes.

use kit::{
    access::Actor,
    api::{Api, Route},
    http::{HeaderMap, Mount},
    problem::Problem,
    token::{TokenKey, is_same_secret},
};

use crate::{identity, numbers::Numbers, ports::Ports, refused::Refused, stock, tenants, vault::Vault};

/// What the handlers of this service share.
pub struct Catalog<P: Ports> {
    ports: P,
    numbers: Numbers<P::Sql>,
    secrets: Secrets,
}

/// What this deployment keeps secret.
#[derive(Clone)]
pub struct Secrets {
    /// By which its operator is known; without one nobody is.
    pub operator: Option<String>,
    /// Under which personal data is sealed.
    pub vault: Vault,
    /// By which buyers' tokens are signed; without one none are minted.
    pub buyer_tokens: Option<TokenKey>,
}

impl<P: Ports> Catalog<P> {
    /// The service over its ports.
    pub fn new(ports: P, secrets: Secrets) -> Self {
        Self { numbers: Numbers::new(ports.sql().clone()), ports, secrets }
    }

    /// Where personal data is sealed and opened.
    pub fn vault(&self) -> &Vault {
        &self.secrets.vault
    }

    /// Whether this is the secret of the deployment's operator.
    pub(crate) fn is_operator(&self, shown: &str) -> bool {
        self.secrets.operator.as_deref().is_some_and(|known| is_same_secret(shown, known))
    }

    /// Its database.
    pub fn sql(&self) -> &P::Sql {
        self.ports.sql()
    }

    /// The time.
    pub fn clock(&self) -> &P::Clock {
        self.ports.clock()
    }

    /// Randomness.
    pub fn random(&self) -> &P::Random {
        self.ports.random()
    }

    /// Numbers for what is new.
    pub fn numbers(&self) -> &Numbers<P::Sql> {
        &self.numbers
    }
}

impl<P: Ports> Api for Catalog<P> {
    type Error = Refused;

    fn routes() -> Vec<Mount<Route<Self>>> {
        [tenants::routes(), stock::routes()].into_iter().flatten().collect()
    }

    async fn actor(&self, token: &str, headers: &HeaderMap) -> Result<Actor, Box<Problem>> {
        identity::actor(self, token, headers).await
    }
}

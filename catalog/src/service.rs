//! The service: what its handlers share.

use std::sync::{Arc, OnceLock};

use kit::token::{TokenKey, is_same_secret};

use crate::{
    alarms::Alarms,
    memory::Memory,
    numbers::Numbers,
    outside::Outside,
    ports::{LaneViews, OrderService, Ports, Selling},
    rates::Rates,
    vault::Vault,
};

/// What the handlers of this service share.
pub struct Catalog<P: Ports> {
    ports: P,
    numbers: Numbers<P::Sql>,
    secrets: Secrets,
    rates: Rates<P::Clock>,
    memory: Memory,
    outside: Outside,
    alarms: Alarms,
    lanes: Option<Arc<dyn LaneViews>>,
    orders: OnceLock<Arc<dyn OrderService>>,
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
        Self {
            numbers: Numbers::new(ports.sql().clone()),
            rates: Rates::new(ports.clock()),
            ports,
            secrets,
            memory: Memory::default(),
            outside: Outside::default(),
            alarms: Alarms::default(),
            lanes: None,
            orders: OnceLock::new(),
        }
    }

    /// How often tenants may ask.
    pub(crate) fn rates(&self) -> &Rates<P::Clock> {
        &self.rates
    }

    /// What this process holds in memory between requests.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The same with these providers of buyers' logins.
    #[must_use]
    pub fn with_outside(self, outside: Outside) -> Self {
        Self { outside, ..self }
    }

    /// The same that looks at these lanes before a sale opens.
    #[must_use]
    pub fn with_lanes(self, lanes: impl LaneViews + 'static) -> Self {
        Self { lanes: Some(Arc::new(lanes)), ..self }
    }

    /// The lanes, where they can be looked at.
    pub(crate) fn lanes(&self) -> Option<&dyn LaneViews> {
        self.lanes.as_deref()
    }

    /// Names the order service, once.
    pub fn ask_orders(&self, orders: impl OrderService + 'static) {
        // Who came first is asked.
        let _is_first = self.orders.set(Arc::new(orders));
    }

    /// The order service, where one is named.
    pub(crate) fn orders(&self) -> Option<&Arc<dyn OrderService>> {
        self.orders.get()
    }

    /// What somebody has to look at.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// The providers of buyers' logins.
    pub(crate) fn outside(&self) -> &Outside {
        &self.outside
    }

    /// By what buyers' tokens are signed.
    pub(crate) fn buyer_tokens(&self) -> Option<&TokenKey> {
        self.secrets.buyer_tokens.as_ref()
    }

    /// Where personal data is sealed and opened.
    pub fn vault(&self) -> &Vault {
        &self.secrets.vault
    }

    /// Whether this is the secret of the deployment's operator.
    pub(crate) fn is_operator(&self, shown: &str) -> bool {
        self.secrets.operator.as_deref().is_some_and(|known| is_same_secret(shown, known))
    }

    /// What it takes from outside.
    pub(crate) fn ports(&self) -> &P {
        &self.ports
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

    /// Where sales are published.
    pub(crate) fn selling(&self) -> &Selling<P::Sql, P::Topic> {
        self.ports.selling()
    }

    /// Numbers for what is new.
    pub fn numbers(&self) -> &Numbers<P::Sql> {
        &self.numbers
    }
}

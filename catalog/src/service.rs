//! The service: what its handlers share, and its routes.

use std::sync::{Arc, OnceLock};

use kit::{
    access::Actor,
    api::{Api, Fault as _, Route},
    http::{HeaderMap, Method, Mount},
    problem::Problem,
    token::{TokenKey, is_same_secret},
};

use crate::{
    actions, actor,
    alarms::Alarms,
    audit, branding,
    buyers::{self, outside::Outside},
    control, flags,
    funnel::{self, Streams},
    gate, graphql, identity, images, jobs, keys,
    numbers::Numbers,
    people, plans,
    ports::{LaneViews, OrderService, Ports, Selling},
    products,
    rates::Rates,
    refused::Refused,
    sales, stock, tenants, usage,
    vault::Vault,
};

/// What the handlers of this service share.
pub struct Catalog<P: Ports> {
    ports: P,
    numbers: Numbers<P::Sql>,
    secrets: Secrets,
    rates: Rates<P::Clock>,
    meter: usage::Meter,
    key_uses: keys::Uses,
    flags: flags::Memory,
    people: people::Shared,
    streams: Streams,
    images: Arc<images::Kept>,
    outside: Outside,
    followed: sales::Followed,
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
            meter: usage::Meter::default(),
            key_uses: keys::Uses::default(),
            flags: flags::Memory::default(),
            people: people::Shared::default(),
            streams: Streams::default(),
            images: Arc::default(),
            outside: Outside::default(),
            followed: sales::Followed::default(),
            alarms: Alarms::default(),
            lanes: None,
            orders: OnceLock::new(),
        }
    }

    /// How often tenants may ask.
    pub(crate) fn rates(&self) -> &Rates<P::Clock> {
        &self.rates
    }

    /// Where requests are counted.
    pub(crate) fn meter(&self) -> &usage::Meter {
        &self.meter
    }

    /// Where the use of keys is noted.
    pub(crate) fn key_uses(&self) -> &keys::Uses {
        &self.key_uses
    }

    /// What is remembered of tenants' flags.
    pub(crate) fn flags(&self) -> &flags::Memory {
        &self.flags
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

    /// How far it has followed what is published.
    pub(crate) fn followed(&self) -> &sales::Followed {
        &self.followed
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

    /// Streams of events.
    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// The images that were served of late.
    pub(crate) fn images(&self) -> &Arc<images::Kept> {
        &self.images
    }

    /// What logins share.
    pub(crate) fn people(&self) -> &people::Shared {
        &self.people
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

impl<P: Ports> Api for Catalog<P> {
    type Error = Refused;

    fn routes() -> Vec<Mount<Route<Self>>> {
        let areas = [
            tenants::routes(),
            buyers::routes(),
            plans::routes(),
            keys::routes(),
            branding::routes(),
            flags::routes(),
            usage::routes(),
            audit::routes(),
            jobs::routes(),
            products::routes(),
            images::routes(),
            stock::routes(),
            sales::routes(),
            actions::routes(),
            funnel::routes(),
            graphql::routes(),
            people::routes(),
            actor::routes(),
            control::routes(),
        ];
        areas.into_iter().flatten().collect()
    }

    async fn actor(&self, token: &str, method: &Method, headers: &HeaderMap) -> Result<Actor, Box<Problem>> {
        let actor = identity::actor(self, token, headers).await?;
        gate::admit(self, &actor, method).await.map_err(|refused| refused.into_problem(true))?;
        Ok(actor)
    }
}

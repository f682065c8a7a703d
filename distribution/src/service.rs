//! The service: what its handlers share, its routes, and the work beside the requests.

mod adjustments;
mod answers;
mod change;
mod closings;
mod document;
mod erasure;
mod exports;
mod holds;
mod ledger;
mod own;
mod people;
mod plans;
mod posters;
mod refused;
mod risks;
mod settings;
mod simulation;
mod switch;
mod withdrawals;

use std::{sync::Arc, time::Duration};

use domain::id::{BuyerId, TenantId};
use kit::{
    access::Actor,
    api::{Api, Call, Route},
    clock::Clock,
    http::{HeaderMap, Method, Mount, bearer},
    problem::{Code, Problem},
    random::Random,
    token::TokenVerifier,
};
use store::sql::{Sql, SqlError};
use tokio_util::sync::CancellationToken;

use crate::{
    book,
    check::{BadProfiles, Profiles, profiles},
    days::close_days,
    mature,
    metrics::Metrics,
    payouts::Payouts,
    people as distributors,
    poster::{self, BadRules, PosterRules},
    risks::watch,
    share::ShareKey,
    stops,
    withdrawals::pay_out,
};

pub use document::document;
pub use refused::Refused;

/// Who the merchants' people and programs are.
pub trait Staff: Send + Sync + 'static {
    /// Whom a token or key stands for; refused as the merchants' service refuses.
    fn actor(
        &self,
        token: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> impl Future<Output = Result<Actor, Box<Problem>>> + Send;
}

/// The kinds of all that it takes from outside. Nothing else differs between deployments.
pub trait Kinds: Send + Sync + 'static {
    /// The database that this service owns.
    type Sql: Sql;
    /// The time.
    type Clock: Clock;
    /// Numbers of parts, withdrawals and audit entries.
    type Random: Random;
    /// Merchants' people.
    type Staff: Staff;
    /// How money goes out.
    type Payouts: Payouts;
}

/// All of it.
pub struct Ports<K: Kinds> {
    /// The database.
    pub sql: K::Sql,
    /// The time.
    pub clock: K::Clock,
    /// Numbers.
    pub random: K::Random,
    /// Merchants' people.
    pub staff: K::Staff,
    /// How money goes out.
    pub payouts: K::Payouts,
    /// Buyers' tokens: distributors are buyers.
    pub buyers: TokenVerifier,
    /// Under what share codes are signed.
    pub share: ShareKey,
}

/// What the handlers of this service share.
pub struct Distribution<K: Kinds> {
    ports: Ports<K>,
    profiles: Profiles,
    posters: PosterRules,
    texts: book::Texts,
    metrics: Arc<Metrics>,
}

/// How many lie between two looks for risks: 200 orders each, 100 a second.
const LOOKS_PER_WATCH: u32 = 4;

/// Data that this program brings does not read.
#[derive(Debug, thiserror::Error)]
pub enum BadData {
    /// The profiles.
    #[error(transparent)]
    Profiles(#[from] BadProfiles),
    /// The rules of posters.
    #[error(transparent)]
    Posters(#[from] BadRules),
}

/// From when on something holds that is written now: its transaction is over by then, so that an
/// order of that moment surely sees it.
const LEAD_MS: u64 = 2_000;
/// How often it is looked whose time has come.
const LOOK: Duration = Duration::from_millis(500);
/// How many of these looks lie between two closings of days.
const LOOKS_PER_CLOSING: u32 = 120;

impl<K: Kinds> Distribution<K> {
    /// The service over its ports.
    ///
    /// # Errors
    /// When the profiles or the rules of posters of this program do not read.
    pub fn new(ports: Ports<K>, metrics: Arc<Metrics>) -> Result<Self, BadData> {
        Ok(Self { ports, profiles: profiles()?, posters: poster::rules()?, texts: book::Texts::default(), metrics })
    }

    fn sql(&self) -> &K::Sql {
        &self.ports.sql
    }

    fn now_ms(&self) -> u64 {
        self.ports.clock.now_ms()
    }

    /// A number that is not guessed and never comes twice: milliseconds, then chance.
    fn number(&self) -> Result<i64, SqlError> {
        const RANDOM_BITS: u32 = 22;
        let bytes = self.ports.random.bytes::<4>().map_err(|error| SqlError::Broken(error.to_string().into()))?;
        let random = u64::from(u32::from_le_bytes(bytes)) >> (u32::BITS - RANDOM_BITS);
        Ok((((self.now_ms() << RANDOM_BITS) | random) & (u64::MAX >> 1)).cast_signed())
    }

    /// The buyer who asks.
    fn buyer(&self, call: &Call<'_>) -> Result<(TenantId, BuyerId), Refused> {
        let token = bearer(call.headers());
        let token = token.ok_or_else(|| Problem::new(Code::Unauthenticated, "this needs a buyer's token"))?;
        let claims = self.ports.buyers.verify(token, self.now_ms()).map_err(Problem::from)?;
        let (tenant, buyer) = (TenantId::new(claims.tenant.into()), BuyerId::new(claims.buyer));
        tenant.ok().zip(buyer.ok()).ok_or_else(|| Refused::not_found("person"))
    }

    /// The tenant that somebody acts for.
    fn tenant(call: &Call<'_>) -> Result<TenantId, Refused> {
        TenantId::new(call.actor.tenant.into()).map_err(|_none| Refused::not_found("shop"))
    }

    /// One round of the work beside the requests: puts back what nothing stops any more, matures
    /// what is due, sends bills, and reads what operators watch. How much was done.
    ///
    /// # Errors
    /// [`Refused`]; the next round goes on.
    pub async fn round(&self) -> Result<usize, Refused> {
        self.metrics.stopped(&stops::go_on(self.sql(), self.now_ms()).await?);
        distributors::erase(self.sql(), self.now_ms()).await?;
        let matured = mature::mature(self.sql(), &self.ports.clock, &self.ports.random).await?;
        let paid = pay_out(self.sql(), &self.ports.payouts, self.now_ms(), || self.number()).await?;
        self.watch().await?;
        Ok(matured + paid)
    }

    /// Looks at the next orders for what somebody should look at. How many.
    ///
    /// # Errors
    /// [`Refused`]; the next call goes on.
    pub async fn watch_risks(&self) -> Result<usize, Refused> {
        Ok(watch(self.sql(), &self.profiles, self.now_ms(), || self.number()).await?)
    }

    /// Closes the days of the ledger that can be closed. How many.
    ///
    /// # Errors
    /// [`Refused`]; the next call goes on.
    pub async fn close_days(&self) -> Result<usize, Refused> {
        change::purge(self).await?;
        Ok(close_days(self.sql(), &self.ports.clock).await?)
    }

    async fn watch(&self) -> Result<(), SqlError> {
        let mut row = self.sql().rows("SELECT MIN(since_ms) FROM waiting_events", vec![]).await?;
        let since = row.pop().map(|mut row| row.time_or_null()).transpose()?.flatten();
        let seconds = |ms: u64| i64::try_from(ms / 1_000).unwrap_or(i64::MAX);
        let waits = since.map_or(0, |since| self.now_ms().saturating_sub(since));
        self.metrics.waiting_seconds.set(seconds(waits));
        let mut row = self.sql().rows("SELECT COUNT(*) FROM parked_records", vec![]).await?;
        self.metrics.parked.set(row.pop().map(|mut row| row.int()).transpose()?.unwrap_or(0));
        self.metrics.maturing_lag_seconds.set(seconds(mature::lag_ms(self.sql(), self.now_ms()).await?));
        Ok(())
    }
}

/// Works until `stop`. Any number of processes may do so.
pub async fn work<K: Kinds>(service: Arc<Distribution<K>>, stop: CancellationToken) {
    let mut looks: u32 = 0;
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        if let Err(error) = service.round().await {
            tracing::warn!(%error, "commissions wait; they go on by themselves");
        }
        if looks.is_multiple_of(LOOKS_PER_CLOSING)
            && let Err(error) = service.close_days().await
        {
            tracing::warn!(%error, "a day of the commission ledger is closed later");
        }
        if looks.is_multiple_of(LOOKS_PER_WATCH)
            && let Err(error) = service.watch_risks().await
        {
            tracing::warn!(%error, "the watch over commissions goes on later");
        }
        looks = looks.wrapping_add(1);
    }
}

impl<K: Kinds> Api for Distribution<K> {
    type Error = Refused;

    fn routes() -> Vec<Mount<Route<Self>>> {
        let areas = [
            settings::routes(),
            plans::routes(),
            simulation::routes(),
            people::routes(),
            ledger::routes(),
            exports::routes(),
            withdrawals::routes(),
            closings::routes(),
            adjustments::routes(),
            holds::routes(),
            risks::routes(),
            switch::routes(),
            own::routes(),
            erasure::routes(),
            posters::routes(),
        ];
        areas.into_iter().flatten().collect()
    }

    async fn actor(&self, token: &str, method: &Method, headers: &HeaderMap) -> Result<Actor, Box<Problem>> {
        self.ports.staff.actor(token, method, headers).await
    }
}

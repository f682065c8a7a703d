//! The lanes on Redis 7, one node or a cluster. The scripts in `lua/` carry out what `domain::stock::LaneMachine` specifies. It decides
//! nothing, and it never repeats a call by itself: an error means *unknown*, and the caller knows what may be repeated.

mod keeping;
mod keys;
mod link;
mod reply;
mod scripts;

use std::time::Duration;

use bytes::Bytes;
use domain::{
    id::{BatchId, BuyerId, LaneId, OfferId},
    record::Batch,
    stock::{LaneAnswer, Purchase, ReserveAnswer, ReserveCall, ReserveRequest},
};

use super::{LaneStock, StockError};
use keys::Keys;
use link::Link;

pub use keeping::RedisKeeping;

/// How Redis is reached.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// `redis://…` for one node, several separated by commas or `redis-cluster://…` for a cluster.
    pub url: String,
    /// What every key begins with.
    pub namespace: String,
    /// How long a connection may take to come up.
    pub connect_timeout: Duration,
    /// How long the engine waits for an answer; then the outcome is unknown.
    pub response_timeout: Duration,
    /// How long the keeper waits for an answer: its calls carry whole lanes.
    pub keeper_timeout: Duration,
    /// Connections that the engine's port spreads its calls over.
    pub connections: usize,
    /// Connections of the keeper's pool, at most.
    pub keeper_connections: usize,
}

impl RedisSettings {
    /// The defaults.
    pub fn new(url: impl Into<String>, namespace: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: namespace.into(),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(1),
            keeper_timeout: Duration::from_secs(5),
            connections: 1,
            keeper_connections: 8,
        }
    }
}

/// The engine's port. Clones share their connections, which live on the runtime that connected them.
#[derive(Clone)]
pub struct RedisStock {
    link: Link,
    keys: Keys,
}

impl RedisStock {
    /// Prepares the connections. One node is connected to when it is first asked, and again whenever the connection broke; a cluster
    /// must be there.
    ///
    /// # Errors
    /// [`StockError::Broken`] for a URL that is none, [`StockError::Unknown`] when no node of a cluster answers.
    pub async fn connect(settings: &RedisSettings) -> Result<Self, StockError> {
        Ok(Self { link: Link::connect(settings).await?, keys: Keys::new(&settings.namespace) })
    }
}

impl LaneStock for RedisStock {
    async fn reserve(
        &self,
        call: ReserveCall,
        requests: &[ReserveRequest],
    ) -> Result<LaneAnswer<ReserveAnswer>, StockError> {
        if requests.is_empty() {
            let nothing = ReserveAnswer::Decided { replies: Vec::new(), left: Vec::new() };
            return Ok(LaneAnswer::Open(nothing));
        }
        let mut offers: Vec<OfferId> = Vec::with_capacity(4);
        let mut run = scripts::RESERVE.run(&self.keys.all(call.lane));
        let indices: Vec<u8> = requests.iter().map(|request| index_of(&mut offers, request.offer)).collect();
        run.arg(call.epoch.0)
            .arg(&call.batch.get().to_be_bytes()[..])
            .arg(call.now_ms.saturating_add(call.sweep_after_ms));
        run.arg(call.journal_max).arg(Batch::head(call.lane, call.batch, call.epoch)).arg(offers.len());
        for offer in &offers {
            run.arg(&offer.get().to_be_bytes()[..]);
        }
        for (request, index) in requests.iter().zip(indices) {
            let mut fixed = [0; 26];
            fixed[..8].copy_from_slice(&request.order.get().to_be_bytes());
            fixed[8] = index;
            fixed[9] = u8::try_from(request.quantity).unwrap_or(u8::MAX);
            fixed[10..].copy_from_slice(&request.key.0);
            run.arg(request.buyer.get()).arg(&fixed[..]).arg(&request.field[..]);
        }
        reply::reserved(self.link.ask(run).await?, requests, &offers)
    }

    async fn find(&self, lane: LaneId, buyer: BuyerId) -> Result<LaneAnswer<Vec<(Purchase, bool)>>, StockError> {
        let [state, buyers, journal, _] = self.keys.all(lane);
        let mut run = scripts::FIND.run(&[state, buyers, journal]);
        run.arg(buyer.get());
        reply::found(self.link.ask(run).await?)
    }

    async fn claim(
        &self,
        lane: LaneId,
        now_ms: u64,
        n: u32,
        backoff_ms: u64,
    ) -> Result<LaneAnswer<Vec<(BatchId, Bytes)>>, StockError> {
        let [state, _, journal, due] = self.keys.all(lane);
        let mut run = scripts::CLAIM.run(&[state, journal, due]);
        run.arg(now_ms).arg(n).arg(backoff_ms);
        reply::claimed(self.link.ask(run).await?)
    }
}

/// The offer's place in the call's list, counted from 1.
fn index_of(offers: &mut Vec<OfferId>, offer: OfferId) -> u8 {
    let at = offers.iter().position(|known| *known == offer).unwrap_or_else(|| {
        offers.push(offer);
        offers.len() - 1
    });
    // A lane has at most 64 offers; the script refuses more.
    u8::try_from(at + 1).unwrap_or(u8::MAX)
}

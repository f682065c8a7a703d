//! The lanes on Redis 7, one node or a cluster. The scripts in `lua/` carry out what
//! `domain::stock::LaneMachine` specifies. It decides nothing, and it never repeats a call by
//! itself: an error says that a call was not sent or that its outcome is unknown, and the caller
//! knows what may be repeated.

mod keeping;
mod keys;
mod link;
mod node;
mod reply;
mod scripts;

use std::time::Duration;

use bytes::Bytes;
use domain::{
    id::{BatchId, BuyerId, LaneId, OfferId},
    record::Batch,
    stock::{LaneAnswer, LaneView, Purchase, ReserveAnswer, ReserveCall, ReserveRequest},
};

use super::{LaneStock, StockError};
use crate::figures::Calls;
use keys::Keys;
use link::Link;

pub use keeping::RedisKeeping;
pub use node::CONNECTION_WAIT;

/// Bytes of a request of `reserve`: the last 42 are a buyer's entry already, so that the script
/// cuts it out in one piece.
const REQUEST: usize = 11 + reply::ENTRY;
/// The purchase number of a buyer who has none yet.
const FIRST_NUMBER: u8 = 1;
/// The largest whole number that a Lua number holds exactly.
const LUA_MAX: u64 = (1 << 53) - 1;

/// How Redis is reached.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// `redis://…` for one node, several separated by commas or `redis-cluster://…` for a cluster.
    pub url: String,
    /// What every key begins with.
    pub namespace: String,
    /// Calls under way on one connection, at most; further ones wait, within their time.
    pub in_flight: usize,
    /// How long a connection may take to come up. A call waits for it less long
    /// ([`CONNECTION_WAIT`]).
    pub connect_timeout: Duration,
    /// How long the engine waits for an answer; then the outcome is unknown.
    pub response_timeout: Duration,
    /// How long the keeper waits for an answer: its calls carry whole lanes.
    pub keeper_timeout: Duration,
    /// Connections that the engine's port spreads its calls over. One: calls of several lanes then
    /// leave and come back together.
    pub connections: usize,
    /// Connections of the keeper's pool, at most.
    pub keeper_connections: usize,
}

impl RedisSettings {
    /// Settings at their defaults for this server and namespace.
    pub fn new(url: impl Into<String>, namespace: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: namespace.into(),
            in_flight: 512,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(1),
            keeper_timeout: Duration::from_secs(5),
            connections: 1,
            keeper_connections: 8,
        }
    }
}

/// The engine's port. Clones share their connections, which live on the runtime that connected
/// them.
#[derive(Clone)]
pub struct RedisStock {
    link: Link,
    keys: Keys,
}

impl RedisStock {
    /// Prepares the connections. One node is connected to when it is first asked, and again
    /// whenever the connection broke; a cluster must be there.
    ///
    /// # Errors
    /// [`StockError::Broken`] for a URL that is none, [`StockError::Unknown`] when no node of a
    /// cluster answers.
    pub async fn connect(settings: &RedisSettings) -> Result<Self, StockError> {
        Ok(Self { link: Link::connect(settings).await?, keys: Keys::new(&settings.namespace) })
    }

    /// What came of the calls of this port and its clones, whenever it is asked. It holds no
    /// connection.
    pub fn calls(&self) -> impl Fn() -> Calls + Send + Sync + 'static + use<> {
        self.link.calls()
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
        let wishes = Wishes::pack(call.batch, requests)?;
        let bytes = wishes.requests.len() + wishes.fields.len() + wishes.offers.len() * 8;
        let mut run = scripts::RESERVE.run(&self.keys, call.lane, bytes);
        run.arg(call.epoch.0).arg(&call.batch.get().to_be_bytes()[..]);
        run.arg(call.now_ms.saturating_add(call.sweep_after_ms).min(LUA_MAX)).arg(call.journal_max);
        run.arg(Batch::head(call.lane, call.batch, call.epoch));
        run.arg(wishes.offers.iter().flat_map(|offer| offer.get().to_be_bytes()).collect::<Vec<u8>>());
        run.arg(wishes.requests).arg(wishes.fields);
        reply::reserved(self.link.ask(run).await?, requests, &wishes.offers)
    }

    async fn find(&self, lane: LaneId, buyer: BuyerId) -> Result<LaneAnswer<Vec<(Purchase, bool)>>, StockError> {
        let mut run = scripts::FIND.run(&self.keys, lane, 256);
        run.arg(&buyer.get().to_be_bytes()[..]);
        reply::found(self.link.ask(run).await?)
    }

    async fn claim(
        &self,
        lane: LaneId,
        now_ms: u64,
        n: u32,
        backoff_ms: u64,
    ) -> Result<LaneAnswer<Vec<(BatchId, Bytes)>>, StockError> {
        let mut run = scripts::CLAIM.run(&self.keys, lane, 256);
        run.arg(now_ms.min(LUA_MAX)).arg(n).arg(backoff_ms.min(LUA_MAX));
        reply::claimed(self.link.ask(run).await?)
    }

    async fn inspect(&self, lane: LaneId) -> Result<LaneView, StockError> {
        reply::view(self.link.ask(scripts::INSPECT.run(&self.keys, lane, 0)).await?)
    }
}

/// The requests of a call as the script reads them.
struct Wishes {
    /// The offers asked for, each once.
    offers: Vec<OfferId>,
    /// [`REQUEST`] bytes each.
    requests: Vec<u8>,
    /// The fields, one after the other.
    fields: Vec<u8>,
}

impl Wishes {
    fn pack(batch: BatchId, requests: &[ReserveRequest]) -> Result<Self, StockError> {
        let fields = requests.iter().map(|request| request.field.len()).sum();
        let mut wishes = Self {
            offers: Vec::with_capacity(2),
            requests: Vec::with_capacity(requests.len() * REQUEST),
            fields: Vec::with_capacity(fields),
        };
        for request in requests {
            wishes.add(batch, request)?;
        }
        Ok(wishes)
    }

    fn add(&mut self, batch: BatchId, request: &ReserveRequest) -> Result<(), StockError> {
        let offer = self.index_of(request.offer);
        let too_many = |_| StockError::Broken("a call of too many offers or of too large a field".into());
        let offer = u8::try_from(offer).map_err(too_many)?;
        let length = u16::try_from(request.field.len()).map_err(too_many)?;
        // Above any limit is above any limit.
        let quantity = u8::try_from(request.quantity).unwrap_or(u8::MAX);
        self.requests.extend_from_slice(&request.buyer.get().to_be_bytes());
        self.requests.push(offer);
        self.requests.extend_from_slice(&length.to_be_bytes());
        self.requests.extend_from_slice(&[FIRST_NUMBER, quantity]);
        self.requests.extend_from_slice(&request.key.0);
        self.requests.extend_from_slice(&request.offer.get().to_be_bytes());
        self.requests.extend_from_slice(&request.order.get().to_be_bytes());
        self.requests.extend_from_slice(&batch.get().to_be_bytes());
        self.fields.extend_from_slice(&request.field);
        Ok(())
    }

    fn index_of(&mut self, offer: OfferId) -> usize {
        let known = self.offers.iter().position(|known| *known == offer);
        known.unwrap_or_else(|| {
            self.offers.push(offer);
            self.offers.len() - 1
        })
    }
}

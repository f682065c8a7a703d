//! The lanes' stock: the two ports that `domain::stock` specifies, and their adapters. Every method
//! is idempotent or says so; an error means *unknown* or, where the adapter is certain, *never
//! sent*; it never means *no*.

#[cfg(feature = "embedded")]
pub mod local;
#[cfg(feature = "production")]
pub mod redis;

use std::future::Future;

use bytes::Bytes;
use domain::{
    id::{BatchId, BuyerId, Epoch, LaneId, OfferId},
    stock::{
        CloseAnswer, Gone, LaneAnswer, LaneLoad, LaneOpening, LaneView, LoadAnswer, Purchase, ReserveAnswer,
        ReserveCall, ReserveRequest, RetireAnswer,
    },
};

use crate::{cause::Cause, figures::Outcome};

/// A stock call without an answer: it was not sent, its outcome is unknown, or the server spoke
/// nonsense.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StockError {
    /// The call certainly never left this process, because there is no connection: nothing
    /// happened.
    #[error("the stock server cannot be reached: {0}")]
    Unsent(#[source] Cause),
    /// No answer in time or a broken connection: the call may or may not have happened.
    #[error("no answer from the stock server: {0}")]
    Unknown(#[source] Cause),
    /// The server refused the script or answered in another shape: an operator must look.
    #[error("the stock server answered {0}")]
    Broken(#[source] Cause),
}

impl StockError {
    /// Whether the same call may be sent again.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unsent(_) | Self::Unknown(_))
    }
}

impl From<&StockError> for Outcome {
    fn from(error: &StockError) -> Self {
        match error {
            StockError::Unsent(_) => Self::Unsent,
            StockError::Unknown(_) => Self::Unknown,
            StockError::Broken(_) => Self::Broken,
        }
    }
}

/// What engines ask of a lane: promise, find, sweep.
pub trait LaneStock: Clone + Send + Sync + 'static {
    /// Decides up to [`BATCH_MAX`](domain::record::BATCH_MAX) requests at once and journals what it
    /// promised in the same call. MUST be atomic; a repeated call with the same batch promises
    /// nothing twice.
    fn reserve(
        &self,
        call: ReserveCall,
        requests: &[ReserveRequest],
    ) -> impl Future<Output = Result<LaneAnswer<ReserveAnswer>, StockError>> + Send;

    /// A buyer's purchases in the lane, live ones and tombstones, each with whether it is settled.
    fn find(
        &self,
        lane: LaneId,
        buyer: BuyerId,
    ) -> impl Future<Output = Result<LaneAnswer<Vec<(Purchase, bool)>>, StockError>> + Send;

    /// At most `n` batches whose due time has passed; moves their due time on by `backoff_ms` in
    /// the same call, so that replicas sweep without a storm.
    fn claim(
        &self,
        lane: LaneId,
        now_ms: u64,
        n: u32,
        backoff_ms: u64,
    ) -> impl Future<Output = Result<LaneAnswer<Vec<(BatchId, Bytes)>>, StockError>> + Send;

    /// The lane's state: units left, for the pages of sales that nobody buys from just now. As the
    /// keeper's.
    fn inspect(&self, lane: LaneId) -> impl Future<Output = Result<LaneView, StockError>> + Send;
}

/// What keepers ask of a lane: settle, close, load, retire.
pub trait LaneKeeping: Clone + Send + Sync + 'static {
    /// Deletes decided batches from the journal and takes gone orders out of their buyers' entries;
    /// units go back only with a live entry, and those that a release retires lower the known
    /// allotment instead (R9). Repeating does nothing. The lane MUST have heard of the last change
    /// of an offer's allotment before a release retires units of it.
    fn settle(
        &self,
        lane: LaneId,
        epoch: Epoch,
        batches: &[BatchId],
        gone: &[Gone],
    ) -> impl Future<Output = Result<LaneAnswer<()>, StockError>> + Send;

    /// R3: closes the lane under the marker `epoch`. What of it cannot be read is set aside first,
    /// so that the lane can be rebuilt.
    fn close(&self, lane: LaneId, epoch: Epoch) -> impl Future<Output = Result<CloseAnswer, StockError>> + Send;

    /// Every journal entry of the lane.
    fn journal(&self, lane: LaneId) -> impl Future<Output = Result<Vec<(BatchId, Bytes)>, StockError>> + Send;

    /// R4: begins the load of a lane that is closed under this marker in this run: it has no buyers
    /// and no journal any more. `false` is a refusal. After an error of this step or those that
    /// follow the caller MUST ask for the next epoch.
    fn clear(&self, lane: LaneId, epoch: Epoch) -> impl Future<Output = Result<bool, StockError>> + Send;

    /// R4: puts buyers' entries in place, live purchases and tombstones, those of one buyer
    /// together, oldest first; several calls may run at the same time. An entry replaces the one
    /// that its buyer has. Answers how many buyers are new; `None` is a refusal.
    fn fill(
        &self,
        lane: LaneId,
        epoch: Epoch,
        purchases: &[(BuyerId, Purchase)],
    ) -> impl Future<Output = Result<Option<u64>, StockError>> + Send;

    /// R4: opens the lane, once, if all buyers are in place.
    fn open(
        &self,
        lane: LaneId,
        epoch: Epoch,
        opening: &LaneOpening,
    ) -> impl Future<Output = Result<LoadAnswer, StockError>> + Send;

    /// R14: deletes all that is kept of a lane that is closed under the marker `epoch` in this run.
    /// Its journal MUST be in the log. Repeating does nothing.
    fn retire(&self, lane: LaneId, epoch: Epoch) -> impl Future<Output = Result<RetireAnswer, StockError>> + Send;

    /// R9: tells the lane the ledger's allotment, decided at the packed position `changed_at`.
    fn adjust(
        &self,
        lane: LaneId,
        epoch: Epoch,
        offer: OfferId,
        allotment: u64,
        changed_at: i64,
    ) -> impl Future<Output = Result<LaneAnswer<()>, StockError>> + Send;

    /// R9: takes up to `units` free units out of sale for a reduction that follows the change
    /// decided at the packed position `after` (0 for none); answers how many, none after another
    /// change. Repeating answers the same.
    fn withhold(
        &self,
        lane: LaneId,
        epoch: Epoch,
        offer: OfferId,
        after: i64,
        units: u64,
    ) -> impl Future<Output = Result<LaneAnswer<u64>, StockError>> + Send;

    /// R16: tells the lane the ledger's limit per buyer, decided at the packed position
    /// `changed_at` (0 for none), and that it promises by no more than `most` until the next change
    /// is told. Answers the limit that holds there then, none where a later change was told.
    /// Repeating answers the same.
    fn limit(
        &self,
        lane: LaneId,
        epoch: Epoch,
        limit: u32,
        changed_at: i64,
        most: u32,
    ) -> impl Future<Output = Result<LaneAnswer<Option<u32>>, StockError>> + Send;

    /// The lane's state, for the keeper's decisions and for metrics.
    fn inspect(&self, lane: LaneId) -> impl Future<Output = Result<LaneView, StockError>> + Send;

    /// All buyers' entries: for audits at rest.
    fn buyers(&self, lane: LaneId) -> impl Future<Output = Result<Vec<(BuyerId, Vec<Purchase>)>, StockError>> + Send;
}

/// The steps of a load in one call: for tests and tools, which have all at hand.
pub trait LoadAtOnce: LaneKeeping {
    /// R4: opens a closed lane.
    fn load(
        &self,
        lane: LaneId,
        epoch: Epoch,
        load: &LaneLoad,
    ) -> impl Future<Output = Result<LoadAnswer, StockError>> + Send {
        async move {
            self.clear(lane, epoch).await?;
            // A refusal is the last step's too.
            let buyers = self.fill(lane, epoch, &load.purchases).await?.unwrap_or(0);
            let (limit_per_buyer, offers) = (load.limit_per_buyer, load.offers.clone());
            self.open(lane, epoch, &LaneOpening { buyers, limit_per_buyer, offers }).await
        }
    }
}

impl<K: LaneKeeping> LoadAtOnce for K {}

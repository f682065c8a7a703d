//! The lane: what it is asked, what it answers, and the pure lane machine, which is the
//! specification of the Lua scripts. No time passes here and nothing fails here: `now_ms` comes as
//! an argument, and unknown outcomes belong to the adapters.

use bytes::Bytes;

use crate::id::{BatchId, BuyerId, Epoch, KeyHash, LaneId, OfferId, OrderId, PurchaseNumber};

mod machine;

pub use machine::{LaneMachine, LaneState, OfferStock, PreparedLoad, RunId};

/// Tombstones of one buyer in one lane, at most; with more the buyer's purchases there are over
/// (`LimitReached`).
pub const TOMBSTONES_MAX: usize = 64;

/// What stands before the requests of one reserve call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReserveCall {
    /// The lane that is called.
    pub lane: LaneId,
    /// The epoch the engine believes in.
    pub epoch: Epoch,
    /// Key of the journal entry, if anything is accepted.
    pub batch: BatchId,
    /// Epoch milliseconds by the engine's clock: the entry is due for the sweeper `sweep_after_ms`
    /// later.
    pub now_ms: u64,
    /// How long the engine has to append the batch before a sweeper may.
    pub sweep_after_ms: u64,
    /// Journal entries above which nothing more is promised.
    pub journal_max: u32,
}

/// One buyer's wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReserveRequest {
    /// The order this becomes if it is reserved.
    pub order: OrderId,
    /// The buyer who asks.
    pub buyer: BuyerId,
    /// The offer asked for.
    pub offer: OfferId,
    /// How many units, 1 to [`LIMIT_MAX`](crate::sale::LIMIT_MAX).
    pub quantity: u32,
    /// Hash of the idempotency key.
    pub key: KeyHash,
    /// The reservation as a field of its batch
    /// ([`Reservation::append_field`](crate::record::Reservation::append_field)).
    pub field: Bytes,
}

/// The lane's answer to one wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReserveReply {
    /// Promised, under this purchase number.
    Reserved(PurchaseNumber),
    /// The key was used before: this is its order.
    Repeat {
        /// The first order, live.
        order: OrderId,
        /// The batch that promised it; `None` when it was loaded from its row.
        batch: Option<BatchId>,
        /// Its batch has left the journal: its row is durable (R12).
        settled: bool,
    },
    /// The key was used before, and its order was released since (R6): its row says whether it was
    /// cancelled or expired.
    Released {
        /// The first order.
        order: OrderId,
    },
    /// The key was used before for another quantity.
    Mismatch {
        /// The first order.
        order: OrderId,
    },
    /// The buyer's live units would pass the limit.
    LimitReached {
        /// Live units now.
        held: u32,
    },
    /// Too few units are left.
    SoldOut {
        /// Units left.
        left: u64,
    },
}

/// A lane's answer: closed lanes answer nothing but their epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneAnswer<T> {
    /// The lane is open under the caller's epoch.
    Open(T),
    /// It is closed, missing, reloaded under another epoch, or its Redis restarted. Never "sold
    /// out", never "full".
    Closed {
        /// The epoch stored in the lane, to follow; 0 when it is missing.
        epoch: Epoch,
    },
}

/// The answer to a reserve call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReserveAnswer {
    /// One reply per request, in their order.
    Decided {
        /// The replies.
        replies: Vec<ReserveReply>,
        /// Units left after the call, of each offer asked for.
        left: Vec<(OfferId, u64)>,
    },
    /// The journal is at its limit: the log does not keep up, nothing was promised.
    JournalFull,
}

/// A purchase of a buyer in the lane, live or a tombstone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purchase {
    /// The order's id.
    pub order: OrderId,
    /// The offer's id.
    pub offer: OfferId,
    /// Units of it.
    pub quantity: u32,
    /// `None`: released; the tombstone answers late retries with the old order (R6).
    pub number: Option<PurchaseNumber>,
    /// Hash of its idempotency key.
    pub key: KeyHash,
    /// The batch that promised it; `None` when loaded from its row.
    pub batch: Option<BatchId>,
}

/// Why an order leaves its buyer's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoneWhy {
    /// Released: units go back, a tombstone stays (R6).
    Released {
        /// Units of it that lower the allotment instead of going back, because it is above its
        /// target (R9); at most its quantity.
        retired: u32,
    },
    /// Rejected, but not for stock: units go back, no tombstone.
    Rejected,
    /// Rejected for stock: these units never were; nothing goes back.
    RejectedForStock,
}

/// An order that is not live any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// The order.
    pub order: OrderId,
    /// The buyer it belongs to.
    pub buyer: BuyerId,
    /// Why it is gone.
    pub why: GoneWhy,
}

/// The answer to `close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseAnswer {
    /// Closed, marked with the epoch asked for; the journal cannot grow any more.
    Closed,
    /// It is open at this epoch or a later one under the running server: somebody rebuilt it
    /// already.
    RefusedOpen {
        /// The lane's epoch.
        epoch: Epoch,
    },
    /// A keeper with a higher epoch is at work.
    RefusedMarker {
        /// Its marker.
        marker: Epoch,
    },
}

/// What an offer starts from at a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferLoad {
    /// The offer.
    pub offer: OfferId,
    /// Units that may be promised: the allotment less what is sold.
    pub left: u64,
    /// Allotment by the ledger.
    pub allotment: u64,
    /// Packed position of the last allotment change; 0 for none.
    pub changed_at: i64,
}

/// What a lane starts from: derived from ledger and rows, never set by booting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneLoad {
    /// Live units one buyer may hold.
    pub limit_per_buyer: u32,
    /// Every offer of the lane.
    pub offers: Vec<OfferLoad>,
    /// Live purchases and tombstones with their buyers: those of one buyer together, oldest first.
    /// One flat list, because a lane may have a million.
    pub purchases: Vec<(BuyerId, Purchase)>,
}

/// The last step of a load: what it opens with beside the buyers that are in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneOpening {
    /// Buyers that were put in place.
    pub buyers: u64,
    /// Live units one buyer may hold.
    pub limit_per_buyer: u32,
    /// Every offer of the lane.
    pub offers: Vec<OfferLoad>,
}

/// The answer to `load`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadAnswer {
    /// Open under the epoch.
    Loaded,
    /// Not closed, another marker, or another run of the server (R4): ask for the next epoch.
    Refused,
}

/// The answer to `retire`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetireAnswer {
    /// Nothing of the lane is left.
    Gone,
    /// It is open, closed under another marker, or by another run of the server (R14): it stays as
    /// it is.
    Refused,
}

/// State of a lane as its server tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneMode {
    /// The lane has no state.
    Missing,
    /// Closed under a keeper's marker, or by a restart of its server.
    Closed {
        /// The keeper's marker; 0 when closed by a restart alone.
        marker: Epoch,
    },
    /// Open.
    Open {
        /// Its epoch.
        epoch: Epoch,
    },
}

/// What `inspect` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneView {
    /// Missing, closed or open.
    pub mode: LaneMode,
    /// Live units one buyer may hold; 0 where it was never loaded.
    pub limit_per_buyer: u32,
    /// Units left and known allotment of each offer, by offer.
    pub offers: Vec<(OfferId, u64, u64)>,
    /// Batches in the journal.
    pub journal_len: u64,
    /// Epoch milliseconds at which the oldest journal entry was (or is) due for the sweeper.
    pub oldest_due_ms: Option<u64>,
    /// Buyers with an entry.
    pub buyers_len: u64,
}

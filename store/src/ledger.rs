//! The ledger: how far each partition is decided, what each offer has sold, a movement per log
//! record, and the numbers of engines. Position, sold and movements move together (`commit`) or not
//! at all.

mod commit;
mod distrust;
mod engines;
mod lane;
mod lease;
mod loss;
mod movement;
mod skip;

use std::sync::Arc;

use domain::{
    decide::{AllotmentMove, LimitMove, Movement},
    id::{Epoch, Generation, LaneId, OfferId, OrderId, PartitionId, RecordId, SaleId, TenantId},
    sale::{Lane, Sale},
};

use crate::figures::DatabaseFigures;
use crate::{
    controls::Controls,
    domains::ShopDomains,
    publications::Publications,
    rates::TenantRates,
    sql::{Fixed, Sql, SqlError},
};

use commit::CommitTexts;
use engines::EngineTexts;
pub use engines::{EngineNews, EngineSeen, LEASE_MS_MAX};
use lane::{LIVING_LANES, OFFERS};
use lease::LeaseTexts;
pub use lease::WORKER_REST_MS;
pub use loss::{Loss, LostOrder};

/// How far a partition of the order log is decided (R10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionRow {
    /// The partition of the order log.
    pub partition: PartitionId,
    /// Generation of its log.
    pub generation: Generation,
    /// The random number in the generation's genesis.
    pub log_id: u64,
    /// The next offset to decide.
    pub offset: u64,
    /// Id of the record before it, which the log must still hold; `None` when nothing was decided,
    /// or it has no id.
    pub record: Option<RecordId>,
}

/// A lane with its offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneRow {
    /// The lane's id.
    pub lane: LaneId,
    /// The shop that its sale belongs to.
    pub tenant: TenantId,
    /// The sale that owns it.
    pub sale: SaleId,
    /// The partition that orders it.
    pub partition: PartitionId,
    /// The last epoch decided.
    pub epoch: Epoch,
    /// That epoch retired the lane (R14).
    pub is_retired: bool,
    /// Live units one buyer may hold.
    pub limit_per_buyer: u32,
    /// Packed position of the last change of the limit; 0 for none (R16).
    pub limit_changed_at: i64,
    /// R5: no order row of the lane has a lower id; `None` before its first opening, and where an
    /// older program opened it.
    pub first_order: Option<OrderId>,
    /// Its offers, by id.
    pub offers: Vec<OfferRow>,
}

impl LaneRow {
    /// The row that a lane of a published sale begins with: it was never opened, nothing is sold.
    #[must_use]
    pub fn first(sale: &Sale, lane: &Lane) -> Self {
        let offers = lane.offers.iter().map(|offer| OfferRow::first(offer.id, offer.allotment, sale.version));
        Self {
            lane: lane.id,
            tenant: sale.tenant,
            sale: sale.id,
            partition: lane.partition,
            epoch: Epoch(0),
            is_retired: false,
            limit_per_buyer: lane.limit_per_buyer,
            limit_changed_at: 0,
            first_order: None,
            offers: offers.collect(),
        }
    }
}

/// An offer's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferRow {
    /// The offer's id.
    pub offer: OfferId,
    /// Units it may sell: the effective allotment.
    pub allotment: u64,
    /// Units that the sale wants it to sell; the allotment where nothing else was asked for yet
    /// (R9).
    pub target: u64,
    /// Units sold and not released.
    pub sold: u64,
    /// The version of the sale that the allotment follows.
    pub sale_version: u32,
    /// Packed position of the last stock delta; 0 for none (R9).
    pub changed_at: i64,
}

impl OfferRow {
    /// The count that an offer begins with: all its units may be sold, none is.
    #[must_use]
    pub fn first(offer: OfferId, allotment: u64, sale_version: u32) -> Self {
        Self { offer, allotment, target: allotment, sold: 0, sale_version, changed_at: 0 }
    }
}

/// What a batch of decided records changes, in one transaction.
#[derive(Debug, Clone)]
pub struct LedgerCommit {
    /// The partition.
    pub partition: PartitionId,
    /// What its generation MUST be.
    pub generation: Generation,
    /// What the next offset MUST be.
    pub expected_offset: u64,
    /// The next offset to decide, once this is committed.
    pub next_offset: u64,
    /// The id of the record before that, if it has one.
    pub next_record: Option<RecordId>,
    /// Changes of sold units. Afterwards 0 <= sold <= allotment MUST hold for each.
    pub sold: Vec<(OfferId, i64)>,
    /// Epochs opened; never lower than the lane's.
    pub epochs: Vec<(LaneId, Epoch)>,
    /// Lanes retired, each under its last epoch; never lower than the lane's (R14).
    pub retired_lanes: Vec<(LaneId, Epoch)>,
    /// R5: lower bounds of lanes' order ids, where they are lower than those known, or the first
    /// ones.
    pub first_orders: Vec<(LaneId, OrderId)>,
    /// Allotments that change, each with the change it follows.
    pub allotments: Vec<AllotmentMove>,
    /// Limits per buyer that change (R16).
    pub limits: Vec<LimitMove>,
    /// Units that leave allotments above their targets.
    pub retired: Vec<(OfferId, u64)>,
    /// One per decided record.
    pub movements: Vec<Movement>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Committed {
    /// The position moved, and everything with it is durable.
    Done,
    /// The partition is not as expected: nothing happened.
    Fenced,
}

/// An engine's number, as the database knew it just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerLease {
    /// The worker number, 0 to 255.
    pub number: u8,
    /// The engine that holds it, by a name that no other has.
    pub holder: String,
    /// Live leases, this one included: each engine admits its share of a rate.
    pub live: u32,
    /// The database's clock, in epoch milliseconds.
    pub database_now_ms: u64,
    /// From that moment on the lease lives so long.
    pub ttl_ms: u64,
}

/// The ledger's repository.
#[derive(Debug, Clone)]
pub struct Ledger<S> {
    db: S,
    texts: Arc<Texts>,
    publications: Publications<S>,
}

#[derive(Debug)]
struct Texts {
    now: String,
    commit: CommitTexts,
    lease: LeaseTexts,
    engines: EngineTexts,
    living_lanes: Fixed,
    offers: Fixed,
}

impl<S: Sql> Ledger<S> {
    /// The repository over the ledger's database.
    pub fn new(db: S) -> Self {
        let now = format!("SELECT {}", S::NOW_MS);
        let texts = Texts {
            now,
            commit: CommitTexts::new(),
            lease: LeaseTexts::new(S::NOW_MS),
            engines: EngineTexts::new(S::NOW_MS),
            living_lanes: Fixed::new(LIVING_LANES),
            offers: Fixed::new(OFFERS),
        };
        Self { publications: Publications::new(db.clone()), db, texts: Arc::new(texts) }
    }

    /// The database's clock, in epoch milliseconds.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn now_ms(&self) -> Result<u64, SqlError> {
        let rows = self.db.rows(&self.texts.now, vec![]).await?;
        rows.into_iter().next().ok_or_else(|| SqlError::Broken("the clock gave no row".into()))?.number()
    }

    /// What is published: decided in the same database, so that a lane's owner and its ledger row
    /// cannot part.
    pub const fn publications(&self) -> &Publications<S> {
        &self.publications
    }

    /// The domains of tenants' shops, for who answers their pages.
    pub fn shop_domains(&self) -> ShopDomains<S> {
        ShopDomains::new(self.db.clone())
    }

    /// What tenants may sell a second, for engines.
    pub fn tenant_rates(&self) -> TenantRates<S> {
        TenantRates::new(self.db.clone())
    }

    /// What the operator set, for every program.
    pub fn controls(&self) -> Controls<S> {
        Controls::new(self.db.clone())
    }

    /// How its pool is used, and what came of its statements.
    pub fn figures(&self) -> DatabaseFigures {
        self.db.figures()
    }

    /// Closes the connections to the ledger's database.
    pub async fn close(&self) {
        self.db.close().await;
    }
}

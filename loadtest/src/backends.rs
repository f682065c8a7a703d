//! What the load test asks of the stores: is the sale open, how far is everything, and the evidence
//! for the audit. It only reads. Ledger and order rows it reads itself, over any database; lanes,
//! journals and log are a [`LaneWitness`]'s. Only the adapters below name technologies.

mod books;
pub mod embedded;
#[cfg(feature = "production")]
pub mod production;

use std::future::Future;

use domain::id::{BatchId, LaneId, OfferId};
use store::{
    ledger::{LaneRow, Ledger, OfferRow},
    orders::Orders,
    shards::Store,
    sql::Sql,
};

use crate::{
    audit::{EntryEvidence, Evidence, OfferEvidence, PromiseEvidence, RowEvidence},
    durable::{LookFailed, Snapshot, Witness},
    sale::{LIMIT_PER_BUYER, LoadOffer, LoadSale},
    tally::Book,
};

/// Rows read at once.
const PAGE: u32 = 10_000;

/// Why a store failed.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A store failed.
#[derive(Debug, thiserror::Error)]
#[error("{store}: {cause}\n{advice}")]
pub struct BackendsError {
    store: &'static str,
    #[source]
    cause: Cause,
    advice: &'static str,
}

/// For `map_err`: which store of this witness's deployment it was.
fn of<W: LaneWitness, E: Into<Cause>>(store: &'static str) -> impl Fn(E) -> BackendsError {
    move |error| BackendsError { store, cause: error.into(), advice: W::ADVICE }
}

/// A lane as its stock holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LaneSeen {
    /// It sells.
    pub open: bool,
    /// Units left of each offer.
    pub left: Vec<(OfferId, u64)>,
    /// Batches in its journal.
    pub journal: Vec<BatchId>,
}

/// Who can see what no database holds: the lanes' stock, their journals, and how far the log is.
pub trait LaneWitness {
    /// What holds ledger and rows, for errors.
    const DATABASE: &'static str;
    /// What to do when a store does not answer.
    const ADVICE: &'static str;

    /// What is under way in these lanes and anywhere in the log; `sold` stays 0. The journals
    /// MUST be looked at first: what leaves them is in the log, and what is in the log is looked
    /// for after that.
    fn under_way(&mut self, lanes: &[LaneId]) -> impl Future<Output = Result<Snapshot, BackendsError>>;

    /// These lanes, in this order.
    fn lanes(&self, lanes: &[LaneId]) -> impl Future<Output = Result<Vec<LaneSeen>, BackendsError>>;

    /// The live purchases in all buyers' entries of a lane.
    fn entries(&self, lane: LaneId) -> impl Future<Output = Result<Vec<EntryEvidence>, BackendsError>>;
}

/// The stores of a deployment, as far as some lanes go.
pub struct Backends<S, W> {
    ledger: Ledger<S>,
    orders: Orders<S>,
    witness: W,
    lanes: Vec<LaneId>,
}

/// A lane whose evidence is asked for.
struct Asked {
    lane: LaneId,
    limit_per_buyer: u32,
    limit_since: i64,
    is_retired: bool,
    /// As the ledger has them, else as published.
    offers: Vec<OfferRow>,
}

impl From<&LaneRow> for Asked {
    fn from(row: &LaneRow) -> Self {
        let LaneRow { lane, limit_per_buyer, is_retired, limit_changed_at, .. } = *row;
        Self { lane, limit_per_buyer, limit_since: limit_changed_at, is_retired, offers: row.offers.clone() }
    }
}

impl<S: Sql, W: LaneWitness> Backends<S, W> {
    /// Looks at these stores; `lanes` are those of which [`Witness::look`] and
    /// [`Backends::closed_lanes`] cover.
    pub fn new(store: Store<S>, witness: W, lanes: Vec<LaneId>) -> Self {
        let Store { ledger, orders } = store;
        Self { ledger, orders, witness, lanes }
    }

    /// From now on [`Witness::look`] and [`Backends::closed_lanes`] cover these lanes.
    pub fn watch(&mut self, lanes: Vec<LaneId>) {
        self.lanes = lanes;
    }

    /// Lanes that are not open yet.
    ///
    /// # Errors
    /// [`BackendsError`] when the stock does not answer.
    pub async fn closed_lanes(&self) -> Result<Vec<LaneId>, BackendsError> {
        let seen = self.witness.lanes(&self.lanes).await?;
        Ok(self.lanes.iter().zip(seen).filter(|(_, seen)| !seen.open).map(|(&lane, _)| lane).collect())
    }

    /// Units that the lanes still have.
    ///
    /// # Errors
    /// [`BackendsError`] when the stock does not answer.
    pub async fn left(&self) -> Result<u64, BackendsError> {
        let seen = self.witness.lanes(&self.lanes).await?;
        Ok(seen.iter().flat_map(|lane| &lane.left).map(|(_, left)| left).sum())
    }

    /// Every lane that the ledger knows: for an audit of all that a deployment has ever sold.
    ///
    /// # Errors
    /// [`BackendsError`] when the database does not answer.
    pub async fn all_lanes(&self) -> Result<Vec<LaneRow>, BackendsError> {
        self.ledger.all_lanes().await.map_err(of::<W, _>(W::DATABASE))
    }

    /// All that the audit compares of these lanes, without what buyers were answered. Of a lane
    /// that is not open (its sale is to come, or is over, or nothing runs) nothing is compared but
    /// ledger and rows.
    ///
    /// # Errors
    /// [`BackendsError`] of a store that does not answer: there is no audit with a part missing.
    pub async fn evidence_of(&self, lanes: &[LaneRow]) -> Result<Evidence, BackendsError> {
        let asked: Vec<Asked> = lanes.iter().map(Asked::from).collect();
        let (mut evidence, closed) = self.gather(&asked).await?;
        evidence.closed = closed;
        Ok(evidence)
    }

    /// All that the audit compares after a load: its lanes must be open, or retired since, and all
    /// agree.
    ///
    /// # Errors
    /// [`BackendsError`] of a store that does not answer: there is no audit with a part missing.
    pub async fn evidence(&self, sale: &LoadSale, book: &Book) -> Result<Evidence, BackendsError> {
        let asked = self.asked(sale).await?;
        let (mut evidence, _) = self.gather(&asked).await?;
        evidence.closed = asked.iter().filter(|asked| asked.is_retired).map(|asked| asked.lane).collect();
        let buyer = |index| sale.buyer(index).map_err(of::<W, _>("buyers"));
        for promise in book.promises() {
            let buyer = buyer(promise.buyer)?;
            evidence.promises.push(PromiseEvidence { buyer, order: promise.order, accepted: promise.accepted });
        }
        evidence.refused = book.refused().into_iter().map(buyer).collect::<Result<_, _>>()?;
        Ok(evidence)
    }

    /// The sale's lanes as published, with what the ledger counted.
    async fn asked(&self, sale: &LoadSale) -> Result<Vec<Asked>, BackendsError> {
        let mut asked = Vec::with_capacity(sale.offers.len());
        for &LoadOffer { lane, offer, allotment, .. } in &sale.offers {
            let row = self.ledger.lane(lane).await.map_err(of::<W, _>(W::DATABASE))?;
            asked.push(row.as_ref().map_or_else(
                || {
                    let (limit_per_buyer, offers) = (LIMIT_PER_BUYER, vec![OfferRow::first(offer, allotment, 0)]);
                    Asked { lane, limit_per_buyer, limit_since: 0, is_retired: false, offers }
                },
                Asked::from,
            ));
        }
        Ok(asked)
    }

    /// The evidence, and which of the lanes are not open.
    async fn gather(&self, asked: &[Asked]) -> Result<(Evidence, Vec<LaneId>), BackendsError> {
        let lanes: Vec<LaneId> = asked.iter().map(|asked| asked.lane).collect();
        let mut evidence = Evidence { rows: self.rows(&lanes).await?, ..Evidence::default() };
        let mut closed = Vec::new();
        for (asked, seen) in asked.iter().zip(self.witness.lanes(&lanes).await?) {
            let &Asked { lane, limit_per_buyer, limit_since, is_retired, ref offers } = asked;
            for &OfferRow { offer, allotment, target, sold, .. } in offers {
                let left = seen.left.iter().find(|(known, _)| *known == offer).map_or(0, |(_, left)| *left);
                evidence.offers.push(OfferEvidence {
                    lane,
                    offer,
                    limit_per_buyer,
                    limit_since,
                    allotment,
                    target,
                    sold,
                    left,
                });
            }
            let entries = self.witness.entries(lane).await?;
            if is_retired && !(entries.is_empty() && seen.left.is_empty()) {
                evidence.held.push(lane);
            }
            evidence.entries.extend(entries);
            evidence.journal.extend(seen.journal.iter().map(|batch| (lane, *batch)));
            if !seen.open {
                closed.push(lane);
            }
        }
        Ok((evidence, closed))
    }

    /// Every row of these lanes: a bound that the services got wrong would hide their mistakes.
    async fn rows(&self, lanes: &[LaneId]) -> Result<Vec<RowEvidence>, BackendsError> {
        let mut rows = Vec::new();
        for home in self.orders.map().all() {
            let mut after = None;
            loop {
                let page = self.orders.scan(home, lanes, 0, after, PAGE).await.map_err(of::<W, _>(W::DATABASE))?;
                rows.extend(page.iter().map(RowEvidence::from));
                after = page.last().map(|row| row.order);
                if page.len() < PAGE as usize {
                    break;
                }
            }
        }
        Ok(rows)
    }

    /// Closes what can be closed.
    pub async fn close(self) {
        self.ledger.close().await;
        self.orders.close().await;
    }

    async fn snapshot(&mut self) -> Result<Snapshot, BackendsError> {
        let mut snapshot = self.witness.under_way(&self.lanes).await?;
        snapshot.sold = 0;
        for &lane in &self.lanes {
            let row = self.ledger.lane(lane).await.map_err(of::<W, _>(W::DATABASE))?;
            snapshot.sold += row.iter().flat_map(|lane| &lane.offers).map(|offer| offer.sold).sum::<u64>();
        }
        Ok(snapshot)
    }
}

impl<S: Sql, W: LaneWitness> Witness for Backends<S, W> {
    async fn look(&mut self) -> Result<Snapshot, LookFailed> {
        self.snapshot().await.map_err(|error| LookFailed(error.to_string()))
    }
}

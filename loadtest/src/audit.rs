//! The audit: what buyers were answered, against what the three things that remember hold at rest,
//! in the words of the protocol. Pure: evidence in, findings out. It reads nothing and repairs
//! nothing. There may be millions of rows: they are put into order and not into tables, which would
//! take ten times the memory.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use domain::{
    id::{BatchId, BuyerId, KeyHash, LaneId, OfferId, OrderId},
    order::{OrderRow, Status},
    sale::LIMIT_MAX,
    stock::Purchase,
};
use serde::Serialize;

/// Examples kept of each kind of damage.
pub const EXAMPLES_MAX: usize = 10;

/// An offer, as stock and ledger record it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferEvidence {
    /// Its lane.
    pub lane: LaneId,
    /// The offer.
    pub offer: OfferId,
    /// Live units that one buyer may hold in the lane.
    pub limit_per_buyer: u32,
    /// Where in the log the limit last changed (R16), packed; 0: it never did.
    pub limit_since: i64,
    /// Units it may sell: by the ledger, else as published.
    pub allotment: u64,
    /// Units that its sale wants it to sell; the allotment is above it while a reduction waits for
    /// units to come back (R9).
    pub target: u64,
    /// Units sold by the ledger, 0 when the ledger does not know it.
    pub sold: u64,
    /// Units left by the stock, 0 when the stock does not know it.
    pub left: u64,
}

/// An order row, as far as the audit goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowEvidence {
    /// Primary key.
    pub order: OrderId,
    /// Who bought.
    pub buyer: BuyerId,
    /// The lane that ordered it.
    pub lane: LaneId,
    /// What.
    pub offer: OfferId,
    /// Units.
    pub quantity: u32,
    /// Hash of the idempotency key.
    pub key: KeyHash,
    /// It counts for stock and limits (R5).
    pub live: bool,
    /// Decided against.
    pub rejected: bool,
    /// Where its reservation stands in the log, packed.
    pub position: i64,
    /// What it is.
    pub status: Status,
    /// Its price for all units, minor units.
    pub total: i64,
}

impl From<&OrderRow> for RowEvidence {
    fn from(row: &OrderRow) -> Self {
        Self {
            order: row.order,
            buyer: row.buyer,
            lane: row.lane,
            offer: row.offer,
            quantity: row.quantity,
            key: row.key,
            live: row.is_live(),
            rejected: row.status == Status::Rejected,
            // No row has a place that is out of range.
            position: row.position.pack().unwrap_or(i64::MAX),
            status: row.status,
            // No order costs more than can be written.
            total: row.unit_price.times(row.quantity).map_or(i64::MAX, |total| total.amount),
        }
    }
}

/// A live purchase in a buyer's entry in the stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryEvidence {
    /// The lane.
    pub lane: LaneId,
    /// Whose entry.
    pub buyer: BuyerId,
    /// The order.
    pub order: OrderId,
    /// The offer.
    pub offer: OfferId,
    /// Units.
    pub quantity: u32,
}

impl EntryEvidence {
    /// The live ones of a buyer's purchases: a tombstone is no entry.
    pub fn live(lane: LaneId, buyer: BuyerId, purchases: &[Purchase]) -> impl Iterator<Item = Self> + '_ {
        purchases.iter().filter(|purchase| purchase.number.is_some()).map(move |purchase| {
            let Purchase { order, offer, quantity, .. } = *purchase;
            Self { lane, buyer, order, offer, quantity }
        })
    }
}

/// An answer `202`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromiseEvidence {
    /// To whom.
    pub buyer: BuyerId,
    /// Which order.
    pub order: OrderId,
    /// Accepted, and not only pending.
    pub accepted: bool,
}

/// All that is compared.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The sale's offers.
    pub offers: Vec<OfferEvidence>,
    /// All rows of its lanes, of every table, in any order.
    pub rows: Vec<RowEvidence>,
    /// Live purchases in the stock.
    pub entries: Vec<EntryEvidence>,
    /// Lanes that have no stock to compare, because they do not sell now: what is left and buyers'
    /// entries say nothing of them.
    pub closed: Vec<LaneId>,
    /// Retired lanes of which the stock still holds something (R14).
    pub held: Vec<LaneId>,
    /// Entries of the journals.
    pub journal: Vec<(LaneId, BatchId)>,
    /// What buyers were promised.
    pub promises: Vec<PromiseEvidence>,
    /// Buyers with a final refusal and without any promise.
    pub refused: Vec<BuyerId>,
}

/// How much of a damage, and where to look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How many.
    pub count: u64,
    /// A few of them.
    pub examples: Vec<String>,
}

impl Finding {
    fn add(&mut self, count: u64, example: impl FnOnce() -> String) {
        if count > 0 {
            self.count += count;
            if self.examples.len() < EXAMPLES_MAX {
                self.examples.push(example());
            }
        }
    }
}

/// What the audit says. All but the first four words are reported and do not decide the exit
/// status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Answered `202 accepted`, no row of any status.
    pub lost: Finding,
    /// One id in two rows, or two live rows for one (buyer, offer, key).
    pub doubled: Finding,
    /// Sum over offers of max(0, live - allotment).
    pub oversold: Finding,
    /// Sum of |allotment - left - live| + |sold - live| + entries without a live row and the
    /// reverse + journal entries.
    pub leaked: Finding,
    /// Answered `202 accepted`, the row is rejected. 0 unless the stock or the log lost
    /// acknowledged data.
    pub rejected_after_accepted: Finding,
    /// Live units of a buyer in a lane beyond its limit (INV-2).
    pub over_limit: Finding,
    /// Answered `202 pending`, no row of any status. 0 unless the stock or the log lost data.
    pub pending_without_row: Finding,
    /// Finally refused, never promised anything, and yet a live row.
    pub refused_with_row: Finding,
}

impl Findings {
    /// None of the four.
    pub fn is_clean(&self) -> bool {
        [&self.lost, &self.doubled, &self.oversold, &self.leaked].iter().all(|finding| finding.count == 0)
    }

    /// Every word with its finding.
    pub fn words(&self) -> [(&'static str, &Finding); 8] {
        [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("oversold", &self.oversold),
            ("leaked", &self.leaked),
            ("rejected_after_accepted", &self.rejected_after_accepted),
            ("over_limit", &self.over_limit),
            ("pending_without_row", &self.pending_without_row),
            ("refused_with_row", &self.refused_with_row),
        ]
    }
}

/// Compares.
pub fn compare(evidence: &Evidence) -> Findings {
    let mut rows: Vec<&RowEvidence> = evidence.rows.iter().collect();
    rows.sort_unstable_by_key(|row| row.order);
    let mut findings = Findings::default();
    promises(evidence, &rows, &mut findings);
    doubles(&rows, &mut findings.doubled);
    units(evidence, &mut findings);
    entries(evidence, &mut findings.leaked);
    for lane in &evidence.held {
        findings.leaked.add(1, || format!("lane {lane} is retired, and the stock still holds something of it"));
    }
    for (lane, batch) in &evidence.journal {
        findings.leaked.add(1, || format!("lane {lane}: journal entry {batch}"));
    }
    limits(evidence, &mut findings.over_limit);
    refusals(evidence, &mut findings.refused_with_row);
    findings
}

/// Rows of one order; more than one only when something is wrong.
fn rows_of<'a, 'b>(rows: &'b [&'a RowEvidence], order: OrderId) -> &'b [&'a RowEvidence] {
    let first = rows.partition_point(|row| row.order < order);
    let count = rows[first..].partition_point(|row| row.order == order);
    &rows[first..first + count]
}

fn promises(evidence: &Evidence, rows: &[&RowEvidence], findings: &mut Findings) {
    for PromiseEvidence { buyer, order, accepted } in &evidence.promises {
        // Another buyer's row does not keep this promise.
        let row = rows_of(rows, *order).iter().find(|row| row.buyer == *buyer);
        let example = || format!("order {order} of buyer {buyer}");
        match (row, accepted) {
            (None, true) => findings.lost.add(1, example),
            (None, false) => findings.pending_without_row.add(1, example),
            (Some(row), true) if row.rejected => findings.rejected_after_accepted.add(1, example),
            (Some(_), _) => {}
        }
    }
}

fn doubles(rows: &[&RowEvidence], doubled: &mut Finding) {
    fn key(row: &RowEvidence) -> (BuyerId, OfferId, KeyHash) {
        (row.buyer, row.offer, row.key)
    }
    // One id counts once below: its second row is counted here.
    let mut purchases: Vec<&RowEvidence> = Vec::with_capacity(rows.len());
    for same in rows.chunk_by(|a, b| a.order == b.order) {
        doubled.add(same.len() as u64 - 1, || format!("order {} in {} rows", same[0].order, same.len()));
        purchases.extend(same.iter().copied().find(|row| row.live));
    }
    purchases.sort_unstable_by_key(|row| (key(row), row.order));
    for twice in purchases.windows(2).filter(|two| key(two[0]) == key(two[1])) {
        let (first, second) = (twice[0].order, twice[1].order);
        doubled.add(1, || format!("orders {first} and {second} of buyer {} for one key", twice[0].buyer));
    }
}

fn units(evidence: &Evidence, findings: &mut Findings) {
    let mut live: BTreeMap<OfferId, u64> = evidence.offers.iter().map(|offer| (offer.offer, 0)).collect();
    for row in evidence.rows.iter().filter(|row| row.live) {
        *live.entry(row.offer).or_default() += u64::from(row.quantity);
    }
    for (offer, live) in live {
        // An offer that nobody published has nothing to sell.
        let known = evidence.offers.iter().find(|evidence| evidence.offer == offer);
        let (allotment, sold, left) = known.map_or((0, 0, 0), |known| (known.allotment, known.sold, known.left));
        let has_stock = known.is_none_or(|known| !evidence.closed.contains(&known.lane));
        let example = || format!("offer {offer}: allotment {allotment}, live {live}, sold {sold}, left {left}");
        findings.oversold.add(live.saturating_sub(allotment), example);
        if has_stock {
            findings.leaked.add(allotment.abs_diff(left.saturating_add(live)), example);
        }
        findings.leaked.add(sold.abs_diff(live), example);
    }
}

fn entries(evidence: &Evidence, leaked: &mut Finding) {
    let has_stock = |lane: LaneId| !evidence.closed.contains(&lane);
    let mut in_stock: Vec<EntryEvidence> =
        evidence.entries.iter().copied().filter(|entry| has_stock(entry.lane)).collect();
    in_stock.sort_unstable();
    let all = in_stock.len();
    in_stock.dedup();
    let repeated = all - in_stock.len();
    leaked.add(repeated as u64, || format!("{repeated} buyers' entries stand twice"));
    let live = evidence.rows.iter().filter(|row| row.live && has_stock(row.lane)).map(|row| {
        let RowEvidence { lane, buyer, order, offer, quantity, .. } = *row;
        EntryEvidence { lane, buyer, order, offer, quantity }
    });
    let mut in_rows: Vec<EntryEvidence> = live.collect();
    in_rows.sort_unstable();
    for EntryEvidence { lane, buyer, order, .. } in missing(&in_stock, &in_rows) {
        leaked.add(1, || format!("lane {lane}: entry of buyer {buyer}, order {order}, has no live row"));
    }
    in_rows.dedup();
    for EntryEvidence { lane, buyer, order, .. } in missing(&in_rows, &in_stock) {
        leaked.add(1, || format!("lane {lane}: live order {order} of buyer {buyer} has no entry"));
    }
}

/// Those that are not among the others; both in order.
fn missing<'a, T: Ord>(some: &'a [T], others: &'a [T]) -> impl Iterator<Item = &'a T> {
    some.iter().filter(|one| others.binary_search(one).is_err())
}

/// R16: whoever held more when the limit fell keeps it, and buys nothing more until he holds less.
/// So a buyer with a live purchase since the change holds no more than the limit; of all others the
/// earlier limit is not known.
fn limits(evidence: &Evidence, over_limit: &mut Finding) {
    fn whose(row: &RowEvidence) -> (BuyerId, LaneId) {
        (row.buyer, row.lane)
    }
    let limits: HashMap<LaneId, (u32, i64)> =
        evidence.offers.iter().map(|offer| (offer.lane, (offer.limit_per_buyer, offer.limit_since))).collect();
    let mut live: Vec<&RowEvidence> = evidence.rows.iter().filter(|row| row.live).collect();
    live.sort_unstable_by_key(|row| whose(row));
    for rows in live.chunk_by(|a, b| whose(a) == whose(b)) {
        let (buyer, lane) = whose(rows[0]);
        let held: u64 = rows.iter().map(|row| u64::from(row.quantity)).sum();
        let (limit, since) = limits.get(&lane).copied().unwrap_or((0, 0));
        let bought_since = rows.iter().any(|row| row.position >= since);
        let limit = u64::from(if bought_since { limit } else { LIMIT_MAX });
        over_limit
            .add(held.saturating_sub(limit), || format!("buyer {buyer} holds {held} in lane {lane}, limit {limit}"));
    }
}

fn refusals(evidence: &Evidence, refused_with_row: &mut Finding) {
    let mut refused = evidence.refused.clone();
    refused.sort_unstable();
    for row in evidence.rows.iter().filter(|row| row.live && refused.binary_search(&row.buyer).is_ok()) {
        refused_with_row.add(1, || format!("buyer {} was refused and has order {}", row.buyer, row.order));
    }
}

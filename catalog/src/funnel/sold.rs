//! What the ledger decided: its movements, partition by partition, each counted once. Where they do
//! not tell all (a new generation, movements that were deleted, a beginning in the middle), the
//! counts are set right by the units sold that the ledger has.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use domain::{
    counts::{Counts, Step},
    decide::Movement,
    id::{Generation, LaneId, OfferId, PartitionId},
};
use kit::clock::Clock as _;
use store::{
    ledger::{LaneRow, Ledger, PartitionRow},
    sql::{Sql, SqlError, Tx, Value, stored},
};

use super::book::{self, Book, Owner};
use crate::{ports::Ports, service::Catalog};

/// Between two looks at the ledger's positions.
const EVERY: Duration = Duration::from_secs(1);
/// Movements counted in one transaction, at most.
const MOVEMENTS_MAX: u64 = 1_000;
/// Lanes whose owners are remembered, at most.
const OWNERS_MAX: usize = 100_000;

const POSITIONS: &str = "SELECT partition_id, generation, log_offset FROM funnel_movements";
const BEGIN: &str = "INSERT INTO funnel_movements (partition_id, generation, log_offset) VALUES (?, ?, ?)";
// The fence: who moves it has the movements from there on for itself.
const MOVE: &str = "UPDATE funnel_movements SET generation = ?, log_offset = ? \
                    WHERE partition_id = ? AND generation = ? AND log_offset = ?";
/// Its warehouse has units to take back, as `sales::settle` does.
const GIVEN_BACK: &str = "UPDATE sales SET is_owed = 1 WHERE tenant = ? AND sale = ? AND is_settled = 1";
const COUNTED: &str = "SELECT offer, counts FROM funnel_counts WHERE sale = ? AND width = 0 AND at_s = 0";

/// The next record of a partition whose movement is to be counted.
type At = (Generation, u64);

/// The log's first record of a partition: nothing was sold before it.
const FIRST: At = (Generation(1), 0);

/// Follows the ledger until the future is dropped, which may be at any moment.
pub(super) async fn follow<P: Ports>(catalog: &Catalog<P>) {
    let mut sold = Sold::new(catalog.sql().clone(), catalog.selling().ledger.clone());
    loop {
        if let Err(error) = sold.round(catalog.clock().now_ms() / 1_000).await {
            tracing::warn!(%error, "what the ledger decided is not counted now; it is counted later");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// The ledger, as far as it is counted.
pub(super) struct Sold<S> {
    db: S,
    ledger: Ledger<S>,
    /// As of the last look; only hints, each write is fenced.
    positions: HashMap<PartitionId, At>,
    owners: HashMap<LaneId, Owner>,
}

impl<S: Sql> Sold<S> {
    pub(super) fn new(db: S, ledger: Ledger<S>) -> Self {
        Self { db, ledger, positions: HashMap::new(), owners: HashMap::new() }
    }

    /// Counts all that the ledger has decided, at this second since 1970.
    ///
    /// # Errors
    /// [`SqlError`]; the next round goes on.
    pub(super) async fn round(&mut self, second: u64) -> Result<(), SqlError> {
        let mut failed = None;
        for row in self.ledger.partitions().await? {
            while self.position(row.partition).await? < (row.generation, row.offset) {
                let counted = self.step(&row, second).await;
                if !matches!(counted, Ok(true)) {
                    // Another process was quicker, or nobody knows: the database is asked.
                    self.positions.remove(&row.partition);
                    // The other partitions go on.
                    failed = counted.err().or(failed);
                    break;
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn position(&mut self, partition: PartitionId) -> Result<At, SqlError> {
        if !self.positions.contains_key(&partition) {
            for mut row in self.db.rows(POSITIONS, vec![]).await? {
                let of = PartitionId(row.number()?);
                self.positions.insert(of, (Generation(row.number()?), row.number()?));
            }
        }
        if let Some(&at) = self.positions.get(&partition) {
            return Ok(at);
        }
        self.db.insert_absent(BEGIN, place(partition, FIRST)?).await?;
        Ok(*self.positions.entry(partition).or_insert(FIRST))
    }

    /// One transaction; `false` when another process was quicker.
    async fn step(&mut self, row: &PartitionRow, second: u64) -> Result<bool, SqlError> {
        let from = self.position(row.partition).await?;
        let end = row.offset.min(from.1.saturating_add(MOVEMENTS_MAX));
        let mut movements = Vec::new();
        if from.0 == row.generation && from.1 < end {
            movements = match self.ledger.movements(row.partition, from.0, from.1, end - 1).await {
                Err(SqlError::Broken(cause)) => {
                    tracing::error!(partition = %row.partition, from = from.1, %cause, "a movement cannot be read");
                    Vec::new()
                }
                read => read?,
            };
        }
        // Each record has one: where there are fewer, some are gone.
        if movements.is_empty() || movements.len() as u64 != end - from.1 {
            return self.set_right(row.partition, from, second).await;
        }
        let (mut book, mut giving) = (Book::default(), BTreeSet::new());
        for movement in &movements {
            let Some(lane) = movement.lane.filter(|_| !movement.units.is_empty()) else { continue };
            let Some(owner) = self.owner(lane).await? else { continue };
            movement_counts(movement).for_each(|(offer, counts)| book.add(owner, offer, second, &counts));
            if movement.units.iter().any(|(_, change)| *change < 0) {
                giving.insert(owner);
            }
        }
        let to = (from.0, end);
        let mut tx = self.db.begin().await?;
        if !moved(&mut tx, row.partition, from, to).await? {
            tx.rollback().await;
            return Ok(false);
        }
        given_back(&mut tx, giving).await?;
        book.write(&mut tx).await?;
        tx.commit().await?;
        self.positions.insert(row.partition, to);
        Ok(true)
    }

    /// Counts what is missing or too much by the ledger's units sold, and goes on from there.
    async fn set_right(&mut self, partition: PartitionId, from: At, second: u64) -> Result<bool, SqlError> {
        let Some((to, lanes)) = self.of_one_moment(partition).await? else { return Ok(false) };
        let mut tx = self.db.begin().await?;
        if !moved(&mut tx, partition, from, to).await? {
            tx.rollback().await;
            return Ok(false);
        }
        let (mut book, mut giving) = (Book::default(), BTreeSet::new());
        let mut offers = 0_u64;
        for (owner, sold) in by_sale(&lanes) {
            let counted = counted(&mut tx, owner).await?;
            for (offer, sold) in sold {
                let live = counted.get(&offer.stored()).copied().unwrap_or(0);
                let step = if live < sold { Step::AcceptedUnits } else { Step::ReleasedUnits };
                if live > sold {
                    giving.insert(owner);
                }
                if live != sold {
                    offers += 1;
                    book.add(owner, offer, second, &Counts::of_step(step, live.abs_diff(sold)));
                }
            }
        }
        given_back(&mut tx, giving).await?;
        book.write(&mut tx).await?;
        tx.commit().await?;
        let (generation, offset) = to;
        tracing::info!(%partition, generation = generation.0, offset, offers, "movements do not tell all: counts follow the units sold");
        self.positions.insert(partition, to);
        Ok(true)
    }

    /// A partition's position, and its lanes as of it; `None` while it moves too fast.
    async fn of_one_moment(&self, partition: PartitionId) -> Result<Option<(At, Vec<LaneRow>)>, SqlError> {
        let before = self.ledger.partition(partition).await?;
        let lanes = self.ledger.lanes(partition).await?;
        // Whatever changes what is sold moves the position with it.
        let after = self.ledger.partition(partition).await?;
        Ok(after.filter(|_| after == before).map(|row| ((row.generation, row.offset), lanes)))
    }

    /// Whose lane it is, which stays.
    async fn owner(&mut self, lane: LaneId) -> Result<Option<Owner>, SqlError> {
        if let Some(&owner) = self.owners.get(&lane) {
            return Ok(Some(owner));
        }
        let Some(LaneRow { sale, tenant, .. }) = self.ledger.lane(lane).await? else { return Ok(None) };
        if self.owners.len() >= OWNERS_MAX {
            self.owners.clear();
        }
        self.owners.insert(lane, Owner { sale, tenant });
        Ok(Some(Owner { sale, tenant }))
    }
}

/// What a movement counts: units sold are accepted, units given back released.
fn movement_counts(movement: &Movement) -> impl Iterator<Item = (OfferId, Counts)> {
    let mut units: BTreeMap<OfferId, Counts> = BTreeMap::new();
    for &(offer, change) in &movement.units {
        let step = if change > 0 { Step::AcceptedUnits } else { Step::ReleasedUnits };
        units.entry(offer).or_default().add(step, change.unsigned_abs());
    }
    units.into_iter()
}

/// Units sold of each offer.
fn by_sale(lanes: &[LaneRow]) -> BTreeMap<Owner, Vec<(OfferId, u64)>> {
    let mut sales: BTreeMap<Owner, Vec<(OfferId, u64)>> = BTreeMap::new();
    for lane in lanes {
        let owner = Owner { sale: lane.sale, tenant: lane.tenant };
        sales.entry(owner).or_default().extend(lane.offers.iter().map(|offer| (offer.offer, offer.sold)));
    }
    sales
}

/// Live units of each offer of a sale, as they are counted. Needs no lock: the fence of the
/// partition keeps others from these steps of its offers.
async fn counted<T: Tx>(tx: &mut T, owner: Owner) -> Result<HashMap<i64, u64>, SqlError> {
    let rows = tx.rows(COUNTED, vec![owner.sale.stored().into()]).await?;
    let live = rows.into_iter().map(|mut row| {
        let (offer, counts) = (row.int()?, book::read(&mut row)?);
        Ok((offer, counts.get(Step::AcceptedUnits).saturating_sub(counts.get(Step::ReleasedUnits))))
    });
    live.collect()
}

/// Orders of these sales gave units back: those of them that are settled are looked at again.
async fn given_back<T: Tx>(tx: &mut T, sales: BTreeSet<Owner>) -> Result<(), SqlError> {
    for Owner { sale, tenant } in sales {
        tx.exec(GIVEN_BACK, vec![tenant.number().into(), sale.stored().into()]).await?;
    }
    Ok(())
}

async fn moved<T: Tx>(tx: &mut T, partition: PartitionId, from: At, to: At) -> Result<bool, SqlError> {
    let mut params = vec![to.0.0.into(), stored(to.1)?.into()];
    params.extend(place(partition, from)?);
    Ok(tx.exec(MOVE, params).await? == 1)
}

fn place(partition: PartitionId, (generation, offset): At) -> Result<Vec<Value>, SqlError> {
    Ok(vec![partition.0.into(), generation.0.into(), stored(offset)?.into()])
}

//! The levels that a transaction changes: locked in sorted order, changed by movements, and written
//! back with the movements, and with the conflicts and events that follow from them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde_json::json;
use store::sql::{Fixed, Insert, Lock, Row, SqlError, Tx, Value};

use super::{
    conflicts,
    events::{self, Event},
    key::{By, Key, exec, put, put_new},
    level::{Act, Level, Position, Shortage, Spot, Step, Units},
    names,
};
use crate::refused::Refused;

const HEAD: &str = "SELECT movements FROM inventory_heads WHERE tenant = ?";
const FIRST_HEAD: &str = "INSERT INTO inventory_heads (tenant, movements, runs, reconciled_day) VALUES (?, 0, 0, 0)";
const MOVE_HEAD: &str = "UPDATE inventory_heads SET movements = ? WHERE tenant = ?";

static LEVELS: LazyLock<Fixed> = LazyLock::new(|| {
    Fixed::new(
        "SELECT sku, on_hand, placed, allotted, unshipped, threshold, is_low, conflict, version \
         FROM inventory_levels WHERE tenant = ? AND warehouse = ? AND sku IN ([?,])",
    )
});
static POSITIONS: LazyLock<Fixed> = LazyLock::new(|| {
    Fixed::new(
        "SELECT p.sku, p.bin, p.batch, p.units, b.expires_at FROM inventory_positions p \
         LEFT JOIN inventory_batches b ON b.tenant = p.tenant AND b.batch = p.batch \
         WHERE p.tenant = ? AND p.warehouse = ? AND p.sku IN ([?,])",
    )
});
static USED: LazyLock<Fixed> =
    LazyLock::new(|| Fixed::new("UPDATE skus SET used = 1 WHERE tenant = ? AND sku IN ([?,])"));
static REMOVE_LEVELS: LazyLock<Fixed> =
    LazyLock::new(|| Fixed::new("DELETE FROM inventory_levels WHERE tenant = ? AND warehouse = ? AND sku IN ([?,])"));
static PUT_LEVELS: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "INSERT INTO inventory_levels (tenant, warehouse, sku, on_hand, placed, allotted, unshipped, threshold, \
         is_low, conflict, version, changed_at) VALUES [(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?),]",
    )
});
static REMOVE_POSITIONS: LazyLock<Fixed> = LazyLock::new(|| {
    Fixed::new("DELETE FROM inventory_positions WHERE tenant = ? AND warehouse = ? AND sku IN ([?,])")
});
static PUT_POSITIONS: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "INSERT INTO inventory_positions (tenant, warehouse, sku, bin, batch, units) VALUES [(?, ?, ?, ?, ?, ?),]",
    )
});
static PUT_MOVEMENTS: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "INSERT INTO inventory_movements (tenant, movement, warehouse, sku, bin, batch, kind, on_hand_change, \
         allotted_change, unshipped_change, on_hand, allotted, unshipped, reference, reason, actor, at_ms) \
         VALUES [(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?),]",
    )
});

/// What a movement says beside its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) kind: &'static str,
    pub(crate) reference: String,
    pub(crate) reason: String,
}

/// A movement of this transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) key: Key,
    pub(crate) step: Step,
    pub(crate) note: Note,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Held {
    level: Level,
    is_low: bool,
    conflict: i64,
    /// 0 while there is no row.
    version: i64,
    is_changed: bool,
    is_replaced: bool,
}

/// Levels of a transaction.
pub(crate) struct Book {
    by: By,
    levels: BTreeMap<Key, Held>,
    moved: Vec<Moved>,
}

impl Book {
    /// Locks these levels; those that have no row yet are empty. Their warehouses and SKUs stay
    /// until the transaction ends.
    ///
    /// # Errors
    /// `not_found` when a warehouse or SKU vanished; [`Refused::Sql`].
    pub(crate) async fn open<T: Tx>(tx: &mut T, by: By, keys: &BTreeSet<Key>) -> Result<Self, Refused> {
        let mut book = Self { by, levels: BTreeMap::new(), moved: Vec::new() };
        for (warehouse, skus) in by_warehouse(keys.iter().copied()) {
            book.lock(tx, warehouse, &skus).await?;
        }
        let missing: Vec<Key> = keys.iter().filter(|key| !book.levels.contains_key(key)).copied().collect();
        if !missing.is_empty() {
            let warehouses = missing.iter().map(|key| key.warehouse).collect();
            let skus = missing.iter().map(|key| key.sku).collect();
            if names::hold(tx, book.by.tenant, &warehouses, &skus).await? != (warehouses, skus) {
                return Err(Refused::not_found("warehouse or SKU"));
            }
            book.levels.extend(missing.into_iter().map(|key| (key, Held::default())));
        }
        Ok(book)
    }

    async fn lock<T: Tx>(&mut self, tx: &mut T, warehouse: i64, skus: &[i64]) -> Result<(), SqlError> {
        let before = [self.by.tenant.into(), warehouse.into()];
        let mut placed = BTreeMap::new();
        for mut row in names::locked(tx, &LEVELS, &before, skus).await? {
            let key = Key { warehouse, sku: row.int()? };
            let (on_hand, is_placed) = (row.int()?, row.int()? != 0);
            let units = Units { on_hand, allotted: row.int()?, unshipped: row.int()? };
            let held = Held {
                level: Level::new(units, row.int_or_null()?, Vec::new()),
                is_low: row.int()? != 0,
                conflict: row.int()?,
                version: row.int()?,
                ..Held::default()
            };
            if is_placed {
                placed.insert(key.sku, Vec::new());
            }
            self.levels.insert(key, held);
        }
        let skus: Vec<i64> = placed.keys().copied().collect();
        for mut row in names::listed(tx, &POSITIONS, &before, &skus).await? {
            let (sku, position) = position(&mut row)?;
            placed.entry(sku).or_default().push(position);
        }
        for (sku, positions) in placed {
            if let Some(held) = self.levels.get_mut(&Key { warehouse, sku }) {
                held.level = Level::new(held.level.units, held.level.threshold, positions);
            }
        }
        Ok(())
    }

    /// A level as it is now, and its version as it was.
    pub(crate) fn level(&self, key: Key) -> Option<(&Level, i64)> {
        self.levels.get(&key).map(|held| (&held.level, held.version))
    }

    /// Does it, or nothing of it; gives how many movements it came to.
    ///
    /// # Errors
    /// [`Shortage`]: what there is instead.
    pub(crate) fn apply(&mut self, key: Key, act: Act, note: &Note) -> Result<usize, Shortage> {
        let Some(held) = self.levels.get_mut(&key) else { return Err(Shortage::NotThere(0)) };
        let steps = held.level.apply(act, self.by.now_ms)?;
        held.is_changed |= !steps.is_empty();
        let count = steps.len();
        self.moved.extend(steps.into_iter().map(|step| Moved { key, step, note: note.clone() }));
        Ok(count)
    }

    /// Moves units to another warehouse, or nothing.
    ///
    /// # Errors
    /// As [`Book::apply`].
    pub(crate) fn transfer(
        &mut self,
        (from, out): (Key, Act),
        (to, into): (Key, Act),
        note: &Note,
    ) -> Result<(), Shortage> {
        let before = (self.levels.get(&from).cloned(), self.moved.len());
        self.apply(from, out, note)?;
        if let Err(shortage) = self.apply(to, into, note) {
            self.levels.extend(before.0.map(|held| (from, held)));
            self.moved.truncate(before.1);
            return Err(shortage);
        }
        Ok(())
    }

    /// Sets a level's threshold.
    pub(crate) fn set_threshold(&mut self, key: Key, threshold: Option<i64>) {
        if let Some(held) = self.levels.get_mut(&key) {
            held.is_changed |= held.level.threshold != threshold;
            held.level.threshold = threshold;
        }
    }

    /// Looks whether time made levels low: what expired is not available any more.
    pub(crate) fn look(&mut self) {
        for held in self.levels.values_mut() {
            held.is_changed |= held.is_low != held.level.is_low(self.by.now_ms);
        }
    }

    /// Writes everything. `source`: of the feed that it comes from. Gives the movements, with the
    /// number of the first.
    ///
    /// # Errors
    /// [`SqlError`]; roll back.
    pub(crate) async fn close<T: Tx>(mut self, tx: &mut T, source: &str) -> Result<(i64, Vec<Moved>), SqlError> {
        let first = self.number(tx).await?;
        let follows = self.settle(first);
        self.write_levels(tx).await?;
        self.write_movements(tx, first).await?;
        conflicts::write(tx, &self.by, source, &follows.opened, &follows.resolved).await?;
        events::append(tx, self.by.tenant, self.by.now_ms, follows.events).await?;
        Ok((first, self.moved))
    }

    /// Takes numbers for the movements.
    async fn number<T: Tx>(&self, tx: &mut T) -> Result<i64, SqlError> {
        if self.moved.is_empty() {
            return Ok(0);
        }
        let last = lock_head(tx, self.by.tenant).await?;
        let count = i64::try_from(self.moved.len()).unwrap_or(i64::MAX);
        tx.exec(MOVE_HEAD, vec![(last + count).into(), self.by.tenant.into()]).await?;
        Ok(last + 1)
    }

    /// What follows from the changes: levels that became low, or short, or are short no more.
    fn settle(&mut self, first: i64) -> Follows {
        let mut last = BTreeMap::new();
        for (moved, number) in self.moved.iter().zip(first..) {
            last.insert(moved.key, number);
        }
        let (mut follows, now_ms) = (Follows::default(), self.by.now_ms);
        for (key, held) in self.levels.iter_mut().filter(|(_, held)| held.is_changed) {
            let is_low = held.level.is_low(now_ms);
            if is_low && !held.is_low {
                follows.events.push(low(*key, &held.level, now_ms));
            }
            held.is_low = is_low;
            let is_short = held.level.is_short();
            if held.conflict != 0 && !is_short {
                follows.resolved.push(held.conflict);
                held.conflict = 0;
            } else if let Some(number) = last.get(key).filter(|_| is_short && held.conflict == 0) {
                held.conflict = *number;
                follows.opened.push((*number, *key, held.level.units));
            }
            held.is_replaced = held.version != 0;
            held.version += 1;
        }
        follows
    }

    async fn write_levels<T: Tx>(&self, tx: &mut T) -> Result<(), SqlError> {
        let changed: Vec<_> = self.levels.iter().filter(|(_, held)| held.is_changed).collect();
        let replaced = changed.iter().filter(|(_, held)| held.is_replaced).map(|(key, _)| **key);
        for (warehouse, skus) in by_warehouse(replaced) {
            exec(tx, &REMOVE_LEVELS, &[self.by.tenant.into(), warehouse.into()], &skus).await?;
        }
        let made: BTreeSet<i64> =
            changed.iter().filter(|(_, held)| !held.is_replaced).map(|(key, _)| key.sku).collect();
        let made: Vec<i64> = made.into_iter().collect();
        exec(tx, &USED, &[self.by.tenant.into()], &made).await?;
        let moved: BTreeSet<Key> =
            self.moved.iter().filter(|moved| moved.step.spot != Spot::NONE).map(|moved| moved.key).collect();
        for (warehouse, skus) in by_warehouse(moved.iter().copied()) {
            exec(tx, &REMOVE_POSITIONS, &[self.by.tenant.into(), warehouse.into()], &skus).await?;
        }
        let (mut levels, mut positions) = (Vec::new(), Vec::new());
        for (key, held) in changed {
            levels.extend(self.level_row(*key, held));
            if moved.contains(key) {
                let rows = held.level.positions().iter().flat_map(|position| self.position_row(*key, position));
                positions.extend(rows);
            }
        }
        put_new(tx, &PUT_LEVELS, levels).await?;
        put(tx, &PUT_POSITIONS, positions).await
    }

    fn level_row(&self, key: Key, held: &Held) -> [Value; 12] {
        let Units { on_hand, allotted, unshipped } = held.level.units;
        [
            self.by.tenant.into(),
            key.warehouse.into(),
            key.sku.into(),
            on_hand.into(),
            held.level.placed().into(),
            allotted.into(),
            unshipped.into(),
            held.level.threshold.into(),
            i64::from(held.is_low).into(),
            held.conflict.into(),
            held.version.into(),
            self.by.now_ms.into(),
        ]
    }

    fn position_row(&self, key: Key, Position { spot, units, .. }: &Position) -> [Value; 6] {
        [
            self.by.tenant.into(),
            key.warehouse.into(),
            key.sku.into(),
            spot.bin.into(),
            spot.batch.into(),
            (*units).into(),
        ]
    }

    async fn write_movements<T: Tx>(&self, tx: &mut T, first: i64) -> Result<(), SqlError> {
        let rows = self.moved.iter().zip(first..).flat_map(|(moved, number)| {
            let Moved { key, step: Step { spot, change, after }, note } = moved;
            [
                self.by.tenant.into(),
                number.into(),
                key.warehouse.into(),
                key.sku.into(),
                spot.bin.into(),
                spot.batch.into(),
                note.kind.into(),
                change.on_hand.into(),
                change.allotted.into(),
                change.unshipped.into(),
                after.on_hand.into(),
                after.allotted.into(),
                after.unshipped.into(),
                note.reference.as_str().into(),
                note.reason.as_str().into(),
                self.by.actor.as_str().into(),
                self.by.now_ms.into(),
            ]
        });
        put(tx, &PUT_MOVEMENTS, rows.collect()).await
    }
}

/// What follows from changed levels.
#[derive(Default)]
struct Follows {
    opened: Vec<(i64, Key, Units)>,
    resolved: Vec<i64>,
    events: Vec<Event>,
}

fn low(key: Key, level: &Level, now_ms: i64) -> Event {
    let data = json!({
        "sku_id": key.sku.to_string(),
        "warehouse_id": key.warehouse.to_string(),
        "available": level.available(now_ms).max(0),
        "threshold": level.threshold,
    });
    Event { kind: events::LOW_STOCK, subject: format!("sku:{}/warehouse:{}", key.sku, key.warehouse), data }
}

/// Locks the tenant's head, which is made when there is none, and gives its last movement.
pub(super) async fn lock_head<T: Tx>(tx: &mut T, tenant: u32) -> Result<i64, SqlError> {
    let mut rows = tx.lock_rows(HEAD, vec![tenant.into()], Lock::Wait).await?;
    if rows.is_empty() {
        tx.insert_absent(FIRST_HEAD, vec![tenant.into()]).await?;
        rows = tx.lock_rows(HEAD, vec![tenant.into()], Lock::Wait).await?;
    }
    let row = rows.into_iter().next();
    row.ok_or_else(|| SqlError::Broken("the end of a tenant's movements vanished".into()))?.int()
}

/// SKUs of each warehouse, in the order of the keys.
pub(super) fn by_warehouse(keys: impl Iterator<Item = Key>) -> BTreeMap<i64, Vec<i64>> {
    let mut skus: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for key in keys {
        skus.entry(key.warehouse).or_default().push(key.sku);
    }
    skus
}

/// A SKU and one of its positions: bin, batch, units, when they expire.
pub(super) fn position(row: &mut Row) -> Result<(i64, Position), SqlError> {
    let sku = row.int()?;
    let spot = Spot { bin: row.int()?, batch: row.int()? };
    Ok((sku, Position { spot, units: row.int()?, expires_at: row.int_or_null()? }))
}

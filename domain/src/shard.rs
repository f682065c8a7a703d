//! Slot -> shard -> table: an explicit, versioned map. No modulo anywhere else.

use crate::id::{BuyerId, OrderId, SLOTS, Slot};

/// A database of order rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// A table of order rows inside a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u16);

/// Where the rows of a slot live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Home {
    /// The database that holds the rows.
    pub shard: ShardId,
    /// The table in it.
    pub table: TableId,
}

/// A map that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{shards} shards of {tables} tables: give 1 to 64 shards and 1 to 64 tables, at most 1024 tables in all")]
pub struct InvalidShardMap {
    shards: u16,
    tables: u16,
}

/// Which shard and table hold which slot. A change is a new version with its own migration of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardMap {
    version: u32,
    shards: u16,
    tables: u16,
    homes: Vec<Home>,
}

impl ShardMap {
    /// Version 1: equal, contiguous ranges of slots for each table, shard after shard.
    ///
    /// # Errors
    /// [`InvalidShardMap`] for no shard, no table, or more tables than slots.
    pub fn even(shards: u16, tables: u16) -> Result<Self, InvalidShardMap> {
        if !(1..=64).contains(&shards) || !(1..=64).contains(&tables) || shards * tables > SLOTS {
            return Err(InvalidShardMap { shards, tables });
        }
        let total = u32::from(shards) * u32::from(tables);
        let homes = (0..u32::from(SLOTS)).map(|slot| {
            let table = slot * total / u32::from(SLOTS);
            let (shard, table) = (table / u32::from(tables), table % u32::from(tables));
            // Both fit: they are below `shards` and `tables`.
            Home { shard: ShardId(shard as u16), table: TableId(table as u16) }
        });
        Ok(Self { version: 1, shards, tables, homes: homes.collect() })
    }

    /// The version that sales are published for.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Databases that rows are spread over.
    pub const fn shards(&self) -> u16 {
        self.shards
    }

    /// Number of order tables in each.
    pub const fn tables(&self) -> u16 {
        self.tables
    }

    /// Where a slot's rows live.
    pub fn home(&self, slot: Slot) -> Home {
        self.homes[usize::from(slot.get())]
    }

    /// Where a buyer's rows live.
    pub fn home_of_buyer(&self, buyer: BuyerId) -> Home {
        self.home(Slot::of(buyer))
    }

    /// Where an order's row lives: the same place, by the slot inside the id.
    pub fn home_of_order(&self, order: OrderId) -> Home {
        self.home(order.slot())
    }

    /// Every table of the deployment.
    pub fn all(&self) -> impl Iterator<Item = Home> + '_ {
        (0..self.shards).flat_map(|s| (0..self.tables).map(move |t| Home { shard: ShardId(s), table: TableId(t) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slot ranges are contiguous and equal, each table owns its share, and no slot is homeless.
    #[test]
    fn an_even_map_gives_every_table_its_share() {
        let map = ShardMap::even(2, 4).unwrap();
        for home in map.all() {
            let slots = (0..SLOTS).filter(|&s| map.home(Slot::new(s).unwrap()) == home).count();
            assert_eq!(slots, 128);
        }
        assert!((1..SLOTS).all(|s| map.home(Slot::new(s - 1).unwrap()) <= map.home(Slot::new(s).unwrap())));
        assert!(ShardMap::even(0, 1).is_err() && ShardMap::even(64, 64).is_err());
    }
}

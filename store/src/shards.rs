//! Which databases a deployment has, and opening them all: made, migrated, and with the shard map
//! they were made for. It moves no rows: another map is another deployment.

pub use domain::namespace::{InvalidNamespace, Namespace};
use domain::shard::{ShardId, ShardMap};

use crate::{
    cause::Cause,
    ledger::Ledger,
    orders::Orders,
    sql::{Migration, Row, Server, Sql, SqlError, Tx, all, pending},
};

/// The ledger's schema: name and file, in the order in which they are applied. `docs/upgrading.md`
/// says how to add one.
const LEDGER: &[(&str, &str)] = &[
    ("001", include_str!("../migrations/ledger/001.sql")),
    ("002-publications", include_str!("../migrations/ledger/002-publications.sql")),
    ("003-targets", include_str!("../migrations/ledger/003-targets.sql")),
    ("004-worker-ids", include_str!("../migrations/ledger/004-worker-ids.sql")),
    ("005-first-orders", include_str!("../migrations/ledger/005-first-orders.sql")),
    ("006-retired-lanes", include_str!("../migrations/ledger/006-retired-lanes.sql")),
    ("007-distrusted-lanes", include_str!("../migrations/ledger/007-distrusted-lanes.sql")),
    ("008-skips", include_str!("../migrations/ledger/008-skips.sql")),
    CONSUMERS,
    ("010-shop-domains", include_str!("../migrations/ledger/010-shop-domains.sql")),
    ("011-limits", include_str!("../migrations/ledger/011-limits.sql")),
    ("012-tenant-rates", include_str!("../migrations/ledger/012-tenant-rates.sql")),
    ("013-engines", include_str!("../migrations/ledger/013-engines.sql")),
    ("014-changed-sales", include_str!("../migrations/ledger/014-changed-sales.sql")),
    ("017-controls", include_str!("../migrations/ledger/017-controls.sql")),
];
/// The table that a consumer's database needs ([`consumer`](crate::consumer)), as a file of a
/// service's list of migrations.
pub const CONSUMERS_TABLE: &str = CONSUMERS.1;
/// The table of what a consumer puts aside; stands after the other one.
pub const PARKED_TABLE: &str = include_str!("../migrations/parked.sql");
const CONSUMERS: (&str, &str) = ("009-consumers", include_str!("../migrations/ledger/009-consumers.sql"));
/// A shard's schema.
const ORDERS: &[(&str, &str)] = &[
    ("001", include_str!("../migrations/orders/001.sql")),
    ("002-outbox-by-partition", include_str!("../migrations/orders/002-outbox-by-partition.sql")),
    ("003-outbox-kinds", include_str!("../migrations/orders/003-outbox-kinds.sql")),
    ("004-pay-by", include_str!("../migrations/orders/004-pay-by.sql")),
    ("005-life", include_str!("../migrations/orders/005-life.sql")),
    ("006-attempt-payer", include_str!("../migrations/orders/006-attempt-payer.sql")),
    ("007-fulfilment", include_str!("../migrations/orders/007-fulfilment.sql")),
    ("008-handovers", include_str!("../migrations/orders/008-handovers.sql")),
    ("009-cancels", include_str!("../migrations/orders/009-cancels.sql")),
    ("010-shipping-uploads", include_str!("../migrations/orders/010-shipping-uploads.sql")),
];
const STORED_MAP: &str = "SELECT version, shards, tables FROM shard_map WHERE id = 1";

/// Why a deployment's databases do not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A database failed.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The databases were made for another map: their rows would not be found.
    #[error(
        "the databases {ledger} and its shards hold rows by shard map {stored}, and this program is set to {given}; \
         set it back, or move the rows first"
    )]
    OtherMap {
        /// The ledger's database.
        ledger: String,
        /// The map that the ledger holds.
        stored: MapOutline,
        /// The map that was asked for.
        given: MapOutline,
    },
    /// An older program made the databases, and nobody has upgraded them yet.
    #[error(
        "{database} was made by an older program: it lacks migration {migration}; start this program's server on it once, \
         which upgrades it, then look again"
    )]
    Older {
        /// Which.
        database: String,
        /// The first one that it lacks.
        migration: String,
    },
}

/// What the ledger keeps of a shard map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapOutline {
    /// Version of the map.
    pub version: u32,
    /// Number of databases.
    pub shards: u16,
    /// Number of tables in each.
    pub tables: u16,
}

impl From<&ShardMap> for MapOutline {
    fn from(map: &ShardMap) -> Self {
        Self { version: map.version(), shards: map.shards(), tables: map.tables() }
    }
}

impl std::fmt::Display for MapOutline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "version {}, {} x {} tables", self.version, self.shards, self.tables)
    }
}

/// A deployment's open databases.
#[derive(Debug, Clone)]
pub struct Store<S> {
    /// The ledger's database.
    pub ledger: Ledger<S>,
    /// The order rows, all shards.
    pub orders: Orders<S>,
}

impl<S: Sql> Store<S> {
    /// Closes the connections to all databases.
    pub async fn close(&self) {
        self.ledger.close().await;
        self.orders.close().await;
    }
}

/// Makes what is missing of a deployment's databases and opens them. Any number of processes may do
/// so at the same time.
///
/// # Errors
/// [`OpenError::OtherMap`] before anything is made, [`OpenError::Sql`] when a database fails.
pub async fn open<V: Server>(server: &V, namespace: &Namespace, map: ShardMap) -> Result<Store<V::Sql>, OpenError> {
    let ledger = database(server, &namespace.ledger(), &migrations(LEDGER, 0)).await?;
    keep_map(&ledger, &namespace.ledger(), MapOutline::from(&map)).await?;
    let tables = migrations(ORDERS, map.tables());
    let names: Vec<String> = (0..map.shards()).map(|shard| namespace.orders(ShardId(shard))).collect();
    let shards = all(names.iter().map(|name| database(server, name, &tables))).await;
    let shards = shards.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Store { ledger: Ledger::new(ledger), orders: Orders::new(map, shards) })
}

/// Makes what is missing of the ledger's database and opens it, for who publishes: sales know no
/// map of shards.
///
/// # Errors
/// [`OpenError::Sql`] when the database fails.
pub async fn open_ledger<V: Server>(server: &V, namespace: &Namespace) -> Result<Ledger<V::Sql>, OpenError> {
    Ok(Ledger::new(database(server, &namespace.ledger(), &migrations(LEDGER, 0)).await?))
}

/// Makes what is missing of a database that one service owns, and opens it. `schema`: all its
/// migrations, in the order in which they are applied.
///
/// # Errors
/// [`OpenError::Sql`] when the database fails.
pub async fn open_own<V: Server>(server: &V, name: &str, schema: &[(&str, &str)]) -> Result<V::Sql, OpenError> {
    Ok(database(server, name, &migrations(schema, 0)).await?)
}

/// Opens the ledger's database to look at it; makes and migrates nothing.
///
/// # Errors
/// [`OpenError::Older`], and [`OpenError::Sql`] when the database is missing or fails.
pub async fn look_ledger<V: Server>(server: &V, namespace: &Namespace) -> Result<Ledger<V::Sql>, OpenError> {
    let ledger = server.open(&namespace.ledger());
    upgraded(&ledger, &namespace.ledger(), &migrations(LEDGER, 0)).await?;
    Ok(Ledger::new(ledger))
}

/// Opens a deployment's databases to look at them: makes and migrates nothing. For audits, beside
/// those who work or after them.
///
/// # Errors
/// [`OpenError::OtherMap`] for a map that this program cannot read, [`OpenError::Sql`] when a
/// database is missing or fails.
pub async fn look<V: Server>(server: &V, namespace: &Namespace) -> Result<Store<V::Sql>, OpenError> {
    let ledger = server.open(&namespace.ledger());
    let rows = ledger.rows(STORED_MAP, vec![]).await?;
    let stored = read_map(rows)?;
    let map = ShardMap::even(stored.shards, stored.tables).map_err(|error| SqlError::Broken(Cause::of(error)))?;
    let given = MapOutline::from(&map);
    if stored != given {
        return Err(OpenError::OtherMap { ledger: namespace.ledger(), stored, given });
    }
    upgraded(&ledger, &namespace.ledger(), &migrations(LEDGER, 0)).await?;
    let shards: Vec<_> = (0..map.shards()).map(|shard| server.open(&namespace.orders(ShardId(shard)))).collect();
    for (shard, database) in (0..map.shards()).zip(&shards) {
        upgraded(database, &namespace.orders(ShardId(shard)), &migrations(ORDERS, map.tables())).await?;
    }
    Ok(Store { ledger: Ledger::new(ledger), orders: Orders::new(map, shards) })
}

/// Whether the schema is the one that this program reads.
async fn upgraded<S: Sql>(database: &S, name: &str, schema: &[Migration]) -> Result<(), OpenError> {
    let applied = database.rows("SELECT name FROM migrations ORDER BY name", vec![]).await?;
    let applied = applied.into_iter().map(|mut row| row.text()).collect::<Result<Vec<_>, _>>()?;
    match pending(schema, &applied, S::NEWER, name)?.first() {
        None => Ok(()),
        Some(first) => Err(OpenError::Older { database: name.into(), migration: first.name.clone() }),
    }
}

/// Destroys every database of the namespace. For tests.
///
/// # Errors
/// [`SqlError`] of the first database that resists.
pub async fn drop_all<V: Server>(server: &V, namespace: &Namespace) -> Result<(), SqlError> {
    for database in server.databases(namespace.as_str()).await? {
        if namespace.owns(&database) {
            server.destroy(&database).await?;
        }
    }
    Ok(())
}

async fn database<V: Server>(server: &V, name: &str, schema: &[Migration]) -> Result<V::Sql, SqlError> {
    server.create(name).await?;
    let database = server.open(name);
    database.migrate(schema).await?;
    Ok(database)
}

/// The first process to come stores its map; all must have the same.
async fn keep_map<S: Sql>(database: &S, name: &str, given: MapOutline) -> Result<(), OpenError> {
    let mut tx = database.begin().await?;
    let params = vec![given.version.into(), given.shards.into(), given.tables.into()];
    tx.insert_absent("INSERT INTO shard_map (id, version, shards, tables) VALUES (1, ?, ?, ?)", params).await?;
    let rows = tx.rows(STORED_MAP, vec![]).await?;
    tx.commit().await?;
    let stored = read_map(rows)?;
    if stored == given { Ok(()) } else { Err(OpenError::OtherMap { ledger: name.into(), stored, given }) }
}

fn read_map(rows: Vec<Row>) -> Result<MapOutline, SqlError> {
    let mut row = rows.into_iter().next().ok_or_else(|| SqlError::Broken("no shard map is stored".into()))?;
    Ok(MapOutline { version: row.number()?, shards: row.number()?, tables: row.number()? })
}

fn migrations(list: &[(&str, &str)], tables: u16) -> Vec<Migration> {
    let named = |&(name, file): &(&str, &str)| Migration { name: name.into(), statements: statements(file, tables) };
    list.iter().map(named).collect()
}

/// The statements of a migration file: each ends in `;` at the end of a line, `--` begins a comment
/// line, and one with `{table}` stands for itself once per order table.
fn statements(file: &str, tables: u16) -> Vec<String> {
    let code: Vec<&str> = file.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let mut statements = Vec::new();
    for statement in code.join("\n").split(";\n").map(|s| s.trim().trim_end_matches(';')).filter(|s| !s.is_empty()) {
        if statement.contains("{table}") {
            statements.extend((0..tables).map(|table| statement.replace("{table}", &table.to_string())));
        } else {
            statements.push(statement.into());
        }
    }
    statements
}

#[cfg(test)]
mod tests {
    use domain::{
        id::{Generation, LaneId, OrderId, PartitionId, RecordId},
        order::Transition,
    };

    use super::*;
    use crate::{
        ledger::{LaneRow, LedgerCommit, PartitionRow},
        orders::{Progress, ShardWrite},
    };

    struct Rows {
        commit: LedgerCommit,
        partition: PartitionRow,
        lane: LaneRow,
    }

    /// Compiles: services spawn these calls, whatever the database.
    #[allow(dead_code, reason = "only its types are checked")]
    fn calls_can_be_spawned<V: Server>(server: &V, space: &Namespace, store: &Store<V::Sql>, rows: &Rows) {
        fn spawned<F: Future + Send>(_: F) {}
        let (p, order, lane) = (PartitionId(0), OrderId::new(1).unwrap(), LaneId::new(1).unwrap());
        let Store { ledger, orders } = store;
        let home = orders.map().home_of_order(order);
        let at = Progress { generation: Generation(1), offset: 0, record: RecordId::new(1).ok() };
        let write = ShardWrite { partition: p, expected: at, next: at, rows: vec![], released: vec![] };
        spawned(open(server, space, orders.map().clone()));
        spawned(store.close());
        spawned(orders.progress(p));
        spawned(orders.move_progress(home.shard, p, at, at));
        spawned(orders.write(home.shard, write));
        spawned(orders.find(&[]));
        spawned(orders.live_purchases(lane, &[]));
        spawned(orders.scan(home, &[], 0, None, 1));
        spawned(orders.purchases(home, &[], 0, 1));
        spawned(orders.mark(order, Transition::Pay, None));
        spawned(orders.mark_all(home, Transition::Expire, &[]));
        spawned(orders.overdue(home, None, 0, 1));
        spawned(orders.past_pay_by(home, None, 0, 1));
        spawned(orders.outbox_of(home.shard, p, None, 1));
        spawned(orders.outbox_done(home.shard, &[]));
        spawned(ledger.commit(&rows.commit));
        spawned(ledger.restart(&rows.partition, &rows.partition, &[], &[]));
        spawned(ledger.add_lane(&rows.lane, 1));
        spawned(ledger.lease_worker("", 1, 1));
        spawned(ledger.movements(p, Generation(1), 0, 1));
    }

    #[test]
    fn a_statement_about_the_order_tables_is_repeated_for_each() {
        let file = "-- about a; b\nCREATE TABLE a (\n  x INT\n);\n\nCREATE TABLE o_{table} (y INT);\n";
        let expected = ["CREATE TABLE a (\n  x INT\n)", "CREATE TABLE o_0 (y INT)", "CREATE TABLE o_1 (y INT)"];
        assert_eq!(statements(file, 2), expected);
        assert_eq!(migrations(ORDERS, 4)[0].statements.len(), 6);
    }

    /// What decides which migration is newer is the order of the names.
    #[test]
    fn names_of_migrations_rise_and_fit() {
        for list in [LEDGER, ORDERS] {
            assert!(list.is_sorted_by(|a, b| a.0 < b.0) && list.iter().all(|(name, _)| name.len() <= 64));
        }
    }

    /// A statement has one effect, so that a crash between two of them can be gone on from.
    #[test]
    fn statements_of_migrations_have_one_effect() {
        let one = |s: &str| ["CREATE TABLE", "CREATE INDEX", "INSERT", "ALTER TABLE"].iter().any(|b| s.starts_with(b));
        for migration in migrations(LEDGER, 0).iter().chain(&migrations(ORDERS, 2)) {
            for statement in &migration.statements {
                assert!(one(statement), "{}: {statement}", migration.name);
            }
        }
    }
}

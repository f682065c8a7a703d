//! The service's own database: its tables, in the order in which they came to be.

use store::{
    shards::{self, Namespace, OpenError},
    sql::Server,
};

/// Its schema: name and file. `docs/upgrading.md` says how to add one.
const SCHEMA: &[(&str, &str)] = &[
    ("001-base", include_str!("../migrations/001-base.sql")),
    ("002-tenants", include_str!("../migrations/002-tenants.sql")),
    ("003-vault", include_str!("../migrations/003-vault.sql")),
    ("004-keys", include_str!("../migrations/004-keys.sql")),
    ("005-people", include_str!("../migrations/005-people.sql")),
    ("006-buyers", include_str!("../migrations/006-buyers.sql")),
    ("007-products", include_str!("../migrations/007-products.sql")),
    ("008-jobs", include_str!("../migrations/008-jobs.sql")),
    ("009-stock", include_str!("../migrations/009-stock.sql")),
    ("010-sales", include_str!("../migrations/010-sales.sql")),
    ("011-consumers", shards::CONSUMERS_TABLE),
    ("012-funnel", include_str!("../migrations/012-funnel.sql")),
    ("013-uploads", include_str!("../migrations/013-uploads.sql")),
    ("014-readiness", include_str!("../migrations/014-readiness.sql")),
    ("015-parked", shards::PARKED_TABLE),
    ("016-released", include_str!("../migrations/016-released.sql")),
    ("017-controls", include_str!("../migrations/017-controls.sql")),
];

/// Makes what is missing of it, and opens it. Any number of processes may do so at the same time.
///
/// # Errors
/// [`OpenError::Sql`] when the database fails.
pub async fn open<V: Server>(server: &V, namespace: &Namespace) -> Result<V::Sql, OpenError> {
    shards::open_own(server, &namespace.catalog(), SCHEMA).await
}

//! The service's own database: its tables, in the order in which they came to be.

use store::{
    shards::{self, Namespace, OpenError},
    sql::Server,
};

/// Its schema: name and file. `docs/upgrading.md` says how to add one.
const SCHEMA: &[(&str, &str)] = &[
    ("001-base", include_str!("../migrations/001-base.sql")),
    ("002-consumers", shards::CONSUMERS_TABLE),
    ("003-parked", shards::PARKED_TABLE),
    ("004-parked-events", include_str!("../migrations/004-parked-events.sql")),
    ("005-aggregates", include_str!("../migrations/005-aggregates.sql")),
    ("006-limits", include_str!("../migrations/006-limits.sql")),
    ("007-teams", include_str!("../migrations/007-teams.sql")),
    ("008-closings", include_str!("../migrations/008-closings.sql")),
    ("009-desk", include_str!("../migrations/009-desk.sql")),
];

/// What holds now ends here.
pub(crate) const OPEN_END: i64 = i64::MAX;

/// Makes what is missing of it, and opens it. Any number of processes may do so at the same time.
///
/// # Errors
/// [`OpenError::Sql`] when the database fails.
pub async fn open<V: Server>(server: &V, namespace: &Namespace) -> Result<V::Sql, OpenError> {
    shards::open_own(server, &namespace.distribution(), SCHEMA).await
}

//! Whether what is stored was made for other settings, or by a newer version, than this program's:
//! nothing is broken then, and nothing is away.

use std::error::Error;

use crate::shards::OpenError;

/// Looks for such an error along a chain of causes.
pub fn is_mismatch(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source()).any(says_so)
}

fn says_so(error: &(dyn Error + 'static)) -> bool {
    let mut found = matches!(error.downcast_ref(), Some(OpenError::OtherMap { .. } | OpenError::Older { .. }));
    #[cfg(feature = "production")]
    {
        use crate::log::kafka::KafkaSetupError;
        found |= matches!(error.downcast_ref(), Some(KafkaSetupError::Partitions { .. }));
    }
    #[cfg(feature = "embedded")]
    {
        use crate::log::sqlite::SqliteSetupError;
        found |= matches!(
            error.downcast_ref(),
            Some(SqliteSetupError::Partitions { .. } | SqliteSetupError::OtherFormat { .. })
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{shards::MapOutline, sql::SqlError};

    #[derive(Debug, thiserror::Error)]
    #[error("opening")]
    struct Opening(#[source] OpenError);

    #[test]
    fn another_map_is_told_from_a_database_that_is_away() {
        let outline = |shards| MapOutline { version: 1, shards, tables: 1 };
        let other = OpenError::OtherMap { ledger: "l".into(), stored: outline(1), given: outline(2) };
        assert!(is_mismatch(&Opening(other)));
        assert!(!is_mismatch(&Opening(OpenError::Sql(SqlError::Unreachable("x".into())))));
    }
}

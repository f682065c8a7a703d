//! Schema changes: an ordered list per kind of database, and what a database's own list of names
//! says about the program that made it. It runs nothing.

use super::SqlError;

/// What the name of a migration ends in that takes away what older programs use. An older program
/// works beside every other one, and refuses a database that has one of these.
const CONTRACTS: &str = "-contract";

/// Where applied migrations are named. As the first program made it.
pub(super) const MIGRATIONS_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS migrations (name VARCHAR(64) NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)";
/// The names of the applied ones.
pub(super) const APPLIED: &str = "SELECT name FROM migrations ORDER BY name";

/// One step of a schema. A published one never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its name, unique in its list, which rises in the order of the list: `002-publications`. At
    /// most 64 bytes. It ends in `-contract` when programs that do not know it cannot work with
    /// what it leaves.
    pub name: String,
    /// Its statements, each with one effect: a crash between two of them goes on with the next.
    pub statements: Vec<String>,
}

/// Who may open a database that has migrations which this program does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newer {
    /// Nobody: one process has the database, so no upgrade is under way.
    Refused,
    /// This program may, unless one of them takes something away: two versions run side by side in
    /// a rolling upgrade.
    RefusedWhenContracted,
}

/// The migrations of `known` that are still to be applied to `database`, in order. `applied`: the
/// names that stand in it.
///
/// # Errors
/// [`SqlError::Broken`] when a program that this one does not understand made the database.
pub fn pending<'a>(
    known: &'a [Migration],
    applied: &[String],
    newer: Newer,
    database: &str,
) -> Result<&'a [Migration], SqlError> {
    let shared = known.iter().zip(applied).take_while(|(known, applied)| known.name == **applied).count();
    let (pending, unknown) = (&known[shared..], &applied[shared..]);
    let Some(first) = unknown.first() else { return Ok(pending) };
    if let Some(missing) = pending.first() {
        return Err(SqlError::Broken(
            format!(
                "{database} has migration {first} where this program has {}: programs of different origin used it; \
             use the one that made it",
                missing.name
            )
            .into(),
        ));
    }
    let refused = match newer {
        Newer::Refused => Some(first),
        Newer::RefusedWhenContracted => unknown.iter().find(|name| name.ends_with(CONTRACTS)),
    };
    match refused {
        None => Ok(pending),
        Some(name) => Err(SqlError::Broken(
            format!(
                "{database} was made by a newer program: it has migration {name}, and this one knows none after {}; \
             use that program, or another database",
                known.last().map_or("the beginning", |last| last.name.as_str())
            )
            .into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<Migration> {
        names.iter().map(|name| Migration { name: (*name).into(), statements: vec![] }).collect()
    }

    fn left(known: &[&str], applied: &[&str], newer: Newer) -> Result<usize, String> {
        let applied: Vec<String> = applied.iter().map(|name| (*name).into()).collect();
        pending(&list(known), &applied, newer, "the ledger").map(<[_]>::len).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_pending_is_the_rest_of_the_list() {
        for newer in [Newer::Refused, Newer::RefusedWhenContracted] {
            assert_eq!(left(&["1", "2"], &[], newer), Ok(2));
            assert_eq!(left(&["1", "2"], &["1"], newer), Ok(1));
            assert_eq!(left(&["1", "2"], &["1", "2"], newer), Ok(0));
            let other = left(&["1", "2", "3"], &["1", "2-other"], newer).unwrap_err();
            assert!(other.contains("the ledger has migration 2-other where this program has 2"), "{other}");
        }
    }

    /// In a rolling upgrade an older program goes on beside a newer one until something it needs
    /// goes.
    #[test]
    fn a_newer_database_is_refused_as_far_as_it_must_be() {
        let added = ["1", "2-added"];
        assert!(left(&["1"], &added, Newer::Refused).unwrap_err().contains("made by a newer program"));
        assert_eq!(left(&["1"], &added, Newer::RefusedWhenContracted), Ok(0));
        let taken = ["1", "2-added", "3-taken-contract"];
        let refused = left(&["1"], &taken, Newer::RefusedWhenContracted).unwrap_err();
        assert!(refused.contains("it has migration 3-taken-contract, and this one knows none after 1"), "{refused}");
    }
}

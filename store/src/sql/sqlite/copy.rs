//! A copy of a database's file as it is at one moment, while others read and write it.

use std::{fs::File, path::Path};

use rusqlite::{Connection, OpenFlags};

use super::fault;
use crate::sql::SqlError;

/// What an undamaged copy says of itself.
const WELL: &str = "ok";

/// Copies the file of a database, or of a log, with all that was committed when it began, to a
/// path that is not taken; then reads the copy through. Blocks; writers go on meanwhile, and their
/// write-ahead log grows until it ends. Ended in between, it leaves a part at `to`.
///
/// # Errors
/// [`SqlError::Unreachable`] when a disk is full or fails, [`SqlError::Broken`] for a damaged file
/// or a path that is taken.
pub fn copy_file(from: &Path, to: &Path) -> Result<(), SqlError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags).map_err(|error| fault::of_sqlite(from, error))?;
    let name = to.to_str().ok_or_else(|| SqlError::Broken(format!("{} is no UTF-8", to.display()).into()))?;
    source.execute("VACUUM INTO ?1", [name]).map_err(|error| fault::of_sqlite(from, error))?;
    let copy = Connection::open_with_flags(to, flags).map_err(|error| fault::of_sqlite(to, error))?;
    let found: String = copy
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .map_err(|error| fault::of_sqlite(to, error))?;
    if found != WELL {
        return Err(SqlError::Broken(format!("the copy {} is damaged: {found}", to.display()).into()));
    }
    let on_disk = File::open(to).and_then(|file| file.sync_all());
    on_disk.map_err(|error| SqlError::Unreachable(format!("{}: {error}", to.display()).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is committed while nobody has carried the write-ahead log over is in the copy, what is
    /// not committed is not, and both numbers by which files are known stay.
    #[test]
    fn a_copy_has_what_was_committed_and_is_known_by_the_same_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a.db"), folder.path().join("b.db"));
        let writer = Connection::open(&from).unwrap();
        writer.pragma_update(None, "journal_mode", "wal").unwrap();
        writer
            .execute_batch("PRAGMA user_version = 3; PRAGMA application_id = 77; CREATE TABLE t (n INTEGER);")
            .unwrap();
        writer.execute_batch("INSERT INTO t VALUES (1); BEGIN; INSERT INTO t VALUES (2);").unwrap();
        copy_file(&from, &to).unwrap();
        let copy = Connection::open(&to).unwrap();
        let number = |sql: &str| copy.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(number("SELECT SUM(n) FROM t"), 1);
        assert_eq!((number("PRAGMA user_version"), number("PRAGMA application_id")), (3, 77));
        assert!(copy_file(&from, &to).is_err(), "nothing is written over");
        let strange = folder.path().join("c.db");
        std::fs::write(&strange, "no database. ".repeat(1_000)).unwrap();
        assert!(copy_file(&strange, &folder.path().join("d.db")).is_err());
    }
}

//! The file: whose it is, its tables, what makes it durable, and where its partitions begin and
//! end. Durability is read back at every open; a file that is not ours is told by its first bytes,
//! before SQLite may touch it.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, ffi, types::FromSql};

use super::{SqliteSettings, SqliteSetupError, streams};
use crate::{cause::Cause, log::Watermarks};

/// "FSLG", in the file's header.
const APPLICATION: u32 = 0x4653_4c47;
/// What a file becomes that has all of [`MIGRATIONS`].
const FORMAT: u32 = MIGRATIONS.len() as u32;
/// What every SQLite file begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// The header, as SQLite's file format has it: the format at 60, the application at 68.
const HEADER_BYTES: u64 = 100;
/// A record of 30 to 60 reservations has 4 to 7 KiB: a page holds one or two, and a group rewrites
/// little of what stood before.
const PAGE_BYTES: u32 = 8192;
/// Pages of the write-ahead log after which they are carried over to the file: each time costs two
/// more fsyncs.
const CHECKPOINT_PAGES: u32 = 2_000;
/// A statement waits so long for another program that writes the same file.
const BUSY: Duration = Duration::from_secs(5);
/// Bits of a record's place that are its offset.
const OFFSET_BITS: u32 = 44;

/// The file's schema, in the order in which it is applied; the number of those that a file has is
/// its `user_version`. A file that has more was made by a newer program and is refused.
const MIGRATIONS: &[&str] = &[TABLES];

/// Placed by stream (a partition of a topic) and offset in one number: the newest record of a
/// partition is the last of its range, found by one step, and records are appended without an index
/// beside them.
const TABLES: &str = "
    CREATE TABLE shape (partitions INTEGER NOT NULL) STRICT;
    CREATE TABLE records (
        place INTEGER PRIMARY KEY,
        record_id INTEGER NOT NULL,
        appended_at_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        payload BLOB NOT NULL
    ) STRICT;
    CREATE TABLE sales (sale_id INTEGER PRIMARY KEY, sequence INTEGER NOT NULL UNIQUE, payload BLOB NOT NULL) STRICT;
    CREATE TABLE dead (
        sequence INTEGER PRIMARY KEY,
        partition_id INTEGER NOT NULL,
        log_offset INTEGER NOT NULL,
        record_id INTEGER,
        kind TEXT NOT NULL,
        cause TEXT NOT NULL,
        parked_at_ms INTEGER NOT NULL,
        payload BLOB NOT NULL
    ) STRICT;
";

/// Where a record of the stream with this number stands in the table. Offsets and numbers are far
/// below what would overflow.
pub(super) fn place(number: usize, offset: u64) -> i64 {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    ((number << OFFSET_BITS) | offset.min((1 << OFFSET_BITS) - 1)).cast_signed()
}

pub(super) fn offset_of(place: i64) -> u64 {
    place.cast_unsigned() & ((1 << OFFSET_BITS) - 1)
}

/// The offset that comes next in a stream, as the file has it.
pub(super) fn next_offset(connection: &Connection, number: usize) -> rusqlite::Result<u64> {
    edge(connection, "SELECT max(place) FROM records WHERE place >= ?1 AND place < ?2", number)
        .map(|newest| newest.map_or(0, |newest| newest + 1))
}

fn edge(connection: &Connection, sql: &str, number: usize) -> rusqlite::Result<Option<u64>> {
    let range = (place(number, 0), place(number + 1, 0));
    let found: Option<i64> = connection.prepare_cached(sql)?.query_row(range, |row| row.get(0))?;
    Ok(found.map(offset_of))
}

/// Where the log is, and how it is opened.
#[derive(Clone)]
pub(super) struct LogFile {
    path: Arc<Path>,
    partitions: u32,
    bytes_max: Option<u64>,
}

impl LogFile {
    pub(super) fn new(path: &Path, settings: &SqliteSettings) -> Self {
        Self { path: path.into(), partitions: settings.partitions, bytes_max: settings.file_bytes_max }
    }

    fn path(&self) -> PathBuf {
        self.path.to_path_buf()
    }

    /// A connection that writes; makes the file when there is none.
    pub(super) fn open_to_write(&self) -> Result<Connection, SqliteSetupError> {
        self.recognize()?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags).map_err(|error| self.unusable(&error))?;
        if connection.is_readonly("main").map_err(|error| self.unusable(&error))? {
            return Err(SqliteSetupError::Unusable(self.advice(&of_code(ffi::SQLITE_READONLY))));
        }
        self.create(&mut connection).map_err(|error| self.unusable(&error))?;
        let format = |row: &rusqlite::Row<'_>| row.get(0);
        let found =
            connection.pragma_query_value(None, "user_version", format).map_err(|error| self.unusable(&error))?;
        if found > FORMAT {
            // A newer program died before its write-ahead log was carried over.
            return Err(SqliteSetupError::OtherFormat { path: self.path(), found, known: FORMAT });
        }
        self.set_up(&connection)?;
        self.check_shape(&connection)?;
        Ok(connection)
    }

    /// A connection that only reads.
    pub(super) fn open_to_read(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(connection)
    }

    /// Tells by its first bytes whose file it is. Ours are on the disk since before it had its
    /// first record.
    fn recognize(&self) -> Result<(), SqliteSetupError> {
        let header = self.header().map_err(|error| {
            SqliteSetupError::Unusable(format!(
                "{} cannot be read: {error}; check that it is a file that this program's user may read and write",
                self.path.display()
            ))
        })?;
        let number = |at| header.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        match (number(60), number(68)) {
            _ if header.is_empty() => Ok(()),
            (Some(1..=FORMAT), Some(APPLICATION)) if header.starts_with(MAGIC) => Ok(()),
            (Some(found), Some(APPLICATION)) if header.starts_with(MAGIC) => {
                Err(SqliteSetupError::OtherFormat { path: self.path(), found, known: FORMAT })
            }
            _ => Err(SqliteSetupError::Foreign(self.path())),
        }
    }

    /// Empty when there is no file.
    fn header(&self) -> io::Result<Vec<u8>> {
        let mut header = Vec::new();
        match File::open(&self.path) {
            Ok(file) => file.take(HEADER_BYTES).read_to_end(&mut header).map(|_| header),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(header),
            Err(error) => Err(error),
        }
    }

    /// In one transaction and before the write-ahead log is switched on, so that the main file's
    /// header says whose it is.
    fn create(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        self.upgrade(connection, MIGRATIONS)
    }

    /// Applies what the file lacks of a schema, in one transaction.
    fn upgrade(&self, connection: &mut Connection, schema: &[&str]) -> rusqlite::Result<()> {
        let format = |connection: &Connection| {
            let format: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok::<_, rusqlite::Error>(usize::try_from(format).unwrap_or(usize::MAX))
        };
        if format(connection)? >= schema.len() {
            return Ok(());
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another program may have been quicker.
        let applied = format(&transaction)?;
        for statements in schema.iter().skip(applied) {
            transaction.execute_batch(statements)?;
        }
        if applied == 0 {
            transaction.execute("INSERT INTO shape (partitions) VALUES (?1)", [self.partitions])?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
        }
        if applied < schema.len() {
            transaction.pragma_update(None, "user_version", schema.len() as i64)?;
        }
        transaction.commit()?;
        // The next program looks at the file's own header first, not into the write-ahead log.
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))
    }

    /// Each setting on which durability depends is read back.
    fn set_up(&self, connection: &Connection) -> Result<(), SqliteSetupError> {
        let set = |pragma, value: &str| {
            connection.pragma_update_and_check(None, pragma, value, |_| Ok(())).or_else(|error| match error {
                // Some settings answer with their value, others with nothing.
                rusqlite::Error::QueryReturnedNoRows => Ok(()),
                error => Err(self.unusable(&error)),
            })
        };
        set("journal_mode", "WAL")?;
        set("synchronous", "FULL")?;
        // On macOS an fsync alone leaves records in the disk's own cache.
        set("fullfsync", "1")?;
        set("checkpoint_fullfsync", "1")?;
        set("wal_autocheckpoint", &CHECKPOINT_PAGES.to_string())?;
        if let Some(bytes) = self.bytes_max {
            set("max_page_count", &(bytes / u64::from(PAGE_BYTES)).max(1).to_string())?;
        }
        self.in_force::<String>(connection, "journal_mode", "wal")?;
        self.in_force::<i64>(connection, "synchronous", "2")?;
        self.in_force::<i64>(connection, "fullfsync", "1")?;
        self.in_force::<i64>(connection, "checkpoint_fullfsync", "1")
    }

    fn in_force<T: FromSql + ToString>(
        &self,
        connection: &Connection,
        pragma: &'static str,
        wanted: &'static str,
    ) -> Result<(), SqliteSetupError> {
        let found = connection.pragma_query_value(None, pragma, |row| row.get::<_, T>(0));
        let found = found.map_err(|error| self.unusable(&error))?.to_string();
        if found == wanted {
            Ok(())
        } else {
            Err(SqliteSetupError::NotInForce { path: self.path(), pragma, wanted, found })
        }
    }

    fn check_shape(&self, connection: &Connection) -> Result<(), SqliteSetupError> {
        let found: u32 = connection
            .query_row("SELECT partitions FROM shape", (), |row| row.get(0))
            .map_err(|error| self.unusable(&error))?;
        if found == self.partitions {
            Ok(())
        } else {
            Err(SqliteSetupError::Partitions { path: self.path(), found, expected: self.partitions })
        }
    }

    /// Where each stream begins and ends, by its index, and the sequence of the sale published
    /// last.
    pub(super) fn positions(&self, connection: &Connection) -> Result<(Vec<Watermarks>, u64), SqliteSetupError> {
        let oldest = "SELECT min(place) FROM records WHERE place >= ?1 AND place < ?2";
        let marks = |number| {
            let high = next_offset(connection, number)?;
            Ok(Watermarks { low: edge(connection, oldest, number)?.unwrap_or(high), high })
        };
        let positions = || {
            let marks = streams(self.partitions).map(|stream| marks(stream.number));
            let marks = marks.collect::<rusqlite::Result<_>>()?;
            let sequence = "SELECT coalesce(max(sequence), 0) FROM sales";
            Ok((marks, connection.query_row(sequence, (), |row| row.get::<_, i64>(0))?.cast_unsigned()))
        };
        positions().map_err(|error| self.unusable(&error))
    }

    fn unusable(&self, error: &rusqlite::Error) -> SqliteSetupError {
        SqliteSetupError::Unusable(self.advice(error))
    }

    /// What failed, what to do about it, and the error that says so.
    pub(super) fn cause(&self, error: rusqlite::Error) -> Cause {
        Cause::new(self.advice(&error), error)
    }

    /// What failed, and what to do about it.
    pub(super) fn advice(&self, error: &rusqlite::Error) -> String {
        let path = self.path.display();
        let limit = self.bytes_max.map(|bytes| format!(", or the file has the {bytes} bytes it may have"));
        let limit = limit.unwrap_or_default();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => {
                format!(
                    "the disk that holds {path} is full{limit}: make room; the log then goes on by itself ({error})"
                )
            }
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                format!("{path} cannot be written: let this program's user write the file and its folder ({error})")
            }
            Some(ErrorCode::CannotOpen) => format!(
                "{path} cannot be opened: check that its folder exists and that this program's user may write there \
                 ({error})"
            ),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                format!("another program holds {path}: stop it, one program at a time may use the folder ({error})")
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => format!(
                "{path} is damaged: stop the program, keep a copy of the folder, check the disk, and restore the folder \
                 from a backup ({error})"
            ),
            Some(ErrorCode::SystemIoFailure) => {
                format!("the disk that holds {path} fails: look for its errors in the system's log ({error})")
            }
            _ => {
                format!("{path} cannot be used: {error}; run the version of this program that wrote it, or report this")
            }
        }
    }
}

fn of_code(code: std::ffi::c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each commit is on the disk before it is answered, on every connection that is opened, the
    /// first and a later one.
    #[test]
    fn the_settings_that_make_it_durable_are_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let file = LogFile::new(&folder.path().join("log.db"), &SqliteSettings::new(2, Arc::new(|| 1)));
        for _ in 0..2 {
            let connection = file.open_to_write().unwrap();
            let is = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).unwrap();
            let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
            let durable = (is("synchronous"), is("fullfsync"), is("checkpoint_fullfsync"));
            assert_eq!((journal.as_str(), durable), ("wal", (2, 1, 1)));
            assert_eq!((is("application_id"), is("user_version")), (i64::from(APPLICATION), i64::from(FORMAT)));
        }
    }

    /// A later migration is applied once, and then the file is refused by a program that does not
    /// know it.
    #[test]
    fn a_file_is_upgraded_once_and_an_older_program_refuses_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = LogFile::new(&folder.path().join("log.db"), &SqliteSettings::new(2, Arc::new(|| 1)));
        let mut connection = file.open_to_write().unwrap();
        let later = [TABLES, "CREATE TABLE later (k INTEGER PRIMARY KEY) STRICT"];
        for _ in 0..2 {
            file.upgrade(&mut connection, &later).unwrap();
            connection.execute("INSERT INTO later DEFAULT VALUES", ()).unwrap();
        }
        assert!(file.upgrade(&mut connection, &[later[0], later[1], "not SQL"]).is_err());
        let refused = file.open_to_write().unwrap_err();
        assert!(matches!(refused, SqliteSetupError::OtherFormat { found: 2, known: FORMAT, .. }), "{refused}");
        file.upgrade(&mut connection, &later).unwrap();
    }

    #[test]
    fn a_setting_that_was_not_taken_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = LogFile::new(&folder.path().join("log.db"), &SqliteSettings::new(2, Arc::new(|| 1)));
        let connection = file.open_to_write().unwrap();
        connection.pragma_update(None, "synchronous", "NORMAL").unwrap();
        let error = file.in_force::<i64>(&connection, "synchronous", "2").unwrap_err().to_string();
        assert!(error.contains("local disk"), "{error}");
    }

    #[test]
    fn a_place_is_a_stream_and_an_offset() {
        for stream in streams(4_096).filter(|stream| [0, 1, 4_095].contains(&(stream.number % 4_096))) {
            for offset in [0, 7, (1 << OFFSET_BITS) - 1] {
                assert_eq!(offset_of(place(stream.number, offset)), offset);
                assert!((0..place(stream.number + 1, 0)).contains(&place(stream.number, offset)));
            }
        }
        // As files of older programs have it.
        let numbers: Vec<usize> = streams(2).map(|stream| stream.number).collect();
        assert_eq!(numbers, [0, 1, 4_096, 4_097, 8_192, 8_193]);
    }
}

//! One connection to a database's file: opened so that what is committed is on the disk, and the
//! statements on it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rusqlite::{
    Connection, ErrorCode, InterruptHandle, OpenFlags, Statement, ToSql,
    functions::FunctionFlags,
    types::{ToSqlOutput, Value as Stored, ValueRef},
};

use super::{NowMs, Settings, Sqlite, fault};
use crate::{
    cause::Cause,
    sql::{
        Migration, Row, Sql, SqlError, Value,
        migration::{APPLIED, MIGRATIONS_TABLE},
        pending,
    },
};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Reader,
}

/// Bytes to which the write-ahead log shrinks once its pages are in the file: a scan that takes
/// long lets it grow.
const LOG_BYTES_KEPT: u64 = 64 * 1024 * 1024;
/// How long making a file waits for others.
const CREATE_WAIT: Duration = Duration::from_secs(5);

/// An open connection.
pub(super) struct OpenFile {
    conn: Connection,
    path: PathBuf,
    interrupt: Arc<InterruptHandle>,
    /// Why the transaction under way cannot be committed any more.
    undone: Option<SqlError>,
    spent: bool,
}

impl OpenFile {
    /// Makes the file, unless it is there, with a write-ahead log: the journal that lets others
    /// read while one writes.
    pub(super) fn create(path: &Path) -> Result<(), SqlError> {
        let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        let log = || {
            conn.busy_timeout(CREATE_WAIT)?;
            conn.pragma_update(None, "journal_mode", "wal")
        };
        log().map_err(|error| fault::of_sqlite(path, error))?;
        demand(&conn, path, "journal_mode", "wal")
    }

    pub(super) fn open(path: &Path, role: Role, now_ms: &NowMs, settings: &Settings) -> Result<Self, SqlError> {
        let (flags, cache_kib) = match role {
            Role::Writer => (OpenFlags::SQLITE_OPEN_READ_WRITE, settings.writer_cache_kib),
            Role::Reader => (OpenFlags::SQLITE_OPEN_READ_ONLY, settings.reader_cache_kib),
        };
        let conn = connect(path, flags)?;
        let wanted = [
            // FULL: a commit is on the disk before it is answered. The next two matter where a
            // plain fsync leaves it in the drive's cache (macOS).
            ("synchronous", 2),
            ("fullfsync", 1),
            ("checkpoint_fullfsync", 1),
            ("busy_timeout", i64::try_from(settings.busy_wait().as_millis()).unwrap_or(i64::from(i32::MAX))),
            ("cache_size", -i64::from(cache_kib)),
            ("wal_autocheckpoint", settings.checkpoint_pages.into()),
            ("journal_size_limit", LOG_BYTES_KEPT.cast_signed()),
            // A damaged page is noticed when it is read, not when it is believed.
            ("cell_size_check", 1),
            ("temp_store", 2),
            ("query_only", (role == Role::Reader).into()),
        ];
        for (pragma, value) in wanted {
            conn.pragma_update(None, pragma, value).map_err(|error| fault::of_sqlite(path, error))?;
        }
        // What is deleted is overwritten in its page: an erased person's key is no more.
        conn.pragma_update(None, "secure_delete", "FAST").map_err(|error| fault::of_sqlite(path, error))?;
        // Read back: an unknown or refused pragma is silence.
        demand(&conn, path, "journal_mode", "wal")?;
        demand(&conn, path, "secure_delete", "2")?;
        wanted.iter().try_for_each(|(pragma, value)| demand(&conn, path, pragma, &value.to_string()))?;
        conn.set_prepared_statement_cache_capacity(settings.statements_cached);
        let clock = Arc::clone(now_ms);
        let now_ms = move |_: &rusqlite::functions::Context<'_>| Ok(clock().cast_signed());
        conn.create_scalar_function("now_ms", 0, FunctionFlags::SQLITE_UTF8, now_ms)
            .map_err(|error| fault::of_sqlite(path, error))?;
        let interrupt = Arc::new(conn.get_interrupt_handle());
        Ok(Self { conn, path: path.to_owned(), interrupt, undone: None, spent: false })
    }

    pub(super) fn interrupt(&self) -> &Arc<InterruptHandle> {
        &self.interrupt
    }

    pub(super) fn in_transaction(&self) -> bool {
        !self.conn.is_autocommit()
    }

    /// Whether the connection is not to be trusted any more: it is closed before the next call.
    pub(super) fn is_spent(&self) -> bool {
        self.spent
    }

    pub(super) fn rows(&mut self, query: &str, params: &[Value]) -> Result<Vec<Row>, SqlError> {
        self.statement(query, |statement| {
            bind(statement, params)?;
            let columns = statement.column_count();
            let (mut found, mut rows) = (Vec::new(), statement.raw_query());
            while let Some(row) = rows.next()? {
                found.push((0..columns).map(|column| row.get_ref(column).map(read)).collect::<Result<Vec<_>, _>>()?);
            }
            Ok(found)
        })?
        .into_iter()
        .map(|row| Ok(Row::new(row.into_iter().collect::<Result<_, _>>()?)))
        .collect()
    }

    pub(super) fn exec(&mut self, change: &str, params: &[Value]) -> Result<u64, SqlError> {
        self.statement(change, |statement| {
            bind(statement, params)?;
            statement.raw_execute().map(|rows| rows as u64)
        })
    }

    /// One row after the other through one statement: there is no round trip to be spared.
    pub(super) fn insert(&mut self, single: &str, columns: usize, values: &[Value]) -> Result<(), SqlError> {
        let result = self.statement(single, |statement| {
            for row in values.chunks_exact(columns) {
                bind(statement, row)?;
                statement.raw_execute()?;
            }
            Ok(())
        });
        if let Err(error) = &result {
            // The rows before stand in the transaction: it must not be committed with a part of
            // them.
            self.undone.get_or_insert_with(|| error.clone());
        }
        result
    }

    /// Begins a transaction with the right to write, so that it never has to be given up for
    /// another's sake.
    pub(super) fn begin(&mut self) -> Result<(), SqlError> {
        self.undone = None;
        self.exec("BEGIN IMMEDIATE", &[]).map(drop)
    }

    /// After an error nothing of the transaction stands as long as this process lives. If the
    /// process, or the machine, dies before the next commit, the disk may hold all of it, because
    /// the last write may have arrived and only its confirmation failed: such errors are of an
    /// unknown outcome.
    pub(super) fn commit(&mut self) -> Result<(), SqlError> {
        let committed = match self.undone.clone() {
            Some(error) => Err(error),
            // SQLite undoes some transactions by itself: a COMMIT would be an error then, not a
            // success.
            None => self.exec("COMMIT", &[]).map(drop),
        };
        self.roll_back();
        committed
    }

    /// Ends the transaction, if there is one.
    pub(super) fn roll_back(&mut self) {
        self.undone = None;
        if self.in_transaction() && self.exec("ROLLBACK", &[]).is_err() {
            // Closing the connection undoes it too.
            self.spent = true;
        }
    }

    pub(super) fn migrate(&mut self, migrations: &[Migration]) -> Result<usize, SqlError> {
        self.begin()?;
        match self.apply(migrations) {
            Ok(count) => self.commit().map(|()| count),
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }

    /// All of it in one transaction, as SQLite's definitions of tables may be. The tables stay as
    /// they are written: in the order of their primary key (`WITHOUT ROWID`, as MySQL keeps them)
    /// inserts of orders cost a tenth more and reads a twentieth less.
    fn apply(&mut self, migrations: &[Migration]) -> Result<usize, SqlError> {
        self.exec(MIGRATIONS_TABLE, &[])?;
        let applied = self.rows(APPLIED, &[])?;
        let applied = applied.into_iter().map(|mut row| row.text()).collect::<Result<Vec<_>, _>>()?;
        let pending = pending(migrations, &applied, Sqlite::NEWER, &self.path.display().to_string())?;
        for migration in pending {
            for statement in &migration.statements {
                self.exec(statement, &[])?;
            }
            let name = migration.name.as_str().into();
            self.exec("INSERT INTO migrations (name, applied_at) VALUES (?, now_ms())", &[name])?;
        }
        Ok(pending.len())
    }

    fn statement<T>(
        &mut self,
        text: &str,
        work: impl FnOnce(&mut Statement<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, SqlError> {
        if let Some(error) = &self.undone {
            return Err(error.clone());
        }
        let began_inside = self.in_transaction();
        let result = self.conn.prepare_cached(text).and_then(|mut statement| work(&mut statement));
        result.map_err(|error| {
            let code = error.sqlite_error_code();
            let error = fault::of_sqlite(&self.path, error);
            // SQLite undid the whole transaction by itself: what follows must not run on its own,
            // nor seem to be committed.
            if began_inside && !self.in_transaction() {
                self.undone = Some(error.clone());
            }
            // The name may lead to a sound file by now. Not so a full disk, whose file is as sound
            // as before.
            let doubtful = [
                ErrorCode::SystemIoFailure,
                ErrorCode::CannotOpen,
                ErrorCode::ReadOnly,
                ErrorCode::DatabaseCorrupt,
                ErrorCode::NotADatabase,
            ];
            self.spent |= code.is_some_and(|code| doubtful.contains(&code));
            error
        })
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, SqlError> {
    // Each connection belongs to one thread. No URI: a folder may have any name.
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    let conn = conn.map_err(|error| fault::of_sqlite(path, error))?;
    // Where it may not write, SQLite opens for reading and says nothing.
    match conn.is_readonly("main") {
        Ok(true) if flags.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) => {
            Err(SqlError::Broken(fault::read_only(path, "it opens for reading only").into()))
        }
        Ok(_) => Ok(conn),
        Err(error) => Err(fault::of_sqlite(path, error)),
    }
}

fn demand(conn: &Connection, path: &Path, pragma: &str, wanted: &str) -> Result<(), SqlError> {
    let found = conn.pragma_query_value(None, pragma, |row| row.get(0));
    let found = match found.map_err(|error| fault::of_sqlite(path, error))? {
        Stored::Integer(number) => number.to_string(),
        Stored::Text(text) => text,
        other => format!("{other:?}"),
    };
    if found == wanted {
        return Ok(());
    }
    let what = format!(
        "{} opens with {pragma} = {found} where {wanted} is needed, or a crash could lose what was confirmed: put the data folder \
         on a disk of this machine, and give it to this program only",
        path.display()
    );
    Err(SqlError::Broken(what.into()))
}

fn bind(statement: &mut Statement<'_>, params: &[Value]) -> rusqlite::Result<()> {
    let wanted = statement.parameter_count();
    if params.len() != wanted {
        return Err(rusqlite::Error::InvalidParameterCount(params.len(), wanted));
    }
    params.iter().enumerate().try_for_each(|(at, value)| statement.raw_bind_parameter(at + 1, Bound(value)))
}

struct Bound<'a>(&'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn read(value: ValueRef<'_>) -> Result<Value, SqlError> {
    match value {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(number) => Ok(Value::Int(number)),
        ValueRef::Text(text) => match str::from_utf8(text) {
            Ok(text) => Ok(Value::Text(text.into())),
            Err(error) => Err(SqlError::Broken(Cause::new(format!("a text that is none: {error}"), error))),
        },
        ValueRef::Blob(bytes) => Ok(Value::Bytes(Bytes::copy_from_slice(bytes))),
        ValueRef::Real(number) => {
            Err(SqlError::Broken(format!("a column of a type that is not used here: {number}").into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &tempfile::TempDir) -> OpenFile {
        let path = folder.path().join("a.db");
        OpenFile::create(&path).unwrap();
        let clock: NowMs = Arc::new(|| 7);
        let mut file = OpenFile::open(&path, Role::Writer, &clock, &Settings::default()).unwrap();
        assert_eq!(file.migrate(&[step("1", &["CREATE TABLE t (k BIGINT NOT NULL PRIMARY KEY)"])]).unwrap(), 1);
        file
    }

    fn step(name: &str, statements: &[&str]) -> Migration {
        Migration { name: name.into(), statements: statements.iter().map(|&statement| statement.into()).collect() }
    }

    fn count(file: &mut OpenFile) -> i64 {
        file.rows("SELECT COUNT(*) FROM t", &[]).unwrap().remove(0).int().unwrap()
    }

    /// A part of an insert is never committed: everything after it is refused, until the
    /// transaction has ended.
    #[test]
    fn an_insert_that_failed_half_way_is_never_committed() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = file(&folder);
        let insert = "INSERT INTO t (k) VALUES (?)";
        file.begin().unwrap();
        let taken = file.insert(insert, 1, &[1_i64.into(), 2_i64.into(), 1_i64.into()]).unwrap_err();
        assert!(matches!(taken, SqlError::KeyTaken(_)), "{taken:?}");
        assert_eq!(file.exec(insert, &[3_i64.into()]), Err(taken.clone()));
        assert_eq!(file.commit(), Err(taken));
        assert!(!file.in_transaction());
        assert_eq!(count(&mut file), 0);
        file.begin().unwrap();
        file.insert(insert, 1, &[1_i64.into(), 2_i64.into()]).unwrap();
        file.commit().unwrap();
        assert_eq!(count(&mut file), 2);
    }

    /// A migration that fails half way leaves nothing, not even a table.
    #[test]
    fn a_migration_happens_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = file(&folder);
        let (first, table) = (step("1", &[]), "CREATE TABLE u (k BIGINT NOT NULL PRIMARY KEY)");
        assert!(file.migrate(&[first.clone(), step("2", &[table]), step("3", &["not SQL"])]).is_err());
        assert!(file.exec("INSERT INTO u VALUES (1)", &[]).is_err());
        assert_eq!(file.migrate(&[first.clone(), step("2", &[table])]).unwrap(), 1);
        assert_eq!(file.migrate(&[first, step("2", &[table])]).unwrap(), 0);
    }

    /// A pragma that is not in force is an error that says what to do.
    #[test]
    fn an_unsafe_connection_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder);
        let refused = demand(&file.conn, &file.path, "synchronous", "3").unwrap_err().to_string();
        assert!(refused.contains("synchronous = 2 where 3 is needed") && refused.contains("a disk of this machine"));
    }
}

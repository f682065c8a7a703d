//! What an error of SQLite or of the system means, and what to do about it.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use rusqlite::{Error, ErrorCode, ffi};

use crate::{cause::Cause, sql::SqlError};

/// What an error says about the statement.
pub(super) fn of_sqlite(path: &Path, error: Error) -> SqlError {
    let (file, text) = (path.display(), error.to_string());
    let Some(&ffi::Error { code, extended_code }) = error.sqlite_error() else {
        return SqlError::Broken(Cause::of(error));
    };
    let (what, kind): (String, fn(Cause) -> SqlError) = match code {
        ErrorCode::ConstraintViolation => match extended_code {
            ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_ROWID => {
                (text, SqlError::KeyTaken)
            }
            _ => (text, SqlError::Unfit),
        },
        ErrorCode::TooBig | ErrorCode::TypeMismatch => (text, SqlError::Unfit),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => (
            format!(
                "another process or handle writes to {file} ({text}): end it (`fuser {file}` names it); work then goes \
                 on by itself"
            ),
            SqlError::LockWait,
        ),
        ErrorCode::DiskFull => (disk_full(path), SqlError::Unreachable),
        ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed => (
            format!(
                "{file} cannot be read or written ({text}): look at the disk and at the system's log; work goes on by \
                 itself once the disk answers"
            ),
            SqlError::Unreachable,
        ),
        ErrorCode::CannotOpen => (
            format!(
                "{file} cannot be opened ({text}): see that it is there, and that this user may write to it and to its \
                 folder; work goes on by itself once it opens"
            ),
            SqlError::Unreachable,
        ),
        ErrorCode::OutOfMemory => (format!("no memory for {file}: give this machine more"), SqlError::Unreachable),
        ErrorCode::OperationInterrupted => (format!("the caller has gone: {text}"), SqlError::Unreachable),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => (read_only(path, &text), SqlError::Broken),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => (
            format!(
                "{file} is damaged ({text}): stop this program, copy the whole data folder to a safe place, then \
                 restore the folder from a backup, or take the file's rows out of the copy with `sqlite3 FILE .recover`"
            ),
            SqlError::Broken,
        ),
        _ => (text, SqlError::Broken),
    };
    kind(Cause::new(what, error))
}

/// What an error of the file system says. It is not kept as the source: an exit status is found by
/// the system's errors along the chain, and here the words say what to do.
pub(super) fn of_system(path: &Path, error: &io::Error) -> SqlError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => SqlError::Unreachable(disk_full(path).into()),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            SqlError::Broken(read_only(path, &error.to_string()).into())
        }
        _ => {
            let what = format!("{}: {error}; see that this is a folder this user may write to", path.display());
            SqlError::Unreachable(what.into())
        }
    }
}

fn disk_full(path: &Path) -> String {
    let file = path.display();
    format!("the disk that holds {file} is full: make room; nothing is lost, and work goes on by itself")
}

/// What to do about a file that cannot be written.
pub(super) fn read_only(path: &Path, text: &str) -> String {
    let file = path.display();
    format!("{file} cannot be written ({text}): let this user write to it and to its folder, then start again")
}

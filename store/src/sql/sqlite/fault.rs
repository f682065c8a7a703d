//! What an error of SQLite or of the system means, and what to do about it.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use rusqlite::{Error, ErrorCode, ffi};

use crate::sql::SqlError;

/// What an error says about the statement.
pub(super) fn of_sqlite(path: &Path, error: &Error) -> SqlError {
    let (file, text) = (path.display(), error.to_string());
    let Some(ffi::Error { code, extended_code }) = error.sqlite_error() else { return SqlError::Broken(text) };
    match code {
        ErrorCode::ConstraintViolation => match *extended_code {
            ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_ROWID => {
                SqlError::KeyTaken(text)
            }
            _ => SqlError::Unfit(text),
        },
        ErrorCode::TooBig | ErrorCode::TypeMismatch => SqlError::Unfit(text),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => SqlError::LockWait(format!(
            "another process or handle writes to {file} ({text}): end it (`fuser {file}` names it); work then goes on by itself"
        )),
        ErrorCode::DiskFull => disk_full(path),
        ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed => SqlError::Unreachable(format!(
            "{file} cannot be read or written ({text}): look at the disk and at the system's log; work goes on by itself \
             once the disk answers"
        )),
        ErrorCode::CannotOpen => SqlError::Unreachable(format!(
            "{file} cannot be opened ({text}): see that it is there, and that this user may write to it and to its folder; \
             work goes on by itself once it opens"
        )),
        ErrorCode::OutOfMemory => SqlError::Unreachable(format!("no memory for {file}: give this machine more")),
        ErrorCode::OperationInterrupted => SqlError::Unreachable(format!("the caller has gone: {text}")),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => read_only(path, &text),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => SqlError::Broken(format!(
            "{file} is damaged ({text}): stop this program, copy the whole data folder to a safe place, then restore the \
             folder from a backup, or take the file's rows out of the copy with `sqlite3 FILE .recover`"
        )),
        _ => SqlError::Broken(text),
    }
}

/// What an error of the file system says.
pub(super) fn of_system(path: &Path, error: &io::Error) -> SqlError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => disk_full(path),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => read_only(path, &error.to_string()),
        _ => SqlError::Unreachable(format!(
            "{}: {error}; see that this is a folder this user may write to",
            path.display()
        )),
    }
}

fn disk_full(path: &Path) -> SqlError {
    let file = path.display();
    SqlError::Unreachable(format!(
        "the disk that holds {file} is full: make room; nothing is lost, and work goes on by itself"
    ))
}

pub(super) fn read_only(path: &Path, text: &str) -> SqlError {
    let file = path.display();
    SqlError::Broken(format!(
        "{file} cannot be written ({text}): let this user write to it and to its folder, then start again"
    ))
}

//! `flashsale backup`: a copy of the data folder that the program starts on, taken while a server
//! sells or at rest. Each file is copied as it is at one moment, and the moments follow each other
//! as the work does: who reads the ledger first, then the ledger, its rows, and the log last. So
//! what is copied is a state that a crash may leave (R8, R10, R11): the log knows all that the rows
//! and the ledger know, and the next start decides the rest again.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use kit::{clock::SystemClock, exit::Exit};
use serde::Serialize;
use store::sql::{SqlError, sqlite::copy_file};

use crate::{
    config::Config,
    deployment::{self, DeploymentError, LOG_FILE, NAMESPACE},
    folder::{self, FolderError},
};

/// What the name of a copy ends with until it is whole.
const PARTIAL: &str = ".partial";
/// Stands in a copy that is not whole, and in nothing else.
const MARK: &str = "backup-under-way";

/// How often what merchants publish meanwhile is copied again.
const TRIES_MAX: usize = 5;
/// The ledger, in the order of the files.
const LEDGER: (u8, u16) = (2, 0);

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Where it was to go, something is.
    #[error("{} is there already: name a folder that is not", .0.display())]
    Taken(PathBuf),
    /// A database.
    #[error("{}: {source}", file.display())]
    Database {
        /// Its file.
        file: PathBuf,
        /// Why.
        #[source]
        source: SqlError,
    },
    /// The disk or its rights.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The ledger.
    #[error(transparent)]
    Stores(#[from] DeploymentError),
    /// Sales were published all the time.
    #[error("sales were published while each of {TRIES_MAX} copies was made: back up again at a calmer moment")]
    Publishing,
    /// The folder holds what a copy would lack.
    #[error("{} is no file of a data folder: move it elsewhere, then back up again", .0.display())]
    Unknown(PathBuf),
}

impl BackupError {
    /// The status with which the program ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Folder(error) => error.exit(),
            Self::Taken(_) | Self::Unknown(_) => Exit::No,
            Self::Stores(error) => error.exit(),
            Self::Publishing => Exit::Later,
            Self::Database { .. } => Exit::Disk,
            Self::Io { source, .. } => Exit::of_system(source).unwrap_or(Exit::Disk),
        }
    }
}

/// What was copied.
#[derive(Debug, Serialize)]
pub struct Backup {
    /// Where it is.
    pub folder: PathBuf,
    /// Files, in the order in which they were copied.
    pub files: Vec<String>,
    /// All of them, bytes.
    pub bytes: u64,
}

fn at(path: &Path) -> impl Fn(io::Error) -> BackupError {
    move |source| BackupError::Io { path: path.to_owned(), source }
}

/// Copies the data folder to `to`, which is there only when all of it is. Blocks.
///
/// # Errors
/// [`BackupError`]; the data folder is as it was, and the same command may be given again.
pub async fn backup(config: &Config, to: &Path) -> Result<Backup, BackupError> {
    let is_served = folder::running(&config.data)?.is_some();
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Taken(to.to_owned()));
    }
    let mut partial = to.as_os_str().to_owned();
    partial.push(PARTIAL);
    let partial = PathBuf::from(partial);
    let files = files_of(&config.data)?;
    begin(&partial)?;
    let (merchants, rest) = files.split_at(files.iter().take_while(|name| rank(name) <= LEDGER).count());
    let mut bytes = 0;
    if is_served {
        bytes += copy_unchanged(&config.data, &partial, merchants).await?;
    } else {
        bytes += copy_all(&config.data, &partial, merchants)?;
    }
    bytes += copy_all(&config.data, &partial, rest)?;
    fs::remove_file(partial.join(MARK)).map_err(at(&partial))?;
    let sync = |folder: &Path| File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder));
    sync(&partial)?;
    fs::rename(&partial, to).map_err(at(to))?;
    // The name is durable when the folder above is.
    match to.parent().filter(|above| !above.as_os_str().is_empty()) {
        Some(above) => sync(above)?,
        None => sync(Path::new("."))?,
    }
    Ok(Backup { folder: to.to_owned(), files, bytes })
}

/// Copies what the merchants' service and the ledger know of each other: a publication between the
/// two copies would be known to the ledger alone, and its stock be promised twice. So they are
/// copied again when there was one.
async fn copy_unchanged(data: &Path, partial: &Path, files: &[String]) -> Result<u64, BackupError> {
    for _try in 0..TRIES_MAX {
        let before = deployment::published(data, SystemClock::new()).await?;
        let bytes = copy_all(data, partial, files)?;
        if deployment::published(data, SystemClock::new()).await? == before {
            return Ok(bytes);
        }
        for name in files {
            let copy = partial.join(name);
            fs::remove_file(&copy).map_err(at(&copy))?;
        }
    }
    Err(BackupError::Publishing)
}

/// Bytes of the copies.
fn copy_all(data: &Path, partial: &Path, files: &[String]) -> Result<u64, BackupError> {
    let mut bytes = 0;
    for name in files {
        let (from, to) = (data.join(name), partial.join(name));
        if is_database(name) {
            copy_file(&from, &to).map_err(|source| BackupError::Database { file: from, source })?;
        } else {
            fs::copy(&from, &to).map_err(at(&from))?;
            File::open(&to).and_then(|file| file.sync_all()).map_err(at(&to))?;
        }
        bytes += to.metadata().map_err(at(&to))?.len();
    }
    Ok(bytes)
}

/// Makes the folder of a copy that is not whole; one that an earlier backup left is removed.
fn begin(partial: &Path) -> Result<(), BackupError> {
    if partial.symlink_metadata().is_ok() {
        if !partial.join(MARK).is_file() {
            return Err(BackupError::Taken(partial.to_owned()));
        }
        fs::remove_dir_all(partial).map_err(at(partial))?;
    }
    // The keys in it sign for every buyer.
    fs::DirBuilder::new().mode(0o700).create(partial).map_err(at(partial))?;
    File::create_new(partial.join(MARK)).map_err(at(partial)).map(drop)
}

/// What is to be copied, in its order. What belongs to a process that runs is left out, and so is
/// what a database keeps beside its file: its copy has all of it.
fn files_of(data: &Path) -> Result<Vec<String>, BackupError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(data).map_err(at(data))? {
        let entry = entry.map_err(at(data))?;
        let (name, kind) = (entry.file_name(), entry.file_type().map_err(at(data))?);
        let Some(name) = name.to_str().filter(|_| kind.is_file()) else {
            return Err(BackupError::Unknown(entry.path()));
        };
        if !folder::is_of_process(name) && !["-wal", "-shm", "-journal"].iter().any(|end| name.ends_with(end)) {
            files.push(name.to_owned());
        }
    }
    files.sort_by_key(|name| (rank(name), name.clone()));
    Ok(files)
}

fn is_database(name: &str) -> bool {
    name.ends_with(".db")
}

/// Later files know more than earlier ones. Of the shards the first comes last: what belongs to an
/// offer or a shop stands in it, and is taken there before an order of another shard says so.
fn rank(name: &str) -> (u8, u16) {
    let shard = name.strip_prefix(NAMESPACE).and_then(|rest| rest.strip_prefix("_orders_"));
    let shard = shard.and_then(|rest| rest.strip_suffix(".db")?.parse::<u16>().ok());
    match (name, shard) {
        (LOG_FILE, _) => (4, 0),
        (_, Some(shard)) => (3, u16::MAX - shard),
        (name, None) if name.strip_prefix(NAMESPACE) == Some("_ledger.db") => LEDGER,
        (name, None) if is_database(name) => (1, 0),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_copied_last_and_each_file_after_those_that_read_it() {
        let mut names =
            ["log.db", "shop_orders_0.db", "shop_orders_1.db", "shop_ledger.db", "shop_catalog.db", "format"];
        names.sort_by_key(|name| rank(name));
        assert_eq!(
            names,
            ["format", "shop_catalog.db", "shop_ledger.db", "shop_orders_1.db", "shop_orders_0.db", "log.db"]
        );
    }
}

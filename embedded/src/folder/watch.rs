//! Whether the folder that is worked on is still there. Files that were removed go on taking what
//! is written to them, and lose it with the process: a shop that did not notice would go on
//! promising.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{FolderError, LOCK_FILE, at};

/// Between two looks. Orders that were accepted since the last one are lost with the folder.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What the databases' files end with. Their write-ahead logs are made and removed by whoever opens
/// and closes them.
const DATABASE: &str = "db";

/// A file or folder, whatever its name is now: device and number.
type Identity = (u64, u64);

/// What the folder and its files were when they were opened.
#[derive(Debug, Clone)]
pub struct Watched {
    folder: PathBuf,
    held: Vec<(PathBuf, Identity)>,
}

fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|held| (held.dev(), held.ino()))
}

impl Watched {
    /// The folder, its lock and the databases in it as they are now: all of them open.
    ///
    /// # Errors
    /// [`FolderError::Io`] of what cannot be looked at.
    pub fn of(folder: &Path) -> Result<Self, FolderError> {
        let entries = fs::read_dir(folder).map_err(at(folder))?;
        let files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
        let files = files.map_err(at(folder))?.into_iter();
        let ours = files.filter(|path| {
            path.extension() == Some(OsStr::new(DATABASE)) || path.file_name() == Some(OsStr::new(LOCK_FILE))
        });
        let held = std::iter::once(folder.to_owned()).chain(ours);
        let held = held.map(|path| Ok((path.clone(), identity(&path).map_err(at(&path))?)));
        Ok(Self { folder: folder.to_owned(), held: held.collect::<Result<_, FolderError>>()? })
    }

    /// What is not there any more, or is something else by now. A disk that does not answer has
    /// lost nothing.
    fn missing(&self) -> Option<&Path> {
        let is_gone = |(path, held): &&(PathBuf, Identity)| match identity(path) {
            Ok(found) => found != *held,
            Err(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        };
        self.held.iter().find(is_gone).map(|(path, _)| &**path)
    }

    /// Returns once something is missing, and says so.
    pub async fn until_gone(self) -> FolderError {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let looked = self.clone();
            // A disk may take its time.
            let missing = tokio::task::spawn_blocking(move || looked.missing().map(Path::to_owned)).await;
            if let Ok(Some(missing)) = missing {
                return FolderError::Gone { path: self.folder, missing };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> (tempfile::TempDir, PathBuf, Watched) {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("data");
        fs::create_dir(&folder).unwrap();
        for file in ["log.db", "log.db-wal", "shop_ledger.db", LOCK_FILE, "server.json"] {
            fs::write(folder.join(file), file).unwrap();
        }
        let watched = Watched::of(&folder).unwrap();
        assert_eq!(watched.missing(), None);
        (temp, folder, watched)
    }

    #[test]
    fn a_folder_that_is_removed_renamed_or_replaced_is_gone() {
        let (_temp, folder, watched) = watched();
        let aside = folder.with_extension("aside");
        fs::rename(&folder, &aside).unwrap();
        assert_eq!(watched.missing(), Some(&*folder));
        // A copy that came in its place is another folder.
        fs::create_dir(&folder).unwrap();
        assert_eq!(watched.missing(), Some(&*folder));
        fs::remove_dir(&folder).unwrap();
        fs::rename(&aside, &folder).unwrap();
        assert_eq!(watched.missing(), None);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(watched.missing(), Some(&*folder));
    }

    #[test]
    fn a_database_that_is_removed_or_replaced_is_gone() {
        let (_temp, folder, watched) = watched();
        fs::write(folder.join("log.db"), "other content").unwrap();
        for file in ["log.db-wal", "server.json"] {
            fs::remove_file(folder.join(file)).unwrap();
        }
        assert_eq!(watched.missing(), None, "content, and files that come and go, are nobody's business here");
        let copy = folder.join("copy");
        fs::copy(folder.join("log.db"), &copy).unwrap();
        fs::rename(&copy, folder.join("log.db")).unwrap();
        assert_eq!(watched.missing(), Some(&*folder.join("log.db")));
    }
}

//! The data folder: one process at a time, of a format that this program knows, with the keys that are made once. What is in its
//! files is the business of the stores.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use kit::token::{KeyError, TokenKey};
use serde::{Deserialize, Serialize};

/// The format of a folder that this program writes. Another one is not touched.
pub const FORMAT: u32 = 1;

const FORMAT_FILE: &str = "format";
const LOCK_FILE: &str = "lock";
const SERVER_FILE: &str = "server.json";
const TOKEN_KEY_FILE: &str = "token.key";
const CONTROL_KEY_FILE: &str = "control.key";

/// Why a folder is not opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process works on it.
    #[error("{} is in use by another flashsale{}: stop that one, or name another folder with --data", path.display(), who(holder))]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who.
        holder: Option<ServerNote>,
    },
    /// It is somebody else's.
    #[error("{} is not empty and no data folder of flashsale: name another one with --data", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// A newer program made it.
    #[error("{} has format {found} and this program knows {FORMAT}: run the newer flashsale that made it", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// An older program made it.
    #[error("{} has format {found}, which this program cannot bring to {FORMAT}: run the flashsale that made it, or name another folder with --data", path.display())]
    Older {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// There is none, and none was to be made.
    #[error("there is no data folder {}: `flashsale serve` makes one; --data names another", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file in it says nonsense.
    #[error("{} is damaged ({what}): restore it from a copy of the folder", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The disk or its permissions.
    #[error("{}: {source}; flashsale needs a folder that it may write to and a disk with room", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn who(holder: &Option<ServerNote>) -> String {
    holder.as_ref().map_or_else(String::new, |note| format!(" (process {}, {})", note.pid, note.listen))
}

/// What a running server leaves for the commands that talk to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerNote {
    /// Its process.
    pub pid: u32,
    /// The buyers' address.
    pub listen: SocketAddr,
    /// The second port.
    pub admin: SocketAddr,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    kid: String,
    secret: String,
}

/// A data folder that this process has to itself until it drops it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
    is_new: bool,
}

/// For `map_err`: which file it was.
fn at(path: &Path) -> impl Fn(io::Error) -> FolderError {
    move |source| FolderError::Io { path: path.to_owned(), source }
}

impl Folder {
    /// Takes the folder for this process; makes it when it is missing or empty.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))?;
        let path = path.canonicalize().map_err(at(path))?;
        let format_file = path.join(FORMAT_FILE);
        let is_new = !format_file.exists();
        if is_new && has_content(&path)? {
            return Err(FolderError::Foreign { path });
        }
        if !is_new {
            check_format(&path)?;
        }
        let lock = take_lock(&path)?;
        if is_new {
            write_once(&format_file, &format!("{FORMAT}\n"))?;
        }
        Ok(Self { path, _lock: lock, is_new })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was made just now.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The key of the buyers' tokens; made when it is missing.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn token_key(&self) -> Result<TokenKey, FolderError> {
        let path = self.path.join(TOKEN_KEY_FILE);
        if !path.exists() {
            let key = StoredKey { kid: "shop".into(), secret: TokenKey::fresh_secret().map_err(at(&path))? };
            let text = toml::to_string(&key).map_err(|error| damaged(&path, error))?;
            write_once(&path, &text)?;
        }
        token_key(&self.path)
    }

    /// The secret of the commands that talk to a running server; made when it is missing.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn control_key(&self) -> Result<String, FolderError> {
        let path = self.path.join(CONTROL_KEY_FILE);
        if !path.exists() {
            write_once(&path, &(TokenKey::fresh_secret().map_err(at(&path))? + "\n"))?;
        }
        control_key(&self.path)
    }

    /// Tells other commands where this process answers.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn note_server(&self, note: &ServerNote) -> Result<(), FolderError> {
        let path = self.path.join(SERVER_FILE);
        let text = serde_json::to_string(note).map_err(|error| damaged(&path, error))?;
        fs::write(&path, text + "\n").map_err(at(&path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Who finds a stale note asks the lock before believing it.
        let _gone = fs::remove_file(self.path.join(SERVER_FILE));
    }
}

/// The server that works on this folder now, if one does.
///
/// # Errors
/// [`FolderError::Missing`] where there is no data folder, or another one.
pub fn running(path: &Path) -> Result<Option<ServerNote>, FolderError> {
    if !path.join(FORMAT_FILE).exists() {
        return Err(FolderError::Missing { path: path.to_owned() });
    }
    check_format(path)?;
    let lock = path.join(LOCK_FILE);
    let file = match File::open(&lock) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(&lock)(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(read_note(path)),
        Err(TryLockError::Error(error)) => Err(at(&lock)(error)),
    }
}

/// The key of the buyers' tokens of a folder that is served, or was.
///
/// # Errors
/// [`FolderError`].
pub fn token_key(folder: &Path) -> Result<TokenKey, FolderError> {
    let path = folder.join(TOKEN_KEY_FILE);
    let text = fs::read_to_string(&path).map_err(at(&path))?;
    let stored: StoredKey = toml::from_str(&text).map_err(|error| damaged(&path, error.message()))?;
    TokenKey::new(&stored.kid, &stored.secret).map_err(|error: KeyError| damaged(&path, error))
}

/// The secret of the commands that talk to a running server.
///
/// # Errors
/// [`FolderError`].
pub fn control_key(folder: &Path) -> Result<String, FolderError> {
    let path = folder.join(CONTROL_KEY_FILE);
    let text = fs::read_to_string(&path).map_err(at(&path))?;
    let key = text.trim();
    if key.is_empty() { Err(damaged(&path, "it is empty")) } else { Ok(key.into()) }
}

fn damaged(path: &Path, what: impl ToString) -> FolderError {
    FolderError::Damaged { path: path.to_owned(), what: what.to_string() }
}

fn has_content(path: &Path) -> Result<bool, FolderError> {
    // A lock alone is what a start leaves that died before it wrote the format.
    let mut entries = fs::read_dir(path).map_err(at(path))?;
    Ok(entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != LOCK_FILE)))
}

fn check_format(path: &Path) -> Result<(), FolderError> {
    let file = path.join(FORMAT_FILE);
    let text = fs::read_to_string(&file).map_err(at(&file))?;
    let path = path.to_owned();
    match text.trim().parse() {
        Ok(FORMAT) => Ok(()),
        Ok(found) if found > FORMAT => Err(FolderError::Newer { path, found }),
        Ok(found) => Err(FolderError::Older { path, found }),
        Err(_) => Err(damaged(&file, "no number of a format")),
    }
}

fn take_lock(path: &Path) -> Result<File, FolderError> {
    let file = path.join(LOCK_FILE);
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&file).map_err(at(&file))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(FolderError::InUse { path: path.to_owned(), holder: read_note(path) }),
        Err(TryLockError::Error(error)) => Err(at(&file)(error)),
    }
}

fn read_note(path: &Path) -> Option<ServerNote> {
    let text = fs::read_to_string(path.join(SERVER_FILE)).ok()?;
    serde_json::from_str(&text).ok()
}

/// Writes a file that only its owner reads, whole or not at all, and durable when this returns.
fn write_once(path: &Path, text: &str) -> Result<(), FolderError> {
    let draft = path.with_extension("new");
    let write = || {
        let mut file =
            OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        let mut written = String::new();
        file.rewind()?;
        file.read_to_string(&mut written)?;
        if written != text {
            return Err(io::Error::other("what was written does not come back"));
        }
        fs::rename(&draft, path)?;
        // The name is durable when the folder is.
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_folder_is_made_once_and_its_keys_stay() {
        let temp = folder();
        let path = temp.path().join("a/b");
        let first = Folder::open(&path).unwrap();
        assert!(first.is_new());
        let (token, control) = (first.token_key().unwrap().kid().to_owned(), first.control_key().unwrap());
        drop(first);
        let again = Folder::open(&path).unwrap();
        assert!(!again.is_new());
        assert_eq!((again.token_key().unwrap().kid(), again.control_key().unwrap()), (token.as_str(), control));
    }

    #[test]
    fn two_processes_do_not_share_a_folder() {
        let temp = folder();
        let first = Folder::open(temp.path()).unwrap();
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let note = ServerNote { pid: 7, listen: local(1), admin: local(2) };
        first.note_server(&note).unwrap();
        let told = Folder::open(temp.path()).unwrap_err().to_string();
        assert!(told.contains("process 7") && told.contains("--data"), "{told}");
        assert_eq!(running(temp.path()).unwrap(), Some(note));
        drop(first);
        assert_eq!(running(temp.path()).unwrap(), None);
        Folder::open(temp.path()).unwrap();
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let temp = folder();
        fs::write(temp.path().join("thesis.txt"), "x").unwrap();
        assert!(matches!(Folder::open(temp.path()), Err(FolderError::Foreign { .. })));
        assert!(matches!(running(temp.path()), Err(FolderError::Missing { .. })));
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_format_is_not_touched_and_says_which_program_to_run() {
        let temp = folder();
        drop(Folder::open(temp.path()).unwrap());
        for (format, expected) in [("2\n", "newer"), ("0\n", "the flashsale that made it"), ("x", "damaged")] {
            fs::write(temp.path().join(FORMAT_FILE), format).unwrap();
            let told = Folder::open(temp.path()).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}");
            assert_eq!(fs::read_to_string(temp.path().join(FORMAT_FILE)).unwrap(), format);
        }
    }

    #[test]
    fn a_damaged_key_is_told_and_not_replaced() {
        let temp = folder();
        let folder = Folder::open(temp.path()).unwrap();
        folder.token_key().unwrap();
        fs::write(temp.path().join(TOKEN_KEY_FILE), "kid = 'a'\nsecret = 'short'").unwrap();
        assert!(folder.token_key().unwrap_err().to_string().contains("damaged"));
        assert!(fs::read_to_string(temp.path().join(TOKEN_KEY_FILE)).unwrap().contains("short"));
    }
}

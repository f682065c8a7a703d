//! The data folder: one process and one user at a time, of a format that this program knows, with
//! the keys that are made once. What is in its files is the business of the stores.

mod files;
mod rights;
mod watch;

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kit::{
    exit::Exit,
    token::{KeyError, Tenants, TokenKey},
};
use serde::{Deserialize, Serialize};

pub use self::{rights::keep_private, watch::Watched};

/// The format of a folder that this program writes. Another one is not touched.
pub const FORMAT: u32 = 1;

const FORMAT_FILE: &str = "format";
const LOCK_FILE: &str = "lock";
const SERVER_FILE: &str = "server.json";
const TOKEN_KEY_FILE: &str = "token.key";
const CONTROL_KEY_FILE: &str = "control.key";
/// Looks at a lock that a command may hold: three seconds of them.
const LOCK_LOOKS_MAX: u32 = 150;
/// Between two of them.
const LOCK_LOOK: Duration = Duration::from_millis(20);
const VAULT_KEY_FILE: &str = "vault.key";
const KEY_FILES: [&str; 3] = [TOKEN_KEY_FILE, CONTROL_KEY_FILE, VAULT_KEY_FILE];

/// Why a folder is not opened, or not worked on any more. Nothing in it was changed.
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
    /// It belongs to another user, or a file in it does.
    #[error("{} belongs to user {owner}, and this is user {user}: run flashsale as its owner, or name another folder with --data", path.display())]
    NotOurs {
        /// The folder or file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// Others may write to it.
    #[error(
        "{} may be written to by other users (mode {mode:04o}), who may have put keys of theirs there: look at what is in it, \
         then `chmod -R go-rwx` it, or name another folder with --data",
        path.display()
    )]
    Open {
        /// The folder.
        path: PathBuf,
        /// Its rights.
        mode: u32,
    },
    /// A key that others may read, or write.
    #[error(
        "{} is a secret, and other users may read it (mode {mode:04o}): if nobody has, `chmod 600` it; else delete it, and the \
         next start makes another one",
        path.display()
    )]
    OpenKey {
        /// The file.
        path: PathBuf,
        /// Its rights.
        mode: u32,
    },
    /// Something else stands where a key should.
    #[error("{} is a link or something else than a file: put the key itself there, or delete it, and the next start makes one", path.display())]
    NoKeyFile {
        /// What should be a file.
        path: PathBuf,
    },
    /// A file where a folder was named.
    #[error("{} is no folder: name a folder with --data", path.display())]
    NoFolder {
        /// What was named.
        path: PathBuf,
    },
    /// It was removed or replaced while it was worked on.
    #[error(
        "the data folder {} was removed or replaced while it sold ({} is not what was opened): orders accepted since are lost \
         with it; put the folder back, or a copy, before you start again",
        path.display(), missing.display()
    )]
    Gone {
        /// The folder.
        path: PathBuf,
        /// What is not there any more.
        missing: PathBuf,
    },
    /// The disk or its permissions.
    #[error("{}: {source}{}", path.display(), advice(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl FolderError {
    /// The status with which a program ends that could not use the folder.
    pub fn exit(&self) -> Exit {
        match self {
            Self::InUse { .. } => Exit::Later,
            Self::Newer { .. } | Self::Older { .. } => Exit::Mismatch,
            Self::Foreign { .. } | Self::Missing { .. } | Self::NoFolder { .. } => Exit::NoInput,
            Self::Damaged { .. } => Exit::Data,
            Self::NotOurs { .. } | Self::Open { .. } | Self::OpenKey { .. } | Self::NoKeyFile { .. } => {
                Exit::Permission
            }
            Self::Gone { .. } => Exit::Disk,
            Self::Io { source, .. } => Exit::of_system(source).unwrap_or(Exit::Disk),
        }
    }
}

/// What to do about an error of the system; nothing where it speaks for itself.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied => "; let this user write there, or name another folder with --data",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; the disk is full: make room and start again",
        ErrorKind::FileTooLarge => "; a limit on the size of files (`ulimit -f`) is too low: raise it and start again",
        ErrorKind::ReadOnlyFilesystem => "; this disk is read-only: copy the folder to one that can be written to",
        _ => "",
    }
}

fn who(holder: &Option<ServerNote>) -> String {
    let Some(ServerNote { pid, listen, .. }) = holder else { return String::new() };
    if is_stopped(*pid) {
        return format!(
            " (process {pid}, {listen}), which is stopped: `kill -CONT {pid}` lets it go on, `kill -9 {pid}` ends it and loses \
             nothing that was accepted"
        );
    }
    format!(" (process {pid}, {listen})")
}

/// Whether a process is stopped by a signal, as Linux tells it; elsewhere it is not known to be.
fn is_stopped(pid: u32) -> bool {
    // The state is the first field after the name, which may hold anything but ends with the last
    // parenthesis.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't']))
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
    /// Keys of earlier versions do not say: the folder's own key signs for every shop in it.
    #[serde(default = "every_tenant")]
    tenants: String,
}

fn every_tenant() -> String {
    Tenants::All.to_string()
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
        match fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(FolderError::NoFolder { path: path.to_owned() });
            }
            made => made.map_err(at(path))?,
        }
        let path = path.canonicalize().map_err(at(path))?;
        rights::check_owner(&path)?;
        let format_file = path.join(FORMAT_FILE);
        let is_new = !is_there(&format_file)?;
        if is_new && has_content(&path)? {
            return Err(FolderError::Foreign { path });
        }
        if is_new {
            rights::close_folder(&path)?;
            // Who could write there until now may have been quicker.
            if has_content(&path)? {
                return Err(FolderError::Foreign { path });
            }
        } else {
            rights::check(&path)?;
            check_format(&path)?;
        }
        // Files that may be written to in a folder that may not would be worked on before anybody
        // noticed.
        rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).map_err(io::Error::from).map_err(at(&path))?;
        let lock = take_lock(&path)?;
        rights::close_folder(&path)?;
        files::remove_drafts(&path)?;
        rights::close_files(&path, &KEY_FILES)?;
        if is_new {
            files::write_once(&format_file, &format!("{FORMAT}\n"))?;
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
        if !is_there(&path)? {
            let secret = TokenKey::fresh_secret().map_err(at(&path))?;
            let key = StoredKey { kid: "shop".into(), secret, tenants: every_tenant() };
            let text = toml::to_string(&key).map_err(|error| damaged(&path, error))?;
            files::write_once(&path, &text)?;
        }
        token_key(&self.path)
    }

    /// The secret of the commands that talk to a running server; made when it is missing.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn control_key(&self) -> Result<String, FolderError> {
        let path = self.path.join(CONTROL_KEY_FILE);
        if !is_there(&path)? {
            files::write_once(&path, &(TokenKey::fresh_secret().map_err(at(&path))? + "\n"))?;
        }
        control_key(&self.path)
    }

    /// The key under which personal data is sealed, 32 bytes; made when it is missing. Who loses it
    /// loses the data.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn vault_key(&self) -> Result<[u8; 32], FolderError> {
        let path = self.path.join(VAULT_KEY_FILE);
        if !is_there(&path)? {
            files::write_once(&path, &(TokenKey::fresh_secret().map_err(at(&path))? + "\n"))?;
        }
        let text = rights::read_key(&path)?;
        vault_key(text.trim()).ok_or_else(|| damaged(&path, "it is not 32 bytes in base64url"))
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

/// Whether a file of this name is of a process that runs, and of no use to another one.
pub(crate) fn is_of_process(name: &str) -> bool {
    [LOCK_FILE, SERVER_FILE].contains(&name) || files::is_draft(name)
}

/// The server that works on this folder now, if one does.
///
/// # Errors
/// [`FolderError::Missing`] where there is no data folder, or another one.
pub fn running(path: &Path) -> Result<Option<ServerNote>, FolderError> {
    if !is_there(path)? {
        return Err(FolderError::Missing { path: path.to_owned() });
    }
    rights::check(path)?;
    if !is_there(&path.join(FORMAT_FILE))? {
        return Err(FolderError::Missing { path: path.to_owned() });
    }
    check_format(path)?;
    let lock = path.join(LOCK_FILE);
    let file = match File::open(&lock) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(&lock)(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(read_note(path)),
        Err(TryLockError::Error(error)) => Err(at(&lock)(error)),
    }
}

/// What to tell when the stores of a folder did not open: the system's own error if the folder
/// takes no file, else `error`. A database may call a full or read-only disk a file that cannot be
/// opened.
pub fn cause_of<E: From<FolderError>>(folder: &Path, error: E) -> E {
    files::probe(folder).map_or_else(E::from, |()| error)
}

/// The key of the buyers' tokens of a folder that is served, or was.
///
/// # Errors
/// [`FolderError`].
pub fn token_key(folder: &Path) -> Result<TokenKey, FolderError> {
    let path = folder.join(TOKEN_KEY_FILE);
    let text = rights::read_key(&path)?;
    let stored: StoredKey = toml::from_str(&text).map_err(|error| damaged(&path, error.message()))?;
    let tenants: Tenants = stored.tenants.parse().map_err(|error| damaged(&path, error))?;
    TokenKey::new(&stored.kid, &stored.secret, tenants).map_err(|error: KeyError| damaged(&path, error))
}

/// The secret of the commands that talk to a running server.
///
/// # Errors
/// [`FolderError`].
pub fn control_key(folder: &Path) -> Result<String, FolderError> {
    let path = folder.join(CONTROL_KEY_FILE);
    let text = rights::read_key(&path)?;
    let key = text.trim();
    if key.is_empty() { Err(damaged(&path, "it is empty")) } else { Ok(key.into()) }
}

fn vault_key(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

fn damaged(path: &Path, what: impl ToString) -> FolderError {
    FolderError::Damaged { path: path.to_owned(), what: what.to_string() }
}

fn has_content(path: &Path) -> Result<bool, FolderError> {
    // A lock and a draft are what a start leaves that died before it wrote the format.
    let is_left = |name: &OsStr| name == LOCK_FILE || name.to_str().is_some_and(files::is_draft);
    let mut entries = fs::read_dir(path).map_err(at(path))?;
    Ok(entries.any(|entry| entry.is_ok_and(|entry| !is_left(&entry.file_name()))))
}

/// Whether a name is taken, by whatever. A folder that may not be looked into is an error: it does
/// not say that nothing is there.
fn is_there(path: &Path) -> Result<bool, FolderError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(at(path)(error)),
    }
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
    let mut looks = 1;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            // A command holds it for a moment; a server leaves a note that it is there.
            Err(TryLockError::WouldBlock) if looks < LOCK_LOOKS_MAX && read_note(path).is_none() => {
                looks += 1;
                thread::sleep(LOCK_LOOK);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(FolderError::InUse { path: path.to_owned(), holder: read_note(path) });
            }
            Err(TryLockError::Error(error)) => return Err(at(&file)(error)),
        }
    }
}

fn read_note(path: &Path) -> Option<ServerNote> {
    let text = fs::read_to_string(path.join(SERVER_FILE)).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests;

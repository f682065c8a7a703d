//! Who may do what in the folder: this user everything, nobody else anything. What somebody else
//! owns or could have written is not used: a key that was planted signs for whoever planted it.

use std::{
    ffi::OsStr,
    fs::{self, File, Metadata, Permissions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags},
    process::{geteuid, umask},
};

use super::{FolderError, at};

/// Rights of everybody but the owner.
const OTHERS: u32 = 0o077;
/// The part of them that changes something.
const OTHERS_WRITE: u32 = 0o022;
/// The rights that a mode tells.
const RIGHTS: u32 = 0o7777;
/// Bytes of a key file, at most.
const KEY_BYTES_MAX: u64 = 4096;

/// Whatever this process makes from now on is for its own user only: the databases make their files
/// themselves.
pub fn keep_private() {
    umask(Mode::from_raw_mode(OTHERS));
}

/// Refuses a folder that is somebody else's, and one that others may write to.
pub(super) fn check(folder: &Path) -> Result<(), FolderError> {
    let held = check_owner(folder)?;
    let mode = held.mode() & RIGHTS;
    if mode & OTHERS_WRITE == 0 { Ok(()) } else { Err(FolderError::Open { path: folder.to_owned(), mode }) }
}

/// Refuses what is no folder, and a folder that is somebody else's.
pub(super) fn check_owner(folder: &Path) -> Result<Metadata, FolderError> {
    let held = fs::metadata(folder).map_err(at(folder))?;
    if !held.is_dir() {
        return Err(FolderError::NoFolder { path: folder.to_owned() });
    }
    is_ours(folder, &held)?;
    Ok(held)
}

fn is_ours(path: &Path, held: &Metadata) -> Result<(), FolderError> {
    let (owner, user) = (held.uid(), geteuid().as_raw());
    if owner == user { Ok(()) } else { Err(FolderError::NotOurs { path: path.to_owned(), owner, user }) }
}

/// Takes the folder's rights from everybody else.
pub(super) fn close_folder(folder: &Path) -> Result<(), FolderError> {
    if close(folder, &fs::metadata(folder).map_err(at(folder))?)? {
        tracing::warn!(folder = %folder.display(), "others had rights in the data folder; it is this user's only now");
    }
    Ok(())
}

/// The same of its files, which must all be ours. Keys are not among them: one that was open may be
/// known, and is refused.
pub(super) fn close_files(folder: &Path, keys: &[&str]) -> Result<(), FolderError> {
    let mut closed = 0_u32;
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        // Files of SQLite's come and go.
        let held = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            held => held.map_err(at(&path))?,
        };
        is_ours(&path, &held)?;
        if held.is_file() && !keys.iter().any(|key| path.file_name() == Some(OsStr::new(key))) {
            closed += u32::from(close(&path, &held)?);
        }
    }
    if closed > 0 {
        tracing::warn!(folder = %folder.display(), files = closed, "others could read files; they are this user's only now");
    }
    Ok(())
}

/// Whether there was something to take.
fn close(path: &Path, held: &Metadata) -> Result<bool, FolderError> {
    let mode = held.mode() & RIGHTS;
    if mode & OTHERS == 0 {
        return Ok(false);
    }
    fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS)).map_err(at(path))?;
    Ok(true)
}

/// The text of a key: of a file itself, no link, that is ours and that nobody else may read.
pub(super) fn read_key(path: &Path) -> Result<String, FolderError> {
    // What is opened is what is judged. Not to be kept waiting by a pipe in the file's place.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::LOOP) => return Err(FolderError::NoKeyFile { path: path.to_owned() }),
        opened => File::from(opened.map_err(|error| at(path)(error.into()))?),
    };
    let held = file.metadata().map_err(at(path))?;
    if !held.is_file() {
        return Err(FolderError::NoKeyFile { path: path.to_owned() });
    }
    is_ours(path, &held)?;
    let mode = held.mode() & RIGHTS;
    if mode & OTHERS != 0 {
        return Err(FolderError::OpenKey { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(KEY_BYTES_MAX).read_to_string(&mut text).map_err(at(path))?;
    Ok(text)
}

//! Files that are written once: whole or not at all, for their owner only, never over another one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{CONTROL_KEY_FILE, FORMAT_FILE, FolderError, TOKEN_KEY_FILE, VAULT_KEY_FILE, at};

/// What a draft's name ends with.
const DRAFT: &str = ".new";
/// The draft that shows whether the disk takes anything.
const PROBE_FILE: &str = "probe";
/// Enough that it needs room of its own.
const PROBE_BYTES: usize = 64 * 1024;
/// Drafts of earlier versions, whose names were always the same.
const OLD_DRAFTS: [&str; 3] = ["format.new", "token.new", "control.new"];

/// Writes a file that is not there yet; durable when this returns.
pub(super) fn write_once(path: &Path, text: &str) -> Result<(), FolderError> {
    let draft = draft_of(path);
    let write = || {
        write_draft(&draft, text.as_bytes())?;
        // Not renamed: that would replace what came meanwhile.
        fs::hard_link(&draft, path)?;
        fs::remove_file(&draft)?;
        // The name is durable when the folder is.
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(|error| {
        // It is in the way of nobody: the next start removes it.
        let _gone = fs::remove_file(&draft);
        at(path)(error)
    })
}

/// A name that nobody can have taken before.
fn draft_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}{DRAFT}", Uuid::new_v4().simple()))
}

fn write_draft(draft: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).open(draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let mut written = Vec::with_capacity(bytes.len());
    file.rewind()?;
    file.read_to_end(&mut written)?;
    if written == bytes { Ok(()) } else { Err(io::Error::other("what was written does not come back")) }
}

/// Whether the folder takes a file at all; the error is the system's own, which a database may have
/// told as something else.
pub(super) fn probe(folder: &Path) -> Result<(), FolderError> {
    let draft = draft_of(&folder.join(PROBE_FILE));
    let written = write_draft(&draft, &[0; PROBE_BYTES]);
    let _gone = fs::remove_file(&draft);
    written.map_err(at(folder))
}

/// Whether this is the name of a draft that a start left which died.
pub(super) fn is_draft(name: &str) -> bool {
    let of_ours = |file: &str| name.strip_prefix('.').and_then(|name| name.strip_prefix(file));
    let is_fresh =
        [FORMAT_FILE, TOKEN_KEY_FILE, CONTROL_KEY_FILE, VAULT_KEY_FILE, PROBE_FILE].into_iter().any(|file| {
            let id = of_ours(file).and_then(|rest| rest.strip_prefix('.')).and_then(|rest| rest.strip_suffix(DRAFT));
            id.is_some_and(|id| Uuid::try_parse(id).is_ok())
        });
    is_fresh || OLD_DRAFTS.contains(&name)
}

/// Removes them: nobody else writes in a folder that is locked.
pub(super) fn remove_drafts(folder: &Path) -> Result<(), FolderError> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let entry = entry.map_err(at(folder))?;
        if entry.file_name().to_str().is_some_and(is_draft) {
            fs::remove_file(entry.path()).map_err(at(&entry.path()))?;
        }
    }
    Ok(())
}

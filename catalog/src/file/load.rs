//! A sale file's text. It reads, and judges nothing but whether there is a text.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    path::Path,
};

use super::FILE_BYTES_MAX;
use crate::flaw::Flaw;

/// Reads the file's text, at most [`FILE_BYTES_MAX`] bytes of it; `-` is standard input.
///
/// # Errors
/// One [`Flaw`] that says what the path is instead of a readable text: nothing, a directory, too
/// large, not UTF-8.
pub fn load(path: &Path) -> Result<String, Flaw> {
    let cannot = |error: std::io::Error| {
        Flaw::of_file(match error.kind() {
            ErrorKind::NotFound => "is not there".into(),
            ErrorKind::PermissionDenied => "may not be read by this user".into(),
            ErrorKind::IsADirectory => "is a directory; give a file".into(),
            _ => format!("cannot be read: {error}"),
        })
    };
    let file: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).map_err(cannot)?),
    };
    let mut bytes = Vec::new();
    // One byte more than allowed tells that there is more; a pipe or a device has no length to ask
    // for.
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(Flaw::of_file(format!("is larger than {FILE_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
        Flaw { line: Some(line), field: String::new(), message: format!("is not UTF-8 at byte {valid}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal_of(bytes: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        load(file.path()).unwrap_err().to_string()
    }

    /// Goal: whatever a path is, a person is told what. Method: one of each.
    #[test]
    fn what_is_no_readable_text_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()).unwrap_err().to_string(), "is a directory; give a file");
        assert_eq!(load(&folder.path().join("none.toml")).unwrap_err().to_string(), "is not there");
        assert_eq!(refusal_of(b"id = 1\ntitle = \"\xff\""), "line 2: is not UTF-8 at byte 16");
        assert_eq!(refusal_of(&vec![b' '; FILE_BYTES_MAX + 1]), "is larger than 4194304 bytes");
    }

    #[test]
    fn a_file_of_the_full_size_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![b'#'; FILE_BYTES_MAX]).unwrap();
        assert_eq!(load(file.path()).unwrap().len(), FILE_BYTES_MAX);
    }
}

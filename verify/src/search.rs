//! Looks for what must stand nowhere, in the bytes of everything that remembers.

use std::{fs, io, path::Path};

/// All bytes of all files below a folder. A file that goes away meanwhile has none.
///
/// # Errors
/// When a folder cannot be read.
pub fn bytes_below(folder: &Path) -> io::Result<Vec<u8>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        found.extend(if path.is_dir() { bytes_below(&path)? } else { fs::read(&path).unwrap_or_default() });
    }
    Ok(found)
}

/// Whether a text stands in these bytes.
pub fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

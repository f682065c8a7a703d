//! A file that a command is given: at a path, or `-` for standard input.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

/// The name of standard input.
const STDIN: &str = "-";

/// Whether this is standard input.
pub(crate) fn is_stdin(file: &Path) -> bool {
    file == Path::new(STDIN)
}

/// Its text.
///
/// # Errors
/// When it cannot be read, or is not UTF-8.
pub(crate) fn text_of(file: &Path) -> io::Result<String> {
    if !is_stdin(file) {
        return fs::read_to_string(file);
    }
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text).map(|_bytes| text)
}

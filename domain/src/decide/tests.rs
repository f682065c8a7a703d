//! Rules of the writer, each by its name.

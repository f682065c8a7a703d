//! Writes what a run came to: the table to standard output, JSON and the page to the files that
//! were asked for.

use std::{
    fmt, io,
    io::Write,
    path::{Path, PathBuf},
};

use kit::exit::Exit;

use crate::{picture, run::Done, spec::LoadArgs};

/// A file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{} could not be written: {source}; give another path", path.display())]
pub struct OutputError {
    path: PathBuf,
    source: io::Error,
}

impl OutputError {
    /// The status with which a program ends that could not write its report.
    pub fn exit(&self) -> Exit {
        Exit::of_system(&self.source).unwrap_or(Exit::Disk)
    }
}

/// Writes the report of a run. Returns whether it was clean: nothing lost, doubled, oversold or
/// leaked, everything durable, and all services ended well.
///
/// # Errors
/// [`OutputError`] of the first file that could not be written; the table is printed all the same.
pub fn write(done: &Done, args: &LoadArgs) -> Result<bool, OutputError> {
    let Done { report, timeline, failed_services } = done;
    for service in failed_services {
        eprintln!("{service}");
    }
    print(report);
    let json = || Ok(serde_json::to_string_pretty(report)? + "\n");
    let html = || Ok(picture::page(report, timeline));
    write_file(args.json.as_deref(), json).and(write_file(args.html.as_deref(), html))?;
    Ok(report.is_clean() && failed_services.is_empty())
}

fn print(text: &dyn fmt::Display) {
    // A reader that has seen enough, such as `head`, is no failure.
    drop(write!(io::stdout(), "{text}"));
}

/// Writes what was asked for; the error says where it could not.
fn write_file(path: Option<&Path>, text: impl FnOnce() -> io::Result<String>) -> Result<(), OutputError> {
    let Some(path) = path else { return Ok(()) };
    let written = text().and_then(|text| std::fs::write(path, text));
    written.map_err(|source| OutputError { path: path.into(), source })
}

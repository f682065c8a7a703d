//! The head and the end of a program: its settings and its log, then the status that it ends with.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use crate::exit::{Exit, whole};
use crate::settings::{parse_or_exit, usage_error_and_exit};
use crate::telemetry;

/// The settings of this process, as [`parse_or_exit`], with the log begun.
#[must_use]
pub fn begin<T: Parser>() -> T {
    let settings = parse_or_exit();
    telemetry::init().unwrap_or_else(|error| usage_error_and_exit(&error));
    settings
}

/// The status of a program; an error is told on standard error first. `exit_of`: what it ends with.
pub fn end<E: AsRef<dyn Error + 'static>>(
    program: &str,
    ended: Result<(), E>,
    exit_of: impl FnOnce(&E) -> Exit,
) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit_of(&error).tell(program, &whole(error.as_ref())),
    }
}

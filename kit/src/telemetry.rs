//! Logs to standard error. Levels come from `RUST_LOG` (default `info`), the form from
//! `FLASHSALE_LOG_FORMAT`. Metrics are elsewhere: a declined buyer is counted, never logged.

use std::env;
use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Names the variable that chooses the form of the log: `text` (the default) or `json`.
pub const LOG_FORMAT_VARIABLE: &str = "FLASHSALE_LOG_FORMAT";

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` is not a list of directives.
    #[error("RUST_LOG is not a log filter: {0}")]
    Filter(#[source] tracing_subscriber::filter::FromEnvError),
    /// `FLASHSALE_LOG_FORMAT` is neither `text` nor `json`.
    #[error("{LOG_FORMAT_VARIABLE} must be `text` or `json`, not `{0}`")]
    Format(String),
    /// Something else in this process has already installed a subscriber.
    #[error("a log subscriber is already installed")]
    AlreadyInstalled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// Installs the process's log subscriber. Called once, first thing in `main`.
///
/// # Errors
///
/// When a variable cannot be understood, or when a subscriber is already installed.
pub fn init() -> Result<(), TelemetryError> {
    init_at(LevelFilter::INFO)
}

/// The same with another default than `info`: for programs that talk to a person.
///
/// # Errors
///
/// As [`init`].
pub fn init_at(default: LevelFilter) -> Result<(), TelemetryError> {
    let format = format_of(env::var(LOG_FORMAT_VARIABLE).ok().as_deref())?;
    let filter =
        EnvFilter::builder().with_default_directive(default.into()).from_env().map_err(TelemetryError::Filter)?;
    // A terminal that is gone takes no lines, and an error about that would be written to it, which
    // panics.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    let installed = match format {
        Format::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|_taken| TelemetryError::AlreadyInstalled)
}

fn format_of(value: Option<&str>) -> Result<Format, TelemetryError> {
    match value {
        None | Some("" | "text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some(other) => Err(TelemetryError::Format(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_text_unless_json_is_asked_for() {
        assert_eq!(format_of(None).unwrap(), Format::Text);
        assert_eq!(format_of(Some("")).unwrap(), Format::Text);
        assert_eq!(format_of(Some("json")).unwrap(), Format::Json);
    }

    #[test]
    fn an_unknown_form_is_an_error_that_names_it() {
        let message = format_of(Some("xml")).unwrap_err().to_string();
        assert!(message.contains("xml") && message.contains(LOG_FORMAT_VARIABLE), "{message}");
    }
}

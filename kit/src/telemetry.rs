//! Logs to standard error. Levels come from `RUST_LOG` (default `info`), the form from
//! `FLASHSALE_LOG_FORMAT`. Metrics are elsewhere: a declined buyer is counted, never logged.

use std::env;
use std::fmt;
use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::trace::TraceContext;

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
    let ansi = format == Format::Text && io::stderr().is_terminal();
    subscriber(format, filter, ansi, io::stderr).try_init().map_err(|_taken| TelemetryError::AlreadyInstalled)
}

fn subscriber<W>(format: Format, filter: EnvFilter, ansi: bool, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // A terminal that is gone takes no lines, and an error about that would be written to it, which
    // panics.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    match format {
        Format::Text => Box::new(
            builder.with_ansi(ansi).map_event_format(|lines| Traced { lines: lines.with_ansi(ansi), format }).finish(),
        ),
        Format::Json => {
            Box::new(builder.json().flatten_event(true).map_event_format(|lines| Traced { lines, format }).finish())
        }
    }
}

/// Lines that name the trace of the request during which they were written. Taken from the task
/// when a line is written, so that a request that writes none pays nothing.
struct Traced<F> {
    lines: F,
    format: Format,
}

impl<S, N, F> FormatEvent<S, N> for Traced<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(trace) = TraceContext::current() else { return self.lines.format_event(context, writer, event) };
        let mut line = String::new();
        self.lines.format_event(context, Writer::new(&mut line), event)?;
        let (line, trace_id) = (line.trim_end_matches('\n'), trace.trace_id());
        match (self.format, line.strip_suffix('}')) {
            (Format::Json, Some(open)) => writeln!(writer, "{open},\"trace_id\":\"{trace_id}\"}}"),
            _ => writeln!(writer, "{line} trace_id={trace_id}"),
        }
    }
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
    use std::sync::{Arc, Mutex};

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

    /// What was written, for many writers.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged within a request and outside of one, as lines of this format.
    fn logged(format: Format, trace: TraceContext) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(format, EnvFilter::new("info"), false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(trace.within(async { tracing::warn!(lane = 7, "within") }));
            tracing::warn!(lane = 7, "outside");
        });
        let written = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        written.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_names_the_trace_of_its_request() {
        let trace = TraceContext::generate();
        let id = trace.trace_id();
        let text = logged(Format::Text, trace);
        assert!(text[0].ends_with(&format!("within lane=7 trace_id={id}")), "{text:?}");
        assert!(text[1].ends_with("outside lane=7"), "{text:?}");
        let json = logged(Format::Json, trace);
        let json: Vec<serde_json::Value> = json.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&json[0]["message"], &json[0]["trace_id"]), (&"within".into(), &id.to_string().into()));
        assert_eq!((&json[1]["message"], &json[1]["trace_id"]), (&"outside".into(), &serde_json::Value::Null));
    }
}

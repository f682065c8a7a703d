//! Logs to standard error. Levels come from `RUST_LOG` (default `info`) until `set_filter`
//! changes them, the form from `FLASHSALE_LOG_FORMAT`. Metrics are elsewhere: a declined buyer is
//! counted, never logged.

use std::env;
use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, OnceLock, PoisonError};

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
    let filter = of_environment(default).map_err(TelemetryError::Filter)?;
    let ansi = format == Format::Text && io::stderr().is_terminal();
    let (subscriber, exchange) = subscriber(format, filter, ansi, io::stderr);
    subscriber.try_init().map_err(|_taken| TelemetryError::AlreadyInstalled)?;
    // Nobody was first: a second subscriber is refused above.
    let _is_first = RUNNING.set(Running { default, exchange, set: Mutex::default() });
    Ok(())
}

fn of_environment(default: LevelFilter) -> Result<EnvFilter, tracing_subscriber::filter::FromEnvError> {
    EnvFilter::builder().with_default_directive(default.into()).from_env()
}

/// Puts another filter in the place of the one that holds; whether that could be done.
type Exchange = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

/// The filter of this process while it runs.
struct Running {
    default: LevelFilter,
    exchange: Exchange,
    /// What [`set_filter`] was last given.
    set: Mutex<Option<String>>,
}

static RUNNING: OnceLock<Running> = OnceLock::new();

/// Lets this process log by these directives from now on; without any, by those with which it
/// began. Called again with the same it does nothing, so that it can follow a table.
pub fn set_filter(directives: Option<&str>) {
    let Some(running) = RUNNING.get() else { return };
    let mut set = running.set.lock().unwrap_or_else(PoisonError::into_inner);
    if set.as_deref() == directives {
        return;
    }
    let filter = match directives {
        Some(directives) => read_filter(directives).map_err(|error| error.to_string()),
        None => of_environment(running.default).map_err(|error| error.to_string()),
    };
    match filter.map(&running.exchange) {
        Ok(true) => tracing::warn!(filter = directives.unwrap_or("as at the start"), "the log filter was changed"),
        Ok(false) => tracing::error!("the log filter cannot be changed any more"),
        Err(error) => tracing::error!(error, "the log filter is none that this program knows; the old one stays"),
    }
    *set = directives.map(str::to_owned);
}

/// A text that is no filter which may be set while a program runs.
#[derive(Debug, thiserror::Error)]
#[error(
    "give directives such as `info,engine=debug`: names of crates and modules with off, error, warn, info, debug or trace"
)]
pub struct UnknownFilter;

/// The most that a filter lets be logged.
///
/// # Errors
/// [`UnknownFilter`].
pub fn loudest(directives: &str) -> Result<LevelFilter, UnknownFilter> {
    Ok(read_filter(directives)?.max_level_hint().unwrap_or(LevelFilter::TRACE))
}

/// Plain directives, each with its level: one that names fields of spans would be asked at each
/// event, and one without a level means all there is.
fn read_filter(directives: &str) -> Result<EnvFilter, UnknownFilter> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_plain = |directive: &str| {
        let (target, level) = directive.split_once('=').unwrap_or(("", directive));
        LEVELS.contains(&level) && target.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte))
    };
    if !directives.split(',').all(is_plain) {
        return Err(UnknownFilter);
    }
    EnvFilter::builder().parse(directives).map_err(|_flaw| UnknownFilter)
}

fn subscriber<W>(
    format: Format,
    filter: EnvFilter,
    ansi: bool,
    writer: W,
) -> (Box<dyn Subscriber + Send + Sync>, Exchange)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // A terminal that is gone takes no lines, and an error about that would be written to it, which
    // panics.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    match format {
        Format::Text => {
            let builder =
                builder.with_ansi(ansi).map_event_format(|lines| Traced { lines: lines.with_ansi(ansi), format });
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            (Box::new(builder.finish()), Box::new(move |filter| handle.reload(filter).is_ok()))
        }
        Format::Json => {
            let builder = builder.json().flatten_event(true).map_event_format(|lines| Traced { lines, format });
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            (Box::new(builder.finish()), Box::new(move |filter| handle.reload(filter).is_ok()))
        }
    }
}

tokio::task_local! {
    /// The tenant that the task works for.
    static TENANT: u32;
}

/// Which program this is, as its lines in JSON say.
static SERVICE: OnceLock<String> = OnceLock::new();

/// Does something for a tenant: log lines that are written meanwhile name it.
pub fn of_tenant<F: Future>(tenant: u32, work: F) -> impl Future<Output = F::Output> {
    TENANT.scope(tenant, work)
}

/// The name of the program's file, as far as it needs no quoting.
fn service() -> &'static str {
    SERVICE.get_or_init(|| {
        let program = env::args_os().next().unwrap_or_default();
        let name = std::path::Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
        name.chars().filter(|one| one.is_ascii_alphanumeric() || "-_.".contains(*one)).collect()
    })
}

/// Lines that name the trace and the tenant of the request during which they were written, in JSON
/// the program too. Taken from the task when a line is written, so that a request that writes none
/// pays nothing.
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
        let trace = TraceContext::current().map(|trace| trace.trace_id());
        let tenant = TENANT.try_with(|tenant| *tenant).ok().filter(|tenant| *tenant > 0);
        if self.format == Format::Text && trace.is_none() && tenant.is_none() {
            return self.lines.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.lines.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end_matches('\n');
        let Some(open) = line.strip_suffix('}').filter(|_| self.format == Format::Json) else {
            write!(writer, "{line}")?;
            trace.map_or(Ok(()), |trace| write!(writer, " trace_id={trace}"))?;
            tenant.map_or(Ok(()), |tenant| write!(writer, " for_tenant={tenant}"))?;
            return writeln!(writer);
        };
        write!(writer, "{open}")?;
        trace.map_or(Ok(()), |trace| write!(writer, ",\"trace_id\":\"{trace}\""))?;
        // A line that names a tenant by itself keeps its word.
        let tenant = tenant.filter(|_| !open.contains("\"tenant\":"));
        tenant.map_or(Ok(()), |tenant| write!(writer, ",\"tenant\":{tenant}"))?;
        writeln!(writer, ",\"service\":\"{}\"}}", service())
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
        let (subscriber, _) = subscriber(format, EnvFilter::new("info"), false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(trace.within(async { tracing::warn!(lane = 7, "within") }));
            runtime.block_on(of_tenant(8, async { tracing::warn!(lane = 7, "for one") }));
            runtime.block_on(of_tenant(8, async { tracing::warn!(tenant = 9, "of another") }));
            runtime.block_on(of_tenant(0, async { tracing::warn!(lane = 7, "for nobody") }));
            tracing::warn!(lane = 7, "outside");
        });
        let written = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        written.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_names_trace_and_tenant_of_its_request_and_the_program() {
        let trace = TraceContext::generate();
        let id = trace.trace_id();
        let text = logged(Format::Text, trace);
        assert!(text[0].ends_with(&format!("within lane=7 trace_id={id}")), "{text:?}");
        assert!(text[1].ends_with("for one lane=7 for_tenant=8"), "{text:?}");
        assert!(text[3].ends_with("for nobody lane=7") && text[4].ends_with("outside lane=7"), "{text:?}");
        let json = logged(Format::Json, trace);
        let json: Vec<serde_json::Value> = json.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&json[0]["message"], &json[0]["trace_id"]), (&"within".into(), &id.to_string().into()));
        assert_eq!((&json[1]["message"], &json[1]["tenant"]), (&"for one".into(), &8.into()));
        assert_eq!((&json[2]["tenant"], &json[3]["tenant"]), (&9.into(), &serde_json::Value::Null));
        assert_eq!((&json[4]["message"], &json[4]["trace_id"]), (&"outside".into(), &serde_json::Value::Null));
        assert!(json.iter().all(|line| line["service"] == service() && line["level"] == "WARN"), "{json:?}");
    }

    #[test]
    fn another_filter_holds_at_once_in_both_forms() {
        for format in [Format::Text, Format::Json] {
            let lines = Lines::default();
            let writer = lines.clone();
            let (subscriber, exchange) = subscriber(format, EnvFilter::new("info"), false, move || writer.clone());
            tracing::subscriber::with_default(subscriber, || {
                let write = || tracing::debug!("a quiet line");
                write();
                assert!(exchange(read_filter("warn,kit=debug").unwrap()));
                write();
                assert!(exchange(read_filter("info").unwrap()));
                write();
            });
            let written = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            assert_eq!(written.matches("a quiet line").count(), 1, "{format:?}: {written}");
        }
    }

    #[test]
    fn a_filter_is_plain_directives_each_with_its_level() {
        for (text, level) in
            [("info", LevelFilter::INFO), ("warn,engine::mint=trace", LevelFilter::TRACE), ("off", LevelFilter::OFF)]
        {
            assert_eq!(loudest(text).unwrap(), level, "{text}");
        }
        for wrong in ["", "engine", "info,", "engine=loud", "[span{buyer=7}]=info", "engine[x]=info", "a b=info"] {
            assert!(loudest(wrong).is_err(), "{wrong}");
        }
    }
}

//! Products from a file, as a job of the service, whose progress is shown until it ends.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
    time::Duration,
};

use clap::ValueEnum;
use kit::{client::Ask, http::header::CONTENT_TYPE};
use serde_json::Value;
use uuid::Uuid;

use super::{
    ManageError,
    connection::{Connection, ConnectionError},
    list,
};

/// Largest file: what the service takes.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Between looks at the job.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Flaws that are printed.
const FLAWS_SHOWN_MAX: usize = 20;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Comma-separated, with a line of names.
    Csv,
    /// A JSON object a line.
    Jsonl,
}

impl Format {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }

    const fn media(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Jsonl => "application/jsonl",
        }
    }
}

/// A file to be imported.
pub(super) struct ImportFile {
    format: Format,
    content: Vec<u8>,
}

/// What came of it.
pub(super) struct Imported {
    job: Value,
    flaws: Vec<Value>,
}

/// Reads a file, `-` for standard input.
pub(super) fn read(path: &Path, format: Option<Format>) -> Result<ImportFile, ManageError> {
    let file = |what: String| ManageError::File { path: path.to_owned(), what };
    let is_stdin = path.as_os_str() == "-";
    let format = format.or_else(|| match path.extension()?.to_str()? {
        "csv" => Some(Format::Csv),
        "jsonl" | "ndjson" => Some(Format::Jsonl),
        _ => None,
    });
    let format = format.ok_or_else(|| file("say how it is written: --format csv or --format jsonl".to_owned()))?;
    let mut content = Vec::new();
    let reading = if is_stdin {
        io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_end(&mut content)
    } else {
        fs::File::open(path).and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut content))
    };
    reading.map_err(|error| file(error.to_string()))?;
    if u64::try_from(content.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(file(format!("it is larger than {} MiB: split it", FILE_BYTES_MAX >> 20)));
    }
    Ok(ImportFile { format, content })
}

/// Hands the file to the service and waits for the job's end.
pub(super) async fn run(connection: &Connection, file: ImportFile) -> Result<Imported, ConnectionError> {
    let ask = Ask::post(format!("/v1/products/import?format={}", file.format.as_str()))
        .idempotency_key(&Uuid::new_v4().to_string())
        .header(CONTENT_TYPE, file.format.media())
        .body(file.content);
    let mut job = connection.ask(ask).await?;
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap_or_default());
    while matches!(job["state"].as_str(), Some("queued" | "running")) {
        show_progress(&job);
        tokio::time::sleep(LOOK_EVERY).await;
        job = connection.ask(Ask::get(path.clone())).await?;
    }
    show_progress(&job);
    let flaws = match job["flaws"].as_u64() {
        Some(0) | None => Vec::new(),
        Some(_) => list(connection, &format!("{path}/errors")).await?,
    };
    Ok(Imported { job, flaws })
}

/// On standard error, so that what is printed can be piped.
fn show_progress(job: &Value) {
    let (done, total) = (job["done"].as_u64().unwrap_or(0), job["total"].as_u64().unwrap_or(0));
    let percent = (done * 100).checked_div(total).unwrap_or(100);
    // Nobody may look; the job goes on.
    let _shown = writeln!(io::stderr(), "import: {} {percent} %", job["state"].as_str().unwrap_or_default());
}

/// What is printed; an error when lines were refused or the job did not end well.
pub(super) fn report(Imported { job, flaws }: &Imported, as_json: bool) -> Result<String, ManageError> {
    let text = if as_json { format!("{job:#}\n") } else { summary(job) };
    let is_whole = job["state"] == "done" && flaws.is_empty();
    if is_whole {
        return Ok(text);
    }
    let shown = flaws.iter().take(FLAWS_SHOWN_MAX).map(|flaw| {
        let word = |name: &str| flaw[name].as_str().unwrap_or_default().to_owned();
        format!("line {}: {}: {}\n", flaw["line"], word("field"), word("message"))
    });
    let more = flaws.len().saturating_sub(FLAWS_SHOWN_MAX);
    let rest = if more > 0 { format!("and {more} more: GET /v1/jobs/{}/errors\n", job["id"]) } else { String::new() };
    Err(ManageError::Lines(format!("{}{rest}{text}", shown.collect::<String>())))
}

fn summary(job: &Value) -> String {
    let mut text =
        format!("job {}: {}", job["id"].as_str().unwrap_or_default(), job["state"].as_str().unwrap_or_default());
    for (name, count) in job["counts"].as_object().into_iter().flatten() {
        text.push_str(&format!(", {name} {count}"));
    }
    if let Some(reason) = job["reason"].as_str() {
        text.push_str(&format!(": {reason}"));
    }
    text + "\n"
}

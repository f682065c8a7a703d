//! The routes of jobs: how far they are, what is wrong in their lines, what they wrote, and their
//! end before their end. A job is seen by whoever may make one of its kind.

use kit::{
    api::{Access, Call, Route, lacking, tagged},
    http::{Body, Bytes, HeaderValue, Method, Mount, PageAsked, Response, StatusCode, header, reply},
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Sql, SqlError, Tx as _, stored};
use utoipa::{OpenApi, ToSchema};

use super::{COLUMNS, Job, Jobs as _, Shown, State, kind, one};
use crate::{
    change::{Answer, Begun},
    document::{Changed, Page, Read},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

const ERRORS: &str = "SELECT entry, line, field, message FROM job_errors WHERE tenant = ? AND job = ? AND entry > ? \
                      ORDER BY entry LIMIT ?";
const CHUNK: &str = "SELECT content FROM job_chunks WHERE tenant = ? AND job = ? AND part = 'result' AND chunk = ?";
const CANCEL: &str = "UPDATE jobs SET state = 'cancelled', is_open = 0, ended_at = ?, version = version + 1 \
                      WHERE tenant = ? AND job = ?";
const DROP_INPUT: &str = "DELETE FROM job_chunks WHERE tenant = ? AND job = ? AND part = 'input'";

/// What is wrong in a line.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobError {
    #[serde(skip)]
    entry: i64,
    /// The line of the file, from 1; where the record begins.
    line: u64,
    /// The column or member.
    field: String,
    /// What is wrong, and what would be right.
    message: String,
}

/// What a file is called and how it is read; `format` of the options of a job with a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// RFC 4180, UTF-8, with a line of names.
    Csv,
    /// A JSON object a line.
    Jsonl,
}

impl Format {
    /// The format that a query names.
    ///
    /// # Errors
    /// `invalid_request` for another one, or none.
    pub(crate) fn of(call: &Call<'_>) -> Result<Self, Refused> {
        match call.query(&["format"])?.get("format") {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl") => Ok(Self::Jsonl),
            _ => Err(kit::http::wrong_parameter("format", "give csv or jsonl").into()),
        }
    }

    const fn media(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Jsonl => "application/jsonl; charset=utf-8",
        }
    }

    const fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }
}

/// What every kind with a result has among its options.
#[derive(Deserialize)]
struct Formatted {
    format: Format,
}

#[derive(OpenApi)]
#[openapi(paths(list, show, errors, result, cancel))]
struct Document;

/// Its part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let known = Access::Known;
    vec![
        Mount::get("/v1/jobs", "jobs", Route::new(known, |catalog, call| Box::pin(list(catalog, call)))),
        Mount::get("/v1/jobs/{job}", "job", Route::new(known, |catalog, call| Box::pin(show(catalog, call)))),
        Mount::get(
            "/v1/jobs/{job}/errors",
            "job_errors",
            Route::new(known, |catalog, call| Box::pin(errors(catalog, call))),
        ),
        Mount::get(
            "/v1/jobs/{job}/result",
            "job_result",
            Route::new(known, |catalog, call| Box::pin(result(catalog, call))),
        ),
        Mount::delete(
            "/v1/jobs/{job}",
            "cancel_job",
            Route::new(known, |catalog, call| Box::pin(cancel(catalog, call))),
        ),
    ]
}

/// The jobs of the kinds that the caller may make, newest first.
#[utoipa::path(
    get, path = "/v1/jobs", operation_id = "jobs", tag = "jobs", security(("merchant" = [])),
    params(PageAsked), responses((status = 200, body = inline(Page<Shown>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked = call.page()?;
    let before = Some(Page::<Shown>::after(&asked)?).filter(|number| *number > 0).unwrap_or(i64::MAX);
    let permissions = call.actor.permissions;
    let seen = Catalog::<P>::kinds().into_iter().filter(|kind| permissions.has(kind.needs));
    let seen: Vec<String> = seen.map(|kind| format!("'{}'", kind.name)).collect();
    if seen.is_empty() {
        return Ok(reply::json(StatusCode::OK, &Page::<Shown>::new(Vec::new(), &asked, |_| String::new())));
    }
    let query = format!(
        "SELECT {COLUMNS} FROM jobs WHERE tenant = ? AND job < ? AND kind IN ({}) ORDER BY job DESC LIMIT ?",
        seen.join(", ")
    );
    let keys = vec![call.actor.tenant.into(), before.into(), (asked.limit + 1).into()];
    let jobs = catalog.sql().rows(&query, keys).await?.into_iter().map(Job::read).collect::<Result<Vec<_>, _>>()?;
    let jobs = jobs.iter().map(Job::shown).collect();
    Ok(reply::json(StatusCode::OK, &Page::new(jobs, &asked, |job: &Shown| job.id.clone())))
}

/// A job, and how far it is.
#[utoipa::path(
    get, path = "/v1/jobs/{job}", operation_id = "job", tag = "jobs", security(("merchant" = [])),
    params(("job" = String, Path, description = "Its number.")), responses((status = 200, body = Shown), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let job = seen(catalog, call).await?;
    Ok(tagged(reply::json(StatusCode::OK, &job.shown()), job.version))
}

/// What is wrong in the lines of a job: the first thousand flaws.
#[utoipa::path(
    get, path = "/v1/jobs/{job}/errors", operation_id = "job_errors", tag = "jobs", security(("merchant" = [])),
    params(("job" = String, Path, description = "Its number."), PageAsked),
    responses((status = 200, body = inline(Page<JobError>)), Read)
)]
async fn errors<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked = call.page()?;
    // Entries count from 0, and a page begins after an entry.
    let after = if asked.cursor.is_some() { Page::<JobError>::after(&asked)? } else { -1 };
    let job = seen(catalog, call).await?;
    let keys = vec![job.tenant.into(), job.number.into(), after.into(), (asked.limit + 1).into()];
    let mut errors = Vec::new();
    for mut row in catalog.sql().rows(ERRORS, keys).await? {
        errors.push(JobError { entry: row.int()?, line: row.number()?, field: row.text()?, message: row.text()? });
    }
    Ok(reply::json(StatusCode::OK, &Page::new(errors, &asked, |error| error.entry.to_string())))
}

/// The file that a job wrote.
#[utoipa::path(
    get, path = "/v1/jobs/{job}/result", operation_id = "job_result", tag = "jobs", security(("merchant" = [])),
    params(("job" = String, Path, description = "Its number.")),
    responses(
        (status = 200, description = "The file.", content((String = "text/csv"), (String = "application/jsonl"))),
        (status = 409, description = "`conflict`: the job is not done", content_type = "application/problem+json",
            body = kit::problem::ProblemBody),
        Read
    )
)]
async fn result<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let job = seen(catalog, call).await?;
    let Ok(Formatted { format }) = serde_json::from_str(&job.options) else {
        return Err(Refused::not_found("result: jobs of this kind write none"));
    };
    if job.state != State::Done {
        return Err(Refused::conflict("this job is not done: its result is there when its state is `done`"));
    }
    if job.result_chunks == 0 {
        return Err(Refused::not_found("result: jobs of this kind write none"));
    }
    let length = job.result_bytes;
    let name = format!("attachment; filename=\"{}-{}.{}\"", job.kind, job.number, format.ending());
    let body = match *call.method() {
        Method::HEAD => Body::default(),
        _ => streamed(catalog.sql().clone(), job),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media()));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, kit::problem::NO_STORE);
    if let Ok(name) = HeaderValue::try_from(name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// The chunks of a result, each read when the client has taken the one before.
fn streamed<S: Sql>(db: S, job: Job) -> Body {
    Body::of_pieces((db, job, 0), |(db, job, chunk)| async move {
        if chunk == job.result_chunks {
            return None;
        }
        match content(&db, &job, chunk).await {
            Ok(content) => Some((content, (db, job, chunk + 1))),
            Err(error) => {
                // The length was announced: the client sees that it broke off.
                tracing::warn!(%error, job = job.number, "a result broke off while it was sent");
                None
            }
        }
    })
}

async fn content<S: Sql>(db: &S, job: &Job, chunk: u64) -> Result<Bytes, SqlError> {
    let rows = db.rows(CHUNK, vec![job.tenant.into(), job.number.into(), stored(chunk)?.into()]).await?;
    let row = rows.into_iter().next();
    row.ok_or_else(|| SqlError::Broken("a chunk of the result is gone".into()))?.bytes()
}

/// Ends a job. What it did so far stays; it does no further piece.
#[utoipa::path(
    delete, path = "/v1/jobs/{job}", operation_id = "cancel_job", tag = "jobs", security(("merchant" = [])),
    params(("job" = String, Path, description = "Its number."), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Shown), Changed)
)]
async fn cancel<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number = seen(catalog, call).await?.number;
    let expected = call.expected_version()?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let key = || vec![call.actor.tenant.into(), number.into()];
    let rows = change.tx.lock_rows(&one(), key(), Lock::Wait).await?;
    let before = rows.into_iter().next().map(Job::read).transpose()?.ok_or_else(|| Refused::not_found("job"))?;
    match before.state {
        State::Cancelled => return Ok(tagged(reply::json(StatusCode::OK, &before.shown()), before.version)),
        State::Done | State::Failed => return Err(Refused::conflict("this job has ended; there is nothing to cancel")),
        State::Queued | State::Running => {}
    }
    Refused::unless_seen(expected, before.version, &before.shown())?;
    let now_ms = change.now_ms;
    let after = Job { state: State::Cancelled, ended_at: Some(now_ms), version: before.version + 1, ..before.clone() };
    let row = [vec![stored(now_ms)?.into()], key()].concat();
    change.tx.exec(CANCEL, row).await?;
    change.tx.exec(DROP_INPUT, key()).await?;
    change.record("job.cancel", format!("job:{number}"), Some(&before.shown()), Some(&after.shown()))?;
    let answer = Answer::ok(&after.shown())?;
    Ok(tagged(change.commit(answer).await?, after.version))
}

/// The job of the path, when it is of the caller's tenant and of a kind that he may make.
async fn seen<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Job, Refused> {
    let number: i64 = call.part("job")?;
    let rows = catalog.sql().rows(&one(), vec![call.actor.tenant.into(), number.into()]).await?;
    let job = rows.into_iter().next().map(Job::read).transpose()?.ok_or_else(|| Refused::not_found("job"))?;
    match kind::<P>(&job.kind) {
        Some(kind) if !call.actor.permissions.has(kind.needs) => Err(lacking(kind.needs).into()),
        _ => Ok(job),
    }
}

//! From a request to a job: the job and that its input is its own in one transaction, under the
//! request's Idempotency-Key.

use kit::{
    api::Call,
    http::{Body, Response},
    trace::TraceContext,
};
use serde::Serialize;
use store::sql::{Row, SqlError, Tx, stored};

use super::{Counts, JOBS, Job, Received, State};
use crate::{
    change::{Answer, Begun},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

/// Most jobs of a tenant that are not ended.
const OPEN_MAX: i64 = 100;

/// Most bytes of input that wait for them.
const OPEN_BYTES_MAX: u64 = 256 * 1024 * 1024;

const OPEN: &str = "SELECT COUNT(*), CAST(COALESCE(SUM(input_bytes), 0) AS SIGNED) FROM jobs \
                    WHERE is_open = 1 AND tenant = ?";
const INSERT: &str = "INSERT INTO jobs (tenant, job, kind, state, is_open, options, position, done, total, made, \
                      changed, unchanged, failed, flaws, input_bytes, result_bytes, result_chunks, reason, created_by, \
                      trace, address, created_at, runner, lease_until, version) \
                      VALUES (?, ?, ?, 'queued', 1, ?, '', 0, ?, 0, 0, 0, 0, 0, ?, 0, 0, '', ?, ?, ?, ?, '', 0, 1)";

/// What a job is to do.
pub(crate) struct NewJob<O> {
    /// The name of its kind.
    pub(crate) kind: &'static str,
    /// What is asked, for the kind.
    pub(crate) options: O,
    /// What it reads, if anything.
    pub(crate) input: Option<Received>,
    /// How much there is to do; of a job with an input its bytes.
    pub(crate) total: u64,
}

/// Makes a job; `202` with where it is.
///
/// # Errors
/// `conflict` when too many wait, and those of a change.
pub(crate) async fn accept<P: Ports, O: Serialize>(
    catalog: &Catalog<P>,
    call: &Call<'_>,
    new: NewJob<O>,
) -> Result<Response<Body>, Refused> {
    let Some(input) = &new.input else { return make(catalog, call, &new).await };
    let made = make(catalog, call, &new).await;
    // A job that was made has it; where nobody knows, the database does.
    input.forget(catalog).await;
    made
}

async fn make<P: Ports, O: Serialize>(
    catalog: &Catalog<P>,
    call: &Call<'_>,
    new: &NewJob<O>,
) -> Result<Response<Body>, Refused> {
    let number = match &new.input {
        Some(input) => input.job,
        None => catalog.numbers().take(JOBS).await?,
    };
    let begun = match &new.input {
        Some(input) => catalog.begin_with(call, input.digest()).await?,
        None => catalog.begin(call).await?,
    };
    let mut change = match begun {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let input_bytes = new.input.as_ref().map_or(0, Received::len);
    let tenant = change.tenant();
    has_room(change.tx.rows(OPEN, vec![tenant.into()]).await?, input_bytes)?;
    let job = Job {
        tenant,
        number,
        kind: new.kind.to_owned(),
        state: State::Queued,
        options: serde_json::to_string(&new.options).map_err(|error| Refused::Broken(error.to_string()))?,
        position: String::new(),
        done: 0,
        total: new.total,
        counts: Counts::default(),
        flaws: 0,
        input_bytes,
        result_bytes: 0,
        result_chunks: 0,
        reason: String::new(),
        created_by: call.actor.who.to_string(),
        trace: TraceContext::current().map(|trace| trace.trace_id().to_string()).unwrap_or_default(),
        address: call.address.to_string(),
        created_at: change.now_ms,
        started_at: None,
        ended_at: None,
        runner: String::new(),
        lease_until: 0,
        version: 1,
    };
    let row = vec![
        tenant.into(),
        number.into(),
        job.kind.as_str().into(),
        job.options.as_str().into(),
        stored(job.total)?.into(),
        stored(job.input_bytes)?.into(),
        job.created_by.as_str().into(),
        job.trace.as_str().into(),
        job.address.as_str().into(),
        stored(job.created_at)?.into(),
    ];
    change.tx.exec(INSERT, row).await?;
    if let Some(input) = &new.input {
        input.keep(&mut change.tx).await?;
    }
    change.record("job.create", format!("job:{number}"), None, Some(&job.shown()))?;
    change.commit(Answer::accepted(format!("/v1/jobs/{number}"), &job.shown())?).await
}

/// Two at once may both pass: the bound keeps disks from filling, and a little beyond it does no
/// harm.
fn has_room(rows: Vec<Row>, wanted: u64) -> Result<(), Refused> {
    let row = rows.into_iter().next();
    let mut row = row.ok_or_else(|| SqlError::Broken("a count has no row".into()))?;
    let (open, bytes) = (row.int()?, row.number::<u64>()?);
    if open < OPEN_MAX && bytes.saturating_add(wanted) <= OPEN_BYTES_MAX {
        return Ok(());
    }
    Err(Refused::conflict("too many jobs of this tenant wait: come back when some are done, or cancel some"))
}

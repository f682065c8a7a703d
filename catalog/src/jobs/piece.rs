//! One piece of a job: what it changes, what it found wrong, what it wrote, and where the next one
//! begins, in one transaction. Only the runner that the job's row names commits one.

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use store::sql::{Insert, Lock, Sql, SqlError, Tx, Value, stored};

use super::{CHUNK_BYTES, Counts, FLAWS_MAX, Job, State, one};
use crate::{
    audit::{self, Entry, Origin},
    failpoint::{self, Failpoint},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};
use kit::clock::Clock as _;

/// How long a runner may be silent until another one takes its job, in milliseconds. A piece takes
/// a second; one that takes longer than this is thrown away, never committed twice.
pub(super) const LEASE_MS: u64 = 30_000;

/// Most characters of a field's name and of a message, as the columns take them.
const FIELD_MAX: usize = 191;
const MESSAGE_MAX: usize = 500;

const CHUNKS: &str = "SELECT content FROM job_chunks WHERE tenant = ? AND job = ? AND part = ? AND chunk >= ? \
                      AND chunk <= ? ORDER BY chunk";
const PUT_CHUNK: &str = "INSERT INTO job_chunks (tenant, job, part, chunk, content) VALUES (?, ?, ?, ?, ?)";
const PUT_FLAWS: &str =
    "INSERT INTO job_errors (tenant, job, entry, line, field, message) VALUES [(?, ?, ?, ?, ?, ?),]";
const MOVE: &str = "UPDATE jobs SET state = ?, is_open = ?, position = ?, done = ?, total = ?, made = ?, changed = ?, \
                    unchanged = ?, failed = ?, flaws = ?, result_bytes = ?, result_chunks = ?, reason = ?, \
                    ended_at = ?, lease_until = ?, version = version + 1 WHERE tenant = ? AND job = ?";

/// What is wrong in a line of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// From 1.
    pub(crate) line: u64,
    pub(crate) field: String,
    pub(crate) message: String,
}

/// How a job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    /// And why, for whoever made it: what to do next.
    Failed(String),
}

/// What a piece did.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Where the next piece begins.
    pub(crate) position: String,
    /// How much of the job is done now.
    pub(crate) done: u64,
    /// How much there is to do; it may become known on the way.
    pub(crate) total: u64,
    /// What came of this piece's lines.
    pub(crate) counts: Counts,
    pub(crate) flaws: Vec<Flaw>,
    /// What it adds to the result.
    pub(crate) output: Vec<u8>,
    /// Whether it was the last one.
    pub(crate) end: Option<End>,
}

/// A piece under way. Dropped, it is rolled back.
pub(crate) struct Work<T> {
    pub(crate) tx: T,
    /// When it is done, in milliseconds since 1970.
    pub(crate) now_ms: u64,
    job: Job,
    entries: Vec<Entry>,
}

/// Begins a piece; `None` when the job was cancelled or has another runner.
///
/// # Errors
/// [`Refused::Sql`].
pub(crate) async fn begin<P: Ports>(
    catalog: &Catalog<P>,
    job: &Job,
) -> Result<Option<Work<<P::Sql as Sql>::Tx>>, Refused> {
    let now_ms = catalog.clock().now_ms();
    let mut tx = catalog.sql().begin().await?;
    let rows = tx.lock_rows(&one(), vec![job.tenant.into(), job.number.into()], Lock::Wait).await?;
    let found = rows.into_iter().next().map(Job::read).transpose()?;
    match found.filter(|found| found.state == State::Running && found.runner == job.runner) {
        Some(job) => Ok(Some(Work { tx, now_ms, job, entries: Vec::new() })),
        None => {
            tx.rollback().await;
            Ok(None)
        }
    }
}

impl<T: Tx> Work<T> {
    /// What the piece changed, for the audit log, in the name of who made the job.
    ///
    /// # Errors
    /// As [`Entry::new`].
    pub(crate) fn record<V: Serialize>(
        &mut self,
        action: &'static str,
        target: String,
        before: Option<&V>,
        after: Option<&V>,
    ) -> Result<(), Refused> {
        self.entries.push(Entry::new(action, target, before, after)?);
        Ok(())
    }

    /// Makes the piece durable, and gives the job as it is then; `None` after its end.
    ///
    /// # Errors
    /// [`Refused::Sql`]; when that is unknown, the job's row tells where to go on.
    pub(crate) async fn commit(mut self, progress: Progress) -> Result<Option<Job>, Refused> {
        let flaws = u64::try_from(progress.flaws.len()).unwrap_or(u64::MAX);
        let after = Job {
            state: match &progress.end {
                None => State::Running,
                Some(End::Done) => State::Done,
                Some(End::Failed(_)) => State::Failed,
            },
            position: progress.position,
            done: progress.done,
            total: progress.total,
            counts: Counts {
                made: self.job.counts.made + progress.counts.made,
                changed: self.job.counts.changed + progress.counts.changed,
                unchanged: self.job.counts.unchanged + progress.counts.unchanged,
                failed: self.job.counts.failed + progress.counts.failed,
            },
            flaws: self.job.flaws + flaws,
            result_bytes: self.job.result_bytes + u64::try_from(progress.output.len()).unwrap_or(u64::MAX),
            reason: match &progress.end {
                Some(End::Failed(reason)) => cut(reason, MESSAGE_MAX),
                _ => String::new(),
            },
            ended_at: progress.end.as_ref().map(|_| self.now_ms),
            lease_until: self.now_ms + LEASE_MS,
            version: self.job.version + 1,
            ..self.job.clone()
        };
        put_flaws(&mut self.tx, &self.job, progress.flaws).await?;
        let result_chunks = self.put_output(progress.output.into()).await?;
        let after = Job { result_chunks, ..after };
        save(&mut self.tx, &after).await?;
        if progress.end.is_some() {
            let action = if after.state == State::Done { "job.done" } else { "job.fail" };
            self.record(action, format!("job:{}", after.number), None, Some(&after.shown()))?;
        }
        log(&mut self.tx, &after, self.now_ms, &self.entries).await?;
        let failpoint = Failpoint::of_pieces();
        failpoint.reach(failpoint::Step::Written);
        self.tx.commit().await?;
        failpoint.reach(failpoint::Step::Durable);
        Ok(Some(after).filter(|after| after.state.is_open()))
    }

    /// Adds to the result; gives how many chunks it has then.
    async fn put_output(&mut self, mut output: Bytes) -> Result<u64, SqlError> {
        let mut chunks = self.job.result_chunks;
        while !output.is_empty() {
            let content = output.split_to(output.len().min(CHUNK_BYTES));
            put_chunk(&mut self.tx, &self.job, "result", chunks, content).await?;
            chunks += 1;
        }
        Ok(chunks)
    }
}

/// Writes what a piece moves.
async fn save<T: Tx>(tx: &mut T, job: &Job) -> Result<(), SqlError> {
    let row = vec![
        job.state.as_str().into(),
        i64::from(job.state.is_open()).into(),
        job.position.as_str().into(),
        stored(job.done)?.into(),
        stored(job.total)?.into(),
        stored(job.counts.made)?.into(),
        stored(job.counts.changed)?.into(),
        stored(job.counts.unchanged)?.into(),
        stored(job.counts.failed)?.into(),
        stored(job.flaws)?.into(),
        stored(job.result_bytes)?.into(),
        stored(job.result_chunks)?.into(),
        job.reason.as_str().into(),
        job.ended_at.map(stored).transpose()?.into(),
        stored(job.lease_until)?.into(),
        job.tenant.into(),
        job.number.into(),
    ];
    tx.exec(MOVE, row).await.map(drop)
}

/// Entries of the audit log, in the name of who made the job.
async fn log<T: Tx>(tx: &mut T, job: &Job, at_ms: u64, entries: &[Entry]) -> Result<(), Refused> {
    let address = job.address.parse().map_err(|_| Refused::Broken(format!("job {} has no address", job.number)))?;
    let origin = Origin { tenant: job.tenant, who: job.who(), at_ms, trace: job.trace.clone(), address };
    Ok(audit::append(tx, &origin, entries).await?)
}

async fn put_flaws<T: Tx>(tx: &mut T, job: &Job, flaws: Vec<Flaw>) -> Result<(), SqlError> {
    let room = usize::try_from(FLAWS_MAX.saturating_sub(job.flaws)).unwrap_or(usize::MAX);
    let mut values: Vec<Value> = Vec::new();
    for (entry, flaw) in (job.flaws..).zip(flaws.into_iter().take(room)) {
        values.extend([
            job.tenant.into(),
            job.number.into(),
            stored(entry)?.into(),
            stored(flaw.line)?.into(),
            cut(&flaw.field, FIELD_MAX).as_str().into(),
            cut(&flaw.message, MESSAGE_MAX).as_str().into(),
        ]);
    }
    if values.is_empty() { Ok(()) } else { tx.insert(&Insert::new(PUT_FLAWS), values).await }
}

async fn put_chunk<T: Tx>(tx: &mut T, job: &Job, part: &str, chunk: u64, content: Bytes) -> Result<(), SqlError> {
    let row = vec![job.tenant.into(), job.number.into(), part.into(), stored(chunk)?.into(), content.into()];
    tx.exec(PUT_CHUNK, row).await.map(drop)
}

/// The bytes of the input from `from` on, `CHUNK_BYTES` of them or all that follow, after a line
/// break. The line break keeps what reads them from taking them for the beginning of a file.
///
/// # Errors
/// [`SqlError`] when the database fails, or a chunk is missing.
pub(crate) async fn input<P: Ports>(catalog: &Catalog<P>, job: &Job, from: u64) -> Result<Bytes, SqlError> {
    let size = u64::try_from(CHUNK_BYTES).unwrap_or(u64::MAX);
    let until = from.saturating_add(size).min(job.input_bytes);
    let mut window = BytesMut::with_capacity(CHUNK_BYTES + 1);
    window.extend_from_slice(b"\n");
    if from >= until {
        return Ok(window.freeze());
    }
    let (first, last) = (from / size, (until - 1) / size);
    let keys = vec![job.tenant.into(), job.number.into(), "input".into(), stored(first)?.into(), stored(last)?.into()];
    let rows = catalog.sql().rows(CHUNKS, keys).await?;
    let mut begin = first * size;
    for mut row in rows {
        let content = row.bytes()?;
        let end = begin + u64::try_from(content.len()).unwrap_or(u64::MAX);
        let within = |at: u64| usize::try_from(at.clamp(begin, end) - begin).unwrap_or(usize::MAX);
        window.extend_from_slice(&content[within(from)..within(until)]);
        begin = end;
    }
    if begin < until {
        return Err(SqlError::Broken(format!("the input of job {} is not whole", job.number).into()));
    }
    Ok(window.freeze())
}

/// The first characters of a text.
fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

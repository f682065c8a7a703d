//! Jobs: work that outlasts its request. A job is done in pieces; each is one transaction that also
//! moves the job's position, so that whatever dies, the next runner goes on where the last piece
//! ended, and no line is done twice or lost.

/// From a request to a job.
mod accept;
/// One piece of a job, whole or not at all.
mod piece;
/// The input of a job, on its way in.
mod receive;
/// Who does the pieces, and in which order.
mod run;
/// Its routes.
mod show;

use std::{future::Future, pin::Pin};

use kit::{access::Permission, access::Who, clock::rfc3339};
use serde::{Deserialize, Serialize};
use store::sql::{Row, SqlError};
use utoipa::ToSchema;

pub(crate) use self::accept::{NewJob, accept};
pub(crate) use self::piece::{End, Flaw, Progress, Work, begin, input};
pub(crate) use self::receive::Received;
pub use self::run::{Runner, run};
pub(crate) use self::show::{Format, document, routes};
use crate::{identity, numbers::Numbered, ports::Ports, refused::Refused, service::Catalog};

const JOBS: Numbered = Numbered("job");

/// Largest piece of an input or a result, in bytes.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Most flaws of a job that are kept; more are counted.
const FLAWS_MAX: u64 = 1_000;

/// What jobs do, as data.
pub(crate) struct Kind<P: Ports> {
    /// Its name: `products_import`.
    pub(crate) name: &'static str,
    /// What it needs to be made, seen and cancelled; looked at again whenever it is worked on.
    pub(crate) needs: Permission,
    /// Does a piece.
    pub(crate) piece: Piece<P>,
}

/// Does one piece of a job: [`begin`], changes, [`piece::Work::commit`]. Gives the job as it is
/// then; `None` when it ended, or is nobody's business here any more.
pub(crate) type Piece<P> = for<'a> fn(&'a Catalog<P>, &'a Job) -> Doing<'a>;

/// A piece being done.
pub(crate) type Doing<'a> = Pin<Box<dyn Future<Output = Result<Option<Job>, Refused>> + Send + 'a>>;

/// Who has jobs: the service, by all of its areas.
pub(crate) trait Jobs<P: Ports> {
    /// Every kind.
    fn kinds() -> Vec<Kind<P>>;
}

fn kind<P: Ports>(name: &str) -> Option<Kind<P>> {
    Catalog::<P>::kinds().into_iter().find(|kind| kind.name == name)
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = JobState)]
pub(crate) enum State {
    /// It waits for its turn.
    Queued,
    /// Some of it is done.
    Running,
    /// All of it is done; what was wrong with single lines is listed.
    Done,
    /// It ended before its end; `reason` says why.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

impl State {
    const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Cancelled];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    const fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

/// What came of a job's lines, or of whatever it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[schema(as = JobCounts)]
pub(crate) struct Counts {
    /// Made anew.
    pub(crate) made: u64,
    /// Changed.
    pub(crate) changed: u64,
    /// As they were already.
    pub(crate) unchanged: u64,
    /// Wrong; `errors` says why.
    pub(crate) failed: u64,
}

/// A job, as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) tenant: u32,
    pub(crate) number: i64,
    pub(crate) kind: String,
    pub(crate) state: State,
    /// What was asked, JSON of the kind.
    pub(crate) options: String,
    /// Where the next piece begins, as the kind writes it; empty at the beginning.
    pub(crate) position: String,
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) counts: Counts,
    flaws: u64,
    pub(crate) input_bytes: u64,
    result_bytes: u64,
    result_chunks: u64,
    reason: String,
    created_by: String,
    trace: String,
    address: String,
    created_at: u64,
    started_at: Option<u64>,
    ended_at: Option<u64>,
    runner: String,
    lease_until: u64,
    version: u64,
}

/// The columns of [`Job`], in its order.
const COLUMNS: &str = "tenant, job, kind, state, options, position, done, total, made, changed, unchanged, failed, \
                       flaws, input_bytes, result_bytes, result_chunks, reason, created_by, trace, address, \
                       created_at, started_at, ended_at, runner, lease_until, version";

fn one() -> String {
    format!("SELECT {COLUMNS} FROM jobs WHERE tenant = ? AND job = ?")
}

impl Job {
    fn read(mut row: Row) -> Result<Self, SqlError> {
        let time = |at: Option<i64>| at.and_then(|at| u64::try_from(at).ok());
        Ok(Self {
            tenant: row.number()?,
            number: row.int()?,
            kind: row.text()?,
            state: row.text_as("job state", State::read)?,
            options: row.text()?,
            position: row.text()?,
            done: row.number()?,
            total: row.number()?,
            counts: Counts {
                made: row.number()?,
                changed: row.number()?,
                unchanged: row.number()?,
                failed: row.number()?,
            },
            flaws: row.number()?,
            input_bytes: row.number()?,
            result_bytes: row.number()?,
            result_chunks: row.number()?,
            reason: row.text()?,
            created_by: row.text()?,
            trace: row.text()?,
            address: row.text()?,
            created_at: row.number()?,
            started_at: time(row.int_or_null()?),
            ended_at: time(row.int_or_null()?),
            runner: row.text()?,
            lease_until: row.number()?,
            version: row.number()?,
        })
    }

    /// Who made it.
    fn who(&self) -> Who {
        identity::who(&self.created_by)
    }

    fn shown(&self) -> Shown {
        Shown {
            id: self.number.to_string(),
            kind: self.kind.clone(),
            state: self.state,
            done: self.done,
            total: self.total,
            counts: self.counts,
            flaws: self.flaws,
            reason: Some(self.reason.clone()).filter(|reason| !reason.is_empty()),
            created_by: self.created_by.clone(),
            created_at: rfc3339(self.created_at),
            started_at: self.started_at.map(rfc3339),
            ended_at: self.ended_at.map(rfc3339),
            version: self.version,
        }
    }
}

/// A job, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Job)]
pub(crate) struct Shown {
    /// Its number, as a decimal string.
    id: String,
    /// What it does.
    #[schema(example = "products_import")]
    kind: String,
    state: State,
    /// How much of `total` is done: bytes of what is imported, else products or buyers.
    done: u64,
    total: u64,
    counts: Counts,
    /// What is wrong in the lines that failed, all of it counted; the first thousand are listed.
    flaws: u64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    /// Who made it: `user:7`, `key:3`, `operator`.
    created_by: String,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    started_at: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ended_at: Option<String>,
    /// Rises with each change; also the ETag.
    version: u64,
}

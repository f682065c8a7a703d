//! The runner: one job at a time in a process, in any number of processes. It takes a job by a
//! lease in its row; tenants take turns, and the jobs of a tenant are done one after the other. A
//! runner that dies says nothing: its lease ends.

use std::{sync::Arc, time::Duration};

use kit::{clock::Clock as _, digest::hex, random::Random as _};
use store::sql::{Sql as _, SqlError, stored};
use tokio_util::sync::CancellationToken;

use super::{COLUMNS, End, Job, Kind, Progress, State, begin, kind, piece::LEASE_MS, receive};
use crate::{
    identity,
    plans::{self, TenantState},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

/// Pieces of a turn: the next tenant waits as long.
const TURN_PIECES: u32 = 8;

/// Tries of a piece that met a lock, or a row that somebody else made meanwhile.
const TRIES_MAX: u32 = 4;

/// How long a runner without work rests.
const IDLE: Duration = Duration::from_secs(1);

/// How long it rests after a fault of the database.
const FAULT_PAUSE: Duration = Duration::from_secs(5);

/// How long an ended job is kept, in milliseconds.
const KEPT_MS: u64 = 7 * 24 * 3_600_000;

/// How often ended jobs are looked for, in milliseconds.
const PURGE_EVERY_MS: u64 = 3_600_000;

/// Most ended jobs that one look removes.
const PURGED_MAX: u32 = 100;

const FIRST_OF_TENANT: &str = "is_open = 1 AND lease_until <= ? AND tenant > ? AND job = \
                               (SELECT MIN(job) FROM jobs AS earliest WHERE earliest.is_open = 1 AND earliest.tenant = jobs.tenant)";
const TAKE: &str = "UPDATE jobs SET state = 'running', runner = ?, lease_until = ?, \
                    started_at = COALESCE(started_at, ?), version = version + 1 \
                    WHERE tenant = ? AND job = ? AND version = ? AND is_open = 1";
const GIVE_BACK: &str = "UPDATE jobs SET lease_until = 0 WHERE tenant = ? AND job = ? AND runner = ?";
const ENDED: &str = "SELECT tenant, job FROM jobs WHERE is_open = 0 AND ended_at < ? ORDER BY ended_at LIMIT ?";
const DROP_INPUT: &str = "DELETE FROM job_chunks WHERE tenant = ? AND job = ? AND part = 'input'";
const DROP: [&str; 3] = [
    "DELETE FROM job_chunks WHERE tenant = ? AND job = ?",
    "DELETE FROM job_errors WHERE tenant = ? AND job = ?",
    "DELETE FROM jobs WHERE tenant = ? AND job = ?",
];

/// Does jobs until it is stopped; the piece that is under way then is done.
pub async fn run<P: Ports>(catalog: Arc<Catalog<P>>, stop: CancellationToken) {
    let mut runner = Runner::default();
    while !stop.is_cancelled() {
        let rest = match runner.turn(&catalog).await {
            Ok(true) => continue,
            Ok(false) => IDLE,
            Err(error) => {
                tracing::warn!(%error, "a job's turn ended early; it is gone on with when its lease is over");
                FAULT_PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

/// Who does jobs.
#[derive(Debug)]
pub struct Runner {
    pieces: u32,
    /// The tenant that had the last turn.
    after: i64,
    purged_at: u64,
}

impl Default for Runner {
    fn default() -> Self {
        Self::with_turns_of(TURN_PIECES)
    }
}

impl Runner {
    /// A runner that does so many pieces a turn.
    pub const fn with_turns_of(pieces: u32) -> Self {
        Self { pieces, after: 0, purged_at: 0 }
    }

    /// One turn: some pieces of one job. `false` when there is no job to be done.
    ///
    /// # Errors
    /// When the database fails; the job goes on when its lease is over.
    pub async fn turn<P: Ports>(&mut self, catalog: &Catalog<P>) -> Result<bool, Refused> {
        let now_ms = catalog.clock().now_ms();
        if now_ms.saturating_sub(self.purged_at) >= PURGE_EVERY_MS {
            receive::purge(catalog.sql(), now_ms).await?;
            let purged = purge(catalog, now_ms).await?;
            // Where there are more, the next turn removes them.
            if purged < PURGED_MAX {
                self.purged_at = now_ms;
            }
        }
        let Some(job) = self.take(catalog, now_ms).await? else { return Ok(false) };
        self.after = job.tenant.into();
        let key = (job.tenant, job.number, job.runner.clone());
        if let Some(reason) = refusal(catalog, &job).await? {
            fail(catalog, &job, reason).await?;
        } else if let Some(kind) = kind::<P>(&job.kind) {
            self.pieces_of(catalog, &kind, job).await?;
        }
        let (tenant, number, runner) = key;
        catalog.sql().exec(GIVE_BACK, vec![tenant.into(), number.into(), runner.as_str().into()]).await?;
        drop_input(catalog, tenant, number).await?;
        Ok(true)
    }

    async fn pieces_of<P: Ports>(&self, catalog: &Catalog<P>, kind: &Kind<P>, mut job: Job) -> Result<(), Refused> {
        for _ in 0..self.pieces {
            match piece(catalog, kind, &job).await {
                Ok(Some(next)) => job = next,
                Ok(None) => break,
                Err(Refused::Sql(error)) if error.is_unknown() || is_worth_a_try(&error) => return Err(error.into()),
                Err(error) => {
                    tracing::error!(%error, job = job.number, tenant = job.tenant, "a job failed");
                    fail(catalog, &job, "a fault of ours: the log says more; make the job again".to_owned()).await?;
                    break;
                }
            }
        }
        Ok(())
    }

    /// The next job of the next tenant that nobody works on.
    async fn take<P: Ports>(&self, catalog: &Catalog<P>, now_ms: u64) -> Result<Option<Job>, Refused> {
        let query = format!("SELECT {COLUMNS} FROM jobs WHERE {FIRST_OF_TENANT} ORDER BY tenant LIMIT 1");
        for after in [self.after, -1] {
            let rows = catalog.sql().rows(&query, vec![stored(now_ms)?.into(), after.into()]).await?;
            let Some(found) = rows.into_iter().next().map(Job::read).transpose()? else { continue };
            let runner = hex(&catalog.random().bytes::<16>()?);
            let until = now_ms + LEASE_MS;
            let row = vec![
                runner.as_str().into(),
                stored(until)?.into(),
                stored(now_ms)?.into(),
                found.tenant.into(),
                found.number.into(),
                stored(found.version)?.into(),
            ];
            // Another runner was quicker: there is work, and the next turn finds it.
            if catalog.sql().exec(TAKE, row).await? == 0 {
                continue;
            }
            let started_at = found.started_at.or(Some(now_ms));
            let version = found.version + 1;
            let taken = Job { runner, lease_until: until, state: State::Running, started_at, version, ..found };
            return Ok(Some(taken));
        }
        Ok(None)
    }
}

/// A piece, again when what it did was surely rolled back.
async fn piece<P: Ports>(catalog: &Catalog<P>, kind: &Kind<P>, job: &Job) -> Result<Option<Job>, Refused> {
    let mut tries = 1;
    loop {
        match (kind.piece)(catalog, job).await {
            Err(Refused::Sql(error)) if is_worth_a_try(&error) && tries < TRIES_MAX => tries += 1,
            result => return result,
        }
    }
}

/// A taken key is a row that was made between a look and a write: the next look finds it.
fn is_worth_a_try(error: &SqlError) -> bool {
    error.is_retryable() || matches!(error, SqlError::KeyTaken(_))
}

/// Why a job is not gone on with.
async fn refusal<P: Ports>(catalog: &Catalog<P>, job: &Job) -> Result<Option<String>, Refused> {
    let Some(kind) = kind::<P>(&job.kind) else {
        return Ok(Some(format!("this program has no jobs of the kind `{}`", job.kind)));
    };
    let tenancy = plans::tenancy(catalog.sql(), job.tenant).await?;
    if tenancy.is_none_or(|tenancy| tenancy.state == TenantState::Suspended) {
        return Ok(Some("this tenant is suspended: make the job again when it is open".to_owned()));
    }
    let held = identity::permissions(catalog, job.tenant, job.who()).await?;
    let lost = || format!("{} has no longer the permission `{}`: make the job again", job.created_by, kind.needs);
    Ok((!held.has(kind.needs)).then(lost))
}

async fn fail<P: Ports>(catalog: &Catalog<P>, job: &Job, reason: String) -> Result<(), Refused> {
    let Some(work) = begin(catalog, job).await? else { return Ok(()) };
    let progress = Progress {
        position: job.position.clone(),
        done: job.done,
        total: job.total,
        end: Some(End::Failed(reason)),
        ..Progress::default()
    };
    work.commit(progress).await.map(drop)
}

/// Removes what an ended job read. What a runner that died leaves of it goes with the job.
async fn drop_input<P: Ports>(catalog: &Catalog<P>, tenant: u32, job: i64) -> Result<(), Refused> {
    let rows = catalog.sql().rows(&super::one(), vec![tenant.into(), job.into()]).await?;
    let found = rows.into_iter().next().map(Job::read).transpose()?;
    if found.is_some_and(|job| !job.state.is_open() && job.input_bytes > 0) {
        catalog.sql().exec(DROP_INPUT, vec![tenant.into(), job.into()]).await?;
    }
    Ok(())
}

/// Removes jobs that ended long ago, each in transactions of its own, its row last: what a kill
/// leaves is found again. Gives how many it removed.
async fn purge<P: Ports>(catalog: &Catalog<P>, now_ms: u64) -> Result<u32, Refused> {
    let before = stored(now_ms.saturating_sub(KEPT_MS))?;
    let mut purged = 0;
    for mut row in catalog.sql().rows(ENDED, vec![before.into(), PURGED_MAX.into()]).await? {
        let (tenant, job) = (row.int()?, row.int()?);
        for part in DROP {
            catalog.sql().exec(part, vec![tenant.into(), job.into()]).await?;
        }
        purged += 1;
    }
    Ok(purged)
}

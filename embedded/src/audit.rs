//! `flashsale audit`: INV-1 to INV-5 on a data folder or on a production stack, read from outside.
//! It says what it compared and what it found, and repairs nothing.

#[cfg(feature = "production")]
pub mod stack;

use std::{collections::HashSet, fmt::Write as _, path::Path};

use domain::{id::OrderId, record::Record};
use kit::{clock::SystemClock, exit::Exit};
use loadtest::{
    audit::{self, Evidence, Finding, Findings, OfferEvidence, PromiseEvidence},
    backends::{
        Backends, BackendsError, LaneWitness,
        embedded::{DataFolder, EmbeddedBackends},
    },
    durable::{NotAtRest, Witness, rest},
};
use store::{
    log::{Entry, ReadError, sqlite::SqliteLogView},
    sql::Sql,
};

use crate::{
    config::Config,
    deployment::LOG_FILE,
    folder::{self, FolderError, ServerNote},
};

/// Records read at once.
const RECORDS: usize = 1_000;

/// Why there is no audit.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A store does not answer.
    #[error(transparent)]
    Backends(#[from] BackendsError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A store did not come to rest: orders are under way, or stuck.
    #[error(transparent)]
    NotAtRest(#[from] NotAtRest),
}

impl AuditError {
    /// The status with which a program ends that could not audit.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Folder(error) => error.exit(),
            Self::NotAtRest(NotAtRest::UnderWay(_)) => Exit::Later,
            Self::NotAtRest(NotAtRest::Stuck(_)) => Exit::Software,
            Self::NotAtRest(NotAtRest::LookFailed(_)) | Self::Backends(_) | Self::Log(_) => Exit::Unavailable,
        }
    }
}

/// What an audit came to.
pub struct Audit {
    /// For people.
    pub text: String,
    /// Whether every invariant holds.
    pub holds: bool,
}

/// Audits a data folder, with the server that works on it or without one.
///
/// # Errors
/// [`AuditError`].
pub async fn folder(config: &Config) -> Result<Audit, AuditError> {
    let running = folder::running(&config.data)?;
    audit_with(config, running).await.map_err(|error| match error {
        AuditError::Backends(_) | AuditError::Log(_) => folder::cause_of(&config.data, error),
        other => other,
    })
}

async fn audit_with(config: &Config, running: Option<ServerNote>) -> Result<Audit, AuditError> {
    let data = DataFolder::new(config.data.clone());
    let backends = EmbeddedBackends::open(&data, running.as_ref().map(|note| note.admin), Vec::new()).await?;
    let whose = match &running {
        Some(note) => format!("{}, with the server at {}", config.data.display(), note.listen),
        None => format!("{}; no server runs, so the stock that it would hold is not compared", config.data.display()),
    };
    let logged = logged(&config.data.join(LOG_FILE))?;
    audit(backends, logged, &whose, running.is_some()).await
}

/// Every order that the log holds, whoever decided it how: acknowledged, and so accepted.
fn logged(path: &Path) -> Result<Vec<PromiseEvidence>, ReadError> {
    let view = SqliteLogView::open(path)?;
    let mut promises = Vec::new();
    for (partition, marks) in view.partitions()? {
        let mut next = marks.low;
        while next < marks.high {
            let entries = view.read(partition, next, RECORDS)?;
            let Some(last) = entries.last() else { break };
            next = last.offset + 1;
            entries.into_iter().for_each(|entry| promises.extend(promised(entry)));
        }
    }
    Ok(promises)
}

/// What a record that cannot be read promised, nobody knows: the order-writer parks it with an
/// alarm.
fn promised(entry: Entry) -> Vec<PromiseEvidence> {
    let Ok(Record::Batch(batch)) = Record::read(&entry.kind, entry.payload) else { return Vec::new() };
    let promised = |(_, reservation): (_, domain::record::Reservation)| PromiseEvidence {
        buyer: reservation.buyer,
        order: reservation.order,
        accepted: true,
    };
    batch.reservations.into_iter().map(promised).collect()
}

/// Audits what these stores hold. `logged`: the orders of the log, as far as it is kept. `works`:
/// somebody decides what waits.
async fn audit<S: Sql, W: LaneWitness>(
    mut backends: Backends<S, W>,
    logged: Vec<PromiseEvidence>,
    whose: &str,
    works: bool,
) -> Result<Audit, AuditError> {
    let lanes = backends.all_lanes().await?;
    backends.watch(lanes.iter().map(|lane| lane.lane).collect());
    if works {
        rest(&mut backends, &SystemClock::new()).await?;
    } else {
        let snapshot = backends.look().await.map_err(|error| NotAtRest::LookFailed(error.to_string()))?;
        if snapshot.lag + snapshot.journal > 0 {
            return Err(NotAtRest::UnderWay(snapshot.outstanding).into());
        }
    }
    // Counted now: while it came to rest, the ledger went on selling.
    let lanes = backends.all_lanes().await?;
    let mut evidence = backends.evidence_of(&lanes).await?;
    // A record may stand in the log twice; its order was promised once.
    let mut seen: HashSet<OrderId> = HashSet::with_capacity(logged.len());
    evidence.promises = logged.into_iter().filter(|promise| seen.insert(promise.order)).collect();
    let findings = audit::compare(&evidence);
    Ok(Audit { text: told(&evidence, &findings, whose), holds: holds(&findings) })
}

fn invariants(findings: &Findings) -> [(&'static str, Vec<(&'static str, &Finding)>); 5] {
    [
        ("INV-1 no offer sold more than its allotment", vec![("oversold", &findings.oversold)]),
        ("INV-2 no buyer holds more than the limit", vec![("over the limit", &findings.over_limit)]),
        ("INV-3 every order of the log has exactly one row", vec![("lost", &findings.lost)]),
        ("INV-4 stock, ledger, rows and buyers' entries agree", vec![("leaked", &findings.leaked)]),
        ("INV-5 one order for one key", vec![("doubled", &findings.doubled)]),
    ]
}

fn holds(findings: &Findings) -> bool {
    invariants(findings).iter().flat_map(|(_, parts)| parts).all(|(_, finding)| finding.count == 0)
}

fn told(evidence: &Evidence, findings: &Findings, whose: &str) -> String {
    let mut text = String::new();
    // Writing to a String never fails.
    let written = write_all(&mut text, evidence, findings, whose);
    debug_assert!(written.is_ok());
    text
}

fn write_all(out: &mut String, evidence: &Evidence, findings: &Findings, whose: &str) -> std::fmt::Result {
    let live = evidence.rows.iter().filter(|row| row.live).count();
    writeln!(out, "Audit of {whose}")?;
    writeln!(
        out,
        "  {} offers, {} order rows ({live} live), {} orders in the log, {} buyers' entries\n",
        evidence.offers.len(),
        evidence.rows.len(),
        evidence.promises.len(),
        evidence.entries.len()
    )?;
    for offer in evidence.offers.iter().filter(|offer| offer.allotment > offer.target) {
        let OfferEvidence { offer, allotment, target, .. } = offer;
        let waits = "the next units that come back are not sold again (R9)";
        writeln!(out, "  offer {offer}: allotment {allotment}, target {target}: {waits}")?;
    }
    for (invariant, parts) in invariants(findings) {
        let broken: Vec<_> = parts.into_iter().filter(|(_, finding)| finding.count > 0).collect();
        writeln!(out, "  {:6} {invariant}", if broken.is_empty() { "holds" } else { "BROKEN" })?;
        for (what, Finding { count, examples }) in broken {
            writeln!(out, "         {what}: {count}, such as {}", examples.join("; "))?;
        }
    }
    if !holds(findings) {
        writeln!(out, "\nKeep a copy of the folder as it is now, with the logs, before anything else is done.")?;
    }
    Ok(())
}

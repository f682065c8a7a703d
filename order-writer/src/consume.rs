//! The loop of one partition: resume, then read, decide and carry out, span after span, and look at
//! the lanes between them. On a fault it forgets everything and resumes; it never skips a record
//! and never goes on from what it only believes. Nothing that is in a log stops it for ever: what
//! contradicts what it holds is parked, and what it waits for is listed at [`Halt`].

use std::{sync::Arc, time::Duration};

use domain::{
    decide::{Placed, may_follow},
    id::{Generation, PartitionId},
    record::Record,
};
use kit::clock::Clock;
use store::log::{DeadLetters, Entry, PartitionReader};
use tokio_util::sync::CancellationToken;

use crate::{
    carry_out::Span,
    partition::{Partition, random_record_id},
    ports::{Halt, Ports, Shared},
    purge::Purge,
    rhythm::Rhythm,
    stalls::Pulse,
};

/// Records that one read may return.
const READ_RECORDS: usize = 512;
/// Bytes that one read may return: about 100 full batches.
const READ_BYTES: usize = 4 << 20;
/// Reservations of one span: enough to fill the inserts of every table, few enough to keep a commit
/// short.
const SPAN_RESERVATIONS: usize = 4096;
/// Releases of one span.
const SPAN_RELEASES: usize = 512;

/// While lanes are loaded, an idle worker asks so often whether one is to be opened.
const LOADS_EVERY: Duration = Duration::from_millis(10);

/// Works on a partition until it is cancelled, then finishes the span at hand and returns.
pub async fn work<P: Ports>(shared: Arc<Shared<P>>, id: PartitionId, cancel: CancellationToken) {
    let pulse = shared.stalls.begin(id, shared.clock.monotonic());
    let (mut faults, mut lost) = (0u32, None);
    while !cancel.is_cancelled() {
        let halt = match tend(&shared, (id, &pulse), &cancel, (&mut faults, &mut lost)).await {
            Ok(()) => break,
            Err(halt) => halt,
        };
        shared.metrics.halted(halt.cause());
        pulse.halted(&halt);
        match &halt {
            Halt::LostRecords { generation, what, .. } => lost = Some((*generation, what.clone())),
            Halt::Fenced(_) => tracing::warn!(partition = %id, "another writer moved this partition: reading it anew"),
            Halt::Contradiction { .. } => {
                tracing::error!(partition = %id, %halt, "this partition waits until its stores agree again");
            }
            _ => tracing::warn!(partition = %id, %halt, "reading the partition anew"),
        }
        faults = faults.saturating_add(1);
        let wait = jittered(shared.pace.retry_max, faults);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = cancel.cancelled() => {}
        }
    }
    shared.stalls.end(id, pulse, &shared.metrics);
}

/// Exponential to `most`, and spread so that two writers at odds do not meet again.
fn jittered(most: std::time::Duration, faults: u32) -> std::time::Duration {
    let full = std::time::Duration::from_millis(10).saturating_mul(1 << faults.min(10)).min(most);
    let spread = random_record_id().get() % 1000;
    full.mul_f64(0.5 + f64::from(u32::try_from(spread).unwrap_or(0)) / 2000.0)
}

async fn tend<P: Ports>(
    shared: &Arc<Shared<P>>,
    (id, pulse): (PartitionId, &Arc<Pulse>),
    cancel: &CancellationToken,
    (faults, lost): (&mut u32, &mut Option<(Generation, String)>),
) -> Result<(), Halt> {
    let resuming = Partition::resume(shared.clone(), id, Arc::clone(pulse), lost.as_ref());
    let Some(mut partition) = or_cancelled(cancel, resuming).await.transpose()? else { return Ok(()) };
    *lost = None;
    tracing::info!(partition = %id, offset = partition.row().offset, generation = partition.row().generation.0,
        lanes = partition.lanes().len(), "partition resumed");
    let mut look_at = shared.clock.monotonic();
    let mut purge = Purge::default();
    let mut rhythm = Rhythm::new(shared.busy.clone(), shared.pace.gather);
    while !cancel.is_cancelled() {
        let now = shared.clock.monotonic();
        if now >= look_at {
            partition.look().await?;
            purge.look(&mut partition).await;
            look_at = shared.clock.monotonic();
            if partition.looks.is_done() {
                look_at += shared.pace.look_every;
            }
            *faults = 0;
        }
        partition.go_on_loading().await?;
        // What comes meanwhile shares the next span's commits, fetch and settlement.
        let rest = rhythm.rest(shared.clock.monotonic());
        if !rest.is_zero() && or_cancelled(cancel, tokio::time::sleep(rest)).await.is_none() {
            break;
        }
        let wait = look_at.saturating_sub(shared.clock.monotonic());
        let wait = if partition.loads.is_empty() { wait } else { wait.min(LOADS_EVERY) };
        let read = partition.reader.read(READ_RECORDS, READ_BYTES, wait);
        let Some(entries) = or_cancelled(cancel, read).await.transpose()? else { break };
        if entries.is_empty() {
            rhythm.mark_idle();
            continue;
        }
        let begun = shared.clock.monotonic();
        let (spans, end) = partition.spans(entries, partition.row().offset);
        shared.metrics.stages.decode.observe(shared.clock.monotonic().saturating_sub(begun));
        rhythm.begins(begun, spans.iter().map(|span| span.weight).sum::<usize>() >= SPAN_RESERVATIONS);
        let was_behind = !partition.has_caught_up();
        for span in spans {
            partition.carry_out(span).await?;
        }
        if was_behind && partition.has_caught_up() {
            // Lanes that are closed wait for this.
            look_at = begun;
        }
        if let Some(halt) = end
            && or_cancelled(cancel, partition.wait_for_skip(halt)).await.transpose()?.is_none()
        {
            break;
        }
    }
    Ok(())
}

async fn or_cancelled<T>(cancel: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = cancel.cancelled() => None,
    }
}

/// What an entry of the log is to a worker.
enum Found {
    Record(Placed),
    /// For the dead letters, and why.
    Damaged(String),
    /// Only a newer program may go on.
    Newer(Halt),
}

impl<P: Ports> Partition<P> {
    /// Cuts what was read from `from` on into spans, up to a record that only a newer program may
    /// decide: that ends them. A damaged record keeps its place in the log and decides nothing.
    pub(crate) fn spans(&self, entries: Vec<Entry>, from: u64) -> (Vec<Span>, Option<Halt>) {
        let mut spans: Vec<Span> = Vec::new();
        for entry in entries.into_iter().filter(|entry| entry.offset >= from) {
            let (placed, cause) = match self.found(&entry) {
                Found::Record(placed) => (Some(placed), None),
                Found::Damaged(cause) => (None, Some(cause)),
                Found::Newer(halt) => return (spans, Some(halt)),
            };
            let added = match placed.as_ref().map(|placed| &placed.record) {
                Some(Record::Batch(batch)) => batch.reservations.len(),
                Some(_) => SPAN_RESERVATIONS / SPAN_RELEASES,
                None => 1,
            };
            if !spans.last().is_some_and(|span| span.takes(added, placed.as_ref())) {
                spans.push(Span::default());
            }
            if let Some(span) = spans.last_mut() {
                span.weight += added;
                span.next = entry.offset + 1;
                span.last = entry.id;
                span.damaged.extend(cause.map(|cause| (entry.offset, cause)));
                span.records.extend(placed);
                span.entries.push(entry);
            }
        }
        (spans, None)
    }

    fn found(&self, entry: &Entry) -> Found {
        match (Record::read(&entry.kind, entry.payload.clone()), entry.id) {
            (Ok(record), Some(id)) => {
                if self.skips().contains(&(entry.offset, Some(id))) {
                    return Found::Damaged("set aside: it was appended to another log than what it stands on".into());
                }
                Found::Record(Placed { generation: self.row().generation, offset: entry.offset, id, record })
            }
            (Ok(_), None) => Found::Damaged("the record has no id".into()),
            (Err(error), id) if error.is_newer() => {
                if self.skips().contains(&(entry.offset, id)) {
                    return Found::Damaged(format!("set aside by an operator: {error}"));
                }
                let cause = error.to_string();
                Found::Newer(Halt::NewerRecord { partition: self.id, offset: entry.offset, cause })
            }
            (Err(error), _) => Found::Damaged(error.to_string()),
        }
    }

    /// Failure point 17: a record that cannot be decided goes to the dead letters with its cause,
    /// and the partition moves on.
    pub(crate) async fn park(&self, entry: &Entry, cause: &str) -> Result<(), Halt> {
        tracing::error!(partition = %self.id, offset = entry.offset, cause, "a record is parked in the dead letters");
        self.shared.log.park(self.id, entry, cause).await?;
        self.shared.metrics.parked.inc();
        Ok(())
    }
}

impl Span {
    fn takes(&self, added: usize, next: Option<&Placed>) -> bool {
        let fits = match (self.records.last(), next) {
            (Some(last), Some(next)) => may_follow(&last.record, &next.record),
            _ => true,
        };
        fits && self.weight + added <= SPAN_RESERVATIONS
    }
}

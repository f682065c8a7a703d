//! What must hold when everything is let settle: the audit of the load test over every sale, and
//! what buyers were answered by all engines. What may be lost where acknowledged data were taken
//! away stands in the protocol (R13, INV-3).

use std::{collections::HashMap, time::Duration};

use domain::id::OrderId;
use kit::clock::{Clock, SystemClock};
use loadtest::{
    audit::{self, Evidence, Finding, Findings},
    backends::production::ProductionBackends,
    durable,
    plan::ordinary,
    tally::Book,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::crowd::Crowd;

/// How long everything may take to become durable once all is up again.
const REST: Duration = Duration::from_secs(90);
/// Between two lines about what is still under way.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Buyers of each sale who ask every engine once more at the end.
const LATE: usize = 30;

/// What was taken away in a seed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken {
    /// Promises that Redis had.
    pub(crate) stock: bool,
    /// What databases had committed.
    pub(crate) rows: bool,
}

/// What came of a seed.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    /// What must not be.
    pub(crate) violations: Vec<String>,
    /// What is reported beside.
    pub(crate) notes: Vec<String>,
}

/// Waits until nothing is under way, has buyers ask once more, and compares.
///
/// # Errors
/// When a store does not answer.
pub(crate) async fn judge(
    crowd: &Crowd,
    backends: &mut ProductionBackends,
    cancelled: &[(usize, OrderId)],
    (taken, seed): (Taken, u64),
) -> anyhow::Result<Judgement> {
    let (clock, mut judgement) = (SystemClock::new(), Judgement::default());
    let opened_ms = crowd.offered.iter().map(|offered| offered.sale.opens_at_ms).min().unwrap_or(0);
    rest(backends, &clock, &mut judgement).await?;
    eprintln!("           some buyers ask every engine once more");
    late_repeats(crowd, seed);
    if judgement.violations.is_empty() {
        rest(backends, &clock, &mut judgement).await?;
    }
    eprintln!("           auditing");
    for (at, offered) in crowd.offered.iter().enumerate() {
        let mut book = Book::new(offered.buyers());
        let attempts = ordinary(0..offered.buyers());
        book.enter(&crowd.run_of(at), &attempts);
        // Rows are looked for from the sale's opening on: a sale that was brought forward has some
        // from before it.
        let mut sale = offered.sale.clone();
        sale.opens_at_ms = sale.opens_at_ms.min(opened_ms);
        let evidence = backends.evidence(&sale, &book).await?;
        let findings = audit::compare(&evidence);
        let mut report = SaleReport { judgement: &mut judgement, title: offered.title };
        report.stores(&findings, taken);
        report.promises(&book, &evidence, taken);
        report.cancellations(
            &evidence,
            cancelled.iter().filter(|(sale, _)| *sale == at).map(|(_, order)| *order),
            taken,
        );
        report.ends(crowd, at, &book, &evidence);
        let (rows, units) = (evidence.rows.len(), evidence.rows.iter().filter(|row| row.live).count());
        let accepted = book.promises().iter().filter(|promise| promise.accepted).count();
        let rejected = findings.rejected_after_accepted.count;
        let line = format!(
            "{}: {} buyers, {accepted} accepted, {rows} rows, {units} of {} units live; rejected after accepted {rejected}, \
             changed {}, pending without row {}",
            offered.title,
            offered.buyers(),
            evidence.offers.iter().map(|offer| offer.allotment).sum::<u64>(),
            book.changed().len(),
            findings.pending_without_row.count,
        );
        judgement.notes.push(line);
    }
    Ok(judgement)
}

async fn rest(backends: &mut ProductionBackends, clock: &SystemClock, judgement: &mut Judgement) -> anyhow::Result<()> {
    let now = clock.monotonic();
    let mut tell_at = now + TELL_EVERY;
    let show = |snapshot: &durable::Snapshot| {
        if clock.monotonic() >= tell_at && !snapshot.outstanding.is_empty() {
            tell_at = clock.monotonic() + TELL_EVERY;
            eprintln!("           under way: {}", snapshot.outstanding.join("; "));
        }
    };
    let rest = durable::wait(backends, clock, (0, now), now + REST, show).await?;
    if !rest.reached {
        let outstanding = rest.snapshot.outstanding.join("; ");
        judgement.violations.push(format!("not everything is decided within {} s: {outstanding}", REST.as_secs()));
    }
    Ok(())
}

fn late_repeats(crowd: &Crowd, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    for (at, offered) in crowd.offered.iter().enumerate() {
        for _ in 0..LATE.min(offered.buyers() as usize) {
            let buyer = random.random_range(0..offered.buyers());
            crowd.ask_all(at, buyer);
        }
    }
}

/// Where a sale's violations go.
struct SaleReport<'a> {
    judgement: &'a mut Judgement,
    title: &'static str,
}

impl SaleReport<'_> {
    fn violation(&mut self, what: &str, finding: &Finding) {
        let mut line = format!("{}: {what} {}", self.title, finding.count);
        finding.examples.iter().for_each(|example| line.extend(["\n      ", example]));
        self.judgement.violations.push(line);
    }

    /// The four words, and those that must be 0 where nothing was taken away.
    fn stores(&mut self, findings: &Findings, taken: Taken) {
        let lossless = !taken.stock;
        let must_be_0 = |word: &str| match word {
            "lost" | "doubled" | "oversold" | "leaked" | "over_limit" => true,
            _ => lossless,
        };
        for (word, finding) in findings.words() {
            if finding.count > 0 && must_be_0(word) {
                self.violation(word, finding);
            }
        }
    }

    /// R13: one id for a key, but where Redis lost the first, which then is rejected or never was.
    fn promises(&mut self, book: &Book, evidence: &Evidence, taken: Taken) {
        let rejected: HashMap<u64, bool> = evidence.rows.iter().map(|row| (row.order.get(), row.rejected)).collect();
        let wrong = book.changed().iter().filter(|changed| {
            let stands = rejected.get(&changed.from).is_some_and(|rejected| !rejected);
            !taken.stock || stands
        });
        let mut finding = Finding::default();
        for changed in wrong {
            finding.count += 1;
            if finding.examples.len() < 5 {
                let state = rejected.get(&changed.from).map_or("no row", |no| if *no { "rejected" } else { "sold" });
                finding
                    .examples
                    .push(format!("buyer {}: {} ({state}), then {}", changed.buyer, changed.from, changed.to));
            }
        }
        if finding.count > 0 {
            self.violation("two ids for one key", &finding);
        }
        let unknown = Finding { count: book.unknown().len() as u64, examples: Vec::new() };
        if unknown.count > 0 {
            self.violation("buyers who never learned their outcome:", &unknown);
        }
        let both = Finding { count: book.promised_and_refused() as u64, examples: Vec::new() };
        if both.count > 0 && !taken.stock {
            self.violation("promised an order and finally refused:", &both);
        }
    }

    /// What was cancelled stays cancelled, unless a database was put back to before it.
    fn cancellations(&mut self, evidence: &Evidence, cancelled: impl Iterator<Item = OrderId>, taken: Taken) {
        let live: HashMap<OrderId, bool> = evidence.rows.iter().map(|row| (row.order, row.live)).collect();
        let again: Vec<OrderId> = cancelled.filter(|order| live.get(order) == Some(&true)).collect();
        let finding = Finding {
            count: again.len() as u64,
            examples: again.iter().take(5).map(|order| format!("order {order}")).collect(),
        };
        match (finding.count, taken.rows) {
            (0, _) => {}
            (_, false) => self.violation("cancelled, and live all the same:", &finding),
            (count, true) => {
                let line = format!("{}: {count} cancellations were forgotten with the rows taken away", self.title);
                self.judgement.notes.push(line);
            }
        }
    }

    /// An order that was promised and has no row is not `pending` for ever.
    fn ends(&mut self, crowd: &Crowd, at: usize, book: &Book, evidence: &Evidence) {
        let rows: HashMap<OrderId, ()> = evidence.rows.iter().map(|row| (row.order, ())).collect();
        let mut finding = Finding::default();
        for promise in book.promises().iter().filter(|promise| !rows.contains_key(&promise.order)).take(20) {
            let said = crowd.status(at, promise.buyer, promise.order);
            if !matches!(&said, Ok((404, _))) {
                finding.count += 1;
                finding.examples.push(format!("order {}: {said:?}", promise.order));
            }
        }
        if finding.count > 0 {
            self.violation("promised, without a row, and not known to be none:", &finding);
        }
    }
}

//! From notes to figures: what was answered, how fast, and what each buyer was answered in the end.
//! Pure: notes in, figures out.

use std::{collections::BTreeMap, time::Duration};

use domain::id::OrderId;
use hdrhistogram::Histogram;

use crate::{
    generator::{Kind, Note, Run},
    plan::Attempt,
};

/// The longest latency kept apart, in microseconds; longer ones count as this.
const LATENCY_MAX_US: u64 = 600_000_000;
/// Figures that a latency keeps: 0.1 %.
const LATENCY_DIGITS: u8 = 3;

/// Latencies at the quantiles that reports show.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Latency {
    /// Half are faster, milliseconds.
    pub p50: f64,
    /// 99 % are faster, milliseconds.
    pub p99: f64,
    /// 99.9 % are faster, milliseconds.
    pub p999: f64,
    /// The slowest, milliseconds.
    pub max: f64,
}

/// What a run was answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figures {
    /// Requests written.
    pub sent: u64,
    /// Answers `202 accepted`.
    pub accepted: u64,
    /// Answers `202 pending`.
    pub pending: u64,
    /// Given up by the client, as planned.
    pub aborted: u64,
    /// Refusals, final ones and "come back later", by code.
    pub refused_by_code: BTreeMap<String, u64>,
    /// What should not be, by name.
    pub unexpected: BTreeMap<String, u64>,
    /// Accepted answers a second, from the first request to the last of them.
    pub accepted_per_s: Option<f64>,
    /// Refusals a second, from the first to the last of them.
    pub refused_per_s: Option<f64>,
    /// Of promises, accepted or pending.
    pub latency: Option<Latency>,
    /// Of refusals.
    pub refused_latency: Option<Latency>,
    /// Of promises, at all of [`QUANTILES`].
    pub latency_curve: Vec<Percentile>,
    /// Of refusals, the same.
    pub refused_latency_curve: Vec<Percentile>,
}

/// A point of a distribution of latencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentile {
    /// So much of all answers, 0 to 1.
    pub share: f64,
    /// came within so many milliseconds.
    pub ms: f64,
}

/// Where a distribution is state.
pub const QUANTILES: [f64; 15] =
    [0.0, 0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999];

impl Figures {
    /// Counts a run.
    pub fn of(run: &Run) -> Self {
        let mut figures = Self::default();
        let mut per_name = vec![0_u64; run.names.len()];
        let (mut promised, mut refused) = (Timing::default(), Timing::default());
        let mut last_accepted_us = 0;
        for note in &run.notes {
            let Some(name) = run.names.get(usize::from(note.name)) else { continue };
            per_name[usize::from(note.name)] += 1;
            match name.kind {
                Kind::Accepted => {
                    last_accepted_us = last_accepted_us.max(note.at_us);
                    promised.add(note);
                }
                Kind::Pending => promised.add(note),
                Kind::Refused | Kind::Deferred => refused.add(note),
                Kind::Aborted | Kind::Unexpected | Kind::NotSent => {}
            }
        }
        for (name, count) in run.names.iter().zip(per_name).filter(|(_, count)| *count > 0) {
            figures.sent += if name.kind == Kind::NotSent { 0 } else { count };
            match name.kind {
                Kind::Accepted => figures.accepted += count,
                Kind::Pending => figures.pending += count,
                Kind::Aborted => figures.aborted += count,
                Kind::Refused | Kind::Deferred => {
                    *figures.refused_by_code.entry(name.text.clone()).or_default() += count
                }
                Kind::Unexpected | Kind::NotSent => *figures.unexpected.entry(name.text.clone()).or_default() += count,
            }
        }
        figures.accepted_per_s = per_s(figures.accepted, last_accepted_us);
        figures.refused_per_s = per_s(refused.count, refused.last_us.saturating_sub(refused.first_us.unwrap_or(0)));
        figures.latency = promised.latency();
        figures.refused_latency = refused.latency();
        figures.latency_curve = promised.curve();
        figures.refused_latency_curve = refused.curve();
        figures
    }

    /// All refusals.
    pub fn refused(&self) -> u64 {
        self.refused_by_code.values().sum()
    }

    /// Adds the counts of a later run. Rates and latencies stay those of the first: only it is the
    /// load asked for.
    pub fn add_counts(&mut self, later: &Self) {
        self.sent += later.sent;
        self.accepted += later.accepted;
        self.pending += later.pending;
        self.aborted += later.aborted;
        for (sum, more) in
            [(&mut self.refused_by_code, &later.refused_by_code), (&mut self.unexpected, &later.unexpected)]
        {
            more.iter().for_each(|(name, count)| *sum.entry(name.clone()).or_default() += count);
        }
    }
}

fn per_s(count: u64, micros: u32) -> Option<f64> {
    (count > 0 && micros > 0).then(|| count as f64 / Duration::from_micros(micros.into()).as_secs_f64())
}

#[derive(Default)]
struct Timing {
    histogram: Option<Histogram<u64>>,
    count: u64,
    first_us: Option<u32>,
    last_us: u32,
}

impl Timing {
    fn add(&mut self, note: &Note) {
        self.count += 1;
        self.first_us = Some(self.first_us.map_or(note.at_us, |first| first.min(note.at_us)));
        self.last_us = self.last_us.max(note.at_us);
        if self.histogram.is_none() {
            // These bounds are valid; were they not, there would be no latencies, and the report
            // would say so.
            self.histogram = Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS).ok();
        }
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(note.latency_us.into());
        }
    }

    fn latency(&self) -> Option<Latency> {
        let histogram = self.histogram.as_ref()?;
        let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        Some(Latency { p50: ms(0.5), p99: ms(0.99), p999: ms(0.999), max: ms(1.0) })
    }

    fn curve(&self) -> Vec<Percentile> {
        let Some(histogram) = &self.histogram else { return Vec::new() };
        let point = |share| Percentile { share, ms: histogram.value_at_quantile(share) as f64 / 1_000.0 };
        QUANTILES.into_iter().map(point).collect()
    }
}

/// What a buyer was answered so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct BuyerState {
    order: u64,
    attempted: bool,
    accepted: bool,
    refused: bool,
}

/// The buyers' side of the story, over all runs of a scenario.
#[derive(Debug)]
pub struct Book {
    buyers: Vec<BuyerState>,
    changed: Vec<Changed>,
    promises: Vec<Promise>,
}

/// An answer `202`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// Index of the buyer.
    pub buyer: u32,
    /// The order.
    pub order: OrderId,
    /// It was accepted, at least once; otherwise pending.
    pub accepted: bool,
}

/// A buyer who got two orders for one key (R13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// Index of the buyer.
    pub buyer: u32,
    /// The order of the earlier answer.
    pub from: u64,
    /// That of the later one.
    pub to: u64,
}

impl Book {
    /// An empty book for so many buyers.
    pub fn new(buyers: u32) -> Self {
        Self { buyers: vec![BuyerState::default(); buyers as usize], changed: Vec::new(), promises: Vec::new() }
    }

    /// Makes room for buyers with indices below this.
    pub fn admit(&mut self, buyers: u32) {
        self.buyers.resize(self.buyers.len().max(buyers as usize), BuyerState::default());
    }

    /// Enters a run.
    pub fn enter(&mut self, run: &Run, attempts: &[Attempt]) {
        let mut order: Vec<&Note> = run.notes.iter().collect();
        // Threads hand their notes over one after the other; what a buyer was answered last must
        // stand last.
        order.sort_by_key(|note| note.at_us);
        for note in order {
            let Some(name) = run.names.get(usize::from(note.name)) else { continue };
            let Some(buyer) = attempts.get(note.send as usize).map(|attempt| attempt.buyer) else { continue };
            let Some(state) = self.buyers.get_mut(buyer as usize) else { continue };
            state.attempted = true;
            match (name.kind, OrderId::new(note.order)) {
                (Kind::Accepted | Kind::Pending, Ok(order)) => {
                    if state.order != 0 && state.order != note.order {
                        self.changed.push(Changed { buyer, from: state.order, to: note.order });
                        // The earlier promise keeps its place in the list; see below.
                        self.promises.extend(state.promise(buyer));
                        state.accepted = false;
                    }
                    state.order = order.get();
                    state.accepted |= name.kind == Kind::Accepted;
                }
                (Kind::Refused, _) => state.refused = true,
                _ => {}
            }
        }
    }

    /// Buyers who sent and never learned what became of it.
    pub fn unknown(&self) -> Vec<u32> {
        self.matching(|state| state.attempted && state.order == 0 && !state.refused)
    }

    /// Buyers who were finally refused and never promised anything.
    pub fn refused(&self) -> Vec<u32> {
        self.matching(|state| state.refused && state.order == 0)
    }

    /// Buyers who were answered with both: an order, and a final refusal.
    pub fn promised_and_refused(&self) -> usize {
        self.buyers.iter().filter(|state| state.refused && state.order != 0).count()
    }

    /// Every order that was promised to a buyer, once.
    pub fn promises(&self) -> Vec<Promise> {
        let last = (0..).zip(&self.buyers).filter_map(|(buyer, state)| state.promise(buyer));
        self.promises.iter().copied().chain(last).collect()
    }

    /// Buyers whose order changed.
    pub fn changed(&self) -> &[Changed] {
        &self.changed
    }

    fn matching(&self, is: impl Fn(&BuyerState) -> bool) -> Vec<u32> {
        (0..).zip(&self.buyers).filter(|(_, state)| is(state)).map(|(buyer, _)| buyer).collect()
    }
}

impl BuyerState {
    fn promise(&self, buyer: u32) -> Option<Promise> {
        OrderId::new(self.order).ok().map(|order| Promise { buyer, order, accepted: self.accepted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{generator::Name, plan};

    const NAMES: [(Kind, &str); 6] = [
        (Kind::Accepted, "accepted"),
        (Kind::Pending, "pending"),
        (Kind::Refused, "sold_out"),
        (Kind::Deferred, "overloaded"),
        (Kind::Aborted, "reset"),
        (Kind::Unexpected, "401 forbidden"),
    ];

    /// Notes as (send, name, order); one every millisecond, each with a latency of its number in
    /// milliseconds.
    fn run(notes: &[(u32, u8, u64)]) -> Run {
        let note = |(i, &(send, name, order)): (u32, &(u32, u8, u64))| Note {
            order,
            send,
            at_us: (i + 1) * 1_000,
            latency_us: (i + 1) * 1_000,
            name,
        };
        Run {
            notes: (0..).zip(notes).map(note).collect(),
            names: NAMES.iter().map(|(kind, text)| Name { kind: *kind, text: (*text).into() }).collect(),
            unsent: 0,
            cpu: None,
        }
    }

    #[test]
    fn figures_count_every_kind_by_its_name() {
        let mut figures =
            Figures::of(&run(&[(0, 0, 7), (1, 1, 8), (2, 2, 0), (3, 3, 0), (4, 4, 0), (5, 5, 0), (6, 2, 0)]));
        assert_eq!((figures.sent, figures.accepted, figures.pending, figures.aborted), (7, 1, 1, 1));
        assert_eq!(figures.refused_by_code, [("overloaded".into(), 1), ("sold_out".into(), 2)].into());
        assert_eq!(figures.unexpected, [("401 forbidden".into(), 1)].into());
        assert_eq!(figures.accepted_per_s, Some(1_000.0), "one in the first millisecond");
        assert_eq!(figures.refused_per_s, Some(750.0), "three from 3 to 7 ms");
        let latency = figures.latency.unwrap();
        assert!((latency.max - 2.0).abs() < 0.01 && (latency.p50 - 1.0).abs() < 0.01, "{latency:?}");
        assert!((figures.refused_latency.unwrap().max - 7.0).abs() < 0.01);
        figures.add_counts(&Figures::of(&run(&[(0, 2, 0)])));
        assert_eq!((figures.sent, figures.refused()), (8, 4));
        assert_eq!(figures.latency, Some(latency));
        assert_eq!(figures.latency_curve.len(), QUANTILES.len());
        assert!(figures.latency_curve.is_sorted_by(|a, b| a.share < b.share && a.ms <= b.ms));
    }

    #[test]
    fn nothing_has_no_rate_and_no_latency() {
        let figures = Figures::of(&run(&[]));
        assert_eq!(figures, Figures::default());
    }

    #[test]
    fn the_book_keeps_the_last_answer_of_each_buyer() {
        let attempts = plan::ordinary([0, 0, 1, 1, 2, 3, 4].into_iter());
        let mut book = Book::new(2);
        book.admit(6);
        // Buyer 0: aborted, then accepted. 1: refused. 2: overloaded. 3: pending. 4: reset. 5:
        // never sent.
        book.enter(&run(&[(0, 4, 0), (1, 0, 70), (2, 4, 0), (3, 2, 0), (4, 3, 0), (5, 1, 73), (6, 4, 0)]), &attempts);
        assert_eq!(book.unknown(), [2, 4]);
        assert_eq!(book.refused(), [1]);
        let order = |id| OrderId::new(id).unwrap();
        let mut expected = vec![
            Promise { buyer: 0, order: order(70), accepted: true },
            Promise { buyer: 3, order: order(73), accepted: false },
        ];
        assert_eq!(book.promises(), expected);
        // The retries: 2 gets another answer, 3 gets another order for the same key, 4 is
        // refused.
        book.enter(&run(&[(0, 0, 72), (1, 0, 74), (2, 2, 0)]), &plan::ordinary([2, 3, 4].into_iter()));
        assert_eq!(book.unknown(), [0_u32; 0]);
        assert_eq!(book.changed(), [Changed { buyer: 3, from: 73, to: 74 }]);
        expected.insert(0, expected[1]);
        expected.insert(2, Promise { buyer: 2, order: order(72), accepted: true });
        expected[3] = Promise { buyer: 3, order: order(74), accepted: true };
        assert_eq!(book.promises(), expected);
        assert_eq!((book.refused(), book.promised_and_refused()), (vec![1, 4], 0));
    }
}

//! Which charts a run has: from its timeline and its report to axes and series.

use std::time::Duration;

use super::{
    chart::{Axis, Chart, Kind, Points, Series},
    scale::Scale,
};
use crate::{
    report::{PartReport, Report},
    tally::{Latency, Percentile},
    timeline::{PROCESSES, Sample, Timeline},
};

/// Rates are means over so much time at least: CPU times come in hundredths of a second, and rows
/// in spans.
const STEP_MIN: Duration = Duration::from_millis(500);
/// Steps of a long run, at most.
const STEPS_MAX: u32 = 200;
/// A distribution is drawn to so many nines.
const NINES: u8 = 4;

/// What happened between two samples of one part, a second.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    /// From and to, seconds since the first part began.
    pub(super) time: (f64, f64),
    /// Accepted answers.
    pub(super) accepted: f64,
    /// Refusals.
    pub(super) refused: f64,
    /// Durable orders, unless a store was away.
    pub(super) durable: Option<f64>,
    /// Undecided records at its end.
    pub(super) lag: Option<f64>,
    /// Cores that each process kept busy.
    pub(super) cores: [Option<f64>; PROCESSES.len()],
}

/// The steps of each part: between parts other things happened.
pub(super) fn steps(timeline: &Timeline) -> Vec<Vec<Step>> {
    let end = timeline.last_noted().unwrap_or_default();
    let width = STEP_MIN.max(end / STEPS_MAX);
    timeline.samples.chunk_by(|a, b| a.part == b.part).map(|samples| steps_of(samples, width)).collect()
}

fn steps_of(samples: &[Sample], width: Duration) -> Vec<Step> {
    let mut steps = Vec::new();
    let (Some((mut from, rest)), Some(end)) = (samples.split_first(), samples.last()) else { return steps };
    for to in rest {
        let time = to.at.saturating_sub(from.at);
        // The rest at the end has a step too, unless it is too short for a rate.
        if time < if to.at == end.at { width / 2 } else { width } {
            continue;
        }
        let per_s = |count: u64| count as f64 / time.as_secs_f64();
        let cores = |i: usize| {
            let busy = to.cpu[i]?.saturating_sub(from.cpu[i]?);
            Some(busy.as_secs_f64() / time.as_secs_f64())
        };
        steps.push(Step {
            time: (from.at.as_secs_f64(), to.at.as_secs_f64()),
            accepted: per_s(to.accepted.saturating_sub(from.accepted)),
            refused: per_s(to.refused.saturating_sub(from.refused)),
            durable: to.durable.zip(from.durable).map(|(to, from)| per_s(to.saturating_sub(from))),
            lag: to.lag.map(|lag| lag as f64),
            cores: std::array::from_fn(cores),
        });
        from = to;
    }
    steps
}

/// All charts that this run has something for.
pub(super) fn charts(report: &Report, timeline: &Timeline) -> Vec<Chart> {
    let steps = steps(timeline);
    let mut charts = vec![rates(&steps, timeline)];
    charts.extend(cpu(&steps, timeline));
    charts.push(lag(&steps, timeline));
    charts.extend(distribution(report));
    charts.extend(curve(report));
    charts
}

fn seconds(steps: &[Vec<Step>]) -> Axis {
    let end = steps.iter().flatten().map(|step| step.time.1).fold(0.0, f64::max);
    Axis { label: "seconds".into(), scale: Scale::span(end) }
}

fn marks(timeline: &Timeline) -> Vec<(f64, String)> {
    // Many words would lie upon each other.
    let named = if timeline.parts.len() <= 2 { timeline.parts.len() } else { 0 };
    let parts = timeline.parts.iter().skip(1).enumerate();
    parts.map(|(i, (at, title))| (at.as_secs_f64(), if i < named { (*title).into() } else { String::new() })).collect()
}

/// The pieces of one series: a mean holds from the beginning of its step to the end. `None` has no
/// points.
fn pieces(steps: &[Vec<Step>], value: impl Fn(&Step) -> Option<f64>) -> Vec<Points> {
    let points = |step: &Step| value(step).map(|value| [(step.time.0, value), (step.time.1, value)]);
    let pieces = steps.iter().map(|part| part.iter().filter_map(points).flatten().collect::<Points>());
    pieces.filter(|piece| !piece.is_empty()).collect()
}

fn top(series: &[Series]) -> f64 {
    series.iter().flat_map(|series| series.pieces.iter().flatten()).map(|(_, y)| *y).fold(0.0, f64::max)
}

fn rates(steps: &[Vec<Step>], timeline: &Timeline) -> Chart {
    let mut series = vec![
        Series { name: "accepted", colour: 1, pieces: pieces(steps, |step| Some(step.accepted)) },
        Series { name: "durable", colour: 3, pieces: pieces(steps, |step| step.durable) },
        Series { name: "refused", colour: 2, pieces: pieces(steps, |step| Some(step.refused)) },
    ];
    series.retain(|series| top(std::slice::from_ref(series)) > 0.0);
    let y = Axis { label: "per second".into(), scale: Scale::linear(top(&series)) };
    Chart {
        id: "rates",
        title: "Accepted, durable and refused over the run".into(),
        summary: "How many purchases a second were accepted, written as rows, and refused, from moment to moment."
            .into(),
        x: seconds(steps),
        y,
        kind: Kind::Lines,
        series,
        marks: marks(timeline),
    }
}

fn lag(steps: &[Vec<Step>], timeline: &Timeline) -> Chart {
    let series = vec![Series { name: "log lag", colour: 4, pieces: pieces(steps, |step| step.lag) }];
    Chart {
        id: "lag",
        title: "Log lag: promised, not yet written".into(),
        summary: "Records of the order log that the order-writer had not decided, from moment to moment.".into(),
        x: seconds(steps),
        y: Axis { label: "records".into(), scale: Scale::linear(top(&series)) },
        kind: Kind::Lines,
        series,
        marks: marks(timeline),
    }
}

/// Those processes that are known; none when none is.
fn cpu(steps: &[Vec<Step>], timeline: &Timeline) -> Option<Chart> {
    let known = |i: &usize| steps.iter().flatten().all(|step| step.cores[*i].is_some());
    let series: Vec<Series> = (0..PROCESSES.len())
        .filter(known)
        .map(|i| Series { name: PROCESSES[i], colour: i + 1, pieces: pieces(steps, |step| step.cores[i]) })
        .collect();
    let sum = |step: &Step| step.cores.iter().flatten().sum::<f64>();
    let highest = steps.iter().flatten().map(sum).fold(0.0, f64::max);
    let chart = Chart {
        id: "cpu",
        title: "CPU by process".into(),
        summary: "How many cores each process kept busy, one upon the other, from moment to moment.".into(),
        x: seconds(steps),
        y: Axis { label: "cores busy".into(), scale: Scale::linear(highest) },
        kind: Kind::Stacked,
        series,
        marks: marks(timeline),
    };
    (highest > 0.0).then_some(chart)
}

fn distribution(report: &Report) -> Option<Chart> {
    let [promised, refused] = &report.headline.latency_curves;
    let points = |curve: &[Percentile]| curve.iter().map(|point| (point.share, point.ms)).collect::<Points>();
    let named =
        [("accepted", 1, promised), ("refused", 2, refused)].into_iter().filter(|(.., curve)| !curve.is_empty());
    let series: Vec<Series> =
        named.map(|(name, colour, curve)| Series { name, colour, pieces: vec![points(curve)] }).collect();
    let loop_kind = report.headline.loop_kind;
    let chart = Chart {
        id: "latency",
        title: format!("Latency distribution ({loop_kind} loop)"),
        summary: "Within how many milliseconds each share of all answers came.".into(),
        x: Axis { label: "share of answers".into(), scale: Scale::Nines(NINES) },
        y: Axis { label: "ms".into(), scale: Scale::log(values(&series)) },
        kind: Kind::Lines,
        series,
        marks: Vec::new(),
    };
    (!chart.series.is_empty()).then_some(chart)
}

/// Latency over rate, when several rates were measured.
fn curve(report: &Report) -> Option<Chart> {
    let measured = report.parts.iter().filter(|part| part.measured);
    let steps: Vec<(f64, Latency)> =
        measured.filter_map(|PartReport { figures, .. }| figures.rate.zip(figures.latency_ms)).collect();
    let of = |name, colour, quantile: fn(&Latency) -> f64| Series {
        name,
        colour,
        pieces: vec![steps.iter().map(|(rate, latency)| (*rate, quantile(latency))).collect()],
    };
    let series = vec![of("p50", 3, |l| l.p50), of("p99", 1, |l| l.p99), of("p99.9", 2, |l| l.p999)];
    let chart = Chart {
        id: "curve",
        title: "Latency over rate (open loop, from the intended send time)".into(),
        summary: "The latency of accepted purchases at each rate: median, 99th and 99.9th percentile.".into(),
        x: Axis {
            label: "requests/s".into(),
            scale: Scale::linear(steps.iter().map(|(rate, _)| *rate).fold(0.0, f64::max)),
        },
        y: Axis { label: "ms".into(), scale: Scale::log(values(&series)) },
        kind: Kind::Dotted,
        series,
        marks: Vec::new(),
    };
    (steps.len() > 1).then_some(chart)
}

fn values(series: &[Series]) -> impl Iterator<Item = f64> + '_ {
    series.iter().flat_map(|series| series.pieces.iter().flatten()).map(|(_, y)| *y)
}

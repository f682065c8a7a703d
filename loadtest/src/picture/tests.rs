//! The page stands alone, and says what the report says.

use std::time::Duration;

use super::*;
use crate::{
    durable::Snapshot,
    generator::Reading,
    report::sample_report,
    timeline::{CpuTimes, Timeline},
};

/// Two parts: a second of 1,000 orders a second, a pause, and two seconds of 4,000 a second and as
/// many refusals.
fn timeline() -> Timeline {
    let mut timeline = Timeline::default();
    let note = |timeline: &mut Timeline, ms: u64, accepted, refused| {
        let reading = Reading { accepted, refused, ..Reading::default() };
        let snapshot = Snapshot { sold: accepted, lag: 7, ..Snapshot::default() };
        let cpu: CpuTimes = std::array::from_fn(|i| (i != 1).then(|| Duration::from_millis(ms / 4)));
        timeline.note(Duration::from_millis(ms), Some(reading), Some(&snapshot), cpu);
    };
    timeline.part(Duration::ZERO, "filling");
    (0..=4).for_each(|i| note(&mut timeline, i * 250, i * 250, 0));
    timeline.part(Duration::from_secs(10), "load");
    (0..=8).for_each(|i| note(&mut timeline, 10_000 + i * 250, 1_000 + i * 1_000, i * 1_000));
    timeline
}

#[test]
fn steps_are_rates_within_a_part_and_never_across_two() {
    let steps = charts::steps(&timeline());
    assert_eq!(steps.iter().map(Vec::len).collect::<Vec<_>>(), [2, 4]);
    let first = &steps[0][0];
    assert_eq!((first.time, first.accepted, first.durable, first.lag), ((0.0, 0.5), 1_000.0, Some(1_000.0), Some(7.0)));
    assert!((first.cores[0].unwrap() - 0.25).abs() < 1e-9 && first.cores[1].is_none());
    assert_eq!((steps[1][3].accepted, steps[1][3].refused), (4_000.0, 4_000.0));
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = page(&sample_report(), &timeline());
    for needs in ["http://", "https://", "<script", "<link", "url(", "@import", "src="] {
        assert!(!page.contains(needs), "{needs}");
    }
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("width=device-width"));
    for tag in ["svg", "figure", "table", "ul", "title", "main", "html"] {
        let (opened, closed) = (page.matches(&format!("<{tag}")).count(), page.matches(&format!("</{tag}>")).count());
        assert_eq!(opened, closed, "{tag}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf "), "{page}");
}

/// A part of one look, or of looks so near that they tell no rate.
#[test]
fn a_part_too_short_for_a_rate_is_left_out() {
    let mut timeline = timeline();
    timeline.part(Duration::from_secs(20), "short");
    for ms in [20_000, 20_100] {
        timeline.note(Duration::from_millis(ms), None, None, [Some(Duration::ZERO); 8]);
    }
    assert_eq!(charts::steps(&timeline).iter().map(Vec::len).collect::<Vec<_>>(), [2, 4, 0]);
    let page = page(&sample_report(), &timeline);
    assert!(!page.contains("d=\"Z") && !page.contains("ZZ"), "every path begins somewhere: {page}");
}

#[test]
fn the_page_tells_figures_zeros_and_charts() {
    let page = page(&sample_report(), &timeline());
    for expected in [
        "Load test: orders",
        "<b>8</b><span>durable orders/s</span>",
        "<b>0</b><span>oversold ✓</span>",
        "<b>0.50</b><span>accepted by raw EVALSHA calls</span>",
        "<b>10 MiB</b>",
        "Accepted, durable and refused over the run",
        "CPU by process",
        "Log lag",
        "Latency distribution",
        "<td>filling</td>",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
    assert!(!page.contains("</i>engine</li>"), "what is unknown has no colour");
    assert!(!page.contains("Latency over rate"), "one rate is no curve");
}

#[test]
fn several_rates_make_a_curve() {
    let mut report = sample_report();
    for (number, part) in report.parts.iter_mut().enumerate() {
        (part.measured, part.figures.rate) = (true, Some(1_000.0 * (number + 1) as f64));
    }
    let page = page(&report, &timeline());
    assert!(page.contains("Latency over rate") && page.contains("p99.9: 3.0 at 2000"), "{page}");
}

#[test]
fn damage_is_told_in_words_and_not_by_colour_alone() {
    let mut report = sample_report();
    report.audit.lost = 1_234;
    assert!(page(&report, &timeline()).contains("<b>1,234</b><span>lost: DAMAGE</span>"));
}

#[test]
fn thousands_stand_apart() {
    assert_eq!([0.0, 999.0, 1_000.0, 1_234_567.4].map(grouped), ["0", "999", "1,000", "1,234,567"]);
}

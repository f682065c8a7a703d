//! A run as one page: figures, the four zeros, and charts drawn as SVG. The page needs nothing but
//! itself: no scripts, no fonts, no requests; it follows the reader's choice of light and dark, and
//! fits a phone.

mod chart;
mod charts;
mod scale;
#[cfg(test)]
mod tests;

use crate::{
    report::{AuditCounts, CpuEach, LifeFigures, PartFigures, Phase, Report, Setup},
    tally::Latency,
    timeline::Timeline,
};

use chart::escaped;

const STYLE: &str = include_str!("picture/page.css");
const MIB: f64 = (1_u64 << 20) as f64;

/// The page.
pub fn page(report: &Report, timeline: &Timeline) -> String {
    let Setup { scenario, deployment, units, lanes, connections, cores, sale, seed, revision, .. } = &report.setup;
    let revision = revision.as_deref().unwrap_or("unknown");
    let pace =
        report.headline.rate.map_or("closed loop".into(), |rate| format!("open loop at {} requests/s", grouped(rate)));
    let (buyers, units) = (grouped(report.headline.buyers.into()), grouped(*units as f64));
    let charts: String = charts::charts(report, timeline).iter().map(chart::Chart::figure).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Load test: {scenario}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>Load test: {scenario}</h1>\n\
         <p>{buyers} buyers, {units} units, {lanes} lane(s), {connections} connections, {pace}; {deployment} stores; \
         measured on {cores} cores.</p>\n<p class=\"soft\">Revision {}, sale {sale}, seed {seed}.</p>\n\
         {}{}<div class=\"charts\">\n{charts}</div>\n{}{}</main>\n</body>\n</html>\n",
        escaped(revision),
        headline(report),
        life(report) + &audit(report),
        cpu_table(&report.headline),
        parts_table(report),
    )
}

/// One large figure with its words; `class` colours it.
fn card(figure: &str, words: &str, class: &str) -> String {
    format!("<li class=\"{class}\"><b>{}</b><span>{}</span></li>\n", escaped(figure), escaped(words))
}

fn headline(report: &Report) -> String {
    let figures = &report.headline;
    let mut cards = String::new();
    let mut add = |value: Option<f64>, text: fn(f64) -> String, words: &str| {
        cards += &value.map_or_else(String::new, |value| card(&text(value), words, ""));
    };
    add(figures.orders_durable_per_s, grouped, "durable orders/s");
    add(figures.accepted_per_s, grouped, "accepted/s");
    add(figures.refused_per_s, grouped, "refused/s");
    let latency = figures.latency_ms.or(figures.refused_latency_ms);
    let from = if figures.rate.is_some() { "from the intended send time" } else { "closed loop" };
    add(latency.map(|l| l.p50), milliseconds, &format!("p50 latency, {from}"));
    add(latency.map(|l| l.p99), milliseconds, &format!("p99 latency, {from}"));
    let (cpu, per) = match figures.orders_durable {
        0 => (figures.cpu_us_per_request, "request"),
        _ => (figures.cpu_us_per_order, "durable order"),
    };
    add(cpu.system(), |us| format!("{us:.1} µs"), &format!("CPU per {per}, all but the generator"));
    add(report.ratio_to_evalsha, |ratio| format!("{ratio:.2}"), "accepted by raw EVALSHA calls");
    add(report.ratio_to_fixed_answer, |ratio| format!("{ratio:.2}"), "refused by fixed answers");
    add(
        report.engine_memory_bytes.map(|bytes| bytes as f64 / MIB),
        |mib| format!("{mib:.0} MiB"),
        "engine memory at the end",
    );
    add(figures.generator_share_percent, |share| format!("{share:.0} %"), "of all CPU is the generator's");
    format!("<h2>Figures</h2>\n<ul class=\"cards\">\n{cards}</ul>\n")
}

fn audit(report: &Report) -> String {
    let AuditCounts { lost, doubled, oversold, leaked, .. } = report.audit;
    let zero = |count: u64, words: &str| match count {
        0 => card("0", &format!("{words} ✓"), "good"),
        _ => card(&grouped(count as f64), &format!("{words}: DAMAGE"), "bad"),
    };
    let cards: String = [(oversold, "oversold"), (lost, "lost"), (doubled, "doubled"), (leaked, "leaked")]
        .map(|(n, w)| zero(n, w))
        .concat();
    let rest = if report.at_rest { "" } else { "<p><b>Not everything became durable in time.</b></p>\n" };
    format!(
        "<h2>Audit</h2>\n<p class=\"soft\">What buyers were answered, against stock, log and rows.</p>\n{rest}\
         <ul class=\"cards\">\n{cards}</ul>\n<h2>Over the run</h2>\n"
    )
}

/// What became of orders and money, where orders are paid.
fn life(report: &Report) -> String {
    let Some(LifeFigures { judgement: its, cpu_us_per_paid_order: cpu, phases, .. }) = &report.life else {
        return String::new();
    };
    let count = |count: u64, words: &str| card(&grouped(count as f64), words, "");
    let cents = |cents: i64, words: &str| card(&grouped(cents as f64), words, "");
    let (difference, class) = (its.money_difference, if its.money_difference == 0 { "good" } else { "bad" });
    let cards = [
        count(its.paid, "orders paid"),
        count(its.expired, "expired"),
        count(its.cancelled, "cancelled"),
        count(its.refunded, "payments refunded"),
        cents(its.money_received, "received, minor units"),
        cents(its.money_refunded, "refunded, minor units"),
        card(&difference.to_string(), "difference to the paid orders", class),
        card(&micros(cpu.system()), "µs of CPU per paid order, all but the generator", ""),
    ];
    let head: String = cpu.parts().map(|(name, _)| format!("<th>{name}</th>")).collect();
    let row = |title: &str, cpu: CpuEach| {
        let cells: String = cpu.parts().map(|(_, us)| format!("<td>{}</td>", micros(us))).collect();
        format!("<tr><td>{}</td>{cells}<td>{}</td></tr>\n", escaped(title), micros(cpu.system()))
    };
    let of_phase =
        |phase: &Phase| row(&format!("{}, {:.0} s", phase.title, phase.seconds), phase.cpu_us_per_paid_order);
    let rows: String = phases.iter().map(of_phase).collect();
    let damage: String = its.damage.iter().map(|what| format!("<p><b>DAMAGE</b> {}</p>\n", escaped(what))).collect();
    format!(
        "<h2>Orders and money</h2>\n{damage}<ul class=\"cards\">\n{}</ul>\n<div class=\"table\"><table>\n\
         <tr><th>CPU, µs per paid order</th>{head}<th>all but the generator</th></tr>\n{rows}{}</table></div>\n",
        cards.concat(),
        row("all of it", *cpu),
    )
}

fn micros(us: Option<f64>) -> String {
    us.map_or("?".into(), |us| format!("{us:.1}"))
}

fn cpu_table(figures: &PartFigures) -> String {
    let column = |cpu: CpuEach| cpu.parts().map(move |(_, us)| micros(us));
    let (orders, requests) = (column(figures.cpu_us_per_order), column(figures.cpu_us_per_request));
    let names = figures.cpu_us_per_order.parts().map(|(name, _)| name);
    let one = match figures.cpu_us_per_order.is_one_process() {
        true => {
            "<p class=\"soft\">One process: at the engine stands all of its CPU, with log, order-writer and databases.</p>\n"
        }
        false => "",
    };
    let rows: String = names
        .zip(orders.zip(requests))
        .map(|(name, (order, request))| format!("<tr><td>{name}</td><td>{order}</td><td>{request}</td></tr>\n"))
        .collect();
    let sums = [figures.cpu_us_per_order, figures.cpu_us_per_request].map(|cpu| micros(cpu.system()));
    format!(
        "<h2>CPU time</h2>\n{one}<div class=\"table\"><table>\n<tr><th>process</th><th>µs per durable order</th>\
         <th>µs per request</th></tr>\n{rows}<tr><td>all but the generator</td><td>{}</td><td>{}</td></tr>\n</table></div>\n",
        sums[0], sums[1]
    )
}

fn parts_table(report: &Report) -> String {
    let number = |value: Option<f64>| value.map_or("–".into(), grouped);
    let row = |title: &str, figures: &PartFigures| {
        let ms = |quantile: fn(&Latency) -> f64| {
            let latency = figures.latency_ms.or(figures.refused_latency_ms);
            latency.map_or("–".into(), |latency| format!("{:.1}", quantile(&latency)))
        };
        format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            escaped(title),
            figures.rate.map_or("closed".into(), grouped),
            number(figures.accepted_per_s),
            number(figures.orders_durable_per_s),
            number(figures.refused_per_s),
            ms(|l| l.p50),
            ms(|l| l.p99),
            ms(|l| l.p999),
        )
    };
    let rows: String = report.parts.iter().map(|part| row(part.title, &part.figures)).collect();
    format!(
        "<h2>Parts</h2>\n<div class=\"table\"><table>\n<tr><th>part</th><th>asked/s</th><th>accepted/s</th><th>durable/s</th>\
         <th>refused/s</th><th>p50 ms</th><th>p99 ms</th><th>p99.9 ms</th></tr>\n{rows}</table></div>\n"
    )
}

fn milliseconds(ms: f64) -> String {
    format!("{ms:.1} ms")
}

/// A whole number with its thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (number, digit) in digits.chars().enumerate() {
        if number > 0 && (digits.len() - number).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

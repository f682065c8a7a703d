//! The report as a table for people.

use std::fmt;

use super::{
    AfterSale, AuditCounts, CpuEach, LifeFigures, PartFigures, PartReport, Phase, Report, Setup, YardstickReport,
};
use crate::{fault::FaultReport, tally::Latency};

const MIB: f64 = (1_u64 << 20) as f64;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup { scenario, deployment, units, lanes, connections, threads, .. } = &self.setup;
        let buyers = self.headline.buyers;
        let pace = pace(self.headline.rate);
        writeln!(
            f,
            "{scenario} ({deployment}): {units} units, {buyers} buyers, {lanes} lane(s), {connections} connections, {pace}"
        )?;
        let revision = self.setup.revision.as_deref().unwrap_or("unknown");
        let (sale, cores, seed) = (&self.setup.sale, self.setup.cores, self.setup.seed);
        writeln!(f, "sale {sale}, seed {seed}, {cores} cores, {threads} generator thread(s), revision {revision}\n")?;
        self.write_other_parts(f)?;
        write_rates(f, &self.headline)?;
        write_fault(f, self.headline.fault.as_ref())?;
        self.write_answers(f)?;
        write_cpu(f, &self.headline)?;
        self.life.iter().try_for_each(|life| write_life(f, life))?;
        self.write_machine(f)?;
        self.write_audit(f)
    }
}

/// What happened before the headline's part.
impl Report {
    fn write_other_parts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((_, others)) = self.parts.split_last() else { return Ok(()) };
        for PartReport { title, measured, figures } in others {
            let (accepted, refused, seconds) = (figures.accepted, figures.refused, figures.durable_s);
            let durable = per_s(figures.orders_durable_per_s);
            let text = match measured {
                // Nothing was promised there.
                true if accepted == 0 => {
                    let rate = per_s(figures.refused_per_s);
                    format!("{refused} refused, {rate}; {}", latency(figures.refused_latency_ms))
                }
                _ => {
                    let kind = if *measured { latency(figures.latency_ms) } else { "not measured".into() };
                    format!("{accepted} accepted, {refused} refused, {durable} durable in {seconds:.2} s; {kind}")
                }
            };
            line(f, title, &text)?;
            write_unexpected(f, figures)?;
        }
        if let Some((last, _)) = self.parts.split_last().filter(|(_, others)| !others.is_empty()) {
            writeln!(f, "\n{}: {}", last.title, pace(last.figures.rate))?;
        }
        Ok(())
    }

    fn write_answers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PartFigures { sent, accepted, pending, refused, .. } = self.headline;
        line(f, "requests", &format!("{sent} sent: {accepted} accepted, {pending} pending, {refused} refused"))?;
        for (code, count) in &self.headline.refused_by_code {
            line(f, "", &format!("refused {code}: {count}"))?;
        }
        for (what, count) in [
            ("aborted by the client, as planned", self.headline.aborted),
            ("of them retries after the load, outcome unknown till then", self.headline.retried),
            ("not sent in time", self.headline.unsent),
        ] {
            if count > 0 {
                line(f, "", &format!("{what}: {count}"))?;
            }
        }
        write_unexpected(f, &self.headline)?;
        for (what, count) in [
            ("buyers without a known outcome", self.unknown),
            ("buyers with two orders for one key (R13)", self.changed),
            ("buyers promised an order and refused", self.promised_and_refused),
        ] {
            if count > 0 {
                line(f, "UNEXPECTED", &format!("{what}: {count}"))?;
            }
        }
        Ok(())
    }

    fn write_machine(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(now), Some(peak)) = (self.engine_memory_bytes, self.engine_memory_peak_bytes) {
            let (now, peak) = (now as f64 / MIB, peak as f64 / MIB);
            line(f, "engine memory", &format!("{now:.0} MiB at the end, {peak:.0} MiB at most"))?;
        }
        for &AfterSale { sale, stock_bytes, engine_bytes, writer_bytes } in &self.after_sales {
            let held = [("Redis", stock_bytes), ("engine", engine_bytes), ("order-writer", writer_bytes)];
            let held = held.map(|(who, bytes)| bytes.map(|bytes| format!("{who} {:.1} MiB", bytes as f64 / MIB)));
            line(f, &format!("after sale {sale}"), &held.into_iter().flatten().collect::<Vec<_>>().join(", "))?;
        }
        let baselines = &self.baselines;
        let fixed = baselines.fixed_answer_per_s;
        match baselines.evalsha_per_s {
            Some(raw) => {
                let ratio = self.ratio_to_evalsha.zip(self.ratio_to_evalsha_range);
                write_yardstick(f, "raw EVALSHA", raw, "accepted", ratio)?;
            }
            // Where nothing was to be measured nothing is missing.
            None if fixed.mean.is_some() => line(f, "raw EVALSHA", "not in this deployment")?,
            None => {}
        }
        let ratio = self.ratio_to_fixed_answer.zip(self.ratio_to_fixed_answer_range);
        write_yardstick(f, "fixed answer", fixed, "refused", ratio)?;
        baselines.troubles.iter().try_for_each(|trouble| line(f, "NOT MEASURED", trouble))
    }

    fn write_audit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AuditCounts { lost, doubled, oversold, leaked, .. } = self.audit;
        writeln!(f)?;
        line(f, "AUDIT", &format!("lost {lost}, doubled {doubled}, oversold {oversold}, leaked {leaked}"))?;
        let AuditCounts { rejected_after_accepted, over_limit, pending_without_row, refused_with_row, .. } = self.audit;
        line(f, "", &format!("rejected after accepted {rejected_after_accepted}, over limit {over_limit}"))?;
        line(f, "", &format!("pending without row {pending_without_row}, refused with row {refused_with_row}"))?;
        for (word, examples) in &self.examples {
            examples.iter().try_for_each(|example| line(f, "", &format!("{word}: {example}")))?;
        }
        if !self.at_rest {
            line(f, "NOT AT REST", "not everything became durable in time; the audit may have looked too early")?;
            self.outstanding.iter().try_for_each(|what| line(f, "", what))?;
        }
        line(f, "verdict", if self.is_clean() { "clean" } else { "DAMAGED" })
    }
}

fn write_rates(f: &mut fmt::Formatter<'_>, figures: &PartFigures) -> fmt::Result {
    let durable = per_s(figures.orders_durable_per_s);
    let (orders, expected, seconds) = (figures.orders_durable, figures.orders_expected, figures.durable_s);
    line(f, "durable orders", &format!("{durable}   {orders} of {expected} rows in {seconds:.2} s"))?;
    line(f, "accepted", &format!("{}   {}", per_s(figures.accepted_per_s), latency(figures.latency_ms)))?;
    line(f, "refused", &format!("{}   {}", per_s(figures.refused_per_s), latency(figures.refused_latency_ms)))?;
    if figures.rate.is_none() {
        line(f, "", "(closed loop: latency counts from the send, and slow answers slow the load down)")?;
    }
    Ok(())
}

fn write_fault(f: &mut fmt::Formatter<'_>, fault: Option<&FaultReport>) -> fmt::Result {
    let Some(report) = fault else { return Ok(()) };
    let FaultReport { fault, at_s, lasted_s, without_accepted_s, without_accepted_from_s, .. } = report;
    line(f, "FAULT", &format!("{fault}: at {at_s:.2} s, back after {lasted_s:.2} s"))?;
    let gap = match without_accepted_s.zip(*without_accepted_from_s) {
        Some((gap, from)) => format!("{gap:.2} s without an accepted order, from {from:.2} s on"),
        None => "no order was accepted after it".into(),
    };
    line(f, "", &gap)?;
    let rows = report.without_rows_s.map_or("no row came after it".into(), |s| format!("{s:.1} s without a new row"));
    let [before, after] =
        [report.p99_before_ms, report.p99_after_ms].map(|ms| ms.map_or("-".into(), |ms| format!("{ms:.1} ms")));
    line(f, "", &format!("{rows}; p99 before {before}, p99 after {after}"))
}

fn write_unexpected(f: &mut fmt::Formatter<'_>, figures: &PartFigures) -> fmt::Result {
    figures.unexpected.iter().try_for_each(|(what, count)| line(f, "UNEXPECTED", &format!("{what}: {count}")))
}

fn write_cpu(f: &mut fmt::Formatter<'_>, figures: &PartFigures) -> fmt::Result {
    if figures.orders_durable > 0 {
        line(f, "CPU µs/order", &each(figures.cpu_us_per_order))?;
    }
    if figures.orders_durable != figures.sent {
        line(f, "CPU µs/request", &each(figures.cpu_us_per_request))?;
    }
    if figures.cpu_us_per_order.is_one_process() {
        line(f, "", "(one process: at the engine stands all of its CPU, with log, order-writer and databases)")?;
    }
    let share = figures.generator_share_percent.map_or("?".into(), |share| format!("{share:.0}"));
    let text = format!("{} µs of CPU per request; {share} % of all CPU", us(figures.generator_us_per_request));
    line(f, "generator", &text)
}

fn write_life(f: &mut fmt::Formatter<'_>, life: &LifeFigures) -> fmt::Result {
    let LifeFigures { judgement: its, again, unexpected_steps, .. } = life;
    writeln!(f)?;
    let (paid, expired, cancelled) = (its.paid, its.expired, its.cancelled);
    line(f, "LIFE", &format!("{} orders: {paid} paid, {expired} expired, {cancelled} cancelled", life.orders))?;
    let (received, refunded) = (its.money_received, its.money_refunded);
    let difference = its.money_difference;
    line(f, "money", &format!("received {received}, refunded {refunded}, difference to the paid orders {difference}"))?;
    let late = format!("{} went back, {} found a unit still", its.late_refunded, its.late_reinstated);
    line(f, "paid too late", &late)?;
    let notices: Vec<String> = its.notices.iter().map(|(what, count)| format!("{what} {count}")).collect();
    line(f, "notices", &format!("{}; {} forged ones were sent", notices.join(", "), its.forged))?;
    line(f, "units", &format!("{} left; {} hoarders held some for a while", its.units_left, its.hoarders))?;
    line(f, "payments opened", &format!("{}; {again} requests were sent again", latency(life.pay_latency_ms)))?;
    line(f, "CPU µs/paid", &each(life.cpu_us_per_paid_order))?;
    for Phase { title, seconds, cpu_us_per_paid_order } in &life.phases {
        line(f, "", &format!("{title}, {seconds:.1} s: {}", each(*cpu_us_per_paid_order)))?;
    }
    let steps = unexpected_steps.iter().map(|(what, count)| ("UNEXPECTED", format!("{what}: {count}")));
    let damage = its.damage.iter().map(|what| ("DAMAGE", what.clone()));
    steps.chain(damage).try_for_each(|(name, what)| line(f, name, &what))
}

fn each(cpu: CpuEach) -> String {
    let parts: Vec<String> = cpu.parts().map(|(name, cpu)| format!("{name} {}", us(cpu))).collect();
    format!("{}; all but the generator {}", parts.join(", "), us(cpu.system()))
}

fn us(us: Option<f64>) -> String {
    us.map_or("?".into(), |us| format!("{us:.1}"))
}

fn write_yardstick(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    yardstick: YardstickReport,
    what: &str,
    ratio: Option<(f64, [f64; 2])>,
) -> fmt::Result {
    if yardstick.mean.is_none() {
        return Ok(());
    }
    let ratio = ratio.map_or_else(String::new, |(ratio, [low, high])| {
        format!("; {what} is {ratio:.2} of it ({low:.2} to {high:.2})")
    });
    line(f, name, &format!("{}{ratio}", sides(yardstick)))
}

fn sides(yardstick: YardstickReport) -> String {
    let [before, after, mean] = [yardstick.sides.before, yardstick.sides.after, yardstick.mean].map(per_s);
    let spread = yardstick.spread_percent.map_or("?".into(), |spread| format!("{spread:.0}"));
    format!("{mean} (before {before}, after {after}, {spread} % apart)")
}

fn pace(rate: Option<f64>) -> String {
    rate.map_or("closed loop".into(), |rate| format!("open loop at {rate:.0} requests/s"))
}

fn per_s(rate: Option<f64>) -> String {
    rate.map_or("-".into(), |rate| format!("{rate:.0}/s"))
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(f, "{name:<16}{text}")
}

fn latency(latency: Option<Latency>) -> String {
    match latency {
        Some(Latency { p50, p99, p999, max }) => {
            format!("p50 {p50:.1} ms, p99 {p99:.1} ms, p99.9 {p999:.1} ms, max {max:.1} ms")
        }
        None => "no answers".into(),
    }
}

//! What a person is told after a publication. It decides nothing.

use std::fmt::Write;

use domain::sale::{Phase, Sale};

use crate::{publish::Publication, render::moment};

/// A readable confirmation, several lines. `now_ms`: epoch milliseconds.
pub fn describe(publication: &Publication, dry_run: bool, now_ms: u64) -> String {
    let mut text = String::new();
    // Writing to a String never fails.
    let written = write_all(&mut text, publication, dry_run, now_ms);
    debug_assert!(written.is_ok());
    text
}

fn write_all(out: &mut String, publication: &Publication, dry_run: bool, now_ms: u64) -> std::fmt::Result {
    let Publication { sale, previous } = publication;
    let verb = match (publication.is_repeat(), dry_run) {
        (true, _) => "already published, nothing to do:",
        (false, true) => "not published (dry run):",
        (false, false) => "published",
    };
    writeln!(out, "{verb} sale {} version {}, {:?}, tenant {}", sale.id, sale.version, sale.title, sale.tenant)?;
    let (opens, closes) = (moment(sale.window.opens_at_ms), moment(sale.window.closes_at_ms));
    writeln!(out, "  window {opens} to {closes}: {}", window(sale, now_ms))?;
    if sale.phase(now_ms) == Phase::Ended {
        writeln!(out, "  warning: the window is over, so nobody can buy; check opens_at and closes_at")?;
    }
    for lane in &sale.lanes {
        writeln!(out, "  lane {} on partition {}, limit per buyer {}", lane.id, lane.partition, lane.limit_per_buyer)?;
        for offer in &lane.offers {
            let (id, sku, units, price) = (offer.id, offer.sku, offer.allotment, offer.price);
            writeln!(out, "    offer {id} sku {sku}: {units} units at {price}")?;
        }
    }
    previous.iter().try_for_each(|previous| write_allotments(out, previous, sale))
}

/// Units are not set by a publication but moved, and a reduction may wait for units to come back:
/// that is worth a word.
fn write_allotments(out: &mut String, previous: &Sale, sale: &Sale) -> std::fmt::Result {
    for (_, offer) in sale.offers() {
        let known = previous.offers().map(|(_, known)| known).find(|known| known.id == offer.id);
        let Some(known) = known.filter(|known| known.allotment != offer.allotment) else { continue };
        write!(
            out,
            "  offer {}: allotment {} -> {}; the keeper applies the difference",
            offer.id, known.allotment, offer.allotment
        )?;
        let reduced = offer.allotment < known.allotment;
        out.write_str(if reduced {
            ", at once where units are free, else as they come back (R9)\n"
        } else {
            " (R9)\n"
        })?;
    }
    Ok(())
}

/// Where `now_ms`, in epoch milliseconds, lies in the sale's window, such as `opens in 2 h, for 1
/// day`.
pub fn window(sale: &Sale, now_ms: u64) -> String {
    let until = |moment_ms: u64| span(moment_ms.abs_diff(now_ms));
    let (opens, closes) = (sale.window.opens_at_ms, sale.window.closes_at_ms);
    let paused = if sale.paused { "paused, " } else { "" };
    match sale.phase(now_ms) {
        Phase::NotStarted => format!("{paused}opens in {}, for {}", until(opens), span(closes.abs_diff(opens))),
        Phase::Open | Phase::Paused => format!("{paused}opened {} ago, closes in {}", until(opens), until(closes)),
        Phase::Ended => format!("ended {} ago", until(closes)),
    }
}

/// A length of time in the two units that matter, such as `2 h` or `1 h 30 min`; the rest is
/// dropped.
fn span(ms: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("days", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let seconds = ms / 1_000;
    let Some(first) = UNITS.iter().position(|(_, length)| seconds >= *length) else { return "less than 1 s".into() };
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (name, length) in UNITS.iter().skip(first).take(2) {
        let amount = rest / length;
        rest %= length;
        if amount > 0 {
            let name = if *name == "days" && amount == 1 { "day" } else { name };
            parts.push(format!("{amount} {name}"));
        }
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use domain::sale::Window;

    use super::*;
    use crate::{EXAMPLE, file::parse, publish::plan};

    #[test]
    fn spans_are_told_in_the_units_that_matter() {
        let told =
            [0, 999, 1_000, 90_000, 7_200_000, 7_259_000, 5_400_000, 86_400_000, 2 * 86_400_000 + 3_600_000].map(span);
        let expected =
            ["less than 1 s", "less than 1 s", "1 s", "1 min 30 s", "2 h", "2 h", "1 h 30 min", "1 day", "2 days 1 h"];
        assert_eq!(told, expected);
    }

    const EXPECTED: &str = "\
published sale 1001 version 2, \"Winter sale, day one\", tenant 7
  window 2026-11-21T04:00:00Z to 2026-11-22T04:00:00Z: opens in 2 h, for 1 day
  lane 5001 on partition 0, limit per buyer 1
    offer 9001 sku 77: 90000 units at 199.00 CNY
    offer 9002 sku 78: 60000 units at 199.00 CNY
  offer 9001: allotment 100000 -> 90000; the keeper applies the difference, at once where units are free, else as they come back (R9)
  offer 9002: allotment 50000 -> 60000; the keeper applies the difference (R9)
";

    #[test]
    fn a_publication_is_told_with_what_it_changes() {
        let draft = parse(EXAMPLE).unwrap();
        let before = plan(&draft, &[], 4, 0).unwrap();
        let mut sale = Sale { version: 2, ..before.clone() };
        sale.lanes[0].offers[0].allotment = 90_000;
        sale.lanes[0].offers[1].allotment = 60_000;
        let (opens_at_ms, closes_at_ms) = (sale.window.opens_at_ms, sale.window.closes_at_ms);
        let publication = Publication { sale, previous: Some(before.clone()) };
        assert_eq!(describe(&publication, false, opens_at_ms - 7_200_000), EXPECTED);
        let dry = describe(&publication, true, opens_at_ms + 60_000);
        assert!(dry.starts_with("not published (dry run): sale 1001 version 2"), "{dry}");
        assert!(dry.contains("opened 1 min ago, closes in 23 h 59 min"), "{dry}");
        let again = Publication { sale: before.clone(), previous: Some(before) };
        let again = describe(&again, false, closes_at_ms + 1_000);
        assert!(again.starts_with("already published, nothing to do: sale 1001 version 1"), "{again}");
        assert!(again.contains("ended 1 s ago"), "{again}");
    }

    /// A window that lies wholly in the past is a mistake more often than not: whoever publishes it
    /// is warned.
    #[test]
    fn a_window_that_is_over_is_warned_of() {
        let sale = plan(&parse(EXAMPLE).unwrap(), &[], 4, 0).unwrap();
        let Window { opens_at_ms, closes_at_ms } = sale.window;
        let publication = Publication { sale, previous: None };
        let warns = |now_ms| describe(&publication, false, now_ms).contains("  warning: the window is over, so nobody");
        assert_eq!([opens_at_ms - 1, closes_at_ms - 1, closes_at_ms].map(warns), [false, false, true]);
    }
}

//! A simulation as bars: what all of it costs today and then, and the people whose share is
//! greatest.

use super::Outcome;

const WIDTH: i64 = 720;
/// Where bars begin, and how long the longest one is.
const LEFT: i64 = 220;
const BAR: i64 = 340;
const ROW: i64 = 46;
/// People shown.
const PEOPLE: usize = 10;
const TODAY: &str = "#9aa5b1";
const THEN: &str = "#1f6feb";

/// An SVG document; `plan` names the simulated plan.
pub(crate) fn picture(outcome: &Outcome, plan: &str) -> String {
    let mut people: Vec<_> = outcome.people.iter().collect();
    people.sort_by_key(|(person, share)| (share.then.max(share.today).saturating_neg(), **person));
    people.truncate(PEOPLE);
    let rows = i64::try_from(people.len()).unwrap_or(0);
    let height = 90 + ROW * (1 + rows) + if rows > 0 { 40 } else { 0 };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\"><rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\
         <text x=\"16\" y=\"28\" font-size=\"16\">{} on {} past orders</text>",
        escaped(plan),
        outcome.lines
    );
    for (x, color, text) in [(16, TODAY, "today's plan"), (150, THEN, "this plan")] {
        svg.push_str(&format!(
            "<rect x=\"{x}\" y=\"42\" width=\"12\" height=\"12\" fill=\"{color}\"/>\
             <text x=\"{}\" y=\"53\">{text}</text>",
            x + 18
        ));
    }
    bars(
        &mut svg,
        72,
        "all commissions",
        (outcome.today.cost, outcome.then.cost),
        outcome.today.cost.max(outcome.then.cost),
    );
    if !people.is_empty() {
        svg.push_str(&format!("<text x=\"16\" y=\"{}\" font-size=\"14\">who gets most</text>", 72 + ROW + 24));
    }
    let most = people.iter().map(|(_, share)| share.then.max(share.today)).max().unwrap_or(0);
    for (row, (person, share)) in (0_i64..).zip(people) {
        bars(&mut svg, 72 + ROW + 40 + row * ROW, &format!("person {person}"), (share.today, share.then), most);
    }
    svg + "</svg>\n"
}

fn bars(svg: &mut String, y: i64, name: &str, (today, then): (i64, i64), most: i64) {
    svg.push_str(&format!("<text x=\"16\" y=\"{}\">{name}</text>", y + 21));
    for (y, amount, color) in [(y, today, TODAY), (y + 17, then, THEN)] {
        let wide = i128::from(amount.max(0)) * i128::from(BAR) / i128::from(most.max(1));
        svg.push_str(&format!(
            "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{wide}\" height=\"14\" fill=\"{color}\"/>\
             <text x=\"{}\" y=\"{}\">{}</text>",
            i128::from(LEFT) + wide + 6,
            y + 12,
            units(amount)
        ));
    }
}

/// Minor units as units with two digits: what the currencies of these shops have.
fn units(amount: i64) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", amount.unsigned_abs() / 100, amount.unsigned_abs() % 100)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

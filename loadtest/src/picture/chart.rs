//! A chart as SVG: axes, lines or stacked areas, marks. Colours are the page's: here they have
//! numbers. What differs from chart to chart is data.

use super::scale::Scale;

/// Size of the drawing. Narrow, so that its letters stay readable on a phone.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 260.0;
/// The plot in it.
const LEFT: f64 = 48.0;
const RIGHT: f64 = WIDTH - 28.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = HEIGHT - 42.0;

/// One axis.
pub(super) struct Axis {
    /// What it measures, with its unit.
    pub(super) label: String,
    /// Where values go.
    pub(super) scale: Scale,
}

/// Points with rising x.
pub(super) type Points = Vec<(f64, f64)>;

/// What is drawn under one name.
pub(super) struct Series {
    /// As the legend calls it.
    pub(super) name: &'static str,
    /// Number of its colour, from 1.
    pub(super) colour: usize,
    /// Pieces with gaps between them.
    pub(super) pieces: Vec<Points>,
}

/// How series are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A line each.
    Lines,
    /// A line each, with a dot and its value at each point.
    Dotted,
    /// Areas upon each other. All series have the same pieces and the same x.
    Stacked,
}

/// A chart.
pub(super) struct Chart {
    /// Of letters and digits; no other chart of the page has it.
    pub(super) id: &'static str,
    /// Above it.
    pub(super) title: String,
    /// What it shows in words, for those who cannot see it.
    pub(super) summary: String,
    /// To the right.
    pub(super) x: Axis,
    /// Upwards.
    pub(super) y: Axis,
    /// How series are drawn.
    pub(super) kind: Kind,
    /// From the first of the legend to the last.
    pub(super) series: Vec<Series>,
    /// Lines upwards at an x, with a word.
    pub(super) marks: Vec<(f64, String)>,
}

impl Chart {
    /// As a figure of a page.
    pub(super) fn figure(&self) -> String {
        let mut page = format!("<figure><figcaption>{}</figcaption>", escaped(&self.title));
        self.legend(&mut page);
        let (id, title, summary) = (self.id, escaped(&self.title), escaped(&self.summary));
        page.push_str(&format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{summary}</desc>"
        ));
        self.axes(&mut page);
        match self.kind {
            Kind::Stacked => self.areas(&mut page),
            Kind::Lines | Kind::Dotted => self.lines(&mut page),
        }
        self.marks(&mut page);
        page += "</svg></figure>\n";
        page
    }

    fn legend(&self, page: &mut String) {
        if self.series.len() < 2 {
            return;
        }
        *page += "<ul class=\"legend\">";
        for Series { name, colour, .. } in &self.series {
            page.push_str(&format!("<li><i class=\"b{colour}\"></i>{}</li>", escaped(name)));
        }
        *page += "</ul>";
    }

    fn axes(&self, page: &mut String) {
        for (value, text) in self.y.scale.ticks() {
            let y = self.y_of(value);
            page.push_str(&format!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>"));
            page.push_str(&format!(
                "<text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
                LEFT - 6.0,
                y + 4.5
            ));
        }
        for (value, text) in self.x.scale.ticks() {
            let x = self.x_of(value);
            page.push_str(&format!("<path class=\"axis\" d=\"M{x:.1} {BOTTOM}v4\"/>"));
            page.push_str(&format!("<text class=\"tick mid\" x=\"{x:.1}\" y=\"{:.1}\">{text}</text>", BOTTOM + 18.0));
        }
        page.push_str(&format!("<path class=\"axis\" d=\"M{LEFT} {BOTTOM}H{RIGHT}\"/>"));
        let (x, y) = (escaped(&self.x.label), escaped(&self.y.label));
        page.push_str(&format!("<text class=\"label\" x=\"4\" y=\"12\">{y}</text>"));
        page.push_str(&format!("<text class=\"label end\" x=\"{RIGHT}\" y=\"{:.1}\">{x}</text>", HEIGHT - 6.0));
    }

    fn lines(&self, page: &mut String) {
        for Series { name, colour, pieces } in &self.series {
            let mut path = String::new();
            for piece in pieces {
                self.trace(&mut path, 'M', piece.iter().copied());
            }
            page.push_str(&format!("<path class=\"line s{colour}\" d=\"{path}\"/>"));
            if self.kind == Kind::Dotted {
                for &(x, y) in pieces.iter().flatten() {
                    let (cx, cy) = (self.x_of(x), self.y_of(y));
                    let title = format!("{}: {y:.1} at {x:.0}", escaped(name));
                    page.push_str(&format!("<circle class=\"dot b{colour}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"4\"><title>{title}</title></circle>"));
                }
            }
        }
    }

    fn areas(&self, page: &mut String) {
        let Some(first) = self.series.first() else { return };
        // The upper edge of what is drawn already, piece by piece.
        let mut floor: Vec<Points> =
            first.pieces.iter().map(|piece| piece.iter().map(|&(x, _)| (x, 0.0)).collect()).collect();
        for Series { name, colour, pieces } in &self.series {
            let mut path = String::new();
            for (piece, floor) in pieces.iter().zip(&mut floor) {
                let top: Points = piece.iter().zip(floor.iter()).map(|(&(x, y), &(_, base))| (x, base + y)).collect();
                self.trace(&mut path, 'M', top.iter().copied());
                self.trace(&mut path, 'L', floor.iter().rev().copied());
                path += "Z";
                *floor = top;
            }
            let name = escaped(name);
            page.push_str(&format!("<path class=\"area b{colour}\" d=\"{path}\"><title>{name}</title></path>"));
        }
    }

    /// Adds points to a path, the first by the letter `begin`.
    fn trace(&self, path: &mut String, begin: char, points: impl Iterator<Item = (f64, f64)>) {
        for (number, (x, y)) in points.enumerate() {
            let letter = if number == 0 { begin } else { 'L' };
            path.push_str(&format!("{letter}{:.1} {:.1}", self.x_of(x), self.y_of(y)));
        }
    }

    fn marks(&self, page: &mut String) {
        for (x, text) in &self.marks {
            let x = self.x_of(*x);
            page.push_str(&format!("<path class=\"mark\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>"));
            // Near the right edge the word stands to the left of its line.
            let (at, side) = if x > (LEFT + RIGHT) / 2.0 { (x - 4.0, "tick end") } else { (x + 4.0, "tick") };
            let text = escaped(text);
            page.push_str(&format!("<text class=\"{side}\" x=\"{at:.1}\" y=\"{:.1}\">{text}</text>", TOP - 4.0));
        }
    }

    fn x_of(&self, value: f64) -> f64 {
        LEFT + self.x.scale.place(value) * (RIGHT - LEFT)
    }

    fn y_of(&self, value: f64) -> f64 {
        BOTTOM - self.y.scale.place(value) * (BOTTOM - TOP)
    }
}

/// Text that stands between or in tags.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(kind: Kind) -> String {
        let axis = |label: &str, max| Axis { label: label.into(), scale: Scale::linear(max) };
        let series = |name, colour, height| Series {
            name,
            colour,
            pieces: vec![vec![(0.0, height), (1.0, height)], vec![(2.0, height), (3.0, height)]],
        };
        let chart = Chart {
            id: "c",
            title: "This & that".into(),
            summary: "Two of <them>.".into(),
            x: axis("seconds", 4.0),
            y: axis("orders/s", 10.0),
            kind,
            series: vec![series("one", 1, 2.0), series("other", 2, 5.0)],
            marks: vec![(2.0, "load".into())],
        };
        chart.figure()
    }

    #[test]
    fn a_chart_has_its_words_for_eyes_and_ears() {
        let figure = chart(Kind::Lines);
        for needed in [
            "<title id=\"c-t\">This &amp; that</title>",
            "<desc id=\"c-d\">Two of &lt;them&gt;.</desc>",
            "role=\"img\"",
            ">seconds</text>",
            ">orders/s</text>",
            ">load</text>",
            "<i class=\"b2\"></i>other",
        ] {
            assert!(figure.contains(needed), "{needed}: {figure}");
        }
        assert!(!figure.contains("NaN") && !figure.contains("inf"), "{figure}");
    }

    #[test]
    fn pieces_of_a_line_have_a_gap_between_them() {
        let figure = chart(Kind::Lines);
        let line = figure.split("<path class=\"line s1\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(line.matches('M').count(), 2, "{line}");
        assert!(line.starts_with("M48.0 "), "x = 0 is at the left edge: {line}");
    }

    #[test]
    fn areas_stand_upon_each_other() {
        let figure = chart(Kind::Stacked);
        let area = |n: &str| {
            let path = figure.split(&format!("<path class=\"area b{n}\" d=\"")).nth(1).unwrap();
            path.split('"').next().unwrap().to_owned()
        };
        // 2 and 2 + 5 of 10, from 34 to 218.
        assert!(area("1").starts_with("M48.0 181.2"), "{}", area("1"));
        assert!(area("2").starts_with("M48.0 89.2") && area("2").contains("181.2"), "{}", area("2"));
    }

    #[test]
    fn dots_carry_their_values() {
        assert!(chart(Kind::Dotted).contains("<title>other: 5.0 at 3</title>"));
    }
}

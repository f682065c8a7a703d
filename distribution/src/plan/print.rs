//! The text form of a plan: what `text` reads. Printed text parses to the same plan.

use std::fmt::{self, Display, Formatter};

use super::{Agg, Cond, Limit, Measure, ONE, Operator, Over, Per, Plan, Rate, Rule, Settle, Step, Test, Value, Walk};

/// Minor units as a decimal with two places.
pub(super) struct Amount(pub(super) i64);

/// Parts per million as percent.
pub(super) struct Percent(pub(super) i64);

impl Display for Amount {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = self.0.unsigned_abs();
        write!(f, "{}{}.{:02}", if self.0 < 0 { "-" } else { "" }, digits / 100, digits % 100)
    }
}

impl Display for Percent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (part, of) = (self.0.unsigned_abs() * 100, ONE.unsigned_abs());
        let rest = format!("{:06}", part % of);
        let rest = rest.trim_end_matches('0');
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}{}{rest}%", part / of, if rest.is_empty() { "" } else { "." })
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ppm(ppm) => Percent(ppm).fmt(f),
            Self::Each(amount) => write!(f, "{} each", Amount(amount)),
            Self::Fixed(amount) => Amount(amount).fmt(f),
        }
    }
}

impl Display for Agg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}, ", self.fold.word(), self.measure.word())?;
        match self.over {
            Over::Own => f.write_str("self")?,
            Over::Direct => f.write_str("direct")?,
            Over::Leg => f.write_str("leg")?,
            Over::Subtree(depth) => write!(f, "subtree {depth}")?,
        }
        write!(f, ", {})", self.window.word())
    }
}

/// A threshold in the unit of its aggregate.
pub(super) fn threshold(agg: &Agg, value: i64) -> String {
    if agg.measure == Measure::Sales { Amount(value).to_string() } else { value.to_string() }
}

impl Display for Cond {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.not {
            f.write_str("not ")?;
        }
        match &self.test {
            Test::Flag(name) => f.write_str(name),
            Test::Rank(name) => write!(f, "rank >= {name}"),
            Test::Joined(days) => write!(f, "joined < {days}d"),
            Test::Bound(days) => write!(f, "bound < {days}d"),
            Test::AtLeast(test) => write!(f, "{} >= {}", test.agg, threshold(&test.agg, test.value)),
            Test::Tag(name) => write!(f, "tag({name})"),
            Test::Net(amount) => write!(f, "net >= {}", Amount(*amount)),
        }
    }
}

fn join<T: Display>(items: &[T], between: &str) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}

fn values(values: &[Value]) -> String {
    match values {
        [one] => one.to_string(),
        more => format!("[{}]", join(more, ", ")),
    }
}

impl Display for Rate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slots(slots) => f.write_str(&values(slots)),
            Self::Ranks(ranks) => {
                let each: Vec<_> = ranks.iter().map(|r| format!("{}: {}", r.rank, values(&r.values))).collect();
                write!(f, "{{{}}}", each.join(", "))
            }
            Self::Tier(tier) => {
                let steps: Vec<_> = tier
                    .steps
                    .iter()
                    .map(|step| format!("{} → {}", threshold(&tier.by, step.from), Percent(step.ppm)))
                    .collect();
                let kind = if tier.marginal { "marginal" } else { "slab" };
                write!(f, "tier({}, [{}], {kind})", tier.by, steps.join(", "))
            }
            Self::Split(split) => {
                write!(f, "split({}, [{}])", Percent(split.ppm), join(&split.weights, ", "))
            }
            Self::When(when) => write!(f, "when({}, {}, {})", join(&when.test, " & "), when.then, when.or),
            Self::Gap(_) => f.write_str("gap"),
        }
    }
}

impl Display for Walk {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "walk({}", self.relation.word())?;
        if self.own {
            f.write_str(", self")?;
        }
        if let Some(rule) = &self.of {
            write!(f, ", of {rule}")?;
        }
        if !self.filter.is_empty() {
            write!(f, ", filter {}", join(&self.filter, " & "))?;
        }
        if !self.count_if.is_empty() {
            write!(f, ", count_if {}", join(&self.count_if, " & "))?;
        }
        if self.step != Step::Strict {
            write!(f, ", {}", self.step.word())?;
        }
        write!(f, ", slots {}", self.slots)?;
        if let Some(depth) = self.depth {
            write!(f, ", depth {depth}")?;
        }
        if self.difference {
            f.write_str(", difference")?;
        }
        if let Some(peer) = self.peer {
            write!(f, ", peer {} {}", Percent(peer.ppm), peer.count)?;
        }
        write!(f, ", rate {})", self.rate)
    }
}

impl Display for Operator {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let cap = |cap: Option<i64>| cap.map(|cap| format!(", cap {}", Amount(cap))).unwrap_or_default();
        match self {
            Self::Walk(walk) => walk.fmt(f),
            Self::Pool(pool) => {
                write!(f, "pool({}, members {}, {}", pool.source, pool.members, pool.share.word())?;
                write!(f, ", weight {}", pool.weight.word())?;
                if !pool.table.is_empty() {
                    write!(f, " [{}]", join(&pool.table, ", "))?;
                }
                write!(f, "{})", cap(pool.cap))
            }
            Self::Place(place) => write!(
                f,
                "place(width {}, depth {}, fee {}, pay {}, {})",
                place.width,
                place.depth,
                Amount(place.fee),
                Amount(place.pay),
                place.on_full.word()
            ),
            Self::Match(legs) => write!(
                f,
                "match(rate {}, ratio {}, depth {}{}, {})",
                Percent(legs.ppm),
                legs.ratio,
                legs.depth,
                cap(legs.cap),
                legs.rest.word()
            ),
            Self::Queue(queue) => {
                write!(f, "queue(fund {}, target {})", Percent(queue.fund), Amount(queue.target))
            }
        }
    }
}

impl Display for Limit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "limit {} per {}", self.amount, self.per.word())?;
        if let (true, Some(window)) = (self.per != Per::Line, self.window) {
            write!(f, " {}", window.word())?;
        }
        write!(f, " {}", self.overflow.word())
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}: on {} ", self.name, self.on.word())?;
        if !self.when.is_empty() {
            write!(f, "if {} ", join(&self.when, " & "))?;
        }
        self.pay.fmt(f)?;
        if let Some(currency) = self.currency {
            write!(f, " pays {}", currency.word())?;
        }
        self.limit.map_or(Ok(()), |limit| write!(f, " {limit}"))
    }
}

impl Display for Settle {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "settle {} after receipt+{}d", self.currency.word(), self.days)?;
        write!(f, ", channel {}", self.channel.word())?;
        if let Some(vest) = self.vest {
            write!(f, ", vest {}", Percent(vest))?;
        }
        write!(f, ", clawback {}", if self.clawback { "full" } else { "none" })
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "plan \"{}\" v{} profile {}", self.name, self.version, self.profile)?;
        write!(f, " budget {}", Percent(self.budget))?;
        if let Some(margin) = self.margin {
            write!(f, " margin {}", Percent(margin))?;
        }
        if let Some(floor) = self.floor {
            write!(f, " floor {}", Amount(floor))?;
        }
        if let Some(from) = self.from {
            write!(f, " from {from}")?;
        }
        f.write_str(" {\n")?;
        if !self.ranks.is_empty() {
            writeln!(f, "  ranks {}", self.ranks.join(" < "))?;
        }
        f.write_str("  base net_paid")?;
        for (i, tag) in self.without.iter().enumerate() {
            write!(f, " {} not tag({tag})", if i == 0 { "where" } else { "&" })?;
        }
        f.write_str("\n")?;
        for rule in &self.rules {
            writeln!(f, "  {rule}")?;
        }
        if let Some(limit) = self.limit {
            writeln!(f, "  {limit}")?;
        }
        write!(f, "  {}\n}}\n", self.settle)
    }
}

//! Reads the text form of a plan. It goes on after a flaw with the next line that begins a part, so
//! that all flaws are reported at once.

mod operator;
mod token;

use std::fmt;

use self::token::{Token, What, tokens};
use super::{
    Agg, AtLeast, Channel, Cond, Currency, Fold, Limit, Measure, On, Over, Overflow, Per, Plan, Rule, Settle, Test,
    Value, Window,
};

/// Longest text that is read, bytes.
const TEXT_MAX: usize = 64 * 1024;

/// What is wrong in a text, where, and what to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// A sentence.
    pub what: String,
}

/// All flaws of a text, in its order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Flaws(pub Vec<Flaw>);

impl fmt::Display for Flaws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, flaw) in self.0.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{}:{}: {}", flaw.line, flaw.column, flaw.what)?;
        }
        Ok(())
    }
}

type Read<T> = Result<T, Flaw>;

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

/// Reads a plan.
///
/// # Errors
/// All flaws, each with its place.
pub fn parse(text: &str) -> Result<Plan, Flaws> {
    if text.len() > TEXT_MAX {
        let what = format!("a plan has at most {TEXT_MAX} bytes: split it");
        return Err(Flaws(vec![Flaw { line: 1, column: 1, what }]));
    }
    let tokens = tokens(text).map_err(|flaw| Flaws(vec![flaw]))?;
    let mut parser = Parser { tokens, at: 0 };
    let mut flaws = Vec::new();
    let mut plan = match parser.head() {
        Ok(plan) => plan,
        Err(flaw) => {
            flaws.push(flaw);
            parser.next_part();
            empty()
        }
    };
    let mut settled = false;
    while !parser.ended() {
        if let Err(flaw) = parser.part(&mut plan, &mut settled) {
            flaws.push(flaw);
            parser.next_part();
        }
    }
    if !settled && flaws.is_empty() {
        flaws.push(parser.flaw("the plan does not say when it pays: add a line such as `settle cash after receipt+7d, channel transfer, clawback full`"));
    }
    if flaws.is_empty() { Ok(plan) } else { Err(Flaws(flaws)) }
}

fn empty() -> Plan {
    Plan {
        name: String::new(),
        version: 0,
        profile: String::new(),
        budget: 0,
        margin: None,
        floor: None,
        from: None,
        ranks: Vec::new(),
        without: std::collections::BTreeSet::new(),
        rules: Vec::new(),
        limit: None,
        settle: Settle { currency: Currency::Cash, days: 0, channel: Channel::Transfer, vest: None, clawback: true },
    }
}

impl Parser {
    fn flaw(&self, what: impl Into<String>) -> Flaw {
        let place = self.tokens.get(self.at).or(self.tokens.last());
        let (line, column) = place.map_or((1, 1), |token| (token.line, token.column));
        Flaw { line, column, what: what.into() }
    }

    fn ended(&mut self) -> bool {
        let closed = self.is("}") && self.at + 1 == self.tokens.len();
        closed || self.at >= self.tokens.len()
    }

    fn next_part(&mut self) {
        self.at += 1;
        while let Some(token) = self.tokens.get(self.at) {
            let begins = ["rule", "settle", "ranks", "base", "limit"].contains(&token.text.as_str());
            if token.first && (begins || token.text == "}") {
                return;
            }
            self.at += 1;
        }
    }

    fn is(&self, text: &str) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.what != What::Quoted && token.text == text)
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.is(text);
        self.at += usize::from(found);
        found
    }

    fn want(&mut self, text: &str) -> Read<()> {
        if self.take(text) { Ok(()) } else { Err(self.flaw(format!("write `{text}` here"))) }
    }

    fn of(&mut self, what: What, wanted: &str) -> Read<String> {
        match self.tokens.get(self.at) {
            Some(token) if token.what == what => {
                self.at += 1;
                Ok(self.tokens[self.at - 1].text.clone())
            }
            _ => Err(self.flaw(format!("write {wanted} here"))),
        }
    }

    fn word(&mut self, wanted: &str) -> Read<String> {
        self.of(What::Word, wanted)
    }

    fn pick<T: Copy>(&mut self, all: &[(&str, T)]) -> Read<T> {
        if let Some((_, value)) = all.iter().find(|(word, _)| self.is(word)) {
            self.at += 1;
            return Ok(*value);
        }
        let words: Vec<_> = all.iter().map(|(word, _)| *word).collect();
        Err(self.flaw(format!("write one of {} here", words.join(", "))))
    }

    fn integer<T: TryFrom<i64>>(&mut self) -> Read<T> {
        let text = self.of(What::Number, "a whole number")?;
        let value = text.parse::<i64>().ok().and_then(|value| T::try_from(value).ok());
        value.ok_or_else(|| {
            self.at -= 1;
            self.flaw("write a whole number without a point, within its range")
        })
    }

    /// A decimal with at most `places` places, times 10^places.
    fn scaled(&mut self, places: usize, wanted: &str) -> Read<i64> {
        let text = self.of(What::Number, wanted)?;
        let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
        let value = if part.len() > places { None } else { format!("{whole}{part:0<places$}").parse::<i64>().ok() };
        value.filter(|value| *value <= domain::money::AMOUNT_MAX).ok_or_else(|| {
            self.at -= 1;
            self.flaw(format!("write at most {places} places after the point, and no more than 2^53 units"))
        })
    }

    fn money(&mut self) -> Read<i64> {
        self.scaled(2, "an amount such as 6.00")
    }

    fn percent(&mut self) -> Read<i64> {
        let ppm = self.scaled(4, "a rate such as 10%")?;
        self.want("%")?;
        Ok(ppm)
    }

    fn value(&mut self) -> Read<Value> {
        if self.tokens.get(self.at + 1).is_some_and(|token| token.text == "%") {
            return self.percent().map(Value::Ppm);
        }
        let amount = self.money()?;
        Ok(if self.take("each") { Value::Each(amount) } else { Value::Fixed(amount) })
    }

    fn list<T>(&mut self, end: &str, mut one: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let mut all = vec![one(self)?];
        while self.take(",") {
            all.push(one(self)?);
        }
        self.want(end)?;
        Ok(all)
    }

    fn values(&mut self) -> Read<Vec<Value>> {
        if self.take("[") { self.list("]", Self::value) } else { Ok(vec![self.value()?]) }
    }

    fn head(&mut self) -> Read<Plan> {
        let mut plan = empty();
        self.want("plan")?;
        plan.name = self.of(What::Quoted, "the plan's name in quotes")?;
        let version = self.word("the version, such as v1")?;
        plan.version = version.strip_prefix('v').and_then(|v| v.parse().ok()).ok_or_else(|| {
            self.at -= 1;
            self.flaw("write the version as v and a number, such as v1")
        })?;
        self.want("profile")?;
        plan.profile = self.word("a profile, such as CN-1")?;
        self.want("budget")?;
        plan.budget = self.percent()?;
        if self.take("margin") {
            plan.margin = Some(self.percent()?);
        }
        if self.take("floor") {
            plan.floor = Some(self.money()?);
        }
        if self.take("from") {
            plan.from = Some(self.integer()?);
        }
        self.want("{")?;
        Ok(plan)
    }

    fn part(&mut self, plan: &mut Plan, settled: &mut bool) -> Read<()> {
        if self.take("ranks") {
            plan.ranks = vec![self.word("a rank")?];
            while self.take("<") {
                plan.ranks.push(self.word("a rank")?);
            }
        } else if self.take("base") {
            self.want("net_paid")?;
            let mut more = self.take("where");
            while more {
                self.want("not")?;
                self.want("tag")?;
                self.want("(")?;
                plan.without.insert(self.word("a tag")?);
                self.want(")")?;
                more = self.take("&");
            }
        } else if self.take("rule") {
            let rule = self.rule()?;
            plan.rules.push(rule);
        } else if self.take("limit") {
            plan.limit = Some(self.limit()?);
        } else if self.take("settle") {
            plan.settle = self.settle()?;
            *settled = true;
        } else {
            return Err(self.flaw("a part begins with ranks, base, rule, limit or settle; the plan ends with }"));
        }
        self.take(";");
        Ok(())
    }

    fn rule(&mut self) -> Read<Rule> {
        let name = self.word("the rule's name")?;
        self.want(":")?;
        self.want("on")?;
        let on = self.pick(On::ALL)?;
        let when = if self.take("if") { self.conds()? } else { Vec::new() };
        let pay = self.operator()?;
        let currency = if self.take("pays") { Some(self.pick(Currency::ALL)?) } else { None };
        let here = self.tokens.get(self.at).is_some_and(|token| !token.first);
        let limit = if here && self.take("limit") { Some(self.limit()?) } else { None };
        Ok(Rule { name, on, when, pay, currency, limit })
    }

    fn named(&mut self, name: &str) -> Read<()> {
        self.want(",")?;
        self.want(name)
    }

    fn agg(&mut self) -> Read<Agg> {
        let fold = self.pick(Fold::ALL)?;
        self.want("(")?;
        let measure = self.pick(Measure::ALL)?;
        self.want(",")?;
        let over = if self.take("subtree") {
            Over::Subtree(self.integer()?)
        } else {
            self.pick(&[("self", Over::Own), ("direct", Over::Direct), ("leg", Over::Leg)])?
        };
        self.want(",")?;
        let window = self.pick(Window::ALL)?;
        self.want(")")?;
        Ok(Agg { fold, measure, over, window })
    }

    fn threshold(&mut self, agg: &Agg) -> Read<i64> {
        if agg.measure == Measure::Sales { self.money() } else { self.integer() }
    }

    fn conds(&mut self) -> Read<Vec<Cond>> {
        let mut all = vec![self.cond()?];
        while self.take("&") {
            all.push(self.cond()?);
        }
        Ok(all)
    }

    fn cond(&mut self) -> Read<Cond> {
        let not = self.take("not");
        let test = if self.take("rank") {
            self.want(">=")?;
            Test::Rank(self.word("a rank")?)
        } else if self.take("net") {
            self.want(">=")?;
            Test::Net(self.money()?)
        } else if self.take("joined") {
            Test::Joined(self.days()?)
        } else if self.take("bound") {
            Test::Bound(self.days()?)
        } else if self.take("tag") {
            self.want("(")?;
            let tag = self.word("a tag")?;
            self.want(")")?;
            Test::Tag(tag)
        } else if Fold::ALL.iter().any(|(word, _)| self.is(word)) {
            let agg = self.agg()?;
            self.want(">=")?;
            Test::AtLeast(AtLeast { agg, value: self.threshold(&agg)? })
        } else {
            Test::Flag(self.word("a condition, such as `distributor` or `rank >= gold`")?)
        };
        Ok(Cond { not, test })
    }

    fn days(&mut self) -> Read<i64> {
        self.want("<")?;
        let days = self.integer()?;
        self.want("d")?;
        Ok(days)
    }

    fn limit(&mut self) -> Read<Limit> {
        let amount = self.value()?;
        self.want("per")?;
        let per = self.pick(Per::ALL)?;
        let window = if per == Per::Line { None } else { Some(self.pick(Window::ALL)?) };
        Ok(Limit { amount, per, window, overflow: self.pick(Overflow::ALL)? })
    }

    fn settle(&mut self) -> Read<Settle> {
        let currency = self.pick(Currency::ALL)?;
        self.want("after")?;
        self.want("receipt")?;
        self.want("+")?;
        let days = self.integer()?;
        self.want("d")?;
        self.named("channel")?;
        let channel = self.pick(Channel::ALL)?;
        self.want(",")?;
        let vest = if self.take("vest") { Some(self.percent()?) } else { None };
        if vest.is_some() {
            self.want(",")?;
        }
        self.want("clawback")?;
        let clawback = self.pick(&[("full", true), ("none", false)])?;
        Ok(Settle { currency, days, channel, vest, clawback })
    }
}

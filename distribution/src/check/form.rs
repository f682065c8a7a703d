//! Whether a plan is whole: names, ranges, references.

use super::Check;
use crate::plan::{Cond, ONE, Operator, Overflow, Per, Plan, Pool, Rate, Rule, Share, Test, Value, Walk, Weight};

const RULES_MAX: usize = 32;
const NAME_MAX: usize = 64;

pub(super) fn form(check: &mut Check<'_>) {
    let plan = check.plan;
    if !named(&plan.name) || plan.name.contains('"') || plan.version == 0 {
        check.refuse(
            "form",
            "plan",
            "name the plan with 1 to 64 characters without quotes, and number versions from 1",
        );
    }
    for (at, ppm) in [("budget", Some(plan.budget)), ("margin", plan.margin), ("settle", plan.settle.vest)] {
        if ppm.is_some_and(|ppm| !(0..=ONE).contains(&ppm)) {
            check.refuse("form", at, "a share lies between 0% and 100%");
        }
    }
    if plan.rules.is_empty() || plan.rules.len() > RULES_MAX {
        check.refuse("form", "plan", "a plan has 1 to 32 rules");
    }
    if plan.floor.is_some_and(|floor| floor <= 0) {
        check.refuse("form", "floor", "the least price of a unit is more than 0.00");
    }
    for (i, rank) in plan.ranks.iter().enumerate() {
        if plan.ranks[..i].contains(rank) || !word(rank) {
            check.refuse("form", "ranks", format!("name rank {rank} once, by a word"));
        }
    }
    for (i, rule) in plan.rules.iter().enumerate() {
        let earlier = &plan.rules[..i];
        if earlier.iter().any(|other| other.name == rule.name) || !word(&rule.name) {
            check.refuse("form", &rule.name, "name each rule once, by a word");
        }
        one(check, plan, rule, earlier);
    }
    if let Some(limit) = plan.limit
        && limit.per == Per::Line
        && limit.overflow == Overflow::RollUp
    {
        check.refuse("form", "limit", "only a limit per user rolls up: write breakage or scale");
    }
}

fn named(name: &str) -> bool {
    !name.trim().is_empty() && name.chars().count() <= NAME_MAX
}

fn word(name: &str) -> bool {
    named(name)
        && name.chars().next().is_some_and(char::is_alphabetic)
        && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

fn one(check: &mut Check<'_>, plan: &Plan, rule: &Rule, earlier: &[Rule]) {
    let at = rule.name.as_str();
    for cond in conds(rule) {
        match &cond.test {
            Test::Rank(rank) if plan.rank(rank).is_none() => {
                check.refuse("form", at, format!("rank {rank} is not among the plan's ranks: add it to `ranks`"));
            }
            Test::Flag(name) | Test::Tag(name) if !word(name) => {
                check.refuse("form", at, "a flag or tag is a word");
            }
            _ => {}
        }
    }
    let numbers = values(rule);
    if numbers.iter().any(|value| match value {
        Value::Ppm(ppm) => !(0..=ONE).contains(ppm),
        Value::Each(amount) | Value::Fixed(amount) => !(0..=domain::money::AMOUNT_MAX).contains(amount),
    }) {
        check.refuse("form", at, "a rate lies between 0% and 100%, an amount between 0.00 and 2^53 units");
    }
    if let Some(limit) = rule.limit
        && ((limit.per != Per::User && limit.overflow == Overflow::RollUp)
            || (limit.per == Per::Line) != limit.window.is_none())
    {
        check.refuse(
            "form",
            at,
            "only a limit per user rolls up; a limit per user or plan names a window, one per line none",
        );
    }
    match &rule.pay {
        Operator::Walk(walk) => self::walk(check, plan, at, walk, earlier),
        Operator::Pool(pool) => self::pool(check, at, pool),
        Operator::Place(p) => {
            if p.width == 0 || p.depth == 0 || p.fee <= 0 || p.pay < 0 || crate::machine::Forest::seats(p) > 4_096 {
                check.refuse("form", at, "a tree has 2 to 4,096 seats, and a fee");
            }
        }
        Operator::Match(legs) => {
            if legs.ratio < 1 || legs.depth == 0 || !(0..=ONE).contains(&legs.ppm) || legs.cap.is_some_and(|c| c < 0) {
                check.refuse("form", at, "a match has a ratio and a depth of at least 1, and a rate up to 100%");
            }
        }
        Operator::Queue(queue) => {
            if queue.target <= 0 || !(0..=ONE).contains(&queue.fund) {
                check.refuse("form", at, "a queue has a target above 0.00, and a fund up to 100%");
            }
        }
    }
}

fn walk(check: &mut Check<'_>, plan: &Plan, at: &str, walk: &Walk, earlier: &[Rule]) {
    if let Some(of) = &walk.of
        && !earlier.iter().any(|rule| rule.name == *of)
    {
        check.refuse("form", at, format!("rule {of} does not stand before this one: move it up"));
    }
    let slots = usize::from(walk.slots);
    let fits = |values: &[Value]| values.len() == 1 || values.len() == slots;
    let whole = match &walk.rate {
        Rate::Slots(values) => fits(values),
        Rate::Ranks(ranks) => ranks.iter().all(|one| fits(&one.values)),
        Rate::Split(split) => split.weights.len() == slots && split.weights.iter().all(|w| *w > 0),
        _ => true,
    };
    if slots == 0 || !whole {
        check.refuse("form", at, "give one value, or one for each slot; weights are positive");
    }
    if let Rate::Ranks(ranks) = &walk.rate {
        for one in ranks.iter().filter(|one| plan.rank(&one.rank).is_none()) {
            check.refuse("form", at, format!("rank {} is not among the plan's ranks: add it to `ranks`", one.rank));
        }
    }
    if let Rate::Tier(tier) = &walk.rate
        && (tier.steps.is_empty() || !tier.steps.is_sorted_by(|a, b| a.from < b.from))
    {
        check.refuse("form", at, "the thresholds of tiers rise");
    }
    if walk.peer.is_some() && !walk.difference {
        check.refuse("form", at, "peers exist in a `difference` walk only");
    }
    if walk.difference {
        let all = rate_values(&walk.rate);
        let same = all.iter().all(|value| std::mem::discriminant(value) == std::mem::discriminant(&all[0]));
        let cumulative = match &walk.rate {
            Rate::Tier(tier) => !tier.marginal,
            Rate::Gap(_) | Rate::Split(_) => false,
            _ => true,
        };
        if !same || !cumulative {
            check.refuse(
                "form",
                at,
                "a `difference` walk compares rates of one unit: use percents, or amounts of one kind",
            );
        }
    }
}

fn pool(check: &mut Check<'_>, at: &str, pool: &Pool) {
    let ranked = pool.weight == Weight::Ranked;
    if ranked == pool.table.is_empty() || pool.table.iter().any(|weight| *weight <= 0) {
        check.refuse("form", at, "`weight ranked` has positive weights, such as [50, 30, 20]; the others have none");
    }
    if ranked && pool.share == Share::Each {
        check.refuse("form", at, "a ranked pool is split");
    }
}

/// All conditions of a rule.
pub(crate) fn conds(rule: &Rule) -> Vec<&Cond> {
    let mut all: Vec<&Cond> = rule.when.iter().collect();
    if let Operator::Walk(walk) = &rule.pay {
        all.extend(walk.filter.iter().chain(&walk.count_if));
        if let Rate::When(when) = &walk.rate {
            all.extend(&when.test);
        }
    }
    all
}

/// All values of a rate.
pub(crate) fn rate_values(rate: &Rate) -> Vec<Value> {
    match rate {
        Rate::Slots(values) => values.clone(),
        Rate::Ranks(ranks) => ranks.iter().flat_map(|one| one.values.clone()).collect(),
        Rate::Tier(tier) => tier.steps.iter().map(|step| Value::Ppm(step.ppm)).collect(),
        Rate::Split(split) => vec![Value::Ppm(split.ppm)],
        Rate::When(when) => vec![when.then, when.or],
        Rate::Gap(_) => Vec::new(),
    }
}

fn values(rule: &Rule) -> Vec<Value> {
    let mut all: Vec<Value> = rule.limit.iter().map(|limit| limit.amount).collect();
    match &rule.pay {
        Operator::Walk(walk) => {
            all.extend(rate_values(&walk.rate));
            all.extend(walk.peer.map(|peer| Value::Ppm(peer.ppm)));
        }
        Operator::Pool(pool) => {
            all.push(pool.source);
            all.extend(pool.cap.map(Value::Fixed));
        }
        _ => {}
    }
    all
}

//! What the store has no figures for: refused at publication, with its rule and what to do.

use crate::{
    aggregates,
    check::{conds, rate_values},
    people::FLAGS,
    plan::{
        Agg, Limit, On, Operator, Over, Overflow, Per, Plan, Rate, Relation, Rule, Step, Test, Value, Walk, Window,
    },
};

/// Whether a walk pays no other than who referred the buyer: of his sales alone the line is a part,
/// which a marginal tier takes off them.
fn is_of_the_seller(walk: &Walk) -> bool {
    let is_first = walk.slots == 1 && walk.depth.unwrap_or(1) == 1 && !walk.own && walk.of.is_none();
    walk.relation == Relation::Referral && is_first && walk.count_if.is_empty() && walk.step == Step::Strict
}

/// What of a plan this service does not compute yet: each with its rule and what to do. A plan that
/// passes the checker and not this would be paid wrongly, so it is not published.
pub(crate) fn unsupported(plan: &Plan) -> Vec<(String, &'static str)> {
    const AGG: &str = "only sum(sales, ..) and count(orders, ..) over self, direct and subtree are collected: use them";
    let not_collected = aggregates::of(plan).into_iter().filter(|(_, agg)| !aggregates::is_collected(agg));
    let mut found: Vec<(String, &'static str)> = not_collected.map(|(rule, _)| (rule.to_owned(), AGG)).collect();
    let limits = plan.rules.iter().map(|rule| (&*rule.name, rule.limit)).chain([("plan", plan.limit)]);
    found.extend(limits.filter_map(|(rule, limit)| Some((rule.to_owned(), of_limit(&limit?)?))));
    let closes = plan.rules.iter().any(|rule| rule.on == On::PeriodClosed);
    if closes && plan.limit.is_some() {
        found.push(("plan".to_owned(), "a plan that pays on period_closed has limits in its rules: write them there"));
    }
    for rule in &plan.rules {
        let mut not = |what: &'static str| found.push((rule.name.clone(), what));
        if rule.name.len() > 64 {
            not("a rule's name has at most 64 bytes here: shorten it");
        }
        if rule.currency.is_some() || plan.settle.currency != crate::plan::Currency::Cash {
            not("only cash is settled here: leave the currency out");
        }
        if conds(rule).iter().any(|cond| !is_known(&cond.test)) {
            not("only the flags distributor, active and kyc are kept, and no tags: use these");
        }
        match (&rule.pay, rule.on) {
            (Operator::Walk(walk), On::Paid | On::Matured) => of_walk(walk, not),
            (_, On::PeriodClosed) => of_closing(rule, not),
            (Operator::Walk(_), _) => not("only `paid`, `matured` and `period_closed` come here: use one of them"),
            (Operator::Pool(_), _) => not("a pool is paid `on period_closed`: write that"),
            _ => not("machines are not run here: use `walk`, or a pool on period_closed"),
        }
    }
    if plan.settle.vest.is_some() {
        found.push(("settle".to_owned(), "vesting is not run here: leave it out"));
    }
    found
}

fn is_known(test: &Test) -> bool {
    match test {
        Test::Flag(name) => FLAGS.contains(&&**name),
        Test::Tag(_) => false,
        _ => true,
    }
}

fn of_limit(limit: &Limit) -> Option<&'static str> {
    if limit.overflow == Overflow::Carry {
        Some("what a limit puts off is not kept: write breakage, scale or roll_up")
    } else if (limit.per == Per::Line) != limit.window.is_none() {
        Some("a limit per user or plan names a window, one per line none")
    } else if limit.window.is_some() && !matches!(limit.amount, Value::Fixed(_)) {
        Some("a limit over a time is an amount, such as 100.00")
    } else {
        None
    }
}

fn of_walk(walk: &Walk, mut not: impl FnMut(&'static str)) {
    if walk.relation == Relation::Placement {
        not("no seats are kept: climb referral, org, territory or touch");
    }
    if matches!(&walk.rate, Rate::Tier(tier) if tier.marginal && tier.by.over != Over::Own) {
        not("a marginal tier is run over `self` alone: take slab for a team");
    }
    if matches!(&walk.rate, Rate::Tier(tier) if tier.marginal) && !is_of_the_seller(walk) {
        not("a marginal tier is run for the buyer's own referrer alone: `walk(referral, slots 1, ..)`, or take slab");
    }
    if matches!(walk.rate, Rate::Gap(_)) {
        not("purchase prices of people are not kept yet: use rates");
    }
}

/// A closing pays of what a month's lines come to: members by a pool, or each seller of the own
/// month.
fn of_closing(rule: &Rule, mut not: impl FnMut(&'static str)) {
    if rule.limit.is_some_and(|limit| limit.window.is_some()) {
        not("a closing has no limits over a time: write `limit .. per line ..`, or give the pool a `cap`");
    }
    if !rule.when.is_empty() {
        not("a month has no conditions of a line: leave `if` out");
    }
    match &rule.pay {
        Operator::Pool(pool) => {
            if matches!(pool.source, Value::Each(_)) {
                not("a month has no units: take an amount or a rate");
            }
            if !FLAGS.contains(&&*pool.members) {
                not("members are `distributor`, `active` or `kyc` here: use one of them");
            }
        }
        Operator::Walk(walk) => {
            let months = |agg: &Agg| agg.window == Window::Month && agg.over == Over::Own;
            let is_own = walk.own && walk.slots == 1 && walk.depth.unwrap_or(1) == 1 && walk.of.is_none();
            if !is_own || walk.step != Step::Strict || !walk.count_if.is_empty() {
                not("a walk on period_closed pays each seller: `walk(referral, self, slots 1, ..)`");
            }
            let mut aggs = conds(rule).into_iter().filter_map(|cond| match &cond.test {
                Test::AtLeast(test) => Some(test.agg),
                _ => None,
            });
            let tier = if let Rate::Tier(tier) = &walk.rate { Some(tier.by) } else { None };
            if !aggs.all(|agg| months(&agg)) || tier.is_some_and(|agg| !months(&agg)) {
                not("a closing knows the own month of each seller: use sum(sales, self, month)");
            }
            if matches!(walk.rate, Rate::Gap(_))
                || rate_values(&walk.rate).iter().any(|value| matches!(value, Value::Each(_)))
            {
                not("a month has no units: take an amount, a rate or tiers");
            }
        }
        _ => not("machines are not run here: use `walk`, or a pool on period_closed"),
    }
}

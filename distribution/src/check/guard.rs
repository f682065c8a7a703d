//! The guard-rails of profiles. Each has a name that the refusal gives and that `profiles.json`
//! turns on.

use super::Check;
use super::form::conds;
use crate::plan::{Agg, Currency, Measure, On, Operator, Over, Plan, Rate, Relation, Rule, Step, Test, Walk, Weight};

/// A guard-rail of one rule: its name, what it refuses, and what to do.
type Rail = (&'static str, fn(&Plan, &Rule) -> bool, &'static str);

const RAILS: &[Rail] = &[
    (
        "place",
        |_, r| matches!(r.pay, Operator::Place(_)),
        "seats that later people pay for are refused: use walk on referral",
    ),
    ("match", |_, r| matches!(r.pay, Operator::Match(_)), "pairing two legs pays by downline: use walk on referral"),
    ("queue", |_, r| matches!(r.pay, Operator::Queue(_)), "a queue pays from later buyers' money: use a coupon"),
    (
        "placement",
        |_, r| walk(r).is_some_and(|w| w.relation == Relation::Placement),
        "a placement tree is refused: use referral",
    ),
    ("recruits", recruits, "payment by people who join is refused: pay on orders, or a coupon"),
    (
        "team-pay",
        |_, r| aggs(r).iter().any(|agg| agg.over != Over::Own),
        "payment by the sales of a downline is refused: use sum(sales, self, …)",
    ),
    ("bonus-on-bonus", bonus, "a bonus of a bonus is refused: let `of` name a rule that pays on lines"),
    ("self-purchase", own, "cash for one's own purchase is refused: leave `self` out, or pay a coupon or points"),
    (
        "price-gap",
        |_, r| walk(r).is_some_and(|w| matches!(w.rate, Rate::Gap(_))),
        "trade on own stock needs a sign-off: use profile CN-2",
    ),
    ("rank-bonus", |_, r| r.on == On::RankChanged, "a bonus for a rank needs a sign-off: use profile CN-2"),
    (
        "dividend",
        |_, r| matches!(&r.pay, Operator::Pool(p) if p.weight != Weight::Ranked),
        "a dividend needs a sign-off: use profile CN-2, or a ranked pool",
    ),
    ("time-yield", |p, _| p.settle.vest.is_some(), "a yield by time is refused: leave `vest` out"),
    ("clawback", |p, _| !p.settle.clawback, "returned goods pay nothing: write `clawback full`"),
];

pub(super) fn guard(check: &mut Check<'_>) {
    let (plan, profile) = (check.plan, check.profile);
    for rule in &plan.rules {
        for (name, refuses, what) in RAILS {
            if profile.refuses.iter().any(|on| on == name) && refuses(plan, rule) {
                check.refuse(name, &rule.name, *what);
            }
        }
        for (name, flags) in &profile.refused_flags {
            for flag in used_flags(rule).into_iter().filter(|flag| flags.iter().any(|f| f == flag)) {
                check.refuse(name, &rule.name, format!("nothing may depend on `{flag}`: take it out"));
            }
        }
        let unbounded = walk(rule).is_some_and(|walk| depth(walk).is_none_or(|d| d > profile.depth_max));
        let wide = profile.depth_max < u8::MAX
            && aggs(rule).iter().any(|agg| match agg.over {
                Over::Subtree(depth) => depth == 0 || depth > profile.depth_max,
                _ => false,
            });
        let level = walk(rule).is_some_and(|w| upline(w.relation)) && unbounded && profile.depth_max < u8::MAX;
        if level || wide {
            let what = format!("looks at more than {} levels: bound it with `depth` or fewer slots", profile.depth_max);
            check.refuse("depth", &rule.name, what);
        }
    }
    payees(check);
    if plan.settle.days < profile.after_sale_days {
        let what =
            format!("pays before goods can no longer be returned: write receipt+{}d or more", profile.after_sale_days);
        check.refuse("maturity", "settle", what);
    }
}

/// Payees on the paths of each relation, over all rules together.
fn payees(check: &mut Check<'_>) {
    let paid = |check: &Check<'_>, of: fn(Relation) -> bool| -> u32 {
        let walks = check.plan.rules.iter().filter_map(walk).filter(|walk| of(walk.relation));
        // Rules may pay different people of one path, but nobody beyond the deepest look.
        let (chained, plain): (Vec<_>, Vec<_>) = walks.partition(|walk| walk.of.is_some());
        let slots: u32 = plain.iter().map(|walk| u32::from(walk.slots)).sum();
        let looks = plain.iter().map(|walk| u32::from(depth(walk).unwrap_or(u8::MAX))).max();
        let widest = slots.min(looks.unwrap_or(0));
        let above: u32 = chained.iter().map(|walk| u32::from(walk.slots)).sum();
        widest + above
    };
    let referral = paid(check, |r| r == Relation::Referral || r == Relation::Placement);
    if referral > check.profile.referral_payees {
        let what = format!(
            "up to {referral} payees on a referral path, {} allowed: take slots away",
            check.profile.referral_payees
        );
        check.refuse("payees", "plan", what);
    }
    for (relation, of) in
        [("org", (|r| r == Relation::Org) as fn(Relation) -> bool), ("territory", |r| r == Relation::Territory)]
    {
        let paid = paid(check, of);
        if paid > check.profile.other_payees {
            let what = format!(
                "up to {paid} payees on the {relation}, {} allowed: take slots away",
                check.profile.other_payees
            );
            check.refuse("levels", "plan", what);
        }
    }
}

fn upline(relation: Relation) -> bool {
    matches!(relation, Relation::Referral | Relation::Placement)
}

/// Levels that a walk looks at; `None` without a bound.
pub(crate) fn depth(walk: &Walk) -> Option<u8> {
    let passes = walk.step == Step::Compress || !walk.count_if.is_empty();
    walk.depth.or(if passes { None } else { Some(walk.slots) })
}

fn walk(rule: &Rule) -> Option<&Walk> {
    match &rule.pay {
        Operator::Walk(walk) => Some(walk),
        _ => None,
    }
}

fn cash(plan: &Plan, rule: &Rule) -> bool {
    rule.currency.unwrap_or(plan.settle.currency) == Currency::Cash
}

fn recruits(plan: &Plan, rule: &Rule) -> bool {
    (rule.on == On::Registered && cash(plan, rule)) || aggs(rule).iter().any(|agg| agg.measure == Measure::People)
}

fn own(plan: &Plan, rule: &Rule) -> bool {
    let bought = matches!(rule.on, On::Paid | On::Matured);
    bought && cash(plan, rule) && walk(rule).is_some_and(|walk| walk.own)
}

fn bonus(plan: &Plan, rule: &Rule) -> bool {
    let base = walk(rule).and_then(|walk| walk.of.as_deref());
    let base = plan.rules.iter().find(|other| Some(other.name.as_str()) == base);
    base.and_then(walk).is_some_and(|walk| walk.of.is_some())
}

fn aggs(rule: &Rule) -> Vec<Agg> {
    let mut all: Vec<Agg> = conds(rule)
        .into_iter()
        .filter_map(|cond| match &cond.test {
            Test::AtLeast(test) => Some(test.agg),
            _ => None,
        })
        .collect();
    if let Some(Rate::Tier(tier)) = walk(rule).map(|walk| &walk.rate) {
        all.push(tier.by);
    }
    all
}

fn used_flags(rule: &Rule) -> Vec<&str> {
    let mut all: Vec<&str> = conds(rule)
        .into_iter()
        .filter_map(|cond| match &cond.test {
            Test::Flag(name) | Test::Tag(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    if let Operator::Pool(pool) = &rule.pay {
        all.push(&pool.members);
    }
    all
}

//! The most that a plan can pay in cash of a line, in ppm of its base.

use super::form::rate_values;
use super::{Check, Profiles};
use crate::plan::{Currency, ONE, On, Operator, Per, Plan, Rate, Rule, Share, Test, Value, Walk};

pub(super) fn prove(check: &mut Check<'_>, profiles: &Profiles) -> i64 {
    let plan = check.plan;
    for rule in &plan.rules {
        if let Err(what) = of_rule(plan, rule) {
            check.refuse("unbounded", &rule.name, what);
        }
    }
    let worst = worst(plan);
    let percent = |ppm: i64| format!("{}.{:04}%", ppm / 10_000, ppm % 10_000);
    let profile = check.profile;
    let mut bound = |rule: &str, max: i64, whose: &str| {
        if worst > max {
            let what = format!(
                "pays up to {} of a line, {whose} is {}: lower rates, or add `limit {} per line scale`",
                percent(worst),
                percent(max),
                percent(max)
            );
            check.refuse(rule, "plan", what);
        }
    };
    bound("budget", plan.budget, "the budget");
    bound("payout-cap", profile.payout_max, "what the profile allows");
    if let Some(margin) = plan.margin {
        bound("margin", margin, "the margin");
    }
    if let Some(terms) = profiles.channels.get(plan.settle.channel.word()) {
        if let Some(ratio) = terms.ratio_max {
            bound("channel-ratio", ratio, "what the channel shares");
        }
        let days = plan.settle.days.saturating_add(profile.receipt_days_max);
        if let Some(freeze) = terms.freeze_days
            && days > freeze
        {
            let what = format!(
                "may mature {days} days after payment, the channel's money is freed after {freeze}: mature earlier, or use another channel"
            );
            check.refuse("channel-freeze", "settle", what);
        }
    }
    worst
}

/// The worst case of all rules that pay cash, ppm; rules without a bound count as [`ONE`].
pub fn worst(plan: &Plan) -> i64 {
    let cash = |rule: &&Rule| rule.currency.unwrap_or(plan.settle.currency) == Currency::Cash;
    let sum: i64 =
        plan.rules.iter().filter(cash).map(|rule| of_rule(plan, rule).unwrap_or(ONE)).fold(0, i64::saturating_add);
    match plan.limit {
        Some(limit) if limit.per == Per::Line => ppm(plan, None, limit.amount).map_or(sum, |most| sum.min(most)),
        _ => sum,
    }
}

/// A value in ppm of the least base; a fixed amount needs a floor for that.
fn ppm(plan: &Plan, rule: Option<&Rule>, value: Value) -> Option<i64> {
    let (Value::Each(amount) | Value::Fixed(amount)) = value else {
        return if let Value::Ppm(ppm) = value { Some(ppm) } else { None };
    };
    // A line's condition is a floor for amounts that are paid once.
    let least = rule.into_iter().flat_map(|rule| &rule.when).filter_map(|cond| match cond.test {
        Test::Net(least) if !cond.not && matches!(value, Value::Fixed(_)) => Some(least),
        _ => None,
    });
    let floor = least.chain(plan.floor).max().filter(|floor| *floor > 0)?;
    i64::try_from((i128::from(amount) * i128::from(ONE) + i128::from(floor) - 1) / i128::from(floor)).ok()
}

fn of_rule(plan: &Plan, rule: &Rule) -> Result<i64, String> {
    let capped = rule.limit.is_some_and(|limit| limit.per != Per::Line);
    let on_line = !matches!(rule.on, On::Registered | On::RankChanged);
    let whole = match &rule.pay {
        Operator::Walk(walk) => of_walk(plan, rule, walk),
        Operator::Pool(pool) => match (pool.share, ppm(plan, Some(rule), pool.source)) {
            (Share::Split, most) if on_line && matches!(pool.source, Value::Fixed(_)) => Some(most.unwrap_or(0)),
            (Share::Split, most) => most,
            (Share::Each, _) => None,
        },
        Operator::Place(place) => {
            // Each full tree after the first has had as many new seats as its last level.
            let seats = i64::from(place.width).saturating_pow(u32::from(place.depth));
            let fees = place.fee.saturating_mul(seats).max(1);
            i64::try_from(i128::from(place.pay) * i128::from(ONE) / i128::from(fees)).ok()
        }
        Operator::Match(legs) => (legs.ppm / (legs.ratio.max(1) + 1)).checked_mul(i64::from(legs.depth)),
        Operator::Queue(queue) => Some(queue.fund),
    };
    let line = rule.limit.filter(|limit| limit.per == Per::Line);
    let line = line.and_then(|limit| ppm(plan, Some(rule), limit.amount));
    let coupon = rule.currency.unwrap_or(plan.settle.currency) == Currency::Coupon;
    match (whole, line) {
        _ if coupon && rule.limit.is_none() => Err("coupons need a limit, such as `limit 100.00 per user month breakage`".to_owned()),
        (Some(whole), Some(line)) => Ok(whole.min(line)),
        (Some(most), None) | (None, Some(most)) if on_line => Ok(most),
        // Bounded by its period, and by no line.
        _ if capped => Ok(0),
        _ => Err("has no worst case: give the plan a `floor`, or the rule a limit such as `limit 100.00 per user month breakage`".to_owned()),
    }
}

fn of_walk(plan: &Plan, rule: &Rule, walk: &Walk) -> Option<i64> {
    let slots = i64::from(walk.slots);
    let most = |values: &[Value]| -> Option<i64> {
        let all: Option<Vec<i64>> = values.iter().map(|value| ppm(plan, Some(rule), *value)).collect();
        all.and_then(|all| all.into_iter().max())
    };
    let nth = |values: &[Value], slot: usize| -> Option<i64> {
        values.get(slot.min(values.len().saturating_sub(1))).and_then(|value| ppm(plan, Some(rule), *value))
    };
    let own = if walk.difference {
        let peers = walk.peer.map_or(0, |peer| peer.ppm.saturating_mul(i64::from(peer.count)));
        most(&rate_values(&walk.rate))?.checked_add(peers)?
    } else {
        match &walk.rate {
            Rate::Slots(values) => {
                (0..usize::from(walk.slots)).try_fold(0_i64, |sum, slot| sum.checked_add(nth(values, slot)?))?
            }
            Rate::Ranks(ranks) => (0..usize::from(walk.slots)).try_fold(0_i64, |sum, slot| {
                let best: Option<Vec<i64>> = ranks.iter().map(|one| nth(&one.values, slot)).collect();
                sum.checked_add(best?.into_iter().max().unwrap_or(0))
            })?,
            Rate::Tier(_) | Rate::When(_) => most(&rate_values(&walk.rate))?.checked_mul(slots)?,
            Rate::Split(split) => split.ppm,
            // What lies between two people's prices is their own trade.
            Rate::Gap(_) => 0,
        }
    };
    let Some(of) = &walk.of else { return Some(own) };
    let base = plan.rules.iter().take_while(|other| other.name != rule.name).find(|other| other.name == *of)?;
    let base = of_rule(plan, base).ok()?;
    i64::try_from((i128::from(base) * i128::from(own) + i128::from(ONE) - 1) / i128::from(ONE)).ok()
}

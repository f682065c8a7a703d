//! Climbs a relation and pays each slot.

use super::{EvaluateError, Person, Run, Why, divide, figure, part};
use crate::plan::{ONE, Rate, Rule, Step, Tier, Value, Walk};

/// What a walk has come to.
struct Climb {
    slot: usize,
    /// Greatest rate below, in the unit of the walk's values.
    best: i64,
    /// What it comes to.
    best_amount: i64,
    peers: u8,
    /// Price at which the last person sold on.
    price: i64,
}

pub(super) fn walk(run: &mut Run<'_>, rule: &Rule, walk: &Walk) -> Result<(), EvaluateError> {
    let frozen = run.frozen;
    let path = frozen.paths.get(&walk.relation).map_or(&[][..], Vec::as_slice);
    let Some(of) = &walk.of else {
        let own = walk.own.then_some(&frozen.source);
        return climb(run, rule, walk, frozen.left(), own.into_iter().chain(path));
    };
    let paid: Vec<(u64, i64)> = run
        .outcome
        .payouts
        .iter()
        .filter(|payout| payout.to.rule == *of)
        .filter_map(|payout| Some((payout.to.beneficiary?, payout.amount)))
        .collect();
    for (id, amount) in paid {
        // Above a person of the path stand those behind it; above the source stands the whole path.
        let above = path.iter().position(|person| person.id == id).map_or(0, |at| at + 1);
        climb(run, rule, walk, amount, path[above..].iter())?;
    }
    Ok(())
}

fn climb<'p>(
    run: &mut Run<'_>,
    rule: &Rule,
    walk: &Walk,
    base: i64,
    path: impl Iterator<Item = &'p Person>,
) -> Result<(), EvaluateError> {
    let mut at = Climb { slot: 0, best: 0, best_amount: 0, peers: 0, price: base };
    let slots = usize::from(walk.slots);
    for person in path.take(walk.depth.map_or(usize::MAX, usize::from)) {
        if at.slot >= slots {
            break;
        }
        if let Some(failed) = run.fails(&walk.count_if, person) {
            run.note(&rule.name, Some(person.id), Why::NotCounted(failed));
            continue;
        }
        if let Some(failed) = run.fails(&walk.filter, person) {
            match walk.step {
                Step::Compress => run.note(&rule.name, Some(person.id), Why::Skipped(failed)),
                Step::Stop => {
                    run.note(&rule.name, Some(person.id), Why::Stopped(failed));
                    break;
                }
                Step::Strict => {
                    if !walk.difference {
                        let value = value(run, rule, walk, person, &at, base)?;
                        let lost = run.frozen.amount(&rule.name, value, base)?;
                        run.pay(rule, None, lost);
                    }
                    run.note(&rule.name, Some(person.id), Why::SlotLost(failed));
                    at.slot += 1;
                }
            }
            continue;
        }
        slot(run, rule, walk, person, &mut at, base)?;
    }
    if let Rate::Split(split) = &walk.rate {
        // The parts of slots that nobody took.
        let total = part(base, split.ppm).ok_or_else(|| EvaluateError::Overflow(rule.name.clone()))?;
        let lost = divide(total, &split.weights).into_iter().skip(at.slot).sum();
        run.pay(rule, None, lost);
    }
    Ok(())
}

fn slot(
    run: &mut Run<'_>,
    rule: &Rule,
    walk: &Walk,
    person: &Person,
    at: &mut Climb,
    base: i64,
) -> Result<(), EvaluateError> {
    let value = value(run, rule, walk, person, at, base)?;
    let amount = run.frozen.amount(&rule.name, value, base)?;
    let (Value::Ppm(raw) | Value::Each(raw) | Value::Fixed(raw)) = value;
    let mut paid = amount;
    if walk.difference {
        // Differences of rounded cumulative amounts sum to the rounded greatest one.
        paid = (amount - at.best_amount).max(0);
        let peer = walk.peer.filter(|peer| raw == at.best && raw > 0 && at.peers < peer.count);
        if let Some(peer) = peer {
            paid = run.frozen.amount(&rule.name, Value::Ppm(peer.ppm), base)?;
            at.peers += 1;
            run.note(&rule.name, Some(person.id), Why::Peer);
        } else if raw <= at.best {
            run.note(&rule.name, Some(person.id), Why::Overtaken);
        }
        if raw > at.best {
            (at.best, at.best_amount) = (raw, amount);
        }
    }
    if let (Rate::Gap(_), Some(price)) = (&walk.rate, person.price) {
        at.price = price.saturating_mul(run.frozen.quantity - run.frozen.returned);
    }
    at.slot += 1;
    if paid != 0 {
        let rest = match value {
            Value::Ppm(ppm) => (i128::from(base) * i128::from(ppm)).rem_euclid(i128::from(ONE)),
            Value::Each(_) | Value::Fixed(_) => 0,
        };
        let rest = i64::try_from(rest).unwrap_or(0);
        run.note(&rule.name, Some(person.id), Why::Paid { amount: paid, base, rest });
        run.pay(rule, Some(person.id), paid);
    }
    Ok(())
}

fn value(
    run: &Run<'_>,
    rule: &Rule,
    walk: &Walk,
    person: &Person,
    at: &Climb,
    base: i64,
) -> Result<Value, EvaluateError> {
    let overflow = || EvaluateError::Overflow(rule.name.clone());
    let nth =
        |values: &[Value]| values.get(at.slot.min(values.len().saturating_sub(1))).copied().unwrap_or(Value::Ppm(0));
    Ok(match &walk.rate {
        Rate::Slots(values) => nth(values),
        Rate::Ranks(ranks) => ranks
            .iter()
            .find(|one| Some(&one.rank) == person.rank.as_ref())
            .map_or(Value::Ppm(0), |one| nth(&one.values)),
        Rate::Tier(tier) if tier.marginal => {
            // The volume before this line is frozen; what a refund leaves stands on top of it.
            let before = figure(person, &tier.by.to_string()).saturating_sub(run.frozen.net).max(0);
            let upto = |volume| marginal(tier, volume).ok_or_else(overflow);
            Value::Fixed(upto(before.saturating_add(base))? - upto(before)?)
        }
        Rate::Tier(tier) => {
            let volume = figure(person, &tier.by.to_string());
            let step = tier.steps.iter().rev().find(|step| step.from <= volume);
            Value::Ppm(step.map_or(0, |step| step.ppm))
        }
        Rate::Split(split) => {
            let total = part(base, split.ppm).ok_or_else(overflow)?;
            Value::Fixed(divide(total, &split.weights).get(at.slot).copied().unwrap_or(0))
        }
        Rate::When(when) => {
            if run.fails(&when.test, person).is_none() {
                when.then
            } else {
                when.or
            }
        }
        Rate::Gap(_) => {
            let own = person.price.map(|price| price.checked_mul(run.frozen.quantity - run.frozen.returned));
            match own {
                Some(Some(own)) => Value::Fixed(at.price.saturating_sub(own).max(0)),
                Some(None) => return Err(overflow()),
                None => Value::Fixed(0),
            }
        }
    })
}

/// What all tiers up to a volume pay together, rounded down once.
fn marginal(tier: &Tier, volume: i64) -> Option<i64> {
    let mut sum: i128 = 0;
    for (i, step) in tier.steps.iter().enumerate() {
        let end = tier.steps.get(i + 1).map_or(volume, |next| next.from.min(volume));
        sum += i128::from(end.saturating_sub(step.from).max(0)) * i128::from(step.ppm);
    }
    i64::try_from(sum.div_euclid(i128::from(ONE))).ok()
}

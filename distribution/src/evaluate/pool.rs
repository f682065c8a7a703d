//! Divides an amount among members.

use super::{EvaluateError, Person, Run, Why, divide};
use crate::plan::{Pool, Rule, Share, Weight};

pub(super) fn pool(run: &mut Run<'_>, rule: &Rule, pool: &Pool) -> Result<(), EvaluateError> {
    let frozen = run.frozen;
    let base = frozen.left();
    let total = frozen.amount(&rule.name, pool.source, base)?;
    let mut members: Vec<&Person> =
        frozen.members.iter().filter(|person| person.flags.contains(&pool.members)).collect();
    members.sort_by_key(|person| person.id);
    let weights: Vec<i64> = match pool.weight {
        Weight::Equal => vec![1; members.len()],
        Weight::Points => members.iter().map(|person| person.points.max(0)).collect(),
        Weight::Ranked => {
            members.sort_by_key(|person| (std::cmp::Reverse(person.points), person.id));
            pool.table.clone()
        }
    };
    let shares = match pool.share {
        Share::Split => divide(total, &weights),
        Share::Each => vec![total; members.len()],
    };
    let mut paid = 0;
    for (person, share) in members.iter().zip(shares) {
        let amount = share.min(pool.cap.unwrap_or(share));
        paid = i64::saturating_add(paid, amount);
        if amount < share {
            run.note(&rule.name, Some(person.id), Why::Limited(share - amount));
        }
        if amount > 0 {
            run.note(&rule.name, Some(person.id), Why::Paid { amount, base, rest: 0 });
            run.pay(rule, Some(person.id), amount);
        }
    }
    if pool.share == Share::Split && paid < total {
        run.pay(rule, None, total - paid);
    }
    Ok(())
}

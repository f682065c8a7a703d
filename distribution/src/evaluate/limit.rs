//! Cuts payouts to a limit, and says where the rest goes.

use super::{EvaluateError, Run, To, Why, divide};
use crate::plan::{Currency, Limit, Overflow, Per};

/// The plan's own limit, over all rules.
pub(super) fn plan(run: &mut Run<'_>) -> Result<(), EvaluateError> {
    run.plan.limit.map_or(Ok(()), |limit| apply(run, limit, "", 0))
}

pub(super) fn apply(run: &mut Run<'_>, limit: Limit, name: &str, first: usize) -> Result<(), EvaluateError> {
    let bound = run.frozen.amount(name, limit.amount, run.frozen.left())?;
    // Breakage is nobody's, and points cost no money.
    let bounded: Vec<usize> = (first..run.outcome.payouts.len())
        .filter(|i| {
            let payout = &run.outcome.payouts[*i];
            payout.to.beneficiary.is_some() && (!name.is_empty() || payout.currency != Currency::Points)
        })
        .collect();
    let used = |id: u64| run.frozen.used.get(&(name.to_owned(), id)).copied().unwrap_or(0);
    let amounts: Vec<i64> = bounded.iter().map(|i| run.outcome.payouts[*i].amount).collect();
    let ids: Vec<u64> = bounded.iter().filter_map(|i| run.outcome.payouts[*i].to.beneficiary).collect();
    let room = (bound - used(0)).max(0);
    let mut kept = amounts.clone();
    if limit.per == Per::User {
        let mut spent = std::collections::BTreeMap::new();
        let mut rolled = 0;
        for (kept, id) in kept.iter_mut().zip(&ids) {
            let spent = spent.entry(*id).or_insert_with(|| used(*id));
            let wanted = *kept + rolled;
            *kept = wanted.min((bound - *spent).max(0));
            *spent += *kept;
            rolled = if limit.overflow == Overflow::RollUp { wanted - *kept } else { 0 };
        }
    } else if amounts.iter().sum::<i64>() > room {
        if limit.overflow == Overflow::Scale {
            kept = divide(room, &amounts);
        } else {
            let mut rest = room;
            for kept in &mut kept {
                *kept = (*kept).min(rest);
                rest -= *kept;
            }
        }
    }
    settle(run, limit, &bounded, &amounts, &kept);
    Ok(())
}

/// Writes what is kept. What is scaled away costs nothing. What a user's limit rolls up has gone to
/// the next payee; what nobody took, and what is cut for good, is breakage.
fn settle(run: &mut Run<'_>, limit: Limit, bounded: &[usize], amounts: &[i64], kept: &[i64]) {
    let mut lost: i64 = 0;
    let mut last = None;
    for ((i, amount), kept) in bounded.iter().zip(amounts).zip(kept) {
        let payout = &mut run.outcome.payouts[*i];
        payout.amount = *kept;
        let to = payout.to.clone();
        let cut = amount - kept;
        if cut > 0 {
            run.note(&to.rule, to.beneficiary, Why::Limited(cut));
        }
        if limit.overflow == Overflow::Carry && cut > 0 {
            *run.outcome.carried.entry(to.clone()).or_insert(0) += cut;
        } else if limit.overflow == Overflow::RollUp {
            lost += cut;
        } else if limit.overflow == Overflow::Breakage && cut > 0 {
            let mut breakage = run.outcome.payouts[*i].clone();
            breakage.to = To { beneficiary: None, ..to.clone() };
            breakage.amount = cut;
            run.outcome.payouts.push(breakage);
        }
        last = Some(*i);
    }
    if let (Some(i), true) = (last, lost > 0) {
        let mut breakage = run.outcome.payouts[i].clone();
        breakage.to.beneficiary = None;
        breakage.amount = lost;
        run.outcome.payouts.push(breakage);
    }
}

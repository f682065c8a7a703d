//! What everyone earned, from the final facts alone. It knows three plans by heart, in whole
//! percents, and uses nothing of the crate under test.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// 10, 5 and 3 percent; who is not active loses the slot.
    Levels,
    /// 10, 15 or 20 percent by rank, what exceeds those below; one equal gets 2 percent.
    Difference,
    /// 10 percent among active members by points.
    Pool,
}

pub(crate) struct Payee {
    pub(crate) id: u64,
    pub(crate) percent: u128,
    pub(crate) active: bool,
    pub(crate) points: u128,
}

pub(crate) struct Fact {
    pub(crate) kind: Kind,
    /// What is not refunded.
    pub(crate) left: u128,
    pub(crate) path: Vec<Payee>,
    pub(crate) members: Vec<Payee>,
}

pub(crate) fn recompute(facts: &[Fact]) -> BTreeMap<u64, u128> {
    let mut earned = BTreeMap::new();
    for fact in facts {
        let mut give = |id: u64, amount: u128| *earned.entry(id).or_insert(0) += amount;
        match fact.kind {
            Kind::Levels => {
                for (payee, percent) in fact.path.iter().zip([10, 5, 3]) {
                    if payee.active {
                        give(payee.id, fact.left * percent / 100);
                    }
                }
            }
            Kind::Difference => {
                let (mut below, mut peers) = (0, 0);
                for payee in fact.path.iter().take(3) {
                    if payee.percent > below {
                        give(payee.id, fact.left * payee.percent / 100 - fact.left * below / 100);
                        below = payee.percent;
                    } else if payee.percent == below && peers == 0 {
                        give(payee.id, fact.left * 2 / 100);
                        peers = 1;
                    }
                }
            }
            Kind::Pool => {
                let mut members: Vec<&Payee> = fact.members.iter().filter(|m| m.active && m.points > 0).collect();
                let all: u128 = members.iter().map(|m| m.points).sum();
                if all == 0 {
                    continue;
                }
                let pot = fact.left * 10 / 100;
                let paid: u128 = members.iter().map(|m| pot * m.points / all).sum();
                // Whoever lost most by rounding comes first; of equals the lower id.
                members.sort_by(|x, y| {
                    let lost = |m: &Payee| pot * m.points % all;
                    lost(y).cmp(&lost(x)).then(x.id.cmp(&y.id))
                });
                for (place, member) in (0_u128..).zip(members) {
                    give(member.id, pot * member.points / all + u128::from(place < pot - paid));
                }
            }
        }
    }
    earned
}

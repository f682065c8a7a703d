//! What everyone earned, from the final facts and the order in which they were heard. It knows five
//! plans by heart, in whole percents, and uses nothing of the crate under test.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 10, 5 and 3 percent; who is not active loses the slot.
    Levels,
    /// 10, 15 or 20 percent by rank, what exceeds those below; one equal gets 2 percent.
    Difference,
    /// 10 percent among active members by points.
    Pool,
    /// To who referred the buyer: 5 percent of what the own customers bought up to 300.00, 10
    /// percent of what is above.
    Tier,
    /// The same person: 10 percent, up to 50.00 over all lines.
    Cap,
}

/// What was heard, in its order.
pub(crate) enum Heard {
    /// The line with this number, and its net.
    Line(usize, u128),
    /// So much of it has gone back, all refunds together.
    Back(usize, u128),
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

/// What the tiers of a volume pay together.
fn tiers(volume: u128) -> u128 {
    (volume.min(30_000) * 5 + volume.saturating_sub(30_000) * 10) / 100
}

/// What lines of tiers and limits pay in the end: each stands on what was heard before it.
fn in_turn(facts: &[Fact], heard: &[Heard]) -> BTreeMap<usize, u128> {
    let (mut volumes, mut paid_of): (BTreeMap<u64, u128>, BTreeMap<u64, u128>) = (BTreeMap::new(), BTreeMap::new());
    // By line: net, and the volume, or what was paid, before it; then what it pays.
    let (mut stands, mut pays): (BTreeMap<usize, (u128, u128)>, BTreeMap<usize, u128>) = Default::default();
    let mut lefts: BTreeMap<usize, u128> = BTreeMap::new();
    for event in heard {
        let (at, left) = match event {
            Heard::Line(at, net) => (*at, *net),
            Heard::Back(at, back) => (*at, stands.get(at).map_or(0, |(net, _)| net - back)),
        };
        let Some(seller) = facts[at].path.first().map(|payee| payee.id) else { continue };
        let was = lefts.insert(at, left).unwrap_or(0);
        match facts[at].kind {
            Kind::Tier => {
                let volume = volumes.entry(seller).or_default();
                let (_, before) = *stands.entry(at).or_insert((left, *volume));
                *volume = *volume + left - was;
                pays.insert(at, tiers(before + left) - tiers(before));
            }
            Kind::Cap => {
                let paid = paid_of.entry(seller).or_default();
                let (_, before) = *stands.entry(at).or_insert((left, *paid));
                let pay = (left / 10).min(5_000_u128.saturating_sub(before));
                *paid = *paid + pay - pays.insert(at, pay).unwrap_or(0);
            }
            _ => {}
        }
    }
    pays
}

pub(crate) fn recompute(facts: &[Fact], heard: &[Heard]) -> BTreeMap<u64, u128> {
    let mut earned = BTreeMap::new();
    let in_turn = in_turn(facts, heard);
    for (at, fact) in facts.iter().enumerate() {
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
            Kind::Tier | Kind::Cap => {
                if let Some(payee) = fact.path.first() {
                    give(payee.id, in_turn[&at]);
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

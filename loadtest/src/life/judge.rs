//! Whether money, rows and units agree when everything is at rest: what the bank took and gave
//! back, what our books say of it, and what became of each order. Pure.

use std::collections::BTreeMap;

use domain::{id::BuyerId, order::Status};
use serde::{Deserialize, Serialize};

use super::Fate;
use crate::audit::RowEvidence;

/// What the bank says: the witness that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(crate) struct Statement {
    pub(crate) paid: u64,
    pub(crate) received: i64,
    pub(crate) refunds: u64,
    pub(crate) refunded: i64,
}

/// What our books say, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Books {
    /// Payments that came.
    pub paid: u64,
    /// Their sum.
    pub received: i64,
    /// Refunds that are done.
    pub refunds: u64,
    /// Their sum.
    pub refunded: i64,
    /// Attempts and refunds that somebody is still to look at.
    pub waiting: u64,
    /// Releases that the ledger has not passed.
    pub outbox: u64,
}

/// All accounts at rest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    pub(crate) books: Books,
    pub(crate) bank: Statement,
    /// Notices by what they came to, as the order service counted them.
    pub(crate) notices: BTreeMap<String, u64>,
    /// Forged notices that the bank was to send.
    pub(crate) forged: u64,
    /// Units that are not sold.
    pub(crate) left: u64,
    /// No process of ours died: its counts are of the whole run.
    pub(crate) is_whole: bool,
}

/// What became of the orders and their money.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// Orders that are paid.
    pub paid: u64,
    /// Orders that were not paid in time.
    pub expired: u64,
    /// Orders that their buyers cancelled.
    pub cancelled: u64,
    /// Payments that went back.
    pub refunded: u64,
    /// What the bank took, minor units.
    pub money_received: i64,
    /// What it gave back, minor units.
    pub money_refunded: i64,
    /// Received, less refunded, less the sum of the paid orders: 0.
    pub money_difference: i64,
    /// Payments that came too late and went back.
    pub late_refunded: u64,
    /// Payments that came too late and found a unit still.
    pub late_reinstated: u64,
    /// Buyers who only held.
    pub hoarders: u64,
    /// Units that are not sold.
    pub units_left: u64,
    /// Forged notices that the bank was to send.
    pub forged: u64,
    /// Notices, by what they came to.
    pub notices: BTreeMap<String, u64>,
    /// Whatever does not agree; empty.
    pub damage: Vec<String>,
}

/// Judges rows and accounts by what each buyer did; `fates`: of all buyers.
pub(crate) fn judge(
    rows: &[RowEvidence],
    fate_of: impl Fn(BuyerId) -> Option<Fate>,
    fates: &[Fate],
    accounts: &Accounts,
) -> Judgement {
    let Accounts { books, bank, notices, forged, left, is_whole } = accounts;
    let mut ends: BTreeMap<(Fate, &'static str), u64> = BTreeMap::new();
    for (row, fate) in rows.iter().filter_map(|row| Some((row, fate_of(row.buyer)?))) {
        *ends.entry((fate, row.status.as_str())).or_default() += 1;
    }
    let count = |is: &dyn Fn(Fate, &str) -> bool| {
        ends.iter().filter(|((fate, status), _)| is(*fate, status)).map(|(_, count)| count).sum::<u64>()
    };
    let with = |status: Status| count(&|_, is| is == status.as_str());
    let of = |fate: Fate, status: Status| count(&|its, is| its == fate && is == status.as_str());
    let paid_sum: i64 = rows.iter().filter(|row| row.status == Status::Paid).map(|row| row.total).sum();
    let judgement = Judgement {
        paid: with(Status::Paid),
        expired: with(Status::Expired),
        cancelled: with(Status::Cancelled),
        refunded: bank.refunds,
        money_received: bank.received,
        money_refunded: bank.refunded,
        money_difference: bank.received - bank.refunded - paid_sum,
        late_refunded: of(Fate::PaysLate, Status::Expired),
        late_reinstated: of(Fate::PaysLate, Status::Paid),
        hoarders: fates.iter().filter(|fate| **fate == Fate::Hoards).count() as u64,
        units_left: *left,
        forged: *forged,
        notices: notices.clone(),
        damage: Vec::new(),
    };
    let mut damage = ends_badly(&ends, fates);
    let mut unless = |holds: bool, what: &dyn Fn() -> String| {
        if !holds {
            damage.push(what());
        }
    };
    unless(judgement.money_difference == 0, &|| {
        format!("received less refunded less the paid orders is {}", judgement.money_difference)
    });
    let ours =
        Statement { paid: books.paid, received: books.received, refunds: books.refunds, refunded: books.refunded };
    unless(ours == *bank, &|| format!("our books say {ours:?}, the bank {bank:?}"));
    unless(bank.refunds == judgement.late_refunded, &|| {
        format!("{} payments came too late for their orders, and {} went back", judgement.late_refunded, bank.refunds)
    });
    unless(books.waiting == 0, &|| format!("{} attempts to pay and refunds are open", books.waiting));
    unless(books.outbox == 0, &|| format!("{} releases are in the outboxes", books.outbox));
    unless(*left == 0, &|| format!("{left} units are not sold"));
    let live = rows.iter().filter(|row| row.live).count() as u64;
    let honest = of(Fate::Pays, Status::Paid) + judgement.late_reinstated;
    unless(live == honest, &|| format!("{live} orders hold units, and {honest} of them are honest buyers' paid ones"));
    let counted = notices.get("forged").copied().unwrap_or(0);
    unless(counted == *forged || !is_whole, &|| format!("{forged} forged notices were sent, and {counted} counted"));
    Judgement { damage, ..judgement }
}

/// Orders that ended otherwise than what their buyers did, and buyers without one.
fn ends_badly(ends: &BTreeMap<(Fate, &'static str), u64>, fates: &[Fate]) -> Vec<String> {
    let may_end = |fate: Fate, status: &str| match fate {
        Fate::Pays => status == Status::Paid.as_str(),
        Fate::PaysLate => [Status::Expired, Status::Paid].iter().any(|is| is.as_str() == status),
        Fate::Hoards | Fate::Lapses | Fate::LapsesOpen => status == Status::Expired.as_str(),
        Fate::Cancels | Fate::CancelsOpen => status == Status::Cancelled.as_str(),
    };
    let wrong = ends.iter().filter(|((fate, status), _)| !may_end(*fate, status));
    let mut damage: Vec<String> = wrong
        .map(|((fate, status), count)| format!("{count} orders whose buyer {} are {status}", fate.as_str()))
        .collect();
    let mut asked: BTreeMap<Fate, u64> = BTreeMap::new();
    fates.iter().for_each(|fate| *asked.entry(*fate).or_default() += 1);
    for (fate, buyers) in asked {
        let orders: u64 = ends.iter().filter(|((of, _), _)| *of == fate).map(|(_, count)| count).sum();
        if orders != buyers {
            damage.push(format!("{buyers} buyers each {}, and they have {orders} orders", fate.as_str()));
        }
    }
    damage
}

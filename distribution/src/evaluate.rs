//! From what was frozen at the order to payouts, with a trace that explains each of them. A pure
//! function: the same frozen input gives the same payouts for ever, and a refund is the difference
//! to the payouts of what is left.

mod amount;
mod limit;
mod pairs;
mod pool;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use domain::money::AMOUNT_MAX;
use serde::{Deserialize, Serialize};

use crate::plan::{Cond, Currency, On, Operator, Plan, Relation, Rule, Test};

pub use amount::{divide, part};

/// A person as frozen at the event.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Id.
    pub id: u64,
    /// One of the plan's ranks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<String>,
    /// Flags, such as `distributor`, `kyc`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub flags: BTreeSet<String>,
    /// Aggregates under their text; each includes the line.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, i64>,
    /// Days since the person joined.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub joined: i64,
    /// Days since the bond with the buyer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bound: i64,
    /// Own purchase price per unit, minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<i64>,
    /// Weight in pools.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub points: i64,
}

impl Person {
    /// A person of whom nothing but the id is known.
    pub fn new(id: u64) -> Self {
        Self { id, ..Self::default() }
    }
}

/// What one event froze. Money in minor units. Its JSON is kept beside the ledger for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frozen {
    /// What happened.
    pub on: On,
    /// The event's sequence in its order.
    pub sequence: u64,
    /// The order line, or the source of a period.
    pub line: u64,
    /// Buyer, or whose volume it is.
    pub source: Person,
    /// Net paid.
    pub net: i64,
    /// Of it refunded up to now.
    pub refunded: i64,
    /// Units.
    pub quantity: i64,
    /// Of them returned up to now.
    pub returned: i64,
    /// Tags of the line, such as `flash_sale`, `first_order`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// Ancestors of the source, the nearest first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paths: BTreeMap<Relation, Vec<Person>>,
    /// Who stands above the last of the referral path: nobody whom it pays, and whose team's
    /// figures it counts for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub team: Vec<u64>,
    /// Candidates of pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Person>,
    /// Paid before in the window of a limit, by rule (empty: the plan) and person (0: all).
    #[serde(default, with = "pairs", skip_serializing_if = "BTreeMap::is_empty")]
    pub used: BTreeMap<(String, u64), i64>,
}

impl Frozen {
    /// A matured line of one unit whose buyer is person 1.
    pub fn line(line: u64, net: i64) -> Self {
        Self {
            on: On::Matured,
            sequence: 1,
            line,
            source: Person::new(1),
            net,
            refunded: 0,
            quantity: 1,
            returned: 0,
            tags: BTreeSet::new(),
            paths: BTreeMap::new(),
            team: Vec::new(),
            members: Vec::new(),
            used: BTreeMap::new(),
        }
    }

    fn left(&self) -> i64 {
        self.net - self.refunded
    }
}

/// Whose payout; without a beneficiary it is breakage.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct To {
    /// The rule.
    pub rule: String,
    /// The person.
    pub beneficiary: Option<u64>,
}

/// What is paid exactly once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The plan's name.
    pub plan: String,
    /// Its version.
    pub version: u32,
    /// Order line.
    pub line: u64,
    /// Sequence of the event.
    pub sequence: u64,
    /// Rule and beneficiary.
    pub to: To,
}

/// One amount to one beneficiary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payout {
    /// Whose.
    pub to: To,
    /// Minor units.
    pub amount: i64,
    /// In what.
    pub currency: Currency,
}

/// One sentence of the explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The rule, or empty for the plan.
    pub rule: String,
    /// About whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<u64>,
    /// What happened.
    pub why: Why,
}

/// Why somebody got what they got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Paid: so much of such a base; `rest` ppm of a minor unit were rounded down.
    Paid {
        /// Minor units.
        amount: i64,
        /// Minor units.
        base: i64,
        /// Millionths of a minor unit.
        rest: i64,
    },
    /// Passed over, by this condition.
    Skipped(String),
    /// The slot was lost, by this condition.
    SlotLost(String),
    /// The walk ended, by this condition.
    Stopped(String),
    /// No generation, by this condition.
    NotCounted(String),
    /// Somebody below has this rate or a higher one.
    Overtaken,
    /// Got the allowance of a peer.
    Peer,
    /// A limit took so much away, minor units.
    Limited(i64),
    /// The line carries a tag that pays nothing.
    Without(String),
    /// The line fails a condition of the rule.
    LineFails(String),
    /// The rule is run by a machine of its own (`place`, `match`, `queue`).
    ByMachine,
}

/// What an event pays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// In the order of rules and slots.
    pub payouts: Vec<Payout>,
    /// What limits put off to the next window.
    pub carried: BTreeMap<To, i64>,
    /// The explanation.
    pub trace: Vec<Note>,
}

/// Why nothing could be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// A number leaves its range.
    #[error("an amount of rule {0} does not fit 64 bits: refuse the event where it comes in")]
    Overflow(String),
    /// The line contradicts itself.
    #[error("the line has refunded {refunded} of {net}, returned {returned} of {quantity}: park the event")]
    Line {
        /// Net, minor units.
        net: i64,
        /// Refunded, minor units.
        refunded: i64,
        /// Units.
        quantity: i64,
        /// Units.
        returned: i64,
    },
}

impl Outcome {
    /// Totals by rule and beneficiary, without zeros.
    pub fn sums(&self) -> BTreeMap<To, i64> {
        let mut sums = BTreeMap::new();
        for payout in &self.payouts {
            *sums.entry(payout.to.clone()).or_insert(0) += payout.amount;
        }
        sums.retain(|_, amount| *amount != 0);
        sums
    }

    /// What is still to be posted where so much has accrued; negative amounts are taken back.
    pub fn against(&self, accrued: &BTreeMap<To, i64>) -> BTreeMap<To, i64> {
        let mut deltas = self.sums();
        for (to, amount) in accrued {
            *deltas.entry(to.clone()).or_insert(0) -= amount;
        }
        deltas.retain(|_, amount| *amount != 0);
        deltas
    }
}

struct Run<'a> {
    plan: &'a Plan,
    frozen: &'a Frozen,
    outcome: Outcome,
}

/// Evaluates an event.
///
/// # Errors
/// A line that contradicts itself, and amounts beyond 64 bits.
pub fn evaluate(plan: &Plan, frozen: &Frozen) -> Result<Outcome, EvaluateError> {
    let Frozen { net, refunded, quantity, returned, .. } = *frozen;
    if net > AMOUNT_MAX || !(0..=net).contains(&refunded) || !(0..=quantity).contains(&returned) {
        return Err(EvaluateError::Line { net, refunded, quantity, returned });
    }
    let mut run = Run { plan, frozen, outcome: Outcome::default() };
    if let Some(tag) = plan.without.intersection(&frozen.tags).next() {
        run.note("", None, Why::Without(tag.clone()));
        return Ok(run.outcome);
    }
    for rule in plan.rules.iter().filter(|rule| rule.on == frozen.on) {
        run.rule(rule)?;
    }
    limit::plan(&mut run)?;
    Ok(run.outcome)
}

/// What a refund changes: the payouts of what is left, less what has accrued. Negative amounts are
/// taken back; nothing is clamped.
///
/// # Errors
/// As [`evaluate`].
pub fn refund(plan: &Plan, frozen: &Frozen, accrued: &BTreeMap<To, i64>) -> Result<BTreeMap<To, i64>, EvaluateError> {
    Ok(evaluate(plan, frozen)?.against(accrued))
}

impl Run<'_> {
    fn note(&mut self, rule: &str, person: Option<u64>, why: Why) {
        self.outcome.trace.push(Note { rule: rule.to_owned(), person, why });
    }

    fn rule(&mut self, rule: &Rule) -> Result<(), EvaluateError> {
        if let Some(failed) = self.fails(&rule.when, &self.frozen.source) {
            self.note(&rule.name, None, Why::LineFails(failed));
            return Ok(());
        }
        let first = self.outcome.payouts.len();
        match &rule.pay {
            Operator::Walk(walk) => walk::walk(self, rule, walk)?,
            Operator::Pool(pool) => pool::pool(self, rule, pool)?,
            Operator::Place(_) | Operator::Match(_) | Operator::Queue(_) => {
                self.note(&rule.name, None, Why::ByMachine);
            }
        }
        // Sums of payouts stay far from the end of 64 bits.
        let total: i128 = self.outcome.payouts.iter().map(|payout| i128::from(payout.amount)).sum();
        if total > i128::from(AMOUNT_MAX) {
            return Err(EvaluateError::Overflow(rule.name.clone()));
        }
        match rule.limit {
            Some(limit) => limit::apply(self, limit, &rule.name, first),
            None => Ok(()),
        }
    }

    fn pay(&mut self, rule: &Rule, beneficiary: Option<u64>, amount: i64) {
        let currency = rule.currency.unwrap_or(self.plan.settle.currency);
        let to = To { rule: rule.name.clone(), beneficiary };
        self.outcome.payouts.push(Payout { to, amount, currency });
    }

    /// The first condition that does not hold.
    fn fails(&self, conds: &[Cond], person: &Person) -> Option<String> {
        conds.iter().find(|cond| self.test(&cond.test, person) == cond.not).map(ToString::to_string)
    }

    fn test(&self, test: &Test, person: &Person) -> bool {
        match test {
            Test::Flag(name) => person.flags.contains(name),
            Test::Rank(name) => {
                let own = person.rank.as_deref().and_then(|rank| self.plan.rank(rank));
                own.zip(self.plan.rank(name)).is_some_and(|(own, least)| own >= least)
            }
            Test::Joined(days) => person.joined < *days,
            Test::Bound(days) => person.bound < *days,
            Test::AtLeast(test) => figure(person, &test.agg.to_string()) >= test.value,
            Test::Tag(name) => self.frozen.tags.contains(name),
            Test::Net(least) => self.frozen.net >= *least,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn figure(person: &Person, name: &str) -> i64 {
    person.figures.get(name).copied().unwrap_or(0)
}

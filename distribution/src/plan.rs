//! The commission plan. Its serde form is the canonical JSON; `text` reads and `print` writes the
//! form for people. A published plan does not change: a change is the next version.

mod print;
mod text;
mod words;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use text::{Flaw, Flaws, parse};
pub use words::{
    Channel, Currency, Fold, Measure, On, OnFull, Overflow, Per, Relation, Rest, Share, Step, Weight, Window,
};

/// Parts per million of one: the scale of every rate.
pub const ONE: i64 = 1_000_000;

/// The JSON Schema of [`Plan`], as it is published.
pub const SCHEMA: &str = include_str!("../plan.schema.json");

/// A commission plan of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Name, the same in all versions.
    pub name: String,
    /// Rises by one with each published version.
    pub version: u32,
    /// Name of the jurisdiction profile, such as `CN-1`.
    pub profile: String,
    /// Greatest share of a line's base that all payouts may take, ppm.
    pub budget: i64,
    /// Gross margin of what is sold at the least, ppm; the worst case stays below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<i64>,
    /// Least base per unit, minor units: what fixed amounts are proved against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<i64>,
    /// First moment at which orders freeze this version, epoch ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// Ranks, the lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<String>,
    /// Tags whose lines pay nothing.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub without: BTreeSet<String>,
    /// What pays whom; in this order.
    pub rules: Vec<Rule>,
    /// Limit over all rules together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// When and how money gets out.
    pub settle: Settle,
}

/// One rule of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name, one of its kind in the plan.
    pub name: String,
    /// Which event it answers.
    pub on: On,
    /// What the line must fulfil.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Cond>,
    /// Who gets what.
    pub pay: Operator,
    /// In what; the plan's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// Limit of this rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

/// The five ways to find beneficiaries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// Climb a relation and pay each slot.
    Walk(Walk),
    /// Divide an amount among members.
    Pool(Pool),
    /// A placement tree whose full subtrees pay their head.
    Place(Place),
    /// Pair the volumes of two legs.
    Match(Match),
    /// A fund pays the head of a queue.
    Queue(Queue),
}

/// See [`Operator::Walk`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Walk {
    /// Relation to climb.
    pub relation: Relation,
    /// The source is the first of the path.
    #[serde(default, skip_serializing_if = "is_false")]
    pub own: bool,
    /// Each payout of this earlier rule is a base, and its beneficiary the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Whom it pays; all conditions hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<Cond>,
    /// Who counts as a generation; others neither are paid nor take a slot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub count_if: Vec<Cond>,
    /// What becomes of the slot of who fails the filter.
    #[serde(default = "strict", skip_serializing_if = "is_strict")]
    pub step: Step,
    /// Greatest number of slots.
    pub slots: u8,
    /// Greatest number of people looked at; `slots` when absent and the step is strict or stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u8>,
    /// The rate is cumulative: each gets what exceeds the greatest rate below.
    #[serde(default, skip_serializing_if = "is_false")]
    pub difference: bool,
    /// With `difference`: so many people of an equal rate get this rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// How much.
    pub rate: Rate,
}

/// Allowance for people of the rate below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Rate, ppm.
    pub ppm: i64,
    /// Greatest number of peers.
    pub count: u8,
}

/// See [`Operator::Pool`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// What is divided.
    pub source: Value,
    /// Flag of those who are members.
    pub members: String,
    /// Whether they share it or each gets it; there is no default.
    pub share: Share,
    /// How they share it.
    pub weight: Weight,
    /// With [`Weight::Ranked`]: weights from the first place on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub table: Vec<i64>,
    /// Greatest share of one member, minor units; the rest is breakage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<i64>,
}

/// See [`Operator::Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Seats below each person.
    pub width: u8,
    /// Levels below the head that must be full.
    pub depth: u8,
    /// Price of a seat, minor units.
    pub fee: i64,
    /// What the head gets.
    pub pay: i64,
    /// What becomes of the tree.
    pub on_full: OnFull,
}

/// See [`Operator::Match`]. Of `min(left, right / ratio)` it pays a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Rate of what is matched, ppm.
    pub ppm: i64,
    /// Right volume that one unit of left needs.
    pub ratio: i64,
    /// Levels up to which volume counts.
    pub depth: u8,
    /// Greatest payment of a period, minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<i64>,
    /// What becomes of the rest.
    pub rest: Rest,
}

/// See [`Operator::Queue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// What each line puts into the fund, ppm.
    pub fund: i64,
    /// What the head gets, minor units.
    pub target: i64,
}

/// An amount: of the base, per unit, or once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Parts per million of the base.
    Ppm(i64),
    /// Minor units for each unit bought.
    Each(i64),
    /// Minor units for the event.
    Fixed(i64),
}

/// How much a slot gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rate {
    /// By slot; one value alone holds for all slots.
    Slots(Vec<Value>),
    /// By rank, then by slot; a rank that is not listed gets nothing.
    Ranks(Vec<RankRate>),
    /// By a frozen aggregate.
    Tier(Tier),
    /// One amount, shared by weights among the slots.
    Split(Split),
    /// One of two, by the person.
    When(When),
    /// What the person's own price lies below the price of who bought from them.
    Gap(Gap),
}

/// No parameters: see [`Rate::Gap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {}

/// Rates of one rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankRate {
    /// One of the plan's ranks.
    pub rank: String,
    /// By slot.
    pub values: Vec<Value>,
}

/// See [`Rate::Tier`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Which aggregate of the person.
    pub by: Agg,
    /// Rising thresholds with the rate from there on.
    pub steps: Vec<TierStep>,
    /// Each part of the volume gets the rate of its own tier.
    #[serde(default, skip_serializing_if = "is_false")]
    pub marginal: bool,
}

/// One tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierStep {
    /// Least aggregate.
    pub from: i64,
    /// Rate, ppm.
    pub ppm: i64,
}

/// See [`Rate::Split`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Rate of the whole, ppm.
    pub ppm: i64,
    /// Weight of each slot.
    pub weights: Vec<i64>,
}

/// See [`Rate::When`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// What the person must fulfil.
    pub test: Vec<Cond>,
    /// If so.
    pub then: Value,
    /// If not.
    pub or: Value,
}

/// An aggregate, frozen for each person under its text (`sum(sales, self, month)`). It includes
/// the line that is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agg {
    /// How.
    pub fold: Fold,
    /// What.
    pub measure: Measure,
    /// Over whom.
    pub over: Over,
    /// Over which time.
    pub window: Window,
}

/// Whose figures an aggregate takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// The person's own customers' lines.
    #[serde(rename = "self")]
    Own,
    /// The own customers' lines of those whom the person brought.
    Direct,
    /// One leg.
    Leg,
    /// The person's own and those of so many levels below; 0 for all.
    Subtree(u8),
}

/// A condition; all of a list must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cond {
    /// The test must fail.
    #[serde(default, skip_serializing_if = "is_false")]
    pub not: bool,
    /// What is looked at.
    pub test: Test,
}

/// What a condition looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// The person carries a flag, such as `distributor`, `kyc`, `active`.
    Flag(String),
    /// The person's rank or a higher one.
    Rank(String),
    /// The person joined fewer days ago.
    Joined(i64),
    /// The person's bond with the buyer is younger than so many days.
    Bound(i64),
    /// A frozen aggregate is at least.
    AtLeast(AtLeast),
    /// The line carries a tag.
    Tag(String),
    /// The line's net is at least, minor units.
    Net(i64),
}

/// See [`Test::AtLeast`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtLeast {
    /// Which aggregate.
    pub agg: Agg,
    /// Minor units for sales, else a number.
    pub value: i64,
}

/// A bound on payouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// How much; a ppm is of the line's base.
    pub amount: Value,
    /// Whom.
    pub per: Per,
    /// In which time; [`Per::Line`] needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// What becomes of the rest.
    pub overflow: Overflow,
}

/// When and how money gets out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settle {
    /// In what rules pay that name nothing else.
    pub currency: Currency,
    /// Days after the receipt at which a payout matures.
    pub days: u16,
    /// By which way.
    pub channel: Channel,
    /// Each day pays so much of the whole, ppm; at once when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vest: Option<i64>,
    /// Refunds take back all that is above the target of what is left.
    pub clawback: bool,
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn strict() -> Step {
    Step::Strict
}

fn is_strict(step: &Step) -> bool {
    *step == Step::Strict
}

impl Plan {
    /// The version that an order at `at` (epoch ms) freezes: of those in force the highest.
    pub fn in_force(versions: &[Self], at: i64) -> Option<&Self> {
        versions.iter().filter(|plan| plan.from.is_none_or(|from| from <= at)).max_by_key(|plan| plan.version)
    }

    /// Where a rank stands among the plan's; the lowest is 0.
    pub fn rank(&self, name: &str) -> Option<usize> {
        self.ranks.iter().position(|rank| rank == name)
    }
}

impl std::str::FromStr for Plan {
    type Err = Flaws;
    fn from_str(text: &str) -> Result<Self, Flaws> {
        parse(text)
    }
}

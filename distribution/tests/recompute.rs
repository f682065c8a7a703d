//! Random events against a recomputation from scratch that shares no code with the evaluator. Goal:
//! whatever comes in whatever order, the ledger sums to zero, and everyone has what the orders'
//! frozen facts and final refunds come to. Each wrong variant of a rule is found by it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test ends the test")]

#[path = "recompute/naive.rs"]
mod naive;

use std::collections::BTreeMap;

use distribution::evaluate::{Frozen, Key, Person, To, evaluate, refund};
use distribution::ledger::{Account, Ledger};
use distribution::plan::{Plan, Relation};

use naive::{Fact, Heard, Kind};

/// Seeds and events of each: 1,000,000 events in release, fewer where the code is slow.
const SEEDS: u64 = if cfg!(debug_assertions) { 4 } else { 20 };
const EVENTS: usize = if cfg!(debug_assertions) { 10_000 } else { 50_000 };
const PEOPLE: u64 = 60;
const RANKS: [&str; 3] = ["c", "b", "a"];

const PLANS: [(Kind, &str); 5] = [
    (Kind::Levels, "rule levels: on matured walk(referral, filter active, slots 3, rate [10%, 5%, 3%])"),
    (
        Kind::Difference,
        "rule difference: on matured walk(referral, slots 3, difference, peer 2% 1, rate {c: 10%, b: 15%, a: 20%})",
    ),
    (Kind::Pool, "rule pool: on matured pool(10%, members active, split, weight points)"),
    (
        Kind::Tier,
        "rule tier: on matured walk(referral, slots 1, rate tier(sum(sales, self, total), [0.00 → 5%, 300.00 → 10%], marginal))",
    ),
    (Kind::Cap, "rule cap: on matured walk(referral, slots 1, rate 10%) limit 50.00 per user total breakage"),
];
/// Under which name the own sales of a person are frozen.
const SALES: &str = "sum(sales, self, total)";

/// What the engine under test does wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// Each refund is rounded by itself.
    FloorsEachRefund,
    /// The relation is read at the refund, not at the order.
    LiveRelation,
    /// Ranks and flags are read at the refund.
    LiveRank,
    /// No more is taken back than is there.
    ClampsClawback,
    /// A partial refund voids the whole.
    VoidsAll,
    /// A refund changes nothing.
    KeepsAll,
    /// A redelivery counts again.
    CountsTwice,
    /// An older cumulative refund that comes late replaces a newer one.
    TakesOlder,
    /// What goes back stays in the sales that the next line stands on.
    KeepsSales,
    /// The tier of a refund is that of the sales of now.
    LiveSales,
    /// What goes back makes no room under a limit.
    KeepsUse,
    /// Two lines do not see each other's use of a limit.
    ForgetsUse,
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

struct Order {
    plan: usize,
    frozen: Frozen,
    accrued: BTreeMap<To, i64>,
    /// Cumulative refunds that were sent, in their sequence.
    refunds: Vec<i64>,
    taken: usize,
}

struct World {
    wrong: Wrong,
    random: Random,
    plans: Vec<Plan>,
    ledger: Ledger,
    orders: Vec<Order>,
    above: Vec<u64>,
    people: Vec<Person>,
    withdrawn: BTreeMap<u64, i64>,
    /// By person: what the own customers bought under the plan of tiers, and what the limit let
    /// through.
    sales: BTreeMap<u64, i64>,
    used: BTreeMap<u64, i64>,
    heard: Vec<Heard>,
    steps: u64,
}

impl World {
    fn new(seed: u64, wrong: Wrong) -> Self {
        let text = |rule: &str| {
            format!(
                "plan \"p\" v1 profile INTL budget 30% {{\n ranks c < b < a\n {rule}\n settle cash after receipt+7d, channel transfer, clawback full\n}}"
            )
        };
        let plans = PLANS.iter().map(|(_, rule)| text(rule).parse().unwrap()).collect();
        let people = (0..=PEOPLE)
            .map(|id| Person { points: i64::try_from(id % 7).unwrap(), rank: Some(RANKS[0].into()), ..Person::new(id) })
            .collect();
        Self {
            wrong,
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            plans,
            ledger: Ledger::default(),
            orders: Vec::new(),
            above: (0..=PEOPLE).map(|id| id / 2).collect(),
            people,
            withdrawn: BTreeMap::new(),
            sales: BTreeMap::new(),
            used: BTreeMap::new(),
            heard: Vec::new(),
            steps: 0,
        }
    }

    fn path(&self, buyer: u64) -> Vec<Person> {
        let at = |id: u64| usize::try_from(id).unwrap();
        std::iter::successors(Some(self.above[at(buyer)]), |id| Some(self.above[at(*id)]))
            .take_while(|id| *id != 0)
            .map(|id| self.people[at(id)].clone())
            .collect()
    }

    fn post(&mut self, line: u64, sequence: u64, deltas: BTreeMap<To, i64>) {
        for (to, delta) in deltas {
            let mut delta = delta;
            if let (Wrong::ClampsClawback, Some(id)) = (self.wrong, to.beneficiary) {
                let has = self.ledger.balance(Account::Pending(id)) + self.ledger.balance(Account::Available(id));
                delta = delta.max(-has);
            }
            let key = Key { plan: "p".into(), version: 1, line, sequence, to };
            let entry = self.ledger.payout(key, delta).unwrap();
            self.ledger.post(&entry).unwrap();
        }
    }

    fn order(&mut self) {
        let line = u64::try_from(self.orders.len()).unwrap();
        let plan = usize::try_from(self.random.below(5)).unwrap();
        let buyer = 1 + self.random.below(PEOPLE);
        let mut frozen = Frozen::line(line, i64::try_from(1 + self.random.below(20_000)).unwrap());
        frozen.source = Person::new(buyer);
        frozen.paths.insert(Relation::Referral, self.path(buyer));
        if plan == 2 {
            frozen.members = self.people[1..12].to_vec();
        }
        self.look(plan, &mut frozen);
        let accrued = evaluate(&self.plans[plan], &frozen).unwrap().sums();
        self.count_use(plan, &frozen, &accrued);
        self.heard.push(Heard::Line(self.orders.len(), u128::try_from(frozen.net).unwrap()));
        self.post(line, 0, accrued.clone());
        // The same event comes again now and then.
        if self.random.below(4) == 0 {
            self.post(line, 0, accrued.clone());
        }
        self.orders.push(Order { plan, frozen, accrued, refunds: vec![0], taken: 0 });
    }

    /// Freezes the figures that a new line stands on, as the store keeps them.
    fn look(&mut self, plan: usize, frozen: &mut Frozen) {
        let net = frozen.net;
        let Some(seller) = frozen.paths.get_mut(&Relation::Referral).and_then(|path| path.first_mut()) else { return };
        if PLANS[plan].0 == Kind::Tier {
            let sales = self.sales.entry(seller.id).or_default();
            *sales += net;
            seller.figures.insert(SALES.into(), *sales);
        }
        if PLANS[plan].0 == Kind::Cap && self.wrong != Wrong::ForgetsUse {
            let used = self.used.get(&seller.id).copied().unwrap_or(0);
            frozen.used.insert(("cap".into(), seller.id), used);
        }
    }

    fn count_use(&mut self, plan: usize, frozen: &Frozen, deltas: &BTreeMap<To, i64>) {
        let seller = frozen.paths[&Relation::Referral].first().map(|person| person.id);
        for (to, delta) in deltas.iter().filter(|_| PLANS[plan].0 == Kind::Cap) {
            if to.beneficiary.is_some() && to.beneficiary == seller && (self.wrong != Wrong::KeepsUse || *delta > 0) {
                *self.used.entry(seller.unwrap()).or_default() += delta;
            }
        }
    }

    /// A refund, or one that was sent before and comes again or late.
    fn refund(&mut self, again: bool) {
        let Some(at) = self.some_order() else { return };
        let order = &mut self.orders[at];
        let (net, last) = (order.frozen.net, *order.refunds.last().unwrap());
        let mut sequence = order.refunds.len();
        if again {
            sequence = usize::try_from(self.random.below(u64::try_from(sequence).unwrap())).unwrap();
        } else {
            let more = 1 + self.random.below(u64::try_from((net - last).max(1)).unwrap());
            order.refunds.push((last + i64::try_from(more).unwrap()).min(net));
            // Now and then it is held up, and comes after later ones, or at the very end.
            if self.random.below(3) == 0 {
                return;
            }
        }
        self.deliver(at, sequence);
    }

    fn deliver(&mut self, at: usize, sequence: usize) {
        let order = &self.orders[at];
        let newer = sequence > order.taken;
        let before = order.frozen.refunded;
        if !newer && !matches!(self.wrong, Wrong::CountsTwice | Wrong::TakesOlder) {
            return;
        }
        let mut frozen = order.frozen.clone();
        frozen.refunded = order.refunds[sequence];
        match self.wrong {
            Wrong::LiveRelation => {
                frozen.paths.insert(Relation::Referral, self.path(frozen.source.id));
            }
            Wrong::LiveRank => {
                for person in frozen.paths.values_mut().flatten().chain(&mut frozen.members) {
                    *person = self.people[usize::try_from(person.id).unwrap()].clone();
                }
            }
            Wrong::VoidsAll => frozen.refunded = frozen.net,
            Wrong::KeepsAll => frozen.refunded = before,
            _ => {}
        }
        let seller = order.frozen.paths[&Relation::Referral].first().map(|person| person.id);
        if let (Kind::Tier, Some(seller)) = (PLANS[order.plan].0, seller) {
            let sales = self.sales.entry(seller).or_default();
            if self.wrong != Wrong::KeepsSales {
                *sales -= order.refunds[sequence] - before;
            }
            if self.wrong == Wrong::LiveSales {
                let path = frozen.paths.get_mut(&Relation::Referral).unwrap();
                path[0].figures.insert(SALES.into(), *sales);
            }
        }
        if newer {
            self.heard.push(Heard::Back(at, u128::try_from(order.refunds[sequence]).unwrap()));
        }
        let plan = &self.plans[order.plan];
        let mut deltas = refund(plan, &frozen, &order.accrued).unwrap();
        if matches!(self.wrong, Wrong::FloorsEachRefund | Wrong::CountsTwice) {
            let last =
                if self.wrong == Wrong::CountsTwice { order.refunds[sequence.saturating_sub(1)] } else { before };
            let mut part = order.frozen.clone();
            (part.net, part.refunded) = (order.refunds[sequence] - last, 0);
            deltas = evaluate(plan, &part).unwrap().sums();
            deltas.values_mut().for_each(|amount| *amount = -*amount);
        }
        self.steps += 1;
        let (line, step) = (order.frozen.line, self.steps);
        let order = &mut self.orders[at];
        for (to, delta) in &deltas {
            *order.accrued.entry(to.clone()).or_default() += delta;
        }
        order.frozen.refunded = order.refunds[sequence];
        order.taken = order.taken.max(sequence);
        let (plan, frozen) = (order.plan, order.frozen.clone());
        self.count_use(plan, &frozen, &deltas);
        self.post(line, step, deltas);
    }

    fn some_order(&mut self) -> Option<usize> {
        let count = u64::try_from(self.orders.len()).unwrap();
        (count > 0).then(|| usize::try_from(self.random.below(count)).unwrap())
    }

    fn mature(&mut self) {
        let Some(at) = self.some_order() else { return };
        let line = self.orders[at].frozen.line;
        for (to, amount) in self.orders[at].accrued.clone() {
            let Some(id) = to.beneficiary else { continue };
            let key = Key { plan: "p".into(), version: 1, line, sequence: 0, to };
            let entry = self.ledger.mature(key, id, amount).unwrap();
            self.ledger.post(&entry).unwrap();
        }
    }

    fn withdraw(&mut self) {
        let id = 1 + self.random.below(PEOPLE);
        let has = self.ledger.balance(Account::Available(id));
        let mut amount = i64::try_from(1 + self.random.below(2_000)).unwrap();
        // Often all there is, so that later refunds find nothing.
        if self.random.below(4) > 0 {
            amount = has.max(1);
        }
        self.steps += 1;
        let reserved = self.ledger.post(&Ledger::reserve(self.steps, id, amount).unwrap());
        assert_eq!(reserved.is_ok(), amount <= has, "a withdrawal takes what is available and no more");
        if reserved.is_err() {
            return;
        }
        let failed = self.random.below(3) == 0;
        let entry = if failed {
            self.ledger.give_back(self.steps, id, amount)
        } else {
            Ledger::pay(self.steps, id, amount, amount / 100, amount / 50)
        };
        assert_eq!(self.ledger.post(entry.as_ref().unwrap()), Ok(true));
        assert_eq!(self.ledger.post(entry.as_ref().unwrap()), Ok(false));
        *self.withdrawn.entry(id).or_default() += if failed { 0 } else { amount };
    }

    fn event(&mut self) {
        match self.random.below(16) {
            0..5 => self.order(),
            5..8 => self.refund(false),
            8 | 9 => self.refund(true),
            10 | 11 => {
                let at = usize::try_from(1 + self.random.below(PEOPLE)).unwrap();
                let rank = usize::try_from(self.random.below(3)).unwrap();
                self.people[at].rank = Some(RANKS[rank].into());
                if !self.people[at].flags.remove("active") {
                    self.people[at].flags.insert("active".into());
                }
            }
            12 => {
                let id = 2 + self.random.below(PEOPLE - 1);
                // A lower id, so that no circle comes to be.
                self.above[usize::try_from(id).unwrap()] = self.random.below(id);
            }
            13 | 14 => (0..8).for_each(|_| self.mature()),
            _ => self.withdraw(),
        }
    }

    /// Delivers what was held up, and compares.
    fn agrees(&mut self) -> Result<(), String> {
        for at in 0..self.orders.len() {
            let last = self.orders[at].refunds.len() - 1;
            if last > self.orders[at].taken {
                self.deliver(at, last);
            }
        }
        let sum: i128 = self.ledger.balances().values().map(|amount| i128::from(*amount)).sum();
        if sum != 0 {
            return Err(format!("the ledger sums to {sum}"));
        }
        let person = |person: &Person| naive::Payee {
            id: person.id,
            percent: [10, 15, 20][RANKS.iter().position(|rank| Some(*rank) == person.rank.as_deref()).unwrap()],
            active: person.flags.contains("active"),
            points: u128::try_from(person.points).unwrap(),
        };
        let facts: Vec<Fact> = self
            .orders
            .iter()
            .map(|order| Fact {
                kind: PLANS[order.plan].0,
                left: u128::try_from(order.frozen.net - order.refunds.last().unwrap()).unwrap(),
                path: order.frozen.paths[&Relation::Referral].iter().map(person).collect(),
                members: order.frozen.members.iter().map(person).collect(),
            })
            .collect();
        let expected = naive::recompute(&facts, &self.heard);
        for id in 1..=PEOPLE {
            let accounts =
                [Account::Pending(id), Account::Available(id), Account::Withdrawing(id), Account::Receivable(id)];
            let has: i64 = accounts.iter().map(|account| self.ledger.balance(*account)).sum();
            let has = i128::from(has + self.withdrawn.get(&id).unwrap_or(&0));
            let earned = expected.get(&id).copied().unwrap_or(0);
            if has != i128::try_from(earned).unwrap() {
                return Err(format!("person {id} has {has}, and earned {earned}"));
            }
        }
        Ok(())
    }
}

fn run(seed: u64, wrong: Wrong, events: usize) -> Result<(), String> {
    let mut world = World::new(seed, wrong);
    for _ in 0..events {
        world.event();
    }
    world.agrees()
}

#[test]
fn random_events_come_to_what_a_naive_recomputation_says() {
    for seed in 1..=SEEDS {
        assert_eq!(run(seed, Wrong::Nothing, EVENTS), Ok(()), "seed {seed}");
    }
}

#[test]
fn each_wrong_variant_is_found() {
    use Wrong as W;
    let all = [
        W::FloorsEachRefund,
        W::LiveRelation,
        W::LiveRank,
        W::ClampsClawback,
        W::VoidsAll,
        W::KeepsAll,
        W::CountsTwice,
        W::TakesOlder,
        W::KeepsSales,
        W::LiveSales,
        W::KeepsUse,
        W::ForgetsUse,
    ];
    for wrong in all {
        assert!((1..=3).any(|seed| run(seed, wrong, 3_000).is_err()), "{wrong:?} is not found");
    }
}

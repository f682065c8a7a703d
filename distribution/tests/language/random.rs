//! Plans drawn from a seed: every operator, rate, condition and wrapper.

use distribution::plan::*;

struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
    fn yes(&mut self) -> bool {
        self.below(2) == 0
    }
    fn number(&mut self, bound: u64) -> i64 {
        i64::try_from(self.below(bound)).unwrap()
    }
    fn byte(&mut self) -> u8 {
        u8::try_from(1 + self.below(255)).unwrap()
    }
    fn of<T: Copy>(&mut self, all: &[(&str, T)]) -> T {
        all[usize::try_from(self.below(u64::try_from(all.len()).unwrap())).unwrap()].1
    }
    fn maybe<T>(&mut self, one: impl Fn(&mut Self) -> T) -> Option<T> {
        self.yes().then(|| one(self))
    }
    fn many<T>(&mut self, least: u64, one: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..least + self.below(3)).map(|_| one(self)).collect()
    }
    fn name(&mut self) -> String {
        self.of(&[("", "gold"), ("", "silver"), ("", "own_flag"), ("", "金牌"), ("", "x-1")]).to_owned()
    }
    fn ppm(&mut self) -> i64 {
        self.number(1_000_001)
    }
    fn value(&mut self) -> Value {
        match self.below(3) {
            0 => Value::Ppm(self.ppm()),
            1 => Value::Each(self.number(1_000_000)),
            _ => Value::Fixed(self.number(1_000_000)),
        }
    }
    fn agg(&mut self) -> Agg {
        let over = match self.below(4) {
            0 => Over::Own,
            1 => Over::Direct,
            2 => Over::Leg,
            _ => Over::Subtree(self.byte() - 1),
        };
        Agg { fold: self.of(Fold::ALL), measure: self.of(Measure::ALL), over, window: self.of(Window::ALL) }
    }
    fn cond(&mut self) -> Cond {
        let test = match self.below(7) {
            0 => Test::Flag(self.name()),
            1 => Test::Rank(self.name()),
            2 => Test::Joined(self.number(999)),
            3 => Test::Bound(self.number(999)),
            4 => Test::AtLeast(AtLeast { agg: self.agg(), value: self.number(99_999) }),
            5 => Test::Tag(self.name()),
            _ => Test::Net(self.number(99_999)),
        };
        Cond { not: self.yes(), test }
    }
    fn limit(&mut self) -> Limit {
        let per = self.of(Per::ALL);
        let window = (per != Per::Line).then(|| self.of(Window::ALL));
        Limit { amount: self.value(), per, window, overflow: self.of(Overflow::ALL) }
    }
    fn rate(&mut self) -> Rate {
        match self.below(6) {
            0 => Rate::Slots(self.many(1, Self::value)),
            1 => Rate::Ranks(self.many(1, |d| RankRate { rank: d.name(), values: d.many(1, Self::value) })),
            2 => Rate::Tier(Tier {
                by: self.agg(),
                steps: self.many(1, |d| TierStep { from: d.number(99_999), ppm: d.ppm() }),
                marginal: self.yes(),
            }),
            3 => Rate::Split(Split { ppm: self.ppm(), weights: self.many(1, |d| 1 + d.number(99)) }),
            4 => Rate::When(When { test: self.many(1, Self::cond), then: self.value(), or: self.value() }),
            _ => Rate::Gap(Gap {}),
        }
    }
    fn operator(&mut self) -> Operator {
        match self.below(6) {
            0 => Operator::Pool(Pool {
                source: self.value(),
                members: self.name(),
                share: self.of(Share::ALL),
                weight: self.of(Weight::ALL),
                table: self.many(0, |d| 1 + d.number(99)),
                cap: self.maybe(|d| d.number(99_999)),
            }),
            1 => Operator::Place(Place {
                width: self.byte(),
                depth: self.byte(),
                fee: self.number(99_999),
                pay: self.number(99_999),
                on_full: self.of(OnFull::ALL),
            }),
            2 => Operator::Match(Match {
                ppm: self.ppm(),
                ratio: 1 + self.number(9),
                depth: self.byte(),
                cap: self.maybe(|d| d.number(99_999)),
                rest: self.of(Rest::ALL),
            }),
            3 => Operator::Queue(Queue { fund: self.ppm(), target: self.number(99_999) }),
            _ => Operator::Walk(Walk {
                relation: self.of(Relation::ALL),
                own: self.yes(),
                of: self.maybe(Self::name),
                filter: self.many(0, Self::cond),
                count_if: self.many(0, Self::cond),
                step: self.of(Step::ALL),
                slots: self.byte(),
                depth: self.maybe(Self::byte),
                difference: self.yes(),
                peer: self.maybe(|d| Peer { ppm: d.ppm(), count: d.byte() }),
                rate: self.rate(),
            }),
        }
    }
    fn rule(&mut self) -> Rule {
        Rule {
            name: self.name(),
            on: self.of(On::ALL),
            when: self.many(0, Self::cond),
            pay: self.operator(),
            currency: self.maybe(|d| d.of(Currency::ALL)),
            limit: self.maybe(Self::limit),
        }
    }
}

pub(crate) fn plan(seed: u64) -> Plan {
    let mut d = Draw(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    Plan {
        name: d.name() + " 计划",
        version: u32::try_from(1 + d.below(99)).unwrap(),
        profile: "CN-1".into(),
        budget: d.ppm(),
        margin: d.maybe(Draw::ppm),
        floor: d.maybe(|d| 1 + d.number(99_999)),
        from: d.maybe(|d| d.number(1 << 45)),
        ranks: d.many(0, Draw::name),
        without: d.many(0, Draw::name).into_iter().collect(),
        rules: d.many(1, Draw::rule),
        limit: d.maybe(Draw::limit),
        settle: Settle {
            currency: d.of(Currency::ALL),
            days: u16::try_from(d.below(999)).unwrap(),
            channel: d.of(Channel::ALL),
            vest: d.maybe(Draw::ppm),
            clawback: d.yes(),
        },
    }
}

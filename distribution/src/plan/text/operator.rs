//! Reads the five operators and the rates.

use super::super::{
    Gap, Match, OnFull, Operator, Peer, Place, Pool, Queue, RankRate, Rate, Relation, Rest, Share, Split, Step, Tier,
    TierStep, Walk, Weight, When,
};
use super::{Parser, Read};

impl Parser {
    pub(super) fn operator(&mut self) -> Read<Operator> {
        let names = [("walk", 0), ("pool", 1), ("place", 2), ("match", 3), ("queue", 4)];
        let which = self.pick(&names)?;
        self.want("(")?;
        let operator = match which {
            0 => Operator::Walk(self.walk()?),
            1 => Operator::Pool(self.pool()?),
            2 => Operator::Place(self.place()?),
            3 => Operator::Match(self.legs()?),
            _ => Operator::Queue(self.queue()?),
        };
        self.want(")")?;
        Ok(operator)
    }

    fn walk(&mut self) -> Read<Walk> {
        let relation = self.pick(Relation::ALL)?;
        let rate = Rate::Gap(Gap {});
        let (filter, count_if) = (Vec::new(), Vec::new());
        let mut walk = Walk {
            relation,
            own: false,
            of: None,
            filter,
            count_if,
            step: Step::Strict,
            slots: 0,
            depth: None,
            difference: false,
            peer: None,
            rate,
        };
        while self.take(",") {
            if self.take("self") {
                walk.own = true;
            } else if self.take("of") {
                walk.of = Some(self.word("the name of an earlier rule")?);
            } else if self.take("filter") {
                walk.filter = self.conds()?;
            } else if self.take("count_if") {
                walk.count_if = self.conds()?;
            } else if self.take("slots") {
                walk.slots = self.integer()?;
            } else if self.take("depth") {
                walk.depth = Some(self.integer()?);
            } else if self.take("difference") {
                walk.difference = true;
            } else if self.take("peer") {
                walk.peer = Some(Peer { ppm: self.percent()?, count: self.integer()? });
            } else if self.take("rate") {
                walk.rate = self.rate()?;
                return if walk.slots > 0 {
                    Ok(walk)
                } else {
                    Err(self.flaw("write `slots` with 1 to 255 before the rate"))
                };
            } else if let Some((_, step)) = Step::ALL.iter().find(|(word, _)| self.is(word)) {
                self.at += 1;
                walk.step = *step;
            } else {
                return Err(self.flaw("write one of self, of, filter, count_if, strict, compress, stop, slots, depth, difference, peer, rate here"));
            }
        }
        Err(self.flaw("a walk ends with its rate: write `, rate 10%`"))
    }

    fn rate(&mut self) -> Read<Rate> {
        if self.take("gap") {
            return Ok(Rate::Gap(Gap {}));
        }
        if self.take("tier") {
            self.want("(")?;
            let by = self.agg()?;
            self.want(",")?;
            self.want("[")?;
            let steps = self.list("]", |p| {
                let from = p.threshold(&by)?;
                if !p.take(":") {
                    p.want("→")?;
                }
                Ok(TierStep { from, ppm: p.percent()? })
            })?;
            self.want(",")?;
            let marginal = self.pick(&[("slab", false), ("marginal", true)])?;
            self.want(")")?;
            return Ok(Rate::Tier(Tier { by, steps, marginal }));
        }
        if self.take("split") {
            self.want("(")?;
            let ppm = self.percent()?;
            self.want(",")?;
            self.want("[")?;
            let weights = self.list("]", Self::integer)?;
            self.want(")")?;
            return Ok(Rate::Split(Split { ppm, weights }));
        }
        if self.take("when") {
            self.want("(")?;
            let test = self.conds()?;
            self.want(",")?;
            let then = self.value()?;
            self.want(",")?;
            let or = self.value()?;
            self.want(")")?;
            return Ok(Rate::When(When { test, then, or }));
        }
        if self.take("{") {
            let one = |p: &mut Self| {
                let rank = p.word("a rank")?;
                p.want(":")?;
                Ok(RankRate { rank, values: p.values()? })
            };
            return Ok(Rate::Ranks(self.list("}", one)?));
        }
        self.values().map(Rate::Slots)
    }

    fn pool(&mut self) -> Read<Pool> {
        let source = self.value()?;
        self.want(",")?;
        self.want("members")?;
        let members = self.word("the flag of the members")?;
        self.want(",")?;
        let share = self.pick(Share::ALL)?;
        self.want(",")?;
        self.want("weight")?;
        let weight = self.pick(Weight::ALL)?;
        let table = if self.take("[") { self.list("]", Self::integer)? } else { Vec::new() };
        let cap = self.cap()?;
        Ok(Pool { source, members, share, weight, table, cap })
    }

    fn cap(&mut self) -> Read<Option<i64>> {
        if self.is(",") && self.tokens.get(self.at + 1).is_some_and(|token| token.text == "cap") {
            self.at += 2;
            return self.money().map(Some);
        }
        Ok(None)
    }

    fn place(&mut self) -> Read<Place> {
        self.want("width")?;
        let width = self.integer()?;
        self.named("depth")?;
        let depth = self.integer()?;
        self.named("fee")?;
        let fee = self.money()?;
        self.named("pay")?;
        let pay = self.money()?;
        self.want(",")?;
        Ok(Place { width, depth, fee, pay, on_full: self.pick(OnFull::ALL)? })
    }

    fn legs(&mut self) -> Read<Match> {
        self.want("rate")?;
        let ppm = self.percent()?;
        self.named("ratio")?;
        let ratio = self.integer()?;
        self.named("depth")?;
        let depth = self.integer()?;
        let cap = self.cap()?;
        self.want(",")?;
        Ok(Match { ppm, ratio, depth, cap, rest: self.pick(Rest::ALL)? })
    }

    fn queue(&mut self) -> Read<Queue> {
        self.want("fund")?;
        let fund = self.percent()?;
        self.named("target")?;
        Ok(Queue { fund, target: self.money()? })
    }
}

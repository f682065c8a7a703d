//! The models as data. People are letters; members of pools are a, b, c and so on.

use std::collections::BTreeMap;

use distribution::evaluate::{Frozen, Person, evaluate};
use distribution::machine::{Forest, Waiting, match_legs};
use distribution::plan::{On, Operator, Plan, Relation};
use distribution::settle::vested;

/// One row.
pub(crate) struct Model {
    pub(crate) no: u32,
    pub(crate) name: &'static str,
    pub(crate) flag: char,
    pub(crate) head: &'static str,
    pub(crate) body: &'static [&'static str],
    pub(crate) input: &'static str,
    pub(crate) run: fn(&Plan) -> String,
    pub(crate) result: &'static str,
    /// By which rule the stricter profile refuses it.
    pub(crate) refused: &'static str,
    /// The usual one when empty.
    pub(crate) settle: &'static str,
}

fn money(amount: i64) -> String {
    format!("{}.{:02}", amount / 100, amount % 100)
}

/// `C`, `C:rank`, `C+flag`.
fn person(text: &str) -> Person {
    let (name, flag) = text.split_once('+').unwrap_or((text, ""));
    let (name, rank) = name.split_once(':').unwrap_or((name, ""));
    let mut person = Person::new(u64::from(name.chars().next().unwrap()));
    person.rank = (!rank.is_empty()).then(|| rank.to_owned());
    person.flags.extend((!flag.is_empty()).then(|| flag.to_owned()));
    person
}

fn people(text: &str) -> Vec<Person> {
    text.split_whitespace().map(person).collect()
}

fn on_path(relation: Relation, path: &str) -> Frozen {
    let mut line = Frozen::line(1, 10_000);
    line.source = person("D");
    line.paths.insert(relation, people(path));
    line
}

fn line(path: &str) -> Frozen {
    on_path(Relation::Referral, path)
}

fn with(name: &str, change: impl Fn(&mut Person)) -> Frozen {
    let mut line = line(name);
    line.paths.get_mut(&Relation::Referral).unwrap().iter_mut().for_each(change);
    line
}

fn period(source: &str, net: i64, figure: &str, value: i64, path: &str) -> Frozen {
    let mut line = Frozen { on: On::PeriodClosed, net, ..line(path) };
    line.source = person(source);
    line.source.figures.insert(figure.to_owned(), value);
    line
}

fn pool(net: i64, flag: &str, points: &[i64]) -> Frozen {
    let member = |(i, points): (usize, &i64)| Person {
        points: *points,
        flags: [flag.to_owned()].into(),
        ..Person::new(u64::from('a') + u64::try_from(i).unwrap())
    };
    let members = points.iter().enumerate().map(member).collect();
    Frozen { on: On::PeriodClosed, net, members, ..line("") }
}

/// What each gets over all events, in the order in which they are first paid.
fn paid(plan: &Plan, events: &[Frozen]) -> String {
    let mut order = Vec::new();
    let mut sums: BTreeMap<u64, i64> = BTreeMap::new();
    for event in events {
        for payout in evaluate(plan, event).unwrap().payouts {
            let id = payout.to.beneficiary.unwrap_or(0);
            if payout.amount != 0 && !order.contains(&id) {
                order.push(id);
            }
            *sums.entry(id).or_default() += payout.amount;
        }
    }
    let one = |id: &u64| match char::from_u32(u32::try_from(*id).unwrap()) {
        Some('\0') | None => format!("breakage {}", money(sums[id])),
        Some(name) => format!("{name}{}", money(sums[id])),
    };
    order.iter().map(one).collect::<Vec<_>>().join(" ")
}

const TEAM: &str = "sum(sales, subtree 0, month)";

fn below_a(leg: &str, net: i64, whole: i64) -> Frozen {
    let mut event = period(leg, net, TEAM, net, "A");
    let above = &mut event.paths.get_mut(&Relation::Referral).unwrap()[0];
    above.figures.insert(TEAM.to_owned(), whole);
    event
}

fn team(plan: &Plan) -> String {
    let whole = 118_500_000;
    let mut events = vec![period("A", 30_000_000, TEAM, whole, "")];
    for (leg, net) in [("B", 500_000), ("C", 3_000_000), ("D", 25_000_000), ("E", 60_000_000)] {
        events.push(below_a(leg, net, whole));
    }
    paid(plan, &events)
}

fn stairstep(plan: &Plan) -> String {
    paid(plan, &[period("A", 400_000, TEAM, 400_000, ""), below_a("B", 1_000_000, 400_000)])
}

/// So many people take seats, from 1 on.
fn forest(plan: &Plan, count: u64) -> String {
    let mut places = plan.rules.iter().filter_map(|rule| match rule.pay {
        Operator::Place(place) => Some(place),
        _ => None,
    });
    let mut forest = Forest::new(places.next_back().unwrap());
    let mut told = Vec::new();
    for id in 1..=count {
        if let Some(full) = forest.join(id) {
            told.push(format!("{id}: {} gets {}, {} trees", full.head, money(full.pay), forest.open()));
        }
    }
    told.join("; ")
}

fn legs(plan: &Plan) -> String {
    let Operator::Match(legs) = &plan.rules[0].pay else { return String::new() };
    let all = match_legs(legs, 50_000, 30_000).unwrap();
    let [paid, flushed, left, right] = [all.paid, all.flushed, all.left, all.right].map(money);
    format!("pays {paid}, flushes {flushed}, carries {left} and {right}")
}

fn queue(plan: &Plan) -> String {
    let Operator::Queue(queue) = plan.rules[0].pay else { return String::new() };
    let mut waiting = Waiting::new(queue);
    let left: usize = (1..=1_000).map(|id| waiting.buy(id, 10_000).unwrap().len()).sum();
    format!("{left} leave, {} wait", waiting.people.len())
}

pub(crate) const MODELS: &[Model] = &[
    Model {
        no: 1,
        name: "一级分销 / CPS",
        flag: 'G',
        head: "budget 10%",
        body: &["rule direct: on matured walk(referral, slots 1, rate 10%)"],
        input: "C, B, A above D",
        run: |p| paid(p, &[line("C B A")]),
        result: "C10.00",
        refused: "",
        settle: "",
    },
    Model {
        no: 2,
        name: "二级分销",
        flag: 'Y',
        head: "budget 15%",
        body: &["rule two: on matured walk(referral, slots 2, rate [10%, 5%])"],
        input: "C, B, A above D",
        run: |p| paid(p, &[line("C B A")]),
        result: "C10.00 B5.00",
        refused: "payees",
        settle: "",
    },
    Model {
        no: 3,
        name: "三级分销",
        flag: 'R',
        head: "budget 18%",
        body: &["rule three: on matured walk(referral, slots 3, rate [10%, 5%, 3%])"],
        input: "C, B, A above D",
        run: |p| paid(p, &[line("C B A")]),
        result: "C10.00 B5.00 A3.00",
        refused: "payees",
        settle: "",
    },
    Model {
        no: 4,
        name: "直推/间推奖",
        flag: 'Y',
        head: "budget 18% floor 50.00",
        body: &["rule fixed: on matured walk(referral, slots 2, rate [6.00 each, 3.00 each])"],
        input: "2 units",
        run: |p| paid(p, &[Frozen { quantity: 2, ..line("C B") }]),
        result: "C12.00 B6.00",
        refused: "payees",
        settle: "",
    },
    Model {
        no: 5,
        name: "自购返佣",
        flag: 'Y',
        head: "budget 15%",
        body: &["rule own: on matured walk(referral, self, slots 2, rate [10%, 5%])"],
        input: "C, B, A above D",
        run: |p| paid(p, &[line("C B A")]),
        result: "D10.00 C5.00",
        refused: "self-purchase",
        settle: "",
    },
    Model {
        no: 6,
        name: "二级分润",
        flag: 'Y',
        head: "budget 12%",
        body: &[
            "rule direct: on matured walk(referral, slots 1, rate 10%)",
            "rule above: on matured walk(referral, of direct, slots 1, rate 20%)",
        ],
        input: "C, B, A above D",
        run: |p| paid(p, &[line("C B A")]),
        result: "C10.00 B2.00",
        refused: "payees",
        settle: "",
    },
    Model {
        no: 7,
        name: "Recurring",
        flag: 'G',
        head: "budget 20%",
        body: &["rule year: on matured walk(referral, filter bound < 365d, slots 1, rate 20%)"],
        input: "days since the bond: 364, then 390",
        run: |p| [364, 390].map(|days| paid(p, &[with("C", |c| c.bound = days)])).join("; "),
        result: "C20.00; breakage 20.00",
        refused: "",
        settle: "",
    },
    Model {
        no: 8,
        name: "Multi-touch split",
        flag: 'G',
        head: "budget 10%",
        body: &["rule touch: on matured walk(touch, slots 3, rate split(10%, [40, 40, 20]))"],
        input: "touches C, B, A",
        run: |p| paid(p, &[on_path(Relation::Touch, "C B A")]),
        result: "C4.00 B4.00 A2.00",
        refused: "",
        settle: "",
    },
    Model {
        no: 9,
        name: "太阳线 (unilevel)",
        flag: 'R',
        head: "budget 12%",
        body: &["rule levels: on matured walk(referral, slots 3, rate [5%, 4%, 3%])"],
        input: "C, B, A above D",
        run: |p| paid(p, &[line("C B A")]),
        result: "C5.00 B4.00 A3.00",
        refused: "payees",
        settle: "",
    },
    Model {
        no: 10,
        name: "动态压缩: strict",
        flag: 'Y',
        head: "budget 15%",
        body: &["rule two: on matured walk(referral, filter active, slots 2, rate [10%, 5%])"],
        input: "C inactive",
        run: |p| paid(p, &[line("C B+active A+active")]),
        result: "breakage 10.00 B5.00",
        refused: "payees",
        settle: "",
    },
    Model {
        no: 10,
        name: "动态压缩: compress",
        flag: 'Y',
        head: "budget 15%",
        body: &["rule two: on matured walk(referral, filter active, compress, slots 2, depth 3, rate [10%, 5%])"],
        input: "C inactive",
        run: |p| paid(p, &[line("C B+active A+active")]),
        result: "B10.00 A5.00",
        refused: "payees",
        settle: "",
    },
    Model {
        no: 11,
        name: "Generation bonus",
        flag: 'R',
        head: "budget 5%",
        body: &[
            "ranks silver < gold",
            "rule generation: on matured walk(referral, count_if rank >= gold, slots 2, rate [3%, 2%])",
        ],
        input: "C silver, B and A gold",
        run: |p| paid(p, &[line("C:silver B:gold A:gold")]),
        result: "B3.00 A2.00",
        refused: "depth",
        settle: "",
    },
    Model {
        no: 12,
        name: "Matching / 领导奖",
        flag: 'R',
        head: "budget 6%",
        body: &[
            "rule second: on matured walk(referral, slots 2, rate [0%, 5%])",
            "rule lead: on matured walk(referral, of second, slots 1, rate 10%)",
        ],
        input: "B earns 5",
        run: |p| paid(p, &[line("C B A")]),
        result: "B5.00 A0.50",
        refused: "payees",
        settle: "",
    },
    Model {
        no: 13,
        name: "见点奖",
        flag: 'R',
        head: "budget 0%",
        body: &["rule seat: on registered walk(placement, slots 9, rate 1.00) limit 100.00 per user month breakage"],
        input: "three people above in the placement tree",
        run: |p| paid(p, &[Frozen { on: On::Registered, net: 0, ..on_path(Relation::Placement, "C B A") }]),
        result: "C1.00 B1.00 A1.00",
        refused: "placement",
        settle: "",
    },
    Model {
        no: 14,
        name: "Infinity bonus",
        flag: 'R',
        head: "budget 1%",
        body: &[
            "ranks gold < diamond",
            "rule infinity: on matured walk(referral, filter rank >= diamond, compress, slots 1, rate 1%)",
        ],
        input: "A is Diamond",
        run: |p| paid(p, &[line("C B:gold A:diamond")]),
        result: "A1.00",
        refused: "depth",
        settle: "",
    },
    Model {
        no: 15,
        name: "级差, three payees",
        flag: 'R',
        head: "budget 20%",
        body: &[
            "ranks c < b < a",
            "rule difference: on matured walk(referral, slots 3, difference, rate {c: 10%, b: 15%, a: 20%})",
        ],
        input: "C 10%, B 15%, A 20%",
        run: |p| paid(p, &[line("C:c B:b A:a")]),
        result: "C10.00 B5.00 A5.00",
        refused: "payees",
        settle: "",
    },
    Model {
        no: 15,
        name: "级差, two payees",
        flag: 'Y',
        head: "budget 20%",
        body: &[
            "ranks c < b < a",
            "rule difference: on matured walk(referral, slots 2, difference, rate {c: 10%, b: 15%, a: 20%})",
        ],
        input: "the same",
        run: |p| paid(p, &[line("C:c B:b A:a")]),
        result: "C10.00 B5.00",
        refused: "payees",
        settle: "",
    },
    Model {
        no: 16,
        name: "越级, three payees",
        flag: 'R',
        head: "budget 20%",
        body: &[
            "ranks c < b < a",
            "rule difference: on matured walk(referral, slots 3, difference, rate {c: 15%, b: 10%, a: 20%})",
        ],
        input: "C 15%, B 10%, A 20%",
        run: |p| paid(p, &[line("C:c B:b A:a")]),
        result: "C15.00 A5.00",
        refused: "payees",
        settle: "",
    },
    Model {
        no: 16,
        name: "越级, two payees",
        flag: 'Y',
        head: "budget 20%",
        body: &[
            "ranks c < b < a",
            "rule difference: on matured walk(referral, slots 2, difference, rate {c: 10%, b: 15%, a: 20%})",
        ],
        input: "C 15%, B 10%",
        run: |p| paid(p, &[line("C:b B:c A:a")]),
        result: "C15.00",
        refused: "payees",
        settle: "",
    },
    Model {
        no: 17,
        name: "平级奖",
        flag: 'R',
        head: "budget 22%",
        body: &[
            "ranks c < b < a",
            "rule difference: on matured walk(referral, slots 3, difference, peer 2% 1, rate {c: 15%, b: 15%, a: 20%})",
        ],
        input: "C and B 15%, A 20%; one peer of 2%",
        run: |p| paid(p, &[line("C:c B:b A:a")]),
        result: "C15.00 B2.00 A5.00",
        refused: "payees",
        settle: "",
    },
    Model {
        no: 18,
        name: "团队极差",
        flag: 'R',
        head: "budget 8%",
        body: &[
            "rule team: on period_closed walk(referral, self, slots 255, difference, rate tier(sum(sales, subtree 0, month), [0.00 → 2%, 20000.00 → 4%, 200000.00 → 6%, 500000.00 → 8%], slab))",
        ],
        input: "A's own 300,000; legs B 5,000, C 30,000, D 250,000, E 600,000 below A",
        run: team,
        result: "A30500.00 B100.00 C1200.00 D15000.00 E48000.00",
        refused: "team-pay",
        settle: "",
    },
    Model {
        no: 19,
        name: "Stairstep breakaway",
        flag: 'R',
        head: "budget 25%",
        body: &[
            "rule group: on period_closed walk(referral, self, slots 1, rate tier(sum(sales, subtree 0, month), [0.00 → 15%, 8000.00 → 21%], slab))",
            "rule leader: on period_closed walk(referral, slots 1, rate 4%)",
        ],
        input: "A's personal group 4,000; the broken-away leg of B 10,000",
        run: stairstep,
        result: "A1000.00 B2100.00",
        refused: "team-pay",
        settle: "",
    },
    Model {
        no: 20,
        name: "云仓 (price gap)",
        flag: 'Y',
        head: "budget 0%",
        body: &["rule stock: on matured walk(org, slots 1, rate gap)"],
        input: "C bought at 60, sells at 100",
        run: |p| {
            paid(
                p,
                &[Frozen {
                    paths: [(Relation::Org, vec![Person { price: Some(6_000), ..person("C") }])].into(),
                    ..line("")
                }],
            )
        },
        result: "C40.00",
        refused: "price-gap",
        settle: "",
    },
    Model {
        no: 21,
        name: "门店/店长",
        flag: 'G',
        head: "budget 8%",
        body: &[
            "ranks staff < manager",
            "rule store: on matured walk(org, slots 2, difference, rate {staff: 5%, manager: 8%})",
        ],
        input: "staff C, manager B",
        run: |p| paid(p, &[on_path(Relation::Org, "C:staff B:manager")]),
        result: "C5.00 B3.00",
        refused: "",
        settle: "",
    },
    Model {
        no: 22,
        name: "事业部/代理/员工",
        flag: 'Y',
        head: "budget 20%",
        body: &[
            "ranks staff < agent < division",
            "rule firm: on matured walk(org, slots 3, difference, rate {staff: 10%, agent: 15%, division: 20%})",
        ],
        input: "staff C, agent B, division A",
        run: |p| paid(p, &[on_path(Relation::Org, "C:staff B:agent A:division")]),
        result: "C10.00 B5.00 A5.00",
        refused: "levels",
        settle: "",
    },
    Model {
        no: 23,
        name: "区域代理级差",
        flag: 'Y',
        head: "budget 6%",
        body: &[
            "ranks district < city < province",
            "rule region: on matured walk(territory, slots 3, difference, rate {district: 3%, city: 5%, province: 6%})",
        ],
        input: "district C, city B, province A",
        run: |p| paid(p, &[on_path(Relation::Territory, "C:district B:city A:province")]),
        result: "C3.00 B2.00 A1.00",
        refused: "levels",
        settle: "",
    },
    Model {
        no: 24,
        name: "阶梯返佣, slab",
        flag: 'G',
        head: "budget 8%",
        body: &[
            "rule tier: on period_closed walk(referral, self, slots 1, rate tier(sum(sales, self, month), [0.00 → 5%, 10000.00 → 8%], slab))",
        ],
        input: "D's own sales 12,000",
        run: |p| paid(p, &[period("D", 1_200_000, "sum(sales, self, month)", 1_200_000, "")]),
        result: "D960.00",
        refused: "",
        settle: "",
    },
    Model {
        no: 24,
        name: "阶梯返佣, marginal",
        flag: 'G',
        head: "budget 8%",
        body: &[
            "rule tier: on period_closed walk(referral, self, slots 1, rate tier(sum(sales, self, month), [0.00 → 5%, 10000.00 → 8%], marginal))",
        ],
        input: "D's own sales 12,000",
        run: |p| paid(p, &[period("D", 1_200_000, "sum(sales, self, month)", 1_200_000, "")]),
        result: "D660.00",
        refused: "",
        settle: "",
    },
    Model {
        no: 25,
        name: "团队业绩阶梯",
        flag: 'R',
        head: "budget 2%",
        body: &[
            "rule team: on period_closed walk(referral, self, slots 1, rate tier(sum(sales, subtree 0, month), [0.00 → 0%, 50000.00 → 2%], slab))",
        ],
        input: "subtree of D 60,000",
        run: |p| paid(p, &[period("D", 6_000_000, "sum(sales, subtree 0, month)", 6_000_000, "")]),
        result: "D1200.00",
        refused: "team-pay",
        settle: "",
    },
    Model {
        no: 26,
        name: "晋级奖",
        flag: 'Y',
        head: "budget 0%",
        body: &[
            "rule rank: on rank_changed walk(org, self, slots 1, rate 200.00) limit 200.00 per user total breakage",
        ],
        input: "D's rank rises",
        run: |p| paid(p, &[Frozen { on: On::RankChanged, net: 0, ..line("") }]),
        result: "D200.00",
        refused: "rank-bonus",
        settle: "",
    },
    Model {
        no: 26,
        name: "晋级奖 by recruits",
        flag: 'R',
        head: "budget 0%",
        body: &[
            "rule rank: on rank_changed if count(people, direct, total) >= 3 walk(org, self, slots 1, rate 200.00) limit 200.00 per user total breakage",
        ],
        input: "D has brought 3 people",
        run: |p| {
            let mut e = Frozen { on: On::RankChanged, net: 0, ..line("") };
            e.source.figures.insert("count(people, direct, total)".into(), 3);
            paid(p, &[e])
        },
        result: "D200.00",
        refused: "recruits",
        settle: "",
    },
    Model {
        no: 27,
        name: "邀请有礼",
        flag: 'G',
        head: "budget 0%",
        body: &[
            "rule inviter: on matured if tag(first_order) & net >= 50.00 walk(referral, slots 1, rate 10.00) pays coupon limit 100.00 per user month breakage",
            "rule invitee: on matured if tag(first_order) & net >= 50.00 walk(referral, self, slots 1, rate 10.00) pays coupon limit 100.00 per user month breakage",
        ],
        input: "the first order, ¥100",
        run: |p| paid(p, &[Frozen { tags: ["first_order".to_owned()].into(), ..line("C") }]),
        result: "C10.00 D10.00",
        refused: "",
        settle: "",
    },
    Model {
        no: 28,
        name: "Cash per registration",
        flag: 'R',
        head: "budget 0%",
        body: &["rule join: on registered walk(referral, slots 1, rate 1.00) limit 100.00 per user month breakage"],
        input: "D joins by C",
        run: |p| paid(p, &[Frozen { on: On::Registered, net: 0, ..line("C") }]),
        result: "C1.00",
        refused: "recruits",
        settle: "",
    },
    Model {
        no: 29,
        name: "拼团团长佣金",
        flag: 'G',
        head: "budget 5%",
        body: &["rule leader: on group_formed walk(referral, self, slots 1, rate 5%)"],
        input: "D leads the group",
        run: |p| paid(p, &[Frozen { on: On::GroupFormed, ..line("C") }]),
        result: "D5.00",
        refused: "",
        settle: "",
    },
    Model {
        no: 30,
        name: "购物积分",
        flag: 'G',
        head: "budget 0%",
        body: &["rule points: on matured walk(referral, self, slots 1, rate 100%) pays points"],
        input: "C, B, A above D",
        run: |p| paid(p, &[line("C B A")]),
        result: "D100.00",
        refused: "",
        settle: "",
    },
    Model {
        no: 31,
        name: "Fast-start boost",
        flag: 'G',
        head: "budget 15%",
        body: &["rule fast: on matured walk(referral, slots 1, rate when(joined < 30d, 15%, 10%))"],
        input: "C joined 29, then 30 days ago",
        run: |p| [29, 30].map(|days| paid(p, &[with("C", |c| c.joined = days)])).join("; "),
        result: "C15.00; C10.00",
        refused: "",
        settle: "",
    },
    Model {
        no: 32,
        name: "区域代理 pool, split",
        flag: 'Y',
        head: "budget 5%",
        body: &["rule agents: on period_closed pool(5%, members agent, split, weight equal)"],
        input: "2 agents",
        run: |p| paid(p, &[pool(10_000, "agent", &[1, 1])]),
        result: "a2.50 b2.50",
        refused: "dividend",
        settle: "",
    },
    Model {
        no: 32,
        name: "区域代理 pool, each",
        flag: 'Y',
        head: "budget 10%",
        body: &[
            "rule agents: on period_closed pool(5%, members agent, each, weight equal) limit 10% per line breakage",
        ],
        input: "2 agents",
        run: |p| paid(p, &[pool(10_000, "agent", &[1, 1])]),
        result: "a5.00 b5.00",
        refused: "dividend",
        settle: "",
    },
    Model {
        no: 33,
        name: "股东分红",
        flag: 'Y',
        head: "budget 10%",
        body: &["rule holders: on period_closed pool(10%, members holder, split, weight points)"],
        input: "weights 10 × 2, 20 × 5, 30 × 10",
        run: |p| {
            paid(p, &[pool(10_000, "holder", &[10, 10, 20, 20, 20, 20, 20, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30])])
        },
        result: "a0.24 b0.24 c0.48 d0.48 e0.48 f0.48 g0.48 h0.72 i0.72 j0.71 k0.71 l0.71 m0.71 n0.71 o0.71 p0.71 q0.71",
        refused: "dividend",
        settle: "",
    },
    Model {
        no: 33,
        name: "股东分红, bought",
        flag: 'R',
        head: "budget 10%",
        body: &["rule holders: on period_closed pool(10%, members bought_shares, split, weight points)"],
        input: "weights 1, 1",
        run: |p| paid(p, &[pool(10_000, "bought_shares", &[1, 1])]),
        result: "a5.00 b5.00",
        refused: "free-entry",
        settle: "",
    },
    Model {
        no: 34,
        name: "全球/全民分红",
        flag: 'Y',
        head: "budget 1%",
        body: &["rule all: on period_closed pool(1%, members member, split, weight equal)"],
        input: "¥1,000,000; 40 members, the first and the last are shown",
        run: |p| {
            let all = paid(p, &[pool(100_000_000, "member", &[1; 40])]);
            let all: Vec<_> = all.split(' ').collect();
            format!("{}, {} … {}", all.len(), all[0], all[39])
        },
        result: "40, a250.00 … \u{88}250.00",
        refused: "dividend",
        settle: "",
    },
    Model {
        no: 35,
        name: "加权分红 + cap",
        flag: 'Y',
        head: "budget 30%",
        body: &["rule weighted: on period_closed pool(10%, members member, split, weight points, cap 5000.00)"],
        input: "10% of ¥100,000; weights 1, 3, 6",
        run: |p| paid(p, &[pool(10_000_000, "member", &[1, 3, 6])]),
        result: "a1000.00 b3000.00 c5000.00 breakage 1000.00",
        refused: "dividend",
        settle: "",
    },
    Model {
        no: 36,
        name: "排行榜",
        flag: 'G',
        head: "budget 0%",
        body: &["rule best: on period_closed pool(3000.00, members seller, split, weight ranked [50, 30, 20])"],
        input: "points 10, 30, 20, 5",
        run: |p| paid(p, &[pool(10_000_000, "seller", &[10, 30, 20, 5])]),
        result: "b1500.00 c900.00 a600.00",
        refused: "",
        settle: "",
    },
    Model {
        no: 37,
        name: "Caps / breakage",
        flag: 'G',
        head: "budget 30%",
        body: &[
            "rule a: on matured walk(referral, slots 1, rate 20%)",
            "rule b: on matured walk(org, slots 1, rate 10%)",
            "rule c: on matured walk(territory, slots 1, rate 5%)",
            "limit 30% per line scale",
        ],
        input: "C by referral, B by org, A by territory",
        run: |p| {
            let mut e = line("C");
            e.paths.insert(Relation::Org, people("B"));
            e.paths.insert(Relation::Territory, people("A"));
            paid(p, &[e])
        },
        result: "C17.14 B8.57 A4.29",
        refused: "",
        settle: "",
    },
    Model {
        no: 38,
        name: "公排 2×2",
        flag: 'R',
        head: "budget 100%",
        body: &["rule matrix: on paid place(width 2, depth 2, fee 100.00, pay 400.00, exit)"],
        input: "seven people; six seats below the head",
        run: |p| forest(p, 7),
        result: "7: 1 gets 400.00, 0 trees",
        refused: "place",
        settle: "",
    },
    Model {
        no: 39,
        name: "三三复制",
        flag: 'R',
        head: "budget 100%",
        body: &["rule three: on paid place(width 3, depth 2, fee 100.00, pay 300.00, reenter)"],
        input: "thirteen people; 12 seats below the head, who begins the next stage",
        run: |p| forest(p, 13),
        result: "13: 1 gets 300.00, 3 trees",
        refused: "place",
        settle: "",
    },
    Model {
        no: 40,
        name: "七星拼购 1+2+4",
        flag: 'R',
        head: "budget 75%",
        body: &["rule seven: on paid place(width 2, depth 2, fee 100.00, pay 300.00, split)"],
        input: "eleven people",
        run: |p| forest(p, 11),
        result: "7: 1 gets 300.00, 2 trees; 11: 2 gets 300.00, 3 trees",
        refused: "place",
        settle: "",
    },
    Model {
        no: 41,
        name: "链动2+1",
        flag: 'R',
        head: "budget 75% floor 499.00",
        body: &[
            "ranks agent < boss",
            "rule chain: on matured walk(referral, slots 3, difference, peer 10% 1, rate {agent: 100.00 each, boss: 300.00 each})",
            "rule leave: on paid place(width 2, depth 1, fee 499.00, pay 0.00, reparent)",
        ],
        input: "agent C under boss B sells; then B sells; then C has brought two",
        run: |p| [paid(p, &[line("C:agent B:boss")]), paid(p, &[line("B:boss")]), forest(p, 3)].join("; "),
        result: "C100.00 B200.00; B300.00; 3: 1 gets 0.00, 2 trees",
        refused: "place",
        settle: "",
    },
    Model {
        no: 42,
        name: "双轨对碰",
        flag: 'R',
        head: "budget 5%",
        body: &["rule legs: on period_closed match(rate 10%, ratio 1, depth 1, carry)"],
        input: "L 500, R 300",
        run: legs,
        result: "pays 30.00, flushes 0.00, carries 200.00 and 0.00",
        refused: "match",
        settle: "",
    },
    Model {
        no: 42,
        name: "双轨对碰, cap",
        flag: 'R',
        head: "budget 5%",
        body: &["rule legs: on period_closed match(rate 10%, ratio 1, depth 1, cap 20.00, carry)"],
        input: "L 500, R 300",
        run: legs,
        result: "pays 20.00, flushes 10.00, carries 200.00 and 0.00",
        refused: "match",
        settle: "",
    },
    Model {
        no: 43,
        name: "排队免单",
        flag: 'R',
        head: "budget 20%",
        body: &["rule free: on paid queue(fund 20%, target 100.00)"],
        input: "1,000 buyers of ¥100",
        run: queue,
        result: "200 leave, 800 wait",
        refused: "queue",
        settle: "",
    },
    Model {
        no: 44,
        name: "消费全返",
        flag: 'R',
        head: "budget 100%",
        body: &["rule back: on paid walk(referral, self, slots 1, rate 100%)"],
        input: "¥100; day 1, 1,999, 2,000, 2,001",
        run: |p| {
            let whole = 10_000;
            let ppm = p.settle.vest.unwrap();
            [1, 1_999, 2_000, 2_001].map(|day| money(vested(whole, ppm, day).unwrap())).join(" ")
        },
        result: "0.05 99.95 100.00 100.00",
        refused: "time-yield",
        settle: "settle cash after receipt+7d, channel transfer, vest 0.05%, clawback full",
    },
    Model {
        no: 45,
        name: "拼团不中返",
        flag: 'R',
        head: "budget 0%",
        body: &[
            "rule lost: on group_formed pool(3.00, members lost_draw, each, weight equal) limit 30.00 per plan month breakage",
        ],
        input: "10 pay 100; 3 win; 7 get their 100 back as a refund, and",
        run: |p| paid(p, &[Frozen { on: On::GroupFormed, ..pool(10_000, "lost_draw", &[1; 7]) }]),
        result: "a3.00 b3.00 c3.00 d3.00 e3.00 f3.00 g3.00",
        refused: "lottery",
        settle: "",
    },
];

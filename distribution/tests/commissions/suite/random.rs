//! Goal: under a plan with tiers over own sales and teams and with a limit, the store comes to what
//! a recomputation from the events says, which shares no code with it. Method: orders, payments,
//! refunds and rebinds at random, of which some come late, twice or before what they follow.

use std::collections::BTreeMap;

use domain::event::{EventKind, OrderEvent};
use kit::clock::Clock as _;

use super::rig::{DAY_MS, Rig, bought, later};

const PLAN: &str = r#"plan "two" v2 profile INTL budget 60% {
  base net_paid where not tag(flash_sale)
  rule own: on matured walk(referral, slots 1, rate tier(sum(sales, self, month), [0.00 → 5%, 300.00 → 10%], marginal))
  rule team: on matured walk(referral, slots 2, rate tier(sum(sales, subtree 0, month), [0.00 → 0%, 300.00 → 2%, 900.00 → 4%], slab))
  rule capped: on matured walk(referral, slots 1, rate 10%) limit 30.00 per user day breakage
  settle cash after receipt+22d, channel transfer, clawback full
}"#;
const EVENTS: usize = 150;
const BUYERS: [u64; 4] = [20, 21, 22, 23];

/// An order as the events tell it.
struct Order {
    first: OrderEvent,
    paid: OrderEvent,
    /// Who stood above the buyer, the nearest first.
    above: Vec<u64>,
    month: u64,
    day: u64,
    /// Cumulative refunds that were made.
    refunds: Vec<i64>,
    heard_created: bool,
    heard_paid: bool,
    heard_back: i64,
    /// What the payment found, once both were heard: volume of the seller before it, rate of the
    /// first two above, and what the seller was paid of the limit that day.
    found: Option<(i64, [i64; 2], i64)>,
    /// Of the limited rule.
    capped: i64,
}

/// All that was earned, from what was heard, one event after the other.
#[derive(Default)]
struct Naive {
    own: BTreeMap<(u64, u64), i64>,
    team: BTreeMap<(u64, u64), i64>,
    used: BTreeMap<(u64, u64), i64>,
}

const NET: i64 = 9_999;

impl Naive {
    fn hear(&mut self, order: &mut Order) {
        if !(order.heard_created && order.heard_paid) {
            return;
        }
        let back = order.heard_back;
        if order.found.is_none() {
            let seller = order.above[0];
            let own = self.own.entry((seller, order.month)).or_default();
            let before = *own;
            *own += NET;
            let mut rates = [0, 0];
            for (level, person) in order.above.iter().enumerate() {
                let team = self.team.entry((*person, order.month)).or_default();
                *team += NET;
                if level < 2 {
                    rates[level] = if *team >= 90_000 { 4 } else { 2 * i64::from(*team >= 30_000) };
                }
            }
            order.found = Some((before, rates, *self.used.entry((seller, order.day)).or_default()));
            self.turn(order, 0, 0);
            self.turn(order, 0, back);
        } else {
            self.turn(order, order.heard_back, back);
        }
    }

    /// So much has gone back instead of so much.
    fn turn(&mut self, order: &mut Order, was: i64, is: i64) {
        for (person, own) in order.above.iter().zip([true].into_iter().chain(std::iter::repeat(false))) {
            *self.team.entry((*person, order.month)).or_default() -= is - was;
            if own {
                *self.own.entry((*person, order.month)).or_default() -= is - was;
            }
        }
        let (_, _, used) = order.found.unwrap();
        let wanted = if is == NET { 0 } else { ((NET - is) / 10).min((3_000 - used).max(0)) };
        *self.used.entry((order.above[0], order.day)).or_default() += wanted - order.capped;
        order.capped = wanted;
    }
}

/// 5 % up to 300.00, 10 % above.
fn tier(volume: i64) -> i64 {
    (volume.min(30_000) * 5 + (volume - 30_000).max(0) * 10) / 100
}

fn earned(orders: &[Order]) -> BTreeMap<u64, i64> {
    let mut earned = BTreeMap::new();
    for order in orders {
        let Some((before, rates, _)) = order.found else { continue };
        let left = NET - order.heard_back;
        *earned.entry(order.above[0]).or_insert(0) += tier(before + left) - tier(before) + order.capped;
        for (person, rate) in order.above.iter().zip(rates) {
            *earned.entry(*person).or_insert(0) += left * rate / 100;
        }
    }
    earned
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % bound as u64).unwrap()
    }
}

/// What is sent, and tells the recomputation what was heard.
enum Sent {
    Created,
    Paid,
    Back(usize),
}

async fn send(rig: &Rig, naive: &mut Naive, order: &mut Order, sent: Sent) {
    let event = match sent {
        Sent::Created => order.first,
        Sent::Paid => order.paid,
        Sent::Back(number) if order.refunds[number] == NET => later(&order.first, 7, EventKind::Refunded, 0),
        Sent::Back(number) => {
            let sequence = u8::try_from(8 + number).unwrap();
            later(&order.first, sequence, EventKind::RefundedInPart, order.refunds[number])
        }
    };
    rig.feed(&[event]).await;
    let before = order.heard_back;
    match sent {
        Sent::Created => order.heard_created = true,
        Sent::Paid => order.heard_paid = true,
        // An older one that comes late says less than is known.
        Sent::Back(number) => order.heard_back = order.heard_back.max(order.refunds[number]),
    }
    let was_found = order.found.is_some();
    if was_found {
        let is = order.heard_back;
        naive.turn(order, before, is);
    } else {
        naive.hear(order);
    }
}

#[tokio::test]
async fn random_events_under_tiers_teams_and_limits_come_to_what_a_recomputation_says() {
    let rig = Rig::start().await;
    rig.publish(PLAN).await.expect(201);
    for (buyer, parent) in [(21, 12), (22, 11), (23, 10)] {
        rig.bind(buyer, parent).await.expect(200);
    }
    rig.pass(5_000);
    let mut above: BTreeMap<u64, u64> = [(20, 12), (21, 12), (22, 11), (23, 10), (12, 11), (11, 10)].into();
    let (mut random, mut naive, mut orders) = (Random(0x9E37_79B9_7F4A_7C15), Naive::default(), Vec::<Order>::new());
    for _ in 0..EVENTS {
        match random.below(12) {
            0..4 => {
                let buyer = BUYERS[random.below(4)];
                let now_ms = rig.clock.now_ms();
                let [first, paid] = bought(buyer, now_ms, 0);
                let path = std::iter::successors(above.get(&buyer).copied(), |person| above.get(person).copied());
                // The months of the test: it begins at the 11th of one of 30 days.
                let day = (now_ms - super::rig::BEGIN_MS) / DAY_MS;
                orders.push(Order {
                    first,
                    paid,
                    above: path.collect(),
                    month: u64::from(day >= 20),
                    day,
                    refunds: Vec::new(),
                    heard_created: false,
                    heard_paid: false,
                    heard_back: 0,
                    found: None,
                    capped: 0,
                });
                let order = orders.last_mut().unwrap();
                let early = random.below(3) == 0;
                for sent in if early { [Sent::Paid, Sent::Created] } else { [Sent::Created, Sent::Paid] } {
                    // The payment is heard of much later now and then.
                    if !(matches!(sent, Sent::Paid) && random.below(5) == 0) {
                        send(&rig, &mut naive, order, sent).await;
                    }
                }
            }
            4..9 if !orders.is_empty() => {
                let at = random.below(orders.len());
                let order = &mut orders[at];
                let last = order.refunds.last().copied().unwrap_or(0);
                if last < NET && order.refunds.len() < 20 {
                    let more = i64::try_from(1 + random.below(6_000)).unwrap();
                    order.refunds.push((last + more).min(NET));
                }
                let number = random.below(order.refunds.len());
                send(&rig, &mut naive, order, Sent::Back(number)).await;
            }
            9 if !orders.is_empty() => {
                let at = random.below(orders.len());
                send(&rig, &mut naive, &mut orders[at], Sent::Paid).await;
            }
            10 => {
                let (buyer, parent) = (BUYERS[random.below(4)], 10 + random.below(3) as u64);
                rig.bind(buyer, parent).await.expect(200);
                above.insert(buyer, parent);
                rig.pass(10);
            }
            _ => rig.pass(DAY_MS / 2),
        }
        rig.pass(3);
    }
    let expected = earned(&orders);
    assert!(orders.iter().any(|order| order.capped > 0 && order.capped < 900), "a limit cut something");
    for person in 10..=12 {
        let [pending, .., owed] = rig.balance(person).await;
        assert_eq!(pending - owed, expected.get(&person).copied().unwrap_or(0), "person {person}");
    }
    rig.sums_to_zero().await;
}

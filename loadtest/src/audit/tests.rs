//! A check that cannot fail is a defect: each kind of damage, done to any sound sale at any place,
//! is found under its word, and under no other that it does not touch.

use domain::id::{Generation, Position};
use proptest::prelude::*;

use super::*;

const LANES: u64 = 2;

fn id<T: TryFrom<u64>>(number: u64) -> T
where
    T::Error: std::fmt::Debug,
{
    T::try_from(number).unwrap()
}

fn row(number: u64, live: bool, rejected: bool) -> RowEvidence {
    let lane = number % LANES + 1;
    RowEvidence {
        order: id(1_000 + number),
        buyer: id(1 + number),
        lane: id(lane),
        offer: id(10 + lane),
        // As many as a buyer may hold: one more is too many.
        quantity: u32::try_from(lane).unwrap(),
        key: KeyHash([7; 16]),
        live,
        rejected,
        position: at(number),
        status: if rejected { Status::Rejected } else { Status::PendingPayment },
        total: 1,
    }
}

fn at(offset: u64) -> i64 {
    Position { generation: Generation(1), offset, index: 0 }.pack().unwrap()
}

/// What all hold after a sale in which nothing went wrong: some orders live, some released, some
/// rejected, units to spare.
fn sound(kinds: &[u8], spare: u64) -> Evidence {
    let rows: Vec<RowEvidence> =
        (0..).zip(kinds).map(|(number, kind)| row(number, kind % 4 < 2, kind % 4 == 3)).collect();
    let live: Vec<&RowEvidence> = rows.iter().filter(|row| row.live).collect();
    let offers = (1..=LANES).map(|lane| {
        let sold = live.iter().filter(|row| row.lane == id(lane)).map(|row| u64::from(row.quantity)).sum();
        OfferEvidence {
            lane: id(lane),
            offer: id(10 + lane),
            limit_per_buyer: u32::try_from(lane).unwrap(),
            limit_since: 0,
            allotment: sold + spare,
            target: sold + spare,
            sold,
            left: spare,
        }
    });
    let entries = live.iter().map(|row| EntryEvidence {
        lane: row.lane,
        buyer: row.buyer,
        order: row.order,
        offer: row.offer,
        quantity: row.quantity,
    });
    let promised = rows.iter().filter(|row| !row.rejected);
    Evidence {
        offers: offers.collect(),
        entries: entries.collect(),
        closed: vec![],
        held: Vec::new(),
        journal: vec![],
        promises: promised.map(|r| PromiseEvidence { buyer: r.buyer, order: r.order, accepted: true }).collect(),
        refused: vec![id(9_999)],
        rows,
    }
}

type Damage = (&'static str, fn(&mut Evidence, usize), &'static [&'static str]);

/// Damages, and the words each must be found under.
const DAMAGES: [Damage; 22] = [
    ("a promised row is gone", remove_row, &["lost", "leaked"]),
    ("a released row is gone", released_row_gone, &["lost"]),
    ("the row is another buyer's", |e, at| rows(e, at).buyer = id(8_888), &["lost", "leaked"]),
    ("an id in two rows", |e, at| e.rows.push(e.rows[live(e, at)]), &["doubled", "leaked", "oversold", "over_limit"]),
    ("a released id in two rows", released_row_twice, &["doubled"]),
    ("two orders for one key", second_order, &["doubled", "leaked", "oversold", "over_limit"]),
    ("an order too many", |e, _| e.rows.push(row(5_000, true, false)), &["oversold", "leaked"]),
    ("an allotment lowered under what is live", |e, _| cut_allotment(e), &["oversold", "leaked"]),
    ("a row of an offer nobody published", |e, at| rows(e, at).offer = id(77), &["oversold", "leaked"]),
    ("a unit vanished from the stock", |e, _| e.offers[0].left -= 1, &["leaked"]),
    ("a unit appeared in the stock", |e, _| e.offers[1].left += 1, &["leaked"]),
    ("the ledger counted one too many", |e, _| e.offers[0].sold += 1, &["leaked"]),
    ("the ledger forgot the offer", |e, _| forget_sold(e), &["leaked"]),
    ("an entry without a row", ghost_entry, &["leaked"]),
    ("a row without its entry", remove_entry, &["leaked"]),
    ("an entry twice", |e, at| e.entries.push(e.entries[at % e.entries.len()]), &["leaked"]),
    ("an entry with other units", |e, at| entry(e, at).quantity += 1, &["leaked"]),
    ("a journal entry", |e, _| e.journal.push((id(1), id(5))), &["leaked"]),
    ("an accepted order was rejected", reject, &["rejected_after_accepted", "leaked"]),
    ("a pending order has no row", |e, _| e.promises.push(pending(4_444)), &["pending_without_row"]),
    ("a refused buyer has a row", |e, at| e.refused.push(e.rows[live(e, at)].buyer), &["refused_with_row"]),
    ("a buyer holds more than the limit", |e, _| lower_limit(e), &["over_limit"]),
];

fn live(e: &Evidence, at: usize) -> usize {
    let live: Vec<usize> = (0..e.rows.len()).filter(|&i| e.rows[i].live).collect();
    live[at % live.len()]
}

fn rows(e: &mut Evidence, at: usize) -> &mut RowEvidence {
    let at = live(e, at);
    &mut e.rows[at]
}

fn entry(e: &mut Evidence, at: usize) -> &mut EntryEvidence {
    let at = at % e.entries.len();
    &mut e.entries[at]
}

fn remove_row(e: &mut Evidence, at: usize) {
    e.rows.remove(live(e, at));
}

fn remove_entry(e: &mut Evidence, at: usize) {
    e.entries.remove(at % e.entries.len());
}

fn pending(order: u64) -> PromiseEvidence {
    PromiseEvidence { buyer: id(1), order: id(order), accepted: false }
}

fn released_row_gone(e: &mut Evidence, at: usize) {
    released_row(e, at);
    e.rows.pop();
}

fn released_row_twice(e: &mut Evidence, at: usize) {
    released_row(e, at);
    e.rows.push(e.rows[e.rows.len() - 1]);
}

fn released_row(e: &mut Evidence, at: usize) {
    let row = row(6_000 + at as u64, false, false);
    e.promises.push(PromiseEvidence { buyer: row.buyer, order: row.order, accepted: true });
    e.rows.push(row);
}

fn second_order(e: &mut Evidence, at: usize) {
    let first = e.rows[live(e, at)];
    e.rows.push(RowEvidence { order: id(7_000 + at as u64), ..first });
}

fn cut_allotment(e: &mut Evidence) {
    for offer in &mut e.offers {
        offer.allotment = offer.sold.saturating_sub(1);
    }
}

fn forget_sold(e: &mut Evidence) {
    e.offers.iter_mut().for_each(|offer| offer.sold = 0);
}

fn ghost_entry(e: &mut Evidence, at: usize) {
    let ghost = EntryEvidence { order: id(8_000), ..*entry(e, at) };
    e.entries.push(ghost);
}

fn reject(e: &mut Evidence, at: usize) {
    let row = rows(e, at);
    (row.live, row.rejected) = (false, true);
}

fn lower_limit(e: &mut Evidence) {
    e.offers.iter_mut().for_each(|offer| offer.limit_per_buyer = 0);
}

fn found(findings: &Findings) -> Vec<&'static str> {
    findings.words().into_iter().filter(|(_, finding)| finding.count > 0).map(|(word, _)| word).collect()
}

proptest! {
    #[test]
    fn a_sound_sale_is_clean(kinds in prop::collection::vec(any::<u8>(), 0..60), spare in 0_u64..5) {
        let findings = compare(&sound(&kinds, spare));
        prop_assert_eq!(&findings, &Findings::default());
        prop_assert!(findings.is_clean());
    }

    #[test]
    fn every_damage_is_found_under_its_word(
        mut kinds in prop::collection::vec(any::<u8>(), 1..60),
        damage in 0..DAMAGES.len(),
        at in any::<usize>(),
    ) {
        // At least one live order in each lane, for damage to be done to.
        kinds.extend([0, 0]);
        let (name, harm, words) = DAMAGES[damage];
        let spare = u64::from(!words.contains(&"oversold"));
        let mut evidence = sound(&kinds, spare);
        harm(&mut evidence, at % 1_000);
        let findings = compare(&evidence);
        let mut expected = words.to_vec();
        let mut found = found(&findings);
        expected.sort_unstable();
        found.sort_unstable();
        prop_assert_eq!(found, expected, "{}: {:?}", name, findings);
        let four = words.iter().any(|word| ["lost", "doubled", "oversold", "leaked"].contains(word));
        prop_assert_eq!(findings.is_clean(), !four, "{}", name);
    }
}

/// A sale to come has units and no stock yet: only ledger and rows can be compared.
#[test]
fn a_lane_that_does_not_sell_has_no_stock_to_compare() {
    let mut evidence = sound(&[0; 10], 3);
    evidence.promises.clear();
    evidence.offers.iter_mut().for_each(|offer| offer.left = 0);
    evidence.entries.clear();
    assert!(!compare(&evidence).is_clean());
    evidence.closed = vec![id(1), id(2)];
    assert!(compare(&evidence).is_clean());
    evidence.offers[0].sold += 1;
    assert_eq!(compare(&evidence).leaked.count, 1, "ledger and rows are compared all the same");
}

/// R16: whoever held more when the limit fell keeps it, and buys nothing more.
#[test]
fn a_limit_that_changed_judges_who_bought_since() {
    let mut evidence = sound(&[0; 2], 0);
    let of_buyer = |number| RowEvidence { buyer: id(9), key: KeyHash([number; 16]), ..row(number.into(), true, false) };
    evidence.rows = [0, 2, 4].map(of_buyer).into();
    let over = |since: Option<u64>, limit: u32| {
        let mut evidence = evidence.clone();
        evidence
            .offers
            .iter_mut()
            .for_each(|offer| (offer.limit_per_buyer, offer.limit_since) = (limit, since.map_or(0, at)));
        compare(&evidence).over_limit.count
    };
    assert_eq!(over(None, 2), 1, "it never changed");
    assert_eq!(over(Some(5), 1), 0, "it fell when all were bought");
    assert_eq!(over(Some(3), 1), 2, "one was bought since");
    assert_eq!(over(Some(3), 3), 0, "it rose");
}

/// The amounts, by the protocol's formulas.
#[test]
fn damages_are_counted_in_units() {
    let mut evidence = sound(&[0; 10], 3);
    evidence.offers[0].left += 2;
    evidence.offers[0].sold += 5;
    evidence.offers[1].allotment -= 4;
    evidence.journal.push((id(1), id(5)));
    evidence.promises.push(pending(4_444));
    let findings = compare(&evidence);
    assert_eq!(findings.leaked.count, 2 + 5 + 4 + 1);
    assert_eq!(findings.oversold.count, 1, "4 less than 3 to spare");
    assert_eq!(findings.pending_without_row.count, 1);
}

#[test]
fn examples_are_few_and_counts_are_whole() {
    let mut evidence = sound(&[0; 100], 0);
    evidence.rows.clear();
    let findings = compare(&evidence);
    assert_eq!((findings.lost.count, findings.lost.examples.len()), (100, EXAMPLES_MAX));
    assert!(findings.lost.examples[0].contains("1000"), "{:?}", findings.lost.examples);
}

#[test]
fn a_tombstone_is_no_entry() {
    let purchase = |order, number| Purchase {
        order: id(order),
        offer: id(11),
        quantity: 1,
        number,
        key: KeyHash([0; 16]),
        batch: None,
    };
    let purchases = [purchase(1, None), purchase(2, Some(domain::id::PurchaseNumber(1)))];
    let live: Vec<OrderId> = EntryEvidence::live(id(1), id(1), &purchases).map(|entry| entry.order).collect();
    assert_eq!(live, [id(2)]);
}

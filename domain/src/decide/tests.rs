//! The decision rules of the protocol, each by its number; every test fails without its rule. Rows
//! are kept by a small shadow of the order tables ([`Rows`]), so that replays see what the first
//! attempt wrote.

mod bound;
mod contradictions;
mod limit;
mod random;
mod retirement;
mod target;

use bytes::Bytes;

use super::*;
use crate::{
    id::{KeyHash, PartitionId},
    money::Money,
    order::Status,
    record::{AllotmentChange, Genesis},
};

const GENERATION: Generation = Generation(1);

fn id<T: TryFrom<u64>>(number: u64) -> T
where
    T::Error: std::fmt::Debug,
{
    T::try_from(number).unwrap()
}

/// Lane 1 in epoch 3 with offer 10 (5 units) and offer 11 (2 units).
fn lanes(limit_per_buyer: u32) -> Lanes {
    let offer = |allotment| OfferLedger { allotment, target: allotment, sold: 0, sale_version: 1, changed_at: 0 };
    let offers = BTreeMap::from([(id(10), offer(5)), (id(11), offer(2))]);
    Lanes::from([(
        id(1),
        LaneLedger {
            tenant: id(1),
            sale: id(2),
            epoch: Epoch(3),
            is_retired: false,
            limit_per_buyer,
            limit_changed_at: 0,
            first_order: None,
            offers,
        },
    )])
}

fn sell(lanes: &mut Lanes, offer: u64, units: u64) {
    lanes.get_mut(&id(1)).unwrap().offers.get_mut(&id(offer)).unwrap().sold += units;
}

/// `(order, buyer, offer, quantity, number)`
type Wish = (u64, u64, u64, u32, u8);

fn batch(offset: u64, epoch: u64, wishes: &[Wish]) -> Placed {
    let reservations = wishes.iter().map(|&(order, buyer, offer, quantity, number)| {
        let reservation = Reservation {
            tenant: id(1),
            sale: id(2),
            sale_version: 1,
            offer: id(offer),
            sku: id(4),
            order: id(order),
            buyer: id(buyer),
            quantity,
            unit_price: Money { amount: 100, currency: "CNY".parse().unwrap() },
            key: KeyHash([7; 16]),
            reserved_at_ms: 1,
            context: Bytes::new(),
            pay_within_s: 0,
            trace: None,
        };
        (PurchaseNumber(number), reservation)
    });
    let batch = Batch { lane: id(1), id: id(offset + 1), epoch: Epoch(epoch), reservations: reservations.collect() };
    placed(offset, Record::Batch(batch))
}

fn placed(offset: u64, record: Record) -> Placed {
    Placed { generation: GENERATION, offset, id: id(offset + 1), record }
}

fn release(offset: u64, order: u64, buyer: u64) -> Placed {
    let key = KeyHash([7; 16]);
    placed(
        offset,
        Record::Released(Released {
            lane: id(1),
            order: id(order),
            buyer: id(buyer),
            offer: id(10),
            quantity: 1,
            key,
            became: None,
        }),
    )
}

fn released_as(offset: u64, order: u64, buyer: u64, became: Status) -> Placed {
    let mut placed = release(offset, order, buyer);
    let Record::Released(released) = &mut placed.record else { unreachable!() };
    released.became = Some(became);
    placed
}

/// Of a program that knows no targets.
fn change(offset: u64, sale_version: u32, delta: i64, epoch: u64) -> Placed {
    let (target, epoch) = (None, Epoch(epoch));
    let change = AllotmentChange { lane: id(1), offer: id(10), sale_version, delta, target, epoch, after: 0 };
    placed(offset, Record::AllotmentChanged(change))
}

fn opened(offset: u64, lane: u64, epoch: u64) -> Placed {
    placed(offset, Record::EpochOpened { lane: id(lane), epoch: Epoch(epoch) })
}

/// The order tables.
#[derive(Debug, Clone, Default)]
struct Rows(HashMap<OrderId, OrderRow>);

impl Rows {
    fn write(&mut self, decided: &Decided) {
        for row in &decided.rows {
            assert_eq!(self.0.insert(row.order, row.clone()), None, "one row for one order");
        }
        for Release { order, at, became } in &decided.releases {
            let row = self.0.get_mut(order).unwrap();
            assert_eq!(row.released, None, "R1: set once");
            (row.released, row.number) = (Some(*at), None);
            row.status = row.status.released(*became).unwrap();
        }
    }

    /// The desk marks the row before it asks for the release.
    fn cancel(&mut self, order: u64) {
        self.0.get_mut(&id(order)).unwrap().status = Status::Cancelled;
    }

    fn known(&self) -> Known {
        let mut live: HashMap<(LaneId, BuyerId), Live> = HashMap::new();
        for row in self.0.values().filter(|row| row.is_live()) {
            let held = live.entry((row.lane, row.buyer)).or_default();
            held.units += row.quantity;
            held.numbers.extend(row.number);
        }
        Known { rows: self.0.clone(), live, ..Known::default() }
    }

    /// Whether an insert of this row finds the primary key or the unique key (buyer, lane, number)
    /// taken.
    fn collides(&self, row: &OrderRow) -> bool {
        let same = |other: &&OrderRow| {
            (other.buyer, other.lane, other.number) == (row.buyer, row.lane, row.number) && row.number.is_some()
        };
        self.0.contains_key(&row.order) || self.0.values().find(same).is_some()
    }
}

/// Decides and writes the rows, as the order-writer does; the ledger does not move.
fn carry_out(lanes: &Lanes, rows: &mut Rows, span: Vec<Placed>) -> Decided {
    let decided = decide(lanes, &span, &rows.known());
    rows.write(&decided);
    decided
}

fn decisions(decided: &Decided) -> Vec<Vec<Decision>> {
    let unpack = |movement: &Movement| movement.decisions.iter().map(|&byte| Decision::unpack(byte).unwrap()).collect();
    decided.movements.iter().map(unpack).collect()
}

fn gone(order: u64, buyer: u64, why: GoneWhy) -> (LaneId, Gone) {
    (id(1), Gone { order: id(order), buyer: id(buyer), why })
}

const ACCEPTED: Decision = Decision::Accepted;
const fn refused(reason: Reason) -> Decision {
    Decision::Rejected(reason)
}

#[test]
fn rule_6_accepts_and_counts_what_is_promised_under_the_current_epoch() {
    let (mut lanes, mut rows) = (lanes(2), Rows::default());
    let span = vec![batch(4, 3, &[(100, 50, 10, 2, 1), (101, 51, 11, 1, 1)]), batch(5, 3, &[(102, 52, 10, 1, 1)])];
    let decided = carry_out(&lanes, &mut rows, span);
    assert_eq!(decisions(&decided), [vec![ACCEPTED; 2], vec![ACCEPTED]]);
    assert_eq!(decided.sold, BTreeMap::from([((id(1), id(10)), 3), ((id(1), id(11)), 1)]));
    assert_eq!(decided.batches, [(id(1), id(5)), (id(1), id(6))]);
    assert_eq!(decided.movements[0].units, [(id(10), 2), (id(11), 1)]);
    assert_eq!((decided.accepted, decided.gone.len(), decided.alarms.len()), (3, 0, 0));
    let row = &rows.0[&id(101)];
    assert_eq!((row.status, row.number), (Status::PendingPayment, Some(PurchaseNumber(1))));
    assert_eq!(row.position, Position { generation: GENERATION, offset: 4, index: 1 });
    decided.apply(&mut lanes);
    assert_eq!(lanes[&id(1)].offers[&id(10)].sold, 3);
}

/// The ledger did not move, so the same span comes again: the rows answer, nothing is written, and
/// everything counts as it did.
#[test]
fn rule_1_a_replay_stands_and_counts_as_it_was() {
    let (lanes, mut rows) = (lanes(1), Rows::default());
    // Accepted, superseded, over the limit and out of stock: each decision must survive.
    let stock = (0..4).map(|n| (200 + n, 60 + n, 11, 1, 1)).collect::<Vec<Wish>>();
    let span = vec![
        batch(4, 3, &[(100, 50, 10, 1, 1), (101, 50, 10, 1, 2)]),
        batch(5, 2, &[(102, 51, 10, 1, 1)]),
        batch(6, 3, &stock),
    ];
    let first = carry_out(&lanes, &mut rows, span.clone());
    let reasons: Vec<_> = [101, 102, 203].iter().map(|&order| rows.0[&id(order)].reason.unwrap()).collect();
    assert_eq!(reasons, [Reason::Limit, Reason::Superseded, Reason::Stock]);
    let replayed = carry_out(&lanes, &mut rows, span);
    assert_eq!(replayed.movements, first.movements);
    assert_eq!((&replayed.sold, &replayed.batches, &replayed.gone), (&first.sold, &first.batches, &first.gone));
    assert_eq!((replayed.rows.len(), replayed.accepted), (0, 0), "nothing is written or counted as new");
    assert!(replayed.alarms.is_empty(), "an alarm rings once");
}

/// A replay may be cut otherwise, and only some shards may hold their rows: the decisions are the
/// same.
#[test]
fn rule_1_holds_whatever_the_shards_hold_and_wherever_the_span_is_cut() {
    let start = lanes(2);
    let wishes: Vec<Wish> = vec![(100, 50, 11, 1, 1), (101, 51, 11, 1, 1), (102, 52, 11, 1, 1), (103, 50, 10, 1, 2)];
    let span: Vec<Placed> = (4..).zip(&wishes).map(|(offset, wish)| batch(offset, 3, &[*wish])).collect();
    let mut whole = Rows::default();
    let first = carry_out(&start, &mut whole, span.clone());
    assert_eq!(decisions(&first).concat(), [ACCEPTED, ACCEPTED, refused(Reason::Stock), ACCEPTED]);
    for buyers_written in 0..8_u64 {
        // A buyer's rows are in one shard: written together or not at all.
        let written = |row: &OrderRow| buyers_written >> (row.buyer.get() - 50) & 1 == 1;
        for cut in 0..=span.len() {
            let mut rows = Rows(whole.0.clone().into_iter().filter(|(_, row)| written(row)).collect());
            let mut lanes = start.clone();
            let (head, tail) = span.split_at(cut);
            let mut again = Vec::new();
            for part in [head, tail] {
                let decided = carry_out(&lanes, &mut rows, part.to_vec());
                decided.apply(&mut lanes);
                again.extend(decided.movements);
            }
            assert_eq!(again, first.movements, "buyers {buyers_written:b}, cut at {cut}");
            assert_eq!(rows.0, whole.0);
        }
    }
}

#[test]
fn rule_2_another_position_is_a_duplicate_that_counts_nothing_and_is_settled() {
    let (lanes, mut rows) = (lanes(1), Rows::default());
    carry_out(&lanes, &mut rows, vec![batch(4, 3, &[(100, 50, 10, 1, 1)])]);
    // Appended again by a sweeper; the epoch of the copy does not matter any more.
    for epoch in [3, 2] {
        let again = carry_out(&lanes, &mut rows, vec![batch(9, epoch, &[(100, 50, 10, 1, 1)])]);
        assert_eq!(decisions(&again), [[Decision::Duplicate]]);
        assert_eq!(
            (again.rows.len(), again.sold.len(), again.gone.len(), again.movements[0].units.len()),
            (0, 0, 0, 0)
        );
        assert_eq!(again.batches, [(id(1), id(10))], "its journal entry goes too");
    }
}

#[test]
fn rule_2_an_id_twice_in_a_span_is_decided_once_now_and_at_its_replay() {
    let (lanes, mut rows) = (lanes(3), Rows::default());
    let wish = (100, 50, 10, 1, 1);
    let span = vec![batch(4, 3, &[wish, wish]), batch(5, 3, &[wish])];
    for _ in 0..2 {
        let decided = carry_out(&lanes, &mut rows, span.clone());
        assert_eq!(decisions(&decided), [vec![ACCEPTED, Decision::Duplicate], vec![Decision::Duplicate]]);
        assert_eq!(decided.sold, BTreeMap::from([((id(1), id(10)), 1)]));
    }
    assert_eq!(rows.0.len(), 1);
}

#[test]
fn rule_3_an_older_epoch_is_superseded_with_a_row_and_without_an_alarm() {
    let (lanes, mut rows) = (lanes(1), Rows::default());
    let decided = carry_out(&lanes, &mut rows, vec![batch(4, 2, &[(100, 50, 10, 1, 1)])]);
    assert_eq!(decisions(&decided), [[refused(Reason::Superseded)]]);
    assert_eq!((rows.0[&id(100)].status, rows.0[&id(100)].number), (Status::Rejected, None));
    assert_eq!((decided.sold.len(), decided.alarms.len()), (0, 0));
    assert_eq!(decided.gone, [gone(100, 50, GoneWhy::Rejected)]);
}

/// A lane is loaded after the ledger's commit only, so a newer epoch than the ledger's is no
/// promise of a lane that anybody opened.
#[test]
fn rule_3_a_newer_epoch_than_the_ledgers_is_not_accepted() {
    let decided = decide(&lanes(1), &[batch(4, 4, &[(100, 50, 10, 1, 1)])], &Known::default());
    assert_eq!(decisions(&decided), [[refused(Reason::Superseded)]]);
}

/// Rows and the orders before it in the span count alike, units and not orders are counted, and
/// another buyer is not touched.
#[test]
fn rule_4_live_units_beyond_the_limit_are_rejected_and_ring() {
    let (lanes, mut rows) = (lanes(3), Rows::default());
    carry_out(&lanes, &mut rows, vec![batch(4, 3, &[(100, 50, 10, 2, 1)])]);
    let span = vec![batch(5, 3, &[(101, 50, 11, 1, 2), (102, 50, 11, 1, 3), (103, 51, 11, 1, 1)])];
    let decided = carry_out(&lanes, &mut rows, span);
    assert_eq!(decisions(&decided), [[ACCEPTED, refused(Reason::Limit), ACCEPTED]]);
    assert_eq!(decided.alarms, [Alarm { lane: id(1), order: id(102), reason: Reason::Limit }]);
    assert_eq!(decided.gone, [gone(102, 50, GoneWhy::Rejected)]);
}

#[test]
fn rule_4_a_number_that_a_live_row_holds_is_rejected_before_it_stops_the_partition() {
    let (lanes, mut rows) = (lanes(3), Rows::default());
    carry_out(&lanes, &mut rows, vec![batch(4, 3, &[(100, 50, 10, 1, 1)])]);
    let decided = carry_out(&lanes, &mut rows, vec![batch(5, 3, &[(101, 50, 10, 1, 1), (102, 50, 10, 1, 2)])]);
    assert_eq!(decisions(&decided), [[refused(Reason::Limit), ACCEPTED]]);
    let decided = carry_out(&lanes, &mut rows, vec![batch(6, 3, &[(103, 50, 10, 1, 2)])]);
    assert_eq!(decisions(&decided), [[refused(Reason::Limit)]]);
}

/// Units sold by the ledger and by the records before it in the span count; a smaller order after a
/// refused one still fits.
#[test]
fn rule_5_units_beyond_the_allotment_are_rejected_for_stock_and_ring() {
    let (mut lanes, mut rows) = (lanes(3), Rows::default());
    sell(&mut lanes, 10, 2);
    let span = vec![batch(4, 3, &[(100, 50, 10, 1, 1), (101, 51, 10, 3, 1)]), batch(5, 3, &[(102, 52, 10, 2, 1)])];
    let decided = carry_out(&lanes, &mut rows, span);
    assert_eq!(decisions(&decided), [vec![ACCEPTED, refused(Reason::Stock)], vec![ACCEPTED]]);
    assert_eq!(decided.sold, BTreeMap::from([((id(1), id(10)), 3)]));
    assert_eq!(decided.alarms, [Alarm { lane: id(1), order: id(101), reason: Reason::Stock }]);
    assert_eq!(decided.gone, [gone(101, 51, GoneWhy::RejectedForStock)], "its units never were");
}

#[test]
fn r1_a_release_counts_once_its_replay_as_it_did_and_any_other_not_at_all() {
    let (mut lanes, mut rows) = (lanes(1), Rows::default());
    carry_out(&lanes, &mut rows, vec![batch(4, 3, &[(100, 50, 10, 1, 1)])]).apply(&mut lanes);
    rows.cancel(100);
    let released = BTreeMap::from([((id(1), id(10)), -1)]);
    let at = Position { generation: GENERATION, offset: 5, index: 0 };
    let first = carry_out(&lanes, &mut rows, vec![release(5, 100, 50), release(6, 100, 50)]);
    assert_eq!((&first.sold, &first.releases), (&released, &vec![Release { order: id(100), at, became: None }]));
    assert_eq!(first.movements.iter().map(|m| m.decisions.clone()).collect::<Vec<_>>(), [[1], [0]]);
    assert_eq!(first.movements[0].units, [(id(10), -1)]);
    // The same span again, and the same records one by one.
    let replay = carry_out(&lanes, &mut rows, vec![release(5, 100, 50), release(6, 100, 50)]);
    assert_eq!((&replay.sold, replay.releases.len(), &replay.movements), (&released, 0, &first.movements));
    let one = carry_out(&lanes, &mut rows, vec![release(5, 100, 50)]);
    assert_eq!(one.sold, released);
    one.apply(&mut lanes);
    assert_eq!(lanes[&id(1)].offers[&id(10)].sold, 0);
    let other = carry_out(&lanes, &mut rows, vec![release(6, 100, 50)]);
    assert!(other.sold.is_empty() && other.releases.is_empty());
    // R8: a repeated release still brings what a lost settlement did not.
    assert_eq!(other.gone, [gone(100, 50, GoneWhy::Released { retired: 0 })]);
}

/// R8: a database that lost the mark takes it from the record, with the release and once; a mark
/// that stands stays.
#[test]
fn r8_a_row_that_lost_its_mark_takes_it_from_the_release() {
    let (mut lanes, mut rows) = (lanes(1), Rows::default());
    let span = vec![batch(4, 3, &[(100, 50, 10, 1, 1), (101, 51, 10, 1, 1)])];
    carry_out(&lanes, &mut rows, span).apply(&mut lanes);
    rows.cancel(101);
    let span = vec![released_as(5, 100, 50, Status::Expired), released_as(6, 101, 51, Status::Expired)];
    let first = carry_out(&lanes, &mut rows, span.clone());
    assert_eq!((first.sold[&(id(1), id(10))], first.undecidable.len()), (-2, 0));
    assert_eq!((rows.0[&id(100)].status, rows.0[&id(101)].status), (Status::Expired, Status::Cancelled));
    let replay = carry_out(&lanes, &mut rows, span);
    assert_eq!((&replay.sold, replay.releases.len(), &replay.movements), (&first.sold, 0, &first.movements));
}

/// R8: of money that came in meanwhile the release of an unpaid order says nothing: people look at
/// it.
#[test]
fn r8_a_paid_row_is_not_cancelled_by_a_record() {
    let (mut lanes, mut rows) = (lanes(1), Rows::default());
    carry_out(&lanes, &mut rows, vec![batch(4, 3, &[(100, 50, 10, 1, 1)])]).apply(&mut lanes);
    rows.0.get_mut(&id(100)).unwrap().status = Status::Paid;
    let decided = carry_out(&lanes, &mut rows, vec![released_as(5, 100, 50, Status::Cancelled)]);
    assert_eq!((decided.sold.len(), decided.undecidable.len(), decided.gone.len()), (0, 1, 0));
    let decided = carry_out(&lanes, &mut rows, vec![released_as(6, 100, 50, Status::Refunding)]);
    assert_eq!((decided.sold.len(), rows.0[&id(100)].status), (1, Status::Refunding));
}

#[test]
fn r1_a_release_of_no_order_or_of_a_rejected_one_is_undecidable_and_gives_nothing_back() {
    let (lanes, mut rows) = (lanes(1), Rows::default());
    carry_out(&lanes, &mut rows, vec![batch(4, 2, &[(100, 50, 10, 1, 1)])]);
    for order in [100, 999] {
        let decided = carry_out(&lanes, &mut rows, vec![release(5, order, 50)]);
        assert_eq!(decided.undecidable.iter().map(|u| u.offset).collect::<Vec<_>>(), [5]);
        assert!(decided.sold.is_empty() && decided.releases.is_empty() && decided.gone.is_empty());
        assert_eq!(decided.movements.len(), 1, "its place in the log is passed all the same");
    }
}

/// R5: cancelled, but its release is not decided: for stock and limit the row still counts.
#[test]
fn r5_a_row_is_live_until_its_release_is_decided_whatever_its_status() {
    let (mut lanes, mut rows) = (lanes(1), Rows::default());
    carry_out(&lanes, &mut rows, vec![batch(4, 3, &[(100, 50, 10, 1, 1)])]).apply(&mut lanes);
    rows.cancel(100);
    let held = decide(&lanes, &[batch(5, 3, &[(101, 50, 10, 1, 1)])], &rows.known());
    assert_eq!(decisions(&held), [[refused(Reason::Limit)]]);
    carry_out(&lanes, &mut rows, vec![release(5, 100, 50)]).apply(&mut lanes);
    let free = decide(&lanes, &[batch(6, 3, &[(101, 50, 10, 1, 1)])], &rows.known());
    assert_eq!(decisions(&free), [[ACCEPTED]]);
}

#[test]
fn r4_an_epoch_that_is_not_above_the_ledgers_is_a_no_op() {
    let mut lanes = lanes(1);
    for old in [0, 2, 3] {
        assert_eq!(decide(&lanes, &[opened(4, 1, old)], &Known::default()).epochs, []);
    }
    let decided = decide(&lanes, &[opened(5, 1, 7)], &Known::default());
    assert_eq!(decided.epochs, [(id(1), Epoch(7))]);
    decided.apply(&mut lanes);
    assert_eq!(lanes[&id(1)].epoch, Epoch(7));
    assert_eq!(decide(&lanes, &[opened(5, 1, 7)], &Known::default()).epochs, [], "only the first commit loads");
}

#[test]
fn records_of_unknown_lanes_and_offers_are_undecidable_and_change_nothing() {
    let mut strange = batch(4, 3, &[(100, 50, 10, 1, 1)]);
    let Record::Batch(of_lane_9) = &mut strange.record else { unreachable!() };
    of_lane_9.lane = id(9);
    let mut strange_offer = change(4, 2, 1, 3);
    let Record::AllotmentChanged(of_offer_99) = &mut strange_offer.record else { unreachable!() };
    of_offer_99.offer = id(99);
    for record in [strange, opened(4, 9, 4), strange_offer] {
        let decided = decide(&lanes(1), &[record], &Known::default());
        assert_eq!(decided.undecidable.iter().map(|u| u.offset).collect::<Vec<_>>(), [4]);
        let nothing = Decided {
            movements: decided.movements.clone(),
            undecidable: decided.undecidable.clone(),
            ..Decided::default()
        };
        assert_eq!(decided, nothing);
        assert_eq!(decided.movements.len(), 1);
    }
}

#[test]
fn a_genesis_decides_nothing() {
    let genesis = Genesis { partition: PartitionId(0), generation: GENERATION, log_id: 5 };
    let decided = decide(&lanes(1), &[placed(0, Record::Genesis(genesis))], &Known::default());
    assert_eq!(decided, Decided { movements: decided.movements.clone(), ..Decided::default() });
    assert_eq!(decided.movements.len(), 1);
}

/// Whatever can change a later decision stands alone; batches stand with batches, releases with
/// releases.
#[test]
fn a_record_that_changes_decisions_ends_the_span() {
    let kinds = [batch(1, 3, &[(100, 50, 10, 1, 1)]), release(1, 100, 50), opened(1, 1, 4), change(1, 2, 1, 3)];
    let together = |a: &Placed| kinds.each_ref().map(|b| may_follow(&a.record, &b.record));
    assert_eq!(together(&kinds[0]), [true, false, false, false]);
    assert_eq!(together(&kinds[1]), [false, true, false, false]);
    assert_eq!([together(&kinds[2]), together(&kinds[3])], [[false; 4]; 2]);
    assert_eq!(kinds.each_ref().map(|a| ends_span(&a.record)), [false, false, true, true]);
}

/// Each condition of the fast path, by itself: without it a read would be left out that could
/// change a decision.
#[test]
fn reading_is_left_out_only_where_it_can_change_nothing() {
    let one = |wish: Wish| vec![batch(4, 3, &[wish])];
    let exact: Vec<Wish> = (0..5).map(|n| (100 + n, 50 + n, 10, 1, 1)).collect();
    let more: Vec<Wish> = (0..6).map(|n| (100 + n, 50 + n, 10, 1, 1)).collect();
    assert!(!must_read(&lanes(1), &[batch(4, 3, &exact)]), "units for all of them");
    assert!(!must_read(&lanes(1), &[]));
    assert!(must_read(&lanes(1), &[batch(4, 3, &more)]), "rule 5 decides who gets the last unit");
    assert!(must_read(&lanes(1), &[batch(4, 3, &exact[..3]), batch(5, 3, &more[3..])]), "over the whole span");
    assert!(must_read(&lanes(2), &one((100, 50, 10, 1, 1))), "rule 4 has live units to add");
    assert!(must_read(&lanes(1), &one((100, 50, 10, 2, 1))), "rule 4");
    assert!(must_read(&lanes(1), &one((100, 50, 10, 1, 2))), "the unique key would not catch it");
    assert!(must_read(&lanes(1), &[batch(4, 2, &[(100, 50, 10, 1, 1)])]), "a superseded copy may have a row");
    assert!(must_read(&lanes(1), &one((100, 50, 99, 1, 1))), "an unknown offer");
    assert!(must_read(&Lanes::new(), &one((100, 50, 10, 1, 1))), "an unknown lane");
    assert!(must_read(&lanes(1), &[release(4, 100, 50)]), "R1 needs the row");
    assert!(must_read(&lanes(1), &[opened(4, 1, 4)]) && must_read(&lanes(1), &[change(4, 2, 1, 3)]));
}

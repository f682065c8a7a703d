//! What is against the ledger, a row or the database: the first owner keeps what it has, and all
//! else goes on.

use super::*;

/// INV-7: the lane's first owner keeps it. What an engine promised for somebody else there gets a
/// row that says so, gives back what the lane may hold for it and is parked; the others of its
/// batch are sold. No alarm: the lane itself kept its promises.
#[test]
fn a_reservation_of_another_tenant_sale_or_offer_is_rejected_and_the_others_of_its_batch_are_sold() {
    type Harm = fn(&mut Reservation);
    let harms: [Harm; 3] = [|r| r.tenant = id(8), |r| r.sale = id(8), |r| r.offer = id(99)];
    for (epoch, harm) in [3, 2].into_iter().flat_map(|epoch| harms.map(|harm| (epoch, harm))) {
        let (lanes, mut rows) = (lanes(1), Rows::default());
        let wishes = [(100, 50, 10, 1, 1), (101, 51, 10, 1, 1), (102, 52, 10, 1, 1)];
        let mut placed = batch(4, epoch, &wishes);
        let Record::Batch(batch) = &mut placed.record else { unreachable!() };
        harm(&mut batch.reservations[1].1);
        let decided = carry_out(&lanes, &mut rows, vec![placed.clone()]);
        let others = if epoch == 3 { ACCEPTED } else { refused(Reason::Superseded) };
        assert_eq!(decisions(&decided), [[others, refused(Reason::Foreign), others]]);
        assert_eq!(decided.alarms, []);
        assert!(decided.gone.contains(&gone(101, 51, GoneWhy::Rejected)));
        assert_eq!(decided.batches, [(id(1), id(5))], "its journal entry goes");
        let told = |decided: &Decided| decided.undecidable.iter().map(|u| u.cause.clone()).collect::<Vec<_>>();
        assert!(matches!(&told(&decided)[..], [one] if one.starts_with("reservation 1: order 101 is of tenant")));
        let again = carry_out(&lanes, &mut rows, vec![placed]);
        assert_eq!((told(&again), &again.movements, again.rows.len()), (told(&decided), &decided.movements, 0));
    }
}

/// An order belongs to the buyer of its row. Another buyer's reservation under its id counts
/// nothing, and is parked.
#[test]
fn an_order_of_another_buyer_stays_with_its_first() {
    let (lanes, mut rows) = (lanes(1), Rows::default());
    carry_out(&lanes, &mut rows, vec![batch(4, 3, &[(100, 50, 10, 1, 1)])]);
    let decided = carry_out(&lanes, &mut rows, vec![batch(5, 3, &[(100, 51, 10, 1, 1), (101, 52, 10, 1, 1)])]);
    assert_eq!(decisions(&decided), [[Decision::Duplicate, ACCEPTED]]);
    assert_eq!(decided.gone, [gone(100, 51, GoneWhy::Rejected)]);
    assert_eq!(decided.undecidable[0].cause, "reservation 0: 100 is of buyer 50 in lane 1");
    assert_eq!(rows.0[&id(100)].buyer, id(50));
}

/// Failure point 17: a row that the database refuses is left out with its reservation; those that
/// stand count as they did.
#[test]
fn a_reservation_that_cannot_be_stored_counts_nothing_and_the_others_stand() {
    let (lanes, mut rows) = (lanes(1), Rows::default());
    let span = vec![batch(4, 3, &[(100, 50, 10, 1, 1), (101, 51, 10, 1, 1)])];
    carry_out(&lanes, &mut rows, span.clone());
    rows.0.remove(&id(101));
    let known = Known { refused: HashMap::from([(id(101), "no".into())]), ..rows.known() };
    let decided = decide(&lanes, &span, &known);
    assert_eq!(decisions(&decided), [[ACCEPTED, Decision::Duplicate]]);
    assert_eq!((decided.rows.len(), &decided.sold), (0, &BTreeMap::from([((id(1), id(10)), 1)])));
    assert_eq!(decided.gone, [gone(101, 51, GoneWhy::Rejected)]);
    assert_eq!(decided.undecidable[0].cause, "reservation 1: order 101 cannot be stored: no");
}

/// Only the desk's own releases give back: of a row as it stands, cancelled before, of a lane of
/// this partition, and of units that are sold.
#[test]
fn r1_a_release_that_its_row_contradicts_is_undecidable_and_gives_nothing_back() {
    let (mut sound, mut rows) = (lanes(1), Rows::default());
    carry_out(&sound, &mut rows, vec![batch(4, 3, &[(100, 50, 10, 1, 1)])]).apply(&mut sound);
    let undecided = |lanes: &Lanes, rows: &Rows, placed: Placed| {
        let decided = decide(lanes, &[placed], &rows.known());
        assert!(decided.releases.is_empty() && decided.gone.is_empty());
        assert!(decided.sold.is_empty() && decided.movements[0].decisions.is_empty());
        decided.undecidable.len() == 1
    };
    assert!(undecided(&sound, &rows, release(5, 100, 50)), "nobody cancelled it");
    rows.cancel(100);
    type Harm = fn(&mut Released);
    let harms: [Harm; 5] = [
        |r| r.lane = id(2),
        |r| r.buyer = id(51),
        |r| r.offer = id(11),
        |r| r.quantity = 2,
        |r| r.key = KeyHash([8; 16]),
    ];
    for harm in harms {
        let mut placed = release(5, 100, 50);
        let Record::Released(released) = &mut placed.record else { unreachable!() };
        harm(released);
        assert!(undecided(&sound, &rows, placed));
    }
    assert!(undecided(&lanes(1), &rows, release(5, 100, 50)), "the ledger has none sold");
    let elsewhere = Lanes::from([(id(2), sound[&id(1)].clone())]);
    assert!(undecided(&elsewhere, &rows, release(5, 100, 50)), "another partition's lane");
    assert_eq!(decide(&sound, &[release(5, 100, 50)], &rows.known()).releases.len(), 1);
}

/// A record that went far ahead would leave the lane no epoch to be rebuilt under.
#[test]
fn r4_an_epoch_far_ahead_of_the_ledgers_is_undecidable() {
    let decided = |ahead| decide(&lanes(1), &[opened(4, 1, 3 + ahead)], &Known::default());
    assert_eq!(decided(EPOCHS_AHEAD_MAX).epochs.len(), 1);
    let far = decided(EPOCHS_AHEAD_MAX + 1);
    assert_eq!((far.epochs.len(), far.undecidable.len()), (0, 1));
}

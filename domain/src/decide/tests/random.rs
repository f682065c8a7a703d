//! Random spans against random tables: the fast path is exact or found out, nothing oversells,
//! replays are silent.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Two batches of orders 1 to 8 by buyers 1 to 6: repeats of both are wanted.
fn spans() -> impl Strategy<Value = Vec<Placed>> {
    let wish = (1..9_u64, 1..7_u64, 10..12_u64, 1..3_u32, 1..3_u8);
    // Mostly such as the fast path takes.
    let plain = (1..9_u64, 1..7_u64, 10..12_u64).prop_map(|(order, buyer, offer)| (order, buyer, offer, 1, 1));
    let wishes = prop::collection::vec(prop_oneof![20 => plain, 1 => wish], 1..4);
    let epoch = prop_oneof![20 => Just(3_u64), 1 => Just(2_u64)];
    prop::collection::vec((epoch, wishes), 1..3).prop_map(|batches| {
        (20..).zip(batches).map(|(offset, (epoch, wishes))| batch(offset, epoch, &wishes)).collect()
    })
}

/// What stands in the tables before the span: accepted, released and rejected rows of orders 1
/// to 12.
fn tables() -> impl Strategy<Value = Rows> {
    prop::collection::vec((1..13_u64, 1..7_u64, 10..12_u64, 0..3_u8), 0..5).prop_map(|wishes| {
        let mut rows = Rows::default();
        let (mut orders, mut buyers) = (BTreeSet::new(), BTreeSet::new());
        for (offset, (order, buyer, offer, fate)) in (0..).zip(wishes) {
            // One live row a buyer, as the limit has it.
            if orders.insert(order) && (fate != 0 || buyers.insert(buyer)) {
                let position = Position { generation: GENERATION, offset, index: 0 };
                let Record::Batch(batch) = batch(offset, 3, &[(order, buyer, offer, 1, 1)]).record else {
                    unreachable!()
                };
                let (number, reservation) = batch.reservations[0].clone();
                let decision = if fate == 2 { refused(Reason::Superseded) } else { ACCEPTED };
                let mut row = OrderRow::decided(id(1), number, &reservation, position, decision).unwrap();
                if fate == 1 {
                    (row.number, row.released) = (None, Some(Position { offset: 15, ..position }));
                }
                rows.0.insert(row.order, row);
            }
        }
        rows
    })
}

proptest! {
    /// The fast path decides as the exact one does, or a key is taken and it is found out.
    #[test]
    fn an_unread_decision_is_the_exact_one_or_a_key_is_taken(
        rows in tables(), span in spans(), sold in prop::collection::vec(0..4_u64, 2),
    ) {
        let mut lanes = lanes(1);
        sell(&mut lanes, 10, sold[0]);
        sell(&mut lanes, 11, sold[1].min(2));
        prop_assume!(!must_read(&lanes, &span));
        let unread = decide(&lanes, &span, &Known::default());
        let exact = decide(&lanes, &span, &rows.known());
        let taken = unread.rows.iter().any(|row| rows.collides(row));
        prop_assert!(taken || unread == exact, "unread {:#?}\nexact {:#?}", unread, exact);
        // Shards are written apart, so it is found out in the very shard: by the buyer whose
        // decision is another one.
        let of = |decided: &Decided, buyer| decided.rows.iter().filter(|r| r.buyer == buyer).cloned().collect::<Vec<_>>();
        for buyer in (1..7).map(id::<BuyerId>) {
            let (unread, exact) = (of(&unread, buyer), of(&exact, buyer));
            let taken = unread.iter().any(|row| rows.collides(row));
            prop_assert!(taken || unread == exact, "buyer {}: unread {:#?}\nexact {:#?}", buyer, unread, exact);
        }
    }

    /// Whatever comes, and however it is repeated and cut: INV-1 and INV-2 hold, a replay writes
    /// nothing and counts the same.
    #[test]
    fn no_span_oversells_and_every_replay_is_silent(rows in tables(), span in spans(), limit in 1..4_u32) {
        let mut lanes = lanes(limit);
        let mut rows = rows;
        for row in rows.0.values().filter(|row| row.is_live()) {
            sell(&mut lanes, row.offer.get(), 1);
        }
        let sound = lanes[&id(1)].offers.values().all(|offer| offer.sold <= offer.allotment);
        prop_assume!(sound);
        let first = carry_out(&lanes, &mut rows, span.clone());
        let again = carry_out(&lanes, &mut rows, span);
        prop_assert_eq!(&again.movements, &first.movements);
        prop_assert!(again.rows.is_empty() && again.alarms.is_empty());
        first.apply(&mut lanes);
        let live: Vec<&OrderRow> = rows.0.values().filter(|row| row.is_live()).collect();
        for (offer, numbers) in &lanes[&id(1)].offers {
            let units: u64 = live.iter().filter(|row| row.offer == *offer).map(|row| u64::from(row.quantity)).sum();
            prop_assert_eq!(units, numbers.sold, "INV-4");
            prop_assert!(units <= numbers.allotment, "INV-1");
        }
        for (buyer, held) in rows.known().live {
            let numbers: BTreeSet<_> = held.numbers.iter().collect();
            prop_assert!(held.units <= limit, "INV-2: {:?} holds {:?}", buyer, held);
            prop_assert_eq!(numbers.len(), held.numbers.len(), "the unique key (buyer, lane, number)");
        }
    }
}

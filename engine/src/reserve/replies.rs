//! What the lane's replies mean for each buyer. Pure: replies in, outcomes out.

use domain::{
    id::{BatchId, OrderId, PurchaseNumber},
    stock::{ReserveCall, ReserveReply, ReserveRequest},
};

use super::ask::Decided;
use crate::{
    append::Acknowledged,
    purchase::{Declined, PurchaseState},
};

/// What a buyer gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Promised by this call: goes into its record.
    Promised(PurchaseNumber),
    /// The order of another request in this very call: shares its record.
    Twin(OrderId),
    /// An order whose state is known now.
    Known(OrderId, PurchaseState),
    /// An order that was released since.
    Released(OrderId),
    /// No promise, and why.
    Declined(Declined),
}

impl Outcome {
    /// Whether it leaves the stock alone that others could buy: then the tokens that admitted it
    /// are theirs too. (Of an offer that is sold out nobody could use them; what it refused is
    /// remembered instead.)
    pub(super) const fn takes_no_unit(&self) -> bool {
        match self {
            Self::Promised(_) | Self::Declined(Declined::SoldOut) => false,
            Self::Twin(_) | Self::Known(..) | Self::Released(_) | Self::Declined(_) => true,
        }
    }

    /// Whether the lane promised it to this request, by this call or by an earlier try of it, or to
    /// an earlier request; `None` when it did not promise. `own`: the order of this request.
    pub(super) fn promised(&self, own: OrderId) -> Option<bool> {
        match *self {
            Self::Promised(_) => Some(true),
            Self::Twin(order) | Self::Known(order, _) | Self::Released(order) => Some(order == own),
            Self::Declined(_) => None,
        }
    }
}

/// The outcome of each request.
pub(super) fn outcomes(
    call: &ReserveCall,
    requests: &[ReserveRequest],
    decided: &Decided,
    acknowledged: &Acknowledged,
) -> Vec<Outcome> {
    // An earlier try of this call happened if it left a request's own order behind. Its journal
    // entry may hold other reservations than this answer holds, so nobody here knows the
    // record's bytes: the sweeper will append them.
    let is_own = |(reply, request): (&ReserveReply, &ReserveRequest)| match reply {
        ReserveReply::Repeat { order, .. } | ReserveReply::Released { order } => *order == request.order,
        _ => false,
    };
    let is_the_sweepers = decided.was_repeated && decided.replies.iter().zip(requests).any(is_own);
    let outcome = |(reply, request): (&ReserveReply, &ReserveRequest)| match *reply {
        ReserveReply::Reserved(_) if is_the_sweepers => Outcome::Known(request.order, PurchaseState::Pending),
        ReserveReply::Reserved(number) => Outcome::Promised(number),
        ReserveReply::Repeat { order, batch: Some(batch), settled: false }
            if batch == call.batch && !is_the_sweepers =>
        {
            Outcome::Twin(order)
        }
        ReserveReply::Repeat { order, batch, settled } => Outcome::Known(order, state_of(batch, settled, acknowledged)),
        ReserveReply::Released { order } => Outcome::Released(order),
        ReserveReply::Mismatch { .. } => Outcome::Declined(Declined::Mismatch),
        ReserveReply::LimitReached { .. } => Outcome::Declined(Declined::LimitReached),
        ReserveReply::SoldOut { .. } => Outcome::Declined(Declined::SoldOut),
    };
    decided.replies.iter().zip(requests).map(outcome).collect()
}

/// Ids that this call, made once, used for nothing, the last one first: a repeat has its order
/// already, and the declined have none. The first id of a call that promised names its batch.
pub(super) fn unused(requests: &[ReserveRequest], outcomes: &[Outcome]) -> impl Iterator<Item = OrderId> {
    let has_promised = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Promised(_)));
    let rest = requests.iter().zip(outcomes).skip(usize::from(has_promised)).rev();
    rest.filter_map(|(request, outcome)| match *outcome {
        Outcome::Promised(_) => None,
        Outcome::Twin(order) | Outcome::Known(order, _) | Outcome::Released(order) => {
            (order != request.order).then_some(request.order)
        }
        Outcome::Declined(_) => Some(request.order),
    })
}

/// R12: a repeat is accepted only if its batch is settled or this engine saw its acknowledgement.
/// Redis may still forget the rest.
pub(super) fn state_of(batch: Option<BatchId>, settled: bool, acknowledged: &Acknowledged) -> PurchaseState {
    let was_acknowledged = || batch.is_some_and(|batch| acknowledged.at(batch).is_some());
    if settled || was_acknowledged() { PurchaseState::Accepted } else { PurchaseState::Pending }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use domain::id::{BuyerId, Epoch, KeyHash, LaneId, OfferId};

    use super::*;

    const BATCH: u64 = 100;

    fn order(id: u64) -> OrderId {
        OrderId::new(id).unwrap()
    }

    fn batch(id: u64) -> BatchId {
        BatchId::new(id).unwrap()
    }

    fn requests(count: usize) -> Vec<ReserveRequest> {
        (BATCH..)
            .take(count)
            .map(|id| ReserveRequest {
                order: order(id),
                buyer: BuyerId::new(id).unwrap(),
                offer: OfferId::new(1).unwrap(),
                quantity: 1,
                key: KeyHash([0; 16]),
                field: Bytes::new(),
            })
            .collect()
    }

    fn decide(replies: &[ReserveReply], was_repeated: bool, acknowledged: &Acknowledged) -> Vec<Outcome> {
        let call = ReserveCall {
            lane: LaneId::new(1).unwrap(),
            epoch: Epoch(1),
            batch: batch(BATCH),
            now_ms: 0,
            sweep_after_ms: 0,
            journal_max: 1,
        };
        let requests = requests(replies.len());
        outcomes(&call, &requests, &Decided { replies: replies.to_vec(), left: vec![], was_repeated }, acknowledged)
    }

    fn repeat(id: u64, of: Option<u64>, settled: bool) -> ReserveReply {
        ReserveReply::Repeat { order: order(id), batch: of.map(batch), settled }
    }

    #[test]
    fn r12_a_repeat_is_accepted_only_if_settled_or_acknowledged_here() {
        let acknowledged = Acknowledged::default();
        acknowledged.note(batch(7), 1);
        let replies =
            [repeat(1, Some(6), false), repeat(2, Some(7), false), repeat(3, Some(6), true), repeat(4, None, true)];
        let states =
            [PurchaseState::Pending, PurchaseState::Accepted, PurchaseState::Accepted, PurchaseState::Accepted];
        let expected: Vec<_> = (1..).zip(states).map(|(id, state)| Outcome::Known(order(id), state)).collect();
        assert_eq!(decide(&replies, false, &acknowledged), expected);
        assert_eq!(
            decide(&[repeat(5, None, false)], false, &acknowledged),
            [Outcome::Known(order(5), PurchaseState::Pending)]
        );
    }

    #[test]
    fn twins_in_one_call_share_the_records_fate() {
        let replies = [ReserveReply::Reserved(PurchaseNumber(1)), repeat(BATCH, Some(BATCH), false)];
        let expected = [Outcome::Promised(PurchaseNumber(1)), Outcome::Twin(order(BATCH))];
        assert_eq!(decide(&replies, false, &Acknowledged::default()), expected);
    }

    /// What promises keeps its id, and the batch its name; the rest goes back, the last one first.
    #[test]
    fn ids_that_came_to_nothing_are_found_from_the_last_one_on() {
        let (promised, declined) = (Outcome::Promised(PurchaseNumber(1)), Outcome::Declined(Declined::SoldOut));
        let (twin, known) = (Outcome::Twin(order(BATCH)), Outcome::Known(order(7), PurchaseState::Pending));
        let unused = |outcomes: &[Outcome]| {
            unused(&requests(outcomes.len()), outcomes).map(|order| order.get() - BATCH).collect::<Vec<_>>()
        };
        assert_eq!(unused(&[promised, twin, known, declined]), [3, 2, 1]);
        assert_eq!(unused(&[declined, promised, known]), [2], "the first one names the batch");
        assert_eq!(unused(&[known, declined]), [1, 0], "no batch, no name");
        assert_eq!(unused(&[Outcome::Known(order(BATCH), PurchaseState::Pending)]), [0; 0], "its own order");
    }

    /// R7: the first try happened after all. Its record is in the journal, and only the journal
    /// knows its bytes.
    #[test]
    fn r7_a_call_that_happened_before_is_left_to_the_sweeper() {
        let replies = [
            repeat(BATCH, Some(BATCH), false),
            ReserveReply::Reserved(PurchaseNumber(1)),
            repeat(BATCH, Some(BATCH), false),
        ];
        let expected =
            [order(BATCH), order(BATCH + 1), order(BATCH)].map(|id| Outcome::Known(id, PurchaseState::Pending));
        assert_eq!(decide(&replies, true, &Acknowledged::default()), expected);
    }

    #[test]
    fn a_repetition_that_found_nothing_is_an_ordinary_call() {
        let replies = [ReserveReply::Reserved(PurchaseNumber(2)), ReserveReply::SoldOut { left: 0 }];
        let expected = [Outcome::Promised(PurchaseNumber(2)), Outcome::Declined(Declined::SoldOut)];
        assert_eq!(decide(&replies, true, &Acknowledged::default()), expected);
    }
}

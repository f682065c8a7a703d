//! The events of a span, onto the topic `order-events`: after its rows are durable, so that what is
//! told is what stands, and acknowledged before the ledger passes its records, so that none is
//! lost. Whatever ends the worker in between, the span is done again and tells the same in the same
//! bytes: a consumer may see an event twice, and never one before those that come before it in its
//! order.

use std::{collections::VecDeque, num::NonZeroU128, time::Duration};

use domain::{
    decide::{Decided, Movement, Placed},
    event::events_of,
    id::OrderId,
    order::Decision,
    record::{ORDER_EVENTS_TYPE, Record},
};
use kit::trace::TraceId;
use store::log::{Envelope, OrderLog, Unacknowledged};
use tokio::time::sleep;

use crate::{
    carry_out::Span,
    partition::Partition,
    ports::{Halt, Ports},
};

/// How long a full producer is left alone when nothing of ours is in it.
const ROOM_PAUSE: Duration = Duration::from_millis(5);

impl<P: Ports> Partition<P> {
    /// Hands what a span tells to the log, an append for each of its records that tells something.
    /// They are on their way when this returns; each future is an acknowledgement. A full producer
    /// is waited for: a span may tell more than it has room for, and others share it.
    ///
    /// # Errors
    /// [`Halt::Append`] when a record that had to be waited for was not acknowledged.
    pub(crate) async fn append_events<'log>(
        &self,
        log: &'log P::Log,
        decided: &Decided,
        span: &Span,
    ) -> Result<VecDeque<impl Future<Output = Result<u64, Unacknowledged>> + Send + use<'log, P>>, Halt> {
        // At other levels no reservation is looked at for it.
        if tracing::enabled!(tracing::Level::DEBUG) {
            for (trace, order, decision) in traced(&span.records, &decided.movements) {
                tracing::debug!(trace_id = %TraceId::from(trace), %order, ?decision, partition = %self.id, "decided");
            }
        }
        let mut given_back = decided.given_back.iter().peekable();
        let mut on_the_way = VecDeque::new();
        for (placed, movement) in span.records.iter().zip(&decided.movements) {
            let status = given_back.next_if(|(offset, _)| *offset == placed.offset).map(|(_, status)| *status);
            let Some(payload) = events_of(placed, movement, status, self.lanes()) else { continue };
            let room = loop {
                if let Some(room) = log.room() {
                    break room;
                }
                match on_the_way.pop_front() {
                    Some(oldest) => drop(oldest.await?),
                    None => sleep(ROOM_PAUSE).await,
                }
            };
            // The same id at each attempt: the events of a record are named after it.
            let envelope = Envelope { id: placed.id, kind: ORDER_EVENTS_TYPE, payload };
            on_the_way.push_back(log.append(self.id, envelope, room));
        }
        Ok(on_the_way)
    }
}

/// Orders whose buyers' callers record the trace, each with what was decided of it; `None` for a
/// byte that is no decision.
fn traced<'a>(
    records: &'a [Placed],
    movements: &'a [Movement],
) -> impl Iterator<Item = (NonZeroU128, OrderId, Option<Decision>)> + 'a {
    records.iter().zip(movements).flat_map(|(placed, movement)| {
        let reservations = match &placed.record {
            Record::Batch(batch) => &batch.reservations[..],
            _ => &[],
        };
        let decided = reservations.iter().zip(&movement.decisions);
        decided.filter_map(|((_, reservation), &packed)| {
            reservation.trace.map(|trace| (trace, reservation.order, Decision::unpack(packed)))
        })
    })
}

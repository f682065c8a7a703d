//! The types of records, each with its topic: the one place where a new one is registered.

/// A topic whose records are appended by partition. (`sales` is another kind of topic: compacted,
/// with one partition and ports of its own.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Topic {
    /// What the order-writers decide: promises, releases, epochs.
    Orders = 0,
    /// What they decided, for other services. It has the partitions of `orders`: a lane's orders
    /// are in the same one, so that one writer appends the events of an order, in their order.
    OrderEvents = 1,
    /// What engines count, for whoever shows it; all of it in partition 0. Losing a record loses
    /// counts of attempts, never an order.
    Counts = 2,
}

impl Topic {
    /// All of them, by their numbers.
    pub const ALL: [Self; 3] = [Self::Orders, Self::OrderEvents, Self::Counts];

    /// Its name, after the deployment's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::OrderEvents => "order-events",
            Self::Counts => "counts",
        }
    }

    /// Its number in logs that keep topics by number.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// The `ce_type` of a batch: the sweeper appends journal entries under it without reading them.
pub const BATCH_TYPE: &str = "flashsale.batch.v1";
/// The `ce_type` of a release: the desk's outbox rows have it.
pub const RELEASED_TYPE: &str = "flashsale.released.v1";
pub(super) const EPOCH_TYPE: &str = "flashsale.epoch.v1";
pub(super) const RETIRED_TYPE: &str = "flashsale.retired.v1";
pub(super) const ALLOTMENT_TYPE: &str = "flashsale.allotment.v1";
pub(super) const LIMIT_TYPE: &str = "flashsale.limit.v1";
pub(super) const GENESIS_TYPE: &str = "flashsale.genesis.v1";
/// The `ce_type` of what became of orders; see [`event`](crate::event).
pub const ORDER_EVENTS_TYPE: &str = "flashsale.order-events.v1";
/// The `ce_type` of what an engine counted; see [`counts`](crate::counts).
pub const COUNTS_TYPE: &str = "flashsale.counts.v1";
/// The `ce_type` of a sale on the topic `sales`.
pub const SALE_TYPE: &str = "flashsale.sale.v1";

const KINDS: [(&str, Topic); 9] = [
    (BATCH_TYPE, Topic::Orders),
    (RELEASED_TYPE, Topic::Orders),
    (EPOCH_TYPE, Topic::Orders),
    (RETIRED_TYPE, Topic::Orders),
    (ALLOTMENT_TYPE, Topic::Orders),
    (LIMIT_TYPE, Topic::Orders),
    (GENESIS_TYPE, Topic::Orders),
    (ORDER_EVENTS_TYPE, Topic::OrderEvents),
    (COUNTS_TYPE, Topic::Counts),
];

/// A type of record by its name, with its topic; `None` for one that this program does not know.
pub fn registered(name: &str) -> Option<(&'static str, Topic)> {
    KINDS.into_iter().find(|(kind, _)| *kind == name)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        counts::decode_counts,
        event::decode_events,
        record::{Record, RecordError},
    };

    /// What is registered for a topic is what the readers of that topic know.
    #[test]
    fn each_type_is_read_on_its_topic_and_on_no_other() {
        for (kind, topic) in KINDS {
            let is_unknown = |error| matches!(error, Some(RecordError::UnknownType(_)));
            let by_writer = is_unknown(Record::decode(kind, Bytes::new()).err());
            let by_consumer = is_unknown(decode_events(kind, Bytes::new()).err());
            let by_counter = is_unknown(decode_counts(kind, Bytes::new()).err());
            let others = [Topic::Orders, Topic::OrderEvents, Topic::Counts].map(|read| topic != read);
            assert_eq!([by_writer, by_consumer, by_counter], others, "{kind}");
            assert_eq!(registered(kind), Some((kind, topic)));
        }
        assert_eq!(registered("flashsale.tomorrow.v1"), None);
        assert!(Topic::ALL.iter().zip(0..).all(|(topic, number)| topic.number() == number));
    }
}

//! CloudEvents 1.0, binary mode: the headers of a record, and an entry from a record read back.

use bytes::Bytes;
use domain::record::Topic;
use rdkafka::{
    Message,
    message::{BorrowedMessage, Header, Headers, OwnedHeaders},
};

use crate::log::Entry;

/// `ce_source` of a topic.
pub(super) const fn source(topic: Topic) -> &'static str {
    match topic {
        Topic::Orders => "/flashsale/orders",
        Topic::OrderEvents => "/flashsale/order-events",
        Topic::Counts => "/flashsale/counts",
    }
}

/// `ce_source` of the topic `orders.dead`.
pub(super) const DEAD: &str = "/flashsale/orders/dead";
/// `ce_source` of the topic `sales`.
pub(super) const SALES: &str = "/flashsale/sales";

/// Headers of the topic `orders.dead` beside the four.
pub(super) const CAUSE: &str = "cause";
/// The partition that the record was in.
pub(super) const ORIGINAL_PARTITION: &str = "original_partition";
/// Its offset there.
pub(super) const ORIGINAL_OFFSET: &str = "original_offset";

const VERSION: &str = "1.0";

/// The four headers that every record has; more may be [`put`].
pub(super) fn headers(id: &str, kind: &str, source: &str) -> OwnedHeaders {
    let headers = OwnedHeaders::new_with_capacity(4);
    let headers = put(put(headers, "ce_specversion", VERSION), "ce_id", id);
    put(put(headers, "ce_type", kind), "ce_source", source)
}

pub(super) fn put(headers: OwnedHeaders, key: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(value) })
}

/// Copies a record out of the client's memory.
pub(super) fn entry(message: &BorrowedMessage<'_>) -> Entry {
    let (mut id, mut kind) = (None, String::new());
    for header in message.headers().into_iter().flat_map(Headers::iter) {
        let value = header.value.and_then(|value| str::from_utf8(value).ok());
        match header.key {
            "ce_id" => id = value.and_then(|value| value.parse().ok()),
            "ce_type" => kind = value.unwrap_or_default().into(),
            _ => {}
        }
    }
    Entry { offset: offset(message), id, kind, payload: payload(message) }
}

/// Offsets of records read are never negative.
fn offset(message: &BorrowedMessage<'_>) -> u64 {
    message.offset().cast_unsigned()
}

pub(super) fn payload(message: &BorrowedMessage<'_>) -> Bytes {
    Bytes::copy_from_slice(message.payload().unwrap_or_default())
}

//! Closed days: each carries the hash of its entries and of the day before, so that a changed entry
//! changes every later day. The hash function is a value: the ledger has none of its own.

use super::Entry;

/// A closed day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Days since 1970-01-01.
    pub day: u32,
    /// Number of entries.
    pub entries: u64,
    /// Hash over the day before, the day, and its entries in their order.
    pub hash: [u8; 32],
}

/// What is hashed of a day: the hash of the day before (zeros before the first), the day as four
/// bytes, then each entry after its length as eight; numbers with the highest byte first.
pub fn day_bytes<'a>(before: Option<&Closed>, day: u32, entries: impl IntoIterator<Item = &'a Entry>) -> Vec<u8> {
    let mut bytes = before.map_or([0; 32], |closed| closed.hash).to_vec();
    bytes.extend(day.to_be_bytes());
    for entry in entries {
        let entry = entry.bytes();
        bytes.extend(u64::try_from(entry.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend(entry);
    }
    bytes
}

/// Closes a day on top of the one before.
pub fn close_day(before: Option<&Closed>, day: u32, entries: &[Entry], hash: impl Fn(&[u8]) -> [u8; 32]) -> Closed {
    let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
    Closed { day, entries: count, hash: hash(&day_bytes(before, day, entries)) }
}

/// The first day whose hash does not follow from its entries and the day before.
pub fn verify_days(days: &[(Closed, Vec<Entry>)], hash: impl Fn(&[u8]) -> [u8; 32]) -> Option<u32> {
    let mut before: Option<&Closed> = None;
    for (closed, entries) in days {
        let later = before.is_none_or(|before| before.day < closed.day);
        if !later || close_day(before, closed.day, entries, &hash) != *closed {
            return Some(closed.day);
        }
        before = Some(closed);
    }
    None
}

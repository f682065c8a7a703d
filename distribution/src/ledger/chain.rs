//! Closed days: each carries the hash of its entries and of the day before, so that a changed entry
//! changes every later day. The hash function is a value: this crate has none of its own.

use std::fmt::Write;

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

/// Closes a day on top of the one before.
pub fn close_day(before: Option<&Closed>, day: u32, entries: &[Entry], hash: impl Fn(&[u8]) -> [u8; 32]) -> Closed {
    let mut text = String::new();
    // Writing to a string does not fail.
    let mut line = |part: std::fmt::Arguments<'_>| text.write_fmt(part).is_ok();
    let mut whole = line(format_args!("{:?}\n{day}\n", before.map(|closed| closed.hash)));
    for entry in entries {
        whole &= line(format_args!("{:?} {:?}\n", entry.cause, entry.lines));
    }
    debug_assert!(whole);
    let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
    Closed { day, entries: count, hash: hash(text.as_bytes()) }
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

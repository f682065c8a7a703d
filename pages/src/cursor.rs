//! Where a list goes on: opaque to clients, so that nobody makes one up, and what it is made of may
//! change. Not a secret: a list shows what everybody may see, whatever the cursor says.

use std::hash::Hasher;

use domain::{
    id::TenantId,
    sale::{Phase, Sale},
};
use siphasher::sip::SipHasher13;

/// Four numbers as hexadecimal digits.
const LENGTH: usize = 64;

/// The place of a sale in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Open ones, then those to come, then those that ended.
    pub(crate) group: u8,
    /// Of those that are open the first that ends, of those to come the first that opens, of those
    /// that ended the last.
    pub(crate) time: u64,
    pub(crate) sale: u64,
}

impl Key {
    pub(crate) fn of(sale: &Sale, phase: Phase) -> Self {
        let (group, time) = match phase {
            Phase::Open | Phase::Paused => (0, sale.window.closes_at_ms),
            Phase::NotStarted => (1, sale.window.opens_at_ms),
            Phase::Ended => (2, u64::MAX - sale.window.closes_at_ms),
        };
        Self { group, time, sale: sale.id.get() }
    }
}

/// The cursor of what comes after this key in a tenant's list.
pub(crate) fn write(tenant: TenantId, Key { group, time, sale }: Key) -> String {
    let check = check_of(tenant, [group.into(), time, sale]);
    let masked = [group.into(), time, sale].map(|number: u64| number ^ check);
    format!("{check:016x}{:016x}{:016x}{:016x}", masked[0], masked[1], masked[2])
}

/// The key that a cursor of this tenant's list names; `None` for what is no cursor, or another's.
pub(crate) fn read(tenant: TenantId, cursor: &str) -> Option<Key> {
    let is_plain = cursor.len() == LENGTH && cursor.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let number = |at: usize| u64::from_str_radix(cursor.get(at * 16..at * 16 + 16).filter(|_| is_plain)?, 16).ok();
    let check = number(0)?;
    let [group, time, sale] = [number(1)? ^ check, number(2)? ^ check, number(3)? ^ check];
    let key = Key { group: u8::try_from(group).ok()?, time, sale };
    (check == check_of(tenant, [group, time, sale])).then_some(key)
}

fn check_of(tenant: TenantId, numbers: [u64; 3]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write_u64(tenant.get());
    numbers.into_iter().for_each(|number| hasher.write_u64(number));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_of_one_tenants_list_and_nobody_makes_one_up() {
        let (one, two) = (TenantId::new(1).unwrap(), TenantId::new(2).unwrap());
        let key = Key { group: 2, time: u64::MAX - 1_800_000_000_000, sale: 4_242 };
        let cursor = write(one, key);
        assert_eq!(read(one, &cursor), Some(key));
        assert_eq!(read(two, &cursor), None);
        let changed = format!("{}{}", &cursor[..63], if cursor.ends_with('0') { '1' } else { '0' });
        let upper = cursor.to_uppercase();
        for bad in ["", "4242", &cursor[1..], &format!("{cursor}0"), &upper, &changed, &"é".repeat(32)] {
            assert_eq!(read(one, bad), None, "{bad}");
        }
    }
}

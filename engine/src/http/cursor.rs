//! Where a page of orders goes on: opaque to clients, so that nobody makes one up or reads anything
//! from it, and what it is made of may change. Not a secret: a buyer sees nothing but that buyer's
//! own orders, whatever the cursor says.

use std::hash::Hasher;

use domain::id::OrderId;
use siphasher::sip::SipHasher13;

use crate::purchase::Caller;

/// Two numbers as hexadecimal digits.
const LENGTH: usize = 32;

/// The cursor of a caller's orders that are older than this one.
pub(super) fn write(caller: Caller, order: OrderId) -> String {
    let check = check_of(caller, order.get());
    format!("{check:016x}{:016x}", order.get() ^ mask_of(check))
}

/// The order that a cursor of this caller names; `None` for what is no cursor, or another's.
pub(super) fn read(caller: Caller, cursor: &str) -> Option<OrderId> {
    let is_plain = cursor.len() == LENGTH && cursor.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (check, order) = cursor.split_at_checked(LENGTH / 2).filter(|_| is_plain)?;
    let check = u64::from_str_radix(check, 16).ok()?;
    let order = u64::from_str_radix(order, 16).ok()? ^ mask_of(check);
    OrderId::new(order).ok().filter(|_| check == check_of(caller, order))
}

fn check_of(caller: Caller, order: u64) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write_u64(caller.tenant.get());
    hasher.write_u64(caller.buyer.get());
    hasher.write_u64(order);
    hasher.finish()
}

fn mask_of(check: u64) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write_u64(check);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{buyer, tenant};

    #[test]
    fn a_cursor_is_its_buyers_and_holds_no_readable_id() {
        let (one, two) = (Caller { tenant: tenant(), buyer: buyer(1) }, Caller { tenant: tenant(), buyer: buyer(2) });
        let order = OrderId::new(249_300_234_895_360).unwrap();
        let cursor = write(one, order);
        assert_eq!(read(one, &cursor), Some(order));
        assert_eq!(read(two, &cursor), None);
        assert!(!cursor.contains(&order.to_string()) && !cursor.contains(&format!("{:x}", order.get())));
        let upper = cursor.to_uppercase();
        let changed = format!("{}{}", &cursor[..31], if cursor.ends_with('0') { '1' } else { '0' });
        for bad in ["", "249300234895360", &cursor[1..], &format!("{cursor}0"), &upper, &changed, &"é".repeat(16)] {
            assert_eq!(read(one, bad), None, "{bad}");
        }
    }
}

//! To which purchases a lane said "sold out". It never promises: with the lane's last word on its
//! stock ([`pages::stock`]) it lets admission repeat the lane's own refusal for half a second,
//! without asking again.
//!
//! An offer that is sold out has buyers who come again with the same key, because the first answer
//! was lost, and those MUST get their order (R13). So the hint alone refuses nobody: it repeats a
//! refusal of the very key that the lane itself refused under this epoch. Not of the buyer: who
//! holds an order by one key and was refused with another may ask for the first again. Everybody
//! else asks the lane, which costs a place in a batch.

use std::{
    hash::Hasher,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use domain::id::{Epoch, KeyHash};
pub use pages::stock::HINT_MS_MAX;
use siphasher::sip::SipHasher13;

/// Refused keys remembered, at most: 1 MiB. Two that fall on one place push each other out, and ask
/// the lane again.
const REFUSED_MAX: usize = 1 << 17;
const _: () = assert!(REFUSED_MAX.is_power_of_two());

/// Keys that a lane refused for want of stock, as far as there is room to remember them. A key's
/// hash says whose it is, and for what.
#[derive(Debug)]
pub struct RefusedKeys {
    places: Box<[AtomicU64]>,
    /// Somebody was noted once. Until then, which is the rush of a sale, nobody's place is looked
    /// up: it would be a cache miss an order.
    is_used: AtomicBool,
}

impl Default for RefusedKeys {
    fn default() -> Self {
        Self { places: (0..REFUSED_MAX).map(|_| AtomicU64::new(0)).collect(), is_used: AtomicBool::new(false) }
    }
}

impl RefusedKeys {
    /// Remembers that the lane refused this key under this epoch.
    pub fn note(&self, key: KeyHash, epoch: Epoch) {
        let print = fingerprint(key, epoch);
        self.place(print).store(print, Ordering::Relaxed);
        // Looked at before it is written, so that the line stays shared.
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
    }

    /// Forgets one, by which something was promised since.
    pub fn forget(&self, key: KeyHash, epoch: Epoch) {
        if !self.is_used.load(Ordering::Relaxed) {
            return;
        }
        let print = fingerprint(key, epoch);
        // Only if it is that one: a stranger in its place stays. Failing is fine.
        let _forgotten = self.place(print).compare_exchange(print, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether this one is remembered.
    pub fn knows(&self, key: KeyHash, epoch: Epoch) -> bool {
        let print = fingerprint(key, epoch);
        self.place(print).load(Ordering::Relaxed) == print
    }

    fn place(&self, print: u64) -> &AtomicU64 {
        // The mask keeps the index below the length, whatever the pointer's width.
        &self.places[(print as usize) & (REFUSED_MAX - 1)]
    }
}

fn fingerprint(key: KeyHash, epoch: Epoch) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(&key.0);
    hasher.write_u64(epoch.0);
    // 0 is an empty place.
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const E1: Epoch = Epoch(1);

    #[test]
    fn refused_keys_are_remembered_per_epoch() {
        let refused = RefusedKeys::default();
        let (key, other) = (KeyHash([5; 16]), KeyHash([6; 16]));
        refused.note(key, E1);
        assert!(refused.knows(key, E1));
        assert!(!refused.knows(key, Epoch(2)));
        assert!(!refused.knows(other, E1));
        refused.forget(key, E1);
        assert!(!refused.knows(key, E1));
    }
}

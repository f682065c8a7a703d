//! Who sends when, and who reads the answer: a part as a seeded list of sends, made before the
//! clock starts.

use std::ops::Range;

use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng, seq::SliceRandom};

use crate::scenario::Part;

/// The longest an impatient client waits before it goes away, so that aborts strike at every stage
/// of a purchase.
const ABORT_AFTER_MS_MAX: u8 = 15;

/// What the client does after it has written the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Reads the answer.
    Read,
    /// Closes its connection without reading.
    Abort {
        /// By a reset (RST) and not by an orderly end (FIN).
        reset: bool,
        /// After so many milliseconds.
        after_ms: u8,
    },
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Index of the buyer.
    pub buyer: u32,
    /// What follows.
    pub conduct: Conduct,
}

/// All sends of a part by these buyers, in their order.
pub fn sends(part: &Part, buyers: Range<u32>, seed: u64) -> Vec<Attempt> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut sends: Vec<Attempt> = buyers
        .flat_map(|buyer| std::iter::repeat_n(buyer, usize::from(part.sends_per_buyer)))
        .map(|buyer| Attempt { buyer, conduct: conduct(part.aborted_percent, &mut random) })
        .collect();
    if part.shuffled {
        sends.shuffle(&mut random);
    }
    sends
}

/// One ordinary send for each of these buyers.
pub fn ordinary(buyers: impl Iterator<Item = u32>) -> Vec<Attempt> {
    buyers.map(|buyer| Attempt { buyer, conduct: Conduct::Read }).collect()
}

fn conduct(aborted_percent: u8, random: &mut impl Rng) -> Conduct {
    if random.random_range(0..100) >= aborted_percent {
        return Conduct::Read;
    }
    // Half of them at once, while the request is still on its way in.
    let after_ms = if random.random() { 0 } else { random.random_range(1..=ABORT_AFTER_MS_MAX) };
    Conduct::Abort { reset: random.random(), after_ms }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{ORDERS, RETRY_STORM};

    fn storm(buyers: u32, seed: u64) -> Vec<Attempt> {
        sends(&RETRY_STORM.parts[0], 0..buyers, seed)
    }

    #[test]
    fn a_storm_sends_three_times_for_each_buyer_and_aborts_half() {
        let sends = storm(10_000, 1);
        let mut per_buyer = vec![0; 10_000];
        sends.iter().for_each(|send| per_buyer[send.buyer as usize] += 1);
        assert!(per_buyer.iter().all(|&n| n == 3));
        let aborted = sends.iter().filter(|send| send.conduct != Conduct::Read).count();
        assert!((14_500..15_500).contains(&aborted), "{aborted} of 30,000");
        let resets = sends.iter().filter(|send| matches!(send.conduct, Conduct::Abort { reset: true, .. })).count();
        assert!((7_000..8_000).contains(&resets), "{resets} of {aborted}");
        assert!(!sends.is_sorted_by_key(|send| send.buyer), "the storm comes in random order");
    }

    #[test]
    fn the_same_seed_makes_the_same_plan() {
        assert_eq!(storm(1_000, 7), storm(1_000, 7));
        assert_ne!(storm(1_000, 7), storm(1_000, 8));
    }

    #[test]
    fn an_ordinary_load_sends_once_and_reads() {
        let sends = sends(&ORDERS.parts[0], 50..150, 1);
        assert_eq!(sends, ordinary(50..150));
    }

    /// Five million sends must fit into memory beside everything else.
    #[test]
    fn a_send_is_small() {
        assert!(size_of::<Attempt>() <= 8);
    }
}

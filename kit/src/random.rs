//! Randomness as a value: what is secret or must not be guessed takes its bytes from here, so that
//! the same code runs in simulation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom as Source};

/// Where random bytes come from.
pub trait Random: Clone + Send + Sync + 'static {
    /// Fills all of `bytes`.
    ///
    /// # Errors
    ///
    /// When the system has none.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness>;

    /// So many bytes.
    ///
    /// # Errors
    ///
    /// As [`Random::fill`].
    fn bytes<const N: usize>(&self) -> Result<[u8; N], NoRandomness> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }
}

/// The system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes: see that this process may call getrandom(2)")]
pub struct NoRandomness;

/// The system's generator, fit for secrets.
#[derive(Debug, Clone, Default)]
pub struct SystemRandom(Source);

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        self.0.fill(bytes).map_err(|_unspecified| NoRandomness)
    }
}

/// Bytes that repeat for the same seed, for tests. Clones go on with the same bytes.
#[derive(Debug, Clone)]
pub struct SeededRandom(Arc<AtomicU64>);

impl SeededRandom {
    /// A generator that begins at this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        // splitmix64: a step of a counter and a mix of it, so that clones never give a value twice.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        for chunk in bytes.chunks_mut(8) {
            let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_bytes_and_clones_go_on() {
        let (first, again) = (SeededRandom::new(7), SeededRandom::new(7));
        let bytes = first.bytes::<20>().unwrap();
        assert_eq!(bytes, again.bytes::<20>().unwrap());
        assert_ne!(bytes, first.clone().bytes::<20>().unwrap());
    }

    #[test]
    fn the_system_gives_other_bytes_each_time() {
        let random = SystemRandom::default();
        assert_ne!(random.bytes::<16>(), random.bytes::<16>());
    }
}

//! The work of hashing passwords: a process does one at a time, away from the threads that answer
//! buyers, and few wait. Whoever failed lately waits in a smaller queue, so that those who guess
//! leave room for those who know. What it remembers of addresses is in memory and bounded.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kit::problem::{Code, Problem};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use crate::refused::Refused;

/// From so many failures of its address on, so many logins wait with one's own: who never failed
/// waits among a hundred, at some 40 ms each four seconds at most, and those who guess add two.
const QUEUES: [(u32, usize); 3] = [(0, 100), (1, 8), (4, 2)];
/// Logins that wait of who is known at the address: each has the next turn but one.
const KNOWN: usize = 16;
/// From so many failures of the address on, nobody is known there.
const STRANGE: u32 = 4;
/// From how many on it waits longer each time: many people may share an address.
const FAILURES_FREE: u32 = 20;
/// The longest such wait.
const WAIT_MAX: Duration = Duration::from_secs(900);
/// An address that did not fail for as long is forgotten.
const MEMORY: Duration = Duration::from_secs(900);
/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 10_000;
/// When to come back to a full queue.
const COME_BACK: Duration = Duration::from_secs(1);

/// Where passwords are hashed, and who may.
#[derive(Debug)]
pub(crate) struct Turns {
    turn: Arc<Semaphore>,
    /// At the head of all queues but that of who is known.
    head: Semaphore,
    known: Arc<Semaphore>,
    queues: [Arc<Semaphore>; QUEUES.len()],
    addresses: Mutex<HashMap<IpAddr, Failures>>,
}

impl Default for Turns {
    fn default() -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            turn: semaphore(1),
            head: Semaphore::new(1),
            known: semaphore(KNOWN),
            queues: QUEUES.map(|(_, places)| semaphore(places)),
            addresses: Mutex::default(),
        }
    }
}

/// Failed logins from an address, by the monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Duration,
}

impl Failures {
    /// Until when it has to wait.
    fn until(self) -> Duration {
        let Some(beyond) = self.count.checked_sub(FAILURES_FREE) else { return Duration::ZERO };
        self.last + Duration::from_secs(1 << beyond.min(16)).min(WAIT_MAX)
    }
}

/// Somebody's turn. It lasts as long as one of its clones: work that nobody waits for any more
/// still keeps the others out.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    _permits: Arc<[OwnedSemaphorePermit; 2]>,
}

impl Turns {
    /// Waits for a turn. `is_known`: who asks proved something else already, or was signed in at
    /// this address before.
    ///
    /// # Errors
    /// `rate_limited` when too many wait, or the address failed too often.
    pub(crate) async fn enter(&self, address: IpAddr, is_known: bool, now: Duration) -> Result<Turn, Refused> {
        let failures = self.failures(address, now);
        let wait = failures.map_or(Duration::ZERO, Failures::until).saturating_sub(now);
        if !wait.is_zero() {
            return Err(too_often("too many logins from your address failed; come back later", wait));
        }
        let count = failures.map_or(0, |failures| failures.count);
        let is_known = is_known && count < STRANGE;
        let queue = QUEUES.iter().rposition(|(from, _)| *from <= count).unwrap_or_default();
        let queue = if is_known { &self.known } else { &self.queues[queue] };
        let place = Arc::clone(queue).try_acquire_owned();
        let place = place.map_err(|_full| too_often("too many logins wait; come back", COME_BACK))?;
        let ended = |_closed| too_often("logins have ended", COME_BACK);
        // Turns go by who waits for longest: who is known waits there with one of all others.
        let head = if is_known { None } else { Some(self.head.acquire().await.map_err(ended)?) };
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(ended)?;
        drop(head);
        Ok(Turn { _permits: Arc::new([place, turn]) })
    }

    /// Remembers a failure.
    pub(crate) fn failed(&self, address: IpAddr, now: Duration) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network(address);
        if addresses.len() >= ADDRESSES_MAX && !addresses.contains_key(&address) {
            addresses.retain(|_, failures| now.saturating_sub(failures.last) < MEMORY);
            let oldest = addresses.iter().min_by_key(|(_, failures)| failures.last).map(|(address, _)| *address);
            if let Some(oldest) = oldest.filter(|_| addresses.len() >= ADDRESSES_MAX) {
                addresses.remove(&oldest);
            }
        }
        let failures = addresses.entry(address).or_insert(Failures { count: 0, last: now });
        let count = if now.saturating_sub(failures.last) < MEMORY { failures.count } else { 0 };
        *failures = Failures { count: count.saturating_add(1), last: now };
    }

    fn failures(&self, address: IpAddr, now: Duration) -> Option<Failures> {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = addresses.get(&network(address)).copied();
        failures.filter(|failures| now.saturating_sub(failures.last) < MEMORY)
    }
}

/// A network of IPv6 is one customer's, as an address of IPv4 is.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        IpAddr::V4(_) => address,
    }
}

/// A refusal that says when to come back.
pub(crate) fn too_often(detail: &'static str, wait: Duration) -> Refused {
    Problem::new(Code::RateLimited, detail).with_retry_after(wait).into()
}

impl Turn {
    /// Work of this turn, on a thread where nobody waits for it.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let turn = self.clone();
        let worked = spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        worked.await.map_err(|error| Refused::Broken(error.to_string()))?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, last])
    }

    const NOW: Duration = Duration::from_secs(1_000);

    #[tokio::test]
    async fn who_failed_waits_in_a_queue_of_two_and_leaves_room_for_the_others() {
        let turns = Arc::new(Turns::default());
        (0..4).for_each(|_| turns.failed(address(1), NOW));
        let turn = turns.enter(address(2), false, NOW).await.unwrap();
        let waiter = |of: u8| {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move { turns.enter(address(of), false, NOW).await.map(drop) })
        };
        let guessing = [waiter(1), waiter(1)];
        while turns.queues[2].available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(turns.enter(address(1), false, NOW).await.is_err(), "a third guess is refused at once");
        let honest = waiter(3);
        drop(turn);
        honest.await.unwrap().unwrap();
        for guess in guessing {
            guess.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn who_is_known_has_the_next_turn_but_one() {
        let turns = Arc::new(Turns::default());
        let turn = turns.enter(address(1), false, NOW).await.unwrap();
        let before = Arc::new(AtomicU32::new(0));
        let crowd = (2..50).map(|of| {
            let (turns, before) = (Arc::clone(&turns), Arc::clone(&before));
            tokio::spawn(async move {
                let _turn = turns.enter(address(of), false, NOW).await.unwrap();
                before.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            })
        });
        let crowd: Vec<_> = crowd.collect();
        while turns.queues[0].available_permits() > 51 {
            tokio::task::yield_now().await;
        }
        let known = {
            let (turns, before) = (Arc::clone(&turns), Arc::clone(&before));
            tokio::spawn(async move {
                let _turn = turns.enter(address(99), true, NOW).await.unwrap();
                before.load(Ordering::Relaxed)
            })
        };
        while turns.known.available_permits() == KNOWN {
            tokio::task::yield_now().await;
        }
        drop(turn);
        assert!(known.await.unwrap() <= 1, "of 48 who came before");
        for one in crowd {
            one.await.unwrap();
        }
        (0..STRANGE).for_each(|_| turns.failed(address(99), NOW));
        let _turn = turns.enter(address(99), true, NOW).await.unwrap();
        assert_eq!(turns.known.available_permits(), KNOWN, "nobody is known where guesses come from");
    }

    #[tokio::test]
    async fn an_address_that_fails_often_waits_longer_each_time_and_is_forgotten() {
        let turns = Turns::default();
        (0..FAILURES_FREE).for_each(|_| turns.failed(address(1), NOW));
        assert!(turns.enter(address(1), false, NOW).await.is_err());
        assert!(turns.enter(address(1), false, NOW + Duration::from_secs(1)).await.is_ok());
        turns.failed(address(1), NOW);
        assert!(turns.enter(address(1), false, NOW + Duration::from_secs(1)).await.is_err());
        assert!(turns.enter(address(2), false, NOW).await.is_ok());
        assert_eq!(turns.failures(address(1), NOW + MEMORY).map(|failures| failures.count), None);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_memory_is_bounded() {
        let turns = Turns::default();
        for last in 0..3_u128 {
            let of_one_network = (0x2001_0db8_u128 << 96) + last;
            turns.failed(IpAddr::V6(of_one_network.into()), NOW);
        }
        assert_eq!(turns.addresses.lock().unwrap().len(), 1);
        for number in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 10 {
            turns.failed(IpAddr::V4(number.into()), NOW + Duration::from_secs(1));
        }
        assert_eq!(turns.addresses.lock().unwrap().len(), ADDRESSES_MAX);
    }
}

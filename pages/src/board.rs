//! What is shown of one thing: read by many, checked by one. What was checked a moment ago is shown
//! at once, and checked beside its readers when it gets old; what is not right any more waits for
//! its check.

use std::{
    hash::Hasher,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kit::clock::Moment;
use siphasher::sip::SipHasher13;
use tokio::sync::{Notify, watch};

use crate::written::Held;

/// Longest wait for a check.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long something is shown, in milliseconds after its check.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetime {
    /// From then on it is checked again when somebody asks.
    pub(crate) fresh_ms: u64,
    /// So much earlier for some: boards that were checked together part, in one process and among
    /// several.
    pub(crate) spread_ms: u64,
    /// From then on it is not sent: its reader waits for the check.
    pub(crate) shown_ms: u64,
}

/// Something shown, with its check.
#[derive(Debug)]
pub(crate) struct Checked<T> {
    pub(crate) shown: T,
    /// When it was found right, in milliseconds of the monotonic clock.
    checked_ms: u64,
    /// When it is checked again.
    due_ms: u64,
}

/// A board.
#[derive(Debug)]
pub(crate) struct Board<T> {
    newest: watch::Sender<Option<Arc<Checked<T>>>>,
    is_wanted: AtomicBool,
    lifetime: Lifetime,
    /// Parts its lifetimes from those of others.
    seed: u64,
    pub(crate) held: Arc<Held>,
}

impl<T: Send + Sync> Board<T> {
    pub(crate) fn new(lifetime: Lifetime, seed: u64) -> Self {
        Self {
            newest: watch::Sender::new(None),
            is_wanted: AtomicBool::new(false),
            lifetime,
            seed,
            held: Arc::default(),
        }
    }

    /// What it shows, if that was checked recently and `is_right`; otherwise what the next check
    /// shows. `None` when there was no check in time. `wake`: the checker.
    pub(crate) async fn read(
        &self,
        now: Moment,
        wake: &Notify,
        is_right: impl Fn(&T) -> bool,
    ) -> Option<Arc<Checked<T>>> {
        let known = self.newest.borrow().clone();
        let is_shown = |known: &Checked<T>| now.monotonic_ms.saturating_sub(known.checked_ms) <= self.lifetime.shown_ms;
        if let Some(known) = known.as_ref().filter(|known| is_shown(known) && is_right(&known.shown)) {
            if now.monotonic_ms > known.due_ms {
                self.want(wake);
            }
            return Some(Arc::clone(known));
        }
        let mut versions = self.newest.subscribe();
        self.want(wake);
        let is_newer = |checked: &Arc<Checked<T>>| {
            checked.checked_ms >= now.monotonic_ms && known.as_ref().is_none_or(|known| !Arc::ptr_eq(known, checked))
        };
        let is_newer = |checked: &Option<Arc<Checked<T>>>| checked.as_ref().is_some_and(is_newer);
        let newest = tokio::time::timeout(PATIENCE, versions.wait_for(is_newer)).await.ok()?.ok()?;
        newest.clone()
    }

    /// Only the first who wants a check wakes the checker.
    fn want(&self, wake: &Notify) {
        if !self.is_wanted.load(Ordering::Acquire) && !self.is_wanted.swap(true, Ordering::AcqRel) {
            wake.notify_one();
        }
    }

    /// Whether somebody wanted a check since the last one.
    pub(crate) fn take_wanted(&self) -> bool {
        self.is_wanted.swap(false, Ordering::AcqRel)
    }

    /// What it shows.
    pub(crate) fn newest(&self) -> Option<Arc<Checked<T>>> {
        self.newest.borrow().clone()
    }

    /// Shows this, which was right at this moment.
    pub(crate) fn show(&self, shown: T, checked_ms: u64) {
        let mut hasher = SipHasher13::new();
        hasher.write_u64(self.seed);
        hasher.write_u64(checked_ms);
        let Lifetime { fresh_ms, spread_ms, .. } = self.lifetime;
        let due_ms = checked_ms + fresh_ms - hasher.finish() % (spread_ms + 1);
        self.newest.send_replace(Some(Arc::new(Checked { shown, checked_ms, due_ms })));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Lifetime = Lifetime { fresh_ms: 400, spread_ms: 100, shown_ms: 700 };

    fn at(monotonic_ms: u64) -> Moment {
        Moment { wall_ms: 0, monotonic_ms }
    }

    /// Boards that were checked together are checked again apart.
    #[test]
    fn lifetimes_are_spread() {
        let due: std::collections::BTreeSet<u64> = (0..1_000)
            .map(|seed| {
                let board = Board::new(LIFETIME, seed);
                board.show((), 1_000);
                board.newest().unwrap().due_ms
            })
            .collect();
        assert_eq!((due.first(), due.last(), due.len()), (Some(&1_300), Some(&1_400), 101));
    }

    /// However many wait for a check, it is asked for once.
    #[tokio::test(start_paused = true)]
    async fn many_readers_are_one_flight() {
        let (board, wake) = (Arc::new(Board::new(LIFETIME, 1)), Arc::new(Notify::new()));
        let readers: Vec<_> = (0..1_000)
            .map(|_| {
                let (board, wake) = (Arc::clone(&board), Arc::clone(&wake));
                tokio::spawn(async move { board.read(at(1_000), &wake, |_| true).await.map(|checked| checked.shown) })
            })
            .collect();
        let mut flights = 0;
        while tokio::time::timeout(Duration::from_millis(100), wake.notified()).await.is_ok() {
            flights += 1;
            assert!(board.take_wanted() || flights > 1);
            board.show(7, 1_000);
        }
        for reader in readers {
            assert_eq!(reader.await.unwrap(), Some(7));
        }
        assert_eq!(flights, 1);
        assert_eq!(board.read(at(1_700), &wake, |_| true).await.unwrap().shown, 7);
        assert!(board.take_wanted(), "it is checked beside its readers");
        assert!(board.read(at(1_701), &wake, |_| true).await.is_none(), "too old, and nobody checks");
        board.show(8, 2_000);
        assert!(board.read(at(2_000), &wake, |shown| *shown == 7).await.is_none(), "not right any more");
    }
}

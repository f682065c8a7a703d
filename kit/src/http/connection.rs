//! One connection: the pulse that its task beats and the sweep of its server reads. hyper can time headers out by
//! itself, but arms a fresh timer for each request to do so and knows no other limit for an idle connection; a pulse
//! costs a few plain stores a request and tells the two waits apart.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

/// What `reads` is compared with before the first request: a new connection must send headers at once, silence
/// included.
const NOT_YET_SERVED: u64 = u64::MAX;

/// How far a connection has come. Written by its task, read by the sweep.
///
/// Relaxed throughout: the sweep only compares counters that rarely change between its rounds, and a stale one costs
/// one more round.
#[derive(Debug)]
pub(super) struct Pulse {
    /// Requests begun plus requests ended: odd while a handler runs.
    steps: AtomicU64,
    /// Successful reads from the socket.
    reads: AtomicU64,
    /// `reads` when the last handler ended.
    reads_when_served: AtomicU64,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { steps: AtomicU64::new(0), reads: AtomicU64::new(0), reads_when_served: AtomicU64::new(NOT_YET_SERVED) }
    }

    /// Says that a handler runs until the guard is dropped, however it ends.
    pub(super) fn serving(&self) -> Serving<'_> {
        step(&self.steps);
        Serving(self)
    }
}

/// See [`Pulse::serving`].
pub(super) struct Serving<'a>(&'a Pulse);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.reads_when_served.store(self.0.reads.load(Ordering::Relaxed), Ordering::Relaxed);
        step(&self.0.steps);
    }
}

/// Adds one without a locked instruction: only the connection's own task writes.
fn step(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// What a connection is found waiting for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Headers that were begun, or the first ones.
    Headers,
    /// Any sign of a further request, or of the answer being read.
    Idle,
}

/// Most rounds a connection may be seen in one wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounds {
    pub(super) headers: u32,
    pub(super) idle: u32,
}

/// What the sweep remembers of a connection between its rounds.
#[derive(Debug, Default)]
pub(super) struct Watch {
    steps: u64,
    idle: u32,
    headers: u32,
}

impl Watch {
    /// Takes the pulse once a round. A wait is overdue when it was seen in *more* rounds than allowed, so that the
    /// first sighting, which may come right after the wait began, counts for nothing.
    pub(super) fn take(&mut self, pulse: &Pulse, allowed: Rounds) -> Option<Overdue> {
        let steps = pulse.steps.load(Ordering::Relaxed);
        let is_serving = steps % 2 == 1;
        if is_serving || steps != self.steps {
            *self = Self { steps, idle: 0, headers: 0 };
        }
        if is_serving {
            return None;
        }
        self.idle += 1;
        if pulse.reads.load(Ordering::Relaxed) != pulse.reads_when_served.load(Ordering::Relaxed) {
            self.headers += 1;
        }
        if self.headers > allowed.headers {
            Some(Overdue::Headers)
        } else if self.idle > allowed.idle {
            Some(Overdue::Idle)
        } else {
            None
        }
    }
}

/// A transport that counts its reads.
pub(super) struct Counted<T> {
    pub(super) transport: T,
    pub(super) pulse: std::sync::Arc<Pulse>,
}

impl<T: Read + Unpin> Read for Counted<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.transport).poll_read(context, into);
        if matches!(read, Poll::Ready(Ok(()))) {
            step(&self.pulse.reads);
        }
        read
    }
}

impl<T: Write + Unpin> Write for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(context, pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Rounds = Rounds { headers: 2, idle: 4 };

    fn rounds_until_overdue(watch: &mut Watch, pulse: &Pulse) -> Option<(u32, Overdue)> {
        (1..=10).find_map(|round| watch.take(pulse, ALLOWED).map(|overdue| (round, overdue)))
    }

    fn read(pulse: &Pulse) {
        step(&pulse.reads);
    }

    #[test]
    fn a_new_connection_must_send_headers_even_if_it_is_silent() {
        let (mut watch, pulse) = (Watch::default(), Pulse::new());
        assert_eq!(rounds_until_overdue(&mut watch, &pulse), Some((3, Overdue::Headers)));
    }

    #[test]
    fn between_requests_the_longer_limit_holds() {
        let (mut watch, pulse) = (Watch::default(), Pulse::new());
        read(&pulse);
        drop(pulse.serving());
        assert_eq!(rounds_until_overdue(&mut watch, &pulse), Some((5, Overdue::Idle)));
    }

    #[test]
    fn the_first_byte_of_a_request_starts_the_shorter_limit() {
        let (mut watch, pulse) = (Watch::default(), Pulse::new());
        drop(pulse.serving());
        assert_eq!(watch.take(&pulse, ALLOWED), None);
        read(&pulse);
        assert_eq!(rounds_until_overdue(&mut watch, &pulse), Some((3, Overdue::Headers)));
    }

    #[test]
    fn bytes_that_trickle_in_do_not_prolong_the_wait() {
        let (mut watch, pulse) = (Watch::default(), Pulse::new());
        drop(pulse.serving());
        let overdue = (1..=10).find_map(|round| {
            read(&pulse);
            watch.take(&pulse, ALLOWED).map(|overdue| (round, overdue))
        });
        assert_eq!(overdue, Some((3, Overdue::Headers)));
    }

    #[test]
    fn a_running_handler_is_left_alone_and_what_follows_counts_anew() {
        let (mut watch, pulse) = (Watch::default(), Pulse::new());
        let serving = pulse.serving();
        assert_eq!(rounds_until_overdue(&mut watch, &pulse), None);
        read(&pulse);
        drop(serving);
        assert_eq!(rounds_until_overdue(&mut watch, &pulse), Some((5, Overdue::Idle)));
    }

    #[test]
    fn requests_between_two_rounds_start_the_wait_anew() {
        let (mut watch, pulse) = (Watch::default(), Pulse::new());
        for _ in 0..10 {
            read(&pulse);
            drop(pulse.serving());
            assert_eq!(watch.take(&pulse, ALLOWED), None);
        }
    }
}

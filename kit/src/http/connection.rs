//! One connection: the pulse that its task beats and the sweep of its server reads. hyper can time
//! headers out by itself, but arms a fresh timer for each request to do so and knows no other limit
//! for an idle connection; a pulse costs a few plain stores a request and tells the two waits
//! apart.

use std::cmp::Reverse;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use tokio::time::Sleep;

/// What `reads` is compared with before the first request: a new connection must send headers at
/// once, silence included.
const NOT_YET_SERVED: u64 = u64::MAX;

/// Longest wait for a client that still sends after its last answer, to see that answer and close.
const LINGER: Duration = Duration::from_secs(2);

/// Most bytes of it that are passed over: a megabyte with room to spare.
const LINGER_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How many are passed over at a time; on the stack.
const LINGER_STEP: usize = 4 * 1024;

/// How far a connection has come. Written by its task, read by the sweep.
///
/// Relaxed throughout: the sweep only compares counters that rarely change between its rounds, and
/// a stale one costs one more round.
#[derive(Debug)]
pub(super) struct Pulse {
    /// Requests begun plus requests ended: odd while a handler runs.
    steps: AtomicU64,
    /// Successful reads from the socket.
    reads: AtomicU64,
    /// `reads` when the last handler ended.
    reads_when_served: AtomicU64,
    /// Whether the last request was refused while it was still coming.
    is_cut_short: AtomicBool,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            steps: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            reads_when_served: AtomicU64::new(NOT_YET_SERVED),
            is_cut_short: AtomicBool::new(false),
        }
    }

    /// Says that the last request was refused while it was still coming: the connection ends with
    /// it, but the client has to see why.
    pub(super) fn cut_short(&self) {
        self.is_cut_short.store(true, Ordering::Relaxed);
    }

    /// Whether the client may be sending something that nobody will answer.
    fn is_amid_a_request(&self) -> bool {
        let reads = self.reads.load(Ordering::Relaxed);
        self.is_cut_short.load(Ordering::Relaxed)
            || (reads > 0 && reads != self.reads_when_served.load(Ordering::Relaxed))
    }

    /// A sign of life of an answer that goes on after its handler ended.
    pub(super) fn beat(&self) {
        step(&self.steps);
        step(&self.steps);
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

/// Who gives way first when connections are short: those that owe headers before those between two
/// requests; of each, the one that has waited for the most rounds; of those, the oldest.
pub(super) type GivesWay = (bool, Reverse<u32>, u64);

/// What the sweep remembers of a connection between its rounds.
#[derive(Debug, Default)]
pub(super) struct Watch {
    steps: u64,
    idle: u32,
    headers: u32,
}

impl Watch {
    /// Takes the pulse once a round. A wait is overdue when it was seen in *more* rounds than
    /// allowed, so that the first sighting, which may come right after the wait began, counts for
    /// nothing.
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

impl Watch {
    /// The place of a connection among those that give way. `None` while a handler runs: its buyer
    /// waits for an answer.
    pub(super) fn gives_way(&self, pulse: &Pulse, number: u64) -> Option<GivesWay> {
        let steps = pulse.steps.load(Ordering::Relaxed);
        if steps % 2 == 1 {
            return None;
        }
        let is_between = pulse.reads.load(Ordering::Relaxed) == pulse.reads_when_served.load(Ordering::Relaxed);
        let rounds = if steps == self.steps { self.idle } else { 0 };
        Some((is_between, Reverse(rounds), number))
    }
}

/// A transport that counts its reads, and at its end sees to it that the last answer is not lost:
/// closing a socket on a client that still sends resets the connection, and the reset may overtake
/// the answer. So it passes over what still comes, for a while.
pub(super) struct Counted<T> {
    transport: T,
    pulse: Arc<Pulse>,
    end: End,
}

/// How far the end of a transport is.
enum End {
    NotYet,
    /// Our half is closed; so many bytes may still be passed over. The timer is set when first
    /// there is something to wait for.
    Lingers {
        bytes: usize,
        until: Option<Pin<Box<Sleep>>>,
    },
    Done,
}

impl<T> Counted<T> {
    pub(super) fn new(transport: T, pulse: Arc<Pulse>) -> Self {
        Self { transport, pulse, end: End::NotYet }
    }
}

impl<T: Read + Write + Unpin> Counted<T> {
    /// Passes over what the client still sends. Pending while more may come.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let End::Lingers { bytes, until } = &mut self.end else { return Poll::Ready(()) };
        loop {
            let mut step = [MaybeUninit::uninit(); LINGER_STEP];
            let mut into = ReadBuf::uninit(&mut step);
            match Pin::new(&mut self.transport).poll_read(context, into.unfilled()) {
                // Its end, or it is gone.
                Poll::Ready(Ok(())) if into.filled().is_empty() => return Poll::Ready(()),
                Poll::Ready(Err(_gone)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => match bytes.checked_sub(into.filled().len()) {
                    Some(left) => *bytes = left,
                    None => return Poll::Ready(()),
                },
                Poll::Pending => {
                    let until = until.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
                    return until.as_mut().poll(context);
                }
            }
        }
    }
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

impl<T: Read + Write + Unpin> Write for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.end, End::NotYet) {
            ready!(Pin::new(&mut self.transport).poll_shutdown(context))?;
            self.end = if self.pulse.is_amid_a_request() {
                End::Lingers { bytes: LINGER_BYTES_MAX, until: None }
            } else {
                End::Done
            };
        }
        ready!(self.poll_linger(context));
        self.end = End::Done;
        Poll::Ready(Ok(()))
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

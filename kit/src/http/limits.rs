//! Every limit of the server, in one place. How they are enforced is beside.

use std::time::Duration;

/// Largest request body, except where a route says otherwise.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Longest wait for a whole request body.
pub const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// Largest request line and headers together; more is answered 431.
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// Most header lines of a request; more is answered 431.
const HEADERS_MAX: usize = 64;

/// Longest wait for a request's headers once their first byte, or a new connection, is here.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);

/// Longest silence between two requests of a connection. Above the 60 s after which load balancers
/// commonly drop an idle connection: the one that sends requests should be the one that closes, or
/// it meets a closed door.
const IDLE_DEADLINE: Duration = Duration::from_secs(75);

/// Most connections of one listener. For a further one those that have waited longest for their
/// client are closed.
const CONNECTIONS_MAX: usize = 16 * 1024;

/// File descriptors of a process that are not for clients: stores, the admin port, files, runtimes.
const DESCRIPTORS_KEPT: u64 = 512;

/// Largest read buffer of a connection. Bodies beyond it arrive in pieces.
const BUFFER_BYTES_MAX: usize = 16 * 1024;

/// Longest wait for requests in flight at shutdown. Below the 30 s an orchestrator grants by
/// default.
const DRAIN_DEADLINE: Duration = Duration::from_secs(20);

/// The least buffer hyper accepts.
pub(super) const BUFFER_BYTES_FLOOR: usize = 8 * 1024;

const _: () = assert!(BUFFER_BYTES_MAX >= BUFFER_BYTES_FLOOR && BUFFER_BYTES_MAX >= HEADER_BYTES_MAX);
const _: () = assert!(HEADER_DEADLINE.as_millis() < IDLE_DEADLINE.as_millis());
// hyper parses up to 100 header lines on its stack; a cap below that costs no allocation.
const _: () = assert!(HEADERS_MAX <= 100);

/// What a listener grants its clients. Tests make them small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most connections of one listener; with a listener per core the process has that many times
    /// the cores. One of them costs some 20 KiB (seen with 10,000 of them, a quarter served once,
    /// in a debug build).
    pub connections_max: usize,
    /// Most header lines of a request.
    pub headers_max: usize,
    /// Largest request line and headers together, in bytes.
    pub header_bytes_max: usize,
    /// Largest read buffer of a connection in bytes; hyper's floor of 8 KiB applies.
    pub buffer_bytes_max: usize,
    /// Longest wait for whole headers, from a connection's start or the first byte of a further
    /// request.
    pub header_deadline: Duration,
    /// Longest silence between requests; also the longest wait for a client that does not read its
    /// answer.
    pub idle_deadline: Duration,
    /// Longest wait for requests in flight at shutdown.
    pub drain_deadline: Duration,
}

impl Limits {
    /// The defaults for one of `listeners` in a process that may open `descriptors` files: clients
    /// never use up those that the process needs for itself.
    #[must_use]
    pub fn sharing(descriptors: u64, listeners: usize) -> Self {
        // Half of them, when there are hardly any.
        let for_clients = descriptors.saturating_sub(DESCRIPTORS_KEPT).max(descriptors / 2);
        let share = usize::try_from(for_clients).unwrap_or(usize::MAX) / listeners.max(1);
        Self { connections_max: share.clamp(1, CONNECTIONS_MAX), ..Self::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            headers_max: HEADERS_MAX,
            header_bytes_max: HEADER_BYTES_MAX,
            buffer_bytes_max: BUFFER_BYTES_MAX,
            header_deadline: HEADER_DEADLINE,
            idle_deadline: IDLE_DEADLINE,
            drain_deadline: DRAIN_DEADLINE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_share_what_the_process_may_open() {
        let most = |descriptors, listeners| Limits::sharing(descriptors, listeners).connections_max;
        assert_eq!(most(1_048_576, 2), CONNECTIONS_MAX);
        assert_eq!(most(u64::MAX, 1), CONNECTIONS_MAX);
        assert_eq!(most(20_000, 2), 9_744);
        assert_eq!(most(256, 2), 64, "half, where there are few");
        assert_eq!(most(1, 64), 1, "never none");
    }
}

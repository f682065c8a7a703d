//! W3C Trace Context, level 1: reading, minting and writing `traceparent`. It records no spans; it
//! lets a log line, a refusal and a request to another service name the request they belong to.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::num::{NonZeroU64, NonZeroU128};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// The header that carries the context from one service to another. A reservation in the log
/// carries the 16 bytes of the trace if the caller's flag `sampled` is set, and the order-writer
/// names it in a line of level debug. Events of orders carry none: one record tells of many
/// purchases, and each event names its order, which that line names too.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Length of a version-00 header: `00-` + 32 + `-` + 16 + `-` + 2.
const TRACEPARENT_LEN: usize = 55;

/// Bit of the flags by which the caller says that it may have recorded the trace.
const FLAG_SAMPLED: u8 = 0x01;

tokio::task_local! {
    /// The request that the task works on. Setting it allocates nothing: the hot path does.
    static CURRENT: TraceContext;
}

/// Names one request across all services. Never zero; prints as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(NonZeroU128);

impl TraceId {
    /// The number itself.
    #[must_use]
    pub fn get(self) -> u128 {
        self.0.get()
    }
}

impl From<TraceId> for NonZeroU128 {
    fn from(trace: TraceId) -> Self {
        trace.0
    }
}

impl From<NonZeroU128> for TraceId {
    fn from(trace: NonZeroU128) -> Self {
        Self(trace)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl serde::Serialize for TraceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A request's place in its trace. Prints as a version-00 `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: TraceId,
    span_id: NonZeroU64,
    flags: u8,
}

impl TraceContext {
    /// A new trace. Its ids are random, not secret: never use them as a credential.
    #[must_use]
    pub fn generate() -> Self {
        let trace_id = TraceId(NonZeroU128::from(random_id()) | (u128::from(random_id().get()) << 64));
        Self { trace_id, span_id: random_id(), flags: 0 }
    }

    /// The same trace, one step on: what this process sends to others after it was sent `self`.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: random_id(), ..*self }
    }

    /// Reads a `traceparent`, strictly: lower-case hexadecimal, ids not zero, version 00 with
    /// nothing behind it. A later version is read as far as version 00 goes, as the standard asks.
    /// `None` means: start a new trace.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let bytes = header.as_bytes();
        let known = bytes.get(..TRACEPARENT_LEN)?;
        let version = hex(known.get(..2)?)?;
        let dashes_stand = known.get(2) == Some(&b'-') && known.get(35) == Some(&b'-') && known.get(52) == Some(&b'-');
        let end_is_right = match bytes.get(TRACEPARENT_LEN) {
            None => true,
            Some(next) => version != 0 && *next == b'-',
        };
        if version == 0xff || !dashes_stand || !end_is_right {
            return None;
        }
        let trace_id = TraceId(NonZeroU128::new(hex(known.get(3..35)?)?)?);
        let span_id = NonZeroU64::new(u64::try_from(hex(known.get(36..52)?)?).ok()?)?;
        // Only the bits this version defines are passed on.
        let flags = u8::try_from(hex(known.get(53..55)?)?).ok()? & FLAG_SAMPLED;
        Some(Self { trace_id, span_id, flags })
    }

    /// The step of this process in the caller's trace, or a new trace when the caller sent none,
    /// several, or a broken one.
    #[must_use]
    pub fn of_request(headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all(&TRACEPARENT).iter();
        let only = match (sent.next(), sent.next()) {
            (Some(one), None) => one.to_str().ok(),
            _ => None,
        };
        only.and_then(Self::parse).map_or_else(Self::generate, |caller| caller.child())
    }

    /// Does something as a part of this trace: log lines that are written meanwhile, problems that
    /// are answered and requests to other services name it. What is spawned meanwhile does not.
    /// Large work is best handed in pinned, or it is copied on its way.
    pub fn within<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, work)
    }

    /// The trace that the task works for, if for one.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|trace| *trace).ok()
    }

    /// Which trace.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// Whether the caller may have recorded the trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & FLAG_SAMPLED != 0
    }

    /// Sets `traceparent` among `headers`.
    pub fn insert_into(&self, headers: &mut HeaderMap) {
        // Hexadecimal digits and dashes always make a header value; were it not so, the trace would
        // end here.
        if let Ok(value) = HeaderValue::from_bytes(&self.written()) {
            headers.insert(TRACEPARENT, value);
        }
    }

    /// The header's bytes, written without the formatter: each answer carries one.
    fn written(&self) -> [u8; TRACEPARENT_LEN] {
        let mut header = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(self.trace_id.get(), &mut header[3..35]);
        write_hex(self.span_id.get().into(), &mut header[36..52]);
        write_hex(self.flags.into(), &mut header[53..55]);
        header
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ASCII by construction.
        formatter.write_str(std::str::from_utf8(&self.written()).unwrap_or_default())
    }
}

/// Fills `digits` with the low end of `value`.
fn write_hex(mut value: u128, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        // The mask leaves an index below 16.
        *digit = b"0123456789abcdef"[(value & 0xf) as usize];
        value >>= 4;
    }
}

/// Reads lower-case hexadecimal digits only; `u128::from_str_radix` would also take capitals and a
/// sign.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |value, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((value << 4) | u128::from(nibble))
    })
}

/// One step of SplitMix64 on a per-thread state that std seeded from the system: a few nanoseconds,
/// no lock.
fn random_id() -> NonZeroU64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
    }
    let mixed = STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    });
    NonZeroU64::new(mixed).unwrap_or(NonZeroU64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_good_header_is_read_and_written_back_the_same() {
        let context = TraceContext::parse(GOOD).unwrap();
        assert_eq!(context.to_string(), GOOD);
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(context.is_sampled());
    }

    #[test]
    fn broken_headers_are_refused() {
        let broken = [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "+0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.x",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ];
        for header in broken {
            assert_eq!(TraceContext::parse(header), None, "{header}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-more";
        assert_eq!(TraceContext::parse(later).unwrap().to_string(), GOOD);
    }

    #[test]
    fn a_request_continues_its_callers_trace_with_a_span_of_its_own() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(GOOD));
        let ours = TraceContext::of_request(&headers);
        let theirs = TraceContext::parse(GOOD).unwrap();
        assert_eq!(ours.trace_id(), theirs.trace_id());
        assert_ne!(ours, theirs);
    }

    #[test]
    fn two_headers_start_a_new_trace() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        let ours = TraceContext::of_request(&headers);
        assert_ne!(ours.trace_id(), TraceContext::parse(GOOD).unwrap().trace_id());
    }

    #[test]
    fn generated_contexts_are_valid_and_differ() {
        let mut seen = HashSet::new();
        for _ in 0..1_000 {
            let context = TraceContext::generate();
            assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
            assert!(seen.insert(context.trace_id()));
        }
    }

    #[test]
    fn threads_do_not_repeat_each_other() {
        let ids: HashSet<TraceId> = (0..8)
            .map(|_| std::thread::spawn(|| TraceContext::generate().trace_id()))
            .map(|thread| thread.join().unwrap())
            .collect();
        assert_eq!(ids.len(), 8);
    }
}

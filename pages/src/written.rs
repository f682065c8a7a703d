//! A body that is written once and sent many times, in each content coding. A coding is packed when
//! a client first asks for it, and until then that client gets what there is.

use std::{
    collections::VecDeque,
    hash::Hasher,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use kit::http::{Body, HeaderMap, HeaderValue, Response, StatusCode, header, reply};
use siphasher::sip::SipHasher13;
use tokio::sync::Notify;

use crate::coding::{Accepted, Coding};

/// Smaller bodies travel in one packet anyway.
const PACKED_FROM_BYTES: usize = 1_400;
/// Bytes of earlier bodies of one board that clients may hold by not reading them.
const HELD_BYTES_MAX: usize = 64 << 20;
/// Bodies that wait to be packed, at most.
const WAITING_MAX: usize = 256;

/// How long a cache may show it without asking.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=1");
/// A cache keeps one for each coding, and for each page that asks from another origin.
const VARIES: HeaderValue = HeaderValue::from_static("Accept-Encoding, Origin");

/// A body in one coding.
#[derive(Debug)]
pub(crate) struct Coded {
    coding: Coding,
    pub(crate) bytes: Bytes,
    /// A strong one: of these very bytes, so each coding has its own (RFC 9110, 8.8.3.3).
    tag: HeaderValue,
}

/// A body in all its codings.
#[derive(Debug)]
pub(crate) struct Written {
    plain: Coded,
    /// Gzip and br; `None` once it is known that they would not be smaller.
    packed: [OnceLock<Option<Coded>>; 2],
    is_asked: [AtomicBool; 2],
    number: u64,
    held: Arc<Held>,
}

impl Written {
    /// A body that is counted among those of this board.
    pub(crate) fn new(body: Vec<u8>, held: &Arc<Held>) -> Self {
        let is_small = body.len() < PACKED_FROM_BYTES;
        let packed = || if is_small { OnceLock::from(None) } else { OnceLock::new() };
        let (number, tag) = (held.next(), tag_of(&body, Coding::Plain));
        let plain = Coded { coding: Coding::Plain, bytes: held.keep(number, body), tag };
        let is_asked = [AtomicBool::new(false), AtomicBool::new(false)];
        Self { plain, packed: [packed(), packed()], is_asked, number, held: Arc::clone(held) }
    }

    /// What is there of it in the coding that the client likes best. One that is not there yet is
    /// asked for.
    pub(crate) fn best(self: &Arc<Self>, accepted: Accepted, packing: &Packing) -> &Coded {
        let mut may_ask = true;
        for coding in accepted.best_first() {
            let Some(place) = place(coding) else { return &self.plain };
            match self.packed[place].get() {
                Some(Some(coded)) => return coded,
                Some(None) => {}
                None if may_ask => {
                    may_ask = false;
                    if !self.is_asked[place].swap(true, Ordering::Relaxed) && !packing.ask(self, coding) {
                        self.is_asked[place].store(false, Ordering::Relaxed);
                    }
                }
                None => {}
            }
        }
        &self.plain
    }

    /// The coding that the client has already, of those that it takes.
    pub(crate) fn known(&self, accepted: Accepted, headers: &HeaderMap) -> Option<&Coded> {
        let sent = headers.get_all(header::IF_NONE_MATCH);
        sent.iter().next()?;
        let packed = self.packed.iter().filter_map(|packed| packed.get()?.as_ref());
        let mut codings = std::iter::once(&self.plain).chain(packed);
        codings.find(|coded| accepted.takes(coded.coding) && sent.iter().any(|sent| names(sent, &coded.tag)))
    }

    /// Packs it, on this thread.
    pub(crate) fn pack(&self, coding: Coding) {
        let Some(place) = place(coding) else { return };
        let packed = coding.pack(&self.plain.bytes);
        let packed = packed.inspect_err(|error| tracing::error!(%error, "a page could not be packed"));
        let smaller = packed.ok().filter(|packed| packed.len() < self.plain.bytes.len());
        let coded = smaller.map(|body| {
            let tag = tag_of(&self.plain.bytes, coding);
            Coded { coding, bytes: self.held.keep(self.number, body), tag }
        });
        // Whoever packed it first packed the same.
        drop(self.packed[place].set(coded));
    }
}

impl Coded {
    /// The answer; `is_known`: without the body, because the client has it.
    pub(crate) fn response(&self, is_known: bool) -> Response<Body> {
        let mut response = if is_known {
            reply::empty(StatusCode::NOT_MODIFIED)
        } else {
            reply::raw(StatusCode::OK, reply::CONTENT_TYPE_JSON, self.bytes.clone())
        };
        let headers = response.headers_mut();
        if let Some(coding) = self.coding.header().filter(|_| !is_known) {
            headers.insert(header::CONTENT_ENCODING, coding);
        }
        headers.insert(header::ETAG, self.tag.clone());
        headers.insert(header::CACHE_CONTROL, CACHE);
        headers.insert(header::VARY, VARIES);
        response
    }
}

/// Where a coding's packed bytes are; `None` of the plain ones.
const fn place(coding: Coding) -> Option<usize> {
    match coding {
        Coding::Plain => None,
        Coding::Gzip => Some(0),
        Coding::Br => Some(1),
    }
}

fn tag_of(plain: &[u8], coding: Coding) -> HeaderValue {
    let mut hasher = SipHasher13::new();
    hasher.write(plain);
    let suffix = match coding {
        Coding::Plain => "",
        Coding::Gzip => "-gzip",
        Coding::Br => "-br",
    };
    // Digits and letters always make a header value; an empty tag is nobody's.
    HeaderValue::try_from(format!("\"{:016x}{suffix}\"", hasher.finish()))
        .unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// Whether this `If-None-Match` names the tag. Compared weakly, as RFC 9110 asks: a cache that
/// packs a page by itself makes its tag a weak one.
fn names(sent: &HeaderValue, tag: &HeaderValue) -> bool {
    let mut tags = sent.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    tags.any(|sent| sent == b"*" || sent.strip_prefix(b"W/").unwrap_or(sent) == tag.as_bytes())
}

/// Bytes whose last holder lets them go; their writer sees whether there is one.
struct Counted(Arc<Vec<u8>>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The bodies of one board, as long as answers hold them.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bodies: Mutex<Vec<(u64, Weak<Vec<u8>>)>>,
    newest: AtomicU64,
}

impl Held {
    fn next(&self) -> u64 {
        self.newest.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn keep(&self, number: u64, body: Vec<u8>) -> Bytes {
        let body = Arc::new(body);
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.retain(|(_, body)| body.strong_count() > 0);
        bodies.push((number, Arc::downgrade(&body)));
        Bytes::from_owner(Counted(body))
    }

    /// Whether clients hold so much of earlier versions that no other shall be added.
    pub(crate) fn is_full(&self) -> bool {
        let newest = self.newest.load(Ordering::Relaxed);
        let bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = bodies.iter().filter(|(number, _)| *number < newest);
        earlier.filter_map(|(_, body)| body.upgrade()).map(|body| body.len()).sum::<usize>() > HELD_BYTES_MAX
    }
}

/// Bodies that somebody wants in a coding.
#[derive(Debug, Default)]
pub(crate) struct Packing {
    waiting: Mutex<VecDeque<(Weak<Written>, Coding)>>,
    wake: Notify,
}

impl Packing {
    /// `false`: too many wait.
    fn ask(&self, written: &Arc<Written>, coding: Coding) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = waiting.len() < WAITING_MAX;
        if has_room {
            waiting.push_back((Arc::downgrade(written), coding));
            self.wake.notify_one();
        }
        has_room
    }

    /// The next one that is still shown, once there is one.
    pub(crate) async fn next(&self) -> (Arc<Written>, Coding) {
        loop {
            let first = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match first.map(|(written, coding)| (written.upgrade(), coding)) {
                Some((Some(written), coding)) => return (written, coding),
                // Nobody shows it any more.
                Some((None, _)) => {}
                None => self.wake.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(sent: &'static str) -> Accepted {
        let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(sent))]);
        Accepted::of(&headers)
    }

    fn written(bytes: usize) -> Arc<Written> {
        Arc::new(Written::new(vec![b' '; bytes], &Arc::default()))
    }

    fn known<'a>(written: &'a Written, sent: &str, accept: &'static str) -> Option<&'a Coded> {
        let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::try_from(sent).unwrap())]);
        written.known(accepting(accept), &headers)
    }

    /// Each coding is asked for once however many want it, one at a time, and is sent once it is
    /// there; until then the plain bytes are.
    #[tokio::test]
    async fn a_coding_is_packed_once_and_then_sent() {
        let (body, packing) = (written(PACKED_FROM_BYTES), Packing::default());
        for _ in 0..1_000 {
            assert_eq!(body.best(accepting("gzip, br"), &packing).coding, Coding::Plain);
        }
        let (wanted, coding) = packing.next().await;
        assert_eq!((coding, packing.waiting.lock().unwrap().len()), (Coding::Br, 0), "the best liked one alone");
        wanted.pack(coding);
        assert_eq!(body.best(accepting("gzip, br"), &packing).coding, Coding::Br);
        assert_eq!(body.best(accepting("gzip"), &packing).coding, Coding::Plain);
        let (wanted, coding) = packing.next().await;
        wanted.pack(coding);
        assert_eq!(body.best(accepting("gzip, br;q=0.5"), &packing).coding, Coding::Gzip);
        assert_eq!(body.best(accepting(""), &packing).coding, Coding::Plain);
        let response = body.best(accepting("br"), &packing).response(false);
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "br");
        assert_eq!(response.headers()[header::VARY], "Accept-Encoding, Origin");
    }

    #[tokio::test]
    async fn small_bodies_and_those_that_do_not_shrink_stay_plain() {
        let packing = Packing::default();
        let small = written(PACKED_FROM_BYTES - 1);
        assert_eq!(small.best(accepting("gzip, br"), &packing).coding, Coding::Plain);
        assert!(packing.waiting.lock().unwrap().is_empty());
        // Bytes without a pattern.
        let mut state = 1_u64;
        let noise = (0..4_096).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        });
        let noise = Arc::new(Written::new(noise.collect(), &Arc::default()));
        noise.pack(Coding::Br);
        assert_eq!(noise.best(accepting("br"), &packing).coding, Coding::Plain);
        assert!(packing.waiting.lock().unwrap().is_empty(), "it is not asked for again");
    }

    /// A page that is shown no more is packed no more, and the queue has a bound.
    #[tokio::test]
    async fn what_waits_to_be_packed_is_bounded() {
        let packing = Packing::default();
        let gone = written(PACKED_FROM_BYTES);
        gone.best(accepting("br"), &packing);
        drop(gone);
        let shown: Vec<_> = (0..WAITING_MAX).map(|_| written(PACKED_FROM_BYTES)).collect();
        for body in &shown {
            assert_eq!(body.best(accepting("br"), &packing).coding, Coding::Plain);
        }
        assert_eq!(packing.waiting.lock().unwrap().len(), WAITING_MAX);
        let (first, coding) = packing.next().await;
        assert!(Arc::ptr_eq(&first, &shown[0]) && coding == Coding::Br);
        let last = shown.last().unwrap();
        last.best(accepting("br"), &packing);
        assert!(packing.waiting.lock().unwrap().iter().any(|(body, _)| body.ptr_eq(&Arc::downgrade(last))));
    }

    /// A tag is of one coding, and only of one that the client takes now: a cache must not answer
    /// with packed bytes who takes none.
    #[test]
    fn tags_are_of_one_coding() {
        let body = written(PACKED_FROM_BYTES);
        body.pack(Coding::Gzip);
        let plain = body.plain.tag.to_str().unwrap().to_owned();
        let gzip = plain.replace("\"", "").to_owned() + "-gzip";
        let gzip = format!("\"{gzip}\"");
        let coding = |sent: &str, accept| known(&body, sent, accept).map(|coded| coded.coding);
        assert_eq!(coding(&plain, "gzip"), Some(Coding::Plain));
        assert_eq!(coding(&gzip, "gzip"), Some(Coding::Gzip));
        assert_eq!(coding(&gzip, ""), None);
        assert_eq!(coding(&plain, "gzip, identity;q=0"), None);
        assert_eq!(coding(&format!("\"x\", W/{gzip}"), "gzip"), Some(Coding::Gzip));
        assert_eq!(coding("*", ""), Some(Coding::Plain));
        assert_eq!(coding("\"x\"", "gzip"), None);
        let known = known(&body, &gzip, "gzip").unwrap().response(true);
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(known.headers()[header::ETAG], gzip.as_str());
    }

    /// Fault 13: what clients hold of earlier versions is counted, packed bytes too; the version
    /// that is shown is not.
    #[test]
    fn earlier_bodies_that_clients_hold_are_counted_in_every_coding() {
        let held = Arc::<Held>::default();
        let large = || Written::new(vec![0; HELD_BYTES_MAX / 2 + 1], &held);
        let first = large();
        let second = large();
        let third = large();
        assert!(held.is_full());
        drop(first);
        assert!(!held.is_full());
        let packed = held.keep(second.number, vec![0; HELD_BYTES_MAX / 2 + 1]);
        assert!(held.is_full());
        drop((packed, second));
        let _of_the_newest = held.keep(third.number, vec![0; 2 * HELD_BYTES_MAX]);
        assert!(!held.is_full());
    }
}

//! Buyers as real clients are: each asks an engine, and whoever does not learn the outcome asks
//! again with the same key, any engine. Some ask again much later. Every answer of every engine is
//! kept.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use domain::id::OrderId;
use kit::{
    clock::{Clock, SystemClock},
    token::TokenSigner,
};
use loadtest::{
    generator::{Kind, Name, Note, Run},
    requests::key_of,
    response::{Answer, Verdict, verdict},
    sale::LoadSale,
};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use verify::{
    buyers::token,
    wire::{Outcome, Wire},
};

/// How long a client waits for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long one waits that does not know its outcome, milliseconds.
const COME_BACK_MS: std::ops::Range<u64> = 50..800;
/// In so many of a hundred turns a buyer of before asks again instead of a new one.
const AGAIN_PERCENT: u32 = 15;
/// How often a late buyer asks an engine that does not tell.
const LATE_ATTEMPTS: u32 = 2;

/// A sale with its buyers.
pub(crate) struct Offered {
    /// The sale.
    pub(crate) sale: LoadSale,
    /// What it is for.
    pub(crate) title: &'static str,
    /// Of a hundred buyers so many want it.
    pub(crate) share: u32,
    /// It can be bought from now: buyers do not come before.
    pub(crate) open: AtomicBool,
    buyers: AtomicU32,
    version: AtomicU32,
    /// The file that was published last.
    pub(crate) published: Mutex<String>,
}

impl Offered {
    /// A sale that nobody has come to yet.
    pub(crate) fn new(title: &'static str, sale: LoadSale, share: u32, open: bool) -> Self {
        Self { sale, title, share, open: open.into(), buyers: 0.into(), version: 1.into(), published: Mutex::default() }
    }

    /// The sale file of its next version, open from and to these epoch milliseconds.
    ///
    /// # Errors
    /// When a date cannot be shown.
    pub(crate) fn next_version(&self, opens_at_ms: u64, closes_at_ms: u64) -> anyhow::Result<String> {
        let next = self.version.fetch_add(1, Relaxed) + 1;
        Ok(self.sale.version(next, [opens_at_ms, closes_at_ms])?)
    }

    /// How many buyers came.
    pub(crate) fn buyers(&self) -> u32 {
        self.buyers.load(Relaxed)
    }
}

/// All buyers, and all that they were answered.
pub(crate) struct Crowd {
    /// The sales.
    pub(crate) offered: Vec<Offered>,
    /// New buyers come.
    pub(crate) coming: AtomicBool,
    /// Clients that do not know their outcome.
    pub(crate) asking: AtomicU32,
    /// Those who do not know their outcome give up.
    pub(crate) giving_up: AtomicBool,
    engines: Vec<SocketAddr>,
    signer: TokenSigner,
    clock: SystemClock,
    start: Duration,
    answers: Mutex<Answers>,
}

#[derive(Default)]
struct Answers {
    names: Vec<Name>,
    /// By sale.
    notes: Vec<Vec<Note>>,
    /// When an order was accepted, microseconds from the start.
    accepted: Vec<u64>,
}

impl Crowd {
    /// Nobody has come yet. `start`: by the clock's monotonic time.
    pub(crate) fn new(
        offered: Vec<Offered>,
        (engines, signer): (Vec<SocketAddr>, TokenSigner),
        clock: SystemClock,
        start: Duration,
    ) -> Self {
        let answers = Answers { notes: offered.iter().map(|_| Vec::new()).collect(), ..Answers::default() };
        let (coming, giving_up) = (AtomicBool::new(true), AtomicBool::new(false));
        let asking = AtomicU32::new(0);
        Self { offered, coming, asking, giving_up, engines, signer, clock, start, answers: Mutex::new(answers) }
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One client after the other, each a purchase every `pause` on average, until nobody comes any
    /// more.
    pub(crate) fn buy(&self, seed: u64, pause: Duration) {
        let mut random = StdRng::seed_from_u64(seed);
        while self.coming.load(Relaxed) {
            let Some((sale, buyer)) = self.next(&mut random) else { continue };
            self.asking.fetch_add(1, Relaxed);
            while !self.ask(sale, buyer, self.engine(&mut random)) && !self.giving_up.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(random.random_range(COME_BACK_MS)));
            }
            self.asking.fetch_sub(1, Relaxed);
            std::thread::sleep(pause.mul_f64(random.random_range(0.5..1.5)));
        }
    }

    fn engine(&self, random: &mut impl Rng) -> SocketAddr {
        self.engines.choose(random).copied().unwrap_or_else(|| ([127, 0, 0, 1], 0).into())
    }

    fn next(&self, random: &mut impl Rng) -> Option<(usize, u32)> {
        let mut drawn = random.random_range(0..100);
        let wanted = |offered: &Offered| {
            let hit = drawn < offered.share;
            drawn = drawn.saturating_sub(offered.share);
            hit
        };
        let at = self.offered.iter().position(wanted).unwrap_or(0);
        // Before a sale opens its buyers want another.
        let at = if self.offered[at].open.load(Relaxed) { at } else { 0 };
        let offered = &self.offered[at];
        let known = offered.buyers();
        if known > 0 && random.random_range(0..100) < AGAIN_PERCENT {
            return Some((at, random.random_range(0..known)));
        }
        Some((at, offered.buyers.fetch_add(1, Relaxed)))
    }

    /// Asks every engine until each has given its answer, a few times at most.
    pub(crate) fn ask_all(&self, sale: usize, buyer: u32) {
        for &engine in &self.engines {
            for _ in 0..LATE_ATTEMPTS {
                if self.ask(sale, buyer, engine) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }

    /// Asks this engine once. Whether the buyer knows the outcome now.
    pub(crate) fn ask(&self, sale: usize, buyer: u32, engine: SocketAddr) -> bool {
        let since = self.clock.monotonic();
        let outcome = self.post(sale, buyer, engine);
        let now = self.clock.monotonic();
        let (kind, order, text) = match &outcome {
            Ok(Outcome::Answered { status, body, .. }) => {
                read(&Answer { status: *status, body: body.as_bytes(), closes: false })
            }
            Ok(Outcome::Closed) => (Kind::Unexpected, None, "closed".into()),
            Ok(Outcome::Hung) => (Kind::Unexpected, None, "no answer in time".into()),
            Err(_) => (Kind::Unexpected, None, "no connection".into()),
        };
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let (at_us, latency_us) = (micros(now.saturating_sub(self.start)), micros(now.saturating_sub(since)));
        let mut answers = self.answers();
        let name = Name { kind, text };
        let known = answers.names.iter().position(|known| *known == name);
        let index = known.unwrap_or_else(|| {
            answers.names.push(name);
            answers.names.len() - 1
        });
        let (order, name) = (order.map_or(0, OrderId::get), u8::try_from(index).unwrap_or(u8::MAX));
        answers.notes[sale].push(Note { order, send: buyer, at_us, latency_us, name });
        if kind == Kind::Accepted {
            answers.accepted.push(at_us.into());
        }
        matches!(kind, Kind::Accepted | Kind::Pending | Kind::Refused)
    }

    fn post(&self, sale: usize, buyer: u32, engine: SocketAddr) -> anyhow::Result<Outcome> {
        let sale = &self.offered[sale].sale;
        let body = format!(r#"{{"offer_id":"{}","quantity":1}}"#, sale.offer_of(buyer).offer);
        let head = format!(
            "POST /v1/orders HTTP/1.1\r\nhost: {engine}\r\nauthorization: Bearer {}\r\nidempotency-key: {}\r\n\
             content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            self.token(sale, buyer)?,
            key_of(sale.buyer(buyer)?),
            body.len()
        );
        exchange(engine, &(head + &body))
    }

    /// What the engine says of an order.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn status(&self, sale: usize, buyer: u32, order: OrderId) -> anyhow::Result<(u16, String)> {
        let engine = self.engines[0];
        let sale = &self.offered[sale].sale;
        let (offer, token) = (sale.offer_of(buyer).offer, self.token(sale, buyer)?);
        let request = format!(
            "GET /v1/orders/{order}?offer_id={offer} HTTP/1.1\r\nhost: {engine}\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\n\r\n"
        );
        match exchange(engine, &request)? {
            Outcome::Answered { status, body, .. } => Ok((status, body)),
            other => anyhow::bail!("{engine}: {other:?}"),
        }
    }

    fn token(&self, sale: &LoadSale, buyer: u32) -> anyhow::Result<String> {
        Ok(token(&self.signer, sale.tenant.number(), sale.buyer(buyer)?.get())?)
    }

    /// Everything that was answered in a sale, as the load test's book takes it.
    pub(crate) fn run_of(&self, sale: usize) -> Run {
        let answers = self.answers();
        Run { notes: answers.notes[sale].clone(), names: answers.names.clone(), unsent: 0, cpu: None }
    }

    /// When orders were accepted, microseconds from the start.
    pub(crate) fn accepted(&self) -> Vec<u64> {
        self.answers().accepted.clone()
    }

    /// An order accepted at least so long ago, drawn at random.
    pub(crate) fn some_order(&self, random: &mut impl Rng, age: Duration) -> Option<(usize, OrderId)> {
        let before = self.clock.monotonic().saturating_sub(self.start).saturating_sub(age).as_micros();
        let answers = self.answers();
        let sale = random.random_range(0..answers.notes.len());
        for _ in 0..50 {
            let note = answers.notes[sale].choose(random)?;
            let accepted = answers.names.get(usize::from(note.name)).is_some_and(|name| name.kind == Kind::Accepted);
            if accepted && u128::from(note.at_us) < before {
                return OrderId::new(note.order).ok().map(|order| (sale, order));
            }
        }
        None
    }
}

fn exchange(engine: SocketAddr, request: &str) -> anyhow::Result<Outcome> {
    let mut wire = Wire::connect(engine)?;
    wire.stream().set_read_timeout(Some(ANSWER))?;
    wire.send(request)?;
    Ok(wire.answer())
}

/// Kind, order, and how the answer is called. Of a sale that is not open now nothing is final: it
/// may be prolonged.
fn read(answer: &Answer<'_>) -> (Kind, Option<OrderId>, String) {
    match verdict(answer) {
        Verdict::Accepted(order) => (Kind::Accepted, Some(order), "accepted".into()),
        Verdict::Pending(order) => (Kind::Pending, Some(order), "pending".into()),
        Verdict::Refused(code @ ("ended" | "not_started" | "paused")) => (Kind::Deferred, None, code.into()),
        Verdict::Refused(code) => (Kind::Refused, None, code.into()),
        Verdict::Deferred(code) => (Kind::Deferred, None, code.into()),
        Verdict::Unexpected { status, what } => (Kind::Unexpected, None, format!("{status} {what}")),
    }
}

//! One client, which has a connection to itself: takes a turn, sends, reads, notes. What all
//! clients of a thread share is [`Shared`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use kit::clock::{Clock, SystemClock};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    Kind, Meters, Names, Note,
    connection::{Broken, Connection},
    schedule::{Schedule, Turn},
};
use crate::{
    notes::Notebook,
    plan::{Attempt, Conduct},
    requests::Requests,
    response::{Answer, Verdict, verdict},
};

/// In [`Shared::in_flight`]: this connection waits for no answer.
pub(super) const IDLE: u32 = u32::MAX;
/// A connection unused for so long may have been ended by the server: look before writing.
const STALE_AFTER: Duration = Duration::from_secs(1);
/// Names a connection remembers.
const KNOWN_MAX: usize = 32;
/// Between attempts to connect; doubled each time.
const RECONNECT_FIRST: Duration = Duration::from_millis(5);
const RECONNECT_MAX: Duration = Duration::from_millis(200);
/// How long a buyer waits who is to come back. Clients that all waited as long as each other would
/// come back all at once.
const COME_BACK_MS: std::ops::Range<u64> = 50..1_000;

pub(super) struct Shared {
    pub(super) requests: Arc<Requests>,
    pub(super) sends: Arc<[Attempt]>,
    pub(super) schedule: Schedule,
    pub(super) names: Names,
    pub(super) meters: Arc<Meters>,
    pub(super) persistent: bool,
    pub(super) notes: Notebook,
    /// For each connection the send it waits for.
    pub(super) in_flight: Vec<AtomicU32>,
    pub(super) clock: SystemClock,
    pub(super) start: Duration,
}

impl Shared {
    /// Notes the sends whose connections were cut while they waited.
    pub(super) fn note_unanswered(&self) {
        let name = self.names.index(Kind::Unexpected, "no answer in time");
        let at_us = micros(self.clock.monotonic().saturating_sub(self.start));
        for slot in &self.in_flight {
            let send = slot.swap(IDLE, Ordering::Relaxed);
            if send != IDLE {
                self.meters.count(Kind::Unexpected);
                self.notes.push(Note { order: 0, send, at_us, latency_us: at_us, name });
            }
        }
    }
}

/// Works until the schedule has nothing more.
pub(super) async fn run(shared: Arc<Shared>, number: usize, connection: Connection) {
    let request = shared.requests.buffer();
    let last_used = shared.clock.monotonic();
    let random = SmallRng::seed_from_u64(number as u64);
    let mut client = Client { shared: &shared, number, connection, request, known: Vec::new(), last_used, random };
    while let Some(turn) = shared.schedule.next(&shared.clock).await {
        while client.take(turn).await.leaves_unknown() && client.waits_to_come_back().await {}
    }
}

struct Client<'a> {
    shared: &'a Shared,
    number: usize,
    connection: Connection,
    request: Vec<u8>,
    /// Names met on this connection: the shared list is asked once for each.
    known: Vec<(Kind, u16, String, u8)>,
    last_used: Duration,
    random: SmallRng,
}

impl Kind {
    /// The buyer does not know what became of the purchase.
    const fn leaves_unknown(self) -> bool {
        matches!(self, Self::Deferred | Self::Unexpected)
    }
}

impl Client<'_> {
    /// Whether the buyer comes back; if so it is time to.
    async fn waits_to_come_back(&mut self) -> bool {
        let wait = Duration::from_millis(self.random.random_range(COME_BACK_MS));
        let comes = self.shared.persistent && self.shared.clock.monotonic() + wait < self.shared.schedule.end();
        if comes {
            tokio::time::sleep(wait).await;
        }
        comes
    }

    async fn take(&mut self, turn: Turn) -> Kind {
        let send = self.shared.sends[turn.send];
        if !self.ready_connection().await {
            return self.note(turn, 0, Kind::NotSent, 0, "no connection");
        }
        self.shared.requests.patch(&mut self.request, send.buyer);
        self.shared.in_flight[self.number].store(index(turn), Ordering::Relaxed);
        self.shared.meters.sent.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.connection.send(&self.request).await {
            return self.broken(turn, &error.into());
        }
        match send.conduct {
            Conduct::Read => self.read(turn).await,
            Conduct::Abort { reset, after_ms } => {
                if after_ms > 0 {
                    tokio::time::sleep(Duration::from_millis(after_ms.into())).await;
                }
                if reset {
                    self.connection.reset()
                } else {
                    self.connection.close()
                }
                self.note(turn, 0, Kind::Aborted, 0, if reset { "reset" } else { "closed" })
            }
        }
    }

    /// Makes sure that a connection stands; tries until sending ends.
    async fn ready_connection(&mut self) -> bool {
        let clock = self.shared.clock;
        if clock.monotonic().saturating_sub(self.last_used) > STALE_AFTER {
            self.connection.drop_if_ended();
        }
        let mut pause = RECONNECT_FIRST;
        while !self.connection.is_up() {
            if self.connection.connect().await.is_ok() {
                break;
            }
            self.shared.meters.connect_failures.fetch_add(1, Ordering::Relaxed);
            if clock.monotonic() + pause >= self.shared.schedule.end() {
                return false;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_MAX);
        }
        true
    }

    async fn read(&mut self, turn: Turn) -> Kind {
        // The answer borrows the connection, and the note needs the client: only what is noted is
        // taken out.
        let Self { shared, connection, known, .. } = self;
        let (order, kind, name, closes) = match connection.answer().await {
            Ok(answer) => {
                let (order, kind, status, text) = read_out(&answer, shared.requests.is_page());
                (order, kind, named(known, shared, kind, status, text), answer.closes)
            }
            Err(error) => return self.broken(turn, &error),
        };
        if closes {
            self.connection.close();
        }
        self.write_note(turn, order, kind, name)
    }

    fn broken(&mut self, turn: Turn, why: &Broken) -> Kind {
        self.connection.close();
        self.note(turn, 0, Kind::Unexpected, 0, &why.to_string())
    }

    fn note(&mut self, turn: Turn, order: u64, kind: Kind, status: u16, text: &str) -> Kind {
        let name = named(&mut self.known, self.shared, kind, status, text);
        self.write_note(turn, order, kind, name)
    }

    fn write_note(&mut self, turn: Turn, order: u64, kind: Kind, name: u8) -> Kind {
        let now = self.shared.clock.monotonic();
        self.last_used = now;
        self.shared.in_flight[self.number].store(IDLE, Ordering::Relaxed);
        self.shared.meters.count(kind);
        self.shared.notes.push(Note {
            order,
            send: index(turn),
            at_us: micros(now.saturating_sub(self.shared.start)),
            latency_us: micros(now.saturating_sub(turn.since)),
            name,
        });
        kind
    }
}

/// Order, kind, and what names it: the status where the text alone does not say it.
fn read_out<'a>(answer: &Answer<'a>, is_page: bool) -> (u64, Kind, u16, &'a str) {
    match verdict(answer) {
        // Packed or not, an empty page is none.
        _ if is_page && answer.status == 200 && !answer.body.is_empty() => (0, Kind::Refused, 0, "page"),
        Verdict::Accepted(order) => (order.get(), Kind::Accepted, 0, "accepted"),
        Verdict::Pending(order) => (order.get(), Kind::Pending, 0, "pending"),
        Verdict::Refused(code) => (0, Kind::Refused, 0, code),
        Verdict::Deferred(code) => (0, Kind::Deferred, 0, code),
        Verdict::Unexpected { status, what } => (0, Kind::Unexpected, status, what),
    }
}

fn named(known: &mut Vec<(Kind, u16, String, u8)>, shared: &Shared, kind: Kind, status: u16, text: &str) -> u8 {
    let known_name = known.iter().find(|(k, s, t, _)| *k == kind && *s == status && t == text);
    if let Some((.., name)) = known_name {
        return *name;
    }
    let full = if status == 0 { text.to_owned() } else { format!("{status} {text}") };
    let name = shared.names.index(kind, &full);
    if known.len() < KNOWN_MAX {
        known.push((kind, status, text.to_owned(), name));
    }
    name
}

fn index(turn: Turn) -> u32 {
    // A longer plan is refused when it is armed.
    u32::try_from(turn.send).unwrap_or(IDLE)
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

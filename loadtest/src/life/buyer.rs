//! One buyer after the other over a connection of its own: buys, and does what his fate says. Who
//! is asked to come back, or gets no answer, asks the same again, as a page does.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use domain::id::BuyerId;
use kit::{
    client::{Ask, Client, ClientLimits},
    clock::{Clock as _, SystemClock},
};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::json;

use super::{Fate, Fates};
use crate::{
    notes::{Kind, Meters, Names, Note},
    requests::key_of,
    response::{Answer, Verdict, member, verdict},
    sale::LoadSale,
};

/// From the answer to a purchase until its buyer asks how to pay.
const THINKING: Duration = Duration::from_millis(100);
/// How long a buyer waits before he asks the same again.
const COME_BACK_MS: Range<u64> = 50..1_000;
/// How long he goes on.
const PATIENCE: Duration = Duration::from_secs(90);
const LIMITS: ClientLimits = ClientLimits {
    connect_deadline: Duration::from_secs(5),
    answer_deadline: Duration::from_secs(15),
    attempts_max: 1,
    body_bytes_max: 64 * 1024,
};

/// Signs a buyer's token.
pub(crate) type Sign = dyn Fn(BuyerId) -> Result<String, String> + Send + Sync;

/// Whom the buyers of a part ask, and what they share.
pub(crate) struct Shop {
    pub(crate) sale: LoadSale,
    /// Host and port of the buyers' URL, and of the bank.
    pub(crate) places: [String; 2],
    pub(crate) sign: Box<Sign>,
    /// The part's buyers, and the next of them.
    pub(crate) buyers: Range<u32>,
    pub(crate) next: AtomicU32,
    pub(crate) fates: Fates,
    pub(crate) names: Names,
    pub(crate) meters: Arc<Meters>,
    pub(crate) clock: SystemClock,
    pub(crate) start: Duration,
}

/// What buyers tell afterwards.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Answers to purchases.
    pub(crate) purchases: Vec<Note>,
    /// Answers of payments that were opened, as if accepted.
    pub(crate) opened: Vec<Note>,
    /// Cashier pages of who pays when it is too late.
    pub(crate) late: Vec<String>,
    /// Forged notices that the bank was to send.
    pub(crate) forged: u64,
    /// Requests that were sent again.
    pub(crate) again: u64,
    /// What was answered that should not be, by step.
    pub(crate) wrong: BTreeMap<String, u64>,
}

impl Told {
    /// Adds what others told.
    pub(crate) fn add(&mut self, mut other: Self) {
        self.purchases.append(&mut other.purchases);
        self.opened.append(&mut other.opened);
        self.late.append(&mut other.late);
        self.forged += other.forged;
        self.again += other.again;
        other.wrong.into_iter().for_each(|(what, count)| *self.wrong.entry(what).or_default() += count);
    }
}

/// One after the other, until no buyer is left.
pub(crate) async fn visit(shop: Arc<Shop>, number: u64) -> Result<Told, String> {
    let mut visitor = Visitor::new(&shop, number)?;
    loop {
        let buyer = shop.next.fetch_add(1, Ordering::Relaxed);
        if buyer >= shop.buyers.end {
            return Ok(visitor.told);
        }
        visitor.lives(buyer).await?;
    }
}

/// Pays at these cashier pages, though the payments are over; the pages stay.
pub(crate) async fn pay_late(shop: Arc<Shop>, pages: Vec<String>, number: u64) -> Result<Told, String> {
    let mut visitor = Visitor::new(&shop, number)?;
    for page in &pages {
        visitor.pays(page, "twice,after_the_end").await;
    }
    Ok(visitor.told)
}

struct Visitor<'a> {
    shop: &'a Shop,
    engine: Client,
    bank: Client,
    random: SmallRng,
    told: Told,
}

impl<'a> Visitor<'a> {
    fn new(shop: &'a Shop, number: u64) -> Result<Self, String> {
        let client = |place: &String| Client::new(place, LIMITS).map_err(|error| error.to_string());
        let [engine, bank] = &shop.places;
        let (engine, bank, random) = (client(engine)?, client(bank)?, SmallRng::seed_from_u64(number));
        Ok(Self { shop, engine, bank, random, told: Told::default() })
    }

    async fn lives(&mut self, buyer: u32) -> Result<(), String> {
        let (shop, place) = (self.shop, buyer - self.shop.buyers.start);
        let (fate, is_forged) = (shop.fates.of(place), shop.fates.is_forged(place));
        let id = shop.sale.buyer(buyer).map_err(|error| error.to_string())?;
        let token = (shop.sign)(id)?;
        let Some(order) = self.buys(buyer, &token).await else { return Ok(()) };
        tokio::time::sleep(THINKING).await;
        let path = |step| format!("/v1/orders/{order}/{step}");
        if fate.opens() {
            let since = shop.clock.monotonic();
            let pay = Ask::post(path("pay")).bearer(&token).json(&json!({ "method": "simulated" }));
            let Some(opened) = self.step("pay", false, &pay, &[200]).await else { return Ok(()) };
            let page = member(&opened, "page").and_then(|page| Some(page[page.find("/simulated")?..].to_owned()));
            let page = page.ok_or("a payment was opened without a page")?;
            let opened = self.note((place, 0), since, Kind::Accepted, "opened");
            self.told.opened.push(opened);
            match fate {
                Fate::Pays if is_forged => {
                    self.told.forged += 1;
                    self.pays(&page, "twice,forged").await;
                }
                Fate::Pays => self.pays(&page, "twice").await,
                Fate::PaysLate => self.told.late.push(page),
                _ => {}
            }
        }
        if fate.cancels() {
            self.step("cancel", false, &Ask::post(path("cancel")).bearer(&token), &[200, 202]).await;
        }
        Ok(())
    }

    /// Buys a unit; the order, if there is one.
    async fn buys(&mut self, buyer: u32, token: &str) -> Option<u64> {
        let shop = self.shop;
        let (offer, place) = (shop.sale.offer_of(buyer).offer, buyer - shop.buyers.start);
        let key = key_of(shop.sale.buyer(buyer).ok()?);
        let purchase = json!({ "offer_id": offer.to_string(), "quantity": 1 });
        let ask = Ask::post("/v1/orders").bearer(token).idempotency_key(&key).json(&purchase);
        let since = shop.clock.monotonic();
        loop {
            let sent = shop.clock.monotonic();
            let (order, kind, text) = match self.engine.exchange(&ask).await {
                Ok(answer) => read(answer.status.as_u16(), &answer.body),
                Err(error) if error.is_unknown() => (0, Kind::Unexpected, "no answer".to_owned()),
                Err(_) => (0, Kind::NotSent, "no connection".to_owned()),
            };
            let note = self.note((place, order), sent, kind, &text);
            shop.meters.count(kind);
            self.told.purchases.push(note);
            if order > 0 {
                return Some(order);
            }
            if kind == Kind::Refused || !self.comes_back(since).await {
                return None;
            }
        }
    }

    /// Pays at the bank, which sends its notices so.
    async fn pays(&mut self, page: &str, notices: &str) {
        let ask = Ask::post(format!("{page}/pay?notices={notices}"));
        self.step("the cashier", true, &ask, &[303]).await;
    }

    /// Asks until there is an answer that does not pass; its body, where it is one of these.
    async fn step(&mut self, what: &str, at_bank: bool, ask: &Ask, good: &[u16]) -> Option<Vec<u8>> {
        let since = self.shop.clock.monotonic();
        loop {
            let client = if at_bank { &self.bank } else { &self.engine };
            let answer = client.exchange(ask).await.ok().map(|answer| (answer.status.as_u16(), answer.body));
            let wrong = match answer {
                Some((status, body)) if good.contains(&status) => return Some(body.to_vec()),
                // An order that has no row yet is not found.
                None | Some((404 | 429 | 500..=599, _)) if self.comes_back(since).await => continue,
                None => format!("{what}: no answer in time"),
                Some((status, body)) => format!("{what}: {status} {}", member(&body, "code").unwrap_or_default()),
            };
            *self.told.wrong.entry(wrong).or_default() += 1;
            return None;
        }
    }

    /// Whether he asks once more; if so it is time to.
    async fn comes_back(&mut self, since: Duration) -> bool {
        let wait = Duration::from_millis(self.random.random_range(COME_BACK_MS));
        let comes = self.shop.clock.monotonic() + wait < since + PATIENCE;
        if comes {
            self.told.again += 1;
            tokio::time::sleep(wait).await;
        }
        comes
    }

    fn note(&self, (send, order): (u32, u64), since: Duration, kind: Kind, text: &str) -> Note {
        let now = self.shop.clock.monotonic();
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let (at_us, latency_us) = (micros(now.saturating_sub(self.shop.start)), micros(now.saturating_sub(since)));
        Note { order, send, at_us, latency_us, name: self.shop.names.index(kind, text) }
    }
}

/// What a purchase was answered: the order if it is promised, the kind, its name. What is sold out
/// comes back here: others let it go.
fn read(status: u16, body: &[u8]) -> (u64, Kind, String) {
    match verdict(&Answer { status, body, closes: false }) {
        Verdict::Accepted(order) => (order.get(), Kind::Accepted, "accepted".into()),
        Verdict::Pending(order) => (order.get(), Kind::Pending, "pending".into()),
        Verdict::Refused("sold_out") => (0, Kind::Deferred, "sold_out".into()),
        Verdict::Refused(code) => (0, Kind::Refused, code.into()),
        Verdict::Deferred(code) => (0, Kind::Deferred, code.into()),
        Verdict::Unexpected { status, what } => (0, Kind::Unexpected, format!("{status} {what}")),
    }
}

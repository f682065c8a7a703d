//! How soon a change of a running sale is on every engine: from the moment at which the merchant
//! sends it until a buyer at each engine is answered by it.

use std::{
    fmt,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use kit::clock::{Clock as _, SystemClock, rfc3339};
use serde_json::{Value, json};

use crate::{
    buyers::{buy, token},
    life::{Offered, Place},
    merchants::Seller,
    wire::get,
};

/// How long a change may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two questions to an engine.
const PAUSE: Duration = Duration::from_millis(2);
/// A rate is what it was when so many purchases in a row are admitted.
const IN_A_ROW: u32 = 5;
const UNITS: u64 = 100_000;
const LONG_AGO: &str = "2020-01-01T00:00:00Z";
const FAR: &str = "2049-01-01T00:00:00Z";
const LAST: &str = "2050-01-01T00:00:00Z";

/// What an engine is asked, and what it answers once it has the change.
#[derive(Debug, Clone, Copy)]
enum Look {
    /// Somebody who holds as much as he may is answered so, a number of times in a row.
    Holder(&'static str, u32),
    /// Somebody who was never here is answered so when he wants so many units.
    Fresh(&'static str, u32, u32),
    /// The page of the sale has this status.
    Page(u16),
}

use Look::{Fresh, Holder, Page};

/// A change as it was made and seen.
#[derive(Debug, Clone)]
pub struct Change {
    /// What was changed.
    pub name: &'static str,
    /// The merchant has his answer.
    pub answered: Duration,
    /// Each engine answers by it.
    pub seen: Vec<Duration>,
}

impl Change {
    /// The last engine answers by it.
    pub fn everywhere(&self) -> Duration {
        self.seen.iter().copied().max().unwrap_or_default()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<24}{:>6} ms answered", self.name, self.answered.as_millis())?;
        self.seen.iter().try_for_each(|seen| write!(f, "{:>7} ms", seen.as_millis()))
    }
}

/// A sale that is changed, and who asks what has become of it.
struct Changing<'a, P> {
    place: &'a P,
    seller: Seller,
    offered: Offered,
    path: String,
    /// Holds as much as he may; one at each engine.
    holders: Vec<String>,
    next_buyer: AtomicU64,
    next_key: AtomicU64,
}

/// Changes a sale in every way that a merchant has while it runs.
///
/// # Errors
/// When a change is refused or does not arrive.
pub fn measure<P: Place + Sync>(place: &P) -> anyhow::Result<Vec<Change>> {
    let changing = Changing::prepare(place)?;
    let plain = Terms::default();
    // Engines forget what was over long ago.
    let now = rfc3339(SystemClock::new().now_ms());
    let step = |name| ("POST", format!("{}/{name}", changing.path), json!({}));
    let patch = |body| ("PATCH", changing.path.clone(), body);
    let lanes = |terms: Terms| patch(json!({ "lanes": terms.lanes() }));
    let changes = [
        ("sale paused", step("pause"), Holder("paused", 1)),
        ("sale resumed", step("resume"), Holder("limit_reached", 1)),
        ("lane paused", lanes(Terms { lane_paused: true, ..plain }), Holder("paused", 1)),
        ("lane resumed", lanes(plain), Holder("limit_reached", 1)),
        ("offer paused", lanes(Terms { offer_paused: true, ..plain }), Holder("paused", 1)),
        ("offer resumed", lanes(plain), Holder("limit_reached", 1)),
        ("price", lanes(Terms { price: 1, ..plain }), Holder("price_changed", 1)),
        ("price back", lanes(plain), Holder("limit_reached", 1)),
        ("fewer units", lanes(Terms { units: 1, ..plain }), Fresh("sold_out", 1, 1)),
        ("more units", lanes(plain), Fresh("accepted", 1, 1)),
        ("limit raised", lanes(Terms { limit: 2, ..plain }), Holder("accepted", 1)),
        ("limit lowered", lanes(plain), Fresh("limit_reached", 2, 1)),
        ("offer's rate lowered", lanes(Terms { rate: 1, ..plain }), Fresh("rate_limited", 1, 1)),
        ("offer's rate raised", lanes(plain), Fresh("accepted", 1, IN_A_ROW)),
        ("buyer's rate lowered", patch(json!({ "buyer_rate_per_s": 1 })), Holder("rate_limited", 1)),
        ("buyer's rate raised", patch(json!({ "buyer_rate_per_s": 1_000_000 })), Holder("limit_reached", IN_A_ROW)),
        ("opens later", patch(json!({ "opens_at": FAR })), Holder("not_started", 1)),
        ("visible later", patch(json!({ "visible_from": FAR })), Page(404)),
        ("visible", patch(json!({ "visible_from": null })), Page(200)),
        ("open", patch(json!({ "opens_at": LONG_AGO })), Holder("limit_reached", 1)),
        ("ended", patch(json!({ "closes_at": now })), Holder("ended", 1)),
        ("prolonged", patch(json!({ "closes_at": LAST })), Holder("limit_reached", 1)),
    ];
    changes.into_iter().map(|(name, what, look)| changing.time(name, &what, look).context(name)).collect()
}

/// What is changed of the lane.
#[derive(Debug, Clone, Copy)]
struct Terms {
    lane_paused: bool,
    offer_paused: bool,
    price: i64,
    units: u64,
    rate: u32,
    limit: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self { lane_paused: false, offer_paused: false, price: PRICE, units: UNITS, rate: 1_000_000, limit: 1 }
    }
}

const PRICE: i64 = 9_900;

impl Terms {
    fn lanes(self) -> Value {
        json!([{ "code": "main", "limit_per_buyer": self.limit, "paused": self.lane_paused, "offers": [{
            "sku": Seller::SKU, "warehouse": "MAIN", "price": { "amount": self.price, "currency": "CNY" },
            "allotment": self.units, "rate_per_s": self.rate, "paused": self.offer_paused,
        }] }])
    }
}

impl<'a, P: Place + Sync> Changing<'a, P> {
    /// A sale that is open, and at each engine one who holds as much as he may.
    fn prepare(place: &'a P) -> anyhow::Result<Self> {
        let seller = Seller::open(place.merchants(), UNITS)?;
        let terms = json!({ "code": "day-1", "title": "Day one", "opens_at": LONG_AGO, "closes_at": LAST,
            "buyer_rate_per_s": 1_000_000, "lanes": Terms::default().lanes() });
        let path = "/v1/merchant/sales";
        let made = seller.call(place.merchants(), ("POST", path), &terms)?;
        let offered = Offered::of(&made)?;
        let path = format!("{path}/{}", offered.sale);
        seller.call(place.merchants(), ("POST", &format!("{path}/publish")), &json!({}))?;
        let counter = || AtomicU64::new(1);
        let mut changing =
            Self { place, seller, offered, path, holders: vec![], next_buyer: counter(), next_key: counter() };
        for engine in place.engines() {
            let holder = changing.fresh()?;
            changing.wait(engine, Instant::now(), "accepted", 1, || {
                Ok(buy(engine, &holder, "first", &changing.units(1)))
            })?;
            changing.holders.push(holder);
        }
        Ok(changing)
    }

    /// Makes a change, and asks every engine until it has it.
    fn time(&self, name: &'static str, what: &(&str, String, Value), look: Look) -> anyhow::Result<Change> {
        let (method, path, body) = what;
        let engines = self.place.engines();
        std::thread::scope(|scope| {
            let begun = Instant::now();
            let looking = engines.iter().zip(&self.holders);
            let looking: Vec<_> =
                looking.map(|(&engine, holder)| scope.spawn(move || self.look(engine, holder, look, begun))).collect();
            self.seller.call(self.place.merchants(), (method, path), body)?;
            let answered = begun.elapsed();
            let seen = looking.into_iter().map(|looking| looking.join().map_err(|_| anyhow!("it ended early"))?);
            Ok(Change { name, answered, seen: seen.collect::<anyhow::Result<_>>()? })
        })
    }

    /// How long after `begun` this engine answers by the change.
    fn look(&self, engine: SocketAddr, holder: &str, look: Look, begun: Instant) -> anyhow::Result<Duration> {
        match look {
            Holder(expected, times) => self.wait(engine, begun, expected, times, || {
                let key = self.next_key.fetch_add(1, Ordering::Relaxed);
                Ok(buy(engine, holder, &format!("key-{key}"), &self.units(1)))
            }),
            Fresh(expected, units, times) => self
                .wait(engine, begun, expected, times, || Ok(buy(engine, &self.fresh()?, "only", &self.units(units)))),
            Page(status) => {
                let (path, expected) = (format!("/v1/sales/{}", self.offered.sale), status.to_string());
                self.wait(engine, begun, &expected, 1, || {
                    let answer = get(engine.port(), &path)?;
                    Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
                })
            }
        }
    }

    fn wait(
        &self,
        engine: SocketAddr,
        begun: Instant,
        expected: &str,
        times: u32,
        ask: impl Fn() -> anyhow::Result<String>,
    ) -> anyhow::Result<Duration> {
        let (mut row, mut first) = (0, begun);
        loop {
            let answer = ask()?;
            let now = Instant::now();
            row = if answer == expected { row + 1 } else { 0 };
            if row == 1 {
                first = now;
            }
            if row == times {
                return Ok(first - begun);
            }
            if now - begun > PATIENCE {
                bail!("{engine} still answers {answer}, and not {expected}");
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn fresh(&self) -> anyhow::Result<String> {
        let buyer = self.next_buyer.fetch_add(1, Ordering::Relaxed);
        Ok(token(self.place.signer(), self.seller.number()?, buyer)?)
    }

    fn units(&self, quantity: u32) -> Value {
        let price = json!({ "amount": PRICE, "currency": "CNY" });
        json!({ "offer_id": self.offered.offer.to_string(), "quantity": quantity, "expected_price": price })
    }
}

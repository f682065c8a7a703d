//! The life of a sale as a merchant lives it, on any deployment: a draft, published over HTTP,
//! which opens on the second, is changed in the middle of selling, paused, closed and settled with
//! the warehouse, while processes are killed. At the end movements, ledger, rows and answers must
//! agree to the unit.

mod shown;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use domain::id::TenantId;
use kit::{
    clock::{Clock as _, SystemClock, rfc3339},
    token::TokenSigner,
};
use loadtest::{
    audit::{self, Evidence},
    backends::{Backends, LaneWitness},
    durable,
    sale::{LoadOffer, LoadSale},
    tally::Book,
};
use serde_json::{Value, json};
use store::sql::Sql;

use crate::{
    buyers::{Buyers, buy_patiently, token},
    child::wait_until,
    merchants::{Merchants, Seller},
};

pub use shown::Offered;

/// How long a step may take, also where a process was killed amid it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Units in the warehouse.
const ON_HAND: u64 = 10_000;
/// Units on sale at first: they are gone in a moment.
const FIRST: u64 = 60;
/// Buyers a second over all engines.
const PER_S: usize = 60;
/// How late a sale may open on a machine that does much else. It prints how late it was.
const LATE_MAX: Duration = Duration::from_secs(3);

/// What can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// An engine.
    Engine,
    /// An order-writer.
    Writer,
    /// The merchants' service.
    Catalog,
}

/// A deployment in which a sale lives.
pub trait Place {
    /// Where its engines are, whenever they run.
    fn engines(&self) -> Vec<SocketAddr>;

    /// Its merchants' service.
    fn merchants(&self) -> &Merchants;

    /// Signs buyers' tokens.
    fn signer(&self) -> &TokenSigner;

    /// Ends a process by SIGKILL and starts it again; where one process is everything, that one.
    ///
    /// # Errors
    /// When it does not come back.
    fn kill(&mut self, process: Process) -> anyhow::Result<()>;

    /// What the stores say of a sale once nothing of it is under way, beside what buyers were
    /// answered.
    ///
    /// # Errors
    /// When it does not come to rest.
    fn evidence(&self, sale: &LoadSale, book: &Book) -> anyhow::Result<Evidence>;
}

/// The evidence of a sale once nothing of it is under way.
///
/// # Errors
/// When it does not come to rest, or a store does not answer.
pub async fn settled_evidence<S: Sql, W: LaneWitness>(
    mut backends: Backends<S, W>,
    sale: &LoadSale,
    book: &Book,
) -> anyhow::Result<Evidence> {
    let clock = SystemClock::new();
    let now = clock.monotonic();
    let rest = durable::wait(&mut backends, &clock, (0, now), now + durable::DEADLINE, |_| ()).await?;
    ensure!(rest.reached, "not at rest: {:?}", rest.snapshot.outstanding);
    let evidence = backends.evidence(sale, book).await?;
    backends.close().await;
    Ok(evidence)
}

/// A sale of one offer, as its merchant and a script of purchases see it.
struct Life<'a, P> {
    place: &'a mut P,
    seller: Seller,
    /// Its path.
    path: String,
    sale: LoadSale,
    price: i64,
    /// The next buyer of ours.
    next_buyer: u64,
    /// Units that buyers of ours were promised.
    bought: usize,
}

/// Plays it.
///
/// # Errors
/// What went wrong first.
pub fn live<P: Place>(place: &mut P) -> anyhow::Result<()> {
    let begun = Instant::now();
    let at = |step| say(&format!("{:5.1} s  {step}", begun.elapsed().as_secs_f64()));
    at("a draft is made and published");
    let mut life = Life::prepare(place)?;
    life.opens_on_the_second()?;
    let engines = life.place.engines();
    let per_s = u32::try_from(PER_S / engines.len())?;
    let buyers = Buyers::come(&life.sale, &engines, life.place.signer(), per_s);
    at("it is open; 500 units more");
    life.gets_500_units_more(&buyers).context("500 units more")?;
    at("another limit");
    life.gets_another_limit().context("another limit")?;
    at("another price");
    life.gets_another_price().context("another price")?;
    at("a reduction and a pause");
    life.is_lowered_and_paused(&buyers).context("a reduction and a pause")?;
    at("the end");
    life.closes(buyers).context("the end")?;
    at("settled");
    Ok(())
}

impl<'a, P: Place> Life<'a, P> {
    /// A shop with [`ON_HAND`] units and a draft that sells [`FIRST`] of them, published.
    fn prepare(place: &'a mut P) -> anyhow::Result<Self> {
        let seller = Seller::open(place.merchants(), ON_HAND)?;
        let terms = json!({ "code": "day-1", "title": "Day one", "opens_at": "2049-01-01T00:00:00Z",
            "closes_at": "2050-01-01T00:00:00Z", "buyer_rate_per_s": 1_000, "lanes": lanes(FIRST, 1, 9_900) });
        let made = seller.call(place.merchants(), ("POST", SALES), &terms)?;
        ensure!(made["state"] == "draft", "{made}");
        let Offered { sale, lane, offer } = Offered::of(&made)?;
        let path = format!("{SALES}/{sale}");
        // It opens on a whole second, and soon: what is left to do takes less.
        let opens_at_ms = (SystemClock::new().now_ms() / 1_000 + 6) * 1_000;
        seller.call(place.merchants(), ("PATCH", &path), &json!({ "opens_at": rfc3339(opens_at_ms) }))?;
        let published = seller.call(place.merchants(), ("POST", &format!("{path}/publish")), &json!({}))?;
        ensure!(published["state"] == "published", "{published}");
        let offer = LoadOffer { lane, offer, partition: None, allotment: FIRST };
        let tenant = TenantId::new(seller.number()?.into())?;
        let sale = LoadSale::published(sale, tenant, vec![offer], opens_at_ms, &mut rand::rng());
        let mut life = Self { place, seller, path, sale, price: 9_900, next_buyer: 1, bought: 0 };
        life.stock_is([ON_HAND, FIRST, 0])?;
        Ok(life)
    }

    /// Who comes too early is refused for that, and nobody has to wait longer than for the second.
    fn opens_on_the_second(&mut self) -> anyhow::Result<()> {
        let clock = SystemClock::new();
        for engine in self.place.engines() {
            let buyer = self.buyer()?;
            wait_until("the sale opens", PATIENCE, || {
                let answer = self.ask(engine, &buyer, "opening", 9_900);
                let now_ms = clock.now_ms();
                let is_early = now_ms < self.sale.opens_at_ms;
                ensure!(!is_early || answer == "not_started", "{answer} before it opens");
                let late = Duration::from_millis(now_ms.saturating_sub(self.sale.opens_at_ms));
                ensure!(late < LATE_MAX, "{answer} when it is open for {late:?}");
                Ok(answer == "accepted")
            })?;
            self.bought += 1;
            say(&format!("opened, {} ms late", clock.now_ms() - self.sale.opens_at_ms));
        }
        Ok(())
    }

    /// It sells its first units and no more, and then 500 more: the merchants' service dies with
    /// the change under way, and is asked again.
    fn gets_500_units_more(&mut self, buyers: &Buyers) -> anyhow::Result<()> {
        self.every_engine_answers("sold_out")?;
        let before = self.show()?;
        let change = json!({ "lanes": lanes(FIRST + 500, 1, self.price) });
        let wire = self.place.merchants().send("PATCH", &self.path, self.seller.id(), &change)?;
        self.place.kill(Process::Catalog)?;
        drop(wire);
        let after = self.change(&change)?;
        let versions = [&before, &after].map(|shown| shown["version"].as_u64().unwrap_or(0));
        ensure!(versions[1] == versions[0] + 1, "it was changed once: {versions:?}");
        self.stock_is([ON_HAND, FIRST + 500, 0])?;
        self.every_engine_answers("accepted")?;
        self.place.kill(Process::Engine)?;
        let promised = buyers.promised();
        wait_until("buyers buy on", PATIENCE, || Ok(buyers.promised() > promised + PER_S))
    }

    /// Whoever holds the limit buys again when it rises, and keeps what he has when it falls. An
    /// order-writer dies with the change under way.
    fn gets_another_limit(&mut self) -> anyhow::Result<()> {
        let engine = self.place.engines()[0];
        self.change(&json!({ "lanes": lanes(ON_HAND / 2, 1, self.price) }))?;
        let holder = self.buyer()?;
        let price = self.price;
        self.wait_for("accepted", |life| life.ask(engine, &holder, "first", price))?;
        ensure!(self.ask(engine, &holder, "second", price) == "limit_reached");
        self.change(&json!({ "lanes": lanes(ON_HAND / 2, 2, price) }))?;
        self.place.kill(Process::Writer)?;
        self.wait_for("accepted", |life| life.ask(engine, &holder, "second", price))?;
        self.bought += 2;
        self.change(&json!({ "lanes": lanes(ON_HAND / 2, 1, price) }))?;
        wait_until("the limit falls", PATIENCE, || {
            let buyer = self.buyer()?;
            let answers = ["first", "second"].map(|key| self.ask(engine, &buyer, key, price));
            self.bought += answers.iter().filter(|answer| *answer == "accepted").count();
            Ok(answers == ["accepted", "limit_reached"])
        })
    }

    /// Two operators change the price at once: one wins, and the other is answered with what there
    /// is now.
    fn gets_another_price(&mut self) -> anyhow::Result<()> {
        let seen = self.show()?["version"].as_u64().context("a sale without a version")?;
        let (merchants, path, tenant) = (self.place.merchants(), &self.path, self.seller.id());
        let change = |price| merchants.patch_if(path, tenant, seen, &json!({ "lanes": lanes(ON_HAND / 2, 1, price) }));
        let answers = std::thread::scope(|scope| {
            let asked = [8_800, 7_700].map(|price| scope.spawn(move || change(price)));
            asked.map(|asked| asked.join().map_err(|_| anyhow::anyhow!("an operator ended early"))?)
        });
        let [one, other] = answers;
        let mut answers = [one?, other?];
        answers.sort_by_key(|(status, _)| *status);
        let [(won, winner), (lost, loser)] = &answers;
        ensure!((*won, *lost) == (200, 412), "{answers:?}");
        ensure!(loser["code"] == "precondition_failed" && loser["current"]["version"] == winner["version"], "{loser}");
        self.every_engine_answers("price_changed")?;
        self.price = shown::price(winner).context("a sale without a price")?;
        self.every_engine_answers("accepted")
    }

    /// Fewer units while it sells; then it stops, everywhere, also for who is killed meanwhile.
    fn is_lowered_and_paused(&mut self, buyers: &Buyers) -> anyhow::Result<()> {
        let target = 2 * u64::try_from(buyers.promised())? + FIRST;
        self.change(&json!({ "lanes": lanes(target, 1, self.price) }))?;
        self.step("pause")?;
        self.every_engine_answers("paused")?;
        self.place.kill(Process::Catalog)?;
        self.place.kill(Process::Engine)?;
        self.every_engine_answers("paused")?;
        let evidence = self.place.evidence(&self.sale, &Book::new(0))?;
        is_clean(&evidence)?;
        // R9: units that are sold already are let go as they come back.
        let allotted = target.max(evidence.offers[0].sold);
        self.stock_is([ON_HAND, allotted, 0])?;
        self.step("resume")?;
        let goes_on = if evidence.offers[0].sold < target { "accepted" } else { "sold_out" };
        self.every_engine_answers(goes_on)
    }

    /// It sells no more, its rest is the warehouse's again, and all agree.
    fn closes(mut self, buyers: Buyers) -> anyhow::Result<()> {
        self.step("close")?;
        self.place.kill(Process::Writer)?;
        self.place.kill(Process::Catalog)?;
        self.every_engine_answers("ended")?;
        wait_until("the sale is settled", PATIENCE, || Ok(self.show()?["state"] == "settled"))?;
        let book = buyers.leave()?;
        let evidence = self.place.evidence(&self.sale, &book)?;
        is_clean(&evidence)?;
        let sold = evidence.offers[0].sold;
        ensure!(book.changed().is_empty(), "one id for each key: {:?}", book.changed());
        let promised = (book.promises().len() + self.bought) as u64;
        ensure!(promised == sold, "{promised} were promised, and {sold} are sold");
        self.stock_is([ON_HAND, 0, sold])?;
        shown::reconciles(&self.seller, self.place.merchants())?;
        let expected = "create change publish change change change change change change pause resume close";
        let history = shown::history(&self.seller, self.place.merchants(), &self.path)?;
        ensure!(history == expected, "{history}");
        say(&format!("{sold} units were sold, {} of them to buyers of the load test", book.promises().len()));
        Ok(())
    }
}

/// The rest of what a step needs.
impl<P: Place> Life<'_, P> {
    fn show(&self) -> anyhow::Result<Value> {
        self.seller.get(self.place.merchants(), &self.path)
    }

    fn change(&self, change: &Value) -> anyhow::Result<Value> {
        self.seller.call(self.place.merchants(), ("PATCH", &self.path), change)
    }

    fn step(&self, step: &str) -> anyhow::Result<Value> {
        self.seller.call(self.place.merchants(), ("POST", &format!("{}/{step}", self.path)), &json!({}))
    }

    /// A buyer who was never here, by his token.
    fn buyer(&mut self) -> anyhow::Result<String> {
        self.next_buyer += 1;
        Ok(token(self.place.signer(), self.sale.tenant.number(), self.next_buyer)?)
    }

    /// Asks to buy a unit at this price.
    fn ask(&self, engine: SocketAddr, buyer: &str, key: &str, amount: i64) -> String {
        let price = json!({ "amount": amount, "currency": "CNY" });
        let offer = self.sale.offers[0].offer.to_string();
        buy_patiently(engine, buyer, key, &json!({ "offer_id": offer, "quantity": 1, "expected_price": price }))
    }

    fn wait_for(&self, answer: &str, ask: impl Fn(&Self) -> String) -> anyhow::Result<()> {
        wait_until(answer, PATIENCE, || Ok(ask(self) == answer))
    }

    /// Waits until each engine answers so to somebody who was never here.
    fn every_engine_answers(&mut self, expected: &str) -> anyhow::Result<()> {
        for engine in self.place.engines() {
            wait_until(expected, PATIENCE, || {
                let buyer = self.buyer()?;
                let answer = self.ask(engine, &buyer, "only", self.price);
                self.bought += usize::from(answer == "accepted");
                Ok(answer == expected)
            })?;
        }
        Ok(())
    }

    /// Waits until the warehouse has so many units on hand, allotted and unshipped, and the rest
    /// free.
    fn stock_is(&mut self, [on_hand, allotted, unshipped]: [u64; 3]) -> anyhow::Result<()> {
        let expected = [on_hand, allotted, unshipped, on_hand - allotted - unshipped];
        let mut found = [0; 4];
        wait_until("the stock is right", PATIENCE, || {
            let level = self.seller.get(self.place.merchants(), "/v1/stock/1/1")?;
            found = ["on_hand", "allotted", "unshipped", "available"].map(|name| level[name].as_u64().unwrap_or(0));
            Ok(found == expected)
        })
        .with_context(|| format!("{found:?} instead of {expected:?}"))
    }
}

/// Nothing is oversold, lost, doubled or leaked, nobody holds too much, and no answer was wrong.
fn is_clean(evidence: &Evidence) -> anyhow::Result<()> {
    let findings = audit::compare(evidence);
    ensure!(findings.words().iter().all(|(_, finding)| finding.count == 0), "{findings:?}");
    Ok(())
}

const SALES: &str = "/v1/merchant/sales";

fn lanes(allotment: u64, limit: u32, amount: i64) -> Value {
    json!([{ "code": "main", "limit_per_buyer": limit, "offers": [{
        "sku": Seller::SKU, "warehouse": "MAIN", "price": { "amount": amount, "currency": "CNY" },
        "allotment": allotment, "rate_per_s": 100_000,
    }] }])
}

#[expect(clippy::print_stdout, reason = "cargo test shows it with --nocapture")]
fn say(text: &str) {
    println!("{text}");
}

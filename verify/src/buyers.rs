//! The load test's buyers, on a sale that somebody else made: they come all the while to each
//! engine, and each asks again until he knows what became of his purchase.

use std::{
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{anyhow, ensure};
use domain::id::BuyerId;
use kit::{
    clock::{Clock as _, SystemClock},
    token::{BuyerClaims, SignError, TokenSigner},
};
use loadtest::{
    generator::{self, GeneratorError, Load, Meters},
    plan::{self, Attempt},
    requests::Requests,
    sale::LoadSale,
    tally::Book,
};
use serde_json::Value;

use crate::wire::{self, Outcome};

/// How long a token lives.
const TOKEN_MS: u64 = 3_600_000;
/// Who may come to one engine, at most.
const BUYERS_MAX: u32 = 20_000;
/// Connections to one engine.
const CONNECTIONS: usize = 8;
/// How long a buyer asks until he asks over another connection.
const SENDING: Duration = Duration::from_secs(10);
/// How long a buyer may take to know.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between looks whether an engine is back.
const AWAY: Duration = Duration::from_millis(50);

/// How long an answer that passes is waited out.
const ANSWER: Duration = Duration::from_secs(60);
/// Answers that pass by themselves.
const PASSES: [&str; 5] = ["away", "temporarily_unavailable", "outcome_unknown", "overloaded", "rate_limited"];

/// Signs a buyer's token.
///
/// # Errors
/// [`SignError`].
pub fn token(signer: &TokenSigner, tenant: u32, buyer: u64) -> Result<String, SignError> {
    let now_ms = SystemClock::new().now_ms();
    signer.sign(&BuyerClaims::new(tenant, buyer, now_ms + TOKEN_MS), now_ms)
}

/// Asks an engine to buy, once: `accepted`, the code of the refusal, or `away`.
pub fn buy(engine: SocketAddr, token: &str, key: &str, purchase: &Value) -> String {
    match wire::ask(engine, wire::purchase(token, key, &purchase.to_string())) {
        Ok(Outcome::Answered { status: 202, .. }) => "accepted".into(),
        Ok(Outcome::Answered { code: Some(code), .. }) => code,
        _ => "away".into(),
    }
}

/// Asks until the answer is one that does not pass by itself, a minute at most.
pub fn buy_patiently(engine: SocketAddr, token: &str, key: &str, purchase: &Value) -> String {
    let deadline = Instant::now() + ANSWER;
    loop {
        let answer = buy(engine, token, key, purchase);
        if !PASSES.contains(&answer.as_str()) || Instant::now() > deadline {
            return answer;
        }
        std::thread::sleep(AWAY);
    }
}

/// Buyers who come.
#[derive(Debug)]
pub struct Buyers {
    book: Arc<Mutex<Book>>,
    leave: Arc<AtomicBool>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

/// Those who come to one engine.
struct Queue {
    engine: SocketAddr,
    sale: LoadSale,
    signer: TokenSigner,
    per_s: u32,
    book: Arc<Mutex<Book>>,
    leave: Arc<AtomicBool>,
}

impl Buyers {
    /// So many a second come to each of these engines from now on.
    pub fn come(sale: &LoadSale, engines: &[SocketAddr], signer: &TokenSigner, per_s: u32) -> Self {
        let leave = Arc::<AtomicBool>::default();
        let book = Arc::new(Mutex::new(Book::new(0)));
        let queue = |(&engine, first): (&SocketAddr, u32)| {
            lock(&book).admit(first + BUYERS_MAX);
            let (sale, signer, book, leave) = (sale.clone(), signer.clone(), book.clone(), leave.clone());
            let queue = Queue { engine, sale, signer, per_s, book, leave };
            std::thread::spawn(move || queue.buy(first..first + BUYERS_MAX))
        };
        let threads = engines.iter().zip((0..).step_by(BUYERS_MAX as usize)).map(queue).collect();
        Self { book, leave, threads }
    }

    /// How many were promised a unit so far, as far as it is counted: once a second.
    pub fn promised(&self) -> usize {
        lock(&self.book).promises().len()
    }

    /// Nobody comes any more; returns what everybody was answered.
    ///
    /// # Errors
    /// When one never knew.
    pub fn leave(self) -> anyhow::Result<Book> {
        self.leave.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("buyers ended early"))??;
        }
        Ok(std::mem::replace(&mut *lock(&self.book), Book::new(0)))
    }
}

fn lock(book: &Mutex<Book>) -> std::sync::MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    fn buy(&self, mut buyers: Range<u32>) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            while !self.leave.load(Ordering::Relaxed) {
                let next = buyers.start + self.per_s;
                ensure!(next <= buyers.end, "there are no more buyers");
                self.second(buyers.start..next).await?;
                buyers.start = next;
            }
            Ok(())
        })
    }

    /// Those of one second: each buys, and asks until he knows.
    async fn second(&self, buyers: Range<u32>) -> anyhow::Result<()> {
        let tenant = self.sale.tenant.number();
        let sign = |buyer: BuyerId| token(&self.signer, tenant, buyer.get());
        let host = self.engine.to_string();
        let requests = Requests::build(&self.sale, &host, buyers.clone(), 1, &sign, &AtomicU64::new(0))?;
        let requests = Arc::new(requests);
        let clock = SystemClock::new();
        let deadline = clock.monotonic() + PATIENCE;
        let mut rate = Some(f64::from(self.per_s));
        let mut sends: Arc<[Attempt]> = plan::ordinary(buyers.clone()).into();
        while !sends.is_empty() {
            ensure!(clock.monotonic() < deadline, "{} buyers at {host} do not know", sends.len());
            let load = Load {
                target: self.engine,
                requests: requests.clone(),
                sends: sends.clone(),
                connections: CONNECTIONS,
                threads: 1,
                rate,
                sending: SENDING,
                grace: SENDING,
                warm_up: 0,
                persistent: true,
            };
            let generator = match generator::warm_up(load, &Arc::<Meters>::default(), clock).await {
                Ok(generator) => generator,
                Err(GeneratorError::WarmUp(_)) => {
                    tokio::time::sleep(AWAY).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let run = generator.run(clock.monotonic()).await?;
            let mut book = lock(&self.book);
            book.enter(&run, &sends);
            sends = plan::ordinary(book.unknown().into_iter().filter(|buyer| buyers.contains(buyer))).into();
            rate = None;
        }
        Ok(())
    }
}

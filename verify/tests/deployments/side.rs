//! One deployment at work, asked by hand-written bytes.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kit::{
    clock::{Clock, SystemClock},
    token::{BuyerClaims, Tenants, TokenKey, TokenSigner},
};
use serde_json::Value;
use verify::{
    child::{Child, wait_until},
    folder::Folder,
    forger::{Forger, claims_of},
    market::Market,
    shop::get,
    wire::{Outcome, Wire},
};

use crate::{
    sales::{self, FRESH, LIMIT, OPEN, PLENTY, SCARCE, SLOW_BUYER, SLOW_OFFER, TENANT, offer_of},
    table::{Ask, Case, HASTY, Until},
};

/// Longest wait for an answer that must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at an order: below the rate of reads that one buyer may have.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Purchases under way at one time: few, so that a crowd can be too many. More than one, because
/// the one before may still be giving back.
const PERMITS: &str = "4";
/// How long every token is valid.
const TOKEN_TTL_MS: u64 = 3_600_000;
/// Asks whether a lane is open, and buys nothing.
const PROBE: u64 = 999;

enum Works {
    Production(Box<Market>),
    Embedded(Folder, Box<Child>),
}

impl Works {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Production(market) => market.address(),
            Self::Embedded(folder, _) => folder.address(),
        }
    }

    fn publish(&self, sale: &str) -> anyhow::Result<()> {
        match self {
            Self::Production(market) => market.shop.publish(sale),
            Self::Embedded(folder, _) => folder.publish(sale),
        }
    }
}

/// A deployment with the sales of the table.
pub(crate) struct Side {
    works: Works,
    signer: TokenSigner,
    forger: Forger,
    first_order: String,
    next_fresh: u64,
}

impl Side {
    /// The big one: engine, order-writer, Redis, Kafka, MySQL.
    pub(crate) fn production(now: Timestamp) -> anyhow::Result<Self> {
        let arguments = ["--front-threads", "1", "--permits", PERMITS];
        let market = Market::open_with("deployments", |shop| shop.engine_with(&arguments))?;
        let (kid, secret) = market.key().map(|(kid, secret)| (kid.to_owned(), secret.to_owned()))?;
        Self::of(Works::Production(Box::new(market)), (&kid, &secret), now)
    }

    /// The program `flashsale` on a folder of its own.
    pub(crate) fn embedded(now: Timestamp) -> anyhow::Result<Self> {
        let folder = Folder::new()?;
        let settings = folder.room().join("flashsale.toml");
        std::fs::write(&settings, format!("[front]\nthreads = 1\npermits = {PERMITS}\n"))?;
        let mut server = folder.serve_with(&["--no-demo", "--config", &settings.to_string_lossy()])?;
        folder.wait_ready(&mut server)?;
        let (kid, secret) = folder.key()?;
        Self::of(Works::Embedded(folder, Box::new(server)), (&kid, &secret), now)
    }

    fn of(works: Works, (kid, secret): (&str, &str), now: Timestamp) -> anyhow::Result<Self> {
        let signer = TokenSigner::new(TokenKey::new(kid, secret, Tenants::All)?);
        let forger = Forger::new(kid, secret)?;
        let side = Self { works, signer, forger, first_order: String::new(), next_fresh: FRESH };
        let port = side.works.address().port();
        for (id, file) in sales::files(now) {
            side.works.publish(&file)?;
            let known =
                || Ok(get(port, &format!("/v1/sales/{id}")).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")));
            wait_until(&format!("{} knows the sale {id}", side.name()), PATIENCE, known)?;
        }
        for offer in [PLENTY, SCARCE, offer_of(SLOW_BUYER), offer_of(SLOW_OFFER)] {
            // More than one may hold: a lane that is open refuses it.
            let asks = || side.buys(PROBE, "probe", offer, LIMIT + 1);
            wait_until(&format!("{} opens the lane of {offer}", side.name()), PATIENCE, || {
                Ok(side.send(&asks()).code() == (409, "limit_reached"))
            })?;
        }
        Ok(side)
    }

    /// Its name in messages.
    pub(crate) fn name(&self) -> &'static str {
        match &self.works {
            Works::Production(_) => "production",
            Works::Embedded(..) => "embedded",
        }
    }

    /// The id of the first order that was bought here.
    pub(crate) fn first_order(&self) -> &str {
        &self.first_order
    }

    /// That it runs.
    pub(crate) fn is_well(&mut self) -> anyhow::Result<()> {
        match &mut self.works {
            Works::Production(market) => market.check_running(),
            Works::Embedded(_, server) => {
                anyhow::ensure!(server.ended()?.is_none(), "the server ended:\n{}", server.tail());
                Ok(())
            }
        }
    }

    /// A good token.
    pub(crate) fn token_in(&self, tenant: u32, buyer: u64) -> String {
        let now_ms = SystemClock::new().now_ms();
        self.signer.sign(&BuyerClaims::new(tenant, buyer, now_ms + TOKEN_TTL_MS), now_ms).unwrap()
    }

    /// A good token of the shop.
    pub(crate) fn token(&self, buyer: u64) -> String {
        self.token_in(TENANT, buyer)
    }

    /// A token that is good but for this claim.
    pub(crate) fn token_with(&self, claim: &str, value: Value) -> String {
        let mut claims = claims_of(&self.token(1)).unwrap();
        claims[claim] = value;
        self.forger.token(&self.forger.header(), &claims).unwrap()
    }

    /// A purchase as a good client writes it.
    pub(crate) fn buys(&self, buyer: u64, key: &str, offer: u64, quantity: u32) -> String {
        let body = format!(r#"{{"offer_id":"{offer}","quantity":{quantity}}}"#);
        post(&self.token(buyer), &format!("Idempotency-Key: {key}\r\n"), &body)
    }

    /// The tag of the open sale.
    pub(crate) fn tag(&self) -> String {
        let answer = get(self.works.address().port(), &format!("/v1/sales/{OPEN}")).unwrap();
        let tag =
            answer.lines().find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("etag")));
        tag.unwrap().1.to_owned()
    }

    /// Asks as a case says, and returns the answer to be compared.
    pub(crate) fn answer(&mut self, case: &Case) -> Outcome {
        let answer = match &case.ask {
            Ask::LaneThatIsNotOpen => self.closed_lane(),
            Ask::Requests(make) => self.fitting(case, &make(self)),
        };
        if let Outcome::Answered { status: 202, body, .. } = &answer
            && self.first_order.is_empty()
        {
            let bought: Value = serde_json::from_str(body).unwrap();
            bought["order_id"].as_str().unwrap().clone_into(&mut self.first_order);
        }
        answer
    }

    /// The answer that fits the case, else the last one that did not.
    fn fitting(&self, case: &Case, requests: &[String]) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // All are connected before the first one asks.
            let mut wires: Vec<Wire> = requests.iter().map(|_| Wire::connect(self.works.address()).unwrap()).collect();
            for (wire, request) in wires.iter_mut().zip(requests) {
                // The server may have seen enough before it has all.
                drop(wire.send(request));
            }
            let mut answers: Vec<_> =
                wires.iter_mut().zip(requests).map(|(wire, request)| read(wire, request)).collect();
            let fits = |answer: &Outcome| {
                let says = if let Until::Says(text) = case.until { text } else { "" };
                answer.code() == (case.status, case.code)
                    && matches!(answer, Outcome::Answered { body, .. } if body.contains(says))
            };
            if let Some(at) = answers.iter().position(fits) {
                return answers.swap_remove(at);
            }
            if matches!(case.until, Until::AtOnce) || Instant::now() > deadline {
                return answers.pop().unwrap();
            }
            if matches!(case.until, Until::Says(_)) {
                thread::sleep(LOOK_EVERY);
            }
        }
    }

    fn send(&self, request: &str) -> Outcome {
        let mut wire = Wire::connect(self.works.address()).unwrap();
        wire.send(request).unwrap();
        read(&mut wire, request)
    }

    /// Between a publication and the first purchase the lane is not open yet: whoever asks all the
    /// while sees it, in one sale or another.
    fn closed_lane(&mut self) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let sale = self.next_fresh;
            self.next_fresh += 1;
            let request = self.buys(HASTY, "early", offer_of(sale), 1);
            let works = &self.works;
            let answer = thread::scope(|scope| {
                let publishing = scope.spawn(move || works.publish(&sales::fresh(sale)).unwrap());
                let mut wire = Wire::connect(works.address()).unwrap();
                let answer = loop {
                    wire.send(&request).unwrap();
                    let answer = wire.answer();
                    if answer.status() != 404 || Instant::now() > deadline {
                        break answer;
                    }
                };
                publishing.join().unwrap();
                answer
            });
            if answer.status() == 503 || Instant::now() > deadline {
                return answer;
            }
        }
    }
}

fn read(wire: &mut Wire, request: &str) -> Outcome {
    if request.starts_with("HEAD ") { wire.answer_to_head() } else { wire.answer() }
}

/// A purchase with these headers beside the usual ones, and this body.
pub(crate) fn post(token: &str, more: &str, body: &str) -> String {
    format!(
        "POST /v1/orders HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n{more}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A request without a body.
pub(crate) fn ask(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: shop\r\n{more}\r\n")
}

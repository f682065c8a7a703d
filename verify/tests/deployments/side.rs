//! One deployment at work, asked by hand-written bytes.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kit::token::{Tenants, TokenKey, TokenSigner};
use serde_json::Value;
use verify::{
    buyers,
    child::{Child, wait_until},
    embedded::Embedded,
    engine_and_writer::EngineAndWriter,
    forger::{Forger, claims_of},
    wire::{self, Outcome, Wire, get},
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
/// Asks whether a lane is open, and buys nothing.
const PROBE: u64 = 999;

enum Deployment {
    Production(Box<EngineAndWriter>),
    Embedded(Embedded, Box<Child>),
}

impl Deployment {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Production(production) => production.address(),
            Self::Embedded(embedded, _) => embedded.address(),
        }
    }

    fn publish(&self, sale: &str) -> anyhow::Result<()> {
        match self {
            Self::Production(production) => production.services.publish(sale),
            Self::Embedded(embedded, _) => embedded.publish(sale),
        }
    }
}

/// A deployment with the sales of the table.
pub(crate) struct Side {
    deployment: Deployment,
    signer: TokenSigner,
    forger: Forger,
    first_order: String,
    next_fresh: u64,
}

impl Side {
    /// The big one: engine, order-writer, Redis, Kafka, MySQL.
    pub(crate) fn production(now: Timestamp) -> anyhow::Result<Self> {
        let arguments = ["--front-threads", "1", "--permits", PERMITS];
        let production = EngineAndWriter::open_with("deployments", |services| services.engine_with(&arguments))?;
        let (kid, secret) = production.key().map(|(kid, secret)| (kid.to_owned(), secret.to_owned()))?;
        Self::of(Deployment::Production(Box::new(production)), (&kid, &secret), now)
    }

    /// The program `flashsale` on a folder of its own.
    pub(crate) fn embedded(now: Timestamp) -> anyhow::Result<Self> {
        let embedded = Embedded::new()?;
        let settings = embedded.scratch().join("flashsale.toml");
        std::fs::write(&settings, format!("[front]\nthreads = 1\npermits = {PERMITS}\n"))?;
        let mut server = embedded.serve_with(&["--no-demo", "--config", &settings.to_string_lossy()])?;
        embedded.wait_ready(&mut server)?;
        let (kid, secret) = embedded.key()?;
        Self::of(Deployment::Embedded(embedded, Box::new(server)), (&kid, &secret), now)
    }

    fn of(deployment: Deployment, (kid, secret): (&str, &str), now: Timestamp) -> anyhow::Result<Self> {
        let signer = TokenSigner::new(TokenKey::new(kid, secret, Tenants::All)?);
        let forger = Forger::new(kid, secret)?;
        let side = Self { deployment, signer, forger, first_order: String::new(), next_fresh: FRESH };
        let port = side.deployment.address().port();
        for (id, file) in sales::files(now) {
            side.deployment.publish(&file)?;
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
        match &self.deployment {
            Deployment::Production(_) => "production",
            Deployment::Embedded(..) => "embedded",
        }
    }

    /// The id of the first order that was bought here.
    pub(crate) fn first_order(&self) -> &str {
        &self.first_order
    }

    /// That it runs.
    pub(crate) fn is_well(&mut self) -> anyhow::Result<()> {
        match &mut self.deployment {
            Deployment::Production(production) => production.check_running(),
            Deployment::Embedded(_, server) => {
                anyhow::ensure!(server.ended()?.is_none(), "the server ended:\n{}", server.tail());
                Ok(())
            }
        }
    }

    /// A good token.
    pub(crate) fn token_in(&self, tenant: u32, buyer: u64) -> String {
        buyers::token(&self.signer, tenant, buyer).unwrap()
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
        let answer = get(self.deployment.address().port(), &format!("/v1/sales/{OPEN}")).unwrap();
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
            let mut wires: Vec<Wire> =
                requests.iter().map(|_| Wire::connect(self.deployment.address()).unwrap()).collect();
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
        let mut wire = Wire::connect(self.deployment.address()).unwrap();
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
            let deployment = &self.deployment;
            let answer = thread::scope(|scope| {
                let publishing = scope.spawn(move || deployment.publish(&sales::fresh(sale)).unwrap());
                let mut wire = Wire::connect(deployment.address()).unwrap();
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
    wire::request("POST /v1/orders", token, more, body)
}

/// A request without a body.
pub(crate) fn ask(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: shop\r\n{more}\r\n")
}

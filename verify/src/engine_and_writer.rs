//! The production deployment at its smallest, at work: one engine, one order-writer, and what
//! every store remembers of a sale. For tests that come as buyers, or worse.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use kit::{
    clock::{Clock, SystemClock},
    metrics::ProcessSample,
    token::TokenSigner,
};
use loadtest::{
    backends::production::ProductionBackends,
    durable::{Snapshot, Witness},
    sale::LoadSale,
    tally::Book,
};
use tokio::runtime::Runtime;

use crate::{
    buyers::token,
    child::{Child, wait_until},
    deployment::DeploymentArgs,
    services::Services,
    wire::get,
};

/// How long a sale may take to open, and everything to become durable.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a sale of the load test is open, and a little more.
const WINDOW_MS: i64 = 2 * 86_400_000;

/// One engine and one order-writer, each of which can be killed and started again.
pub struct EngineAndWriter {
    /// The engine.
    pub engine: Child,
    /// The order-writer.
    pub writer: Child,
    deployment: DeploymentArgs,
    signer: TokenSigner,
    runtime: Runtime,
    /// Their addresses and folder. Last: what it leaves behind is removed when nobody works
    /// on it any more.
    pub services: Services,
}

/// What is remembered of a sale, everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remembered {
    /// Units left in Redis.
    pub left: u64,
    /// Units sold by the ledger.
    pub sold: u64,
    /// Live purchases in buyers' entries in Redis.
    pub entries: usize,
    /// Batches in journals.
    pub journal: usize,
    /// Order rows.
    pub rows: usize,
}

impl EngineAndWriter {
    /// Starts both, with nothing on sale.
    ///
    /// # Errors
    /// When the stack is not up, or something cannot be started.
    pub fn open(name: &str) -> anyhow::Result<Self> {
        Self::open_with(name, Services::engine)
    }

    /// The same with an engine started otherwise.
    ///
    /// # Errors
    /// As [`EngineAndWriter::open`].
    pub fn open_with(name: &str, engine: impl Fn(&Services) -> anyhow::Result<Child>) -> anyhow::Result<Self> {
        Self::over(Services::new(name)?, &[], engine)
    }

    /// The same over databases and a log that may hold something already, and an order-writer with
    /// these further arguments.
    ///
    /// # Errors
    /// As [`EngineAndWriter::open`].
    pub fn over(
        services: Services,
        writer: &[&str],
        engine: impl Fn(&Services) -> anyhow::Result<Child>,
    ) -> anyhow::Result<Self> {
        let writer = services.order_writer(writer)?;
        let mut engine = engine(&services)?;
        services.wait_ready(&mut engine)?;
        let deployment = services.deployment()?;
        let signer = deployment.tokens.signer()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { engine, writer, deployment, signer, runtime, services })
    }

    /// Makes and publishes a sale of one offer whose window begins so many milliseconds from now
    /// (or began), and lasts a day.
    ///
    /// # Errors
    /// When it cannot be published, or the engine does not learn of it.
    pub fn publish(&self, units: u64, opens_in_ms: i64) -> anyhow::Result<LoadSale> {
        self.publish_lanes(units, 1, opens_in_ms)
    }

    /// The same of so many offers, each in a lane of its own.
    ///
    /// # Errors
    /// As [`EngineAndWriter::publish`].
    pub fn publish_lanes(&self, units: u64, lanes: u32, opens_in_ms: i64) -> anyhow::Result<LoadSale> {
        let now_ms = SystemClock::new().now_ms();
        let partitions = Some(self.deployment.stores.partitions.into());
        let mut sale = LoadSale::fresh(units, lanes, partitions, now_ms, &mut rand::rng())?;
        sale.opens_at_ms = now_ms.saturating_add_signed(opens_in_ms);
        self.services.publish(&sale.to_toml()?)?;
        let port = self.address().port();
        wait_until("the engine knows the sale", PATIENCE, || {
            Ok(get(port, &format!("/v1/sales/{}", sale.id)).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")))
        })?;
        if opens_in_ms < -WINDOW_MS {
            // Nobody opens the lanes of a sale that is over.
            return Ok(sale);
        }
        self.with_backends(&sale, async |backends| {
            while !backends.closed_lanes().await?.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        })?;
        Ok(sale)
    }

    /// The buyers' address.
    pub fn address(&self) -> SocketAddr {
        self.services.engine_address()
    }

    /// What the issuer signs with.
    pub fn signer(&self) -> &TokenSigner {
        &self.signer
    }

    /// The id of the key and its secret, for tokens that no issuer would sign.
    ///
    /// # Errors
    /// When there is no key.
    pub fn key(&self) -> anyhow::Result<(&str, &str)> {
        let tokens = &self.deployment.tokens;
        tokens
            .token_kid
            .first()
            .zip(tokens.token_secret.first())
            .map(|(kid, secret)| (&**kid, secret.expose()))
            .context("no key")
    }

    /// A good token of the sale's buyer with this index.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(&self, sale: &LoadSale, buyer: u32) -> anyhow::Result<String> {
        Ok(token(&self.signer, sale.tenant.number(), sale.buyer(buyer)?.get())?)
    }

    /// What the engine costs now.
    ///
    /// # Errors
    /// When it has ended.
    pub fn engine_sample(&self) -> anyhow::Result<ProcessSample> {
        Ok(ProcessSample::of_pid(self.engine.id())?)
    }

    /// That both services still run.
    ///
    /// # Errors
    /// When one has ended; its output is in the error.
    pub fn check_running(&mut self) -> anyhow::Result<()> {
        for child in [&mut self.engine, &mut self.writer] {
            ensure!(child.ended()?.is_none(), "it ended:\n{}", child.tail());
        }
        Ok(())
    }

    /// Waits until nothing is under way: the log decided to its end, the sale's journals empty.
    ///
    /// # Errors
    /// When it does not come to rest, or a store does not answer.
    pub fn wait_rest(&self, sale: &LoadSale) -> anyhow::Result<()> {
        self.with_backends(sale, async |backends| {
            let clock = SystemClock::new();
            let deadline = clock.monotonic() + PATIENCE;
            loop {
                let Snapshot { lag, journal, outstanding, .. } = backends.look().await?;
                if lag == 0 && journal == 0 {
                    return Ok(());
                }
                ensure!(clock.monotonic() < deadline, "not at rest: {outstanding:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    }

    /// What is remembered of a sale.
    ///
    /// # Errors
    /// When a store does not answer.
    pub fn remembered(&self, sale: &LoadSale) -> anyhow::Result<Remembered> {
        let evidence = self.with_backends(sale, async |backends| Ok(backends.evidence(sale, &Book::new(0)).await?))?;
        Ok(Remembered {
            left: evidence.offers.iter().map(|offer| offer.left).sum(),
            sold: evidence.offers.iter().map(|offer| offer.sold).sum(),
            entries: evidence.entries.len(),
            journal: evidence.journal.len(),
            rows: evidence.rows.len(),
        })
    }

    fn with_backends<T>(
        &self,
        sale: &LoadSale,
        look: impl AsyncFnOnce(&mut ProductionBackends) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.runtime.block_on(async {
            let mut backends = ProductionBackends::open(&self.deployment.stores, sale.lanes()).await?;
            let seen = look(&mut backends).await;
            backends.close().await;
            seen
        })
    }
}

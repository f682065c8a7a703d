//! The order service on production: two of them behind an engine each, the simulated bank, the
//! merchants' service, an order-writer, and a sale whose shop is paid in play money. Behind each
//! engine a service of commissions has its place, which a test starts.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use kit::{
    clock::{Clock as _, SystemClock},
    http::free_address,
    token::TokenSigner,
};
use loadtest::{audit, backends::production::ProductionBackends, sale::LoadSale, tally::Book};
use serde_json::{Value, json};

use crate::{
    buyers::{buy_patiently, token},
    child::{Child, wait_until},
    deployment::DeploymentArgs,
    life::settled_evidence,
    load_test::metric,
    merchants::{Merchants, answered},
    redis_server::free_port,
    services::{Services, VAULT_KEY, wait_until_ready},
    shown::metrics_are_known,
};

/// The bank's secret.
const BANK_SECRET: &str = "bank-secret-of-the-tests";
/// Under which share codes are signed.
const SHARE_SECRET: &str = "share-secret-of-the-tests";
/// How long a step may take, also where a process was killed amid it.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Seconds in which a buyer has to pay: the least there are.
const PAY_WITHIN_S: &str = "60";

/// A process that is always at the same place.
#[derive(Debug)]
struct Placed {
    process: Child,
    listen: SocketAddr,
    admin: u16,
}

/// A service of commissions, if it runs, and where.
#[derive(Debug)]
struct Commissions {
    process: Option<Child>,
    listen: SocketAddr,
    admin: u16,
}

/// All of it.
pub struct OrderServices {
    engines: Vec<Placed>,
    services: Vec<Placed>,
    commissions: Mutex<Vec<Commissions>>,
    /// The simulated bank.
    pub bank: Child,
    bank_listen: SocketAddr,
    /// The merchants' service, which asks the first order service.
    pub merchants: Merchants,
    /// What is sold.
    pub sale: LoadSale,
    signer: TokenSigner,
    deployment: DeploymentArgs,
    others: [Child; 2],
    // Last: what it leaves behind is removed when nobody works on it any more.
    running: Services,
}

fn place() -> anyhow::Result<(SocketAddr, u16)> {
    Ok((free_address()?, free_port()?))
}

/// Starts a program of the crate `orders`, and waits until it is ready.
fn start(
    running: &Services,
    command: &str,
    (listen, admin): (SocketAddr, u16),
    settings: &[(&str, String)],
) -> anyhow::Result<Child> {
    let mut program = running.command("orders");
    program.args([command, "--listen", &listen.to_string(), "--admin-addr", &format!("127.0.0.1:{admin}")]);
    program.env("FLASHSALE_BANK_SECRET", BANK_SECRET);
    program.envs(settings.iter().map(|(name, value)| (name, value)));
    let mut process = Child::start(&format!("orders-{command}"), program, running.folder())?;
    wait_until_ready(&mut process, admin)?;
    Ok(process)
}

impl OrderServices {
    /// Opens it with so many units on sale.
    ///
    /// # Errors
    /// When the stack is not up, or something cannot be started.
    pub fn open(name: &str, units: u64) -> anyhow::Result<Self> {
        let running = Services::new(name)?;
        let writer = running.order_writer(&[])?;
        let deployment = running.deployment()?;
        let signer = deployment.tokens.signer()?;
        let (now_ms, partitions) = (SystemClock::new().now_ms(), deployment.stores.partitions.into());
        let sale = LoadSale::fresh(units, 1, Some(partitions), now_ms, &mut rand::rng())?;
        running.publish(&sale.version(1, [sale.opens_at_ms, sale.opens_at_ms + 86_400_000])?)?;
        let (engines, orders, bank_place) = ([place()?, place()?], [place()?, place()?], place()?);
        // The tenant of what is published is the merchants' service's too.
        let (catalog, merchants) = running.catalog_with(&["--orders-url", &format!("http://{}", orders[0].0)])?;
        let public = [("FLASHSALE_PUBLIC_URL", format!("http://{}", engines[0].0))];
        let bank = start(&running, "bank", bank_place, &public)?;
        let mut opened = Self {
            engines: Vec::new(),
            services: Vec::new(),
            commissions: Mutex::default(),
            bank,
            bank_listen: bank_place.0,
            merchants,
            sale,
            signer,
            deployment,
            others: [writer, catalog],
            running,
        };
        for ((listen, admin), (at, second)) in engines.into_iter().zip(orders) {
            let process = opened.start_service((at, second))?;
            opened.services.push(Placed { process, listen: at, admin: second });
            let mut command = opened.running.command("engine");
            command.args(["--orders-url", &format!("http://{at}"), "--payment-window", PAY_WITHIN_S]);
            let (commissions, second) = place()?;
            command.args(["--commissions-url", &format!("http://{commissions}")]);
            let placed = Commissions { process: None, listen: commissions, admin: second };
            opened.commissions.get_mut().unwrap_or_else(PoisonError::into_inner).push(placed);
            let mut process = opened.running.start_engine_at(command, listen, admin)?;
            wait_until_ready(&mut process, admin)?;
            opened.engines.push(Placed { process, listen, admin });
        }
        Ok(opened)
    }

    fn start_service(&self, place: (SocketAddr, u16)) -> anyhow::Result<Child> {
        let settings = [
            ("FLASHSALE_VAULT_KEY", VAULT_KEY.to_owned()),
            ("FLASHSALE_CATALOG_URL", format!("http://{}", self.merchants.address)),
            ("FLASHSALE_BANK_URL", format!("http://{}", self.bank_listen)),
            ("FLASHSALE_BANK_TENANTS", self.sale.tenant.to_string()),
        ];
        start(&self.running, "serve", place, &settings)
    }

    /// Where an engine is.
    pub fn engine(&self, number: usize) -> SocketAddr {
        self.engines[number].listen
    }

    /// Ends an order service by SIGKILL.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        self.services[number].process.kill()
    }

    /// Starts it again where it was.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn restart(&mut self, number: usize) -> anyhow::Result<()> {
        let Placed { listen, admin, .. } = self.services[number];
        self.services[number].process = self.start_service((listen, admin))?;
        Ok(())
    }

    /// Ends an order service by SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// When it does not end well in time.
    pub fn drain(&mut self, number: usize) -> anyhow::Result<()> {
        let process = &mut self.services[number].process;
        process.terminate()?;
        let status = process.wait(PATIENCE)?;
        ensure!(status.success(), "it ended with {status}:\n{}", process.tail());
        Ok(())
    }

    /// Holds what each kind of program here shows against what alerts rest on.
    ///
    /// # Errors
    /// When one shows what is not known.
    pub fn metrics_are_known(&self) -> anyhow::Result<()> {
        let placed = [&self.engines[0].process, &self.services[0].process];
        self.others.iter().chain(placed).try_for_each(metrics_are_known)
    }

    /// Starts the service of commissions behind an engine, or starts it again.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn start_commissions(&self, number: usize) -> anyhow::Result<()> {
        self.with_commissions(number, |placed| {
            let mut program = self.running.command("distribution");
            program.args(["serve", "--listen", &placed.listen.to_string()]);
            program.args(["--admin-addr", &format!("127.0.0.1:{}", placed.admin)]);
            program.env("FLASHSALE_CATALOG_URL", format!("http://{}", self.merchants.address));
            program.env("FLASHSALE_SHARE_SECRET", SHARE_SECRET);
            program.env("FLASHSALE_PLAY_PAYOUT_TENANTS", self.sale.tenant.to_string());
            let mut process = Child::start(&format!("distribution-{number}"), program, self.running.folder())?;
            wait_until_ready(&mut process, placed.admin)?;
            placed.process = Some(process);
            Ok(())
        })
    }

    /// Ends it by SIGKILL.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill_commissions(&self, number: usize) -> anyhow::Result<()> {
        self.with_commissions(number, |placed| placed.process.take().map_or(Ok(()), |mut process| process.kill()))
    }

    /// Ends it by SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// When it does not end well in time.
    pub fn drain_commissions(&self, number: usize) -> anyhow::Result<()> {
        self.with_commissions(number, |placed| {
            let mut process = placed.process.take().context("it does not run")?;
            process.terminate()?;
            let status = process.wait(PATIENCE)?;
            ensure!(status.success(), "it ended with {status}:\n{}", process.tail());
            Ok(())
        })
    }

    /// Records of orders' events that wait at it, by its metrics.
    ///
    /// # Errors
    /// When it does not show that.
    pub fn commissions_behind(&self, number: usize) -> anyhow::Result<f64> {
        self.with_commissions(number, |placed| metric(placed.admin, "flashsale_commission_records_behind"))
    }

    fn with_commissions<T>(
        &self,
        number: usize,
        work: impl FnOnce(&mut Commissions) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut all = self.commissions.lock().unwrap_or_else(PoisonError::into_inner);
        work(all.get_mut(number).context("no such place")?)
    }

    /// A buyer's token.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(&self, buyer: u32) -> anyhow::Result<String> {
        Ok(token(&self.signer, self.sale.tenant.number(), self.sale.buyer(buyer)?.get())?)
    }

    /// Asks to buy a unit, until the answer is one that does not pass.
    pub fn buy(&self, engine: usize, token: &str, key: &str) -> String {
        let purchase = json!({ "offer_id": self.sale.offers[0].offer.to_string(), "quantity": 1 });
        buy_patiently(self.engine(engine), token, key, &purchase)
    }

    /// What a buyer bought at an engine: its order, which waits for its payment.
    ///
    /// # Errors
    /// When it was not bought.
    pub fn bought(&self, engine: usize, token: &str) -> anyhow::Result<String> {
        let said = self.buy(engine, token, "first");
        ensure!(said == "accepted", "{said}");
        let mut order = None;
        wait_until("the order has its row", PATIENCE, || {
            let (_, page) = answered(self.engine(engine), "GET /v1/orders", token, "", &Value::Null)?;
            order = page["orders"][0]["order_id"].as_str().map(str::to_owned);
            Ok(order.is_some())
        })?;
        order.context("no order")
    }

    /// Asks for something of an order at an engine, as a buyer.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn post(&self, engine: usize, path: &str, token: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        answered(self.engine(engine), &format!("POST {path}"), token, "", body)
    }

    /// Asks `what`, a method and a path, as the merchants' operator, who acts for the shop.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn as_shop(&self, engine: usize, what: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let acts_for = format!("Flashsale-Tenant: {}\r\n", self.sale.tenant);
        answered(self.engine(engine), what, &self.merchants.key, &acts_for, body)
    }

    /// What the merchants' service answers to a query of GraphQL, asked by its operator, who acts
    /// for the shop.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn graphql(&self, query: &str) -> anyhow::Result<Value> {
        let (status, answer) =
            self.merchants.ask("POST", "/v1/graphql", &self.sale.tenant.to_string(), &json!({ "query": query }))?;
        ensure!(status == 200, "{status} {answer}");
        Ok(answer)
    }

    /// Codes of what readiness finds red for the sale.
    ///
    /// # Errors
    /// When the merchants' service does not look at it.
    pub fn red(&self) -> anyhow::Result<Vec<String>> {
        let path = format!("/v1/merchant/sales/{}/check", self.sale.id);
        let (status, report) = self.merchants.ask("POST", &path, &self.sale.tenant.to_string(), &json!({}))?;
        let findings = report["findings"].as_array().with_context(|| format!("{status} {report}"))?;
        let red = findings.iter().filter(|finding| finding["light"] == "red");
        Ok(red.filter_map(|finding| finding["code"].as_str().map(str::to_owned)).collect())
    }

    /// Opens a payment: the status, and the path of the cashier page or the problem's code.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn pay(&self, engine: usize, order: &str, token: &str) -> anyhow::Result<(u16, String)> {
        let path = format!("/v1/orders/{order}/pay");
        let (status, answer) = self.post(engine, &path, token, &json!({ "method": "simulated" }))?;
        let page = answer["page"].as_str().and_then(|page| Some(page[page.find("/simulated")?..].to_owned()));
        Ok((status, page.unwrap_or_else(|| answer["code"].as_str().unwrap_or_default().to_owned())))
    }

    /// Where an order stands.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn status(&self, order: &str, token: &str) -> anyhow::Result<String> {
        let (_, body) = answered(self.engine(0), &format!("GET /v1/orders/{order}"), token, "", &Value::Null)?;
        Ok(body["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until an order stands so.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn becomes(&self, order: &str, token: &str, status: &str) -> anyhow::Result<()> {
        let stands = || Ok(self.status(order, token)? == status);
        wait_until(status, 2 * PATIENCE, stands).with_context(|| format!("it is {:?}", self.status(order, token)))
    }

    /// Nothing is oversold, lost, doubled or leaked, and so many units are sold.
    ///
    /// # Errors
    /// What is wrong.
    pub fn audit(&self, sold: u64) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let evidence = runtime.block_on(async {
            let backends = ProductionBackends::open(&self.deployment.stores, self.sale.lanes()).await;
            settled_evidence(backends.context("is the stack up?")?, &self.sale, &Book::new(0)).await
        })?;
        let findings = audit::compare(&evidence);
        ensure!(findings.words().iter().all(|(_, finding)| finding.count == 0), "{findings:?}");
        ensure!(evidence.offers[0].sold == sold, "{} units are sold, not {sold}", evidence.offers[0].sold);
        Ok(())
    }
}

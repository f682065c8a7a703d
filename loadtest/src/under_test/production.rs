//! Engine and order-writer over the running stack, which knows its servers' processes.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use domain::id::TenantId;
use kit::{clock::SystemClock, http::free_address, settings::Secret};
use store::sql::mysql::MySql;
use tokio::process::Command;

use super::{Cashier, StartContext, Started, UnderTest};
use crate::{
    backends::production::{ProductionBackends, ServerWitness},
    baseline::{self, Baselines, Yardstick},
    deployment::Production,
    environment::{Environment, output_of},
    error::{RunError, local},
    fault::{Act, Fault},
    sale::LoadSale,
    services::{Program, Programs, Publisher},
    spec::RunSpec,
    timeline::{PROCESSES, UNPAID_PROCESSES},
};

/// Packages whose programs a load test runs,
/// the last one where orders are paid.
const PACKAGES: [&str; 4] = ["engine", "order-writer", "catalog", "orders"];
/// The stack's command, which knows the servers' processes.
const STACK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../stack/stack");

impl UnderTest for Production {
    type Sql = MySql;
    type Witness = ServerWitness;

    fn processes(spec: &RunSpec) -> usize {
        if spec.scenario.is_paid() { PROCESSES.len() } else { UNPAID_PROCESSES }
    }

    fn paid_tenant(&self) -> Option<TenantId> {
        None
    }

    fn partitions(&self) -> Option<u32> {
        Some(self.stores.partitions.into())
    }

    async fn start(&self, context: StartContext<'_>) -> Result<Started<MySql, ServerWitness>, RunError> {
        let StartContext { spec, sale, environment, cargo, clock, progress } = context;
        let signer = self.tokens.signer().map_err(local)?;
        if spec.fault.is_some_and(|fault| fault.server.is_of_stack()) {
            self.check_stack().await?;
        }
        let backends = ProductionBackends::open(&self.stores, sale.lanes()).await?;
        if cargo.is_some() {
            progress.phase("building the services");
        }
        let packages = &PACKAGES[..if spec.scenario.is_paid() { PACKAGES.len() } else { PACKAGES.len() - 1 }];
        let programs = Programs::find_or_build(cargo, packages).await?;
        let mut variables = self.service_settings(spec.args.front_threads);
        variables.extend(spec.service_settings());
        progress.phase(&format!("publishing sale {}", sale.id));
        let file = environment.write_sale(sale)?;
        let (program, arguments) = (programs.program("catalog")?, vec!["publish".to_owned()]);
        let publisher = Publisher { program, arguments, variables: variables.clone() };
        publisher.publish(&file).await?;
        let (mut engine, mut writer, mut paid) = (None, None, None);
        if spec.target.is_none() {
            progress.phase("starting order-writer and engine");
            let listen = environment.target().address.to_string();
            let addresses = [free_address().map_err(local)?, free_address().map_err(local)?];
            let [of_writer, of_engine] = addresses.map(|address| address.to_string());
            let (writers, engines) = (programs.program("order-writer")?, programs.program("engine")?);
            let arguments = ["--admin-addr", &of_writer];
            writer =
                environment.add_service(writers.start(&arguments, addresses[0], &variables, environment.folder())?);
            if spec.scenario.is_paid() {
                paid = Some(start_orders(&programs, sale, &variables, environment)?);
            }
            let url = paid.as_ref().map(|paid| format!("http://{}", paid.orders));
            let mut arguments = vec!["--listen", &listen, "--admin-addr", &of_engine];
            arguments.extend(url.as_deref().into_iter().flat_map(|url| ["--orders-url", url]));
            engine =
                environment.add_service(engines.start(&arguments, addresses[1], &variables, environment.folder())?);
            environment.wait_ready(clock).await?;
        }
        let [redis, kafka, mysql] = [server_pid("redis").await, server_pid("kafka").await, server_pid("mysql").await];
        let [orders, bank] = paid.as_ref().map_or([None; 2], |paid| paid.pids);
        environment.watch([engine, redis, kafka, writer, mysql, orders, bank]);
        let cashier = paid.map(|paid| paid.cashier);
        Ok(Started { backends, publisher, signer, cashier })
    }

    async fn fail(&self, fault: Fault) -> Result<(), RunError> {
        let server = fault.server.as_str();
        let (down, up) = match fault.act {
            Act::Kill => ("kill", "up"),
            Act::Stop => ("freeze", "thaw"),
        };
        run_stack(&[down, server]).await?;
        let restore = Restore(Some([up, server]));
        tokio::time::sleep(Duration::from_secs(fault.lasts_s.into())).await;
        restore.now().await
    }

    async fn stock_memory(&self) -> Option<u64> {
        baseline::redis_memory(self.stores.redis_url.expose()).await.ok()
    }

    async fn calm(&self) -> Result<(), RunError> {
        // The append-only file holds the history of lanes that are gone, until it is rewritten.
        let rewritten = baseline::rewrite_redis(self.stores.redis_url.expose()).await;
        rewritten.map_err(|error| local(format!("Redis does not rewrite its append-only file: {error}")))
    }

    fn yardsticks(&self) -> Baselines {
        Baselines { evalsha_per_s: Some(Yardstick::default()), ..Baselines::default() }
    }

    async fn raw_reservations(&self, clock: SystemClock) -> Option<Result<f64, String>> {
        let (url, namespace) = (self.stores.redis_url.expose(), self.stores.namespace.as_str());
        Some(baseline::evalsha(url, namespace, clock).await.map_err(|error| error.to_string()))
    }
}

impl Production {
    /// That the stack whose servers are to fail is the one that is loaded, and not somebody else's.
    async fn check_stack(&self) -> Result<(), RunError> {
        let settings = output_of(Command::new(STACK).arg("env")).await.unwrap_or_default();
        let Self { stores, .. } = self;
        let urls = [stores.redis_url.expose(), &stores.kafka.kafka_brokers, stores.mysql_url.expose()];
        if urls.iter().all(|url| settings.contains(&format!("'{url}'"))) {
            return Ok(());
        }
        Err(local(
            "--fault is of the stack's servers, and these are others: . stack/env names the stack's to this shell",
        ))
    }

    /// What the services must agree on, as they read it.
    fn service_settings(&self, front_threads: Option<u16>) -> Vec<(String, String)> {
        let Self { stores, tokens } = self;
        let secrets: Vec<&str> = tokens.token_secret.iter().map(Secret::expose).collect();
        let tenants: Vec<String> = tokens.token_tenants.iter().map(ToString::to_string).collect();
        let mut settings = vec![
            ("REDIS_URL", stores.redis_url.expose().to_owned()),
            ("KAFKA_BROKERS", stores.kafka.kafka_brokers.clone()),
            ("MYSQL_URL", stores.mysql_url.expose().to_owned()),
            ("NAMESPACE", stores.namespace.to_string()),
            ("SHARDS", stores.shards.to_string()),
            ("TABLES", stores.tables.to_string()),
            ("PARTITIONS", stores.partitions.to_string()),
            ("TOKEN_KID", tokens.token_kid.join(",")),
            ("TOKEN_SECRET", secrets.join(",")),
            ("TOKEN_TENANTS", tenants.join(",")),
            ("TOKEN_LIFETIME_MAX_S", tokens.token_lifetime_max_s.to_string()),
        ];
        settings.extend(front_threads.map(|threads| ("FRONT_THREADS", threads.to_string())));
        settings.into_iter().map(|(name, value)| (format!("FLASHSALE_{name}"), value)).collect()
    }
}

/// The order service and the bank that pays it.
struct Paid {
    /// Where the engine finds the order service.
    orders: SocketAddr,
    /// Of order service and bank.
    pids: [Option<u32>; 2],
    cashier: Cashier,
}

/// Starts both: the bank sends its notices to the buyers' URL, as providers do.
fn start_orders(
    programs: &Programs,
    sale: &LoadSale,
    settings: &[(String, String)],
    environment: &mut Environment,
) -> Result<Paid, RunError> {
    let program = programs.program("orders")?;
    let address = || free_address().map_err(local);
    let [bank, bank_admin, orders, admin] = [address()?, address()?, address()?, address()?];
    let mut variables = settings.to_vec();
    let more = [
        ("BANK_SECRET", format!("{:032x}", rand::random::<u128>())),
        ("PUBLIC_URL", format!("http://{}", environment.target().address)),
        ("BANK_URL", format!("http://{bank}")),
        ("BANK_TENANTS", sale.tenant.to_string()),
        // 32 zero bytes: nobody here has personal data to seal.
        ("VAULT_KEY", "A".repeat(43)),
    ];
    variables.extend(more.map(|(name, value)| (format!("FLASHSALE_{name}"), value)));
    let mut start = |program: Program, command: &str, listen: SocketAddr, admin: SocketAddr| {
        let [listen, at] = [listen, admin].map(|address| address.to_string());
        let arguments = [command, "--listen", &listen, "--admin-addr", &at];
        let service = program.start(&arguments, admin, &variables, environment.folder())?;
        Ok::<_, RunError>(environment.add_service(service))
    };
    let of_bank = start(program.clone().named("bank"), "bank", bank, bank_admin)?;
    let of_orders = start(program, "serve", orders, admin)?;
    Ok(Paid { orders, pids: [of_orders, of_bank], cashier: Cashier { bank, admin } })
}

async fn run_stack(arguments: &[&str]) -> Result<(), RunError> {
    let output = Command::new(STACK).args(arguments).stdin(Stdio::null()).output().await.map_err(local)?;
    if output.status.success() {
        return Ok(());
    }
    let (what, why) = (arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim_end().to_owned());
    Err(local(format!("stack/stack {what} failed: {why}")))
}

/// A server that is away and comes back, also when the run is broken off: the command that brings
/// it.
struct Restore(Option<[&'static str; 2]>);

impl Restore {
    async fn now(mut self) -> Result<(), RunError> {
        match self.0 {
            Some(command) => run_stack(&command).await.inspect(|()| self.0 = None),
            None => Ok(()),
        }
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(command) = self.0 {
            // A failure has no one to report to; `stack/stack up` is the remedy then.
            drop(std::process::Command::new(STACK).args(command).stdin(Stdio::null()).status());
        }
    }
}

/// The process of one of the stack's servers, when it is the stack's.
async fn server_pid(server: &str) -> Option<u32> {
    output_of(Command::new(STACK).args(["pid", server])).await?.parse().ok()
}

//! The services of a production deployment of its own as child processes, and the load test that
//! buys and audits.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::ensure;
use kit::{http::free_address, settings::StoreArgs};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use serde_json::Value;
use store::log::kafka::KafkaSettings;
use tempfile::TempDir;

use crate::{
    child::{Child, wait_until},
    deployment::DeploymentArgs,
    load_test::{self, LifeTest, LoadTest},
    merchants::Merchants,
    redis_server::{RedisServer, free_port},
    wire::{READY, get},
};

/// By what the operator of a [`Services::catalog`] is known.
pub const OPERATOR: &str = "operator-secret-of-the-tests";
/// 32 bytes, under which nothing secret is sealed.
pub(crate) const VAULT_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";

/// The services of a production deployment: in a namespace of its own, on ports of their own, with
/// a Redis of their own, so that tests do not disturb each other.
#[derive(Debug)]
pub struct Services {
    /// Their Redis.
    pub redis: RedisServer,
    namespace: String,
    engine_port: u16,
    engine_admin: u16,
    folder: TempDir,
}

impl Services {
    /// Nothing runs yet but the Redis. Builds the programs first, once.
    ///
    /// # Errors
    /// When the stack is not up, or something cannot be built or started.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        built()?;
        let folder = tempfile::tempdir()?;
        Ok(Self {
            redis: RedisServer::start(folder.path())?,
            namespace: format!("verify_{name}_{}", &uuid::Uuid::new_v4().simple().to_string()[..8]),
            engine_port: free_port()?,
            engine_admin: free_port()?,
            folder,
        })
    }

    /// Removes their topics from the brokers, which would keep them for as long as they run.
    fn remove_topics(&self) -> anyhow::Result<()> {
        let stores = self.stores()?;
        let brokers = &stores.kafka.kafka_brokers;
        let topics = KafkaSettings::new(brokers, stores.namespace.as_str(), stores.partitions.into()).topics();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", brokers).create()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Where nothing ran there is none.
        runtime.block_on(admin.delete_topics(&topics, &AdminOptions::new()))?;
        Ok(())
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        self.command_in(programs().join(program), &[])
    }

    fn command_in(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        command.env("FLASHSALE_NAMESPACE", &self.namespace).env("FLASHSALE_REDIS_URL", self.redis.url());
        // Without a backtrace: what is shown of a child that ended is its end, and that should be
        // its error.
        command.env("RUST_LOG", "info").env("RUST_BACKTRACE", "0");
        command
    }

    /// Starts an engine; always on the same port, as behind one address.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn engine(&self) -> anyhow::Result<Child> {
        self.engine_with(&[])
    }

    /// The same with these further arguments.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn engine_with(&self, arguments: &[&str]) -> anyhow::Result<Child> {
        let mut command = self.command("engine");
        command.args(arguments);
        self.start_engine(command)
    }

    /// Starts an engine that may open so many files: not even one connection each for those who
    /// want one.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn engine_with_descriptors(&self, most: u32) -> anyhow::Result<Child> {
        // The shell lowers its own limit, also the hard one, and becomes the engine.
        let mut command = self.command_in("sh", &["-c", "ulimit -n \"$0\" && exec \"$@\"", &most.to_string()]);
        command.arg(programs().join("engine"));
        self.start_engine(command)
    }

    fn start_engine(&self, command: Command) -> anyhow::Result<Child> {
        self.start_engine_at(command, self.engine_address(), self.engine_admin)
    }

    pub(crate) fn start_engine_at(
        &self,
        mut command: Command,
        listen: SocketAddr,
        admin: u16,
    ) -> anyhow::Result<Child> {
        command.args(["--listen", &listen.to_string()]);
        command.args(["--admin-addr", &format!("127.0.0.1:{admin}")]);
        Child::start("engine", command, self.folder.path())
    }

    /// Starts another engine beside the first, ready to sell, and its address.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn another_engine(&self) -> anyhow::Result<(Child, SocketAddr)> {
        let (listen, admin) = (free_address()?, free_port()?);
        Ok((self.engine_at(listen, admin)?, listen))
    }

    /// Starts an engine at this address and with this second port, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn engine_at(&self, listen: SocketAddr, admin: u16) -> anyhow::Result<Child> {
        let mut engine = self.start_engine_at(self.command("engine"), listen, admin)?;
        wait_until_ready(&mut engine, admin)?;
        Ok(engine)
    }

    /// Starts the merchants' service on a port of its own, ready.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn catalog(&self) -> anyhow::Result<(Child, Merchants)> {
        self.catalog_with(&[])
    }

    /// The same with these further arguments.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn catalog_with(&self, arguments: &[&str]) -> anyhow::Result<(Child, Merchants)> {
        let (listen, admin) = (free_address()?, free_port()?);
        let mut command = self.command("catalog");
        command.args(["serve", "--listen", &listen.to_string(), "--admin-addr", &format!("127.0.0.1:{admin}")]);
        command.args(arguments);
        command.env("FLASHSALE_OPERATOR_SECRET", OPERATOR).env("FLASHSALE_VAULT_KEY", VAULT_KEY);
        let mut catalog = Child::start("catalog", command, self.folder.path())?;
        wait_until_ready(&mut catalog, admin)?;
        Ok((catalog, Merchants { address: listen, key: OPERATOR.to_owned() }))
    }

    /// The buyers' address.
    pub fn engine_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.engine_port).into()
    }

    /// Where their Redis keeps its files, and they write.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What names this deployment.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Their stores and keys.
    ///
    /// # Errors
    /// When the environment does not say where the stack is.
    pub fn deployment(&self) -> anyhow::Result<DeploymentArgs> {
        DeploymentArgs::of(&self.namespace, &self.redis.url())
    }

    /// Where they remember.
    ///
    /// # Errors
    /// When the environment does not say where the stack is.
    pub fn stores(&self) -> anyhow::Result<StoreArgs> {
        Ok(self.deployment()?.stores)
    }

    /// Publishes a sale file.
    ///
    /// # Errors
    /// When `catalog` refuses it.
    pub fn publish(&self, sale: &str) -> anyhow::Result<()> {
        let file = self.folder.path().join(format!("{}.toml", uuid::Uuid::new_v4().simple()));
        std::fs::write(&file, sale)?;
        let output = self.command("catalog").arg("publish").arg(&file).output()?;
        ensure!(output.status.success(), "catalog: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Cancels an order.
    ///
    /// # Errors
    /// When `order-writer` refuses it.
    pub fn cancel(&self, order: &str) -> anyhow::Result<()> {
        let output = self.command("order-writer").args(["cancel", order]).output()?;
        ensure!(output.status.success(), "order-writer cancel: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Starts an order-writer with these further arguments.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn order_writer(&self, arguments: &[&str]) -> anyhow::Result<Child> {
        let mut command = self.command("order-writer");
        command.args(["--admin-addr", &format!("127.0.0.1:{}", free_port()?)]).args(arguments);
        Child::start("order-writer", command, self.folder.path())
    }

    /// Waits until the engine is ready to sell.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn wait_ready(&self, engine: &mut Child) -> anyhow::Result<()> {
        wait_until_ready(engine, self.engine_admin)
    }

    /// Starts a load test against the engine.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn load_test(&self, load: LoadTest) -> anyhow::Result<Child> {
        let mut command = self.command("loadtest");
        // The load test builds the services where cargo is its parent: these are built.
        command.env_remove("CARGO");
        command.args(["--deployment", "production"]);
        load.start(command, self.engine_address(), self.folder.path())
    }

    /// Runs the load test's life of orders, which starts the services that it needs.
    ///
    /// # Errors
    /// When it fails or finds damage.
    pub fn life(&self, life: LifeTest) -> anyhow::Result<Value> {
        let mut command = self.command("loadtest");
        command.args(["--deployment", "production"]);
        life.run(command, self.folder.path())
    }

    /// Waits for a load test and returns its report.
    ///
    /// # Errors
    /// When it fails or finds damage.
    pub fn report_of(&self, load: Child) -> anyhow::Result<Value> {
        load_test::report_of(load, self.folder.path())
    }

    /// A figure of the engine's metrics, summed over its labels.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn engine_metric(&self, name: &str) -> anyhow::Result<f64> {
        load_test::metric(self.engine_admin, name)
    }

    /// Waits until the engine has accepted this many orders: the middle of a sale.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_accepted(&self, orders: u64) -> anyhow::Result<()> {
        load_test::wait_accepted(self.engine_admin, orders)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whoever looks why finds what there was.
            return;
        }
        // A test may end within a runtime, in which no other one can wait.
        let removed = std::thread::scope(|scope| scope.spawn(|| self.remove_topics()).join());
        if !matches!(removed, Ok(Ok(()))) {
            eprintln!("the topics of {} stay: {removed:?}", self.namespace);
        }
    }
}

pub(crate) fn wait_until_ready(service: &mut Child, admin: u16) -> anyhow::Result<()> {
    wait_until("the service is ready", READY, || {
        ensure!(service.ended()?.is_none(), "the service ended:\n{}", service.tail());
        Ok(get(admin, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")))
    })
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where the programs are: beside the folder of the test program itself.
pub(crate) fn programs() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    test.ancestors().nth(2).map(Path::to_owned).unwrap_or_default()
}

/// Where the programs are, all of them built.
///
/// # Errors
/// When one cannot be built.
pub fn built_programs() -> anyhow::Result<PathBuf> {
    built().map(|()| programs())
}

/// Which programs cargo builds, and with which features.
fn selection() -> Vec<&'static str> {
    if programs().ends_with("release") {
        // An example that measures is a release program, and so are those that it measures: as they
        // are shipped.
        return vec![
            "--release",
            "-p",
            "engine",
            "-p",
            "order-writer",
            "-p",
            "catalog",
            "-p",
            "orders",
            "-p",
            "distribution",
            "-p",
            "loadtest",
            "-p",
            "embedded",
        ];
    }
    // As the tests were built: with other packages or features cargo would compile half of the tree
    // again. A test is among the targets because features of dev-dependencies count only then.
    let mut selection = vec!["--workspace", "--bins", "--test", "secrets"];
    selection.extend(cfg!(feature = "live").then_some("--all-features"));
    selection
}

pub(crate) fn built() -> anyhow::Result<()> {
    static BUILT: OnceLock<bool> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root()).args(["build", "--locked", "--quiet"]).args(selection());
        cargo.status().is_ok_and(|status| status.success())
    });
    ensure!(*built, "cargo build of the services failed: run it by hand to see why");
    Ok(())
}

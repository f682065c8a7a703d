//! Engines and order-writers as child processes, each with a port of its own, and what a merchant
//! and a clerk do by commands.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::Parser;
use kit::http::free_address;
use verify::{
    child::{Child, wait_until},
    deployment::DeploymentArgs,
    redis_server::free_port,
    wire::get,
};

use crate::{plan::Database, servers::Servers};

/// How long a service may take to be ready, and to end when asked to.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a command may take: the servers may be away.
const COMMAND: Duration = Duration::from_secs(60);

/// A service that can be started again where it was.
pub(crate) struct Service {
    program: &'static str,
    number: usize,
    arguments: Vec<String>,
    admin: u16,
    child: Mutex<Option<Child>>,
}

/// All services of a seed.
pub(crate) struct Services {
    programs: PathBuf,
    folder: PathBuf,
    environment: Vec<(String, String)>,
    /// The engines.
    pub(crate) engines: Vec<Service>,
    /// The order-writers.
    pub(crate) writers: Vec<Service>,
    addresses: Vec<SocketAddr>,
    namespace: String,
}

impl Services {
    /// Names them; nothing is started yet.
    ///
    /// # Errors
    /// When there are no free ports.
    pub(crate) fn new(
        (programs, folder): (&Path, &Path),
        servers: &Servers,
        namespace: &str,
        (engines, writers, partitions): (usize, usize, u16),
    ) -> anyhow::Result<Self> {
        let mut environment = servers.environment().to_vec();
        let more = [("NAMESPACE", namespace.to_owned()), ("PARTITIONS", partitions.to_string())];
        environment.extend(more.map(|(name, value)| (format!("FLASHSALE_{name}"), value)));
        environment.push(("RUST_LOG".into(), "info".into()));
        environment.push(("RUST_BACKTRACE".into(), "0".into()));
        let (mut all, mut addresses) = ([Vec::new(), Vec::new()], Vec::new());
        for (services, (program, count)) in all.iter_mut().zip([("engine", engines), ("order-writer", writers)]) {
            for number in 0..count {
                let admin = free_port()?;
                let mut arguments = vec!["--admin-addr".into(), format!("127.0.0.1:{admin}")];
                if program == "engine" {
                    let address = free_address()?;
                    arguments.extend(["--listen".into(), address.to_string()]);
                    addresses.push(address);
                }
                services.push(Service { program, number, arguments, admin, child: Mutex::new(None) });
            }
        }
        let [engines, writers] = all;
        let (programs, folder, namespace) = (programs.to_owned(), folder.to_owned(), namespace.to_owned());
        Ok(Self { programs, folder, environment, engines, writers, addresses, namespace })
    }

    /// Where the engines listen.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The name of a database.
    pub(crate) fn database(&self, database: Database) -> String {
        match database {
            Database::Ledger => format!("{}_ledger", self.namespace),
            Database::Shard(number) => format!("{}_orders_{number:02}", self.namespace),
        }
    }

    /// As this program reads stores and keys.
    ///
    /// # Errors
    /// When the environment lacks something.
    pub(crate) fn deployment(&self) -> anyhow::Result<DeploymentArgs> {
        let flags = self.environment.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix("FLASHSALE_")?.to_lowercase().replace('_', "-");
            Some(format!("--{name}={value}"))
        });
        Ok(DeploymentArgs::try_parse_from(std::iter::once("trial".to_owned()).chain(flags))?)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.envs(self.environment.iter().cloned());
        command
    }

    /// Starts a service unless it runs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(&self, service: &Service) -> anyhow::Result<()> {
        let mut child = service.lock()?;
        if child.as_mut().is_none_or(|child| child.ended().is_ok_and(|ended| ended.is_some())) {
            let mut command = self.command(service.program);
            command.args(&service.arguments);
            *child = Some(Child::start(&format!("{}-{}", service.program, service.number + 1), command, &self.folder)?);
        }
        Ok(())
    }

    /// Starts all that do not run and waits until they are ready.
    ///
    /// # Errors
    /// When one is not in time; the end of its output is in the error.
    pub(crate) fn all_ready(&self) -> anyhow::Result<()> {
        let all = || self.writers.iter().chain(&self.engines);
        all().try_for_each(|service| self.start(service))?;
        all().try_for_each(|service| {
            let ready = || Ok(get(service.admin, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")));
            let what = format!("{} {} is ready", service.program, service.number + 1);
            wait_until(&what, PATIENCE, ready).with_context(|| service.tail())
        })
    }

    /// Kills all: what they were to show is seen.
    pub(crate) fn end_all(&self) {
        self.writers.iter().chain(&self.engines).for_each(|service| drop(service.kill()));
    }

    /// Publishes a sale file.
    ///
    /// # Errors
    /// When the catalog refuses it.
    pub(crate) fn publish(&self, sale: &str) -> anyhow::Result<()> {
        let file = self.folder.join(format!("{}.toml", uuid::Uuid::new_v4().simple()));
        std::fs::write(&file, sale)?;
        self.run("catalog", &["publish", &file.to_string_lossy()])
    }

    /// A command of one of the programs.
    ///
    /// # Errors
    /// When it fails or takes too long: then nobody knows whether it was done.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = self.command(program);
        command.args(arguments);
        let mut child = Child::start(&format!("{program}-command"), command, &self.folder)?;
        let status = child.wait(COMMAND)?;
        ensure!(status.success(), "{program} {} ended with {status}: {}", arguments.join(" "), child.tail());
        Ok(())
    }
}

impl Service {
    fn lock(&self) -> anyhow::Result<std::sync::MutexGuard<'_, Option<Child>>> {
        self.child.lock().map_err(|_| anyhow::anyhow!("a thread of the trial panicked"))
    }

    /// kill -9.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn kill(&self) -> anyhow::Result<()> {
        self.lock()?.as_mut().context("it does not run")?.kill()
    }

    /// SIGTERM; waits until it has ended, at most a minute.
    ///
    /// # Errors
    /// When it does not end in time: then it is killed.
    pub(crate) fn end(&self) -> anyhow::Result<()> {
        let mut child = self.lock()?;
        let child = child.as_mut().context("it does not run")?;
        child.terminate()?;
        child.wait(PATIENCE).map(drop).or_else(|error| child.kill().and(Err(error)))
    }

    /// Sends it a signal by name.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let id = self.lock()?.as_ref().context("it does not run")?.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status()?;
        ensure!(sent.success(), "it does not take {signal}");
        Ok(())
    }

    fn tail(&self) -> String {
        self.lock().ok().and_then(|child| child.as_ref().map(Child::tail)).unwrap_or_default()
    }
}

//! What stands around a run: the folder, the services when they are ours, and the processes whose CPU time counts.

use std::{path::Path, process::Stdio};

use domain::id::BuyerId;
use kit::{
    clock::{Clock, SystemClock},
    settings::Secret,
    token::{BuyerClaims, KeyError, SignError},
};
use tempfile::TempDir;
use tokio::process::Command;

use super::{RunError, here};
use crate::{
    args::{Args, Order, Target},
    cpu::{self, Memory},
    progress::Progress,
    sale::LoadSale,
    services::{Programs, Service, ServiceError, free_address},
    timeline::CpuTimes,
};

/// Buyers' tokens outlive any run.
const TOKEN_TTL_MS: u64 = 86_400_000;
/// The stack's command, which knows the servers' processes.
const STACK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../stack/stack");

pub(super) struct Stage {
    folder: TempDir,
    keep: bool,
    target: Target,
    engine: Option<Service>,
    writer: Option<Service>,
    /// Redis, Kafka, MySQL.
    servers: [Option<u32>; 3],
}

impl Stage {
    /// Publishes the sale and starts the services, unless they run already.
    pub(super) async fn set(
        order: &Order,
        sale: &LoadSale,
        cargo: Option<&Path>,
        clock: SystemClock,
        progress: &mut Progress,
    ) -> Result<Self, RunError> {
        let args = &order.args;
        if cargo.is_some() {
            progress.phase("building the services");
        }
        let programs = Programs::find_or_build(cargo).await?;
        let mut stage = Self {
            folder: tempfile::Builder::new().prefix("loadtest-").tempdir().map_err(here)?,
            keep: args.keep,
            target: args.target.clone().map_or_else(own_target, Ok)?,
            engine: None,
            writer: None,
            servers: [server_pid("redis").await, server_pid("kafka").await, server_pid("mysql").await],
        };
        match stage.fill(&programs, args, sale, clock, progress).await {
            Ok(()) => Ok(stage),
            Err(error) => {
                stage.keep();
                // What is said of services that never were ready is in the error already.
                drop(stage.strike().await);
                Err(error)
            }
        }
    }

    async fn fill(
        &mut self,
        programs: &Programs,
        args: &Args,
        sale: &LoadSale,
        clock: SystemClock,
        progress: &mut Progress,
    ) -> Result<(), RunError> {
        let environment = environment(args);
        progress.phase(&format!("publishing sale {}", sale.id));
        let file = self.folder.path().join("sale.toml");
        std::fs::write(&file, sale.to_toml().map_err(here)?).map_err(here)?;
        let file = file.to_string_lossy().into_owned();
        programs.run("catalog", &["publish", &file], &environment).await?;
        if args.target.is_some() {
            return Ok(());
        }
        progress.phase("starting order-writer and engine");
        let listen = ["--listen".to_owned(), self.target.address.to_string()];
        let writer = self.writer.insert(programs.start("order-writer", &[], &environment, self.folder.path())?);
        let engine = self.engine.insert(programs.start("engine", &listen, &environment, self.folder.path())?);
        writer.wait_ready(clock).await?;
        engine.wait_ready(clock).await?;
        Ok(())
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// That our services still run.
    pub(super) fn check_running(&mut self) -> Result<(), ServiceError> {
        self.engine.iter_mut().chain(&mut self.writer).try_for_each(Service::check_running)
    }

    /// CPU time so far.
    pub(super) fn cpu(&self) -> CpuTimes {
        let pid = |service: &Option<Service>| service.as_ref().and_then(Service::pid);
        let [redis, kafka, mysql] = self.servers;
        let own = Some(std::process::id());
        [own, pid(&self.engine), redis, kafka, pid(&self.writer), mysql].map(|pid| cpu::process(pid?))
    }

    /// The engine's memory, when it is ours.
    pub(super) fn engine_memory(&self) -> Option<Memory> {
        cpu::memory(self.engine.as_ref()?.pid()?)
    }

    /// The folder stays, whatever comes.
    pub(super) fn keep(&mut self) {
        self.keep = true;
    }

    /// Ends the services, the engine first, and says which did not end well.
    pub(super) async fn strike(self) -> Vec<ServiceError> {
        let mut unruly = Vec::new();
        for service in [self.engine, self.writer].into_iter().flatten() {
            if let Err(error) = service.stop().await {
                unruly.push(error);
            }
        }
        if self.keep || !unruly.is_empty() {
            eprintln!("loadtest: sale file and logs are in {}", self.folder.keep().display());
        }
        unruly
    }
}

fn own_target() -> Result<Target, RunError> {
    let address = free_address().map_err(here)?;
    Ok(Target { address, host: address.to_string() })
}

/// What the services must agree on, as they read it.
fn environment(args: &Args) -> Vec<(String, String)> {
    let (stores, tokens) = (&args.stores, &args.tokens);
    let secrets: Vec<&str> = tokens.token_secret.iter().map(Secret::expose).collect();
    let mut told = vec![
        ("REDIS_URL", stores.redis_url.expose().to_owned()),
        ("KAFKA_BROKERS", stores.kafka.kafka_brokers.clone()),
        ("MYSQL_URL", stores.mysql_url.expose().to_owned()),
        ("NAMESPACE", stores.namespace.to_string()),
        ("SHARDS", stores.shards.to_string()),
        ("TABLES", stores.tables.to_string()),
        ("PARTITIONS", stores.partitions.to_string()),
        ("TOKEN_KID", tokens.token_kid.join(",")),
        ("TOKEN_SECRET", secrets.join(",")),
    ];
    told.extend(args.front_threads.map(|threads| ("FRONT_THREADS", threads.to_string())));
    told.into_iter().map(|(name, value)| (format!("FLASHSALE_{name}"), value)).collect()
}

/// Signs the tokens of a sale's buyers.
pub(super) fn signer(
    args: &Args,
    sale: &LoadSale,
    clock: SystemClock,
) -> Result<impl Fn(BuyerId) -> Result<String, SignError> + Sync + Send + 'static + use<>, KeyError> {
    let (signer, now_ms) = (args.tokens.signer()?, clock.now_ms());
    // A tenant of a load test has 32 bits.
    let tenant = u32::try_from(sale.tenant.get()).unwrap_or(u32::MAX);
    Ok(move |buyer: BuyerId| {
        let claims = BuyerClaims { tenant, buyer: buyer.get(), expires_ms: now_ms + TOKEN_TTL_MS };
        signer.sign(&claims, now_ms)
    })
}

/// CPU time from one look to the other.
pub(super) fn differences(before: CpuTimes, after: CpuTimes) -> CpuTimes {
    std::array::from_fn(|i| after[i].zip(before[i]).map(|(after, before)| after.saturating_sub(before)))
}

/// The process of one of the stack's servers, when it is the stack's.
async fn server_pid(server: &str) -> Option<u32> {
    said(Command::new(STACK).args(["pid", server])).await?.parse().ok()
}

/// The git revision of the sources, `-dirty` when they were changed since.
pub(super) async fn revision() -> Option<String> {
    let describe = ["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--abbrev=12"];
    said(Command::new("git").args(describe)).await
}

async fn said(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).output().await.ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

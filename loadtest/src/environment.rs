//! The environment of a run: its folder, the services that it started, and the processes whose CPU
//! time counts.

use std::{path::Path, process::Stdio};

use domain::id::BuyerId;
use kit::{
    clock::{Clock, SystemClock},
    http::free_address,
    metrics::{ProcessSample, process_cpu_time},
    token::{BuyerClaims, SignError, TokenSigner},
};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    deployment::Target,
    error::{RunError, local},
    report::Memory,
    sale::LoadSale,
    services::{Service, ServiceError},
    timeline::{CpuTimes, PROCESSES},
};

/// Buyers' tokens outlive any run.
const TOKEN_TTL_MS: u64 = 86_400_000;

/// The environment of a run.
pub(crate) struct Environment {
    folder: TempDir,
    keep: bool,
    target: Target,
    /// In the order in which they were started.
    services: Vec<Service>,
    /// All of [`PROCESSES`] but the generator, as far as they are known.
    pids: [Option<u32>; PROCESSES.len() - 1],
}

impl Environment {
    /// An empty one. Without a target the engine is to listen on a free port.
    pub(crate) fn new(target: Option<&Target>, keep: bool) -> Result<Self, RunError> {
        Ok(Self {
            folder: tempfile::Builder::new().prefix("loadtest-").tempdir().map_err(local)?,
            keep,
            target: target.cloned().map_or_else(own_target, Ok)?,
            services: Vec::new(),
            pids: [None; PROCESSES.len() - 1],
        })
    }

    /// Where files of this run go.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the sale file and returns its path.
    pub(crate) fn write_sale(&self, sale: &LoadSale) -> Result<String, RunError> {
        self.write(&sale.to_toml().map_err(local)?)
    }

    /// Writes the text of a sale file and returns its path.
    pub(crate) fn write(&self, sale: &str) -> Result<String, RunError> {
        let file = self.folder().join("sale.toml");
        std::fs::write(&file, sale).map_err(local)?;
        Ok(file.to_string_lossy().into_owned())
    }

    /// Adds a service that was started; the last one is stopped first. Returns its process id.
    pub(crate) fn add_service(&mut self, service: Service) -> Option<u32> {
        let pid = service.pid();
        self.services.push(service);
        pid
    }

    /// Waits until all services are ready.
    pub(crate) async fn wait_ready(&mut self, clock: SystemClock) -> Result<(), ServiceError> {
        for service in &mut self.services {
            service.wait_ready(clock).await?;
        }
        Ok(())
    }

    /// From now on the CPU time of these counts: [`PROCESSES`] without the generator.
    pub(crate) fn watch(&mut self, pids: [Option<u32>; PROCESSES.len() - 1]) {
        self.pids = pids;
    }

    /// Where buyers come to.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// That our services still run.
    pub(crate) fn check_running(&mut self) -> Result<(), ServiceError> {
        self.services.iter_mut().try_for_each(Service::check_running)
    }

    /// CPU time so far.
    pub(crate) fn cpu(&self) -> CpuTimes {
        let pid = |i: usize| if i == 0 { Some(std::process::id()) } else { self.pids[i - 1] };
        std::array::from_fn(|i| process_cpu_time(pid(i)?).ok())
    }

    /// Ends a service of ours by SIGKILL; nobody misses it until [`Environment::start_again`].
    pub(crate) async fn kill(&mut self, name: &str) -> Result<(), ServiceError> {
        match self.services.iter_mut().find(|service| service.name() == name) {
            Some(service) => service.kill().await,
            None => Ok(()),
        }
    }

    /// Starts again what was killed, and waits until it is ready.
    pub(crate) async fn start_again(&mut self, name: &str, clock: SystemClock) -> Result<(), ServiceError> {
        let Some(service) = self.services.iter_mut().find(|service| service.name() == name) else { return Ok(()) };
        let before = service.last_pid();
        service.start_again()?;
        if let Some(pid) = self.pids.iter_mut().find(|pid| **pid == before) {
            *pid = service.pid();
        }
        service.wait_ready(clock).await
    }

    /// The engine's memory, when its process is known.
    pub(crate) fn engine_memory(&self) -> Option<Memory> {
        memory(self.pids[0]?)
    }

    /// Resident bytes of engine and order-writer, when their processes are known.
    pub(crate) fn memories(&self) -> [Option<u64>; 2] {
        [self.pids[0], self.pids[3]].map(|pid| memory(pid?).map(|memory| memory.now))
    }

    /// The folder stays, whatever comes.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    /// Stops the services, the engine first, and returns the failures of those that did not end
    /// well.
    pub(crate) async fn stop(self) -> Vec<ServiceError> {
        let mut failed = Vec::new();
        for service in self.services.into_iter().rev() {
            if let Err(error) = service.stop().await {
                failed.push(error);
            }
        }
        if self.keep || !failed.is_empty() {
            eprintln!("sale file, logs and what else this run left are in {}", self.folder.keep().display());
        }
        failed
    }
}

/// Resident memory of a process; `None` for one that is gone.
fn memory(pid: u32) -> Option<Memory> {
    let sample = ProcessSample::of_pid(pid).ok().filter(|sample| sample.resident_bytes > 0)?;
    Some(Memory { now: sample.resident_bytes, peak: sample.resident_peak_bytes })
}

fn own_target() -> Result<Target, RunError> {
    let address = free_address().map_err(local)?;
    Ok(Target { address, host: address.to_string() })
}

/// Signs the tokens of a sale's buyers.
pub(crate) fn signer(
    signer: &TokenSigner,
    sale: &LoadSale,
    clock: SystemClock,
) -> impl Fn(BuyerId) -> Result<String, SignError> + Sync + Send + 'static + use<> {
    let (signer, now_ms) = (signer.clone(), clock.now_ms());
    // A tenant of a load test has 32 bits.
    let tenant = sale.tenant.number();
    move |buyer: BuyerId| {
        let claims = BuyerClaims::new(tenant, buyer.get(), now_ms + TOKEN_TTL_MS);
        signer.sign(&claims, now_ms)
    }
}

/// CPU time from one look to the other.
pub(crate) fn differences(before: CpuTimes, after: CpuTimes) -> CpuTimes {
    std::array::from_fn(|i| after[i].zip(before[i]).map(|(after, before)| after.saturating_sub(before)))
}

/// The git revision of the sources, `-dirty` when they were changed since.
pub(crate) async fn revision() -> Option<String> {
    let describe = ["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--abbrev=12"];
    output_of(Command::new("git").args(describe)).await
}

/// The standard output of a command; `None` when it fails or prints nothing.
pub(crate) async fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).output().await.ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

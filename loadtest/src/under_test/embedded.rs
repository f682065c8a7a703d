//! One process on one data folder: `flashsale serve`.

use std::{net::SocketAddr, path::Path};

use domain::id::TenantId;
use kit::{clock::SystemClock, http::free_address};
use store::sql::sqlite::Sqlite;

use super::{Cashier, StartContext, Started, UnderTest};
use crate::{
    backends::embedded::{DataFolder, EmbeddedBackends, PageWitness, Running},
    baseline::Baselines,
    deployment::Embedded,
    environment::Environment,
    error::{RunError, local},
    fault::Fault,
    progress::Progress,
    services::{Program, Programs, Publisher},
    spec::RunSpec,
    timeline::{ONE_PROCESS, PROCESSES},
};

/// The demo's shop.
const DEMO_TENANT: u64 = 7;
/// The program, and the package that it is built from.
const PROGRAM: &str = "flashsale";
const PACKAGE: &str = "embedded";

impl UnderTest for Embedded {
    type Sql = Sqlite;
    type Witness = PageWitness;

    fn processes(_: &RunSpec) -> usize {
        ONE_PROCESS
    }

    fn paid_tenant(&self) -> Option<TenantId> {
        TenantId::new(DEMO_TENANT).ok()
    }

    fn partitions(&self) -> Option<u32> {
        None
    }

    async fn start(&self, context: StartContext<'_>) -> Result<Started<Sqlite, PageWitness>, RunError> {
        let StartContext { spec, sale, environment, cargo, clock, progress } = context;
        // A server that runs already was built by whoever started it: another build beside it would
        // be another program, and take its time.
        let program = self.program(cargo.filter(|_| spec.target.is_none()), progress).await?;
        let data = DataFolder::new(self.data.clone().unwrap_or_else(|| environment.folder().join("data")));
        let admin = if spec.target.is_some() {
            let Running { pid, admin, .. } = data.running()?;
            environment.watch(only(Some(pid)));
            admin
        } else {
            progress.phase("starting flashsale");
            serve(&program, &data, spec, environment, clock).await?
        };
        progress.phase(&format!("publishing sale {}", sale.id));
        let file = environment.write_sale(sale)?;
        let arguments = ["publish", "--data", &data.path().to_string_lossy()].map(str::to_owned).to_vec();
        let publisher = Publisher { program, arguments, variables: Vec::new() };
        publisher.publish(&file).await?;
        let backends = EmbeddedBackends::open(&data, Some(admin), sale.lanes()).await?;
        let bank = environment.target().address;
        let cashier = spec.scenario.is_paid().then_some(Cashier { bank, admin });
        Ok(Started { backends, publisher, signer: data.signer()?, cashier })
    }

    async fn fail(&self, fault: Fault) -> Result<(), RunError> {
        // The command line refuses it before.
        Err(local(format!("{fault}: the embedded deployment has no server that could fail")))
    }

    async fn stock_memory(&self) -> Option<u64> {
        None
    }

    async fn calm(&self) -> Result<(), RunError> {
        Ok(())
    }

    fn yardsticks(&self) -> Baselines {
        Baselines::default()
    }

    async fn raw_reservations(&self, _: SystemClock) -> Option<Result<f64, String>> {
        None
    }
}

impl Embedded {
    async fn program(&self, cargo: Option<&Path>, progress: &mut Progress) -> Result<Program, RunError> {
        if let Some(path) = &self.program {
            return Ok(Program::at(PROGRAM, path.clone())?);
        }
        if cargo.is_some() {
            progress.phase("building flashsale");
        }
        Ok(Programs::find_or_build(cargo, &[PACKAGE]).await?.program(PROGRAM)?)
    }
}

/// One process is all of it.
fn only(pid: Option<u32>) -> [Option<u32>; PROCESSES.len() - 1] {
    std::array::from_fn(|i| pid.filter(|_| i == 0))
}

/// Starts the process and waits until it sells. Returns the address of its admin port.
async fn serve(
    program: &Program,
    data: &DataFolder,
    spec: &RunSpec,
    environment: &mut Environment,
    clock: SystemClock,
) -> Result<SocketAddr, RunError> {
    let admin = free_address().map_err(local)?;
    let [port, admin_port] = [environment.target().address, admin].map(|address| address.port().to_string());
    let folder = data.path().to_string_lossy();
    let mut arguments = vec!["serve", "--data", &folder, "--port", &port, "--admin-port", &admin_port];
    // Only the demo's shop is paid in play money.
    if !spec.scenario.is_paid() {
        arguments.push("--no-demo");
    }
    let config = environment.folder().join("flashsale.toml");
    let config_path = config.to_string_lossy();
    if let Some(threads) = spec.args.front_threads {
        std::fs::write(&config, format!("[front]\nthreads = {threads}\n")).map_err(local)?;
        arguments.extend(["--config", &config_path]);
    }
    let pid =
        environment.add_service(program.start(&arguments, admin, &spec.service_settings(), environment.folder())?);
    environment.watch(only(pid));
    environment.wait_ready(clock).await?;
    Ok(admin)
}

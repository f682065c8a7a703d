//! One process on one data folder: `flashsale serve`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use kit::clock::SystemClock;
use store::sql::sqlite::Sqlite;

use super::{Raised, Scene, UnderTest};
use crate::{
    args::Order,
    backends::embedded::{DataFolder, EmbeddedBackends, PageWitness, Running},
    baseline::Baselines,
    fault::Fault,
    progress::Progress,
    run::{RunError, Stage, here},
    services::{Program, Programs, Publisher, free_address},
    timeline::ONE_PROCESS,
};

/// The program, and the package that it is built from.
const PROGRAM: &str = "flashsale";
const PACKAGE: &str = "embedded";

/// The embedded deployment.
#[derive(Debug, Clone, Default)]
pub struct Embedded {
    /// Its data folder; `None`: a fresh one, which goes after a clean run.
    pub data: Option<PathBuf>,
    /// Where `flashsale` is; `None`: beside this program, and built first when cargo runs us.
    pub program: Option<PathBuf>,
}

impl UnderTest for Embedded {
    type Sql = Sqlite;
    type Witness = PageWitness;

    const PROCESSES: usize = ONE_PROCESS;

    fn partitions(&self) -> Option<u32> {
        None
    }

    async fn raise(&self, scene: Scene<'_>) -> Result<Raised<Sqlite, PageWitness>, RunError> {
        let Scene { order, sale, stage, cargo, clock, progress } = scene;
        // A server that runs already was built by whoever started it: another build beside it would
        // be another program, and take its time.
        let program = self.program(cargo.filter(|_| order.target.is_none()), progress).await?;
        let data = DataFolder::new(self.data.clone().unwrap_or_else(|| stage.folder().join("data")));
        let admin = if order.target.is_some() {
            let Running { pid, admin, .. } = data.running()?;
            stage.watch([Some(pid), None, None, None, None]);
            admin
        } else {
            progress.phase("starting flashsale");
            serve(&program, &data, order, stage, clock).await?
        };
        progress.phase(&format!("publishing sale {}", sale.id));
        let file = stage.write_sale(sale)?;
        let arguments = ["publish", "--data", &data.path().to_string_lossy()].map(str::to_owned).to_vec();
        let publisher = Publisher { program, arguments, environment: Vec::new() };
        publisher.publish(&file).await?;
        let backends = EmbeddedBackends::open(&data, Some(admin), sale.lanes()).await?;
        Ok(Raised { backends, publisher, signer: data.signer()? })
    }

    async fn fail(&self, fault: Fault) -> Result<(), RunError> {
        // The command line refuses it before.
        Err(here(format!("{fault}: the embedded deployment has no server that could fail")))
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

/// Starts the process and waits until it sells. Returns the address of its admin port.
async fn serve(
    program: &Program,
    data: &DataFolder,
    order: &Order,
    stage: &mut Stage,
    clock: SystemClock,
) -> Result<SocketAddr, RunError> {
    let admin = free_address().map_err(here)?;
    let [port, admin_port] = [stage.target().address, admin].map(|address| address.port().to_string());
    let folder = data.path().to_string_lossy();
    let mut arguments = vec!["serve", "--data", &folder, "--port", &port, "--admin-port", &admin_port, "--no-demo"];
    let config = stage.folder().join("flashsale.toml");
    let config_path = config.to_string_lossy();
    if let Some(threads) = order.args.front_threads {
        std::fs::write(&config, format!("[front]\nthreads = {threads}\n")).map_err(here)?;
        arguments.extend(["--config", &config_path]);
    }
    let pid = stage.employ(program.start(&arguments, admin, &order.service_settings(), stage.folder())?);
    stage.watch([pid, None, None, None, None]);
    stage.wait_ready(clock).await?;
    Ok(admin)
}

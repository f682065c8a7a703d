//! The production deployment at work: two engines, two order-writers and the merchants' service as
//! processes of their own, each of which can be killed and comes back.

use std::net::SocketAddr;

use anyhow::Context;
use kit::{http::free_address, token::TokenSigner};
use loadtest::{audit::Evidence, backends::production::ProductionBackends, sale::LoadSale, tally::Book};

use crate::{
    child::Child,
    deployment::DeploymentArgs,
    life::{Place, Process, settled_evidence},
    merchants::Merchants,
    redis_server::free_port,
    services::Services,
};

/// An engine, and where it is whenever it runs.
#[derive(Debug)]
struct Engine {
    process: Child,
    listen: SocketAddr,
    admin: u16,
}

/// All of it.
pub struct Production {
    engines: [Engine; 2],
    writers: [Child; 2],
    catalog: Child,
    merchants: Merchants,
    deployment: DeploymentArgs,
    signer: TokenSigner,
    writer_arguments: &'static [&'static str],
    // Last: what it leaves behind is removed when nobody works on it any more.
    services: Services,
}

impl Production {
    /// Opens it with nothing on sale; the order-writers with these further arguments.
    ///
    /// # Errors
    /// When the stack is not up, or something cannot be started.
    pub fn open(name: &str, writer_arguments: &'static [&'static str]) -> anyhow::Result<Self> {
        let services = Services::new(name)?;
        let writers = [services.order_writer(writer_arguments)?, services.order_writer(writer_arguments)?];
        let engine = || {
            let (listen, admin) = (free_address()?, free_port()?);
            Ok::<_, anyhow::Error>(Engine { process: services.engine_at(listen, admin)?, listen, admin })
        };
        let engines = [engine()?, engine()?];
        let (catalog, merchants) = services.catalog()?;
        let deployment = services.deployment()?;
        let signer = deployment.tokens.signer()?;
        Ok(Self { engines, writers, catalog, merchants, deployment, signer, writer_arguments, services })
    }
}

impl Place for Production {
    fn engines(&self) -> Vec<SocketAddr> {
        self.engines.iter().map(|engine| engine.listen).collect()
    }

    fn merchants(&self) -> &Merchants {
        &self.merchants
    }

    fn signer(&self) -> &TokenSigner {
        &self.signer
    }

    fn kill(&mut self, process: Process) -> anyhow::Result<()> {
        match process {
            Process::Engine => {
                let Engine { process, listen, admin } = &mut self.engines[0];
                process.kill()?;
                *process = self.services.engine_at(*listen, *admin)?;
            }
            Process::Writer => {
                self.writers[0].kill()?;
                self.writers[0] = self.services.order_writer(self.writer_arguments)?;
            }
            Process::Catalog => {
                self.catalog.kill()?;
                (self.catalog, self.merchants) = self.services.catalog()?;
            }
        }
        Ok(())
    }

    fn evidence(&self, sale: &LoadSale, book: &Book) -> anyhow::Result<Evidence> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let backends = ProductionBackends::open(&self.deployment.stores, sale.lanes()).await;
            settled_evidence(backends.context("is the stack up?")?, sale, book).await
        })
    }
}

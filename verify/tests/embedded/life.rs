//! The life of a sale on one process, which is killed between its steps and amid them:
//! `tests/crash/life.rs` plays the same on servers.

use std::{fs, net::SocketAddr};

use kit::token::TokenSigner;
use loadtest::{
    audit::Evidence,
    backends::embedded::{DataFolder, EmbeddedBackends},
    sale::LoadSale,
    tally::Book,
};
use verify::{
    child::Child,
    embedded::Embedded,
    life::{Place, Process, live, settled_evidence},
    merchants::Merchants,
};

struct OneProcess {
    embedded: Embedded,
    server: Child,
    merchants: Merchants,
    signer: TokenSigner,
}

impl OneProcess {
    /// Nothing is on sale, and lanes retire a second after their sale's end.
    fn open() -> Self {
        let embedded = Embedded::new().unwrap();
        fs::write(embedded.scratch().join("flashsale.toml"), "[lanes]\nsettling_s = 1\n").unwrap();
        let server = serve(&embedded).unwrap();
        let (merchants, signer) = (embedded.merchants().unwrap(), embedded.signer().unwrap());
        Self { embedded, server, merchants, signer }
    }
}

fn serve(embedded: &Embedded) -> anyhow::Result<Child> {
    let settings = embedded.scratch().join("flashsale.toml").display().to_string();
    let mut server = embedded.serve_with(&["--config", &settings, "--no-demo"])?;
    embedded.wait_ready(&mut server)?;
    Ok(server)
}

impl Place for OneProcess {
    fn engines(&self) -> Vec<SocketAddr> {
        vec![self.embedded.address()]
    }

    fn merchants(&self) -> &Merchants {
        &self.merchants
    }

    fn signer(&self) -> &TokenSigner {
        &self.signer
    }

    fn kill(&mut self, _everything: Process) -> anyhow::Result<()> {
        self.server.kill()?;
        self.server = serve(&self.embedded)?;
        Ok(())
    }

    fn evidence(&self, sale: &LoadSale, book: &Book) -> anyhow::Result<Evidence> {
        tokio::runtime::Runtime::new()?.block_on(async {
            let folder = DataFolder::new(self.embedded.data());
            let backends = EmbeddedBackends::open(&folder, Some(self.embedded.admin_address()), sale.lanes()).await?;
            settled_evidence(backends, sale, book).await
        })
    }
}

#[test]
fn a_sale_lives_from_a_draft_to_its_settlement_whatever_is_killed() {
    live(&mut OneProcess::open()).unwrap();
}

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
    folder::Folder,
    life::{Place, Process, live, settled_evidence},
    merchants::Merchants,
};

struct Embedded {
    folder: Folder,
    server: Child,
    merchants: Merchants,
    signer: TokenSigner,
}

impl Embedded {
    /// Nothing is on sale, and lanes retire a second after their sale's end.
    fn open() -> Self {
        let folder = Folder::new().unwrap();
        fs::write(folder.room().join("flashsale.toml"), "[lanes]\nsettling_s = 1\n").unwrap();
        let server = serve(&folder).unwrap();
        let key = fs::read_to_string(folder.data().join("control.key")).unwrap().trim().to_owned();
        let (merchants, signer) = (Merchants { address: folder.address(), key }, folder.signer().unwrap());
        Self { folder, server, merchants, signer }
    }
}

fn serve(folder: &Folder) -> anyhow::Result<Child> {
    let settings = folder.room().join("flashsale.toml").display().to_string();
    let mut server = folder.serve_with(&["--config", &settings, "--no-demo"])?;
    folder.wait_ready(&mut server)?;
    Ok(server)
}

impl Place for Embedded {
    fn engines(&self) -> Vec<SocketAddr> {
        vec![self.folder.address()]
    }

    fn merchants(&self) -> &Merchants {
        &self.merchants
    }

    fn signer(&self) -> &TokenSigner {
        &self.signer
    }

    fn kill(&mut self, _everything: Process) -> anyhow::Result<()> {
        self.server.kill()?;
        self.server = serve(&self.folder)?;
        Ok(())
    }

    fn evidence(&self, sale: &LoadSale, book: &Book) -> anyhow::Result<Evidence> {
        tokio::runtime::Runtime::new()?.block_on(async {
            let folder = DataFolder::new(self.folder.data());
            let backends = EmbeddedBackends::open(&folder, Some(self.folder.admin_address()), sale.lanes()).await?;
            settled_evidence(backends, sale, book).await
        })
    }
}

#[test]
fn a_sale_lives_from_a_draft_to_its_settlement_whatever_is_killed() {
    live(&mut Embedded::open()).unwrap();
}

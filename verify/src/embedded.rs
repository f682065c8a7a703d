//! The embedded deployment on a data folder of its own: one process, started and killed at will,
//! and the load test that buys and audits. It needs no server.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use kit::token::TokenSigner;
use loadtest::{
    audit::Evidence,
    backends::embedded::{DataFolder, EmbeddedBackends},
    durable::{Snapshot, Witness},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    child::{Child, wait_until},
    load_test::{self, LifeTest, LoadTest},
    merchants::Merchants,
    redis_server::free_port,
    services::{built, programs},
    wire::{self, READY, get},
};

/// The first offer of the demo sale.
const DEMO_OFFER: &str = "9001";

/// The data folder of a server, and its ports.
#[derive(Debug)]
pub struct Embedded {
    port: u16,
    admin: u16,
    temp: TempDir,
}

impl Embedded {
    /// One whose data folder does not exist yet. Builds the programs first, once.
    ///
    /// # Errors
    /// When something cannot be built.
    pub fn new() -> anyhow::Result<Self> {
        built()?;
        Ok(Self { port: free_port()?, admin: free_port()?, temp: tempfile::tempdir()? })
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.temp.path().join("data")
    }

    /// The temporary folder of the test, in which the data folder stands.
    pub fn scratch(&self) -> &Path {
        self.temp.path()
    }

    /// The program.
    pub fn program(&self) -> PathBuf {
        programs().join("flashsale")
    }

    /// The buyers' address.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// The second port's address.
    pub fn admin_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.admin).into()
    }

    /// A command of `flashsale` on its data folder.
    pub fn command(&self, command: &str) -> Command {
        self.command_by(Command::new(self.program()), command)
    }

    /// The same, run by another program that starts it: a tracer, a shell that sets limits.
    pub fn command_by(&self, mut starter: Command, command: &str) -> Command {
        starter.arg(command).arg("--data").arg(self.data()).env("RUST_BACKTRACE", "0");
        starter
    }

    /// What a command on the data folder prints.
    ///
    /// # Errors
    /// When it fails; what it says is in the error.
    pub fn run(&self, command: &str, arguments: &[&str]) -> anyhow::Result<String> {
        printed(self.command(command).args(arguments)).with_context(|| format!("flashsale {command}"))
    }

    /// The arguments of `serve` beside the data folder.
    pub fn ports(&self) -> [String; 4] {
        ["--port".into(), self.port.to_string(), "--admin-port".into(), self.admin.to_string()]
    }

    /// Starts the server; always on the same ports.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn serve(&self) -> anyhow::Result<Child> {
        self.serve_with(&[])
    }

    /// The same with these further arguments.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn serve_with(&self, arguments: &[&str]) -> anyhow::Result<Child> {
        let mut command = self.command("serve");
        command.args(self.ports()).args(arguments).env("RUST_LOG", "info");
        Child::start("flashsale", command, self.temp.path())
    }

    /// What a command prints that needs no data folder.
    ///
    /// # Errors
    /// When it fails.
    pub fn program_says(&self, command: &str) -> anyhow::Result<String> {
        printed(Command::new(self.program()).arg(command)).with_context(|| format!("flashsale {command}"))
    }

    /// The id of the key of buyers' tokens and its secret, for tokens that no issuer would sign.
    ///
    /// # Errors
    /// When there is no key.
    pub fn key(&self) -> anyhow::Result<(String, String)> {
        let text = std::fs::read_to_string(self.data().join("token.key"))?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            Ok::<_, anyhow::Error>(line.context("token.key has another form")?.trim_matches('"').to_owned())
        };
        Ok((value("kid")?, value("secret")?))
    }

    /// Signs tokens as the server expects them. It makes the key when it first starts.
    ///
    /// # Errors
    /// When there is no key.
    pub fn signer(&self) -> anyhow::Result<TokenSigner> {
        Ok(DataFolder::new(self.data()).signer()?)
    }

    /// What the order rows, the ledger and the lanes say, once nothing is under way. The first two
    /// are read from their files.
    ///
    /// # Errors
    /// When it does not come to rest, or something cannot be read.
    pub fn evidence(&self) -> anyhow::Result<Evidence> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (data, admin) = (DataFolder::new(self.data()), Some(self.admin_address()));
            let mut backends = EmbeddedBackends::open(&data, admin, Vec::new()).await?;
            let deadline = Instant::now() + READY;
            loop {
                let Snapshot { lag, journal, outstanding, .. } = backends.look().await?;
                if lag == 0 && journal == 0 {
                    break;
                }
                ensure!(Instant::now() < deadline, "not at rest: {outstanding:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let evidence = backends.evidence_of(&backends.all_lanes().await?).await?;
            backends.close().await;
            Ok(evidence)
        })
    }

    /// Publishes a sale file, by the program's own command.
    ///
    /// # Errors
    /// When it is refused.
    pub fn publish(&self, sale: &str) -> anyhow::Result<()> {
        let file = self.scratch().join(format!("{}.toml", uuid::Uuid::new_v4().simple()));
        std::fs::write(&file, sale)?;
        self.run("publish", &[&file.to_string_lossy()]).map(drop)
    }

    /// A token of this buyer in the demo's shop.
    ///
    /// # Errors
    /// When `flashsale token` makes none.
    pub fn token(&self, buyer: u64) -> anyhow::Result<String> {
        Ok(self.run("token", &[&buyer.to_string()])?.trim().to_owned())
    }

    /// Buys one unit of the demo's first offer. Status and body of the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn buy(&self, token: &str, key: &str) -> anyhow::Result<(u16, String)> {
        let body = format!("{{\"offer_id\":\"{DEMO_OFFER}\",\"quantity\":1}}");
        self.ask(&wire::purchase(token, key, &body))
    }

    /// Sends a request to the buyers' address. Status and body of the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&self, request: &str) -> anyhow::Result<(u16, String)> {
        let (status, _, body) = wire::ask(self.address(), request)?.answered()?;
        Ok((status, body))
    }

    /// The key of the second port and of the operator. The server makes it when it first starts.
    ///
    /// # Errors
    /// When there is none.
    pub fn control_key(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.data().join("control.key"))?.trim().to_owned())
    }

    /// Its merchants' service.
    ///
    /// # Errors
    /// As [`Self::control_key`].
    pub fn merchants(&self) -> anyhow::Result<Merchants> {
        Ok(Merchants { address: self.address(), key: self.control_key()? })
    }

    /// A page of the second port, for who shows the control key.
    ///
    /// # Errors
    /// When it is refused, or nobody answers.
    pub fn control(&self, path: &str) -> anyhow::Result<String> {
        let key = self.control_key()?;
        let request = format!("GET /{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n");
        let (status, _, body) = wire::ask(self.admin_address(), request)?.answered()?;
        ensure!(status == 200, "/{path}: {status} {body}");
        Ok(body)
    }

    /// The process of the server that works on the data folder, whoever started it.
    ///
    /// # Errors
    /// When there is none.
    pub fn running(&self) -> anyhow::Result<u32> {
        Ok(DataFolder::new(self.data()).running()?.pid)
    }

    /// Asks the server that works on the data folder to end, also where a tracer stands between.
    ///
    /// # Errors
    /// When there is none.
    pub fn terminate(&self) -> anyhow::Result<()> {
        let sent = Command::new("kill").arg(self.running()?.to_string()).status()?;
        ensure!(sent.success(), "the server cannot be asked to end");
        Ok(())
    }

    /// The whole answer of the server's probe.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn readiness(&self) -> anyhow::Result<String> {
        get(self.admin, "/readyz")
    }

    /// Waits until the server is ready to sell.
    ///
    /// # Errors
    /// When it is not in time, or ended.
    pub fn wait_ready(&self, server: &mut Child) -> anyhow::Result<()> {
        wait_until("the server is ready", READY, || {
            ensure!(server.ended()?.is_none(), "the server ended:\n{}", server.tail());
            Ok(get(self.admin, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")))
        })
    }

    /// Waits until the server has printed how to buy: the demo sells.
    ///
    /// # Errors
    /// When it does not in time, or ended.
    pub fn wait_selling(&self, server: &mut Child) -> anyhow::Result<()> {
        wait_until("the demo's sale is open", READY, || {
            ensure!(server.ended()?.is_none(), "the server ended:\n{}", server.tail());
            Ok(server.said("End it:"))
        })
    }

    /// Starts a load test against the server.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn load_test(&self, load: LoadTest) -> anyhow::Result<Child> {
        let mut command = Command::new(programs().join("loadtest"));
        command.env("RUST_BACKTRACE", "0").args(["--deployment", "embedded", "--data"]).arg(self.data());
        load.start(command, self.address(), self.temp.path())
    }

    /// Runs the load test's life of orders on a server of its own, on a data folder of its own.
    ///
    /// # Errors
    /// When it fails or finds damage.
    pub fn life(&self, life: LifeTest) -> anyhow::Result<Value> {
        let mut command = Command::new(programs().join("loadtest"));
        command.args(["--deployment", "embedded"]);
        life.run(command, self.temp.path())
    }

    /// Waits for a load test and returns its report.
    ///
    /// # Errors
    /// When it fails or finds damage.
    pub fn report_of(&self, load: Child) -> anyhow::Result<Value> {
        load_test::report_of(load, self.temp.path())
    }

    /// A figure of the server's metrics, summed over its labels.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn metric(&self, name: &str) -> anyhow::Result<f64> {
        load_test::metric(self.admin, name)
    }

    /// Waits until this process of the server has accepted so many orders.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_accepted(&self, orders: u64) -> anyhow::Result<()> {
        load_test::wait_accepted(self.admin, orders)
    }
}

fn printed(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

//! The simulated bank as a process of its own, and its cashier page at the buyers' URL. The bank
//! keeps its trades in memory: it is for trying out, and whoever ends it ends them.

use std::{net::SocketAddr, sync::Arc};

use clap::Args;
use kit::{
    client::Forward,
    clock::SystemClock,
    http::{Asked, Body, Both, Mount, Response, Service},
    ports::{SecondPort, listen},
    problem::{Code, Problem},
    settings::{AdminArgs, Secret},
    shutdown::on_signals,
};
use tokio_util::sync::CancellationToken;

use crate::simulator::{Bank, BankPort, SimulatedAccounts, Simulator};

/// What the bank is told.
#[derive(Debug, Args)]
pub struct BankServeArgs {
    /// Address at which order services reach it. Not for buyers.
    #[arg(long, env = "FLASHSALE_BANK_LISTEN", default_value = "127.0.0.1:8084")]
    pub listen: SocketAddr,

    /// Its secret: each account's is made of it. By the environment, or `file:PATH`.
    #[arg(long, env = "FLASHSALE_BANK_SECRET", hide_env_values = true)]
    pub bank_secret: Secret,

    /// The buyers' URL: there its page stands, and there it sends notices to.
    #[arg(long, env = "FLASHSALE_PUBLIC_URL", default_value = "http://127.0.0.1:8080")]
    pub public_url: String,

    /// The admin port.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Serves the bank until a signal.
///
/// # Errors
/// What a person can do about each stands in its text.
pub async fn serve_bank(args: BankServeArgs) -> anyhow::Result<()> {
    let stop = on_signals()?;
    let second = SecondPort::open(&args.admin)?;
    let listener = listen(args.listen)?;
    let (bank, origin) = (Bank::new(SystemClock::new()), args.public_url.trim_end_matches('/').to_owned());
    let accounts = SimulatedAccounts::new(bank.clone(), args.bank_secret, &origin);
    let port = BankPort(accounts.clone());
    let (wechat, alipay, simulated, accounts) = (None, None, Vec::new(), Some(accounts));
    let simulator = Arc::new(Simulator { bank, wechat, alipay, simulated, accounts, origin });
    let (notices, notices_stop) = (Arc::clone(&simulator), CancellationToken::new());
    let stopped = notices_stop.clone();
    let notices = tokio::spawn(async move { notices.deliver_until(stopped).await });
    second.serve(listener, Both(simulator, port), stop).await?;
    notices_stop.cancel();
    notices.await?;
    Ok(second.close().await?)
}

/// The bank's page, for buyers, who do not reach the bank itself; nothing without a bank.
#[derive(Debug, Clone)]
pub(super) struct Cashier(pub(super) Option<Forward>);

impl Service for Cashier {
    type Route = ();

    fn mounts() -> Vec<Mount<()>> {
        vec![
            Mount::get("/simulated/cashier/{account}/{*trade}", "cashier", ()),
            Mount::post("/simulated/cashier/{account}/{*trade}", "cashier_step", ()),
        ]
    }

    async fn answer(&self, _route: (), asked: Asked<'_>) -> Response<Body> {
        match &self.0 {
            Some(bank) => bank.answer(asked).await,
            None => Problem::new(Code::NotFound, "there is nothing at this path").to_response(),
        }
    }
}

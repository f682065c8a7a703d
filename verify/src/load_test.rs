//! The load test as a child process: it buys, and audits at the end.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{
    child::{Child, wait_until},
    wire::{READY, get},
};

/// How long a whole one may take.
const LIMIT: Duration = Duration::from_secs(240);
/// Its report, beside its log.
const REPORT: &str = "report.json";

/// How a load test is run.
#[derive(Debug, Clone, Copy)]
pub struct LoadTest {
    /// Scenario of the load test.
    pub scenario: &'static str,
    /// Units on sale.
    pub units: u64,
    /// Buyers.
    pub buyers: u32,
    /// Intended requests a second.
    pub rate: u32,
}

impl LoadTest {
    /// Starts it by a command that names the deployment, against the engine at this address.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(self, mut command: Command, engine: SocketAddr, folder: &Path) -> anyhow::Result<Child> {
        // The audit counts here, not the rate: there is nothing to compare it with.
        command.args([self.scenario, "--connections", "64", "--no-baselines", "--target", &format!("http://{engine}")]);
        command.args(["--units", &self.units.to_string(), "--buyers", &self.buyers.to_string()]);
        command.args(["--rate", &self.rate.to_string(), "--json"]).arg(folder.join(REPORT));
        Child::start("loadtest", command, folder)
    }
}

/// The scenario `life`, which starts all that it needs.
#[derive(Debug, Clone, Copy)]
pub struct LifeTest {
    /// Orders.
    pub buyers: u32,
    /// Buyers who come at once.
    pub at_once: u32,
    /// What fails amid it.
    pub fault: Option<&'static str>,
}

impl LifeTest {
    /// Runs it by a command that names the deployment, and returns its report.
    ///
    /// # Errors
    /// When it fails or finds damage.
    pub(crate) fn run(self, mut command: Command, folder: &Path) -> anyhow::Result<Value> {
        // The programs are built already.
        command.env_remove("CARGO").env("RUST_BACKTRACE", "0");
        command.args(["life", "--no-baselines", "--buyers", &self.buyers.to_string()]);
        command.args(["--connections", &self.at_once.to_string()]);
        command.args(self.fault.into_iter().flat_map(|fault| ["--fault", fault]));
        command.arg("--json").arg(folder.join(REPORT));
        report_of(Child::start("loadtest", command, folder)?, folder)
    }
}

/// Waits for a load test and returns the report that it wrote to its folder.
///
/// # Errors
/// When it fails or finds damage.
pub(crate) fn report_of(mut load: Child, folder: &Path) -> anyhow::Result<Value> {
    let status = load.wait(LIMIT)?;
    ensure!(status.success(), "the load test ended with {status}:\n{}", load.tail());
    let text = std::fs::read_to_string(folder.join(REPORT)).context("the load test left no report")?;
    Ok(serde_json::from_str(&text)?)
}

/// A figure of the metrics of a second port, summed over its labels.
///
/// # Errors
/// When nobody answers there.
pub(crate) fn metric(admin: u16, name: &str) -> anyhow::Result<f64> {
    let metrics = get(admin, "/metrics")?;
    let values = metrics.lines().filter(|line| line.starts_with(name) && line[name.len()..].starts_with([' ', '{']));
    Ok(values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// Waits until the process with this second port has accepted so many orders.
///
/// # Errors
/// When it does not in time.
pub(crate) fn wait_accepted(admin: u16, orders: u64) -> anyhow::Result<()> {
    let orders = f64::from(u32::try_from(orders)?);
    wait_until("orders are accepted", READY, || Ok(metric(admin, "flashsale_accepted_total").unwrap_or(0.0) >= orders))
}

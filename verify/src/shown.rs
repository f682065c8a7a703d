//! What running programs show, held against what alerts and dashboards rest on.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};

use crate::child::Child;

/// Holds the metrics of a running program of ours against `ops/metrics.tsv`.
///
/// # Errors
/// When it shows one that is not there, or with another type or further labels.
pub fn metrics_are_known(process: &Child) -> anyhow::Result<()> {
    let command = fs::read_to_string(format!("/proc/{}/cmdline", process.id()))?;
    let mut arguments = command.split('\0');
    let program = arguments.next().and_then(|path| Path::new(path).file_name()?.to_str()).context("no program")?;
    // `--admin-addr 127.0.0.1:9464`, or `--admin-port 9464`.
    let admin = arguments.skip_while(|argument| !argument.starts_with("--admin-")).nth(1).context("no second port")?;
    let port = admin.rsplit(':').next().unwrap_or(admin);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../ops/test");
    let held = Command::new(script).args(["--compare", &format!("{program}=http://127.0.0.1:{port}")]).output()?;
    ensure!(held.status.success(), "{program}: {}", String::from_utf8_lossy(&held.stdout));
    Ok(())
}

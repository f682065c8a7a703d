//! The fixed answer: a server of its own that always refuses, asked by the same generator over as
//! many connections.

use std::{net::SocketAddr, process::Stdio, sync::Arc, time::Duration};

use kit::{
    clock::{Clock, SystemClock},
    http::free_address,
};
use tokio::{net::TcpStream, process::Command};

use crate::{
    fixed_answer::COMMAND,
    generator::{self, GeneratorError, Load, Meters},
    plan::{Attempt, Conduct},
    tally::Figures,
};

/// How long it is asked.
const MEASURED: Duration = Duration::from_secs(3);
/// More than can be answered in that time.
const SENDS: usize = 1_000_000;
/// How long it may take to listen.
const READY_DEADLINE: Duration = Duration::from_secs(10);
/// Between attempts to connect.
const POLL: Duration = Duration::from_millis(10);

/// Why there is no rate.
#[derive(Debug, thiserror::Error)]
pub enum FixedError {
    /// The server did not start.
    #[error("the fixed answer: its server could not be started: {0}; --no-baselines leaves this out")]
    Start(#[from] std::io::Error),
    /// The server ended, or never listened.
    #[error("the fixed answer: its server does not listen; --no-baselines leaves this out")]
    Silent,
    /// It could not be asked.
    #[error("the fixed answer: {0}")]
    Generator(#[from] GeneratorError),
    /// Something else than the refusal came.
    #[error("the fixed answer: {0} of {1} answers were none; --no-baselines leaves this out")]
    Faults(u64, u64),
}

/// Requests a second that a server of constant refusals answers on `threads` threads. `load` gives
/// requests, connections and generator threads; its buyers ask in turn, as often as there is time.
///
/// # Errors
/// [`FixedError`] when there is no rate.
pub async fn fixed_answer(load: &Load, threads: usize, clock: SystemClock) -> Result<Option<f64>, FixedError> {
    let address = free_address()?;
    let mut server = Command::new(std::env::current_exe()?)
        .args([COMMAND, &address.to_string(), &threads.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    wait_listening(address, clock).await?;
    let buyers = load.sends.iter().map(|attempt| attempt.buyer);
    let sends: Arc<[Attempt]> =
        buyers.cycle().take(SENDS).map(|buyer| Attempt { buyer, conduct: Conduct::Read }).collect();
    // No questions before: it knows no other answer.
    let load = Load { target: address, sends, rate: None, sending: MEASURED, warm_up: 0, ..load.clone() };
    let generator = generator::warm_up(load, &Arc::new(Meters::default()), clock).await?;
    let run = generator.run(clock.monotonic()).await?;
    server.kill().await?;
    let figures = Figures::of(&run);
    match figures.sent - figures.refused() {
        0 => Ok(figures.refused_per_s),
        faults => Err(FixedError::Faults(faults, figures.sent)),
    }
}

async fn wait_listening(address: SocketAddr, clock: SystemClock) -> Result<(), FixedError> {
    let deadline = clock.monotonic() + READY_DEADLINE;
    while TcpStream::connect(address).await.is_err() {
        if clock.monotonic() >= deadline {
            return Err(FixedError::Silent);
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

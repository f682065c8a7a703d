//! How a process is asked to end: the first signal cancels a token, the second ends the process at
//! once. What ending means (which listener first, which queue last) is the business of each
//! `main.rs`.

use std::fs;
use std::future::{self, Future};
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

/// Listens for SIGTERM, SIGINT and SIGHUP and returns the token the first of them cancels. A second
/// SIGTERM or SIGINT exits the process with [`Exit::Impatient`] at once, without any drain. A
/// second SIGHUP does nothing: a terminal that closes sends several. A process that was started
/// with SIGHUP ignored (`nohup`) goes on ignoring it.
///
/// The runtime this is called on must live as long as the process should listen.
///
/// # Errors
///
/// When the signal handlers cannot be installed. Panics, as tokio does, outside a runtime with IO
/// enabled.
pub fn on_signals() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = if is_ignored(SignalKind::hangup()) { None } else { Some(signal(SignalKind::hangup())?) };
    let token = CancellationToken::new();
    let told = token.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            name = next_of(&mut terminate, &mut interrupt) => name,
            () = next_hangup(&mut hangup) => "SIGHUP",
        };
        told.cancel();
        tracing::info!(signal = name, "shutting down; a second signal ends at once");
        let name = next_of(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = name, "second signal, ending without drain");
        Exit::Impatient.now();
    });
    Ok(token)
}

/// Waits for `work` to finish, at most `deadline`, and says which part of the shutdown was cut if
/// it was. Returns what the work returned, or `None` when time ran out; the work is dropped then.
pub async fn drain_within<F: Future>(part: &'static str, deadline: Duration, work: F) -> Option<F::Output> {
    match tokio::time::timeout(deadline, work).await {
        Ok(output) => Some(output),
        Err(_elapsed) => {
            tracing::warn!(part, deadline_ms = deadline.as_millis(), "drain cut at its deadline");
            None
        }
    }
}

async fn next_of(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

async fn next_hangup(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => future::pending().await,
    }
}

/// Whether whoever started this process had it ignore the signal: bit number - 1 of the mask that
/// Linux shows of a process. Elsewhere nothing shows it, and the signal is listened for.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_within_its_deadline_hands_back_its_result() {
        assert_eq!(drain_within("test", Duration::from_secs(1), async { 7 }).await, Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn work_past_its_deadline_is_cut() {
        let never = std::future::pending::<()>();
        assert_eq!(drain_within("test", Duration::from_secs(1), never).await, None);
    }
}

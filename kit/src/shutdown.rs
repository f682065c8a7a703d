//! How a process is asked to end: the first signal cancels a token, the second ends the process at once.
//! What ending means (which listener first, which queue last) is the business of each `main.rs`.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit status after a second signal: 128 + SIGINT, whichever signal it was.
pub const EXIT_IMPATIENT: i32 = 130;

/// Listens for SIGTERM and SIGINT and returns the token the first of them cancels. A second signal exits the
/// process with [`EXIT_IMPATIENT`] at once, without any drain.
///
/// The runtime this is called on must live as long as the process should listen.
///
/// # Errors
///
/// When the signal handlers cannot be installed. Panics, as tokio does, outside a runtime with IO enabled.
pub fn on_signals() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let told = token.clone();
    tokio::spawn(async move {
        let name = next_of(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = name, "shutting down; a second signal ends at once");
        told.cancel();
        let name = next_of(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = name, "second signal, ending without drain");
        std::process::exit(EXIT_IMPATIENT);
    });
    Ok(token)
}

/// Waits for `work` to finish, at most `deadline`, and says which part of the shutdown was cut if it was.
/// Returns what the work returned, or `None` when time ran out; the work is dropped then.
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

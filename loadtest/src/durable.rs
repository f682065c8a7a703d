//! When everything is durable: the log decided to its end and the journals empty. It asks a witness and waits; who that is,
//! it does not know.

use std::{future::Future, time::Duration};

use kit::clock::Clock;
use serde::Deserialize;

/// How long everything may take to become durable once the last answer is there. Batches of which only the journal knows wait
/// for the sweeper.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// Between looks.
const POLL: Duration = Duration::from_millis(25);
/// At rest is what was at rest in looks so far apart: a request whose client is gone may still be on its way.
const REST: Duration = Duration::from_millis(300);

/// How far the system is, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Standing {
    /// Units sold by the ledger.
    pub sold: u64,
    /// Records of the log that are not decided.
    pub lag: u64,
    /// Entries of the journals.
    pub journal: u64,
    /// Where `lag` and `journal` come from, for people.
    pub outstanding: Vec<String>,
}

impl Standing {
    fn is_at_rest(&self) -> bool {
        self.lag == 0 && self.journal == 0
    }
}

/// The witness cannot tell.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unseen(pub String);

/// Who can see how far the system is.
pub trait Witness {
    /// How far it is now.
    fn look(&mut self) -> impl Future<Output = Result<Standing, Unseen>>;
}

/// How the wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// Whether everything is durable.
    pub reached: bool,
    /// When the ledger's sold last changed, by the clock's monotonic time, as far as looks tell.
    pub last_change: Duration,
    /// The last look.
    pub standing: Standing,
}

/// Waits until everything is durable, at most until `deadline` by the clock's monotonic time. `sold` and `since`: what
/// was seen last, and when. `show` is shown every look.
///
/// # Errors
/// [`Unseen`] when the last look before the deadline failed; earlier failures are looked past.
pub async fn wait(
    witness: &mut impl Witness,
    clock: &impl Clock,
    (sold, since): (u64, Duration),
    deadline: Duration,
    mut show: impl FnMut(&Standing),
) -> Result<Rest, Unseen> {
    let (mut sold, mut last_change) = (sold, since);
    let mut at_rest_since = None;
    loop {
        let looked = witness.look().await;
        let now = clock.monotonic();
        if let Ok(standing) = looked {
            show(&standing);
            if standing.sold != sold {
                (sold, last_change) = (standing.sold, now);
                at_rest_since = None;
            }
            at_rest_since = standing.is_at_rest().then(|| at_rest_since.unwrap_or(now));
            let reached = at_rest_since.is_some_and(|since| now.saturating_sub(since) >= REST);
            if reached || now >= deadline {
                return Ok(Rest { reached, last_change, standing });
            }
        } else if now >= deadline {
            looked?;
        } else {
            at_rest_since = None;
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use kit::clock::ManualClock;

    use super::*;

    /// A system that goes through these looks, 100 ms each, and stays at the last.
    struct Script {
        looks: Vec<Option<(u64, u64, u64)>>,
        at: usize,
        clock: ManualClock,
    }

    impl Witness for Script {
        async fn look(&mut self) -> Result<Standing, Unseen> {
            self.clock.advance(Duration::from_millis(100));
            let look = self.looks[self.at.min(self.looks.len() - 1)];
            self.at += 1;
            let (sold, lag, journal) = look.ok_or(Unseen("away".into()))?;
            Ok(Standing { sold, lag, journal, outstanding: vec![] })
        }
    }

    async fn waited(looks: &[Option<(u64, u64, u64)>], deadline_ms: u64) -> Result<Rest, Unseen> {
        let clock = ManualClock::new(0);
        let mut script = Script { looks: looks.to_vec(), at: 0, clock: clock.clone() };
        wait(&mut script, &clock, (0, Duration::ZERO), Duration::from_millis(deadline_ms), |_| ()).await
    }

    #[tokio::test]
    async fn rest_is_no_lag_and_no_journal_for_a_while() {
        let rest = waited(&[Some((5, 3, 1)), None, Some((9, 0, 1)), Some((9, 0, 0))], 10_000).await.unwrap();
        assert!(rest.reached);
        assert_eq!(rest.last_change, Duration::from_millis(300), "the third look saw the last row");
    }

    /// A request whose client is gone comes out of the engine late.
    #[tokio::test]
    async fn a_moment_of_quiet_is_not_rest() {
        let looks = [Some((5, 0, 0)), Some((5, 0, 1)), Some((6, 0, 0))];
        let rest = waited(&looks, 10_000).await.unwrap();
        assert_eq!((rest.reached, rest.standing.sold), (true, 6));
        assert_eq!(rest.last_change, Duration::from_millis(300));
    }

    #[tokio::test]
    async fn what_never_rests_is_told_at_the_deadline() {
        let rest = waited(&[Some((5, 0, 2))], 1_000).await.unwrap();
        assert_eq!((rest.reached, rest.standing.journal), (false, 2));
        assert!(waited(&[Some((5, 1, 0)), None], 1_000).await.is_err());
    }
}

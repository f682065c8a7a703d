//! When everything is durable: the log decided to its end and the journals empty. It asks a witness
//! and waits; who that is, it does not know.

use std::{collections::BTreeMap, future::Future, time::Duration};

use kit::clock::Clock;
use serde::{Deserialize, Serialize};

/// How long everything may take to become durable once the last answer is there. Batches of which
/// only the journal knows wait for the sweeper.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// How long a partition may stand at one record before it counts as stuck: an order-writer says so
/// itself after 5 s.
const STUCK_AFTER: Duration = Duration::from_secs(6);
/// How long an audit waits for what is under way.
const AUDIT_PATIENCE: Duration = Duration::from_secs(20);
/// Between looks.
const POLL: Duration = Duration::from_millis(25);
/// At rest is what was at rest in looks so far apart: a request whose client is gone may still be
/// on its way.
const REST: Duration = Duration::from_millis(300);

/// How far the system is, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Snapshot {
    /// Units sold by the ledger.
    pub sold: u64,
    /// Records of the log that are not decided.
    pub lag: u64,
    /// Entries of the journals.
    pub journal: u64,
    /// Where `lag` and `journal` come from, for people.
    pub outstanding: Vec<String>,
    /// How far each partition is.
    #[serde(default)]
    pub partitions: Vec<PartitionPosition>,
    /// Partitions that stand still by their worker's own word, with its cause.
    #[serde(default)]
    pub stalled: Vec<String>,
}

/// How far a partition is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionPosition {
    /// Its number.
    pub partition: u32,
    /// The next offset to decide.
    pub next: u64,
    /// Records from there on.
    pub lag: u64,
}

impl Snapshot {
    fn is_at_rest(&self) -> bool {
        self.lag == 0 && self.journal == 0
    }
}

/// The witness cannot see how far the system is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LookFailed(pub String);

/// Who can see how far the system is.
pub trait Witness {
    /// How far it is now.
    fn look(&mut self) -> impl Future<Output = Result<Snapshot, LookFailed>>;
}

/// How the wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// Whether everything is durable.
    pub reached: bool,
    /// When the ledger's sold last changed, by the clock's monotonic time, as far as looks show.
    pub last_change: Duration,
    /// The last look.
    pub snapshot: Snapshot,
}

/// Waits until everything is durable, at most until `deadline` by the clock's monotonic time.
/// `sold` and `since`: what was seen last, and when. `show` is shown every look.
///
/// # Errors
/// [`LookFailed`] when the last look before the deadline failed; earlier failures are looked past.
pub async fn wait(
    witness: &mut impl Witness,
    clock: &impl Clock,
    (sold, since): (u64, Duration),
    deadline: Duration,
    mut show: impl FnMut(&Snapshot),
) -> Result<Rest, LookFailed> {
    let (mut sold, mut last_change) = (sold, since);
    let mut at_rest_since = None;
    loop {
        let looked = witness.look().await;
        let now = clock.monotonic();
        if let Ok(snapshot) = looked {
            show(&snapshot);
            if snapshot.sold != sold {
                (sold, last_change) = (snapshot.sold, now);
                at_rest_since = None;
            }
            at_rest_since = snapshot.is_at_rest().then(|| at_rest_since.unwrap_or(now));
            let reached = at_rest_since.is_some_and(|since| now.saturating_sub(since) >= REST);
            if reached || now >= deadline {
                return Ok(Rest { reached, last_change, snapshot });
            }
        } else if now >= deadline {
            looked?;
        } else {
            at_rest_since = None;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Why there is nothing to compare yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAtRest {
    /// It goes on.
    #[error("orders are still under way, so there is nothing to compare yet:\n{}", .0.join("\n"))]
    UnderWay(Vec<String>),
    /// It does not go on by itself.
    #[error("records wait and are not decided, so there is nothing to compare:\n{}", .0.join("\n"))]
    Stuck(Vec<String>),
    /// The witness cannot see it.
    #[error("{0}")]
    LookFailed(String),
}

/// Waits for rest as long as something moves; separates what is under way from what is stuck.
///
/// # Errors
/// [`NotAtRest`].
pub async fn rest(witness: &mut impl Witness, clock: &impl Clock) -> Result<(), NotAtRest> {
    let begun = clock.monotonic();
    let mut seen: BTreeMap<u32, (u64, Duration)> = BTreeMap::new();
    loop {
        let snapshot = witness.look().await.map_err(|LookFailed(why)| NotAtRest::LookFailed(why))?;
        if snapshot.is_at_rest() {
            return Ok(());
        }
        let now = clock.monotonic();
        let mut stuck = snapshot.stalled.clone();
        for PartitionPosition { partition, next, lag } in snapshot.partitions {
            let (at, since) = seen.entry(partition).or_insert((next, now));
            if *at != next || lag == 0 {
                (*at, *since) = (next, now);
            }
            let still = now.saturating_sub(*since);
            if still >= STUCK_AFTER {
                let why = "the probe /readyz of its order-writer says why, if one runs";
                stuck.push(format!(
                    "partition {partition} stands at {next} for {} s, {lag} wait: {why}",
                    still.as_secs()
                ));
            }
        }
        if !stuck.is_empty() {
            return Err(NotAtRest::Stuck(stuck));
        }
        if now.saturating_sub(begun) >= AUDIT_PATIENCE {
            return Err(NotAtRest::UnderWay(snapshot.outstanding));
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
        async fn look(&mut self) -> Result<Snapshot, LookFailed> {
            self.clock.advance(Duration::from_millis(100));
            let look = self.looks[self.at.min(self.looks.len() - 1)];
            self.at += 1;
            let (sold, lag, journal) = look.ok_or(LookFailed("away".into()))?;
            let partitions = vec![PartitionPosition { partition: 0, next: sold, lag }];
            Ok(Snapshot { sold, lag, journal, partitions, ..Snapshot::default() })
        }
    }

    async fn waited(looks: &[Option<(u64, u64, u64)>], deadline_ms: u64) -> Result<Rest, LookFailed> {
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
        assert_eq!((rest.reached, rest.snapshot.sold), (true, 6));
        assert_eq!(rest.last_change, Duration::from_millis(300));
    }

    async fn audited(looks: &[Option<(u64, u64, u64)>]) -> Result<(), NotAtRest> {
        let clock = ManualClock::new(0);
        rest(&mut Script { looks: looks.to_vec(), at: 0, clock: clock.clone() }, &clock).await
    }

    /// Moving is under way, and snapshot still with records behind it is stuck, as soon as either
    /// is certain.
    #[tokio::test(start_paused = true)]
    async fn an_audit_tells_under_way_from_stuck() {
        assert_eq!(audited(&[Some((5, 3, 1)), Some((6, 2, 0)), Some((8, 0, 0))]).await, Ok(()));
        let stuck = audited(&[Some((5, 3, 0)), Some((6, 2, 0))]).await;
        assert!(
            matches!(&stuck, Err(NotAtRest::Stuck(stuck)) if stuck[0].starts_with("partition 0 stands at 6 for 6 s, 2 wait"))
        );
        let moves: Vec<_> = (1..1_000).map(|sold| Some((sold, 7, 0))).collect();
        assert!(matches!(audited(&moves).await, Err(NotAtRest::UnderWay(_))));
        assert!(matches!(audited(&[Some((5, 0, 2))]).await, Err(NotAtRest::UnderWay(_))), "sweepers take their time");
        assert!(matches!(audited(&[None]).await, Err(NotAtRest::LookFailed(_))));
    }

    #[tokio::test]
    async fn what_never_rests_is_returned_at_the_deadline() {
        let rest = waited(&[Some((5, 0, 2))], 1_000).await.unwrap();
        assert_eq!((rest.reached, rest.snapshot.journal), (false, 2));
        assert!(waited(&[Some((5, 1, 0)), None], 1_000).await.is_err());
    }
}

//! What somebody has to look at, as metrics: a scheduled action that failed, a sale that opens soon
//! and is not ready, a publication that does not get through. Counts are of this process; what is
//! counted in the database is the same in every process, and after a start.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use kit::metrics::{Kind, MetricsError, Registry};
use store::sql::{Sql, SqlError, Value, stored};

use crate::{
    readiness::{AHEAD_MS, Report},
    refused::Refused,
};

/// What should be done by now is late after so long.
const LATE_MS: u64 = 60_000;
/// How long a failed action is told: somebody looks once a day.
const FAILED_MS: u64 = 24 * 3_600_000;
/// Sales about to open that are looked at.
const OPENING_MAX: u32 = 1_000;

const FAILED: &str = "SELECT COUNT(*) FROM sale_actions WHERE is_open = 0 AND next_at > ? AND state = 'failed'";
const ACTIONS_LATE: &str = "SELECT COUNT(*) FROM sale_actions WHERE is_open = 1 AND next_at <= ?";
const SALES_LATE: &str = "SELECT COUNT(*) FROM sales WHERE is_due = 1 AND updated_at <= ?";
const NEWEST_KEY: &str = "SELECT created_at FROM signing_keys ORDER BY created_at DESC LIMIT 1";
const OPENING: &str = "SELECT r.report FROM sales s JOIN sale_reports r ON r.tenant = s.tenant AND r.sale = s.sale \
                       WHERE s.opens_at > ? AND s.opens_at <= ? AND s.published > 0 AND s.is_settled = 0 \
                       ORDER BY s.opens_at LIMIT ?";

/// A figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alarm {
    ActionDone,
    ActionRetried,
    ActionFailed,
    ChoreFailed,
    ActionsFailed,
    ActionsLate,
    SalesLate,
    SalesNotReady,
    SigningKeyAge,
}

use Alarm::{
    ActionDone, ActionFailed, ActionRetried, ActionsFailed, ActionsLate, ChoreFailed, SalesLate, SalesNotReady,
    SigningKeyAge,
};

const ACTIONS: &str = "Attempts at scheduled actions, by what came of them.";

/// How each is shown: kind, name, help, and what came of it where that is told apart.
const SHOWN: [(Alarm, Kind, &str, &str, Option<&str>); 9] = [
    (ActionDone, Kind::Counter, "sale_actions_total", ACTIONS, Some("done")),
    (ActionRetried, Kind::Counter, "sale_actions_total", ACTIONS, Some("retried")),
    (ActionFailed, Kind::Counter, "sale_actions_total", ACTIONS, Some("failed")),
    (ChoreFailed, Kind::Counter, "housekeeping_failures_total", "Rounds of housekeeping that failed.", None),
    (ActionsFailed, Kind::Gauge, "sale_actions_failed", "Scheduled actions that failed for good in a day.", None),
    (ActionsLate, Kind::Gauge, "sale_actions_late", "Scheduled actions that are due for a minute.", None),
    (SalesLate, Kind::Gauge, "sales_late", "Sales whose terms are due to be published for a minute.", None),
    (SalesNotReady, Kind::Gauge, "sales_not_ready", "Sales that open in ten minutes and have red findings.", None),
    (SigningKeyAge, Kind::Gauge, "signing_key_age_seconds", "Age of the newest key that signs people's tokens.", None),
];

/// All figures. Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub struct Alarms(Arc<[AtomicU64; SHOWN.len()]>);

impl Alarms {
    /// Shows them in this registry.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn show(&self, registry: &Registry) -> Result<(), MetricsError> {
        let figures = self.clone();
        registry.sampled(move |samples| {
            for (alarm, kind, name, help, outcome) in SHOWN {
                let labels: Vec<_> = outcome.map(|outcome| ("outcome", outcome)).into_iter().collect();
                samples.add(kind, name, help, &labels, figures.of(alarm).load(Ordering::Relaxed) as f64);
            }
        })
    }

    /// One more.
    pub(crate) fn count(&self, alarm: Alarm) {
        self.of(alarm).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what stands in the database.
    ///
    /// # Errors
    /// [`Refused::Sql`]; the next round goes on, and the figures stay as they were.
    pub(crate) async fn look<S: Sql>(&self, sql: &S, now_ms: u64) -> Result<(), Refused> {
        let late_ms = now_ms.saturating_sub(LATE_MS);
        let counted = [
            (ActionsFailed, FAILED, now_ms.saturating_sub(FAILED_MS)),
            (ActionsLate, ACTIONS_LATE, late_ms),
            (SalesLate, SALES_LATE, late_ms),
        ];
        for (alarm, query, from_ms) in counted {
            let rows = sql.rows(query, vec![stored(from_ms)?.into()]).await?;
            let row = rows.into_iter().next();
            self.set(alarm, row.ok_or_else(|| SqlError::Broken("a count gave no row".into()))?.number()?);
        }
        let newest = sql.rows(NEWEST_KEY, vec![]).await?.into_iter().next();
        let newest: Option<u64> = newest.map(|mut row| row.number()).transpose()?;
        self.set(SigningKeyAge, newest.map_or(0, |made_ms| now_ms.saturating_sub(made_ms) / 1_000));
        let times: Vec<Value> = vec![stored(now_ms)?.into(), stored(now_ms + AHEAD_MS)?.into(), OPENING_MAX.into()];
        let mut red = 0;
        for mut row in sql.rows(OPENING, times).await? {
            red += u64::from(!Report::read(&row.text()?)?.is_ready);
        }
        self.set(SalesNotReady, red);
        Ok(())
    }

    fn set(&self, alarm: Alarm, value: u64) {
        self.of(alarm).store(value, Ordering::Relaxed);
    }

    fn of(&self, alarm: Alarm) -> &AtomicU64 {
        // As many as there are alarms.
        &self.0[alarm as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each figure has its own place, and all of them are shown before anything happened.
    #[test]
    fn every_alarm_is_shown_under_a_name_of_its_own() {
        let (alarms, registry) = (Alarms::default(), Registry::new().unwrap());
        alarms.show(&registry).unwrap();
        for (place, (alarm, ..)) in SHOWN.into_iter().enumerate() {
            assert_eq!(alarm as usize, place);
            (0..=place).for_each(|_| alarms.count(alarm));
        }
        let text = registry.render().unwrap();
        for (place, (_, _, name, _, outcome)) in SHOWN.into_iter().enumerate() {
            let labels = outcome.map(|outcome| format!("{{outcome=\"{outcome}\"}}")).unwrap_or_default();
            let line = format!("flashsale_{name}{labels} {}", place + 1);
            assert!(text.lines().any(|shown| shown == line), "{line} is missing from:\n{text}");
        }
    }
}

//! Requests counted in memory until they are written.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kit::access::Who;
use tokio::sync;

/// Counts by tenant and month: as many as there are tenants, at most, and those of the month before
/// for some seconds. Each has as many actors as the tenant has people and keys.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    months: Mutex<HashMap<(u32, u32), Counted>>,
    /// Whoever writes holds it, so that no count is written twice.
    writing: sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Counted {
    /// What the database holds, as last read.
    stored: u64,
    /// What is not written yet: all of it, and by actor.
    waiting: u64,
    by_actor: HashMap<Who, u64>,
}

/// A count that is not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) tenant: u32,
    pub(crate) month: u32,
    pub(crate) who: Who,
    /// As it is written.
    pub(crate) actor: String,
    pub(crate) count: u64,
}

impl Meter {
    fn months(&self) -> MutexGuard<'_, HashMap<(u32, u32), Counted>> {
        self.months.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was told what the database holds.
    pub(crate) fn knows(&self, tenant: u32, month: u32) -> bool {
        self.months().contains_key(&(tenant, month))
    }

    /// Takes in what the database holds now.
    pub(crate) fn learn(&self, tenant: u32, month: u32, stored: u64) {
        self.months().entry((tenant, month)).or_default().stored = stored;
    }

    /// Counts one, unless `limit` are used.
    ///
    /// # Errors
    /// How many are used.
    pub(crate) fn count(&self, tenant: u32, month: u32, who: Who, limit: Option<u64>) -> Result<(), u64> {
        let mut months = self.months();
        let counted = months.entry((tenant, month)).or_default();
        let used = counted.stored + counted.waiting;
        if limit.is_some_and(|limit| used >= limit) {
            return Err(used);
        }
        counted.waiting += 1;
        *counted.by_actor.entry(who).or_default() += 1;
        Ok(())
    }

    /// Waits until nobody else writes; whoever has the turn may.
    pub(crate) async fn turn(&self) -> sync::MutexGuard<'_, ()> {
        self.writing.lock().await
    }

    /// All that waits, in the order of the rows.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        let months = self.months();
        let mut all: Vec<_> = months
            .iter()
            .flat_map(|(&(tenant, month), counted)| {
                let one = move |(&who, &count)| Waiting { tenant, month, who, actor: Who::to_string(&who), count };
                counted.by_actor.iter().map(one)
            })
            .collect();
        all.sort_unstable_by(|one, other| {
            (one.tenant, one.month, &one.actor).cmp(&(other.tenant, other.month, &other.actor))
        });
        all
    }

    /// Takes away what was written.
    pub(crate) fn written(&self, part: &[Waiting]) {
        let mut months = self.months();
        for written in part {
            let Some(counted) = months.get_mut(&(written.tenant, written.month)) else { continue };
            // Until it is read again.
            counted.stored += written.count;
            counted.waiting -= written.count.min(counted.waiting);
            if let Some(count) = counted.by_actor.get_mut(&written.who) {
                *count -= written.count.min(*count);
            }
            counted.by_actor.retain(|_, count| *count > 0);
        }
    }

    /// Forgets the months before this one, of which nothing waits.
    pub(crate) fn forget_before(&self, month: u32) {
        self.months().retain(|(_, known), counted| *known >= month || counted.waiting > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Who = Who::Key(3);

    #[test]
    fn what_is_counted_while_others_are_written_is_not_lost() {
        let meter = Meter::default();
        meter.learn(1, 202_611, 10);
        assert_eq!(meter.count(1, 202_611, WHO, Some(12)), Ok(()));
        let waiting = meter.waiting();
        assert_eq!(meter.count(1, 202_611, WHO, Some(12)), Ok(()));
        assert_eq!(meter.count(1, 202_611, WHO, Some(12)), Err(12));
        meter.written(&waiting);
        assert_eq!(meter.count(1, 202_611, WHO, Some(12)), Err(12));
        assert_eq!(meter.waiting()[0].count, 1);
        meter.written(&meter.waiting());
        assert_eq!((meter.waiting(), meter.count(1, 202_611, WHO, Some(12))), (vec![], Err(12)));
    }

    #[test]
    fn a_month_is_forgotten_when_it_is_over_and_written() {
        let meter = Meter::default();
        meter.count(1, 202_611, WHO, None).unwrap();
        meter.forget_before(202_612);
        assert!(meter.knows(1, 202_611), "something waits");
        meter.written(&meter.waiting());
        meter.forget_before(202_612);
        assert!(!meter.knows(1, 202_611));
    }
}

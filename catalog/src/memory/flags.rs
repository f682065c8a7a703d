//! Tenants' flags as they were last read.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long a tenant's flags are taken as they were last read.
const FRESH: Duration = Duration::from_secs(5);

/// Tenants whose flags are remembered, at most; beyond that all are forgotten.
const TENANTS_MAX: usize = 10_000;

/// Whether a tenant has a flag, by its code.
pub(crate) type Flags = Arc<BTreeMap<String, bool>>;

/// What was read of tenants' flags, and when.
#[derive(Debug, Default)]
pub(crate) struct KnownFlags {
    tenants: Mutex<HashMap<u32, (Duration, Flags)>>,
}

impl KnownFlags {
    pub(crate) fn known(&self, tenant: u32, now: Duration) -> Option<Flags> {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, flags) = tenants.get(&tenant)?;
        (now.saturating_sub(*read_at) < FRESH).then(|| Arc::clone(flags))
    }

    pub(crate) fn learn(&self, tenant: u32, now: Duration, flags: Flags) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= TENANTS_MAX {
            tenants.clear();
        }
        tenants.insert(tenant, (now, flags));
    }

    pub(crate) fn forget(&self) {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

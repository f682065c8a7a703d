//! The keys of a lane: all with the hash tag `{lane}`, so that they stand on one node of a cluster.

use std::sync::Arc;

use domain::id::LaneId;

/// Makes the keys of a deployment.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    namespace: Arc<str>,
}

impl Keys {
    pub(super) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.into() }
    }

    /// State, buyers, journal, due.
    pub(super) fn all(&self, lane: LaneId) -> [String; 4] {
        ["state", "buyers", "journal", "due"].map(|part| format!("{}:{{{lane}}}:{part}", self.namespace))
    }
}

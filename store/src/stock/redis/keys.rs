//! The keys of a lane: all with the hash tag `{lane}`, so that they stand on one node of a cluster.

use std::{fmt, sync::Arc};

use domain::id::LaneId;

/// What every script gets, in this order.
pub(super) const PARTS: [&str; 4] = ["state", "buyers", "journal", "due"];

/// Makes the keys of a deployment.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    namespace: Arc<str>,
}

impl Keys {
    pub(super) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.into() }
    }

    /// One of [`PARTS`].
    pub(super) fn key(&self, lane: LaneId, part: &'static str) -> Key<'_> {
        Key { namespace: &self.namespace, lane, part }
    }
}

/// A key, written where it is needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    namespace: &'a str,
    lane: LaneId,
    part: &'static str,
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{{{}}}:{}", self.namespace, self.lane, self.part)
    }
}

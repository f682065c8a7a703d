//! What the service counts.

use domain::shard::ShardId;
use kit::metrics::{IntGaugeVec, MetricsError, Registry};

use crate::payment::notice::NoticeMetrics;

/// What the service counts.
#[derive(Debug)]
pub struct Metrics {
    pub(super) notices: NoticeMetrics,
    uploads: IntGaugeVec,
}

impl Metrics {
    /// Declares it: `payment_notices_total`, and `shipping_uploads_near_limit` by shard.
    ///
    /// # Errors
    /// When it is declared already.
    pub fn register(registry: &Registry) -> Result<Self, MetricsError> {
        let help = "Payments of which the provider is not told that their goods were sent, after 36 of 48 hours.";
        let uploads = registry.gauges("shipping_uploads_near_limit", help, &["shard"])?;
        Ok(Self { notices: NoticeMetrics::register(registry)?, uploads })
    }

    /// So many payments of a shard are near the end of their time.
    pub(super) fn near_limit(&self, shard: ShardId, payments: u64) {
        let payments = i64::try_from(payments).unwrap_or(i64::MAX);
        self.uploads.with_label_values(&[&shard.0.to_string()]).set(payments);
    }
}

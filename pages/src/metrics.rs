//! Everything this crate measures.

use kit::metrics::{IntCounter, MetricsError, Registry};

/// The metrics of pages.
#[derive(Debug)]
pub struct Metrics {
    /// `pages_written_total`: pages of sales rendered, of all that were sent.
    pub pages_written: IntCounter,
    /// `page_lists_written_total`.
    pub lists_written: IntCounter,
    /// `pages_packed_total`.
    pub packed: IntCounter,
    /// `page_questions_total`.
    pub questions: IntCounter,
}

impl Metrics {
    /// Declares all of them.
    ///
    /// # Errors
    /// [`MetricsError`] when a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, MetricsError> {
        let counter = |name, help| registry.counter(name, help);
        Ok(Self {
            pages_written: counter("pages_written_total", "Pages of sales written: once a change, however many ask.")?,
            lists_written: counter(
                "page_lists_written_total",
                "Lists of sales written: once a change, however many ask.",
            )?,
            packed: counter("pages_packed_total", "Bodies of pages and lists packed, in one coding each.")?,
            questions: counter("page_questions_total", "Lanes asked for their stock, for pages and lists.")?,
        })
    }
}

//! What the stores and the directory tell of themselves. They are asked when somebody looks at the metrics.

use std::sync::Arc;

use kit::metrics::{Kind, MetricsError, Registry, Samples, Sources};
use store::figures::{Calls, DatabaseFigures, Figure, ProducerFigures};

use crate::sales::Directory;

/// What each front thread has of its own.
#[derive(Clone, Default)]
pub struct Stores {
    /// Pools of the order tables.
    pub orders: Sources<DatabaseFigures>,
    /// Connections to the lanes' server.
    pub stock: Sources<Calls>,
}

impl Stores {
    /// Shows them, and what all threads share.
    ///
    /// # Errors
    /// [`MetricsError`] when a name is taken.
    pub fn show(
        &self,
        registry: &Registry,
        directory: Arc<Directory>,
        ledger: impl Fn() -> DatabaseFigures + Send + Sync + 'static,
        producer: impl Fn() -> ProducerFigures + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        let stores = self.clone();
        registry.sampled(move |samples| {
            tell(samples, stores.orders.sum().figures("orders"));
            tell(samples, ledger().figures("ledger"));
            tell(samples, stores.stock.sum().stock_figures());
            tell(samples, producer().figures());
            let buyers: usize = directory.now().sales().map(|promotion| promotion.buyers.len()).sum();
            samples.add(Kind::Gauge, "buyers_remembered", "Buyers who have a bucket.", &[], buyers as f64);
        })
    }
}

fn tell(samples: &mut Samples, figures: Vec<Figure>) {
    for Figure { name, help, is_count, labels, value } in figures {
        samples.add(if is_count { Kind::Counter } else { Kind::Gauge }, name, help, &labels, value);
    }
}

#[cfg(test)]
mod tests {
    use store::figures::{Appended, PoolUse};

    use super::*;
    use crate::testing::directory;

    /// Every figure is there before the first thread tells, and moves with what the threads tell.
    #[test]
    fn figures_of_all_threads_are_summed() {
        let (registry, stores) = (Registry::new().unwrap(), Stores::default());
        let producer = || ProducerFigures {
            appended: Appended { acknowledged: 7, timed_out: 2, ..Appended::default() },
            ..ProducerFigures::default()
        };
        stores.show(&registry, directory(), DatabaseFigures::default, producer).unwrap();
        let shown = |line: &str| {
            let text = registry.render().unwrap();
            assert!(text.lines().any(|shown| shown == line), "{line} is missing from:\n{text}");
        };
        shown("flashsale_pool_connections{pool=\"orders\",state=\"in_use\"} 0");
        shown("flashsale_log_records_total{outcome=\"acknowledged\"} 7");
        shown("flashsale_log_records_total{outcome=\"timed_out\"} 2");
        shown("flashsale_log_round_trip_seconds{quantile=\"0.99\"} 0");
        shown("flashsale_buyers_remembered 0");
        for _ in 0..2 {
            let pool = PoolUse { in_use: 1, idle: 2, waiting: 3, max: 8 };
            let statements = Calls { answered: 10, refused: 1, unknown: 0, broken: 0 };
            stores.orders.add(move || DatabaseFigures { pool, statements });
            stores.stock.add(|| Calls { answered: 5, unknown: 1, ..Calls::default() });
        }
        shown("flashsale_pool_connections{pool=\"orders\",state=\"in_use\"} 2");
        shown("flashsale_pool_connections{pool=\"orders\",state=\"idle\"} 4");
        shown("flashsale_pool_connections{pool=\"ledger\",state=\"idle\"} 0");
        shown("flashsale_pool_waiting{pool=\"orders\"} 6");
        shown("flashsale_pool_connections_max{pool=\"orders\"} 16");
        shown("flashsale_sql_statements_total{database=\"orders\",outcome=\"answered\"} 20");
        shown("flashsale_sql_statements_total{database=\"orders\",outcome=\"refused\"} 2");
        shown("flashsale_stock_calls_total{outcome=\"answered\"} 10");
        shown("flashsale_stock_calls_total{outcome=\"unknown\"} 2");
    }
}

//! What stores, admission and mint count. They are asked when somebody looks
//! at the metrics.

use std::sync::Arc;

use kit::clock::Clock;
use kit::metrics::{Kind, MetricsError, Registry, Sources};
use store::figures::{Calls, DatabaseFigures, ProducerFigures};

use crate::{admission::Admission, mint::Mint};

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
    pub fn show<C: Clock>(
        &self,
        registry: &Registry,
        admission: Arc<Admission<C>>,
        mint: Arc<Mint>,
        ledger: impl Fn() -> DatabaseFigures + Send + Sync + 'static,
        producer: impl Fn() -> ProducerFigures + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        let stores = self.clone();
        registry.sampled(move |samples| {
            samples.add_all(stores.orders.sum().figures("orders"));
            samples.add_all(ledger().figures("ledger"));
            samples.add_all(stores.stock.sum().stock_figures());
            samples.add_all(producer().figures());
            let buyers: usize = admission.directory().now().sales().map(|promotion| promotion.buyers.len()).sum();
            samples.add(Kind::Gauge, "buyers_remembered", "Buyers who have a bucket.", &[], buyers as f64);
            let contradictions = admission.directory().contradictions() as f64;
            let help = "Offers left out because another sale has their id or their lane's. Must be 0.";
            samples.add(Kind::Gauge, "sales_contradictions", help, &[], contradictions);
            let (checks, help) = (admission.token_checks(), "Valid tokens, by whether they were remembered.");
            for (memory, count) in [("hit", &checks.remembered), ("miss", &checks.computed)] {
                samples.add(Kind::Counter, "token_checks_total", help, &[("memory", memory)], count.get() as f64);
            }
            let help = "Order ids minted, those of refused purchases included.";
            samples.add(Kind::Counter, "order_ids_minted_total", help, &[], mint.minted() as f64);
        })
    }
}

#[cfg(test)]
mod tests {
    use store::figures::{Appended, PoolUse};

    use super::*;
    use crate::testing::Shop;

    /// Every figure is there before the first thread reports, and moves with what the threads
    /// report.
    #[tokio::test]
    async fn figures_of_all_threads_are_summed() {
        let shop = Shop::new(10);
        let (registry, stores) = (Registry::new().unwrap(), Stores::default());
        let producer = || ProducerFigures {
            appended: Appended { acknowledged: 7, timed_out: 2, ..Appended::default() },
            ..ProducerFigures::default()
        };
        let (admission, mint) = (Arc::clone(&shop.admission), Arc::clone(&shop.mint));
        stores.show(&registry, admission, mint, DatabaseFigures::default, producer).unwrap();
        let shown = |line: &str| {
            let text = registry.render().unwrap();
            assert!(text.lines().any(|shown| shown == line), "{line} is missing from:\n{text}");
        };
        shown("flashsale_pool_connections{pool=\"orders\",state=\"in_use\"} 0");
        shown("flashsale_log_records_total{outcome=\"acknowledged\"} 7");
        shown("flashsale_log_records_total{outcome=\"timed_out\"} 2");
        shown("flashsale_log_round_trip_seconds{quantile=\"0.99\"} 0");
        for line in ["buyers_remembered 0", "order_ids_minted_total 0", "token_checks_total{memory=\"hit\"} 0"] {
            shown(&format!("flashsale_{line}"));
        }
        for _ in 0..3 {
            shop.buy(1, "k", 1).await.unwrap();
        }
        shown("flashsale_buyers_remembered 1");
        shown("flashsale_order_ids_minted_total 3");
        shown("flashsale_token_checks_total{memory=\"hit\"} 2");
        shown("flashsale_token_checks_total{memory=\"miss\"} 1");
        for _ in 0..2 {
            let pool = PoolUse { in_use: 1, idle: 2, waiting: 3, max: 8 };
            let statements = Calls { answered: 10, refused: 1, ..Calls::default() };
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

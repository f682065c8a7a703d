//! The pages of sales, beside the merchants' routes: a shop's site reads them here when engines are
//! busy. The same code as the engine's, over a list of sales of its own.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use kit::{
    clock::SystemClock,
    http::Origins,
    metrics::{IntGauge, Registry},
    random::{Random as _, SystemRandom},
    settings::{KafkaArgs, Namespace, ServiceUrl},
};
use pages::{checker::Checker, http::Reads, metrics::Metrics, origins, sales::Followed, shared::Pages};
use store::{
    ledger::Ledger,
    log::kafka::{KafkaSalesFollower, KafkaSettings},
    sql::mysql::MySql,
    stock::redis::{RedisSettings, RedisStock},
};

/// Where the stock of sales is read.
#[derive(Debug, Args)]
pub struct ReadsArgs {
    /// Redis, or one node of a Redis Cluster: `redis://[user:password@]host:port`.
    #[arg(long, env = "FLASHSALE_REDIS_URL", hide_env_values = true)]
    pub redis_url: ServiceUrl,
}

/// The routes of pages.
pub(super) type PageReads = Reads<Followed, SystemClock>;

/// Starts following sales and the domains of shops; gives the routes, and the origins that may call.
/// Until the topic is read its sales are unknown.
pub(super) async fn start(
    (args, kafka): (&ReadsArgs, &KafkaArgs),
    (namespace, ledger): (&Namespace, &Ledger<MySql>),
    clock: SystemClock,
    registry: &Registry,
) -> anyhow::Result<(PageReads, Arc<Origins>)> {
    // It reads the topic of sales alone, which has one partition.
    let kafka = KafkaSettings::new(&kafka.kafka_brokers, namespace.as_str(), 1);
    let stock = RedisStock::connect(&RedisSettings::new(args.redis_url.expose(), namespace.as_str())).await;
    let stock = stock.context("preparing the connection to Redis")?;
    let sales = Arc::<Followed>::default();
    let follower = KafkaSalesFollower::new(&kafka).context("following the topic of sales")?;
    tokio::spawn(Arc::clone(&sales).follow(follower));
    let pages = Pages::new(u64::from_be_bytes(SystemRandom::default().bytes()?));
    let metrics = Arc::new(Metrics::register(registry)?);
    tokio::spawn(Checker::new(Arc::clone(&pages), Arc::clone(&sales), stock, clock, metrics).run());
    let allowed = Arc::<Origins>::default();
    tokio::spawn(origins::follow(ledger.shop_domains(), Arc::clone(&allowed)));
    // Nobody buys here, so pages yield to nobody.
    let purchases = IntGauge::new("purchases", "None.")?;
    Ok((Reads::new(sales, pages, clock, purchases), allowed))
}

#[cfg(test)]
mod tests {
    use kit::{
        api::Served,
        http::{Both, Table},
        random::SystemRandom,
    };

    use store::log::kafka::KafkaLog;

    use super::*;
    use crate::{ports::Given, service::Catalog};

    /// Merchants' routes and pages share the port.
    #[test]
    fn no_route_of_merchants_is_in_the_way_of_pages() {
        type Merchants = Served<Catalog<Given<MySql, SystemClock, SystemRandom, KafkaLog>>>;
        let table = Table::of::<Both<Merchants, PageReads>>().unwrap();
        assert!(table.names().contains(&"sales") && table.names().contains(&"sale"));
    }
}

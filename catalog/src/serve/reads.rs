//! The pages of sales, beside the merchants' routes: a shop's site reads them here when engines are
//! busy. The same code as the engine's, over a list of sales of its own.

use std::sync::Arc;

use anyhow::Context as _;
use kit::{
    clock::SystemClock,
    http::Origins,
    metrics::{IntGauge, Registry},
    random::{Random as _, SystemRandom},
};
use pages::{checker::Checker, http::Reads, metrics::Metrics, origins, sales::Followed, shared::Pages};
use store::{
    domains::ShopDomains,
    log::kafka::KafkaSalesFollower,
    sql::mysql::MySql,
    stock::redis::{RedisSettings, RedisStock},
};

use super::ServeArgs;

/// The routes of pages.
pub(super) type PageReads = Reads<Followed, SystemClock>;

/// The stock servers, as they are asked here.
pub(super) async fn stock(args: &ServeArgs) -> anyhow::Result<RedisStock> {
    let redis = RedisSettings::new(args.redis_url.expose(), args.database.namespace.as_str());
    RedisStock::connect(&redis).await.context("preparing the connection to Redis")
}

/// Starts following sales and the domains of shops; gives the routes, and the origins that may
/// call. Until the topic is read its sales are unknown.
pub(super) async fn start(
    args: &ServeArgs,
    (stock, domains): (RedisStock, ShopDomains<MySql>),
    clock: SystemClock,
    registry: &Registry,
) -> anyhow::Result<(PageReads, Arc<Origins>)> {
    let sales = Arc::<Followed>::default();
    let follower = KafkaSalesFollower::new(&args.log()).context("following the topic of sales")?;
    tokio::spawn(Arc::clone(&sales).follow(follower));
    let pages = Pages::new(u64::from_be_bytes(SystemRandom::default().bytes()?));
    let metrics = Arc::new(Metrics::register(registry)?);
    tokio::spawn(Checker::new(Arc::clone(&pages), Arc::clone(&sales), stock, clock, metrics).run());
    let allowed = Arc::<Origins>::default();
    tokio::spawn(origins::follow(domains, Arc::clone(&allowed)));
    // Nobody buys here, so pages yield to nobody.
    let purchases = IntGauge::new("purchases", "None.")?;
    Ok((Reads::new(sales, pages, clock, purchases), allowed))
}

#[cfg(test)]
mod tests {
    use kit::{
        api::Served,
        http::{Both, Table},
    };

    use super::super::Production;
    use super::*;

    /// Merchants' routes and pages share the port.
    #[test]
    fn no_route_of_merchants_is_in_the_way_of_pages() {
        let table = Table::of::<Both<Served<Production>, PageReads>>().unwrap();
        assert!(table.names().contains(&"sales") && table.names().contains(&"sale"));
    }
}

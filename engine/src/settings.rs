//! The command line of the engine. Each flag is also an environment variable; what all services
//! share stands in `kit`.

use std::net::SocketAddr;

use clap::Parser;
use domain::sale::{PAYMENT_WINDOW_S, PAYMENT_WINDOW_S_DEFAULT};
use kit::settings::{AdminArgs, StoreArgs, TokenArgs};
use store::log::kafka;

use crate::service;

/// Threads that answer buyers, at most.
const THREADS_MAX: u64 = 256;

/// Answers buyers. `engine openapi` prints the OpenAPI document of what it answers.
#[derive(Debug, Parser)]
#[command(name = "engine", version)]
pub struct Settings {
    /// The stores.
    #[command(flatten)]
    pub stores: StoreArgs,

    /// The keys of buyers' tokens.
    #[command(flatten)]
    pub tokens: TokenArgs,

    /// The admin port.
    #[command(flatten)]
    pub admin: AdminArgs,

    /// Address of the buyers' URL.
    #[arg(long, env = "FLASHSALE_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Where the order service is, such as `http://127.0.0.1:8083`: what becomes of an order is
    /// asked here and answered there. Without it there is nothing at those paths.
    #[arg(long, env = "FLASHSALE_ORDERS_URL")]
    pub orders_url: Option<String>,

    /// Where the service of commissions is, such as `http://127.0.0.1:8085`: asked here, answered
    /// there. Without it there is nothing at its paths.
    #[arg(long, env = "FLASHSALE_COMMISSIONS_URL")]
    pub commissions_url: Option<String>,

    /// Threads that answer buyers, each with its own listener; by default one per core.
    #[arg(long, env = "FLASHSALE_FRONT_THREADS", value_parser = clap::value_parser!(u16).range(1..=THREADS_MAX as i64))]
    pub front_threads: Option<u16>,

    /// Purchases under way at one time; more are refused as overload.
    #[arg(long, env = "FLASHSALE_PERMITS", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..))]
    pub permits: u32,

    /// How much of the permits one tenant may hold, in percent.
    #[arg(long, env = "FLASHSALE_TENANT_PERMITS_PERCENT", default_value_t = 75,
        value_parser = clap::value_parser!(u8).range(1..=100))]
    pub tenant_permits_percent: u8,

    /// Purchases a second that one tenant may ask of the whole fleet.
    #[arg(long, env = "FLASHSALE_TENANT_RATE_PER_S", default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub tenant_rate_per_s: u32,

    /// Seconds that a buyer has to pay, of a sale that says nothing. Give all engines the same.
    #[arg(long, env = "FLASHSALE_PAYMENT_WINDOW", default_value_t = PAYMENT_WINDOW_S_DEFAULT,
        value_parser = clap::value_parser!(u32).range(i64::from(*PAYMENT_WINDOW_S.start())..=i64::from(*PAYMENT_WINDOW_S.end())))]
    pub payment_window: u32,

    /// Batches in a lane's journal above which it promises nothing more: the order-writer does not
    /// keep up.
    #[arg(long, env = "FLASHSALE_JOURNAL_MAX", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub journal_max: u32,

    /// Milliseconds for which a record waits for others of its partition, so that they share a
    /// produce request.
    #[arg(long, env = "FLASHSALE_KAFKA_LINGER_MS", default_value_t = kafka::LINGER_MS, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub kafka_linger_ms: u32,

    /// Produce requests that are out to one broker at a time. 1 costs least; raise it where brokers
    /// are far and hot partitions many.
    #[arg(long, env = "FLASHSALE_KAFKA_REQUESTS_IN_FLIGHT", default_value_t = kafka::REQUESTS_IN_FLIGHT,
        value_parser = clap::value_parser!(u32).range(1..=5))]
    pub kafka_requests_in_flight: u32,
}

impl Settings {
    /// Threads that answer buyers.
    pub fn front_threads(&self) -> usize {
        service::front_threads(self.front_threads)
    }

    /// Permits of one tenant, at least one.
    pub fn tenant_permits(&self) -> u32 {
        service::tenant_permits(self.permits, self.tenant_permits_percent)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";

    fn parse(more: &[&str]) -> Result<Settings, clap::Error> {
        let secret = format!("--token-secret={SECRET}");
        let needed = [
            "engine",
            "--redis-url=redis://r",
            "--kafka-brokers=k:9092",
            "--mysql-url=mysql://m",
            "--token-kid=a",
            &secret,
            "--token-tenants=*",
        ];
        Settings::try_parse_from(needed.iter().chain(more))
    }

    #[test]
    fn defaults_and_bounds() {
        Settings::command().debug_assert();
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert!(settings.front_threads() >= 1);
        assert_eq!(settings.tenant_permits(), 12_288);
        assert_eq!(parse(&["--front-threads=3", "--permits=1"]).unwrap().tenant_permits(), 1);
        assert_eq!(settings.payment_window, 900);
        assert!(parse(&["--payment-window=59"]).is_err(), "less than a sale may give");
        for bad in ["--front-threads=0", "--permits=0", "--tenant-permits-percent=101", "--journal-max=0", "--listen=x"]
        {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
    }
}

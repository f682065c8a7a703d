//! The command line. What a value must look like is checked here; what the machine has is not.

use std::{
    ffi::OsString,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
};

use clap::{
    Parser, ValueEnum,
    builder::PossibleValuesParser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use kit::settings::{StoreArgs, TokenArgs};

use crate::{
    generator::CONNECTIONS_MAX,
    scenario::{BUYERS_MAX, Scenario, Size, Wish, WrongSize},
};

/// The longest run: times are 32 bits of microseconds.
const SECONDS_MAX: i64 = 3_600;

/// Which adapters are under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Deployment {
    /// Redis, Kafka and MySQL.
    Production,
}

impl Deployment {
    /// As the command line and the report name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
        }
    }
}

/// Where the engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// As it stands in the header `host`.
    pub host: String,
}

/// Load, latencies, and the audit of what came of it.
///
/// Starts the engine and the order-writer over the running stack (`stack/stack up`, `. stack/env`) on a fresh sale, or
/// loads an engine that runs already (`--target`). Exit status: 0 clean; 1 something was lost, doubled, oversold or leaked,
/// or did not become durable; 2 it could not run; 64 usage.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, mut_arg("namespace", |arg| arg.default_value("loadtest")))]
pub struct Args {
    /// What kind of load.
    #[arg(value_parser = PossibleValuesParser::new(crate::scenario::possible_values()))]
    pub scenario: String,

    /// Which adapters are under test.
    #[arg(long, value_enum, default_value = "production")]
    pub deployment: Deployment,

    /// Units for sale, over all lanes [default: the scenario's].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=domain::sale::ALLOTMENT_MAX))]
    pub units: Option<u64>,

    /// Buyers of a measured part, each with a token of its own [default: the scenario's].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=BUYERS_MAX as i64))]
    pub buyers: Option<u32>,

    /// Buyers of the unmeasured first part of `steady`, `warmed` and `curve` [default: the scenario's].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=BUYERS_MAX as i64))]
    pub first_buyers: Option<u32>,

    /// Requests a second, each with its intended time (open loop) [default: as fast as answers come (closed loop); in
    /// `steady` and `curve` a share of the rate found].
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,

    /// Sending of a measured part ends after so many seconds, whatever is left [default: the scenario's].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=SECONDS_MAX))]
    pub seconds: Option<u32>,

    /// Connections, kept alive.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=CONNECTIONS_MAX as i64))]
    pub connections: u32,

    /// Lanes, spread over the partitions of the order log; each with one offer.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=domain::sale::LANES_MAX as i64))]
    pub lanes: u32,

    /// Threads of the generator.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,

    /// Threads on which the engine answers buyers; the fixed answer that it is compared with gets as many [default: one per core].
    #[arg(long, env = "FLASHSALE_FRONT_THREADS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub front_threads: Option<u16>,

    /// Do not measure what this machine gives beside the engine: raw EVALSHA and a fixed answer, before and after the load.
    #[arg(long)]
    pub no_baselines: bool,

    /// Of the plan: who sends when, and who goes away [default: random, and reported].
    #[arg(long)]
    pub seed: Option<u64>,

    /// Where to write the report as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Where to write the report as a page with charts, which needs nothing but itself.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// An engine that runs already, with its order-writer, on these stores and this namespace: nothing is started.
    #[arg(long, value_name = "URL", value_parser = target)]
    pub target: Option<Target>,

    /// Keep the folder with sale file and logs, and say where it is.
    #[arg(long)]
    pub keep: bool,

    /// The stores.
    #[command(flatten)]
    pub stores: StoreArgs,

    /// The key that signs the buyers' tokens.
    #[command(flatten)]
    pub tokens: TokenArgs,
}

/// Why the command line does not do.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// The user has mistaken something, or asked for help.
    #[error(transparent)]
    Usage(clap::Error),
    /// The stores or keys are not named: the environment of the stack is missing.
    #[error("{0}start the servers and name them to this shell:\n\n    stack/stack up && . stack/env\n")]
    NoStack(clap::Error),
    /// Units and buyers that do not make the scenario.
    #[error(transparent)]
    WrongSize(#[from] WrongSize),
}

/// What [`Args`] ask for, checked against the scenario.
#[derive(Debug)]
pub struct Order {
    /// The scenario.
    pub scenario: &'static Scenario,
    /// Units and buyers.
    pub size: Size,
    /// The rest, as given.
    pub args: Args,
}

impl Order {
    /// Sending of a measured part ends after so many seconds.
    pub fn seconds(&self) -> u32 {
        self.args.seconds.unwrap_or(self.scenario.seconds)
    }
}

/// Reads the command line.
///
/// # Errors
/// [`ArgsError`]; help and version come as [`ArgsError::Usage`] too.
pub fn parse(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Order, ArgsError> {
    let args = Args::try_parse_from(arguments)
        .map_err(|error| if misses_the_stack(&error) { ArgsError::NoStack(error) } else { ArgsError::Usage(error) })?;
    // The parser takes no other names.
    let scenario = Scenario::named(&args.scenario).unwrap_or(&crate::scenario::ORDERS);
    let Args { units, buyers, first_buyers, lanes, .. } = args;
    let size = scenario.size(Wish { units, buyers, first_buyers, lanes })?;
    Ok(Order { scenario, size, args })
}

/// Nothing is missing but what the environment of the stack would tell.
fn misses_the_stack(error: &clap::Error) -> bool {
    const TOLD: [&str; 5] = ["--redis-url", "--kafka-brokers", "--mysql-url", "--token-kid", "--token-secret"];
    let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else { return false };
    error.kind() == ErrorKind::MissingRequiredArgument
        && missing.iter().all(|argument| TOLD.iter().any(|name| argument.starts_with(name)))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.1..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("give requests a second, 0.1 to 10000000".into()),
    }
}

fn target(url: &str) -> Result<Target, String> {
    let host = url.strip_prefix("http://").ok_or("give http://HOST:PORT (no TLS: the load is the engine's)")?;
    let host = host.strip_suffix('/').unwrap_or(host);
    if host.is_empty() || host.contains(['/', '@', '?']) {
        return Err("give http://HOST:PORT, without a path".into());
    }
    let with_port = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let mut addresses = with_port.to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
    let address = addresses.next().ok_or_else(|| format!("{host} has no address"))?;
    Ok(Target { address, host: host.to_owned() })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    const STACK: [&str; 5] = [
        "--redis-url=redis://127.0.0.1:1",
        "--kafka-brokers=127.0.0.1:1",
        "--mysql-url=mysql://u:p@127.0.0.1:1",
        "--token-kid=a",
        "--token-secret=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY",
    ];

    fn order(extra: &[&str]) -> Result<Order, ArgsError> {
        parse(["loadtest"].iter().chain(&STACK).chain(extra))
    }

    #[test]
    fn the_shortest_command_line_has_the_scenarios_size() {
        let order = order(&["sellout"]).unwrap();
        assert_eq!((order.scenario.name, order.size.units, order.size.buyers), ("sellout", 100_000, 300_000));
        assert_eq!((order.args.connections, order.seconds(), order.args.lanes), (512, 120, 1));
        assert!(!order.args.no_baselines, "a rate says little without what the machine gives");
        assert_eq!(order.args.deployment, Deployment::Production);
        Args::command().debug_assert();
    }

    #[test]
    fn the_namespace_is_our_own_unless_said_otherwise() {
        // `FLASHSALE_NAMESPACE` of the shell that runs the tests has the word, as in a run.
        let expected = std::env::var("FLASHSALE_NAMESPACE").unwrap_or_else(|_| "loadtest".into());
        assert_eq!(order(&["orders"]).unwrap().args.stores.namespace.as_str(), expected);
        assert_eq!(order(&["orders", "--namespace=other"]).unwrap().args.stores.namespace.as_str(), "other");
    }

    #[test]
    fn everything_can_be_said() {
        let said = "retry-storm --deployment production --units 5 --buyers 10 --rate 2000.5 --seconds 3 --connections 64 \
                    --lanes 4 --threads 2 --seed 9 --json /tmp/x.json --target http://127.0.0.1:8080/ --keep \
                    --front-threads 3 --no-baselines";
        let order = order(&said.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert_eq!((order.size.units, order.size.buyers, order.args.rate), (5, 10, Some(2_000.5)));
        assert_eq!((order.seconds(), order.args.front_threads, order.args.no_baselines), (3, Some(3), true));
        let target = order.args.target.unwrap();
        assert_eq!((target.address.port(), target.host.as_str()), (8_080, "127.0.0.1:8080"));
        assert!(order.args.keep);
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for mistake in [
            &["no-such-scenario"][..],
            &["orders", "--rate=0"],
            &["orders", "--rate=nan"],
            &["orders", "--connections=0"],
            &["orders", "--seconds=3601"],
            &["orders", "--units=0"],
            &["orders", "--target=https://127.0.0.1"],
            &["orders", "--target=http://127.0.0.1/v1"],
            &["orders", "--deployment=embedded"],
            &[],
        ] {
            assert!(matches!(order(mistake), Err(ArgsError::Usage(_))), "{mistake:?}");
        }
        assert!(matches!(order(&["sellout", "--units=300000"]), Err(ArgsError::WrongSize(_))));
        assert!(matches!(order(&["orders", "--first-buyers=3"]), Err(ArgsError::WrongSize(_))));
    }

    #[test]
    fn without_the_stack_we_say_how_to_start_it() {
        if std::env::var_os("FLASHSALE_REDIS_URL").is_some() {
            return; // The shell has it: nothing is missing.
        }
        let error = parse(["loadtest", "sellout"]).unwrap_err();
        assert!(matches!(error, ArgsError::NoStack(_)), "{error:?}");
        assert!(error.to_string().contains("stack/stack up && . stack/env"));
    }
}

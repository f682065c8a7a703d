//! The command line. What a value must look like is checked here; what the machine has is not.

#[cfg(not(feature = "production"))]
#[path = "args/absent.rs"]
mod production;
#[cfg(feature = "production")]
mod production;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
};

use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum, builder::PossibleValuesParser, error::ErrorKind};
use kit::settings::refuse_secrets;

use crate::{
    fault::Fault,
    generator::CONNECTIONS_MAX,
    scenario::{self, BUYERS_MAX, Scenario, Size, Wish, WrongSize},
    under_test::{Embedded, Place},
};

/// The longest run: times are 32 bits of microseconds.
const SECONDS_MAX: i64 = 3_600;

/// Ended sales over which `--beside` spreads its orders.
const BESIDE_SALES: u32 = 8;

/// Which adapters are under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Deployment {
    /// Redis, Kafka and MySQL.
    Production,
    /// One process and one data folder.
    Embedded,
}

impl Default for Deployment {
    /// Production, where this program has its adapters.
    fn default() -> Self {
        if cfg!(feature = "production") { Self::Production } else { Self::Embedded }
    }
}

impl Deployment {
    /// As the command line and the report name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Embedded => "embedded",
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

/// What to send, how, and where the report goes: whatever is under test. Other programs may flatten
/// it into their command lines.
#[derive(Debug, Clone, clap::Args)]
pub struct LoadArgs {
    /// What kind of load.
    #[arg(value_parser = PossibleValuesParser::new(scenario::possible_values()))]
    pub scenario: String,

    /// Units for sale, over all lanes [default: the scenario's].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=domain::sale::ALLOTMENT_MAX))]
    pub units: Option<u64>,

    /// Buyers of a measured part, each with a token of its own [default: the scenario's].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=BUYERS_MAX as i64))]
    pub buyers: Option<u32>,

    /// Buyers of the unmeasured first part of `steady`, `warmed` and `curve` [default: the
    /// scenario's].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=BUYERS_MAX as i64))]
    pub first_buyers: Option<u32>,

    /// Requests a second, each with its intended time (open loop) [default: as fast as answers come
    /// (closed loop); in `steady` and `curve` a share of the rate found].
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,

    /// Sending of a measured part ends after so many seconds, whatever is left [default: the
    /// scenario's].
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

    /// Threads on which the engine answers buyers; the fixed answer that it is compared with gets
    /// as many [default: one per core].
    #[arg(long, env = "FLASHSALE_FRONT_THREADS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub front_threads: Option<u16>,

    /// Do not measure what this machine gives beside the engine: a fixed answer and, over Redis,
    /// raw EVALSHA, before and after the load.
    #[arg(long)]
    pub no_baselines: bool,

    /// Orders of ended sales that lie in the same deployment before the scenario begins: eight
    /// sales, made as fast as answers come, each audited and then ended.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=BUYERS_MAX as i64))]
    pub beside: u32,

    /// `sales`: how many, one after the other, each of --buyers; the last one is measured.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub count: u32,

    /// Seconds after which the services let go of the lanes of an ended sale
    /// (FLASHSALE_LANE_SETTLING); after each sale of before so long is waited and 10 s more
    /// [default: as the services do, and nothing is waited for].
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=SECONDS_MAX))]
    pub settling: Option<u32>,

    /// Of the plan: who sends when, and who goes away [default: random, and reported].
    #[arg(long)]
    pub seed: Option<u64>,

    /// Where to write the report as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Where to write the report as a page with charts, which needs nothing but itself.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Keep the folder with sale file and logs, and say where it is.
    #[arg(long)]
    pub keep: bool,
}

/// Load, latencies, and the audit of what came of it.
///
/// Production: starts the engine and the order-writer over the running stack (`stack/stack up`,
/// `. stack/env`). Embedded: starts `flashsale serve` on a data folder. Publishes a fresh sale
/// there; or loads an engine that runs already (`--target`). Exit status: 0 clean; 1 something was
/// lost, doubled, oversold or leaked, or did not become durable; 64 usage; 69 and others it could
/// not run.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
pub struct Args {
    /// The load.
    #[command(flatten)]
    pub load: LoadArgs,

    /// Which adapters are under test.
    #[arg(long, value_enum, default_value_t)]
    pub deployment: Deployment,

    /// Embedded: the data folder, made when it is missing, kept afterwards [default: a fresh one
    /// among the system's temporary files, which goes after a clean run. Its disk is what is
    /// measured].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// An engine that runs already: nothing is started. Production: with its order-writer, on these
    /// stores and this namespace. Embedded: on the folder `--data`.
    #[arg(long, value_name = "URL", value_parser = target)]
    pub target: Option<Target>,

    /// Production over the stack: kills a server in the middle of the last measured part and starts
    /// it again, or stops it for a while: redis-kill, redis-stop, kafka-kill, kafka-stop,
    /// mysql-kill, mysql-stop (by default @5, at once again or stopped for 6, 12 and 15 s). Buyers
    /// who are told to come back do so, with the same key. Without --rate 10000 requests/s come,
    /// and without --buyers as many as the time of the fault needs.
    #[arg(long, value_name = "FAULT[@SECOND[+SECONDS]]")]
    pub fault: Option<Fault>,
}

/// Why the command line does not do.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// The user has mistaken something, or asked for help.
    #[error(transparent)]
    Usage(clap::Error),
    /// The stores or keys are not named: the environment of the stack is missing.
    #[error(
        "the production deployment needs {0}\n\nstart the servers and name them to this shell:\n\n    \
         stack/stack up && . stack/env\n\nor test the deployment that needs none of them: --deployment embedded\n"
    )]
    NoStack(String),
    /// This program was built without the adapters.
    #[error(
        "this program was built without the production deployment: leave `--no-default-features` out, or give --deployment embedded"
    )]
    NoProduction,
    /// Units and buyers that do not make the scenario.
    #[error(transparent)]
    WrongSize(#[from] WrongSize),
}

/// Sales of before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// How many.
    pub sales: u32,
    /// Buyers of each, an order each.
    pub buyers: u32,
}

/// What was asked for, checked against the scenario.
#[derive(Debug)]
pub struct Order {
    /// The scenario.
    pub scenario: &'static Scenario,
    /// Units and buyers.
    pub size: Size,
    /// The rest of the load, as given.
    pub args: LoadArgs,
    /// What is under test.
    pub place: Place,
    /// An engine that runs already.
    pub target: Option<Target>,
    /// What fails in the middle of the last measured part.
    pub fault: Option<Fault>,
}

impl Order {
    /// Orders this load of this place.
    ///
    /// # Errors
    /// [`WrongSize`] when units and buyers do not make the scenario.
    pub fn new(args: LoadArgs, place: Place, target: Option<Target>) -> Result<Self, WrongSize> {
        // The parser takes no other names.
        let scenario = Scenario::named(&args.scenario).unwrap_or(&scenario::ORDERS);
        let LoadArgs { units, buyers, first_buyers, lanes, .. } = args;
        let size = scenario.size(Wish { units, buyers, first_buyers, lanes })?;
        Ok(Self { scenario, size, args, place, target, fault: None })
    }

    /// Orders it with a fault. What is not said of pace and size is chosen so that the load lasts
    /// through the fault and after it.
    ///
    /// # Errors
    /// [`WrongSize`] when units and buyers do not make the scenario.
    pub fn with_fault(
        mut args: LoadArgs,
        place: Place,
        target: Option<Target>,
        fault: Fault,
    ) -> Result<Self, WrongSize> {
        let scenario = Scenario::named(&args.scenario).unwrap_or(&scenario::ORDERS);
        if scenario.comes_as_asked() {
            let rate = *args.rate.get_or_insert(fault.rate());
            // A float that is too large becomes the largest number.
            let buyers = *args.buyers.get_or_insert((rate * f64::from(fault.load_s())) as u32);
            if scenario.is_scarce() {
                args.units.get_or_insert(fault.scarce_units(buyers));
            }
        }
        args.seconds.get_or_insert(scenario.seconds.max(fault.load_s()));
        Ok(Self { fault: Some(fault), ..Self::new(args, place, target)? })
    }

    /// What lies in the deployment before the scenario begins.
    pub fn before(&self) -> Before {
        let LoadArgs { beside, count, .. } = self.args;
        match (std::ptr::eq(self.scenario, &scenario::SALES), beside) {
            (true, _) => Before { sales: count - 1, buyers: self.size.buyers },
            (false, 0) => Before { sales: 0, buyers: 0 },
            (false, orders) => Before { sales: BESIDE_SALES, buyers: orders.div_ceil(BESIDE_SALES) },
        }
    }

    /// What the services are told beyond the stores.
    pub fn service_settings(&self) -> Vec<(String, String)> {
        let settling = self.args.settling.map(|seconds| ("FLASHSALE_LANE_SETTLING".to_owned(), seconds.to_string()));
        settling.into_iter().collect()
    }

    /// Sending of a measured part ends after so many seconds.
    pub fn seconds(&self) -> u32 {
        self.args.seconds.unwrap_or(self.scenario.seconds)
    }
}

/// The whole command line: ours, and what the production deployment must be told, which nobody else
/// has to say.
fn command() -> clap::Command {
    production::augment(Args::command())
}

/// Reads the command line.
///
/// # Errors
/// [`ArgsError`]; help and version come as [`ArgsError::Usage`] too.
pub fn parse(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Order, ArgsError> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(arguments).map_err(ArgsError::Usage)?;
    refuse_secrets(&mut command, &matches).map_err(ArgsError::Usage)?;
    let args = Args::from_arg_matches(&matches).map_err(|error| ArgsError::Usage(error.format(&mut command)))?;
    let mut refuse = |what: &str| Err(ArgsError::Usage(command.error(ErrorKind::ArgumentConflict, what)));
    let place = match (args.deployment, &args.target, &args.data) {
        (Deployment::Production, _, Some(_)) => {
            return refuse("--data is a folder of the embedded deployment: give --deployment embedded with it");
        }
        (Deployment::Embedded, Some(_), None) => {
            return refuse("--target needs the data folder of the server that runs there: give --data DIR");
        }
        (Deployment::Embedded, ..) if args.fault.is_some() => {
            return refuse("--fault is of the stack's servers: give --deployment production with it");
        }
        (Deployment::Production, ..) => production::place(&matches)?,
        (Deployment::Embedded, _, data) => Place::Embedded(Embedded { data: data.clone(), program: None }),
    };
    Ok(match args.fault {
        Some(fault) => Order::with_fault(args.load, place, args.target, fault)?,
        None => Order::new(args.load, place, args.target)?,
    })
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

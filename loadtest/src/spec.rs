//! What a run is asked for: the load, the deployment under test, the target and the fault. Where it
//! comes from is `args`'s business, how it is done `run`'s.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;

use crate::{
    deployment::{Deployment, Target},
    fault::Fault,
    generator::CONNECTIONS_MAX,
    scenario::{self, BUYERS_MAX, Scenario, Size, SizeOptions, WrongSize},
};

/// The longest run: times are 32 bits of microseconds.
const SECONDS_MAX: i64 = 3_600;

/// Ended sales over which `--beside` spreads its orders.
const BESIDE_SALES: u32 = 8;

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

/// Sales that are over when the scenario begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlierSales {
    /// How many.
    pub sales: u32,
    /// Buyers of each, an order each.
    pub buyers: u32,
}

/// What a run is asked for, checked against the scenario.
#[derive(Debug)]
pub struct RunSpec {
    /// The scenario.
    pub scenario: &'static Scenario,
    /// Units and buyers.
    pub size: Size,
    /// The rest of the load, as given.
    pub args: LoadArgs,
    /// What is under test.
    pub deployment: Deployment,
    /// An engine that runs already.
    pub target: Option<Target>,
    /// What fails in the middle of the last measured part.
    pub fault: Option<Fault>,
}

impl RunSpec {
    /// This load on this deployment.
    ///
    /// # Errors
    /// [`WrongSize`] when units and buyers do not make the scenario.
    pub fn new(args: LoadArgs, deployment: Deployment, target: Option<Target>) -> Result<Self, WrongSize> {
        // The parser takes no other names.
        let scenario = Scenario::named(&args.scenario).unwrap_or(&scenario::ORDERS);
        let LoadArgs { units, buyers, first_buyers, lanes, .. } = args;
        let size = scenario.size(SizeOptions { units, buyers, first_buyers, lanes })?;
        Ok(Self { scenario, size, args, deployment, target, fault: None })
    }

    /// The same with a fault. Pace and size that are not given are chosen so that the load lasts
    /// through the fault and after it.
    ///
    /// # Errors
    /// [`WrongSize`] when units and buyers do not make the scenario.
    pub fn with_fault(
        mut args: LoadArgs,
        deployment: Deployment,
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
        Ok(Self { fault: Some(fault), ..Self::new(args, deployment, target)? })
    }

    /// What lies in the deployment before the scenario begins.
    pub fn earlier_sales(&self) -> EarlierSales {
        let LoadArgs { beside, count, .. } = self.args;
        match (std::ptr::eq(self.scenario, &scenario::SALES), beside) {
            (true, _) => EarlierSales { sales: count - 1, buyers: self.size.buyers },
            (false, 0) => EarlierSales { sales: 0, buyers: 0 },
            (false, orders) => EarlierSales { sales: BESIDE_SALES, buyers: orders.div_ceil(BESIDE_SALES) },
        }
    }

    /// Settings of the services beside the stores.
    pub fn service_settings(&self) -> Vec<(String, String)> {
        let settling = self.args.settling.map(|seconds| ("FLASHSALE_LANE_SETTLING".to_owned(), seconds.to_string()));
        settling.into_iter().collect()
    }

    /// Sending of a measured part ends after so many seconds.
    pub fn seconds(&self) -> u32 {
        self.args.seconds.unwrap_or(self.scenario.seconds)
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.1..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("give requests a second, 0.1 to 10000000".into()),
    }
}

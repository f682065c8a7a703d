//! `flashsale plan`: how many machines a peak takes, and what would break first. The arithmetic is
//! [`loadtest::capacity`]'s; it reads nothing but the prices.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use loadtest::capacity::{self, Broken, Cost, FIGURES, Plan, Prices, Wanted};
use serde::Serialize;

use crate::input::text_of;

/// What `plan` is told.
#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    wanted: Wanted,
    /// A file of prices, for the cost (docs/operating.md shows one); `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Raise the load on the plan in a simulation of its queues, until all of it broke.
    #[arg(long)]
    simulate: bool,
    /// How the simulation draws bursts, and lanes to slots.
    #[arg(long, default_value_t = 1, requires = "simulate")]
    seed: u64,
    /// Print the plan as JSON.
    #[arg(long)]
    json: bool,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file of prices.
    #[error("{}: {what}\nA file of prices, with every key:\n{}", path.display(), capacity::PRICES_EXAMPLE)]
    Prices {
        /// Which.
        path: PathBuf,
        /// All that is wrong with it.
        what: String,
    },
    /// The figures that this program was built with.
    #[error("the measured figures cannot be read: {0}")]
    Figures(&'static str),
}

/// All that is told.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    plan: Plan,
    simulation: Option<Broken>,
}

/// Plans; returns what is to be printed.
///
/// # Errors
/// [`PlanError`].
pub fn plan(args: &PlanArgs) -> Result<String, PlanError> {
    let figures = FIGURES.as_ref().map_err(|error| PlanError::Figures(error))?;
    let prices = args.prices.as_ref().map(|path| {
        let failed = |what| PlanError::Prices { path: path.clone(), what };
        Prices::parse(&text_of(path).map_err(|error| failed(error.to_string()))?).map_err(failed)
    });
    let plan = capacity::plan(&args.wanted, figures, prices.transpose()?.as_ref());
    let simulation = args.simulate.then(|| capacity::what_breaks(&plan, figures, args.seed));
    if args.json {
        // Numbers and texts are always JSON.
        return Ok(serde_json::to_string_pretty(&Told { plan, simulation }).unwrap_or_default() + "\n");
    }
    let mut text = String::new();
    // Writing to a String never fails.
    let written = write_plan(&mut text, &plan).and_then(|()| match &simulation {
        Some(broken) => write_broken(&mut text, broken),
        None => Ok(()),
    });
    debug_assert!(written.is_ok());
    Ok(text)
}

fn write_plan(out: &mut String, plan: &Plan) -> std::fmt::Result {
    let Wanted { peak, refusals, cores, busy_percent, .. } = plan.wanted;
    writeln!(out, "{peak} durable orders/s and {refusals} refusals/s, cores at most {busy_percent} % busy\n")?;
    writeln!(out, "  {:14}{:>9}{:>11}{:>9}{:>9}  by", "role", "machines", "processes", "cores", "Mbit/s")?;
    for role in &plan.roles {
        let busy = format!("{}.{}", role.milli_cores / 1_000, role.milli_cores % 1_000 / 100);
        let (name, machines, mbit) = (role.role, role.machines, role.network_mbit);
        writeln!(out, "  {name:14}{machines:>9}{:>11}{busy:>9}{mbit:>9}  {}", role.processes, role.by)?;
    }
    writeln!(out, "  {:14}{:>9}  of {cores} cores each; one of each role may die\n", "all", plan.machines)?;
    let Plan { lanes, lane_orders_per_s, partitions, shards, primaries, redis_masters, .. } = plan;
    let Plan { slots_per_master, redis_mib, .. } = plan;
    writeln!(
        out,
        "  lanes       {lanes}, each at most {lane_orders_per_s} orders/s (FLASHSALE_PARTITIONS={partitions})"
    )?;
    writeln!(
        out,
        "  shards      {shards} (FLASHSALE_SHARDS={shards}) on {primaries} primary servers, each with a replica"
    )?;
    writeln!(
        out,
        "  Redis       {redis_masters} masters of {slots_per_master} slots, each with a replica; {redis_mib} MiB of live orders"
    )?;
    if let Some(Cost { currency, hours, machines, traffic_at_most }) = &plan.cost {
        let units = |minor: &u128| format!("{}.{:02}", minor / 100, minor % 100);
        let (machines, traffic) = (units(machines), units(traffic_at_most));
        writeln!(out, "  cost        {currency} {machines} of machines and at most {traffic} of traffic, {hours} h")?;
    }
    for finding in &plan.findings {
        writeln!(out, "\n  NOT AS ASKED: {finding}")?;
    }
    writeln!(out, "\n  Not in it: proxies and balancers, the other services, disks; not measured:")?;
    plan.assumed.iter().try_for_each(|line| writeln!(out, "    {line}"))
}

fn write_broken(out: &mut String, Broken { seed, breaks }: &Broken) -> std::fmt::Result {
    writeln!(out, "\nThe load raised until each part is left behind (seed {seed}):\n")?;
    for broke in breaks {
        let station = format!("{:?}", broke.station).to_lowercase();
        writeln!(
            out,
            "  at {:>3} % ({} orders/s)  {station} {}, which gets {} % of them",
            broke.percent, broke.orders_per_s, broke.number, broke.share_percent
        )?;
        let when = broke.seconds.map_or(String::new(), |seconds| format!("for {seconds} s "));
        writeln!(out, "       {when}{}", broke.then)?;
    }
    if breaks.is_empty() {
        writeln!(out, "  nothing broke up to five times the peak")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        args: PlanArgs,
    }

    fn told(line: &str) -> String {
        plan(&Typed::try_parse_from(line.split(' ')).unwrap().args).unwrap()
    }

    /// Each of the three peaks of the capacity plan is told, as a table and as JSON of the same
    /// numbers.
    #[test]
    fn a_peak_is_a_table_or_json() {
        for peak in [20_000, 200_000, 2_000_000] {
            let text = told(&format!("plan --peak {peak} --simulate"));
            let json: serde_json::Value =
                serde_json::from_str(&told(&format!("plan --peak {peak} --simulate --json"))).unwrap();
            assert_eq!(json["wanted"]["peak"], peak);
            assert!(text.contains(&format!("FLASHSALE_PARTITIONS={})", json["partitions"])), "{text}");
            assert_eq!(json["roles"].as_array().unwrap().len(), 5);
            assert!(json["simulation"]["breaks"][0]["orders_per_s"].is_u64(), "{json}");
        }
    }

    #[test]
    fn prices_are_read_from_a_file_and_a_wrong_one_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prices.toml");
        std::fs::write(&file, capacity::PRICES_EXAMPLE).unwrap();
        let line = format!("plan --peak 20000 --prices {}", file.display());
        assert!(told(&line).contains("cost        CNY "), "{}", told(&line));
        std::fs::write(&file, "currency = 'CNY'\nhours = 0\nmachine_hour = 0\ntraffic_gib = 0").unwrap();
        let error = plan(&Typed::try_parse_from(line.split(' ')).unwrap().args).unwrap_err().to_string();
        assert!(error.contains("prices.toml") && error.contains("hours") && error.contains("machine_hour"), "{error}");
    }
}

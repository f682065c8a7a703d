//! The command line. What a value must look like is checked here; what the machine has is not.

#[cfg(not(feature = "production"))]
#[path = "args/absent.rs"]
mod production;
#[cfg(feature = "production")]
mod production;
#[cfg(test)]
mod tests;

use std::{ffi::OsString, net::ToSocketAddrs, path::PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser, error::ErrorKind};
use kit::settings::refuse_secrets;

use crate::{
    deployment::{Deployment, DeploymentKind, Embedded, Target},
    fault::Fault,
    scenario::{Scenario, WrongSize},
    spec::{LoadArgs, RunSpec},
};

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
    pub deployment: DeploymentKind,

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
    /// mysql-kill, mysql-stop; in `life` orders-kill, its own order service (by default @5, at once
    /// again or stopped for 6, 12 and 15 s). Buyers whose answer is to come back do so, with the
    /// same key. Without --rate 10000 requests/s come, and without --buyers as many as the time of
    /// the fault needs.
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

/// The whole command line: ours, and the settings of the production deployment, which nobody else
/// has to say.
fn command() -> clap::Command {
    production::augment(Args::command())
}

/// Reads the command line.
///
/// # Errors
/// [`ArgsError`]; help and version come as [`ArgsError::Usage`] too.
pub fn parse(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<RunSpec, ArgsError> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(arguments).map_err(ArgsError::Usage)?;
    refuse_secrets(&mut command, &matches).map_err(ArgsError::Usage)?;
    let args = Args::from_arg_matches(&matches).map_err(|error| ArgsError::Usage(error.format(&mut command)))?;
    let mut refuse = |what: &str| Err(ArgsError::Usage(command.error(ErrorKind::ArgumentConflict, what)));
    let is_paid = Scenario::named(&args.load.scenario).is_some_and(Scenario::is_paid);
    let deployment = match (args.deployment, &args.target, &args.data) {
        (DeploymentKind::Production, _, Some(_)) => {
            return refuse("--data is a folder of the embedded deployment: give --deployment embedded with it");
        }
        (DeploymentKind::Embedded, Some(_), None) => {
            return refuse("--target needs the data folder of the server that runs there: give --data DIR");
        }
        (DeploymentKind::Embedded, ..) if args.fault.is_some() => {
            return refuse("--fault is of the stack's servers: give --deployment production with it");
        }
        (_, Some(_), _) if is_paid => {
            return refuse("`life` starts its own order service and bank: leave --target out");
        }
        (DeploymentKind::Production, ..) if args.fault.is_some_and(|fault| fault.server.is_of_stack() == is_paid) => {
            return refuse("orders-kill is the fault of `life`, and the others are those of the other scenarios");
        }
        (DeploymentKind::Production, ..) => production::deployment(&matches)?,
        (DeploymentKind::Embedded, _, data) => Deployment::Embedded(Embedded { data: data.clone(), program: None }),
    };
    Ok(match args.fault {
        Some(fault) => RunSpec::with_fault(args.load, deployment, args.target, fault)?,
        None => RunSpec::new(args.load, deployment, args.target)?,
    })
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

//! Settings that only the production deployment needs.

use clap::{ArgMatches, Args, Command, FromArgMatches};
use kit::settings::{StoreArgs, TokenArgs};

use super::ArgsError;
use crate::deployment::{Deployment, Production};

/// What nobody can guess: required, but only here.
const REQUIRED: [&str; 6] = ["redis_url", "kafka_brokers", "mysql_url", "token_kid", "token_secret", "token_tenants"];

/// The command line with stores and keys.
pub(super) fn augment(command: Command) -> Command {
    let command = command.next_help_heading("Stores and keys of the production deployment");
    let command = TokenArgs::augment_args(StoreArgs::augment_args(command));
    let optional = |command: Command, id| command.mut_arg(id, |argument| argument.required(false));
    REQUIRED.into_iter().fold(command, optional).mut_arg("namespace", |argument| argument.default_value("loadtest"))
}

/// Stores and keys, all of them.
pub(super) fn deployment(matches: &ArgMatches) -> Result<Deployment, ArgsError> {
    let missing: Vec<String> = REQUIRED.into_iter().filter(|id| !matches.contains_id(id)).map(flag).collect();
    if !missing.is_empty() {
        return Err(ArgsError::NoStack(missing.join(", ")));
    }
    let stores = StoreArgs::from_arg_matches(matches).map_err(ArgsError::Usage)?;
    let tokens = TokenArgs::from_arg_matches(matches).map_err(ArgsError::Usage)?;
    Ok(Deployment::Production(Production { stores, tokens }))
}

/// As it is written on the command line and in the environment.
fn flag(id: &str) -> String {
    format!("--{} (FLASHSALE_{})", id.replace('_', "-"), id.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{args::parse, deployment::DeploymentKind, spec::RunSpec};

    const STACK: [&str; 6] = [
        "--redis-url=redis://127.0.0.1:1",
        "--kafka-brokers=127.0.0.1:1",
        "--mysql-url=mysql://u@127.0.0.1:1",
        "--token-kid=a",
        // Any file: a secret is judged when it is used.
        concat!("--token-secret=file:", env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        "--token-tenants=*",
    ];

    fn spec(extra: &[&str]) -> Result<RunSpec, ArgsError> {
        parse(["loadtest", "orders"].iter().chain(&STACK).chain(extra))
    }

    fn namespace(extra: &[&str]) -> String {
        match spec(extra).unwrap().deployment {
            Deployment::Production(production) => production.stores.namespace.to_string(),
            deployment => panic!("{deployment:?}"),
        }
    }

    #[test]
    fn production_is_what_is_tested_unless_said_otherwise() {
        assert_eq!(spec(&[]).unwrap().deployment.kind(), DeploymentKind::Production);
        assert!(matches!(spec(&["--data=/tmp/shop"]), Err(ArgsError::Usage(_))));
    }

    #[test]
    fn a_load_with_a_fault_lasts_through_it() {
        let spec = spec(&["--fault=redis-stop@4"]).unwrap();
        assert_eq!(spec.fault.map(|fault| fault.to_string()).as_deref(), Some("redis-stop@4+6"));
        assert_eq!((spec.args.rate, spec.size.buyers, spec.seconds()), (Some(10_000.0), 250_000, 120));
        let parsed = |extra: &str| {
            parse(["loadtest", "sellout"].iter().chain(&STACK).chain(extra.split(' ').collect::<Vec<_>>().iter()))
        };
        let spec = parsed("--fault kafka-kill --rate 1000").unwrap();
        assert_eq!((spec.size.buyers, spec.size.units, spec.args.rate), (20_000, 18_000, Some(1_000.0)));
        let spec = parse(["loadtest", "steady"].iter().chain(&STACK).chain(&["--fault=mysql-stop"])).unwrap();
        assert_eq!((spec.args.rate, spec.seconds()), (None, 35), "its pace is a share of what it finds");
        assert!(matches!(
            parse(["loadtest", "orders", "--deployment=embedded", "--fault=redis-kill"]),
            Err(ArgsError::Usage(_))
        ));
        assert!(matches!(parsed("--fault nginx-kill"), Err(ArgsError::Usage(_))));
    }

    #[test]
    fn a_password_on_the_command_line_is_refused() {
        let error = parse(["loadtest", "orders", "--mysql-url=mysql://u:hunter2@127.0.0.1:1"]).unwrap_err().to_string();
        assert!(error.contains("FLASHSALE_MYSQL_URL") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_namespace_is_our_own_unless_said_otherwise() {
        // `FLASHSALE_NAMESPACE` of the shell that runs the tests has the word, as in a run.
        let expected = std::env::var("FLASHSALE_NAMESPACE").unwrap_or_else(|_| "loadtest".into());
        assert_eq!(namespace(&[]), expected);
        assert_eq!(namespace(&["--namespace=other"]), "other");
    }

    #[test]
    fn without_the_stack_we_say_how_to_start_it() {
        if std::env::var_os("FLASHSALE_REDIS_URL").is_some() {
            return; // The shell has it: nothing is missing.
        }
        let error = parse(["loadtest", "sellout", "--token-kid=a"]).unwrap_err();
        assert!(matches!(error, ArgsError::NoStack(_)), "{error:?}");
        let message = error.to_string();
        assert!(message.contains("--redis-url (FLASHSALE_REDIS_URL)") && !message.contains("--token-kid"), "{message}");
        assert!(
            message.contains("stack/stack up && . stack/env") && message.contains("--deployment embedded"),
            "{message}"
        );
    }
}

//! Settings that several services share. Each is a flag and an environment variable; a service
//! flattens the groups it needs into its own `clap::Parser`. Checked here is what a value must look
//! like, not whether anything answers there.

/// Values that must not be printed.
mod redacted;

use std::ffi::OsString;
use std::net::SocketAddr;

use clap::builder::RangedU64ValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Parser};
pub use domain::namespace::Namespace;

pub use self::redacted::{FileValueError, Secret, ServiceUrl};
use crate::admin::Hosts;
use crate::exit::Exit;
use crate::token::{KeyError, LIFETIME_MAX_S, Tenants, TokenKey, TokenSigner, TokenVerifier};

/// The settings that are secrets, or may hold one.
const SECRETS: [&str; 1] = ["token_secret"];
const URLS: [&str; 2] = ["redis_url", "mysql_url"];

/// Longest life of a token that can be set: a year.
const LIFETIME_S_MAX: u64 = 366 * 24 * 3_600;

/// Most of anything that divides the buyers: there are 1024 slots.
pub const DIVISIONS_MAX: u64 = 1024;

/// Where the three things that remember are, and how they are divided. All services of a deployment
/// MUST agree.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    /// Redis, or one node of a Redis Cluster: `redis://[user:password@]host:port`. With a password:
    /// by the environment, or `file:PATH`, a file that holds it.
    #[arg(long, env = "FLASHSALE_REDIS_URL", hide_env_values = true)]
    pub redis_url: ServiceUrl,

    /// The log.
    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// MySQL or MariaDB, without a database: `mysql://user:password@host:port`. By the environment,
    /// or `file:PATH`, a file that holds it.
    #[arg(long, env = "FLASHSALE_MYSQL_URL", hide_env_values = true)]
    pub mysql_url: ServiceUrl,

    /// What keys, topics and databases of this deployment begin with.
    #[arg(long, env = "FLASHSALE_NAMESPACE", default_value = "flashsale")]
    pub namespace: Namespace,

    /// Databases that hold orders. Fixed for the life of a deployment.
    #[arg(long, env = "FLASHSALE_SHARDS", default_value_t = 2, value_parser = divisions())]
    pub shards: u16,

    /// Tables of orders in each database. Fixed for the life of a deployment.
    #[arg(long, env = "FLASHSALE_TABLES", default_value_t = 4, value_parser = divisions())]
    pub tables: u16,

    /// Partitions of the order log. Fixed for the life of a log.
    #[arg(long, env = "FLASHSALE_PARTITIONS", default_value_t = 4, value_parser = divisions())]
    pub partitions: u16,
}

/// The relational database, and whose part of it. Of the stores that hold passwords only this one
/// is asked for.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// MySQL or MariaDB, without a database: `mysql://user:password@host:port`. By the environment,
    /// or `file:PATH`, a file that holds it.
    #[arg(long, env = "FLASHSALE_MYSQL_URL", hide_env_values = true)]
    pub mysql_url: ServiceUrl,

    /// What keys, topics and databases of this deployment begin with.
    #[arg(long, env = "FLASHSALE_NAMESPACE", default_value = "flashsale")]
    pub namespace: Namespace,
}

/// How the order log is divided.
#[derive(Debug, Clone, Copy, Args)]
pub struct PartitionArgs {
    /// Partitions of the order log. Fixed for the life of a log.
    #[arg(long, env = "FLASHSALE_PARTITIONS", default_value_t = 4, value_parser = divisions())]
    pub partitions: u16,
}

/// Where the log is, and how many copies it keeps.
#[derive(Debug, Clone, Args)]
pub struct KafkaArgs {
    /// Kafka's first brokers: `host:port`, several separated by commas.
    #[arg(long, env = "FLASHSALE_KAFKA_BROKERS")]
    pub kafka_brokers: String,

    /// Copies of each log record: 1 on one machine, 3 in a cluster.
    #[arg(long, env = "FLASHSALE_KAFKA_REPLICATION", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=7))]
    pub kafka_replication: u16,

    /// Copies that must exist before a record is acknowledged: 1 on one machine, 2 in a cluster.
    #[arg(long, env = "FLASHSALE_KAFKA_MIN_INSYNC", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=7))]
    pub kafka_min_insync: u16,
}

/// The keys of buyers' tokens. To rotate, put the new key first everywhere, wait until the last old
/// token has expired, then drop the old one; an engine must know a key before the issuer uses it.
#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    /// Ids of the keys, the one to sign with first, separated by commas.
    #[arg(long, env = "FLASHSALE_TOKEN_KID", value_delimiter = ',', required = true)]
    pub token_kid: Vec<String>,

    /// Their secrets in the same order, base64url, at least 32 bytes each. By the environment, or
    /// `file:PATH`, a file that holds one.
    #[arg(long, env = "FLASHSALE_TOKEN_SECRET", value_delimiter = ',', required = true, hide_env_values = true)]
    pub token_secret: Vec<Secret>,

    /// For which tenants each may sign, in the same order: `*` for every tenant, or ids joined by
    /// `+`, such as `7+8`.
    #[arg(long, env = "FLASHSALE_TOKEN_TENANTS", value_delimiter = ',', required = true)]
    pub token_tenants: Vec<Tenants>,

    /// Longest life of a token in seconds; one that would be valid for longer is refused.
    #[arg(long, env = "FLASHSALE_TOKEN_LIFETIME_MAX_S", default_value_t = LIFETIME_MAX_S,
        value_parser = clap::value_parser!(u64).range(60..=LIFETIME_S_MAX))]
    pub token_lifetime_max_s: u64,
}

impl TokenArgs {
    /// The keys, in order.
    ///
    /// # Errors
    ///
    /// When ids, secrets and tenants do not pair up, or one is not fit for use.
    pub fn keys(&self) -> Result<Vec<TokenKey>, KeyError> {
        let (kids, secrets, tenants) = (self.token_kid.len(), self.token_secret.len(), self.token_tenants.len());
        if kids != secrets || kids != tenants {
            return Err(KeyError::Unpaired { kids, secrets, tenants });
        }
        let keys = self.token_kid.iter().zip(&self.token_secret).zip(&self.token_tenants);
        keys.map(|((kid, secret), tenants)| TokenKey::new(kid, secret.expose(), tenants.clone())).collect()
    }

    /// A verifier that knows all of them.
    ///
    /// # Errors
    ///
    /// As [`TokenArgs::keys`], or when two have the same id.
    pub fn verifier(&self) -> Result<TokenVerifier, KeyError> {
        Ok(TokenVerifier::new(self.keys()?)?.with_lifetime_max_s(self.token_lifetime_max_s))
    }

    /// A signer with the first of them.
    ///
    /// # Errors
    ///
    /// As [`TokenArgs::keys`].
    pub fn signer(&self) -> Result<TokenSigner, KeyError> {
        self.keys()?.into_iter().next().map(TokenSigner::new).ok_or(KeyError::None)
    }
}

/// Where metrics and probes are served.
#[derive(Debug, Clone, Args)]
pub struct AdminArgs {
    /// Address of metrics and probes. Not for buyers.
    #[arg(long, env = "FLASHSALE_ADMIN_ADDR", default_value = "127.0.0.1:9464")]
    pub admin_addr: SocketAddr,

    /// Names by which metrics and probes may be asked for, separated by commas. IP addresses and
    /// `localhost` always may; another name could be one that somebody's page leads here.
    #[arg(long, env = "FLASHSALE_ADMIN_HOSTS", value_delimiter = ',')]
    pub admin_hosts: Vec<String>,
}

impl AdminArgs {
    /// The names by which the port may be asked for.
    #[must_use]
    pub fn hosts(&self) -> Hosts {
        Hosts::new(&self.admin_hosts)
    }
}

/// The settings of this process. On a usage error prints clap's message and exits with
/// [`Exit::Usage`]; on `--help` and `--version` prints them and exits with 0.
#[must_use]
pub fn parse_or_exit<T: Parser>() -> T {
    match parse(std::env::args_os()) {
        Ok(settings) => settings,
        Err(error) => {
            // With nowhere to print to, the status is all that can be said.
            let _printed: std::io::Result<()> = error.print();
            std::process::exit(status_of(&error))
        }
    }
}

fn parse<T: Parser>(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<T, clap::Error> {
    let mut command = T::command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    refuse_secrets(&mut command, &matches)?;
    T::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Refuses secrets that stand on the command line, where every user of the machine reads them.
///
/// # Errors
///
/// A usage error that names the first such setting and the ways to give it.
pub fn refuse_secrets(command: &mut Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let typed = |id: &str| {
        let given = matches.try_contains_id(id).unwrap_or(false);
        let is_typed = given && matches.value_source(id) == Some(ValueSource::CommandLine);
        is_typed.then(|| matches.get_raw(id)).flatten().into_iter().flatten().map(|value| value.to_string_lossy())
    };
    let secret = SECRETS.into_iter().find(|id| typed(id).any(|value| !redacted::is_file(&value)));
    let url = URLS.into_iter().find(|id| {
        typed(id).any(|value| !redacted::is_file(&value) && ServiceUrl::plain(value.into_owned()).hides_something())
    });
    if let Some(id) = secret.or(url) {
        let (flag, variable) = (id.replace('_', "-"), id.to_uppercase());
        let text = format!(
            "--{flag} holds a secret, and a command line is for every user of this machine to read: set FLASHSALE_{variable}, \
             or give --{flag} file:PATH, a file that holds it"
        );
        return Err(command.error(ErrorKind::ValueValidation, text));
    }
    matches.subcommand().map_or(Ok(()), |(_, matches)| refuse_secrets(command, matches))
}

/// Ends the process over settings that clap could not judge, such as a secret that is too short,
/// the same way.
pub fn usage_error_and_exit(error: &dyn std::error::Error) -> ! {
    // The log may be what could not be set.
    let _status = Exit::Usage.tell("settings", &error);
    Exit::Usage.now()
}

fn status_of(error: &clap::Error) -> i32 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
        _ => Exit::Usage.status().into(),
    }
}

fn divisions() -> RangedU64ValueParser<u16> {
    RangedU64ValueParser::new().range(1..=DIVISIONS_MAX)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;

    #[derive(Debug, Parser)]
    struct All {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        token: TokenArgs,
        #[command(flatten)]
        admin: AdminArgs,
    }

    const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";

    fn parse(extra: &[&str]) -> Result<All, clap::Error> {
        let required = [
            "test",
            "--redis-url=redis://:hunter2@r:6379",
            "--kafka-brokers=k:9092",
            "--mysql-url=mysql://root:hunter2@m:3306",
        ];
        of_arguments(required.iter().chain(extra))
    }

    /// By arguments alone: whatever the environment of the test says.
    fn of_arguments<'a>(arguments: impl IntoIterator<Item = &'a &'a str>) -> Result<All, clap::Error> {
        let command = All::command().mut_args(|argument| argument.env(clap::builder::Resettable::Reset));
        All::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    fn with_key(extra: &[&str]) -> Result<All, clap::Error> {
        let secret = format!("--token-secret={SECRET}");
        let key = ["--token-kid=a", &secret, "--token-tenants=*"];
        parse(&[key.as_slice(), extra].concat())
    }

    #[test]
    fn defaults_are_those_of_the_manual() {
        let all = with_key(&[]).unwrap();
        assert_eq!(all.store.namespace.as_str(), "flashsale");
        assert_eq!((all.store.shards, all.store.tables, all.store.partitions), (2, 4, 4));
        assert_eq!(all.admin.admin_addr.to_string(), "127.0.0.1:9464");
        assert_eq!(all.store.mysql_url.expose(), "mysql://root:hunter2@m:3306");
    }

    #[test]
    fn every_setting_has_an_environment_variable_of_ours() {
        for argument in All::command().get_arguments().filter(|argument| argument.get_id() != "help") {
            let name = argument.get_env().and_then(|name| name.to_str()).unwrap_or_default();
            let expected = format!("FLASHSALE_{}", argument.get_id().as_str().to_uppercase());
            assert_eq!(name, expected);
        }
    }

    #[test]
    fn nothing_secret_is_shown_in_debug() {
        let shown = format!("{:?}", with_key(&[]).unwrap());
        assert!(!shown.contains("hunter2") && !shown.contains(SECRET), "{shown}");
        assert!(shown.contains("root") && shown.contains("m:3306"), "{shown}");
    }

    #[test]
    fn usage_errors_exit_64_and_help_exits_0() {
        let too_many = with_key(&["--shards=1025"]).unwrap_err();
        assert_eq!(status_of(&too_many), 64);
        assert_eq!(status_of(&with_key(&["--tables=0"]).unwrap_err()), 64);
        assert_eq!(status_of(&with_key(&["--no-such"]).unwrap_err()), 64);
        assert_eq!(status_of(&of_arguments(&["test"]).unwrap_err()), 64);
        assert_eq!(status_of(&with_key(&["--help"]).unwrap_err()), 0);
        All::command().debug_assert();
    }

    /// A key without tenants would sign for every shop; a setting that was forgotten must not mean
    /// that.
    #[test]
    fn the_tenants_of_a_key_are_always_said() {
        let secret = format!("--token-secret={SECRET}");
        let error = parse(&["--token-kid=a", &secret]).unwrap_err();
        assert!(error.to_string().contains("--token-tenants"), "{error}");
        assert!(with_key(&["--token-tenants=seven"]).unwrap_err().to_string().contains("`7+8`"));
    }

    #[test]
    fn a_secret_on_the_command_line_is_refused_with_the_other_ways() {
        let refused = |given: &str| {
            let all = All::command();
            let mut command = all.mut_args(|argument| argument.env(clap::builder::Resettable::Reset).required(false));
            let matches = command.try_get_matches_from_mut(["test", given]).unwrap();
            refuse_secrets(&mut command, &matches).map_err(|error| {
                assert_eq!(status_of(&error), 64);
                error.to_string()
            })
        };
        let secret = format!("--token-secret={SECRET}");
        for (given, variable) in [
            (secret.as_str(), "FLASHSALE_TOKEN_SECRET"),
            ("--mysql-url=mysql://root:hunter2@m:3306", "FLASHSALE_MYSQL_URL"),
            ("--redis-url=redis://:hunter2@r:6379", "FLASHSALE_REDIS_URL"),
        ] {
            let told = refused(given).unwrap_err();
            assert!(told.contains(variable) && told.contains("file:PATH"), "{told}");
            assert!(!told.contains("hunter2") && !told.contains(SECRET), "{told}");
        }
        assert_eq!(refused("--mysql-url=mysql://root@m:3306"), Ok(()));
    }

    /// As clap reads them, and not only as they would be read by themselves.
    #[test]
    fn a_setting_may_name_a_file() {
        let path = std::env::temp_dir().join(format!("kit-settings-{}", std::process::id()));
        std::fs::write(&path, "redis://:hunter2@elsewhere:6379\n").unwrap();
        let named = format!("--redis-url=file:{}", path.display());
        let key = [format!("--token-secret=file:{}", path.display()), named];
        let given = ["test", "--kafka-brokers=k:9092", "--mysql-url=mysql://m", "--token-kid=a", "--token-tenants=*"];
        let all = of_arguments(given.iter().chain(&[key[0].as_str(), key[1].as_str()])).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(all.store.redis_url.expose(), "redis://:hunter2@elsewhere:6379");
        assert_eq!(all.token.token_secret[0].expose(), "redis://:hunter2@elsewhere:6379");
    }

    #[test]
    fn several_keys_pair_up_and_the_first_signs() {
        let secrets = format!("--token-secret={SECRET},ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=");
        let token = parse(&["--token-kid=new,old", &secrets, "--token-tenants=1+3,*"]).unwrap().token;
        let kids: Vec<String> = token.keys().unwrap().iter().map(|key| key.kid().to_owned()).collect();
        assert_eq!(kids, ["new", "old"]);
        let claims = crate::token::BuyerClaims::new(1, 2, 9_000);
        let signed = token.signer().unwrap().sign(&claims, 0).unwrap();
        assert_eq!(token.verifier().unwrap().verify(&signed, 0), Ok(claims));
        let other = crate::token::BuyerClaims { tenant: 2, ..claims };
        assert!(token.signer().unwrap().sign(&other, 0).is_err());
    }

    #[test]
    fn keys_that_do_not_pair_up_or_are_too_short_are_settings_errors() {
        let token = with_key(&["--token-kid=b"]).unwrap().token;
        assert_eq!(token.keys().unwrap_err(), KeyError::Unpaired { kids: 2, secrets: 1, tenants: 1 });
        let token = with_key(&["--token-tenants=7"]).unwrap().token;
        assert_eq!(token.keys().unwrap_err(), KeyError::Unpaired { kids: 1, secrets: 1, tenants: 2 });
        let token = parse(&["--token-kid=a", "--token-secret=c2hvcnQ", "--token-tenants=*"]).unwrap().token;
        let error = token.verifier().unwrap_err();
        assert_eq!(error, KeyError::Short { kid: "a".to_owned(), bytes: 5 });
        assert!(!error.to_string().contains("c2hvcnQ"));
    }
}

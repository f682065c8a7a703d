//! The command line, and what each command does. It holds no rule.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use domain::id::{BuyerId, TenantId};
use kit::{
    clock::{Clock, SystemClock},
    settings::EXIT_USAGE,
    token::{BuyerClaims, TokenSigner},
};
use tracing::level_filters::LevelFilter;

use crate::{
    client::{self, ClientError},
    config::{self, Config, ConfigError, Overrides},
    folder::{self, FolderError},
    serve,
};

/// How long a token is valid that does not say.
const TOKEN_HOURS: u64 = 24;
const HOUR_MS: u64 = 3_600_000;

/// A flash-sale shop in one process and one folder. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "flashsale", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sells until it is told to end. On an empty folder it makes a demo tenant with a running sale.
    Serve(ServeArgs),
    /// Prints the settings file with every key, its meaning and its default.
    Config,
    /// Prints a buyer's token.
    Token(TokenCommand),
    /// Publishes a sale file as the next version of its sale, whether a server runs on the folder or not.
    Publish(PublishCommand),
    /// Prints a commented sale file.
    Example,
}

/// What `serve` is told.
#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// The buyers' port; metrics and the other commands use the next one.
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// The port of metrics and of the other commands.
    #[arg(long, value_name = "N")]
    admin_port: Option<u16>,
    /// Make no demo sale on an empty folder.
    #[arg(long)]
    no_demo: bool,
}

/// Which folder.
#[derive(Debug, Args)]
struct FolderArgs {
    /// The data folder [default: flashsale-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A settings file; `flashsale config` prints one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct TokenCommand {
    /// The buyer.
    buyer: BuyerId,
    /// The tenant; 7 is the demo's.
    #[arg(long, default_value = "7")]
    tenant: TenantId,
    /// Hours for which it is valid.
    #[arg(long, default_value_t = TOKEN_HOURS, value_parser = clap::value_parser!(u64).range(1..=24 * 366))]
    hours: u64,
    #[command(flatten)]
    folder: FolderArgs,
}

#[derive(Debug, Args)]
struct PublishCommand {
    /// A sale file; `flashsale example` prints one.
    file: PathBuf,
    #[command(flatten)]
    folder: FolderArgs,
}

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A running server.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The file that was to be published.
    #[error("{}: {what}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The service, with all that led to it.
    #[error("{0:#}")]
    Service(anyhow::Error),
}

impl Failure {
    /// The exit status, as sysexits.h names them where it has a name.
    pub fn status(&self) -> i32 {
        match self {
            Self::Config(_) => EXIT_USAGE,
            Self::File { .. } => 65,
            Self::Client(_) => 69,
            Self::Folder(_) | Self::Service(_) => 1,
        }
    }
}

impl Cli {
    /// What is logged unless `RUST_LOG` says otherwise: a server tells its life, a command its answer only.
    pub fn log_level(&self) -> LevelFilter {
        match self.command {
            None | Some(Command::Serve(_)) => LevelFilter::WARN,
            Some(_) => LevelFilter::ERROR,
        }
    }
}

impl FolderArgs {
    fn read(&self) -> Result<Config, ConfigError> {
        Config::read(self.config.as_deref(), &Overrides { data: self.data.clone(), ..Overrides::default() })
    }
}

impl ServeArgs {
    fn read(&self) -> Result<Config, ConfigError> {
        let overrides = Overrides {
            data: self.folder.data.clone(),
            port: self.port,
            admin_port: self.admin_port,
            no_demo: self.no_demo,
        };
        Config::read(self.folder.config.as_deref(), &overrides)
    }
}

/// Does what was asked for; returns what is to be printed.
///
/// # Errors
/// [`Failure`], which says what to do.
pub async fn run(cli: Cli) -> Result<String, Failure> {
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => {
            serve::serve(args.read()?).await.map_err(Failure::Service)?;
            Ok(String::new())
        }
        Command::Config => Ok(config::DEFAULT.into()),
        Command::Example => Ok(catalog::render::example_open_at(SystemClock::new().now_ms())),
        Command::Token(args) => token(&args),
        Command::Publish(args) => publish(&args).await,
    }
}

fn token(args: &TokenCommand) -> Result<String, Failure> {
    let config = args.folder.read()?;
    folder::running(&config.data)?;
    let signer = TokenSigner::new(folder::token_key(&config.data)?);
    let now_ms = SystemClock::new().now_ms();
    let tenant = u32::try_from(args.tenant.get()).unwrap_or(u32::MAX);
    let claims = BuyerClaims { tenant, buyer: args.buyer.get(), expires_ms: now_ms + args.hours * HOUR_MS };
    let token = signer.sign(&claims, now_ms).map_err(|error| Failure::Service(error.into()))?;
    Ok(token + "\n")
}

async fn publish(args: &PublishCommand) -> Result<String, Failure> {
    let config = args.folder.read()?;
    let file = |what: String| Failure::File { path: args.file.clone(), what };
    let text = catalog::file::load(&args.file).map_err(|flaw| file(flaw.to_string()))?;
    match folder::running(&config.data)? {
        Some(note) => {
            let key = folder::control_key(&config.data)?;
            client::publish(&note, &key, text).await?.map_err(file)
        }
        None => serve::publish_at_rest(&config, &text).await.map_err(Failure::Service)?.map_err(file),
    }
}

//! The command line, and what each command does. It holds no rule.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use domain::id::{BuyerId, OrderId, TenantId};
use kit::{
    clock::{Clock, SystemClock},
    exit::{Exit, whole},
    token::{BuyerClaims, LIFETIME_MAX_S, SignError, TokenSigner},
};
use loadtest::spec::LoadArgs;
use order_writer::parked::ParkedCommand;
use serde_json::{Value, json};
use tracing::level_filters::LevelFilter;

use crate::{
    audit::{self, Audit, AuditError},
    backup::{self, Backup, BackupError},
    client::{self, ClientError},
    config::{self, Config, ConfigError, Overrides},
    desk::Wish,
    folder::{self, FolderError},
    folder_args::FolderArgs,
    load::{self, LoadError},
    manage::{self, ManageError},
    plan::{self, PlanArgs, PlanError},
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
    /// Sells until it is told to end. On an empty folder it makes a demo tenant with a running
    /// sale.
    Serve(ServeArgs),
    /// Prints the settings file with every key, its meaning and its default.
    Config,
    /// Prints a buyer's token.
    Token(TokenCommand),
    /// Publishes a sale file as the next version of its sale, whether a server runs on the folder
    /// or not.
    Publish(PublishCommand),
    /// Prints a commented sale file.
    Example,
    /// Cancels an unpaid order and gives its units back.
    Cancel(CancelCommand),
    /// Expires unpaid orders whose time to pay is over, and gives their units back.
    Expire(ExpireCommand),
    /// Records that were set aside because nothing could be decided of them, and those that a
    /// partition waits for.
    #[command(mut_arg("data", |arg| arg.global(true)), mut_arg("config", |arg| arg.global(true)))]
    Parked(ParkedArgs),
    /// Checks INV-1 to INV-5 on the data folder, with its server or without, and says what it
    /// found.
    Audit(AuditArgs),
    /// Checks the same on a production stack: Redis, Kafka and MySQL.
    #[cfg(feature = "production")]
    AuditStack(AuditStackArgs),
    /// Copies the data folder to one that is not there yet, while a server sells or without one.
    /// `flashsale serve --data COPY` starts on it.
    Backup(BackupArgs),
    /// Tenants of the deployment.
    #[command(mut_arg("data", |arg| arg.global(true)), mut_arg("config", |arg| arg.global(true)))]
    Tenant(manage::TenantArgs),
    /// People of a tenant.
    #[command(mut_arg("data", |arg| arg.global(true)), mut_arg("config", |arg| arg.global(true)))]
    User(manage::UserArgs),
    /// API keys of a tenant.
    #[command(mut_arg("data", |arg| arg.global(true)), mut_arg("config", |arg| arg.global(true)))]
    Key(manage::KeyArgs),
    /// Makes and changes products from a file, by their codes.
    Import(manage::ImportArgs),
    /// How many machines a peak takes, from the measured cost of an order, and what breaks first.
    Plan(PlanArgs),
    /// Sales: made, published, changed while they run, closed.
    #[command(mut_arg("data", |arg| arg.global(true)), mut_arg("config", |arg| arg.global(true)))]
    Sale(Box<manage::SaleArgs>),
    /// Switches of the operator while sales run: stops, and what is logged.
    #[command(mut_arg("data", |arg| arg.global(true)), mut_arg("config", |arg| arg.global(true)))]
    Ctl(manage::CtlArgs),
    /// Commissions: what a plan would cost, before it is published.
    #[command(mut_arg("data", |arg| arg.global(true)), mut_arg("config", |arg| arg.global(true)))]
    Commissions(Box<manage::CommissionsArgs>),
    /// Prints what a shell needs to complete this program's commands.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Loads a server of its own on a fresh folder, audits it and draws a picture; `orders` when no
    /// scenario is named.
    #[command(mut_arg("scenario", |scenario| scenario.required(false).default_value("orders")))]
    Load(LoadArgs),
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

/// How the answer is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct AsJson {
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

impl AsJson {
    /// The answer, or what is told of it in words.
    fn print(self, answer: &Value, text: String) -> String {
        if self.json { format!("{answer:#}\n") } else { text }
    }

    /// A sentence that tells what was done.
    fn said(self, text: String) -> String {
        self.print(&json!({ "done": text.trim_end() }), text)
    }
}

#[derive(Debug, Args)]
struct TokenCommand {
    /// The buyer.
    buyer: BuyerId,
    /// The tenant; 7 is the demo's.
    #[arg(long, default_value = "7")]
    tenant: TenantId,
    /// Hours for which it is valid, at most 31 days.
    #[arg(long, default_value_t = TOKEN_HOURS, value_parser = clap::value_parser!(u64).range(1..=LIFETIME_MAX_S / 3_600))]
    hours: u64,
    #[command(flatten)]
    print: AsJson,
    #[command(flatten)]
    folder: FolderArgs,
}

#[derive(Debug, Args)]
struct PublishCommand {
    /// A sale file, as `flashsale example` prints one; `-` reads standard input.
    file: PathBuf,
    #[command(flatten)]
    print: AsJson,
    #[command(flatten)]
    folder: FolderArgs,
}

#[derive(Debug, Args)]
struct AuditArgs {
    #[command(flatten)]
    print: AsJson,
    #[command(flatten)]
    folder: FolderArgs,
}

#[derive(Debug, Args)]
struct BackupArgs {
    /// Where the copy goes.
    to: PathBuf,
    #[command(flatten)]
    print: AsJson,
    #[command(flatten)]
    folder: FolderArgs,
}

#[cfg(feature = "production")]
#[derive(Debug, Args)]
struct AuditStackArgs {
    #[command(flatten)]
    print: AsJson,
    #[command(flatten)]
    stores: kit::settings::StoreArgs,
}

#[derive(Debug, Args)]
struct CancelCommand {
    /// The order's id.
    order: OrderId,
    #[command(flatten)]
    print: AsJson,
    #[command(flatten)]
    folder: FolderArgs,
}

#[derive(Debug, Args)]
struct ExpireCommand {
    /// Instead those that were reserved at least so many seconds ago, whatever their time to pay.
    #[arg(long, value_name = "SECONDS")]
    older_than: Option<u64>,
    #[command(flatten)]
    print: AsJson,
    #[command(flatten)]
    folder: FolderArgs,
}

#[derive(Debug, Args)]
struct ParkedArgs {
    #[command(subcommand)]
    what: ParkedCommand,
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
    /// The audit.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A command about tenants, people, keys or products.
    #[error(transparent)]
    Manage(#[from] ManageError),
    /// The prices of a plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// What was asked for is not possible.
    #[error("{0}")]
    Refused(String),
    /// Something was found: the text says what.
    #[error("{0}")]
    Damaged(String),
    /// The service, with all that led to it.
    #[error("{}", whole(.0.as_ref()))]
    Service(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    /// What is wrong with the folder is told once, whoever met it.
    fn from(error: anyhow::Error) -> Self {
        error.downcast().map_or_else(Self::Service, Self::Folder)
    }
}

impl Failure {
    /// The status with which the program ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Usage,
            Self::File { .. } => Exit::Data,
            Self::Client(_) => Exit::Unavailable,
            Self::Folder(error) => error.exit(),
            Self::Audit(error) => error.exit(),
            Self::Backup(error) => error.exit(),
            Self::Load(error) => error.exit(),
            Self::Manage(ManageError::Connection(error)) => error.exit(),
            Self::Manage(ManageError::File { .. }) => Exit::NoInput,
            Self::Manage(ManageError::Lines(_)) => Exit::Data,
            Self::Plan(PlanError::Prices { .. }) => Exit::Data,
            Self::Plan(PlanError::Figures(_)) => Exit::Software,
            Self::Refused(_) | Self::Damaged(_) => Exit::No,
            Self::Service(error) => serve::exit_of(error),
        }
    }
}

impl Cli {
    /// What is logged unless `RUST_LOG` says otherwise: a server tells its life, a command its
    /// answer only.
    pub fn log_level(&self) -> LevelFilter {
        match self.command {
            None | Some(Command::Serve(_)) => LevelFilter::WARN,
            Some(_) => LevelFilter::ERROR,
        }
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
            serve::serve(args.read()?).await?;
            Ok(String::new())
        }
        Command::Config => Ok(config::DEFAULT.into()),
        Command::Example => Ok(catalog::render::example_open_at(SystemClock::new().now_ms())),
        Command::Token(args) => token(&args),
        Command::Publish(args) => publish(&args).await,
        Command::Cancel(args) => wish(&args.folder, args.print, Wish::Cancel(args.order)).await,
        Command::Expire(args) => {
            let wish_to = Wish::Expire(args.older_than.map(Duration::from_secs));
            wish(&args.folder, args.print, wish_to).await
        }
        Command::Parked(args) => parked(&args).await,
        Command::Tenant(args) => Ok(manage::tenant(args).await?),
        Command::User(args) => Ok(manage::user(args).await?),
        Command::Key(args) => Ok(manage::key(args).await?),
        Command::Import(args) => Ok(manage::import(args).await?),
        Command::Ctl(args) => Ok(manage::ctl(args).await?),
        Command::Plan(args) => Ok(plan::plan(&args)?),
        Command::Sale(args) => Ok(manage::sale(*args).await?),
        Command::Commissions(args) => Ok(manage::commissions(*args).await?),
        Command::Completions { shell } => Ok(completions(shell)),
        Command::Audit(args) => verdict(args.print, audit::folder(&args.folder.read()?).await?),
        Command::Backup(args) => back_up(&args).await,
        #[cfg(feature = "production")]
        Command::AuditStack(args) => verdict(args.print, audit::stack::audit(&args.stores).await?),
        Command::Load(args) => {
            let (text, clean) = load::load(args).await?;
            if clean { Ok(text) } else { Err(Failure::Damaged(format!("the load left damage, see above{text}"))) }
        }
    }
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "flashsale", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

async fn back_up(args: &BackupArgs) -> Result<String, Failure> {
    let done = backup::backup(&args.folder.read()?, &args.to).await?;
    let Backup { folder, files, bytes } = &done;
    let told = format!("copied {} files, {bytes} bytes, to {}\n", files.len(), folder.display());
    Ok(args.print.print(&serde_json::to_value(&done).unwrap_or_default(), told))
}

fn verdict(print: AsJson, Audit { text, holds }: Audit) -> Result<String, Failure> {
    let shown = print.print(&json!({ "holds": holds, "text": text }), text);
    match (holds, print.json) {
        (true, _) => Ok(shown),
        (false, false) => Err(Failure::Damaged(shown)),
        (false, true) => {
            // The answer goes where answers go; a reader that is gone changes none of it.
            let _printed = io::stdout().lock().write_all(shown.as_bytes());
            Err(Failure::Damaged("the audit found damage: `holds` is false".into()))
        }
    }
}

fn token(args: &TokenCommand) -> Result<String, Failure> {
    let config = args.folder.read()?;
    folder::running(&config.data)?;
    let signer = TokenSigner::new(folder::token_key(&config.data)?);
    let now_ms = SystemClock::new().now_ms();
    let tenant = args.tenant.number();
    let claims = BuyerClaims::new(tenant, args.buyer.get(), now_ms + args.hours * HOUR_MS);
    let token = signer.sign(&claims, now_ms).map_err(|error| match error {
        SignError::Claims { .. } | SignError::Tenant { .. } => Failure::Refused(error.to_string()),
        SignError::Write(_) => Failure::Service(error.into()),
    })?;
    Ok(args.print.print(&json!({ "token": token }), format!("{token}\n")))
}

async fn wish(folder: &FolderArgs, print: AsJson, wish: Wish) -> Result<String, Failure> {
    let config = folder.read()?;
    let done = match folder::running(&config.data)? {
        Some(note) => client::wish(&note, &folder::control_key(&config.data)?, &wish).await?,
        None => serve::wish_at_rest(&config, wish).await?,
    };
    done.map(|told| print.said(told)).map_err(Failure::Refused)
}

async fn parked(args: &ParkedArgs) -> Result<String, Failure> {
    let config = args.folder.read()?;
    let done = match folder::running(&config.data)? {
        Some(note) => client::parked(&note, &folder::control_key(&config.data)?, &args.what).await?,
        None => serve::parked_at_rest(&config, args.what).await?,
    };
    done.map(|told| args.what.printed(told)).map_err(Failure::Refused)
}

async fn publish(args: &PublishCommand) -> Result<String, Failure> {
    let config = args.folder.read()?;
    let file = |what: String| Failure::File { path: args.file.clone(), what };
    let text = catalog::file::load(&args.file).map_err(|flaw| file(flaw.to_string()))?;
    let told = match folder::running(&config.data)? {
        Some(note) => {
            let key = folder::control_key(&config.data)?;
            client::publish(&note, &key, text).await?.map_err(file)
        }
        None => serve::publish_at_rest(&config, &text).await?.map_err(file),
    };
    told.map(|told| args.print.said(told))
}

#[cfg(test)]
mod tests;

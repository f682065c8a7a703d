//! Composes the commands: settings, file, log, exit status. Every rule is in the library.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

use std::{
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use catalog::{
    confirm,
    file::{self, Draft},
    flaw::Flaw,
    graphql, openapi,
    publish::{self, PublishError, Settings},
    render,
    serve::{self, ServeArgs},
};
use clap::{Args, Parser, Subcommand};
use domain::id::SaleId;
use kit::{
    clock::{Clock, SystemClock},
    exit::{Exit, whole},
    program,
    settings::{DatabaseArgs, KafkaArgs, Namespace, PartitionArgs},
};
use store::{
    log::kafka::{KafkaLog, KafkaSalesFollower, KafkaSettings, KafkaSetupError, ensure_topics},
    mismatch::is_mismatch,
    shards::{self, OpenError},
    sql::mysql::MySqlServer,
};

/// The topic of sales is small: reading it to its end takes well under a second.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Flaws printed, at most: a file that is something else altogether needs no more.
const FLAWS_SHOWN_MAX: usize = 200;

/// Sales, from a file to the ledger's database and the topic `sales`.
#[derive(Debug, Parser)]
#[command(name = "catalog", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publishes a sale file as the next version of its sale. Publishing the same again changes
    /// nothing.
    Publish {
        /// A sale file, as `catalog example` prints one; `-` reads standard input.
        file: PathBuf,
        /// Check against what is published, show what would be, and stop.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        log: LogArgs,
        #[command(flatten)]
        ledger: DatabaseArgs,
    },
    /// Checks a sale file by itself, without asking what is published.
    Check {
        /// A sale file; `-` reads standard input.
        file: PathBuf,
        #[command(flatten)]
        partitions: PartitionArgs,
    },
    /// Prints the newest published version of a sale as a sale file.
    Show {
        /// The sale's id.
        sale: SaleId,
        #[command(flatten)]
        ledger: DatabaseArgs,
    },
    /// Prints a commented sale file.
    Example,
    /// Serves merchants: tenants, people, keys, products, stock.
    Serve(Box<ServeArgs>),
    /// Prints the OpenAPI document of what `serve` answers.
    Openapi,
    /// Prints the schema of `/v1/graphql`.
    GraphqlSchema,
}

/// Where the topic `sales` is.
#[derive(Debug, Args)]
struct LogArgs {
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    partitions: PartitionArgs,
}

fn database(args: &DatabaseArgs) -> Result<MySqlServer, Failure> {
    let server = MySqlServer::new(args.mysql_url.expose(), store::sql::mysql::Settings::default());
    Ok(server.map_err(OpenError::Sql)?)
}

impl LogArgs {
    fn kafka(&self, namespace: &Namespace) -> KafkaSettings {
        KafkaSettings::new(&self.kafka.kafka_brokers, namespace.as_str(), self.partitions.partitions.into())
            .with_copies(self.kafka.kafka_replication, self.kafka.kafka_min_insync)
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("sale {0} is not published")]
    NoSuchSale(SaleId),
    #[error("{0}")]
    Mismatch(String),
    #[error("{}", told(.0, .1))]
    InvalidFile(PathBuf, Vec<Flaw>),
    #[error("nothing was done: {0}")]
    Unreachable(String),
    #[error("{}", whole(.0.as_ref()))]
    Service(anyhow::Error),
    #[error(
        "nobody can know whether sale {sale} is published now: {cause}\n\
         `catalog show {sale}` tells; publishing the same file again is harmless"
    )]
    Unknown { sale: SaleId, cause: PublishError },
}

impl Failure {
    /// The status with which the program ends.
    fn exit(&self) -> Exit {
        match self {
            Self::NoSuchSale(_) => Exit::No,
            Self::Mismatch(_) => Exit::Mismatch,
            Self::Service(error) => Exit::of(error.as_ref(), is_mismatch),
            Self::InvalidFile(..) => Exit::Data,
            Self::Unreachable(_) | Self::Unknown { .. } => Exit::Unavailable,
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        if is_mismatch(&error) { Self::Mismatch(error.to_string()) } else { Self::Unreachable(error.to_string()) }
    }
}

impl From<KafkaSetupError> for Failure {
    fn from(error: KafkaSetupError) -> Self {
        match error {
            KafkaSetupError::Partitions { .. } => Self::Mismatch(error.to_string()),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli: Cli = program::begin();
    let (written, status) = match run(cli.command).await {
        Ok(text) => (io::stdout().write_all(text.as_bytes()), ExitCode::SUCCESS),
        Err(failure) => (writeln!(io::stderr(), "{failure}"), failure.exit().into()),
    };
    match written {
        // A reader that has seen enough, such as `head`, is no failure.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Exit::of_system(&error).unwrap_or(Exit::Disk).into(),
        _ => status,
    }
}

async fn run(command: Command) -> Result<String, Failure> {
    match command {
        Command::Publish { file, dry_run, log, ledger } => publish(&file, dry_run, &log, &ledger).await,
        Command::Check { file, partitions } => check(&file, partitions.partitions.into()),
        Command::Show { sale, ledger } => show(sale, &ledger).await,
        Command::Serve(args) => serve::serve(*args).await.map(|()| String::new()).map_err(Failure::Service),
        Command::Openapi => openapi::document().map_err(|error| Failure::Service(error.into())),
        Command::GraphqlSchema => Ok(graphql::schema()),
        Command::Example => Ok(render::example_open_at(SystemClock::new().now_ms())),
    }
}

fn draft(path: &Path) -> Result<Draft, Failure> {
    let text = file::load(path).map_err(|flaw| vec![flaw]);
    text.and_then(|text| file::parse(&text)).map_err(|flaws| Failure::InvalidFile(path.to_owned(), flaws))
}

fn check(path: &Path, partitions: u32) -> Result<String, Failure> {
    let invalid = |flaws| Failure::InvalidFile(path.to_owned(), flaws);
    let sale = publish::plan(&draft(path)?, &[], partitions, SystemClock::new().now_ms()).map_err(invalid)?;
    let (lanes, offers) = (sale.lanes.len(), sale.offers().count());
    let told = format!("{}: sale {} is valid by itself: lanes {lanes}, offers {offers}", path.display(), sale.id);
    Ok(format!("{told}\n`catalog publish --dry-run` also checks it against what is published\n"))
}

async fn publish(path: &Path, dry_run: bool, log: &LogArgs, ledger: &DatabaseArgs) -> Result<String, Failure> {
    // The file first: its flaws are told even while the stores are away.
    let draft = draft(path)?;
    let (kafka, now_ms) = (log.kafka(&ledger.namespace), SystemClock::new().now_ms());
    let server = database(ledger)?;
    ensure_topics(&kafka).await?;
    let ledger = shards::open_ledger(&server, &ledger.namespace).await?;
    let topic = KafkaLog::new(&kafka)?;
    let mut follower = follower(&kafka)?;
    let settings = Settings { partitions: kafka.partitions, now_ms, read_within: READ_WITHIN, dry_run };
    match publish::publish(&draft, (ledger.publications(), &topic, &mut follower), &settings).await {
        Ok(announced) => Ok(confirm::describe(&announced.publication, dry_run, now_ms) + &announced.note()),
        Err(PublishError::Flawed(flaws)) => Err(Failure::InvalidFile(path.to_owned(), flaws)),
        Err(cause @ PublishError::Unknown { .. }) => Err(Failure::Unknown { sale: draft.id, cause }),
        Err(error) => Err(Failure::Unreachable(error.to_string())),
    }
}

async fn show(sale: SaleId, ledger: &DatabaseArgs) -> Result<String, Failure> {
    let server = database(ledger)?;
    let ledger = shards::look_ledger(&server, &ledger.namespace).await?;
    let published = ledger.publications().find(sale).await.map_err(OpenError::Sql)?;
    published.as_ref().map(render::to_toml).ok_or(Failure::NoSuchSale(sale))
}

fn follower(kafka: &KafkaSettings) -> Result<KafkaSalesFollower, Failure> {
    KafkaSalesFollower::new(kafka).map_err(|error| Failure::Unreachable(error.to_string()))
}

/// Flaws as a person mends them, one a line.
fn told(path: &Path, flaws: &[Flaw]) -> String {
    let shown = flaws.iter().take(FLAWS_SHOWN_MAX).map(|flaw| format!("{}: {flaw}", path.display()));
    let mut lines: Vec<String> = shown.collect();
    if flaws.len() > FLAWS_SHOWN_MAX {
        lines.push(format!("and {} more flaws", flaws.len() - FLAWS_SHOWN_MAX));
    }
    lines.join("\n")
}

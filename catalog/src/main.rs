//! Composes the commands: settings, file, log, exit status. Every rule is in the library.

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
    publish::{self, PublishError, Settings},
    published::{newest, read_published},
    render,
};
use clap::{Args, Parser, Subcommand, builder::RangedU64ValueParser};
use domain::id::SaleId;
use kit::{
    clock::{Clock, SystemClock},
    exit::Exit,
    settings::{KafkaArgs, Namespace, parse_or_exit, usage_error_and_exit},
    telemetry,
};
use store::log::kafka::{KafkaLog, KafkaSalesFollower, KafkaSettings, KafkaSetupError, ensure_topics};

/// The topic of sales is small: reading it to its end takes well under a second.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Flaws printed, at most: a file that is something else altogether needs no more.
const FLAWS_SHOWN_MAX: usize = 200;

/// Sales, from a file to the topic `sales`.
#[derive(Debug, Parser)]
#[command(name = "catalog", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publishes a sale file as the next version of its sale. Publishing the same again changes nothing.
    Publish {
        /// A sale file; `catalog example` prints one.
        file: PathBuf,
        /// Check against what is published, show what would be, and stop.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Checks a sale file by itself, without asking what is published.
    Check {
        /// A sale file.
        file: PathBuf,
        #[command(flatten)]
        partitions: PartitionArgs,
    },
    /// Prints the newest published version of a sale as a sale file.
    Show {
        /// The sale's id.
        sale: SaleId,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Prints a commented sale file.
    Example,
}

/// Publishing needs the log only, so no password of another store is asked for.
#[derive(Debug, Args)]
struct LogArgs {
    #[command(flatten)]
    kafka: KafkaArgs,
    /// What keys, topics and databases of this deployment begin with.
    #[arg(long, env = "FLASHSALE_NAMESPACE", default_value = "flashsale")]
    namespace: Namespace,
    #[command(flatten)]
    partitions: PartitionArgs,
}

#[derive(Debug, Args)]
struct PartitionArgs {
    /// Partitions of the order log. Fixed for the life of a log.
    #[arg(long, env = "FLASHSALE_PARTITIONS", default_value_t = 4, value_parser = RangedU64ValueParser::<u16>::new().range(1..=1024))]
    partitions: u16,
}

impl LogArgs {
    fn kafka(&self) -> KafkaSettings {
        KafkaSettings {
            replication: self.kafka.kafka_replication,
            min_insync: self.kafka.kafka_min_insync,
            ..KafkaSettings::new(&self.kafka.kafka_brokers, self.namespace.as_str(), self.partitions.partitions.into())
        }
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("sale {0} is not published")]
    NoSuchSale(SaleId),
    #[error("{0}")]
    Mismatch(KafkaSetupError),
    #[error("{}", told(.0, .1))]
    InvalidFile(PathBuf, Vec<Flaw>),
    #[error("the log cannot be reached, so nothing was done: {0}")]
    Unreachable(String),
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
            Self::InvalidFile(..) => Exit::Data,
            Self::Unreachable(_) | Self::Unknown { .. } => Exit::Unavailable,
        }
    }
}

impl From<KafkaSetupError> for Failure {
    fn from(error: KafkaSetupError) -> Self {
        match error {
            KafkaSetupError::Partitions { .. } => Self::Mismatch(error),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli: Cli = parse_or_exit();
    if let Err(error) = telemetry::init() {
        usage_error_and_exit(&error);
    }
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
        Command::Publish { file, dry_run, log } => publish(&file, dry_run, &log).await,
        Command::Check { file, partitions } => check(&file, partitions.partitions.into()),
        Command::Show { sale, log } => show(sale, &log).await,
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

async fn publish(path: &Path, dry_run: bool, log: &LogArgs) -> Result<String, Failure> {
    // The file first: its flaws are told even while the log is away.
    let draft = draft(path)?;
    let (kafka, now_ms) = (log.kafka(), SystemClock::new().now_ms());
    ensure_topics(&kafka).await?;
    let publisher = KafkaLog::new(&kafka)?;
    let mut follower = follower(&kafka)?;
    let settings = Settings { partitions: kafka.partitions, now_ms, read_within: READ_WITHIN, dry_run };
    match publish::publish(&draft, (&publisher, &mut follower), &settings).await {
        Ok(publication) => Ok(confirm::describe(&publication, dry_run, now_ms)),
        Err(PublishError::Flawed(flaws)) => Err(Failure::InvalidFile(path.to_owned(), flaws)),
        Err(PublishError::Unreadable(error)) => Err(Failure::Unreachable(error.to_string())),
        Err(cause @ PublishError::Unacknowledged { .. }) => Err(Failure::Unknown { sale: draft.id, cause }),
    }
}

async fn show(sale: SaleId, log: &LogArgs) -> Result<String, Failure> {
    let read = read_published(&mut follower(&log.kafka())?, READ_WITHIN).await;
    // The log does not tell a topic that is missing from one that is away.
    let hint = |error| Failure::Unreachable(format!("{error} (or nothing was ever published in {})", log.namespace));
    let published = read.map_err(hint)?;
    newest(&published, sale).map(render::to_toml).ok_or(Failure::NoSuchSale(sale))
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

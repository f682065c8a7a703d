//! The command line of the order-writer.

use std::time::Duration;

use clap::{Parser, Subcommand};
use domain::id::OrderId;
use kit::settings::{AdminArgs, StoreArgs};

use crate::{failpoint::CrashArgs, parked::ParkedCommand, settling::Settling};

/// Decides the order log and keeps the lanes. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "order-writer", version)]
pub struct Settings {
    /// The stores.
    #[command(flatten)]
    pub stores: StoreArgs,
    /// The admin port.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Seconds for which a lane stays open after its sale's end, before it is retired: its memory
    /// is given back, its orders stay. `never` while order-writers run that do not know such lanes
    /// (docs/upgrading.md).
    #[arg(long, env = "FLASHSALE_LANE_SETTLING", default_value = "60")]
    pub lane_settling: Settling,
    /// For crash tests.
    #[command(flatten)]
    pub crash: CrashArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Commands beside serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Cancels an unpaid order and gives its units back.
    Cancel {
        /// The order's id.
        order: OrderId,
    },
    /// Expires unpaid orders whose time to pay is over, and gives their units back.
    Expire {
        /// Instead those that were reserved at least this many seconds ago, whatever their time to
        /// pay; also orders of programs that knew none.
        #[arg(long, value_parser = seconds)]
        older_than: Option<Duration>,
    },
    /// Records that were set aside because nothing could be decided of them, and those that a
    /// partition waits for.
    #[command(subcommand)]
    Parked(ParkedCommand),
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}

//! Composes the commands: settings, log, exit status. Every rule is in the library.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use kit::{exit::Exit, program};
use orders::{
    openapi,
    payment::accounts::{self, AccountsError},
    serve::{self, BankServeArgs, ServeArgs},
};
use store::mismatch::is_mismatch;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What becomes of an accepted order.
#[derive(Debug, Parser)]
#[command(name = "orders", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves payments, cancels, refunds and what is done beside them; engines hand requests on to
    /// it.
    Serve(Box<ServeArgs>),
    /// Serves the simulated bank: play money, for trying out.
    Bank(Box<BankServeArgs>),
    /// Prints a file of accounts at WeChat Pay and Alipay, each key explained; with a file: says
    /// what is wrong with it.
    Accounts {
        /// The file to be checked.
        file: Option<PathBuf>,
    },
    /// Prints the OpenAPI document of what `serve` answers.
    Openapi,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { command } = program::begin();
    program::end("orders", run(command).await, exit_of)
}

fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(error) = error.downcast_ref::<AccountsError>() {
        return error.exit();
    }
    Exit::of(error.as_ref(), is_mismatch)
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => serve::serve(*args).await,
        Command::Bank(args) => serve::serve_bank(*args).await,
        Command::Accounts { file: None } => Ok(io::stdout().write_all(accounts::EXAMPLE.as_bytes())?),
        Command::Accounts { file: Some(file) } => Ok(accounts::check(&file)?),
        Command::Openapi => Ok(io::stdout().write_all(openapi::document()?.as_bytes())?),
    }
}

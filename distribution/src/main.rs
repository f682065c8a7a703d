//! Composes the commands: settings, log, exit status. Every rule is in the library.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use distribution::{
    openapi,
    serve::{self, ServeArgs},
};
use kit::{exit::Exit, program};
use store::mismatch::is_mismatch;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Commissions on orders.
#[derive(Debug, Parser)]
#[command(name = "distribution", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves plans, people, ledger and withdrawals, and takes in what becomes of orders; engines
    /// hand requests on to it.
    Serve(Box<ServeArgs>),
    /// Prints the OpenAPI document of what `serve` answers.
    Openapi,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { command } = program::begin();
    program::end("distribution", run(command).await, exit_of)
}

fn exit_of(error: &anyhow::Error) -> Exit {
    Exit::of(error.as_ref(), is_mismatch)
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => serve::serve(*args).await,
        Command::Openapi => Ok(io::stdout().write_all(openapi::document()?.as_bytes())?),
    }
}

//! Composes a run: command line, runtime, run, report, exit status. Everything else is in the library.

use std::{path::PathBuf, process::ExitCode};

use kit::{settings::EXIT_USAGE, shutdown, shutdown::EXIT_IMPATIENT};
use loadtest::{
    args::{self, ArgsError, Order},
    fixed_answer,
    progress::Progress,
    run::{self, Done},
    telling,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Something was lost, doubled, oversold or leaked, did not become durable, or a service did not end well.
const EXIT_DAMAGED: u8 = 1;
/// There is nothing to report.
const EXIT_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    if arguments.next().as_deref() == Some(fixed_answer::COMMAND) {
        let Err(error) = fixed_answer::run(arguments);
        return not_run(&error);
    }
    let order = match args::parse(std::env::args_os()) {
        Ok(order) => order,
        Err(error) => return refuse(error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return not_run(&error),
    };
    runtime.block_on(perform(&order))
}

async fn perform(order: &Order) -> ExitCode {
    let stop = match shutdown::on_signals() {
        Ok(stop) => stop,
        Err(error) => return not_run(&error),
    };
    let mut progress = Progress::new();
    // Cargo tells its children that it is there, and then the services can be built.
    let cargo = std::env::var_os("CARGO").map(PathBuf::from);
    let outcome = tokio::select! {
        outcome = run::run(order, cargo.as_deref(), &mut progress) => Some(outcome),
        () = stop.cancelled() => None,
    };
    progress.finish();
    match outcome {
        None => ExitCode::from(u8::try_from(EXIT_IMPATIENT).unwrap_or(EXIT_DAMAGED)),
        Some(Err(error)) => not_run(&error),
        Some(Ok(done)) => tell(&done, order),
    }
}

fn tell(done: &Done, order: &Order) -> ExitCode {
    match telling::tell(done, &order.args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_DAMAGED),
        Err(error) => not_run(&error),
    }
}

fn not_run(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("loadtest: {error}");
    ExitCode::from(EXIT_NOT_RUN)
}

fn refuse(error: ArgsError) -> ExitCode {
    match error {
        ArgsError::Usage(error) => {
            // With nowhere to print to, the status is all that can be said.
            drop(error.print());
            let usage = u8::try_from(EXIT_USAGE).unwrap_or(EXIT_NOT_RUN);
            ExitCode::from(if error.use_stderr() { usage } else { 0 })
        }
        ArgsError::WrongSize(error) => {
            eprintln!("loadtest: {error}");
            ExitCode::from(u8::try_from(EXIT_USAGE).unwrap_or(EXIT_NOT_RUN))
        }
        error @ (ArgsError::NoStack(_) | ArgsError::NoProduction) => not_run(&error),
    }
}
